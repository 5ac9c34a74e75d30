//! Lines of keys that make a connection together: `PGHOST=...` and `PGDATABASE=...` in an environment file, `host:` and
//! `database:` below each other in YAML, TOML or JSON.

use std::ops::Range;

use super::found::{Found, Kind, Part, Parts};

/// The most lines that one connection goes over.
const LONGEST_GROUP: usize = 20;

struct Line {
    indentation: usize,
    /// What stands before the word that names the part, such as `PG` or `DB_`.
    family: String,
    /// `host`, `port`, `user`, `password`, `dbname`, `application_name`.
    key: &'static str,
    part: Part,
}

/// The last words of keys, and what they mean. The first that fits.
const WORDS: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("appname", "application_name"),
    ("hostname", "host"),
    ("host", "host"),
    ("port", "port"),
    ("username", "user"),
    ("user", "user"),
    ("password", "password"),
    ("database", "dbname"),
    ("dbname", "dbname"),
    ("db_name", "dbname"),
    ("db", "dbname"),
    ("name", "dbname"),
];

/// All groups of a text.
pub(super) fn groups(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut group: Vec<Line> = Vec::new();
    let mut at = 0;
    for raw in text.split_inclusive('\n') {
        let start = at;
        at += raw.len();
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) || trimmed.starts_with("//") {
            continue;
        }
        let line = line(text, start..at);
        let belongs = match (&line, group.first()) {
            (Some(line), Some(first)) => {
                let repeated = group.iter().any(|other| other.key == line.key);
                line.family == first.family
                    && line.indentation == first.indentation
                    && !repeated
                    && group.len() < LONGEST_GROUP
            }
            _ => false,
        };
        if !belongs {
            found.extend(finish(text, std::mem::take(&mut group)));
        }
        group.extend(line);
    }
    found.extend(finish(text, group));
    found
}

fn line(text: &str, span: Range<usize>) -> Option<Line> {
    let raw = &text[span.clone()];
    let indentation = raw.len() - raw.trim_start().len();
    let mut at = span.start + indentation;
    for prefix in ["export ", "- ", "\"", "'"] {
        if text[at..].starts_with(prefix) {
            at += prefix.len();
        }
    }
    let length =
        text[at..span.end].find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')?;
    let name = &text[at..at + length];
    let lower = name.to_ascii_lowercase();
    let (word, key) = WORDS.iter().find(|(word, _)| lower.ends_with(word))?;
    let rest = &text[at + length..span.end];
    let skipped = rest.len() - rest.trim_start_matches(['"', '\'', ' ', '\t']).len();
    let sign = at + length + skipped;
    if !text[sign..span.end].starts_with(['=', ':']) {
        return None;
    }
    let value = &text[sign + 1..span.end];
    let value_start = sign + 1 + (value.len() - value.trim_start_matches([' ', '\t']).len());
    let span = match text[value_start..span.end].chars().next()? {
        quote @ ('"' | '\'') => {
            let length = text[value_start + 1..span.end].find(quote)?;
            value_start + 1..value_start + 1 + length
        }
        '{' | '[' | '|' | '>' => return None,
        _ => {
            let value = &text[value_start..span.end];
            let end = value.find(" #").unwrap_or(value.len());
            value_start..value_start + value[..end].trim_end().trim_end_matches(',').len()
        }
    };
    if span.is_empty() {
        return None;
    }
    Some(Line {
        indentation,
        family: lower[..lower.len() - word.len()].to_owned(),
        key,
        part: Part {
            value: text[span.clone()].to_owned(),
            span,
        },
    })
}

/// A group is a connection when it names a host and a database, and is PostgreSQL's: by its keys, or its port.
fn finish(text: &str, group: Vec<Line>) -> Option<Found> {
    let first = group.first()?;
    let has = |key: &str| group.iter().any(|line| line.key == key);
    let known_family = first.family.starts_with("pg") || first.family.contains("postgres");
    let known_port = group.iter().any(|line| {
        line.key == "port" && ["5432", "6432", "6433"].contains(&line.part.value.as_str())
    });
    let said = text.contains("postgres") || text.contains("Postgres");
    if !has("host") || !has("dbname") || !(known_family || known_port || said) {
        return None;
    }
    let start = group.iter().map(|line| line.part.span.start).min()?;
    let end = group.iter().map(|line| line.part.span.end).max()?;
    let mut parts = Parts::default();
    for line in group {
        parts.put(line.key, line.part);
    }
    Some(Found::new(text, start..end, Kind::Lines, parts))
}
