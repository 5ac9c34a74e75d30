//! What the scheduler keeps of each lane: its connections, its waiters, its limits at this moment, its counts.

use std::time::Duration;

use super::allowance::Allowance;
use super::caps::Caps;
use super::pool::{Keep, ORDER, Server};
use super::queue::{ARRIVAL, NOTICE, PLACE};
use super::rules::Rules;
use super::slab::{List, Slab};
use crate::policy::{LanePolicy, MAX_WEIGHT, Mode};
use crate::{ServerId, Time, Turn};

/// What one grant costs a lane of weight 1, in virtual time.
const STRIDE: u64 = MAX_WEIGHT as u64;

/// Counts since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) grants: u64,
    pub(super) queue_full: u64,
    pub(super) timed_out: u64,
    pub(super) open_failed: u64,
    pub(super) withdrawn: u64,
    pub(super) opens: u64,
    pub(super) closes: u64,
    pub(super) cancels: u64,
    /// Newcomers that stood behind a cap, or would have, by [`Cap`](crate::Cap).
    pub(super) held_by_cap: [u64; 2],
    pub(super) notices: u64,
    pub(super) preempted: u64,
    pub(super) would_preempt: u64,
    pub(super) would_hold: u64,
    pub(super) would_reject: u64,
    pub(super) would_time_out: u64,
}

pub(super) struct Lane {
    pub(super) policy: LanePolicy,
    /// Slots that may be held now: the maximum, or what throttles leave of it.
    pub(super) effective: u32,
    /// The most connections the lane may have.
    pub(super) cap: u32,
    /// The most connections the invariants tolerate: the cap, or what a reload found above it and drains.
    pub(super) ceiling: u32,

    pub(super) opening: u32,
    /// Least recently used first.
    pub(super) idle: List<ORDER>,
    /// Longest running first.
    pub(super) busy: List<ORDER>,
    /// Busy too, and already told to cancel.
    pub(super) cancelled: List<ORDER>,

    /// Between transactions, kept by their sessions.
    pub(super) kept: List<ORDER>,

    /// Everyone who waits, by arrival.
    pub(super) arrivals: List<ARRIVAL>,
    /// Those with no slot in sight and nothing but room missing, by arrival.
    pub(super) uncovered: List<PLACE>,
    /// Those who are still to be told that they wait, by arrival.
    pub(super) unnoticed: List<NOTICE>,
    /// Whether any are.
    pub(super) notices: bool,
    /// What it keeps of clients' caps, if it has any.
    pub(super) caps: Option<Box<Caps>>,
    /// Its rules, if it has any.
    pub(super) rules: Option<Box<Rules>>,
    /// How many of `arrivals` have an opening connection to look forward to.
    pub(super) covered: u32,

    /// Virtual time: the lane furthest behind goes first among equals.
    pub(super) pass: u64,
    /// Its own virtual time, where it is ordered by service.
    pub(super) turn: Turn,
    /// Its class of equal priority.
    pub(super) class: usize,
    /// The dispatch round in which it was found blocked.
    pub(super) blocked_in: u64,

    pub(super) sessions: u64,
    pub(super) leases: u64,
    /// When the last of its leases ended.
    pub(super) last_leased: Option<Time>,
    pub(super) activity: Activity,
    pub(super) last_connected: Option<Time>,
    /// What was seen past the owner.
    pub(super) direct: Direct,
    /// Whether a throttle watches it.
    pub(super) watched: bool,
    /// Whether it has an objective that rests until it has something to do.
    pub(super) wakes_objective: bool,
    /// What objectives of other lanes leave it.
    pub(super) allowance: Allowance,
    /// The slots of that at this moment; as many as there are without.
    pub(super) allowed: u32,
    /// Active throttles that target it, bound or only observing.
    pub(super) throttles_active: u32,
    pub(super) throttled_since: Option<Time>,
    pub(super) throttled_total: Duration,
    pub(super) counts: Counts,
}

/// Clients of a lane's kind that connect to the server directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Direct {
    pub(super) sessions: u32,
    pub(super) busy: u32,
    /// When the last one was seen, and the last one in a transaction.
    pub(super) last_connected: Option<Time>,
    pub(super) last_busy: Option<Time>,
}

