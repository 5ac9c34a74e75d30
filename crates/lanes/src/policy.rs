//! What the scheduler is told to keep: lanes, throttles and bounds, already parsed and named by place.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::objective::ObjectivePolicy;
use crate::{ClientKey, LaneId};

/// The most lanes a policy may have. A step costs time in proportion to their number.
pub const MAX_LANES: usize = 1024;
/// The most throttles a policy may have.
pub const MAX_THROTTLES: usize = 256;
/// The most server connections the scheduler keeps, over all lanes.
pub const MAX_TOTAL_SLOTS: u32 = 100_000;
/// The largest weight that tells lanes apart; above it they count the same.
pub const MAX_WEIGHT: u32 = 1 << 16;
/// The most rules of a lane.
pub const MAX_RULES: usize = 32;
/// How many transactions may wait over all lanes unless a policy says otherwise.
pub const DEFAULT_MAX_WAITING: usize = 100_000;
/// A duty cycle's length: closed for its first part, open for the last.
pub const DUTY_PERIOD: Duration = Duration::from_secs(1);

/// Whether a lane's or throttle's limits bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Limits bind.
    #[default]
    Enforce,
    /// Limits are watched and what they would have done is counted, but nothing is held back.
    Observe,
    /// Limits are ignored.
    Off,
}

/// What a transaction does that a rule goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It has run for so long, from its grant on.
    Running(Duration),
    /// It has waited for so long.
    Queued(Duration),
    /// It has returned more rows. The owner counts.
    Rows(u64),
    /// It has returned more bytes. The owner counts.
    Bytes(u64),
    /// Its client has been silent inside of it for so long. The owner sees.
    Idle(Duration),
    /// The same, while somebody waits for a lock of it. The owner sees.
    IdleBlocking(Duration),
}

/// What becomes of a transaction that meets a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The owner writes it down.
    Log,
    /// Its client is told.
    Notice,
    /// It is cancelled.
    Cancel,
    /// It gets no slot: for one that waits.
    Reject,
    /// The next transactions of its session run in this lane.
    Move(LaneId),
}

impl Action {
    /// As it is written in lanes.yaml.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Notice => "notice",
            Self::Cancel => "cancel",
            Self::Reject => "reject",
            Self::Move(_) => "move",
        }
    }
}

/// A rule of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePolicy {
    /// Its name, for messages and metrics.
    pub name: String,
    /// What it goes by.
    pub when: When,
    /// What becomes of it.
    pub then: Action,
}

/// What a cap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// The transactions of one user.
    User,
    /// The transactions of one application.
    Application,
}

impl Cap {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::User, Self::Application];
}

/// How many slots of a lane one client may have; without a number, as many as the lane has. At least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapPolicy {
    /// One user.
    pub per_user: Option<u32>,
    /// One application.
    pub per_application: Option<u32>,
}

impl CapPolicy {
    /// What a cap allows.
    #[must_use]
    pub fn limit(self, cap: Cap) -> Option<u32> {
        let limit = match cap {
            Cap::User => self.per_user,
            Cap::Application => self.per_application,
        };
        limit.map(|limit| limit.max(1))
    }

    /// The parts of a client's key that a cap counts; the others are nobody.
    pub(crate) fn masked(self, client: ClientKey) -> ClientKey {
        ClientKey {
            user: self.per_user.map_or(0, |_| client.user),
            application: self.per_application.map_or(0, |_| client.application),
        }
    }
}

impl ClientKey {
    pub(crate) fn part(self, cap: Cap) -> u64 {
        match cap {
            Cap::User => self.user,
            Cap::Application => self.application,
        }
    }
}

/// Who goes first among the transactions that wait in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOrder {
    /// Who came first.
    #[default]
    Arrival,
    /// Whose session has held slots of the lane least: start-time fair queueing (Goyal, Vin and Cheng, 1996), with the time a
    /// slot was held as the cost. A session's turn is the lane's virtual time, or what its own transactions have brought
    /// it to, whichever is later; the lane's virtual time is the latest turn that got a slot. So sessions that always wait
    /// share the lane's slot-time evenly, however long the transactions of each are: between two of them it differs by
    /// no more than one transaction of each; and time in which a session wanted nothing earns it nothing. A session that works
    /// in several lanes has its turn in each ([`Turns`](crate::Turns)): it gains nothing by going to and fro.
    Service,
}

