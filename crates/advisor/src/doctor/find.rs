//! Connection strings in a text: URLs, `key=value` strings, Python's keyword calls, command lines, and lines of keys as in environment
//! files, YAML, TOML and JSON.

use std::ops::Range;

use super::found::{Driver, Found, Kind, Part, Parts};
use super::{commands, lines};

/// The most connections that are taken from one file.
pub const MAXIMUM_PER_FILE: usize = 1000;
/// How far a call's closing parenthesis is looked for.
const LONGEST_CALL: usize = 4000;
/// Longer lines are data, and are not searched for keywords.
const LONGEST_LINE: usize = 10_000;

/// All of a text, in its order.
pub fn find(text: &str) -> Vec<Found> {
    let mut found = urls(text);
    for more in [
        pairs(text),
        calls(text),
        commands::commands(text),
        lines::groups(text),
    ] {
        for one in more {
            let inside =
                |other: &Found| one.span.start < other.span.end && other.span.start < one.span.end;
            if !found.iter().any(inside) {
                found.push(one);
            }
        }
    }
    found.sort_by_key(|one| one.span.start);
    found.truncate(MAXIMUM_PER_FILE);
    found
}

fn urls(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("postgres").take(MAXIMUM_PER_FILE * 10) {
        let rest = &text[start..];
        let Some(scheme_end) = rest.find("://") else {
            break;
        };
        let scheme = &rest[..scheme_end];
        let (name, driver) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_word = driver
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !["postgres", "postgresql"].contains(&name) || !is_word {
            continue;
        }
        let body = start + scheme_end + 3;
        let end = body + url_length(&text[body..]);
        let driver = match driver {
            _ if text[..start].ends_with("jdbc:") => Driver::Jdbc,
            "asyncpg" | "pg8000" => Driver::Elsewhere,
            _ => Driver::Libpq,
        };
        if let Some(parts) = url_parts(text, body..end) {
            found.push(Found::new(text, start..end, Kind::Url(driver), parts));
        }
    }
    found
}

/// Up to what no URL has: white space, a quote, an angle or closing bracket. `${NAME}` belongs to it.
fn url_length(text: &str) -> usize {
    let mut depth = 0;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '"' | '\'' | '`' | '<' | '>' | '\\' | ')' | '}' | '|' => {
                end = at;
                break;
            }
            c if c.is_whitespace() => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    text[..end].trim_end_matches([',', '.', ';', ':']).len()
}

fn url_parts(text: &str, span: Range<usize>) -> Option<Parts> {
    let part = |span: Range<usize>| Part {
        value: decoded(&text[span.clone()]),
        span,
    };
    let mut parts = Parts::default();
    let body = &text[span.clone()];
    let query = body.find('?').map_or(span.end, |at| span.start + at);
    let authority_end = text[span.start..query]
        .find('/')
        .map_or(query, |at| span.start + at);
    let mut host_start = span.start;
    // The last one: a password may hold an @ that nobody encoded.
    if let Some(at) = text[span.start..authority_end].rfind('@') {
        host_start = span.start + at + 1;
        let account = span.start..host_start - 1;
        match text[account.clone()].find(':') {
            Some(colon) => {
                parts.put("user", part(account.start..account.start + colon));
                parts.put("password", part(account.start + colon + 1..account.end));
            }
            None => _ = parts.put("user", part(account)),
        }
    }
    let host = &text[host_start..authority_end];
    let colon = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let host_end = colon.map_or(authority_end, |at| host_start + at);
    // An empty host keeps its place, so that one can be put there.
    parts.put("host", part(host_start..host_end));
    if host_end + 1 < authority_end {
        parts.put("port", part(host_end + 1..authority_end));
    }
    if authority_end + 1 < query {
        parts.put("database", part(authority_end + 1..query));
    }
    let mut at = query + 1;
    while at < span.end {
        let end = text[at..span.end]
            .find('&')
            .map_or(span.end, |more| at + more);
        if let Some(equals) = text[at..end].find('=') {
            let key = text[at..at + equals].to_ascii_lowercase();
            if key == "host" {
                parts.host = None;
            }
            // `name` is a key of files, not of URLs.
            if key != "name" {
                parts.put(&key, part(at + equals + 1..end));
            }
        }
        at = end + 1;
    }
    let says_nothing = parts.count() <= 1 && host.is_empty();
    (!says_nothing).then_some(parts)
}

/// Without percent-encoding, where it is one.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// libpq's keywords that make a string one of its.
const KEYWORDS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "sslmode",
    "connect_timeout",
    "options",
];

fn pairs(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut at = 0;
        while at < line.len() && line.len() <= LONGEST_LINE && found.len() < MAXIMUM_PER_FILE {
            let next = KEYWORDS
                .iter()
                .filter_map(|key| position(line, at, key))
                .min();
            let Some(next) = next else { break };
            let (parts, count, end) = run_of_pairs(text, start + next);
            at = (end - start).max(next + 1);
            let names = parts.host.is_some() || parts.database.is_some();
            if count >= 2 && names && parts.count() >= 2 {
                found.push(Found::new(text, start + next..end, Kind::Pairs, parts));
            }
        }
        start += line.len();
    }
    found
}

