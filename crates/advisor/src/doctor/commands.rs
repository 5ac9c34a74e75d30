//! Connections in the command lines of PostgreSQL's programs, as shell scripts, compose files and Makefiles have them:
//! `psql -h localhost -p 5432 -U me -d ai_agency`. They are left to people to rewrite, who are told what to write.

use std::ops::Range;

use super::found::{Found, Kind, Part, Parts};

/// The most words of one command that are looked at.
const MOST_WORDS: usize = 64;

/// A program of PostgreSQL's.
struct Program {
    name: &'static str,
    /// The letters of its options that take a value and say nothing about the connection.
    with_value: &'static str,
    reaches: Reaches,
}

/// Which database a program goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reaches {
    /// That of `-d`, or its first argument without a `-`; psql's second one is the user.
    Named,
    /// That of `-d` alone; without it no server is asked.
    Option,
    /// `postgres`: the one that it names is not there yet, or not any more, or it is all of them.
    Maintenance,
}

const fn program(name: &'static str, with_value: &'static str, reaches: Reaches) -> Program {
    Program {
        name,
        with_value,
        reaches,
    }
}

const PROGRAMS: [Program; 9] = [
    program("psql", "cfovLPRFT", Reaches::Named),
    program("pg_dump", "fFjnNtTZSEe", Reaches::Named),
    program("pg_dumpall", "fElSr", Reaches::Maintenance),
    program("pg_restore", "fFjnNtTILPS", Reaches::Option),
    program("pgbench", "cjTtfsDMPRLbFIi", Reaches::Named),
    program("createdb", "OETDl", Reaches::Maintenance),
    program("dropdb", "", Reaches::Maintenance),
    program("vacuumdb", "jtnNP", Reaches::Named),
    program("reindexdb", "jtiS", Reaches::Named),
];

/// A word of a shell's line, and where it stands.
struct Word {
    text: String,
    span: Range<usize>,
}

/// All of a text. A command without an option that names host, port, user or database takes them from its surroundings, or is a
/// word of prose: it is not judged.
pub(super) fn commands(text: &str) -> Vec<Found> {
    let found = programs(text).into_iter();
    found
        .filter_map(|(start, program)| command(text, start, program))
        .collect()
}

/// Where a program's name stands as a word of its own, also behind a path.
fn programs(text: &str) -> Vec<(usize, &'static Program)> {
    let mut found = Vec::new();
    for program in &PROGRAMS {
        for (at, name) in text.match_indices(program.name) {
            let before = text[..at].chars().next_back();
            let after = text[at + name.len()..].chars().next();
            let begins = before.is_none_or(|c| c.is_whitespace() || "/\"'`([{|&;@=".contains(c));
            let ends = after.is_some_and(|c| " \t\"'\\".contains(c));
            if begins && ends {
                found.push((at, program));
            }
        }
    }
    found.sort_by_key(|(at, _)| *at);
    found.truncate(super::find::MAXIMUM_PER_FILE);
    found
}

fn command(text: &str, start: usize, program: &'static Program) -> Option<Found> {
    let words = words(text, start);
    let mut parts = Parts::default();
    let mut bare = Vec::new();
    let mut at = 1;
    while at < words.len() {
        let word = &words[at];
        at += 1;
        let Some((key, value)) = option(word, program) else {
            if !word.text.starts_with('-') {
                bare.push(part_of(word));
            }
            continue;
        };
        let value = match value {
            Some(value) => value,
            // The next word is its value.
            None => {
                let Some(next) = words.get(at).filter(|next| !next.text.starts_with('-')) else {
                    continue;
                };
                at += 1;
                part_of(next)
            }
        };
        if let Some(key) = key {
            parts.put(key, value);
        }
    }
    if parts.count() == 0 {
        return None;
    }
    let mut bare = bare.into_iter();
    match program.reaches {
        Reaches::Named => {
            let database = match parts.database {
                None => bare.next(),
                Some(_) => None,
            };
            database.map(|part| parts.put("dbname", part));
            if program.name == "psql" {
                bare.next().map(|part| parts.put("user", part));
            }
        }
        Reaches::Option if parts.database.is_none() => return None,
        Reaches::Option => {}
        Reaches::Maintenance => {
            let value = "postgres".to_owned();
            let span = start..start;
            parts.database = Some(Part { value, span });
        }
    }
    surroundings(text, start, &mut parts);
    let end = words.last().map_or(start, |word| word.span.end);
    Some(Found::new(
        text,
        start..end,
        Kind::Command(program.name),
        parts,
    ))
}

/// What stands before a command on its line: `PGAPPNAME=nightly PGPASSWORD=... psql`.
fn surroundings(text: &str, start: usize, parts: &mut Parts) {
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    for (variable, key) in [
        ("PGAPPNAME=", "application_name"),
        ("PGPASSWORD=", "password"),
    ] {
        if let Some(at) = text[line..start].rfind(variable) {
            let begin = line + at + variable.len();
            let quoted = text[begin..start].starts_with(['"', '\'']);
            let begin = begin + usize::from(quoted);
            let length = text[begin..start].find(|c: char| c.is_whitespace() || "\"'".contains(c));
            let span = begin..length.map_or(start, |length| begin + length);
            let value = text[span.clone()].to_owned();
            parts.put(key, Part { value, span });
        }
    }
}

