//! Which lane a client would be in, and why.

use pglanes_config::{Choice, ClientAddress, Config, Subject};
use pglanes_lanes::classify::{Origin, USUAL_SCHEMA};
use pglanes_wire::sql;
use thiserror::Error;

use crate::source::Source;

/// What is wrong with the question.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExplainError {
    /// A word without `=`.
    #[error(
        "--explain: `{0}` is not KEY=VALUE; a client is described as 'application_name=ltst user=me database=db'"
    )]
    NotAPair(String),
    /// A key that rules do not ask for.
    #[error("--explain: `{0}` is none of application_name, user, database, address, pglanes.lane")]
    UnknownKey(String),
    /// What is no address.
    #[error("--explain: `{0}` is no address; 10.1.2.3, or `local` for a unix socket, is right")]
    Address(String),
    /// A quote without its end.
    #[error("--explain: the value of `{0}` has a quote without its end")]
    OpenQuote(String),
}

/// The client as it was described.
#[derive(Debug, Default, PartialEq, Eq)]
struct Client {
    origin: Origin,
    chosen: Option<String>,
    application_name: String,
    user: String,
    database: String,
}

/// Which lane takes this client's session, and a transaction that begins with this statement, by which rule. The text
/// ends with a line's end.
///
/// # Errors
/// [`ExplainError`]: the client is not described as `key=value`.
pub fn explain(
    source: &Source,
    config: &Config,
    client: &str,
    statement: Option<&str>,
) -> Result<String, ExplainError> {
    let client = Client::parse(client)?;
    let mut tags = Vec::new();
    let text = statement.unwrap_or_default().as_bytes();
    sql::tags(text, |key, value| {
        tags.push((key.to_owned(), value.to_owned()))
    });
    let tags: Vec<(&str, &str)> = tags
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let mut tables = Vec::new();
    sql::tables(text, |schema, name| {
        tables.push((schema.unwrap_or(USUAL_SCHEMA).to_owned(), name.to_owned()));
    });
    let tables: Vec<(&str, &str)> = tables
        .iter()
        .map(|(schema, name)| (schema.as_str(), name.as_str()))
        .collect();
    let normalised = sql::normalised(text);
    let kind = statement.map(|_| pglanes_proxy::kind_of(text));
    let found = config.explain(&Subject {
        origin: client.origin,
        chosen: client.chosen.as_deref(),
        tables: &tables,
        text: &normalised,
        application_name: &client.application_name,
        user: &client.user,
        database: &client.database,
        statement: kind,
        tags: &tags,
    });
    let why = match (&found.rule, found.line) {
        (None, _) if found.choice == Choice::Taken => "the session chose it".to_owned(),
        (None, _) => "no rule matches".to_owned(),
        (Some(rule), 0) => format!("a rule of the built-in lanes.yaml: {rule}"),
        (Some(rule), line) => format!("line {line} of {source}: {rule}"),
    };
    let mut answer = format!("lane {}: {why}\n", found.lane);
    if let Some(kind) = kind {
        answer.push_str(&format!("the statement counts as {}\n", kind.name()));
        if !tables.is_empty() {
            let names: Vec<String> = tables
                .iter()
                .map(|(schema, name)| format!("{schema}.{name}"))
                .collect();
            answer.push_str(&format!("it names {}\n", names.join(", ")));
        }
        answer.push_str(&format!(
            "its text is held against `text` as: {normalised}\n"
        ));
    }
    answer.push_str(&choice(&client, found.choice));
    if found.lane != found.session_lane {
        let session = &found.session_lane;
        answer.push_str(&format!(
            "the session is in lane {session}; this transaction is moved\n"
        ));
    }
    Ok(answer)
}

/// What became of the session's choice, where it is worth a line.
fn choice(client: &Client, choice: Choice) -> String {
    let chosen = client.chosen.as_deref().unwrap_or_default();
    match choice {
        Choice::None | Choice::Taken => String::new(),
        Choice::UnknownLane => format!("there is no lane {chosen} to choose\n"),
        Choice::Refused => {
            format!("the session may not choose lane {chosen}: its chosen_by has no such rule\n")
        }
    }
}