/// Whether transactions of a lane run or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Some do.
    Busy,
    /// None do; the last one ended then.
    Quiet(Option<Time>),
}

impl Lane {
    pub(super) fn new(policy: LanePolicy) -> Self {
        Self {
            policy,
            effective: 0,
            cap: 0,
            ceiling: 0,
            opening: 0,
            idle: List::new(),
            busy: List::new(),
            cancelled: List::new(),
            kept: List::new(),
            arrivals: List::new(),
            uncovered: List::new(),
            unnoticed: List::new(),
            notices: false,
            caps: None,
            rules: None,
            covered: 0,
            pass: 0,
            turn: Turn::default(),
            class: 0,
            blocked_in: 0,
            sessions: 0,
            leases: 0,
            last_leased: None,
            activity: Activity::Quiet(None),
            last_connected: None,
            direct: Direct::default(),
            watched: false,
            wakes_objective: false,
            allowance: Allowance::new(),
            allowed: u32::MAX,
            throttles_active: 0,
            throttled_since: None,
            throttled_total: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// Connections with a transaction, or with a session that keeps them.
    pub(super) fn running(&self) -> u32 {
        self.busy.len() + self.cancelled.len() + self.kept.len()
    }

    /// Slots in use or spoken for: idle connections are not held, they can be taken back at any time.
    pub(super) fn held(&self) -> u32 {
        self.opening + self.running()
    }

    pub(super) fn connections(&self) -> u32 {
        self.held() + self.idle.len()
    }

    /// The minimum that binds others now. What a throttle takes away is not kept free either.
    pub(super) fn minimum(&self) -> u32 {
        if self.policy.mode == Mode::Enforce && !self.policy.retired {
            self.policy.min.min(self.effective)
        } else {
            0
        }
    }

    /// Slots that no other lane may count on.
    pub(super) fn reserved(&self) -> u64 {
        u64::from(self.held().max(self.minimum()))
    }

    pub(super) fn enforces(&self) -> bool {
        self.policy.mode == Mode::Enforce
    }

    /// Transactions that contend with no slot in sight.
    pub(super) fn queued(&self) -> usize {
        (self.arrivals.len() - self.covered - self.capped()) as usize
    }

    /// Transactions that wait behind their client's cap.
    pub(super) fn capped(&self) -> u32 {
        self.caps.as_deref().map_or(0, Caps::waiting)
    }

    /// Slots it holds, and transactions that wait for one.
    pub(super) fn wanted(&self) -> u32 {
        // Waiters are bounded far below 2^32.
        self.held() + self.queued() as u32
    }

    pub(super) fn stride(&self) -> u64 {
        STRIDE / u64::from(self.policy.weight.clamp(1, MAX_WEIGHT))
    }

    /// When the queue's oldest waiter gives up, if the lane lets any. The timeout is the lane's at this moment, so the
    /// deadlines stand in the order of arrival even after a reload.
    pub(super) fn deadline(&self, oldest: Time) -> Option<Time> {
        let limit = self.policy.queue_timeout;
        (self.enforces() && !limit.is_zero()).then(|| oldest + limit)
    }

    /// When the least recently used idle connection is closed, if the minimum does not keep it.
    pub(super) fn idle_deadline(&self, servers: &Slab<Server>) -> Option<Time> {
        let limit = self.policy.idle_timeout;
        if limit.is_zero() || u64::from(self.connections()) <= self.policy.guaranteed() {
            return None;
        }
        Some(servers[self.first_replaceable(servers)?].since + limit)
    }

    /// The least recently used idle connection that the scheduler could follow with another.
    pub(super) fn first_replaceable(&self, servers: &Slab<Server>) -> Option<u32> {
        let mut idle = self.idle.iter(servers);
        idle.find(|&place| servers[place].keep == Keep::AsNeeded)
    }

    /// When a connection is too old. Up to a tenth earlier by its id, so that those opened together do not go together.
    pub(super) fn lifetime_end(&self, server: ServerId, opened: Time) -> Option<Time> {
        let lifetime = self.policy.server_lifetime;
        if lifetime.is_zero() {
            return None;
        }
        let share = (server.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u32;
        Some(opened + (lifetime - lifetime / 10 / 1024 * share))
    }
}
