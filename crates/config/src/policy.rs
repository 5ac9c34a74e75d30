//! From the model to what the scheduler and the classifier keep, with lane ids that stay the same over reloads.

use std::time::Duration;

use pglanes_lanes::classify::{Classifier, Condition, Glob, TablePattern};
use pglanes_lanes::{
    Action, CapPolicy, Effect, LaneId, LanePolicy, Policy, RulePolicy, ThrottlePolicy,
};

use crate::lane::{
    Activity, Cpu, DEFAULT_LANE, Keeps, Lane, MatchCondition, MatchRule, Mode, Running, Throttle,
};
use crate::model::Config;
use crate::rule::{Rule, Then, When};

/// How many lanes an index remembers before it gives the places of retired lanes away again. A file has at most
/// [`MAXIMUM_LANES`](crate::MAXIMUM_LANES), so there always is one.
const REMEMBERED_LANES: usize = 512;

/// Which lane has which id. The ids of lanes that a reload keeps stay; removed lanes stay as retired, so that what they
/// still run can end; new ones are appended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LaneIndex {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    presence: Presence,
    /// Raised whenever the settings change: connections of an older epoch have the wrong envelope.
    epoch: u64,
    /// The envelope, kept for a retired lane too.
    settings: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Present,
    Retired,
}

impl LaneIndex {
    /// The id of a lane that is not retired.
    pub fn id(&self, name: &str) -> Option<LaneId> {
        let place = self
            .entries
            .iter()
            .position(|entry| entry.name == name && entry.presence == Presence::Present)?;
        u16::try_from(place).ok().map(LaneId)
    }

    /// The lane's name, retired ones included.
    pub fn name(&self, lane: LaneId) -> Option<&str> {
        self.entries
            .get(lane.index())
            .map(|entry| entry.name.as_str())
    }

    /// The settings that the lane's connections start with, retired ones included.
    pub fn envelope(&self, lane: LaneId) -> &[(String, String)] {
        self.entries
            .get(lane.index())
            .map_or(&[], |entry| &entry.settings)
    }

    /// How many ids there are, retired ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no lane; never so after [`Config::policy`].
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The index after a reload.
    fn following(previous: Option<&Self>, lanes: &[Lane]) -> Self {
        let mut index = previous.cloned().unwrap_or_default();
        for entry in &mut index.entries {
            entry.presence = Presence::Retired;
        }
        for lane in lanes {
            index.take_in(lane);
        }
        index
    }

    fn take_in(&mut self, lane: &Lane) {
        let known = self
            .entries
            .iter()
            .position(|entry| entry.name == lane.name);
        let place = known.or_else(|| {
            let full = self.entries.len() >= REMEMBERED_LANES;
            let retired = || {
                self.entries
                    .iter()
                    .position(|entry| entry.presence == Presence::Retired)
            };
            if full { retired() } else { None }
        });
        let Some(place) = place else {
            self.entries.push(Entry {
                name: lane.name.clone(),
                presence: Presence::Present,
                epoch: 0,
                settings: lane.settings.clone(),
            });
            return;
        };
        let entry = &mut self.entries[place];
        entry.presence = Presence::Present;
        if entry.settings != lane.settings || entry.name != lane.name {
            entry.epoch += 1;
            entry.settings = lane.settings.clone();
            entry.name = lane.name.clone();
        }
    }
}

impl Config {
    /// What the scheduler is to keep, and which lane has which id. After a reload `previous` is the index of before.
    pub fn policy(&self, previous: Option<&LaneIndex>) -> (Policy, LaneIndex) {
        let index = LaneIndex::following(previous, &self.lanes);
        let mut policy = Policy::new(self.upstream.slots);
        for entry in &index.entries {
            let lane = match entry.presence {
                Presence::Present => self.lane(&entry.name),
                Presence::Retired => None,
            };
            policy.lanes.push(match lane {
                Some(lane) => lane_policy(lane, entry.epoch, &index),
                None => LanePolicy {
                    epoch: entry.epoch,
                    retired: true,
                    ..LanePolicy::new(entry.name.clone(), self.upstream.slots)
                },
            });
        }
        let throttles = self.throttles.iter();
        policy.throttles = throttles
            .filter_map(|throttle| throttle_policy(throttle, &index))
            .collect();
        (policy, index)
    }