impl Client {
    fn parse(text: &str) -> Result<Self, ExplainError> {
        let mut client = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let Some((key, after)) = rest.split_once('=') else {
                return Err(ExplainError::NotAPair(rest.trim_end().to_owned()));
            };
            let key = key.trim();
            let (value, after) = value(key, after.trim_start())?;
            let place = match key {
                "address" => {
                    client.origin = origin(value)?;
                    rest = after.trim_start();
                    continue;
                }
                "pglanes.lane" => client.chosen.insert(String::new()),
                "application_name" => &mut client.application_name,
                "user" => &mut client.user,
                "database" | "dbname" => &mut client.database,
                _ if key.contains(char::is_whitespace) => {
                    return Err(ExplainError::NotAPair(key.to_owned()));
                }
                _ => return Err(ExplainError::UnknownKey(key.to_owned())),
            };
            *place = value.to_owned();
            rest = after.trim_start();
        }
        Ok(client)
    }
}

fn origin(text: &str) -> Result<Origin, ExplainError> {
    if text == "local" {
        return Ok(ClientAddress::Local.into());
    }
    let address = text
        .parse()
        .map_err(|_| ExplainError::Address(text.to_owned()))?;
    Ok(ClientAddress::Tcp(address).into())
}

/// A value up to white space, or between single quotes.
fn value<'t>(key: &str, text: &'t str) -> Result<(&'t str, &'t str), ExplainError> {
    match text.strip_prefix('\'') {
        Some(quoted) => quoted
            .split_once('\'')
            .ok_or_else(|| ExplainError::OpenQuote(key.to_owned())),
        None => Ok(text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(client: &str, statement: Option<&str>) -> String {
        let source = Source::BuiltIn {
            appears: "lanes.yaml".into(),
        };
        explain(&source, &Config::default(), client, statement).unwrap()
    }

    #[test]
    fn the_rule_that_decides_is_named() {
        assert_eq!(
            answer("application_name=ragchecker-7", None),
            "lane evaluation: a rule of the built-in lanes.yaml: application_name: ragchecker*\n"
        );
        assert_eq!(
            answer("application_name=psql", None),
            "lane default: no rule matches\n"
        );
        assert_eq!(answer("", None), "lane default: no rule matches\n");
    }

    #[test]
    fn a_statement_or_its_tag_may_move_the_transaction() {
        let text = answer("application_name=ltst", Some("vacuum memories"));
        assert!(text.starts_with("lane compaction: "), "{text}");
        assert!(text.contains("the statement counts as VACUUM\n"), "{text}");
        assert!(
            text.contains("the session is in lane ltst; this transaction is moved\n"),
            "{text}"
        );
        let text = answer("user=me", Some("/*job='compaction'*/ SELECT 1"));
        assert!(text.starts_with("lane compaction: "), "{text}");
        assert!(!answer("application_name=ltst", Some("SELECT 1")).contains("moved"));
    }

    #[test]
    fn what_rules_see_of_a_statement_is_shown() {
        let text = answer("user=me", Some("DELETE FROM a.T WHERE x < 5"));
        assert!(
            text.contains("the statement counts as BULK DELETE\n"),
            "{text}"
        );
        assert!(text.contains("it names a.t\n"), "{text}");
        assert!(text.contains("as: delete from a.t where x < ?\n"), "{text}");
        let text = answer("user=me pglanes.lane=evaluation address=10.0.0.1", None);
        assert!(text.contains("may not choose lane evaluation"), "{text}");
    }

    #[test]
    fn a_client_is_described_in_pairs() {
        let client = Client::parse(" application_name='my app'  user=me dbname = db ").unwrap();
        assert_eq!(
            (
                client.application_name.as_str(),
                client.user.as_str(),
                client.database.as_str()
            ),
            ("my app", "me", "db")
        );
        let check = |text, expected| assert_eq!(Client::parse(text), Err(expected), "{text}");
        check("ltst", ExplainError::NotAPair("ltst".to_owned()));
        check("user=me ltst", ExplainError::NotAPair("ltst".to_owned()));
        check(
            "ltst user=me",
            ExplainError::NotAPair("ltst user".to_owned()),
        );
        check("name=ltst", ExplainError::UnknownKey("name".to_owned()));
        check("address=here", ExplainError::Address("here".to_owned()));
        check("user='me", ExplainError::OpenQuote("user".to_owned()));
    }
}
