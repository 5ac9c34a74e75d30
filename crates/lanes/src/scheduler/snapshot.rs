//! The state of things at a moment, for metrics and the console.

use std::time::Duration;

use super::Scheduler;
use super::lane::Lane;
use super::rules::Rules;
use super::throttle::{Force, UNLIMITED};
use crate::objective::ObjectiveSnapshot;
use crate::{Cap, LaneId, Mode, Time};

/// Everything that can be seen of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Each lane, by id.
    pub lanes: Vec<LaneSnapshot>,
    /// Each throttle, by its place in the policy.
    pub throttles: Vec<ThrottleSnapshot>,
    /// Each objective that is not off.
    pub objectives: Vec<ObjectiveSnapshot>,
    /// The connections all lanes may have together.
    pub total_slots: u32,
    /// The connections there are, opening and idle ones included.
    pub connections: u32,
    /// Those that are busy or opening.
    pub in_use: u32,
    /// Transactions that wait.
    pub waiting: usize,
    /// Idle connections that the scheduler closed, by why.
    pub closings: [(Closing, u64); Closing::ALL.len()],
}

/// Why the scheduler closes an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nobody has used it for longer than its lane's idle timeout.
    Idle,
    /// It is older than its lane's connections may become.
    Age,
    /// Another pool or lane needs its place.
    Room,
    /// A reload, a flush or a removed lane: it is out of date, or one too many.
    Changed,
}

impl Closing {
    /// Every reason, in the order of its place.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Age, Self::Room, Self::Changed];

    /// In a word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Room => "room",
            Self::Changed => "changed",
        }
    }
}

/// One lane. Counts run since the scheduler was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSnapshot {
    /// Its name.
    pub name: String,
    /// Whether it was removed from the configuration.
    pub retired: bool,
    /// Whether its limits bind.
    pub mode: Mode,
    /// Its guaranteed slots.
    pub min: u32,
    /// Its maximum as configured.
    pub max: u32,
    /// The slots it may hold now.
    pub effective: u32,
    /// Connections with a transaction.
    pub busy: u32,
    /// Connections without.
    pub idle: u32,
    /// Connections being opened.
    pub opening: u32,
    /// Transactions that wait.
    pub waiting: usize,
    /// How long the oldest of them has waited; zero without any.
    pub oldest_wait: Duration,
    /// Client sessions.
    pub sessions: u64,
    /// Leases.
    pub leases: u64,
    /// Slots given out.
    pub grants: u64,
    /// Rejected because the queue was full.
    pub rejected_queue_full: u64,
    /// Rejected because the wait timed out.
    pub rejected_timed_out: u64,
    /// Rejected because no connection could be opened.
    pub rejected_open_failed: u64,
    /// Withdrawn while waiting.
    pub withdrawn: u64,
    /// Connections asked for.
    pub opens: u64,
    /// Connections gone, for any reason.
    pub closes: u64,
    /// Transactions cancelled for a throttle.
    pub cancels: u64,
    /// Those of `busy` that a session keeps between its transactions, where the lane looks at that.
    pub kept: u32,
    /// Its rules, by their place in the policy.
    pub rules: Vec<RuleSnapshot>,
    /// Transactions cancelled to give a borrowed slot back.
    pub preempted: u64,
    /// Observed only: those that would have been.
    pub would_preempt: u64,
    /// Those of `waiting` that wait behind their client's cap.
    pub capped: u32,
    /// Newcomers that had to wait for their own user's transactions; observed: would have.
    pub held_by_user_cap: u64,
    /// Newcomers that had to wait for their own application's transactions; observed: would have.
    pub held_by_application_cap: u64,
    /// Waiters that were told that they wait; observed: would have been.
    pub notices: u64,
    /// Observed only: grants above the maximum.
    pub would_hold: u64,
    /// Observed only: newcomers beyond the queue's length.
    pub would_reject: u64,
    /// Observed only: grants after the queue's timeout.
    pub would_time_out: u64,
    /// The throttles, and the objectives of other lanes, that hold it back now, by name.
    pub throttled_by: Vec<String>,
    /// How long throttles have kept its limit below its maximum, all told.
    pub throttled_total: Duration,
}

/// One rule of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSnapshot {
    /// Its name.
    pub name: String,
    /// What it does: `log`, `notice`, `cancel`, `reject` or `move`.
    pub action: &'static str,
    /// Transactions that met it.
    pub met: u64,
    /// Those of them that had consequences; none while the lane only observes.
    pub acted: u64,
}

