//! From the text to commands: PgBouncer's forms, ours, and what drivers say to every server.

use pglanes_proxy::Scope;
use thiserror::Error;

use super::command::{Command, Probed, Show, Waits};

/// The longest text, in bytes.
const LONGEST_TEXT: usize = 8192;
/// Commands of one text.
const MOST_COMMANDS: usize = 16;
/// Words of one command.
const MOST_WORDS: usize = 64;
/// How much of a text an error repeats, in characters.
const SHOWN: usize = 100;
/// What a lease without a time lives, in seconds.
const DEFAULT_LEASE: u64 = 900;

/// Why a text is no command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ParseError {
    #[error("invalid command '{0}', use SHOW HELP;")]
    Invalid(String),
    #[error("the command is too long")]
    TooLong,
    #[error("a quote does not end")]
    Unterminated,
    #[error("a database is required")]
    NoDatabase,
    #[error("invalid client id supplied")]
    NoId,
}

/// A part of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// As it was written, and quoted or not: a keyword is never quoted.
    Plain(String),
    Quoted(String),
    Symbol(char),
    End,
}

/// The commands of a text; none for one that is empty.
pub(super) fn commands(text: &str) -> Result<Vec<Command>, ParseError> {
    if text.len() > LONGEST_TEXT {
        return Err(ParseError::TooLong);
    }
    let words = words(text)?;
    let mut commands = Vec::new();
    for part in words.split(|word| *word == Word::End) {
        if part.is_empty() {
            continue;
        }
        if commands.len() == MOST_COMMANDS || part.len() > MOST_WORDS {
            return Err(ParseError::TooLong);
        }
        let invalid = || ParseError::Invalid(text.trim().chars().take(SHOWN).collect());
        commands.push(command(part)?.ok_or_else(invalid)?);
    }
    Ok(commands)
}

