//! Which lane a client would be in, and why.

use pglanes_config::{Config, Subject};
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
    #[error("--explain: `{0}` is none of application_name, user, database")]
    UnknownKey(String),
    /// A quote without its end.
    #[error("--explain: the value of `{0}` has a quote without its end")]
    OpenQuote(String),
}

/// The client as it was described.
#[derive(Debug, Default, PartialEq, Eq)]
struct Client {
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
    let kind = statement.map(|_| pglanes_proxy::for_rules(sql::inspect(text).first));
    let found = config.explain(&Subject {
        application_name: &client.application_name,
        user: &client.user,
        database: &client.database,
        statement: kind,
        tags: &tags,
    });
    let why = match (&found.rule, found.line) {
        (None, _) => "no rule matches".to_owned(),
        (Some(rule), 0) => format!("a rule of the built-in lanes.yaml: {rule}"),
        (Some(rule), line) => format!("line {line} of {source}: {rule}"),
    };
    let mut answer = format!("lane {}: {why}\n", found.lane);
    if let Some(kind) = kind {
        answer.push_str(&format!("the statement counts as {}\n", kind.name()));
    }
    if found.lane != found.session_lane {
        let session = &found.session_lane;
        answer.push_str(&format!(
            "the session is in lane {session}; this transaction is moved\n"
        ));
    }
    Ok(answer)
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
        check("user='me", ExplainError::OpenQuote("user".to_owned()));
    }
}
