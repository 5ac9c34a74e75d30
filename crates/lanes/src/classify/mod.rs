//! The classifier: ordered rules, first match wins, that put a session, or one transaction of it, in a lane.
//!
//! `glob` matches names, `statement` names kinds of statement, `facts` is what is known, `condition` what a rule asks for,
//! `shadow` finds rules that can never match; the rules and their order are here.
//!
//! A session may also choose a lane for itself, where the lane's `choices` allow it. Its choice stands where the lane's own
//! rules do: what stands before them may still move its transactions, what stands behind them may not.

mod condition;
mod facts;
mod glob;
mod shadow;
mod statement;

pub use condition::{Condition, Network, Place, TablePattern};
pub use facts::{MAX_TEXT_PATTERNS, Needs, Origin, SessionFacts, TransactionFacts, USUAL_SCHEMA};
pub use glob::Glob;
pub use statement::StatementKind;

use crate::LaneId;

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

    fn holds_for_session(&self, facts: &SessionFacts<'_>) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds_for_session(facts))
    }

    fn needs(&self) -> Needs {
        let needs = self.conditions.iter().map(Condition::needs);
        needs.fold(Needs::default(), Needs::and)
    }

    fn is_open_to(&self, session_lane: LaneId) -> bool {
        self.conditions.iter().all(
            |condition| !matches!(condition, Condition::FromLane(lane) if *lane != session_lane),
        )
    }
}

/// Where a session or transaction belongs, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// The lane.
    pub lane: LaneId,
    /// What put it there.
    pub why: Why,
}

impl Classified {
    /// The place of the rule that put it there, if it was one.
    #[must_use]
    pub fn rule(&self) -> Option<usize> {
        match self.why {
            Why::Rule(place) => Some(place),
            Why::Default | Why::Chosen => None,
        }
    }
}

/// What put a session or transaction in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No rule matched.
    Default,
    /// The rule of this place in the list.
    Rule(usize),
    /// The session chose it.
    Chosen,
}