fn words(text: &str) -> Result<Vec<Word>, ParseError> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() || first == '\0' {
            rest = &rest[first.len_utf8()..];
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let (_, behind) = comment.split_once("*/").ok_or(ParseError::Unterminated)?;
            rest = behind;
        } else if matches!(first, '\'' | '"') {
            let (word, behind) = quoted(rest, first)?;
            words.push(Word::Quoted(word));
            rest = behind;
        } else if is_part_of_word(first) {
            let end = rest
                .find(|letter| !is_part_of_word(letter))
                .unwrap_or(rest.len());
            words.push(Word::Plain(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            words.push(if first == ';' {
                Word::End
            } else {
                Word::Symbol(first)
            });
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(words)
}

fn is_part_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || "_.-%+".contains(letter)
}

/// The text in quotes, in which two stand for one, and what follows.
fn quoted(text: &str, quote: char) -> Result<(String, &str), ParseError> {
    let mut word = String::new();
    let mut rest = &text[1..];
    loop {
        let (part, behind) = rest.split_once(quote).ok_or(ParseError::Unterminated)?;
        word.push_str(part);
        match behind.strip_prefix(quote) {
            Some(behind) => {
                word.push(quote);
                rest = behind;
            }
            None => return Ok((word, behind)),
        }
    }
}

/// A keyword in lower case; nothing for what is quoted.
fn keyword(word: Option<&Word>) -> Option<String> {
    match word {
        Some(Word::Plain(text)) => Some(text.to_ascii_lowercase()),
        _ => None,
    }
}

/// A name or a value.
fn name(word: Option<&Word>) -> Option<String> {
    match word {
        Some(Word::Plain(text) | Word::Quoted(text)) => Some(text.clone()),
        _ => None,
    }
}

fn command(words: &[Word]) -> Result<Option<Command>, ParseError> {
    let Some(first) = keyword(words.first()) else {
        return Ok(None);
    };
    let rest = &words[1..];
    Ok(match first.as_str() {
        "show" => show(rest),
        "select" => select(rest).or_else(|| show(rest)),
        "set" => set(rest),
        "begin" | "start" => Some(Command::Begin),
        "commit" | "end" => Some(Command::End("COMMIT")),
        "rollback" | "abort" => Some(Command::End("ROLLBACK")),
        "reset" => Some(Command::Ignored("RESET")),
        "discard" => Some(Command::Ignored("DISCARD ALL")),
        "deallocate" => Some(Command::Ignored("DEALLOCATE")),
        "close" => Some(Command::Ignored("CLOSE CURSOR")),
        "unlisten" => Some(Command::Ignored("UNLISTEN")),
        "reload" => nothing_more(rest).then_some(Command::Reload),
        "pause" => scope(rest).map(Command::Pause),
        "resume" => scope(rest).map(Command::Resume),
        "reconnect" => scope(rest).map(Command::Reconnect),
        "wait_close" => scope(rest).map(Command::WaitClose),
        "kill" => match rest {
            [] => Some(Command::Kill(None)),
            [_] => name(rest.first()).map(|name| Command::Kill(Some(name))),
            _ => None,
        },
        "kill_client" => return id(rest).map(|id| Some(Command::KillClient(id))),
        "cancel" => return id(rest).map(|id| Some(Command::Cancel(id))),
        "enable" => return database(rest).map(|name| Some(Command::Enable(name))),
        "disable" => return database(rest).map(|name| Some(Command::Disable(name))),
        "suspend" => nothing_more(rest).then_some(Command::Suspend),
        "lease" => lease(rest),
        "release" => match rest {
            [_] => name(rest.first()).map(Command::Release),
            _ => None,
        },
        "shutdown" => match keyword(rest.first()).as_deref() {
            None if nothing_more(rest) => Some(Command::Shutdown(Waits::Nothing)),
            Some("wait_for_servers") => Some(Command::Shutdown(Waits::Servers)),
            Some("wait_for_clients") => Some(Command::Shutdown(Waits::Clients)),
            _ => None,
        },
        _ => None,
    })
}

fn nothing_more(rest: &[Word]) -> bool {
    rest.is_empty()
}

/// Nothing, a database's name, or LANE and a lane's.
fn scope(rest: &[Word]) -> Option<Scope> {
    match rest {
        [] => Some(Scope::All),
        [only] => name(Some(only)).map(Scope::Database),
        [which, of] => match keyword(Some(which))?.as_str() {
            "lane" => name(Some(of)).map(Scope::Lane),
            "database" => name(Some(of)).map(Scope::Database),
            _ => None,
        },
        _ => None,
    }
}

fn database(rest: &[Word]) -> Result<String, ParseError> {
    match rest {
        [only] => name(Some(only)).ok_or(ParseError::NoDatabase),
        _ => Err(ParseError::NoDatabase),
    }
}

fn id(rest: &[Word]) -> Result<i32, ParseError> {
    let only = match rest {
        [only] => name(Some(only)),
        _ => None,
    };
    only.and_then(|text| text.parse().ok())
        .ok_or(ParseError::NoId)
}

fn show(rest: &[Word]) -> Option<Command> {
    let first = keyword(rest.first())?;
    let second = keyword(rest.get(1));
    let known = match (first.as_str(), second.as_deref(), rest.len()) {
        ("pools", Some("extended"), 2) => Some(Show::PoolsExtended),
        (name, _, 1) => Show::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, show)| *show),
        _ => None,
    };
    if let Some(show) = known {
        return Some(Command::Show(show));
    }
    let fixed = |column, value| {
        Some(Command::Probe {
            column,
            value: Probed::Fixed(value),
        })
    };
    match (first.as_str(), rest.len()) {
        ("server_version", 1) => Some(Command::Probe {
            column: "server_version",
            value: Probed::Version,
        }),
        ("client_encoding", 1) => fixed("client_encoding", "UTF8"),
        ("server_encoding", 1) => fixed("server_encoding", "UTF8"),
        ("standard_conforming_strings", 1) => fixed("standard_conforming_strings", "on"),
        ("datestyle", 1) => fixed("DateStyle", "ISO, MDY"),
        ("timezone", 1) => fixed("TimeZone", "UTC"),
        ("extra_float_digits", 1) => fixed("extra_float_digits", "1"),
        ("transaction_isolation" | "transaction", _) => {
            fixed("transaction_isolation", "read committed")
        }
        ("default_transaction_isolation", 1) => {
            fixed("default_transaction_isolation", "read committed")
        }
        ("transaction_read_only", 1) => fixed("transaction_read_only", "off"),
        ("search_path", 1) => fixed("search_path", "public"),
        ("is_superuser", 1) => fixed("is_superuser", "off"),
        ("max_identifier_length", 1) => fixed("max_identifier_length", "63"),
        ("in_hot_standby", 1) => fixed("in_hot_standby", "off"),
        _ => None,
    }
}

