//! Edits that bring a connection to the proxy, and the difference they make as people read it. Only host, port, a
//! database's old name and the application name are touched; all else stays as it was written.

use std::fmt::Write as _;
use std::ops::Range;

use super::found::{Driver, Found, Kind, Part};

/// A replacement; an empty place is an insertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Range<usize>,
    /// By what.
    pub text: String,
}

/// Where connections should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The proxy's host.
    pub host: String,
    /// The proxy's port.
    pub port: u16,
    /// The database's real name, where the written one is an old one.
    pub database: Option<String>,
    /// What the connection should call itself, where it says nothing.
    pub application: Option<String>,
}

/// Whether a host is this machine. Nothing at all is the local server, for libpq.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.is_empty()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host == "::1"
        || host.starts_with("127.")
}

/// The edits for one connection, none where nothing is to be done. What is only known when the program runs is left alone.
pub fn edits(text: &str, found: &Found, goal: &Goal) -> Vec<Edit> {
    let mut edits = Vec::new();
    if found.dynamic || matches!(found.kind, Kind::Command(_)) {
        return edits;
    }
    let parts = &found.parts;
    let port = goal.port.to_string();
    let replace = |part: &Part, text: &str| Edit {
        span: part.span.clone(),
        text: text.to_owned(),
    };
    let at_home = |part: &Part| {
        !part.value.is_empty() && !part.value.starts_with('/') && is_loopback(&part.value)
    };
    match &parts.host {
        // Another spelling of the same machine stays.
        Some(host) if at_home(host) && is_loopback(&goal.host) => {}
        Some(host) if host.value != goal.host => edits.push(replace(host, &goal.host)),
        Some(_) => {}
        None => edits.extend(inserted(text, found, "host", &goal.host)),
    }
    match &parts.port {
        Some(part) if part.value != port => edits.push(replace(part, &port)),
        Some(_) => {}
        None => edits.extend(inserted(text, found, "port", &port)),
    }
    if let (Some(part), Some(database)) = (&parts.database, &goal.database) {
        edits.push(replace(part, database));
    }
    if let (None, Some(application)) = (&parts.application, &goal.application) {
        edits.extend(inserted(text, found, "application_name", application));
    }
    edits
}

/// A part that was not there, as its neighbours are written.
fn inserted(text: &str, found: &Found, key: &str, value: &str) -> Option<Edit> {
    let at = |at: usize, text: String| Some(Edit { span: at..at, text });
    let parts = &found.parts;
    match found.kind {
        Kind::Url(driver) => {
            let host = parts.host.as_ref();
            match (key, driver) {
                ("port", _) => host.and_then(|host| at(host.span.end, format!(":{value}"))),
                ("host", _) | (_, Driver::Elsewhere) => None,
                (_, driver) => {
                    let key = if driver == Driver::Jdbc {
                        "ApplicationName"
                    } else {
                        key
                    };
                    let written = &text[found.span.clone()];
                    let sign = match written.find('?') {
                        None => "?",
                        Some(_) if written.ends_with(['?', '&']) => "",
                        Some(_) => "&",
                    };
                    at(found.span.end, format!("{sign}{key}={value}"))
                }
            }
        }
        Kind::Pairs => at(found.span.end, format!(" {key}={value}")),
        Kind::Call(Driver::Elsewhere) if key == "application_name" => None,
        Kind::Call(_) => {
            let neighbour = parts.host.as_ref().or(parts.database.as_ref())?;
            let quote = text[neighbour.span.end..]
                .chars()
                .next()
                .filter(|c| *c == '"' || *c == '\'')?;
            let value = if key == "port" {
                value.to_owned()
            } else {
                format!("{quote}{value}{quote}")
            };
            at(neighbour.span.end + 1, format!(", {key}={value}"))
        }
        Kind::Command(_) => None,
        Kind::Lines => line_like(text, parts.host.as_ref()?, key, value),
    }
}