/// The rules in order, with the lane of everything that none of them matches.
#[derive(Clone, Debug)]
pub struct Classifier {
    rules: Vec<Rule>,
    default: LaneId,
    /// By session lane: what the rules ask that can move its transactions; none where there is no such rule.
    needs: Vec<Option<Needs>>,
    /// The same for sessions that chose the lane.
    needs_of_chosen: Vec<Option<Needs>>,
    /// Who may choose a lane: sessions that meet all conditions of one of its rules.
    choices: Vec<Rule>,
    /// By lane: how many rules stand before its own.
    places: Vec<usize>,
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
        let needs = (0..lanes)
            .map(|lane| may_be_moved(&rules, default, LaneId(lane as u16)))
            .collect();
        Self {
            rules,
            default,
            needs,
            needs_of_chosen: Vec::new(),
            choices: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Lets sessions choose lanes: those that meet a rule of `choices`, the lane that the rule leads to. `places` says for
    /// each lane, by its id, how many rules stand before its own.
    #[must_use]
    pub fn with_choices(mut self, choices: Vec<Rule>, places: Vec<usize>) -> Self {
        self.needs_of_chosen = (0..places.len())
            .map(|lane| needs_of(self.before(places[lane]), LaneId(lane as u16)))
            .collect();
        self.choices = choices;
        self.places = places;
        self
    }

    fn before(&self, place: usize) -> &[Rule] {
        &self.rules[..place.min(self.rules.len())]
    }

    /// Whether such a session may choose the lane.
    #[must_use]
    pub fn may_choose(&self, lane: LaneId, facts: &SessionFacts<'_>) -> bool {
        self.choices
            .iter()
            .any(|rule| rule.lane == lane && rule.holds_for_session(facts))
    }

    /// The lane of a session: what it chose, where it may; else the first rule that is about sessions alone and matches,
    /// else the default.
    #[must_use]
    pub fn session(&self, facts: &SessionFacts<'_>, chosen: Option<LaneId>) -> Classified {
        if let Some(lane) = chosen.filter(|lane| self.may_choose(*lane, facts)) {
            return Classified {
                lane,
                why: Why::Chosen,
            };
        }
        let matching = self
            .rules
            .iter()
            .position(|rule| rule.holds_for_session(facts));
        Classified {
            lane: matching.map_or(self.default, |index| self.rules[index].lane),
            why: matching.map_or(Why::Default, Why::Rule),
        }
    }

    /// What the rules ask about a transaction's first statement that may move it; `None` where none can, and the owner need
    /// not look at statements at all.
    #[must_use]
    pub fn needs(&self, session: Classified) -> Option<Needs> {
        let needs = match session.why {
            Why::Chosen => &self.needs_of_chosen,
            Why::Default | Why::Rule(_) => &self.needs,
        };
        // A lane that no rule leads to has sessions that were there before a reload.
        needs.get(session.lane.index()).copied().flatten()
    }

    /// The lane of one transaction: the first rule of all that matches it, else the session's own.
    #[must_use]
    pub fn transaction(
        &self,
        session: Classified,
        facts: &SessionFacts<'_>,
        transaction: &TransactionFacts<'_>,
    ) -> Classified {
        if self.needs(session).is_none() {
            return session;
        }
        let (rules, chosen) = match session.why {
            Why::Chosen => {
                let place = self.places.get(session.lane.index()).copied();
                (self.before(place.unwrap_or(0)), true)
            }
            Why::Default | Why::Rule(_) => (self.rules.as_slice(), false),
        };
        let matching = rules.iter().position(|rule| {
            // A choice goes before what the session's names say.
            (!chosen || rule.is_about_transactions())
                && rule.conditions.iter().all(|condition| {
                    condition.holds_for_transaction(session.lane, facts, transaction)
                })
        });
        matching.map_or(session, |index| Classified {
            lane: self.rules[index].lane,
            why: Why::Rule(index),
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
fn may_be_moved(rules: &[Rule], default: LaneId, lane: LaneId) -> Option<Needs> {
    let last_way_in = if lane == default {
        rules.len()
    } else {
        rules
            .iter()
            .rposition(|rule| rule.lane == lane && !rule.is_about_transactions())
            .unwrap_or(0)
    };
    needs_of(&rules[..last_way_in], lane)
}

/// What these rules ask about transactions of such sessions; `None` where none is about them.
fn needs_of(rules: &[Rule], lane: LaneId) -> Option<Needs> {
    rules
        .iter()
        .filter(|rule| rule.is_about_transactions() && rule.is_open_to(lane))
        .map(Rule::needs)
        .reduce(Needs::and)
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
            origin: Origin::Local,
        }
    }

    fn lane_of(name: &str, statement: StatementKind, tags: &[(&str, &str)]) -> LaneId {
        let classifier = house();
        let session = classifier.session(&facts(name), None);
        classifier
            .transaction(
                session,
                &facts(name),
                &TransactionFacts {
                    tags,
                    ..TransactionFacts::of_kind(statement)
                },
            )
            .lane
    }

    fn moves(classifier: &Classifier, lane: LaneId) -> bool {
        let session = Classified {
            lane,
            why: Why::Default,
        };
        classifier.needs(session).is_some()
    }

    #[test]
    fn sessions_go_by_the_first_rule_that_matches() {
        let classifier = house();
        let lane = |name| classifier.session(&facts(name), None);
        assert_eq!(
            lane("ragchecker-1"),
            Classified {
                lane: EVALUATION,
                why: Why::Rule(0)
            }
        );
        assert_eq!(
            lane("ltst-compaction"),
            Classified {
                lane: COMPACTION,
                why: Why::Rule(1)
            }
        );
        assert_eq!(
            lane("ltst-search"),
            Classified {
                lane: LTST,
                why: Why::Rule(4)
            }
        );
        assert_eq!(
            lane(""),
            Classified {
                lane: DEFAULT,
                why: Why::Default
            }
        );
        let reader = SessionFacts {
            application_name: "psql",
            user: "readonly_bi",
            database: "x",
            origin: Origin::Local,
        };
        assert_eq!(classifier.session(&reader, None).lane, READONLY);
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
        assert!(!moves(&classifier, EVALUATION));
        assert!(!moves(&classifier, COMPACTION));
        assert!(moves(&classifier, LTST));
        assert!(moves(&classifier, READONLY));
        assert!(moves(&classifier, DEFAULT));
        assert!(!moves(&Classifier::new(Vec::new(), DEFAULT), DEFAULT));
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

    #[test]
    fn bulk_is_a_part_of_its_kind() {
        let rules = |kind| {
            let condition = Condition::Statement(vec![kind]);
            Classifier::new(vec![rule(COMPACTION, vec![condition])], DEFAULT)
        };
        let lane = |rules: &Classifier, statement| {
            let session = rules.session(&facts(""), None);
            let facts_of = TransactionFacts::of_kind(statement);
            rules.transaction(session, &facts(""), &facts_of).lane
        };
        let bulk = rules(StatementKind::BulkDelete);
        assert_eq!(lane(&bulk, StatementKind::BulkDelete), COMPACTION);
        assert_eq!(lane(&bulk, StatementKind::Delete), DEFAULT);
        let every = rules(StatementKind::Delete);
        assert_eq!(lane(&every, StatementKind::BulkDelete), COMPACTION);
        assert_eq!(lane(&every, StatementKind::BulkUpdate), DEFAULT);
        let needs = |rules: &Classifier| rules.needs(rules.session(&facts(""), None)).unwrap();
        assert!(needs(&bulk).breadth && !needs(&every).breadth);
    }

    #[test]
    fn only_what_rules_ask_about_has_to_be_found_out() {
        let classifier = Classifier::new(
            vec![
                rule(
                    COMPACTION,
                    vec![Condition::Table(vec![TablePattern::new("t")])],
                ),
                rule(LTST, vec![application("ltst*")]),
                rule(READONLY, vec![Condition::Text(3)]),
            ],
            DEFAULT,
        );
        let needs = |name| {
            classifier
                .needs(classifier.session(&facts(name), None))
                .unwrap()
        };
        assert_eq!(
            needs("ltst"),
            Needs {
                tables: true,
                ..Needs::default()
            }
        );
        assert_eq!(
            needs(""),
            Needs {
                tables: true,
                texts: true,
                ..Needs::default()
            }
        );
        let moved = |tables: &[(&str, &str)], texts| {
            let transaction = TransactionFacts {
                tables,
                texts,
                ..TransactionFacts::of_kind(StatementKind::Select)
            };
            let session = classifier.session(&facts(""), None);
            classifier
                .transaction(session, &facts(""), &transaction)
                .lane
        };
        assert_eq!(moved(&[("public", "u"), ("s", "t")], 0), COMPACTION);
        assert_eq!(moved(&[("public", "u")], 0b1000), READONLY);
        assert_eq!(moved(&[("public", "u")], 0b0111), DEFAULT);
    }

    #[test]
    fn a_choice_stands_where_the_rules_of_its_lane_do() {
        let choices = vec![
            rule(EVALUATION, vec![Condition::User(Glob::new("app"))]),
            rule(LTST, vec![application("ltst*")]),
        ];
        let classifier = house().with_choices(choices, vec![0, 1, 4, 5, 6]);
        let chosen = |name, lane| classifier.session(&facts(name), Some(lane));
        assert_eq!(chosen("psql", EVALUATION).why, Why::Chosen);
        // Who may not choose is where the rules say.
        assert_eq!(
            chosen("psql", LTST),
            classifier.session(&facts("psql"), None)
        );
        assert_eq!(chosen("ltst", READONLY).lane, LTST);
        let lane = |name, lane, statement, tags| {
            let transaction = TransactionFacts {
                tags,
                ..TransactionFacts::of_kind(statement)
            };
            let session = chosen(name, lane);
            classifier
                .transaction(session, &facts(name), &transaction)
                .lane
        };
        let tags: &[_] = &[("job", "compaction")];
        // Evaluation's rules stand first: nothing takes its transactions away, nor do the session's names.
        assert_eq!(
            lane("ltst", EVALUATION, StatementKind::Vacuum, tags),
            EVALUATION
        );
        assert_eq!(lane("ltst", LTST, StatementKind::Vacuum, &[]), COMPACTION);
        assert_eq!(lane("ltst", LTST, StatementKind::Select, &[]), LTST);
    }
}