/// One throttle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThrottleSnapshot {
    /// Its name.
    pub name: String,
    /// The lane it protects.
    pub watch: LaneId,
    /// The lane it holds back.
    pub lane: LaneId,
    /// Whether it binds. One that would lock lanes for good shows as observing.
    pub mode: Mode,
    /// Since when it is active, if it is.
    pub active_since: Option<Time>,
    /// How long it has been active, all told.
    pub active_total: Duration,
    /// The slots it leaves now; none when it does not limit.
    pub limit: Option<u32>,
    /// How often it became active.
    pub activations: u64,
    /// Newcomers that it kept waiting, or would have.
    pub held_back: u64,
    /// Transactions it cancelled.
    pub cancels: u64,
}

impl Scheduler {
    /// The state of things. Allocates; not for every transaction.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            lanes: (0..self.lanes.len())
                .map(|lane| self.lane_snapshot(lane, now.max(self.now)))
                .collect(),
            throttles: self.throttle_snapshots(now.max(self.now)),
            objectives: self.objective_snapshots(now.max(self.now)),
            total_slots: self.total_slots,
            connections: self.connections,
            in_use: self.lanes.iter().map(Lane::held).sum(),
            waiting: self.waiters.len(),
            closings: Closing::ALL.map(|why| (why, self.closings[why as usize])),
        }
    }

    fn lane_snapshot(&self, index: usize, now: Time) -> LaneSnapshot {
        let lane = &self.lanes[index];
        let oldest = lane.arrivals.front().map(|place| self.waiters[place].since);
        let holding = self.throttles.iter().filter(|throttle| {
            throttle.policy.lane.index() == index
                && throttle.force == Force::Binds
                && lane.enforces()
                && throttle.limit < lane.cap
        });
        LaneSnapshot {
            name: lane.policy.name.clone(),
            retired: lane.policy.retired,
            mode: lane.policy.mode,
            min: lane.policy.min,
            max: lane.policy.max,
            effective: lane.effective,
            busy: lane.running(),
            idle: lane.idle.len(),
            opening: lane.opening,
            waiting: lane.arrivals.len() as usize,
            oldest_wait: oldest.map_or(Duration::ZERO, |since| now.since(since)),
            sessions: lane.sessions,
            leases: lane.leases,
            grants: lane.counts.grants,
            rejected_queue_full: lane.counts.queue_full,
            rejected_timed_out: lane.counts.timed_out,
            rejected_open_failed: lane.counts.open_failed,
            withdrawn: lane.counts.withdrawn,
            opens: lane.counts.opens,
            closes: lane.counts.closes,
            cancels: lane.counts.cancels,
            kept: lane.kept.len(),
            rules: lane.rules.as_deref().map_or_else(Vec::new, Rules::snapshot),
            preempted: lane.counts.preempted,
            would_preempt: lane.counts.would_preempt,
            capped: lane.capped(),
            held_by_user_cap: lane.counts.held_by_cap[Cap::User as usize],
            held_by_application_cap: lane.counts.held_by_cap[Cap::Application as usize],
            notices: lane.counts.notices,
            would_hold: lane.counts.would_hold,
            would_reject: lane.counts.would_reject,
            would_time_out: lane.counts.would_time_out,
            throttled_by: holding
                .map(|throttle| throttle.policy.name.clone())
                .chain(self.objectives_over(LaneId(index as u16)))
                .collect(),
            throttled_total: lane.throttled_total
                + lane
                    .throttled_since
                    .map_or(Duration::ZERO, |since| now.since(since)),
        }
    }

    fn throttle_snapshots(&self, now: Time) -> Vec<ThrottleSnapshot> {
        self.throttles
            .iter()
            .map(|throttle| ThrottleSnapshot {
                name: throttle.policy.name.clone(),
                watch: throttle.policy.watch,
                lane: throttle.policy.lane,
                mode: match throttle.force {
                    Force::Binds => Mode::Enforce,
                    Force::Observes => Mode::Observe,
                    Force::None => Mode::Off,
                },
                active_since: throttle.active_since,
                active_total: throttle.active_total(now),
                limit: (throttle.limit != UNLIMITED).then_some(throttle.limit),
                activations: throttle.activations,
                held_back: throttle.held_back,
                cancels: throttle.cancels,
            })
            .collect()
    }
}