/// What drivers ask when they connect, or to see whether anybody is there.
fn select(rest: &[Word]) -> Option<Command> {
    let mut text = String::new();
    for word in rest {
        match word {
            Word::Plain(word) => text.push_str(&word.to_ascii_lowercase()),
            Word::Symbol(symbol) => text.push(*symbol),
            Word::Quoted(_) | Word::End => return None,
        }
    }
    let text = text.replace("pg_catalog.", "");
    let (column, value) = match text.as_str() {
        "1" => ("?column?", Probed::Number(1)),
        "version()" => ("version", Probed::Version),
        "current_database()" => ("current_database", Probed::Database),
        "current_user" | "session_user" | "user" => ("current_user", Probed::User),
        "current_schema()" | "current_schema" => ("current_schema", Probed::Fixed("public")),
        "pg_is_in_recovery()" => ("pg_is_in_recovery", Probed::Fixed("f")),
        _ => return None,
    };
    Some(Command::Probe { column, value })
}

/// Settings of PostgreSQL that drivers make: they mean nothing here.
const NOT_OURS: [&str; 20] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "names",
    "row_security",
    "search_path",
    "session",
    "standard_conforming_strings",
    "statement_timeout",
    "time",
    "timezone",
    "transaction",
];

/// PgBouncer's name of something that we have under another, and whether its bare number counts seconds.
const OF_PGBOUNCER: [(&str, &str, bool); 4] = [
    ("max_client_conn", "limits.clients", false),
    ("client_login_timeout", "limits.login_timeout", true),
    (
        "idle_transaction_timeout",
        "limits.client_idle_in_transaction",
        true,
    ),
    ("server_connect_timeout", "upstream.connect_timeout", true),
];

/// `key = value`, `key TO value`, or LANE, a lane, and either.
fn set(rest: &[Word]) -> Option<Command> {
    let first = keyword(rest.first());
    if first.as_deref().is_some_and(|key| NOT_OURS.contains(&key)) {
        return Some(Command::Ignored("SET"));
    }
    let is_lane = first.as_deref() == Some("lane") && rest.len() == 5;
    let (prefix, pair) = if is_lane {
        (format!("lanes.{}.", name(rest.get(1))?), &rest[2..])
    } else {
        (String::new(), rest)
    };
    let [key, assigns, value] = pair else {
        return None;
    };
    let assigns = *assigns == Word::Symbol('=') || keyword(Some(assigns))? == "to";
    let (key, value) = (name(Some(key))?, name(Some(value))?);
    let of_pgbouncer = OF_PGBOUNCER.iter().find(|(known, ..)| *known == key);
    let (key, value) = match of_pgbouncer {
        Some((_, ours, true)) if value.parse::<u32>().is_ok() => {
            ((*ours).to_owned(), format!("{value}s"))
        }
        Some((_, ours, _)) => ((*ours).to_owned(), value),
        None => (format!("{prefix}{key}"), value),
    };
    assigns.then_some(Command::Set { key, value })
}