/// Everything the scheduler keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Server connections of all lanes together.
    pub total_slots: u32,
    /// The lanes, in the order of their ids.
    pub lanes: Vec<LanePolicy>,
    /// The throttles; outputs name them by their place here.
    pub throttles: Vec<ThrottlePolicy>,
    /// A waiter gains one step of priority each time it has waited this long. Zero: never.
    pub ageing: Duration,
    /// Transactions that may wait over all lanes, whatever the lanes' own lengths and modes.
    pub max_waiting: usize,
}

impl Policy {
    /// A policy with a total and no lanes, ageing by one step each 5 s.
    #[must_use]
    pub fn new(total_slots: u32) -> Self {
        Self {
            total_slots,
            lanes: Vec::new(),
            throttles: Vec::new(),
            ageing: Duration::from_secs(5),
            max_waiting: DEFAULT_MAX_WAITING,
        }
    }

    /// Checks what a configuration must hold. The scheduler runs with any policy, but mends one that does not hold:
    /// minima shrink until one slot can be borrowed, and a throttle that closes a circle only observes.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if self.total_slots == 0 || self.total_slots > MAX_TOTAL_SLOTS {
            return Err(PolicyError::TotalSlots {
                found: self.total_slots,
            });
        }
        if self.lanes.len() > MAX_LANES {
            return Err(PolicyError::TooManyLanes {
                found: self.lanes.len(),
            });
        }
        if self.throttles.len() > MAX_THROTTLES {
            return Err(PolicyError::TooManyThrottles {
                found: self.throttles.len(),
            });
        }
        for lane in &self.lanes {
            if !lane.retired && lane.min > lane.max {
                return Err(PolicyError::MinimumAboveMaximum {
                    lane: lane.name.clone(),
                });
            }
        }
        let minima: u64 = self.lanes.iter().map(LanePolicy::guaranteed).sum();
        if minima > self.borrowable_from() {
            return Err(PolicyError::MinimaAboveTotal {
                minima,
                limit: self.borrowable_from(),
            });
        }
        for (index, throttle) in self.throttles.iter().enumerate() {
            let name = || throttle.name.clone();
            let known = |lane: LaneId| lane.index() < self.lanes.len();
            if !known(throttle.watch) || !known(throttle.lane) {
                return Err(PolicyError::UnknownLane { throttle: name() });
            }
            if throttle.watch == throttle.lane || self.closes_circle(index) {
                return Err(PolicyError::ThrottleCircle { throttle: name() });
            }
        }
        Ok(())
    }

    /// The sum of minima up to which every lane still finds a slot: a lane without a minimum lives on borrowed slots, so
    /// one must be left.
    pub(crate) fn borrowable_from(&self) -> u64 {
        let borrows = self
            .lanes
            .iter()
            .any(|lane| lane.max > 0 && lane.guaranteed() == 0);
        u64::from(self.total_slots).saturating_sub(u64::from(borrows))
    }

    /// Whether an enforced throttle, with those before it, makes lanes hold each other back while both wait. Only `Busy`
    /// counts waiting, so only `Busy` can lock.
    pub(crate) fn closes_circle(&self, index: usize) -> bool {
        let binds = |throttle: &ThrottlePolicy| {
            throttle.mode == Mode::Enforce && throttle.condition == Condition::Busy
        };
        let Some(last) = self.throttles.get(index).filter(|last| binds(last)) else {
            return false;
        };
        let mut reached = vec![last.lane];
        let mut next = 0;
        while let Some(&lane) = reached.get(next) {
            next += 1;
            if lane == last.watch {
                return true;
            }
            for throttle in self.throttles[..index].iter().filter(|found| binds(found)) {
                if throttle.watch == lane && !reached.contains(&throttle.lane) {
                    reached.push(throttle.lane);
                }
            }
        }
        false
    }
}

