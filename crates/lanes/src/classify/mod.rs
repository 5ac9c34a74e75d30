//! The classifier: ordered rules, first match wins, that put a session, or one transaction of it, in a lane.
//!
//! `glob` matches names, `statement` names kinds of statement, `shadow` finds rules that can never match; the rules and
//! their order are here.

mod glob;
mod shadow;
mod statement;

pub use glob::Glob;
pub use statement::StatementKind;

use crate::LaneId;

/// What is known of a session when it has logged in. The names are the real ones, after aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFacts<'a> {
    /// What the client calls itself; empty when it does not say.
    pub application_name: &'a str,
    /// The user.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
}

/// One thing a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The session's application_name matches.
    ApplicationName(Glob),
    /// Its user matches.
    User(Glob),
    /// Its database matches.
    Database(Glob),
    /// The session itself is in this lane. For transactions only.
    FromLane(LaneId),
    /// The transaction's first statement is one of these. For transactions only.
    Statement(Vec<StatementKind>),
    /// A comment tag of the transaction's first statement matches. For transactions only.
    Tag {
        /// The tag's name.
        key: String,
        /// What its value must match.
        value: Glob,
    },
}

impl Condition {
    fn is_about_transactions(&self) -> bool {
        match self {
            Self::ApplicationName(_) | Self::User(_) | Self::Database(_) => false,
            Self::FromLane(_) | Self::Statement(_) | Self::Tag { .. } => true,
        }
    }

    fn holds_for_session(&self, facts: &SessionFacts<'_>) -> bool {
        match self {
            Self::ApplicationName(glob) => glob.matches(facts.application_name),
            Self::User(glob) => glob.matches(facts.user),
            Self::Database(glob) => glob.matches(facts.database),
            Self::FromLane(_) | Self::Statement(_) | Self::Tag { .. } => false,
        }
    }

    fn holds_for_transaction(
        &self,
        session_lane: LaneId,
        facts: &SessionFacts<'_>,
        statement: StatementKind,
        tags: &[(&str, &str)],
    ) -> bool {
        match self {
            Self::FromLane(lane) => *lane == session_lane,
            Self::Statement(kinds) => kinds.contains(&statement),
            Self::Tag { key, value } => tags
                .iter()
                .any(|(found, text)| found == key && value.matches(text)),
            Self::ApplicationName(_) | Self::User(_) | Self::Database(_) => {
                self.holds_for_session(facts)
            }
        }
    }
}

/// Puts what meets all its conditions into a lane. Without conditions it matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The lane it leads to.
    pub lane: LaneId,
    /// What it asks for, all of it.
    pub conditions: Vec<Condition>,
}

impl Rule {
    fn is_about_transactions(&self) -> bool {
        self.conditions.iter().any(Condition::is_about_transactions)
    }

    fn is_open_to(&self, session_lane: LaneId) -> bool {
        self.conditions.iter().all(
            |condition| !matches!(condition, Condition::FromLane(lane) if *lane != session_lane),
        )
    }
}

/// Where a session or transaction belongs, and which rule said so; no rule for the default lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// The lane.
    pub lane: LaneId,
    /// The rule's place in the list.
    pub rule: Option<usize>,
}

/// The rules in order, with the lane of everything that none of them matches.
#[derive(Clone, Debug)]
pub struct Classifier {
    rules: Vec<Rule>,
    default: LaneId,
    /// By session lane: whether a statement's kind or tags can move its transactions.
    transaction_rules: Vec<bool>,
    any_transaction_rule: bool,
}

impl Classifier {
    /// A classifier over rules in order, and a lane for the rest.
    #[must_use]
    pub fn new(rules: Vec<Rule>, default: LaneId) -> Self {
        let lanes = rules
            .iter()
            .map(|rule| rule.lane)
            .chain([default])
            .map(LaneId::index)
            .max()
            .map_or(0, |last| last + 1);
        let transaction_rules = (0..lanes)
            .map(|lane| may_be_moved(&rules, default, LaneId(lane as u16)))
            .collect();
        let any_transaction_rule = rules.iter().any(Rule::is_about_transactions);
        Self {
            rules,
            default,
            transaction_rules,
            any_transaction_rule,
        }
    }

    /// The lane of a session: the first rule that is about sessions alone and matches, else the default.
    #[must_use]
    pub fn session(&self, facts: &SessionFacts<'_>) -> Classified {
        let matching = self.rules.iter().position(|rule| {
            rule.conditions
                .iter()
                .all(|condition| condition.holds_for_session(facts))
        });
        Classified {
            lane: matching.map_or(self.default, |index| self.rules[index].lane),
            rule: matching,
        }
    }

    /// Whether some rule about statements or tags may apply to a session of this lane. Where not, the owner need not look
    /// at statements at all.
    #[must_use]
    pub fn has_transaction_rules(&self, session_lane: LaneId) -> bool {
        self.transaction_rules
            .get(session_lane.index())
            .copied()
            .unwrap_or(self.any_transaction_rule)
    }