/// A line of its own below the host's, written as that one is.
fn line_like(text: &str, host: &Part, key: &str, value: &str) -> Option<Edit> {
    let start = text[..host.span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[host.span.end..]
        .find('\n')
        .map_or(text.len(), |at| host.span.end + at);
    let before = &text[start..host.span.start];
    let word = before.to_ascii_lowercase().rfind("host")?;
    let upper = before[word..].starts_with("HOST");
    let family = &before[..word];
    // libpq calls this one PGAPPNAME; for other families nobody knows what the program reads.
    let key = match (key, upper) {
        ("port", true) => "PORT",
        ("port", false) => "port",
        ("application_name", true) if family.ends_with("PG") => "APPNAME",
        _ => return None,
    };
    let tail = &text[host.span.end..end];
    let tail = tail.split(" #").next().unwrap_or_default().trim_end();
    let line = format!("\n{family}{key}{}{value}{tail}", before[word..].get(4..)?);
    Some(Edit {
        span: end..end,
        text: line,
    })
}

/// The text with its edits made.
pub fn applied(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for edit in edits {
        // Two edits of one place cannot both hold: the first one does.
        if edit.span.start < at {
            continue;
        }
        out.push_str(&text[at..edit.span.start]);
        out.push_str(&edit.text);
        at = edit.span.end;
    }
    out.push_str(&text[at..]);
    out
}

/// A unified difference, without lines around the changed ones: those may hold secrets of others. Passwords are ***.
pub fn difference(name: &str, text: &str, edits: &[Edit], passwords: &[Range<usize>]) -> String {
    let mut out = format!("--- {name}\n+++ {name}\n");
    let mut lines: Vec<Range<usize>> = Vec::new();
    for edit in edits {
        let start = text[..edit.span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[edit.span.end..]
            .find('\n')
            .map_or(text.len(), |at| edit.span.end + at);
        lines.push(start..end);
    }
    lines.sort_by_key(|line| line.start);
    lines.dedup();
    let mut added = 0;
    for line in lines {
        let inside = |span: &Range<usize>| span.start >= line.start && span.end <= line.end;
        let moved = |span: &Range<usize>, text: &str| Edit {
            span: span.start - line.start..span.end - line.start,
            text: text.to_owned(),
        };
        let masks: Vec<Edit> = passwords
            .iter()
            .filter(|span| inside(span))
            .map(|span| moved(span, "***"))
            .collect();
        let mut all = masks.clone();
        all.extend(
            edits
                .iter()
                .filter(|edit| inside(&edit.span))
                .map(|edit| moved(&edit.span, &edit.text)),
        );
        let number = text[..line.start].matches('\n').count() + 1;
        let old = masked(&applied(&text[line.clone()], &masks));
        let new = masked(&applied(&text[line], &all));
        let count = new.split('\n').count();
        let _ = writeln!(out, "@@ -{number} +{},{count} @@\n-{old}", number + added);
        for line in new.split('\n') {
            let _ = writeln!(out, "+{line}");
        }
        added += count - 1;
    }
    out
}

/// Hides the value of any other key on a line that sounds like a secret.
fn masked(line: &str) -> String {
    const SECRETS: &[&str] = &["password", "passwd", "secret", "token", "api_key", "apikey"];
    let lower = line.to_ascii_lowercase();
    let mut edits = Vec::new();
    for (at, word) in SECRETS.iter().flat_map(|word| lower.match_indices(word)) {
        let rest = &line[at + word.len()..];
        let value = rest.trim_start_matches(|c: char| {
            c.is_ascii_alphanumeric() || "_\"' :=".contains(c) && c != '=' && c != ':'
        });
        let value = value.trim_start_matches(['=', ':', ' ', '"', '\'']);
        let start = line.len() - value.len();
        let length = value
            .find(|c: char| c.is_whitespace() || "\"'`,;)&".contains(c))
            .unwrap_or(value.len());
        if length > 0 && rest.len() > value.len() {
            edits.push(Edit {
                span: start..start + length,
                text: "***".to_owned(),
            });
        }
    }
    applied(line, &edits)
}