/// One lane's part of the policy. Durations of zero mean "no limit".
#[derive(Clone, Debug, PartialEq)]
pub struct LanePolicy {
    /// Its name, for messages and metrics.
    pub name: String,
    /// Slots the lane can always reach, whatever the others do.
    pub min: u32,
    /// Server connections the lane may have, idle ones included.
    pub max: u32,
    /// Higher goes first.
    pub priority: i32,
    /// Its share of grants among lanes of the same priority; at least 1.
    pub weight: u32,
    /// Transactions that may wait without a slot in sight.
    pub queue_length: usize,
    /// How long a transaction may wait.
    pub queue_timeout: Duration,
    /// How long a transaction waits before its client is told so, once.
    pub queue_notice: Duration,
    /// Who goes first within the lane.
    pub queue_order: QueueOrder,
    /// How many of the slots one client may have.
    pub caps: CapPolicy,
    /// What becomes of transactions that go too far; at most [`MAX_RULES`].
    pub rules: Vec<RulePolicy>,
    /// Borrowed slots are given back, by a cancel after this grace, to a lane that waits below its right.
    pub preemptible: Option<Duration>,
    /// Whether these limits bind.
    pub mode: Mode,
    /// The envelope's version: connections of an older one are closed when idle.
    pub epoch: u64,
    /// An idle connection above the minimum is closed after this long.
    pub idle_timeout: Duration,
    /// A connection is closed, once idle, when it is this old; up to a tenth earlier, so that not all go at once.
    pub server_lifetime: Duration,
    /// What is to be kept of its latency, by holding lanes of lower priority back.
    pub objective: Option<ObjectivePolicy>,
    /// Removed from the configuration: no minimum, serves what comes, keeps nothing idle.
    pub retired: bool,
}

impl LanePolicy {
    /// An enforced lane with a maximum and ordinary limits: no minimum, priority 0, weight 1.
    #[must_use]
    pub fn new(name: impl Into<String>, max: u32) -> Self {
        Self {
            name: name.into(),
            min: 0,
            max,
            priority: 0,
            weight: 1,
            queue_length: 1000,
            queue_timeout: Duration::from_secs(60),
            queue_notice: Duration::ZERO,
            queue_order: QueueOrder::Arrival,
            caps: CapPolicy::default(),
            rules: Vec::new(),
            preemptible: None,
            mode: Mode::Enforce,
            epoch: 0,
            idle_timeout: Duration::from_secs(600),
            server_lifetime: Duration::from_secs(3600),
            objective: None,
            retired: false,
        }
    }

    /// The minimum that binds others: that of an enforced lane that is not retired.
    pub(crate) fn guaranteed(&self) -> u64 {
        if self.mode == Mode::Enforce && !self.retired {
            u64::from(self.min.min(self.max))
        } else {
            0
        }
    }
}

/// What makes a watched lane active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A transaction of it runs or waits, or did within `linger`.
    Busy,
    /// It has client sessions, or had within `linger`.
    Connected,
    /// It has leases, or had within `linger`.
    Leased,
}

/// What a throttle leaves of a lane's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// This many; none at 0.
    Slots(u32),
    /// All of them: it does something else.
    All,
    /// None for the first part of each [`DUTY_PERIOD`] since the throttle became active, all for the last this many
    /// percent of it.
    DutyCycle(u8),
}

/// What becomes of work that runs when a throttle begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// It finishes.
    Finish,
    /// What runs above the slots that are left is cancelled, longest running first, this long after the throttle became
    /// active or after its grant, whichever is later.
    CancelAfter(Duration),
}

/// While one lane is active, another has fewer slots.
#[derive(Clone, Debug, PartialEq)]
pub struct ThrottlePolicy {
    /// Its name, for messages and metrics.
    pub name: String,
    /// The lane that is protected.
    pub watch: LaneId,
    /// When that lane counts as active.
    pub condition: Condition,
    /// How long it counts as active afterwards.
    pub linger: Duration,
    /// The lane that is held back.
    pub lane: LaneId,
    /// What it has left.
    pub effect: Effect,
    /// What becomes of work that runs already.
    pub running: Running,
    /// Whether clients that go past the owner make the watched lane active too, see [`Input::Direct`](crate::Input).
    pub counts_direct: bool,
    /// Whether the owner lowers the lane's processes meanwhile: it is told by [`Output::Lowering`](crate::Output).
    pub lowers: bool,
    /// Whether it binds.
    pub mode: Mode,
}

