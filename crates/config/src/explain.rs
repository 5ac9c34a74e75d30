//! Which lane a client would be in, and why: for `pglanes check`.

use pglanes_lanes::classify::{
    Classified, Origin, SessionFacts, StatementKind, TransactionFacts, Why,
};

use crate::lane::DEFAULT_LANE;
use crate::model::Config;

/// The client that is asked about, by the names it would use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'s> {
    /// Its application_name.
    pub application_name: &'s str,
    /// The user it logs in as; an alias is resolved.
    pub user: &'s str,
    /// The database it asks for; an alias is resolved.
    pub database: &'s str,
    /// Where it comes from.
    pub origin: Origin,
    /// The lane it chose by `SET pglanes.lane`.
    pub chosen: Option<&'s str>,
    /// The first statement of its transaction.
    pub statement: Option<StatementKind>,
    /// The tags of that statement.
    pub tags: &'s [(&'s str, &'s str)],
    /// The tables it names, with their schemas.
    pub tables: &'s [(&'s str, &'s str)],
    /// Its text without values.
    pub text: &'s str,
}

/// What became of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// There was none.
    None,
    /// It put the session in its lane.
    Taken,
    /// There is no such lane.
    UnknownLane,
    /// The lane's `chosen_by` does not name such sessions.
    Refused,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The lane of the session.
    pub session_lane: String,
    /// The lane of the transaction; the session's unless the statement or a tag moves it.
    pub lane: String,
    /// The rule that decided, as it would be written; `None` is `default`.
    pub rule: Option<String>,
    /// The line of the file that the rule is on; zero where there is none.
    pub line: usize,
    /// What became of the session's choice.
    pub choice: Choice,
}

impl Config {
    /// Which lane takes the subject's transaction, by which rule.
    pub fn explain(&self, subject: &Subject<'_>) -> Explanation {
        let (_, index) = self.policy(None);
        let classifier = self.classifier(&index);
        let facts = SessionFacts {
            application_name: subject.application_name,
            user: self.real_user(subject.user).name,
            database: self.real_database(subject.database).0,
            origin: subject.origin,
        };
        let chosen = subject.chosen.and_then(|name| index.id(name));
        let session = classifier.session(&facts, chosen);
        let choice = match (subject.chosen, chosen, session.why) {
            (None, ..) => Choice::None,
            (Some(_), _, Why::Chosen) => Choice::Taken,
            (Some(_), Some(_), _) => Choice::Refused,
            (Some(_), None, _) => Choice::UnknownLane,
        };
        let transaction = classifier.transaction(
            session,
            &facts,
            &TransactionFacts {
                statement: subject.statement.unwrap_or(StatementKind::Other),
                tags: subject.tags,
                tables: subject.tables,
                texts: self.text_patterns().matches(subject.text),
            },
        );
        let name = |found: Classified| index.name(found.lane).unwrap_or(DEFAULT_LANE).to_owned();
        let rule = match transaction.why {
            Why::Rule(place) => self.rules().nth(place),
            Why::Default | Why::Chosen => None,
        };
        Explanation {
            session_lane: name(session),
            lane: name(transaction),
            rule: rule.map(|(_, rule)| rule.to_string()),
            line: rule.map_or(0, |(_, rule)| rule.line),
            choice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(application_name: &str, statement: Option<StatementKind>) -> (String, String) {
        let subject = Subject {
            application_name,
            user: "me",
            database: "db",
            statement,
            ..Subject::default()
        };
        let explanation = Config::default().explain(&subject);
        (explanation.lane, explanation.rule.unwrap_or_default())
    }

    #[test]
    fn the_default_file_puts_the_workloads_where_they_belong() {
        for (application_name, statement, expected) in [
            ("ragchecker-7", None, "evaluation"),
            ("ltst-search", Some(StatementKind::Select), "ltst"),
            ("ltst-search", Some(StatementKind::Vacuum), "compaction"),
            ("ltst-compaction", None, "compaction"),
            ("grafana", None, "readonly"),
            ("psql", Some(StatementKind::Vacuum), "default"),
        ] {
            assert_eq!(
                lane(application_name, statement).0,
                expected,
                "{application_name}"
            );
        }
        assert_eq!(
            lane("ragchecker-7", None).1,
            "application_name: ragchecker*"
        );
        assert_eq!(lane("psql", None).1, "");
    }

    #[test]
    fn aliases_are_resolved_before_rules_are_asked() {
        let config = crate::testing::read(
            "users: { ragchecker: { aliases: [ai_user] } }\nlanes:\n  evaluation: { match: [{ user: ragchecker }] }\n",
        )
        .unwrap();
        let subject = Subject {
            user: "ai_user",
            ..Subject::default()
        };
        let explanation = config.explain(&subject);
        assert_eq!(
            (explanation.lane.as_str(), explanation.line),
            ("evaluation", 3)
        );
    }
}