    /// The rules in order, for an index of [`Self::policy`].
    pub fn classifier(&self, index: &LaneIndex) -> Classifier {
        let texts = self.texts();
        let rule_for = |(lane, rule): (&Lane, &MatchRule)| {
            let conditions = rule
                .conditions
                .iter()
                .map(|condition| condition_for(condition, index, &texts));
            Some(pglanes_lanes::classify::Rule {
                lane: index.id(&lane.name)?,
                conditions: conditions.collect::<Option<_>>()?,
            })
        };
        let rules = self.rules().filter_map(rule_for);
        let choices = self
            .lanes
            .iter()
            .flat_map(|lane| lane.chosen_by.iter().map(move |rule| (lane, rule)));
        let choices = choices.filter_map(rule_for).collect();
        let mut places = vec![0; index.len()];
        let mut place = 0;
        for lane in &self.lanes {
            if let Some(id) = index.id(&lane.name) {
                places[id.index()] = place;
            }
            place += lane.rules.len();
        }
        // `default` is in every validated model, so the index has it; the first lane stands in for a model made by hand.
        let default = index.id(DEFAULT_LANE).unwrap_or(LaneId(0));
        Classifier::new(rules.collect(), default).with_choices(choices, places)
    }

    /// All rules, in the order in which they match, each with its lane.
    pub fn rules(&self) -> impl Iterator<Item = (&Lane, &MatchRule)> {
        self.lanes
            .iter()
            .flat_map(|lane| lane.rules.iter().map(move |rule| (lane, rule)))
    }
}

fn condition_for(
    condition: &MatchCondition,
    index: &LaneIndex,
    texts: &[&str],
) -> Option<Condition> {
    Some(match condition {
        MatchCondition::ApplicationName(glob) => Condition::ApplicationName(Glob::new(glob)),
        MatchCondition::User(glob) => Condition::User(Glob::new(glob)),
        MatchCondition::Database(glob) => Condition::Database(Glob::new(glob)),
        MatchCondition::Address(places) => {
            Condition::Origin(places.iter().map(|place| place.place()).collect())
        }
        MatchCondition::Table(globs) => {
            Condition::Table(globs.iter().map(|glob| TablePattern::new(glob)).collect())
        }
        MatchCondition::Text(pattern) => {
            let number = texts.iter().position(|text| text == pattern)?;
            Condition::Text(u8::try_from(number).ok()?)
        }
        MatchCondition::Lane(lane) => Condition::FromLane(index.id(lane)?),
        MatchCondition::Statement(kinds) => Condition::Statement(kinds.clone()),
        MatchCondition::Tag { key, value } => Condition::Tag {
            key: key.clone(),
            value: Glob::new(value),
        },
    })
}

fn lane_policy(lane: &Lane, epoch: u64, index: &LaneIndex) -> LanePolicy {
    LanePolicy {
        name: lane.name.clone(),
        min: lane.minimum,
        max: lane.maximum,
        priority: lane.priority,
        weight: lane.weight,
        queue_length: usize::try_from(lane.queue_length).unwrap_or(usize::MAX),
        queue_timeout: lane.queue_timeout,
        // The scheduler's zero is "never".
        queue_notice: lane.queue_notice.unwrap_or(Duration::ZERO),
        queue_order: lane.queue_order,
        rules: lane
            .limits
            .iter()
            .filter_map(|rule| rule_policy(rule, index))
            .collect(),
        preemptible: lane.preemptible,
        caps: CapPolicy {
            per_user: lane.caps.per_user,
            per_application: lane.caps.per_application,
        },
        mode: mode(lane.mode),
        epoch,
        // The scheduler's zero is "no limit".
        idle_timeout: lane.idle_timeout.unwrap_or(Duration::ZERO),
        server_lifetime: lane.server_lifetime.unwrap_or(Duration::ZERO),
        objective: lane
            .objective
            .as_ref()
            .and_then(|objective| objective.policy(|name| index.id(name))),
        retired: false,
    }
}

/// `None` only where a lane is not there, which `read` does not let through.
fn rule_policy(rule: &Rule, index: &LaneIndex) -> Option<RulePolicy> {
    use pglanes_lanes::When as Predicate;
    Some(RulePolicy {
        name: rule.name.clone(),
        when: match rule.when {
            When::Running(after) => Predicate::Running(after),
            When::Queued(after) => Predicate::Queued(after),
            When::Rows(rows) => Predicate::Rows(rows),
            When::Bytes(bytes) => Predicate::Bytes(bytes),
            When::Idle { after, blocking } if blocking => Predicate::IdleBlocking(after),
            When::Idle { after, .. } => Predicate::Idle(after),
        },
        then: match &rule.then {
            Then::Log => Action::Log,
            Then::Notice => Action::Notice,
            Then::Cancel => Action::Cancel,
            Then::Reject => Action::Reject,
            Then::Move(lane) => Action::Move(index.id(lane)?),
        },
    })
}