/// Where a key with its `=` stands next, as a word of its own.
fn position(text: &str, from: usize, key: &str) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from + text.get(from..)?.find(key)?;
        let before = text[..at].chars().next_back();
        let is_start =
            before.is_none_or(|c| c.is_whitespace() || c == '"' || c == '\'' || c == '`');
        if is_start && text[at + key.len()..].starts_with('=') {
            return Some(at);
        }
        from = at + key.len();
    }
}

fn run_of_pairs(text: &str, start: usize) -> (Parts, usize, usize) {
    let mut parts = Parts::default();
    let (mut at, mut end, mut count) = (start, start, 0);
    loop {
        let length = text[at..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(0);
        let key = &text[at..at + length];
        let value_at = at + length + 1;
        if !KEYWORDS.contains(&key) || !text[at + length..].starts_with('=') {
            return (parts, count, end);
        }
        let rest = &text[value_at..];
        let (span, after) = match rest.strip_prefix('\'') {
            Some(quoted) => match quoted.find(['\'', '\n']) {
                Some(close) if quoted[close..].starts_with('\'') => {
                    (value_at + 1..value_at + 1 + close, value_at + close + 2)
                }
                _ => return (parts, count, end),
            },
            None => {
                let close = rest
                    .find(|c: char| c.is_whitespace() || "\"'`\\,;)".contains(c))
                    .unwrap_or(rest.len());
                (value_at..value_at + close, value_at + close)
            }
        };
        if span.is_empty() {
            return (parts, count, end);
        }
        let value = text[span.clone()].to_owned();
        parts.put(key, Part { value, span });
        (count, end) = (count + 1, after);
        let spaces = text[after..].len() - text[after..].trim_start_matches([' ', '\t']).len();
        if spaces == 0 {
            return (parts, count, end);
        }
        at = after + spaces;
    }
}

/// Functions of Python's drivers that take a connection's parts as keywords.
const CALLS: &[&str] = &[
    "connect(",
    "create_pool(",
    "ThreadedConnectionPool(",
    "SimpleConnectionPool(",
    "URL.create(",
];

fn calls(text: &str) -> Vec<Found> {
    let drivers = ["psycopg", "asyncpg", "pg8000", "aiopg", "sqlalchemy"];
    if !drivers.iter().any(|driver| text.contains(driver)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let starts = CALLS.iter().flat_map(|call| text.match_indices(call));
    for (start, call) in starts.take(MAXIMUM_PER_FILE) {
        let Some((parts, end)) = arguments(text, start + call.len()) else {
            continue;
        };
        let is_of_a_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let name = text[..start].trim_end_matches(is_of_a_name).len();
        let asyncpg = text[name..start].starts_with("asyncpg")
            || call == "create_pool("
            || call == "URL.create(";
        let driver = if asyncpg {
            Driver::Elsewhere
        } else {
            Driver::Libpq
        };
        if parts.host.is_some() || parts.database.is_some() {
            found.push(Found::new(text, start..end, Kind::Call(driver), parts));
        }
    }
    found
}

/// The keywords of a call whose values are literals, up to its closing parenthesis.
fn arguments(text: &str, start: usize) -> Option<(Parts, usize)> {
    let bytes = text.as_bytes();
    let limit = text.len().min(start + LONGEST_CALL);
    let mut parts = Parts::default();
    let (mut at, mut depth) = (start, 1);
    let mut word = start;
    while at < limit {
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some((parts, at + 1));
                }
            }
            b'"' | b'\'' => at = string_end(bytes, at, limit)?,
            b'#' => {
                at = bytes[at..limit]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(limit, |more| at + more)
            }
            b',' => word = at + 1,
            b'=' if depth == 1 => {
                let key = text[word..at].trim();
                let spaces = text[at + 1..].len() - text[at + 1..].trim_start().len();
                let value = at + 1 + spaces;
                if let Some(span) = literal(text, value, limit) {
                    let value = text[span.clone()].to_owned();
                    parts.put(key, Part { value, span });
                } else if ["host", "port", "dbname", "database", "user"].contains(&key) {
                    // A name of the program's: known only when it runs.
                    let value = "${}".to_owned();
                    parts.put(
                        key,
                        Part {
                            value,
                            span: at..at,
                        },
                    );
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The place of a closing quote.
fn string_end(bytes: &[u8], start: usize, limit: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < limit {
        match bytes[at] {
            b'\\' => at += 1,
            byte if byte == bytes[start] => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// A plain string's inside, or a number.
fn literal(text: &str, start: usize, limit: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    match bytes.get(start)? {
        b'"' | b'\'' => string_end(bytes, start, limit).map(|end| start + 1..end),
        b'0'..=b'9' => {
            let digits = bytes[start..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            Some(start..start + digits)
        }
        _ => None,
    }
}