/// What does not hold in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The total is zero or beyond [`MAX_TOTAL_SLOTS`].
    TotalSlots {
        /// What was found.
        found: u32,
    },
    /// More than [`MAX_LANES`].
    TooManyLanes {
        /// How many were found.
        found: usize,
    },
    /// More than [`MAX_THROTTLES`].
    TooManyThrottles {
        /// How many were found.
        found: usize,
    },
    /// A lane's minimum is above its maximum.
    MinimumAboveMaximum {
        /// The lane.
        lane: String,
    },
    /// The minima leave no slot for lanes that have none.
    MinimaAboveTotal {
        /// Their sum.
        minima: u64,
        /// The most it may be.
        limit: u64,
    },
    /// A throttle names a lane that is not there.
    UnknownLane {
        /// The throttle.
        throttle: String,
    },
    /// Lanes would hold each other, or themselves, back for good.
    ThrottleCircle {
        /// The throttle that closes the circle.
        throttle: String,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TotalSlots { found } => {
                write!(
                    formatter,
                    "total slots must be 1 to {MAX_TOTAL_SLOTS}, found {found}"
                )
            }
            Self::TooManyLanes { found } => {
                write!(formatter, "at most {MAX_LANES} lanes, found {found}")
            }
            Self::TooManyThrottles { found } => {
                write!(
                    formatter,
                    "at most {MAX_THROTTLES} throttles, found {found}"
                )
            }
            Self::MinimumAboveMaximum { lane } => {
                write!(
                    formatter,
                    "lane {lane}: the minimum is above the maximum of slots"
                )
            }
            Self::MinimaAboveTotal { minima, limit } => write!(
                formatter,
                "the lanes' minima sum to {minima}; at most {limit} leave every lane a slot"
            ),
            Self::UnknownLane { throttle } => {
                write!(formatter, "throttle {throttle} names an unknown lane")
            }
            Self::ThrottleCircle { throttle } => {
                write!(
                    formatter,
                    "throttle {throttle} makes lanes hold each other back for good"
                )
            }
        }
    }
}

impl Error for PolicyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(name: &str, watch: u16, lane: u16) -> ThrottlePolicy {
        ThrottlePolicy {
            name: name.into(),
            watch: LaneId(watch),
            condition: Condition::Busy,
            linger: Duration::ZERO,
            lane: LaneId(lane),
            effect: Effect::Slots(0),
            running: Running::Finish,
            counts_direct: false,
            lowers: false,
            mode: Mode::Enforce,
        }
    }

    fn three_lanes() -> Policy {
        let mut policy = Policy::new(10);
        policy.lanes = ["a", "b", "c"].map(|name| LanePolicy::new(name, 8)).into();
        policy
    }

    #[test]
    fn minima_must_leave_a_slot_to_those_without() {
        let mut policy = three_lanes();
        policy.lanes[0].min = 8;
        policy.lanes[1].min = 1;
        assert_eq!(policy.validate(), Ok(()));
        policy.lanes[1].min = 2;
        assert_eq!(
            policy.validate(),
            Err(PolicyError::MinimaAboveTotal {
                minima: 10,
                limit: 9
            })
        );
    }

    #[test]
    fn a_circle_of_throttles_is_refused_where_it_closes() {
        let mut policy = three_lanes();
        policy.throttles = vec![throttle("first", 0, 1), throttle("second", 1, 2)];
        assert_eq!(policy.validate(), Ok(()));
        policy.throttles.push(throttle("third", 2, 0));
        assert_eq!(
            policy.validate(),
            Err(PolicyError::ThrottleCircle {
                throttle: "third".into()
            })
        );
        policy.throttles[2].condition = Condition::Leased;
        assert_eq!(policy.validate(), Ok(()));
        policy.throttles[2] = throttle("self", 2, 2);
        assert!(policy.validate().is_err());
    }

    #[test]
    fn limits_are_named_in_the_message() {
        let policy = Policy::new(0);
        let message = policy.validate().unwrap_err().to_string();
        assert!(
            message.contains("100000") && message.ends_with("found 0"),
            "{message}"
        );
    }
}