fn throttle_policy(throttle: &Throttle, index: &LaneIndex) -> Option<ThrottlePolicy> {
    Some(ThrottlePolicy {
        name: throttle.name.clone(),
        watch: index.id(&throttle.watched)?,
        condition: match throttle.activity {
            Activity::Busy => pglanes_lanes::Condition::Busy,
            Activity::Connected => pglanes_lanes::Condition::Connected,
            Activity::Leased => pglanes_lanes::Condition::Leased,
        },
        linger: throttle.linger,
        lane: index.id(&throttle.lane)?,
        effect: match throttle.keeps {
            Keeps::Slots(slots) => Effect::Slots(slots),
            Keeps::Share(share) => Effect::DutyCycle(share),
            Keeps::All => Effect::All,
        },
        running: match throttle.running {
            Running::Finish => pglanes_lanes::Running::Finish,
            Running::CancelAfter(after) => pglanes_lanes::Running::CancelAfter(after),
        },
        counts_direct: throttle.direct,
        lowers: throttle.cpu != Cpu::Normal,
        mode: mode(throttle.mode),
    })
}

fn mode(mode: Mode) -> pglanes_lanes::Mode {
    match mode {
        Mode::Enforce => pglanes_lanes::Mode::Enforce,
        Mode::Observe => pglanes_lanes::Mode::Observe,
        Mode::Off => pglanes_lanes::Mode::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read;

    fn config(lanes: &str) -> Config {
        read(&format!("lanes:\n{lanes}")).unwrap()
    }

    #[test]
    fn the_default_file_makes_a_policy_that_holds() {
        let (policy, index) = Config::default().policy(None);
        assert_eq!(policy.validate(), Ok(()));
        assert_eq!(policy.lanes.len(), 5);
        assert_eq!(policy.total_slots, 40);
        let evaluation = &policy.lanes[index.id("evaluation").unwrap().index()];
        assert_eq!(
            (evaluation.min, evaluation.max, evaluation.priority),
            (4, 16, 100)
        );
        let throttle = &policy.throttles[0];
        assert_eq!(throttle.watch, index.id("evaluation").unwrap());
        assert_eq!(throttle.lane, index.id("compaction").unwrap());
        assert_eq!(throttle.effect, Effect::Slots(0));
        assert_eq!(throttle.linger, Duration::from_secs(2));
    }

    #[test]
    fn ids_stay_over_reloads_and_epochs_follow_the_settings() {
        let first = config("  a: { settings: { work_mem: 1MB } }\n  b: {}\n");
        let second = config("  c: {}\n  a: { settings: { work_mem: 2MB }, slots: { max: 3 } }\n");
        let third = config("  b: {}\n  a: { settings: { work_mem: 2MB } }\n");
        let (_, index) = first.policy(None);
        let (policy, index) = second.policy(Some(&index));
        let state: Vec<_> = policy
            .lanes
            .iter()
            .map(|lane| (lane.name.as_str(), lane.epoch, lane.retired))
            .collect();
        assert_eq!(
            state,
            [
                ("a", 1, false),
                ("b", 0, true),
                ("default", 0, false),
                ("c", 0, false)
            ]
        );
        assert_eq!(index.id("b"), None);
        assert_eq!(index.name(LaneId(1)), Some("b"));
        let (policy, index) = third.policy(Some(&index));
        let state: Vec<_> = policy
            .lanes
            .iter()
            .map(|lane| (lane.name.as_str(), lane.epoch, lane.retired))
            .collect();
        assert_eq!(
            state,
            [
                ("a", 1, false),
                ("b", 0, false),
                ("default", 0, false),
                ("c", 0, true)
            ]
        );
        assert_eq!(
            index.envelope(LaneId(0)),
            [("work_mem".to_owned(), "2MB".to_owned())]
        );
    }

    #[test]
    fn an_index_does_not_grow_without_bound() {
        let mut index: Option<LaneIndex> = None;
        for round in 0..2 * REMEMBERED_LANES {
            let lane = Lane::with_defaults(format!("lane{round}"), 1);
            let before = index.as_ref().map(|index| index.entries.clone());
            let after = LaneIndex::following(index.as_ref(), &[lane]);
            assert!(after.len() <= REMEMBERED_LANES);
            if let Some(before) = before.filter(|before| before.len() == after.len()) {
                // A place that was given away has a new envelope's epoch.
                let given = before
                    .iter()
                    .zip(&after.entries)
                    .filter(|(old, new)| old.name != new.name);
                assert!(
                    given.clone().count() == 1
                        && given.into_iter().all(|(old, new)| new.epoch > old.epoch)
                );
            }
            index = Some(after);
        }
    }

    #[test]
    fn rules_classify_in_the_order_of_the_file() {
        let config = Config::default();
        let (_, index) = config.policy(None);
        let classifier = config.classifier(&index);
        assert_eq!(classifier.rules().len(), config.rules().count());
        assert_eq!(classifier.default_lane(), index.id(DEFAULT_LANE).unwrap());
        assert_eq!(classifier.unreachable_rules(), []);
    }
}