    /// The lane of one transaction: the first rule of all that matches it, else the session's own.
    #[must_use]
    pub fn transaction(
        &self,
        session: Classified,
        facts: &SessionFacts<'_>,
        statement: StatementKind,
        tags: &[(&str, &str)],
    ) -> Classified {
        if !self.has_transaction_rules(session.lane) {
            return session;
        }
        let matching = self.rules.iter().position(|rule| {
            rule.conditions.iter().all(|condition| {
                condition.holds_for_transaction(session.lane, facts, statement, tags)
            })
        });
        matching.map_or(session, |index| Classified {
            lane: self.rules[index].lane,
            rule: Some(index),
        })
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The lane of what no rule matches.
    #[must_use]
    pub fn default_lane(&self) -> LaneId {
        self.default
    }

    /// Rules that can never be the first to match, each with an earlier one that takes everything from it. Finds what is
    /// sure; two rules that shadow a third together go unseen.
    #[must_use]
    pub fn unreachable_rules(&self) -> Vec<(usize, usize)> {
        shadow::unreachable(&self.rules)
    }
}

/// A session of this lane came by a rule that leads to it (or by default); only what stands before that rule can take its
/// transactions away.
fn may_be_moved(rules: &[Rule], default: LaneId, lane: LaneId) -> bool {
    let last_way_in = if lane == default {
        rules.len()
    } else {
        rules
            .iter()
            .rposition(|rule| rule.lane == lane && !rule.is_about_transactions())
            .unwrap_or(0)
    };
    rules[..last_way_in]
        .iter()
        .any(|rule| rule.is_about_transactions() && rule.is_open_to(lane))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVALUATION: LaneId = LaneId(0);
    const COMPACTION: LaneId = LaneId(1);
    const LTST: LaneId = LaneId(2);
    const READONLY: LaneId = LaneId(3);
    const DEFAULT: LaneId = LaneId(4);

    fn rule(lane: LaneId, conditions: Vec<Condition>) -> Rule {
        Rule { lane, conditions }
    }

    fn application(glob: &str) -> Condition {
        Condition::ApplicationName(Glob::new(glob))
    }

    /// The rules of the design's lanes.yaml.
    fn house() -> Classifier {
        Classifier::new(
            vec![
                rule(EVALUATION, vec![application("ragchecker*")]),
                rule(COMPACTION, vec![application("ltst-compaction*")]),
                rule(
                    COMPACTION,
                    vec![
                        Condition::FromLane(LTST),
                        Condition::Statement(vec![StatementKind::Delete, StatementKind::Vacuum]),
                    ],
                ),
                rule(
                    COMPACTION,
                    vec![Condition::Tag {
                        key: "job".into(),
                        value: Glob::new("compaction"),
                    }],
                ),
                rule(LTST, vec![application("ltst*")]),
                rule(READONLY, vec![Condition::User(Glob::new("readonly*"))]),
            ],
            DEFAULT,
        )
    }

    fn facts(application_name: &str) -> SessionFacts<'_> {
        SessionFacts {
            application_name,
            user: "app",
            database: "ai_agency",
        }
    }

    fn lane_of(name: &str, statement: StatementKind, tags: &[(&str, &str)]) -> LaneId {
        let classifier = house();
        let session = classifier.session(&facts(name));
        classifier
            .transaction(session, &facts(name), statement, tags)
            .lane
    }

    #[test]
    fn sessions_go_by_the_first_rule_that_matches() {
        let classifier = house();
        let lane = |name| classifier.session(&facts(name));
        assert_eq!(
            lane("ragchecker-1"),
            Classified {
                lane: EVALUATION,
                rule: Some(0)
            }
        );
        assert_eq!(
            lane("ltst-compaction"),
            Classified {
                lane: COMPACTION,
                rule: Some(1)
            }
        );
        assert_eq!(
            lane("ltst-search"),
            Classified {
                lane: LTST,
                rule: Some(4)
            }
        );
        assert_eq!(
            lane(""),
            Classified {
                lane: DEFAULT,
                rule: None
            }
        );
        let reader = SessionFacts {
            application_name: "psql",
            user: "readonly_bi",
            database: "x",
        };
        assert_eq!(classifier.session(&reader).lane, READONLY);
    }

    #[test]
    fn statements_and_tags_move_a_transaction() {
        assert_eq!(lane_of("ltst", StatementKind::Vacuum, &[]), COMPACTION);
        assert_eq!(lane_of("ltst", StatementKind::Select, &[]), LTST);
        assert_eq!(lane_of("psql", StatementKind::Vacuum, &[]), DEFAULT);
        let tags = [("job", "compaction")];
        assert_eq!(lane_of("psql", StatementKind::Select, &tags), COMPACTION);
        assert_eq!(
            lane_of("psql", StatementKind::Select, &[("job", "other")]),
            DEFAULT
        );
        // An earlier session rule keeps its transactions.
        assert_eq!(
            lane_of("ragchecker", StatementKind::Select, &tags),
            EVALUATION
        );
    }

    #[test]
    fn lanes_whose_transactions_cannot_move_are_known_beforehand() {
        let classifier = house();
        assert!(!classifier.has_transaction_rules(EVALUATION));
        assert!(!classifier.has_transaction_rules(COMPACTION));
        assert!(classifier.has_transaction_rules(LTST));
        assert!(classifier.has_transaction_rules(READONLY));
        assert!(classifier.has_transaction_rules(DEFAULT));
        assert!(!Classifier::new(Vec::new(), DEFAULT).has_transaction_rules(DEFAULT));
    }

    #[test]
    fn a_shadowed_rule_is_reported_with_what_shadows_it() {
        let classifier = Classifier::new(
            vec![
                rule(LTST, vec![application("ltst*")]),
                rule(COMPACTION, vec![application("ltst-compaction*")]),
                rule(
                    COMPACTION,
                    vec![
                        application("ltst"),
                        Condition::Statement(vec![StatementKind::Delete]),
                    ],
                ),
                rule(READONLY, vec![Condition::User(Glob::new("ltst*"))]),
                rule(READONLY, vec![]),
                rule(EVALUATION, vec![application("x")]),
            ],
            DEFAULT,
        );
        assert_eq!(classifier.unreachable_rules(), vec![(1, 0), (2, 0), (5, 4)]);
        assert_eq!(house().unreachable_rules(), vec![]);
    }
}
