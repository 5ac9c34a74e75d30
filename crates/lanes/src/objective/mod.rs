//! Objectives: a protected lane's latency, held against what it is when nothing else runs, moves the other lanes' slots.
//!
//! - `histogram`: distributions in logarithmic buckets
//! - `baseline`: what the protected lane takes in quiet, learned by class of statement
//! - `present`: how quiet is just now, so that what nobody's lane causes is laid at nobody's door
//! - `control`: when to act, when to listen in quiet, and what the others may have
//! - `law`: from a measured ratio to the next limit
//! - `export`: baselines as plain values, to be kept over a restart
//!
//! **The error signal.** Each transaction's latency is divided by its own class's quiet quantile. In quiet 95 in 100 of these
//! quotients are at most one, whatever the mix of classes, so their 95th percentile *is* the ratio that an objective such as
//! `p95: 1.2x` speaks of, and a change of the mix moves nothing. Latency is the wait for a slot and the time at the server; the
//! client's own pauses inside a transaction are in neither. The others' latency is never looked at: a vacuum and a point read
//! have nothing in common.
//!
//! **The actuator.** What lanes of lower priority may run at once, in slots, with a part of a slot as its share of the time
//! (`scheduler/allowance.rs` keeps that to the nanosecond over long and short statements alike).

mod baseline;
mod control;
mod export;
mod histogram;
mod law;
mod present;

use std::fmt;
use std::time::Duration;

use crate::classify::StatementKind;
use crate::{LaneId, Mode, Time};

pub(crate) use control::{Control, Hold, Usage};
pub use export::{BaselineExport, ClassExport, ImportError, MAX_EXPORT_BUCKETS};
pub use law::Law;

/// The most targets of one objective.
pub const MAX_TARGETS: usize = 3;
/// The most classes of statement whose quiet latency is kept apart, for each protected lane; what is beyond them is pooled by
/// the kind of statement.
pub const MAX_CLASSES: usize = 64;
/// The least that is left of a lane which has something to do, in thousandths of a slot: nobody waits for ever.
pub const LEAST_SLOT_THOUSANDTHS: u32 = 20;

/// What is to be kept of a protected lane's latency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectivePolicy {
    /// At least one and at most [`MAX_TARGETS`]; the one that is missed most decides.
    pub targets: Vec<Target>,
    /// How long the others stay held back after the lane's last transaction.
    pub linger: Duration,
    /// How often the others are held back for a moment to measure the quiet latency, where no quiet moment comes by itself.
    /// Zero: never.
    pub probe_every: Duration,
    /// How long such a moment is.
    pub probe_length: Duration,
    /// Lanes that are never held back for it.
    pub exempt: Vec<LaneId>,
    /// Whether it binds.
    pub mode: Mode,
    /// From a measured ratio to the next limit.
    pub law: Law,
}

impl ObjectivePolicy {
    /// One target, and everything else as it is by default.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            targets: vec![target],
            linger: Duration::from_millis(250),
            probe_every: Duration::from_secs(60),
            probe_length: Duration::from_millis(200),
            exempt: Vec::new(),
            mode: Mode::Enforce,
            law: Law::Excess,
        }
    }
}

/// A quantile of the latency, and how many times its quiet value it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// In thousandths: 950 is the 95th percentile.
    pub quantile: u16,
    /// In thousandths, above 1000: 1200 is `1.2x`.
    pub times: u32,
}

/// Which transactions are comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassKey {
    /// The kind of the first statement that does something.
    pub kind: StatementKind,
    /// A hash of what the transaction's statements look like, without their values; zero for those that are pooled.
    pub shape: u64,
}

/// The kind, and the first digits of the hash: enough to tell the classes of a lane apart. `SELECT rest` is a pool.
impl fmt::Display for ClassKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            0 => write!(formatter, "{} rest", self.kind.name()),
            shape => write!(formatter, "{} {:08x}", self.kind.name(), shape >> 32),
        }
    }
}

/// One transaction of a protected lane, as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its class.
    pub class: ClassKey,
    /// When it got its slot.
    pub began: Time,
    /// How long PostgreSQL worked for it.
    pub served: Duration,
    /// How long it waited for its slot.
    pub waited: Duration,
}

/// What an objective does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The protected lane is idle: nobody is held back.
    Resting,
    /// Too little is known of its quiet latency: the others have a conservative start, and quiet moments are made.
    Learning,
    /// The loop is closed.
    Keeping,
    /// Everybody else is held back for a moment, to measure the quiet latency.
    Probing,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Resting, Self::Learning, Self::Keeping, Self::Probing];

    /// A word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Learning => "learning",
            Self::Keeping => "keeping",
            Self::Probing => "probing",
        }
    }
}

/// What can be seen of an objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectiveSnapshot {
    /// The protected lane.
    pub lane: LaneId,
    /// Whether it binds.
    pub mode: Mode,
    /// What it does now.
    pub phase: Phase,
    /// Each target with what was measured last, in thousandths of the quiet value; none before there was a baseline.
    pub ratios: Vec<(Target, Option<u32>)>,
    /// How many times slower than the baseline the lane is just now while all others are quiet, in thousandths: what the
    /// ratios are judged by.
    pub drift_thousandths: u32,
    /// What all others together may run, in thousandths of a slot; none when they are not held back.
    pub limit_thousandths: Option<u32>,
    /// The same by lane, of those that it may hold back.
    pub lanes: Vec<(LaneId, Option<u32>)>,
    /// Transactions of the lane whose class had a baseline, in thousandths of those looked at last.
    pub known_thousandths: u32,
    /// Classes with what is known of them, most used first, at most [`MAX_CLASSES_SHOWN`].
    pub classes: Vec<ClassSnapshot>,
    /// How many classes there are.
    pub class_count: usize,
    /// Moments of quiet that were made.
    pub probes: u64,
    /// Those that did not become quiet in time.
    pub failed_probes: u64,
    /// How often it began to hold others back.
    pub activations: u64,
    /// How long it has not been at rest, all told.
    pub active_total: Duration,
    /// Newcomers of other lanes that it kept waiting, or would have.
    pub held_back: u64,
    /// Times the limit was lowered and raised.
    pub moves: (u64, u64),
}

/// The most classes that a snapshot shows.
pub const MAX_CLASSES_SHOWN: usize = 16;

/// What is known of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSnapshot {
    /// Which.
    pub class: ClassKey,
    /// Quiet transactions it is known by; old ones count less and less.
    pub samples: u32,
    /// The quiet value of the first target's quantile; none with too few samples.
    pub quiet: Option<Duration>,
    /// How long ago the last quiet transaction was, as far as this process knows.
    pub age: Option<Duration>,
}
