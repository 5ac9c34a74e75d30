//! The configuration in force, in the form the data path uses.

use std::time::Duration;

use pglanes_config::{Caps, Config, Cpu, LaneIndex, Listen, Mode, Pooling, When};
use pglanes_lanes::classify::Classifier;
use pglanes_lanes::{LaneId, Policy, When as Predicate};

use super::texts::Texts;
use crate::naming::Naming;
use crate::priority::Level;
use crate::upstream::Target;

/// One configuration, and everything derived from it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) classifier: Classifier,
    /// What the rules ask of statements' texts.
    pub(crate) texts: Texts,
    pub(crate) target: Target,
    /// Raised with every configuration: sessions see that theirs is out of date.
    pub(crate) generation: u32,
    /// The shortest time of all rules for idle transactions.
    pub(crate) shortest_idle_rule: Option<Duration>,
    index: LaneIndex,
    lanes: Vec<LaneOptions>,
    /// What each throttle makes of its lane's level while it is active.
    throttle_levels: Vec<Level>,
}

/// What the data path asks of a lane for each transaction or connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneOptions {
    pub(crate) pooling: Pooling,
    /// Of its backends.
    pub(crate) level: Level,
    /// Whether that level, or a throttle's, is another than the usual one.
    pub(crate) may_be_lowered: bool,
    /// A lone BEGIN takes no slot.
    pub(crate) lazy_begin: bool,
    /// Repeated unnamed statements keep their plans.
    pub(crate) reuse_plans: bool,
    /// One client has its own limit: the scheduler is told who asks.
    pub(crate) capped: bool,
    /// It has an objective: its transactions are measured.
    pub(crate) measured: bool,
    /// One connection listens for all of its sessions.
    pub(crate) share_listen: bool,
    /// A rule goes by rows or bytes.
    pub(crate) metered: bool,
    /// The scheduler wants to know when a session that keeps its connection is between transactions.
    pub(crate) timed: bool,
}

impl LaneOptions {
    /// Those of a lane that has been removed and drains.
    const RETIRED: Self = Self {
        pooling: Pooling::Transaction,
        level: Level::NORMAL,
        may_be_lowered: false,
        lazy_begin: false,
        reuse_plans: false,
        capped: false,
        measured: false,
        share_listen: false,
        metered: false,
        timed: false,
    };

    fn of(config: &Config, name: &str) -> Self {
        let Some(lane) = config.lane(name) else {
            return Self::RETIRED;
        };
        let level = match lane.mode {
            Mode::Enforce => Level {
                cpu: lane.cpu,
                io: lane.io,
            },
            Mode::Observe | Mode::Off => Level::NORMAL,
        };
        Self {
            pooling: lane.pooling,
            level,
            may_be_lowered: level != Level::NORMAL || lowered_by_a_throttle(config, name),
            lazy_begin: lane.lazy_begin,
            reuse_plans: lane.reuse_plans,
            metered: lane
                .limits
                .iter()
                .any(|rule| matches!(rule.when, When::Rows(_) | When::Bytes(_))),
            timed: lane.preemptible.is_some()
                || lane
                    .limits
                    .iter()
                    .any(|rule| matches!(rule.when, When::Running(_))),
            capped: lane.caps != Caps::default(),
            measured: lane.mode != Mode::Off
                && lane
                    .objective
                    .as_ref()
                    .is_some_and(|objective| objective.mode != Mode::Off),
            share_listen: lane.listen == Listen::Shared,
        }
    }
}

fn lowered_by_a_throttle(config: &Config, lane: &str) -> bool {
    let mut throttles = config.throttles.iter();
    throttles.any(|throttle| {
        throttle.lane == lane && throttle.cpu != Cpu::Normal && throttle.mode == Mode::Enforce
    })
}

fn throttle_level(config: &Config, name: &str) -> Level {
    let throttle = config.throttles.iter().find(|one| one.name == name);
    throttle.map_or(Level::NORMAL, |throttle| Level {
        cpu: throttle.cpu,
        ..Level::NORMAL
    })
}

fn shortest_idle_rule(policy: &Policy) -> Option<Duration> {
    let rules = policy.lanes.iter().flat_map(|lane| &lane.rules);
    let idle = rules.filter_map(|rule| match rule.when {
        Predicate::Idle(after) | Predicate::IdleBlocking(after) => Some(after),
        _ => None,
    });
    idle.min()
}

impl Live {
    /// `previous` keeps the numbers of lanes: connections and waiters carry them.
    pub(crate) fn new(config: Config, previous: Option<&Self>) -> Self {
        let (policy, index) = config.policy(previous.map(|live| &live.index));
        Self {
            classifier: config.classifier(&index),
            texts: Texts::new(config.text_patterns()),
            target: Target::new(&config.upstream),
            generation: previous.map_or(0, |live| live.generation + 1),
            lanes: policy
                .lanes
                .iter()
                .map(|lane| LaneOptions::of(&config, &lane.name))
                .collect(),
            throttle_levels: policy
                .throttles
                .iter()
                .map(|throttle| throttle_level(&config, &throttle.name))
                .collect(),
            shortest_idle_rule: shortest_idle_rule(&policy),
            policy,
            index,
            config,
        }
    }

    /// The lane that a throttle holds back, and what it makes of that lane's level.
    pub(crate) fn lowering(&self, throttle: usize) -> (LaneId, Level) {
        let lane = self.policy.throttles.get(throttle);
        let level = self.throttle_levels.get(throttle);
        (
            lane.map_or(self.classifier.default_lane(), |throttle| throttle.lane),
            level.copied().unwrap_or(Level::NORMAL),
        )
    }

    /// Every lane, the removed ones included.
    pub(crate) fn lane_ids(&self) -> impl Iterator<Item = LaneId> + use<> {
        // The scheduler refuses policies with more than MAX_LANES lanes.
        (0..self.lanes.len() as u16).map(LaneId)
    }

    pub(crate) fn lane_name(&self, lane: LaneId) -> &str {
        self.policy
            .lanes
            .get(usize::from(lane.0))
            .map_or("unknown", |lane| &lane.name)
    }

    /// How the names of a lane's connections are made.
    pub(crate) fn naming(&self, lane: LaneId) -> Naming<'_> {
        Naming {
            mode: self.config.upstream.application_name,
            lane: self.lane_name(lane),
        }
    }

    /// The lane of this name that is in force.
    pub(crate) fn lane_named(&self, name: &str) -> Option<LaneId> {
        self.index.id(name)
    }

    pub(crate) fn rule_name(&self, lane: LaneId, rule: u16) -> &str {
        let lane = self.policy.lanes.get(lane.index());
        let rule = lane.and_then(|lane| lane.rules.get(usize::from(rule)));
        rule.map_or("unknown", |rule| &rule.name)
    }

    pub(crate) fn throttle_name(&self, index: usize) -> &str {
        self.policy
            .throttles
            .get(index)
            .map_or("unknown", |throttle| &throttle.name)
    }

    pub(crate) fn envelope(&self, lane: LaneId) -> &[(String, String)] {
        self.index.envelope(lane)
    }

    pub(crate) fn options(&self, lane: LaneId) -> LaneOptions {
        let options = self.lanes.get(lane.index());
        options.copied().unwrap_or(LaneOptions::RETIRED)
    }
}