/// A lane, and for how long: seconds, or a number with s, m or h.
fn lease(rest: &[Word]) -> Option<Command> {
    let lane = name(rest.first())?;
    let seconds = match rest.get(1..)? {
        [] => DEFAULT_LEASE,
        [Word::Plain(time)] => {
            let (number, unit) = match time.find(|letter: char| !letter.is_ascii_digit()) {
                Some(at) => time.split_at(at),
                None => (time.as_str(), "s"),
            };
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            number.parse::<u64>().ok()?.checked_mul(unit)?
        }
        _ => return None,
    };
    Some(Command::Lease { lane, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Command {
        let mut commands = commands(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(commands.len(), 1, "{text}");
        commands.remove(0)
    }

    fn set(key: &str, value: &str) -> Command {
        Command::Set {
            key: key.into(),
            value: value.into(),
        }
    }

    #[test]
    fn pgbouncers_forms_are_understood() {
        for (name, show) in Show::ALL {
            assert_eq!(one(&format!("SHOW {name};")), Command::Show(show));
            assert_eq!(
                one(&format!(" select {} ", name.to_uppercase())),
                Command::Show(show)
            );
        }
        assert_eq!(one("PAUSE"), Command::Pause(Scope::All));
        assert_eq!(
            one("pause \"my db\";"),
            Command::Pause(Scope::Database("my db".into()))
        );
        assert_eq!(
            one("RESUME LANE work"),
            Command::Resume(Scope::Lane("work".into()))
        );
        assert_eq!(one("KILL"), Command::Kill(None));
        assert_eq!(one("KILL_CLIENT 42"), Command::KillClient(42));
        assert_eq!(
            one("SHUTDOWN WAIT_FOR_CLIENTS"),
            Command::Shutdown(Waits::Clients)
        );
        assert_eq!(
            one("SET max_client_conn = 200"),
            set("limits.clients", "200")
        );
        assert_eq!(
            one("SET client_login_timeout TO '20'"),
            set("limits.login_timeout", "20s")
        );
        assert_eq!(commands("ENABLE"), Err(ParseError::NoDatabase));
        assert_eq!(commands("KILL_CLIENT x"), Err(ParseError::NoId));
    }

    #[test]
    fn our_own_forms_are_understood() {
        let expected = set("lanes.evaluation.slots.max", "8");
        assert_eq!(one("SET LANE evaluation slots.max = 8"), expected);
        assert_eq!(one("SET LANE evaluation slots.max TO 8;"), expected);
        assert_eq!(one("set lanes.evaluation.slots.max = 8"), expected);
        assert_eq!(
            one("SHOW POOLS EXTENDED"),
            Command::Show(Show::PoolsExtended)
        );
        let lease = |seconds| Command::Lease {
            lane: "evaluation".into(),
            seconds,
        };
        assert_eq!(one("LEASE evaluation"), lease(DEFAULT_LEASE));
        assert_eq!(one("LEASE evaluation 20m"), lease(1200));
        assert_eq!(one("CANCEL 7"), Command::Cancel(7));
    }

    #[test]
    fn what_drivers_say_to_every_server_is_understood() {
        for text in [
            "SET client_encoding TO 'UTF8'",
            "SET extra_float_digits = 3",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "BEGIN",
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "COMMIT",
            "ROLLBACK",
            "DISCARD ALL",
            "SELECT version()",
            "SELECT pg_catalog.version();",
            "SHOW TRANSACTION ISOLATION LEVEL",
            "SHOW server_version",
            "SELECT 1",
            "-- a comment\nSELECT 1 /* and another */",
        ] {
            one(text);
        }
        assert_eq!(commands(""), Ok(Vec::new()));
        assert_eq!(commands(" ; /* nothing */ ; "), Ok(Vec::new()));
        assert_eq!(
            commands("BEGIN; SHOW POOLS; COMMIT").map(|all| all.len()),
            Ok(3)
        );
    }

    #[test]
    fn what_is_no_command_is_refused_shortly() {
        for text in [
            "BOGUS",
            "SHOW BOGUS",
            "SELECT * FROM pg_class",
            "SET nope",
            "PAUSE a b c",
            "\"show\" pools",
            "'",
        ] {
            assert!(commands(text).is_err(), "{text}");
        }
        let long = format!("BOGUS {}", "x".repeat(1000));
        let Err(ParseError::Invalid(shown)) = commands(&long) else {
            panic!("{long}");
        };
        assert_eq!(shown.len(), SHOWN);
        assert_eq!(
            commands(&"x".repeat(LONGEST_TEXT + 1)),
            Err(ParseError::TooLong)
        );
        assert_eq!(
            commands(&"BEGIN;".repeat(MOST_COMMANDS + 1)),
            Err(ParseError::TooLong)
        );
        assert_eq!(
            commands(&format!("RESET {}", "a ".repeat(MOST_WORDS))),
            Err(ParseError::TooLong)
        );
    }
}