/// An option's key, where it is one of the connection's, and its value, where the word holds that too. `None` is a word that is no
/// option with a value.
fn option(word: &Word, program: &Program) -> Option<(Option<&'static str>, Option<Part>)> {
    const LONG: [(&str, &str); 4] = [
        ("--host", "host"),
        ("--port", "port"),
        ("--username", "user"),
        ("--dbname", "dbname"),
    ];
    let rest = |length: usize| {
        (length < word.text.len()).then(|| Part {
            value: word.text[length..].trim_matches(['"', '\'']).to_owned(),
            span: word.span.start + length..word.span.end,
        })
    };
    if word.text.starts_with("--") {
        let (name, length) = match word.text.split_once('=') {
            Some((name, _)) => (name, name.len() + 1),
            None => (word.text.as_str(), word.text.len()),
        };
        let (_, key) = LONG.iter().find(|(long, _)| *long == name)?;
        return Some((Some(key), rest(length)));
    }
    let mut letters = word.text.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let key = match letter {
        'h' => "host",
        'p' => "port",
        'U' => "user",
        // createdb and its like have no -d.
        'd' if program.reaches != Reaches::Maintenance => "dbname",
        letter if program.with_value.contains(letter) => return Some((None, rest(2))),
        _ => return None,
    };
    Some((Some(key), rest(2)))
}

fn part_of(word: &Word) -> Part {
    Part {
        value: word.text.clone(),
        span: word.span.clone(),
    }
}

/// The words from a command's name to its end: the line's, unless a backslash carries it on, or an operator of the shell. In a list
/// (`["psql", "-h", "db"]`) commas and quotes part them.
fn words(text: &str, start: usize) -> Vec<Word> {
    let bytes = text.as_bytes();
    let in_list = start > 0 && matches!(bytes[start - 1], b'"' | b'\'') && is_list(text, start);
    // A quote that stands before the name ends the command where it closes.
    let closing = match start.checked_sub(1).map(|at| bytes[at]) {
        Some(quote @ (b'"' | b'\'' | b'`')) if !in_list => Some(quote),
        _ => None,
    };
    let mut words = Vec::new();
    let mut at = start;
    while at < text.len() && words.len() < MOST_WORDS {
        match bytes[at] {
            b' ' | b'\t' => at += 1,
            b'\\' if text[at + 1..].starts_with('\n') => at += 2,
            b'\\' if text[at + 1..].starts_with("\r\n") => at += 3,
            b',' | b'"' | b'\'' if in_list => at += 1,
            b'\n' | b'\r' | b';' | b'|' | b'&' | b'<' | b'>' | b')' | b']' | b'#' => break,
            byte if Some(byte) == closing => break,
            _ => {
                let word = word(text, at, in_list, closing);
                if word.span.is_empty() && word.text.is_empty() && at == word.span.end {
                    break;
                }
                at = word.span.end + usize::from(is_quoted(bytes, &word.span));
                words.push(word);
            }
        }
    }
    words
}

fn is_list(text: &str, start: usize) -> bool {
    let line = text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
    text[line..start - 1].contains('[')
}

/// Whether a word's span is the inside of quotes.
fn is_quoted(bytes: &[u8], span: &Range<usize>) -> bool {
    let before = span.start.checked_sub(1).map(|at| bytes[at]);
    matches!(before, Some(quote @ (b'"' | b'\'')) if bytes.get(span.end) == Some(&quote))
}

fn word(text: &str, start: usize, in_list: bool, closing: Option<u8>) -> Word {
    let bytes = text.as_bytes();
    if let quote @ (b'"' | b'\'') = bytes[start]
        && !in_list
        && let Some(length) = text[start + 1..].find(char::from(quote))
        && !text[start + 1..start + 1 + length].contains('\n')
    {
        let span = start + 1..start + 1 + length;
        return Word {
            text: text[span.clone()].to_owned(),
            span,
        };
    }
    let is_end = |c: char| {
        let closes = closing.is_some_and(|quote| c == char::from(quote));
        c.is_whitespace() || ";|&<>)`".contains(c) || closes || in_list && ",\"']".contains(c)
    };
    let mut end = text.len();
    let mut depth = 0;
    for (at, c) in text[start..].char_indices() {
        match c {
            '{' | '(' if text[..start + at].ends_with('$') || depth > 0 => depth += 1,
            '}' | ')' if depth > 0 => depth -= 1,
            c if depth == 0 && is_end(c) || c == '\n' => {
                end = start + at;
                break;
            }
            _ => {}
        }
    }
    Word {
        text: text[start..end].to_owned(),
        span: start..end,
    }
}
