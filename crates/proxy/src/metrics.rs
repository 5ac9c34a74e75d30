//! Counters of the data path. The data thread alone writes them; anyone may read. They
//! are plain loads and stores: no locked instruction is spent on a transaction.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pglanes_lanes::{LaneId, MAX_LANES, Rejection};

use crate::priority::Refusal;
use crate::session::Reason;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        // One writer: nothing is lost between the load and the store.
        self.0.store(self.get() + count, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: i64) {
        self.0.store(self.get() + count, Ordering::Relaxed);
    }
}

/// Yes or no.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Whether it holds now.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, holds: bool) {
        self.0.store(holds, Ordering::Relaxed);
    }
}

/// Upper bounds of the buckets of every [`Histogram`], in microseconds; one more bucket
/// takes what is above.
pub const BUCKET_BOUNDS_US: [u64; 20] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// A distribution of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKET_BOUNDS_US.len() + 1],
    sum_ns: Counter,
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let micros = duration.as_micros() as u64;
        let index = BUCKET_BOUNDS_US.partition_point(|bound| *bound < micros);
        self.buckets[index].increment();
        self.sum_ns.add(duration.as_nanos() as u64);
    }

    /// Counts per bucket, not cumulated; the last is above every bound.
    pub fn counts(&self) -> [u64; BUCKET_BOUNDS_US.len() + 1] {
        std::array::from_fn(|index| self.buckets[index].get())
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns.get())
    }
}

/// The counters of one lane.
#[derive(Debug, Default)]
pub struct LaneMetrics {
    /// Transactions that ended.
    pub transactions: Counter,
    /// ErrorResponses passed to clients.
    pub errors: Counter,
    /// Bytes received from clients.
    pub bytes_in: Counter,
    /// Bytes sent to clients.
    pub bytes_out: Counter,
    /// From asking for a slot to getting it.
    pub queue_wait: Histogram,
    /// From getting the slot to the end of the transaction.
    pub transaction_time: Histogram,
    /// From sending what asks for it to ReadyForQuery: a Query, or what stands before a Sync.
    pub statement_time: Histogram,
    refused: [Counter; Refused::ALL.len()],
    /// Leases taken on it.
    pub leases_taken: Counter,
    /// Renewals of its leases.
    pub leases_renewed: Counter,
    /// Leases that their holders ended.
    pub leases_ended: Counter,
    /// Leases that nobody renewed.
    pub leases_expired: Counter,
    /// What became of its backends' CPU and I/O priority.
    pub priority: PriorityMetrics,
    pinned: [Gauge; Reason::ALL.len()],
}

/// What became of the CPU and I/O priority of a lane's backends. The thread that sets priorities alone writes these.
#[derive(Debug, Default)]
pub struct PriorityMetrics {
    /// Backends put to the lane's level, or to a throttle's.
    pub set: Counter,
    /// Parallel workers put there.
    pub workers: Counter,
    /// Backends put back to normal: a throttle ended, or somebody waited for them.
    pub raised: Counter,
    /// Of these, those that somebody protected waited for.
    pub lifts: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

impl PriorityMetrics {
    /// How often it could not be done for this reason.
    pub fn refused(&self, reason: Refusal) -> &Counter {
        &self.refused[reason as usize]
    }

    /// The same for every reason, by label.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let reasons = Refusal::ALL.into_iter();
        reasons.map(|reason| (reason.label(), self.refused(reason).get()))
    }
}

impl LaneMetrics {
    pub(crate) fn rejected(&self, reason: &Rejection) {
        self.refused[Refused::of(reason) as usize].increment();
    }

    /// Transactions that got no slot for this reason.
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused[reason as usize].get()
    }

    /// Sessions pinned now, by reason.
    pub fn pinned(&self) -> impl Iterator<Item = (&'static str, i64)> + '_ {
        let reasons = Reason::ALL.iter().zip(&self.pinned);
        reasons.map(|(reason, gauge)| (reason.label(), gauge.get()))
    }
}

/// Why a transaction got no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The lane's queue was full.
    QueueFull,
    /// Its own client had too many waiting.
    ClientCap,
    /// It waited too long.
    QueueTimeout,
    /// A rule of the lane said so.
    Rule,
    /// No server connection could be opened.
    Upstream,
    /// Nobody could open one: the login it depended on is gone.
    NoLogin,
}

impl Refused {
    /// Every reason, in the order of its place.
    pub const ALL: [Self; 6] = [
        Self::QueueFull,
        Self::ClientCap,
        Self::QueueTimeout,
        Self::Rule,
        Self::Upstream,
        Self::NoLogin,
    ];

    fn of(reason: &Rejection) -> Self {
        match reason {
            Rejection::QueueFull { .. } => Self::QueueFull,
            Rejection::Capped { .. } => Self::ClientCap,
            Rejection::TimedOut { .. } => Self::QueueTimeout,
            Rejection::Rule { .. } => Self::Rule,
            Rejection::OpenFailed { .. } => Self::Upstream,
            Rejection::NoneLeft => Self::NoLogin,
        }
    }

    /// In a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ClientCap => "client_cap",
            Self::QueueTimeout => "queue_timeout",
            Self::Rule => "rule",
            Self::Upstream => "upstream",
            Self::NoLogin => "no_login",
        }
    }

    /// What the client sees; of a server that spoke for itself, its own code.
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::QueueFull | Self::ClientCap => "53300",
            Self::QueueTimeout | Self::Rule => "57014",
            Self::Upstream => "08006",
            Self::NoLogin => "28000",
        }
    }
}

/// Why a server connection was closed, where the scheduler did not ask for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerEnd {
    /// Its session ended, or broke off, with something left on it.
    #[default]
    Session,
    /// It was found dead when nobody used it.
    FoundDead,
    /// It is out of date: a reload, RECONNECT, an altered role or database.
    OutOfDate,
    /// The server ended it while a session used it.
    Lost,
    /// Nobody could say what it still owed.
    OutOfSync,
}

impl ServerEnd {
    /// Every reason, in the order of its place.
    pub const ALL: [Self; 5] = [
        Self::Session,
        Self::FoundDead,
        Self::OutOfDate,
        Self::Lost,
        Self::OutOfSync,
    ];

    /// In a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::FoundDead => "found_dead",
            Self::OutOfDate => "out_of_date",
            Self::Lost => "lost",
            Self::OutOfSync => "out_of_sync",
        }
    }
}

/// All counters of the data path.
#[derive(Debug)]
pub struct Metrics {
    lanes: Box<[OnceLock<Box<LaneMetrics>>]>,
    ends: [Counter; ServerEnd::ALL.len()],
    /// Sessions logged in now.
    pub clients: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// Attempts to accept a connection that failed, for want of descriptors most likely.
    pub accept_failures: Counter,
    /// Connections refused because there are too many.
    pub refused: Counter,
    /// Logins that succeeded.
    pub logins: Counter,
    /// Logins that failed.
    pub login_failures: Counter,
    /// Logins under an alias of a user or a database.
    pub aliases_used: Counter,
    /// Cancel requests received.
    pub cancel_requests: Counter,
    /// Cancel requests carried to PostgreSQL.
    pub cancels_forwarded: Counter,
    /// Statements cancelled by a throttle.
    pub throttle_cancels: Counter,
    /// TLS handshakes with clients that succeeded.
    pub tls_handshakes: Counter,
    /// TLS handshakes with clients that failed.
    pub tls_handshake_failures: Counter,
    /// Changed certificates put in force.
    pub certificate_reloads: Counter,
    /// Changed certificates that could not be used.
    pub certificate_reload_failures: Counter,
    /// Server connections opened.
    pub servers_opened: Counter,
    /// Attempts to open one that failed.
    pub open_failures: Counter,
    /// Prepared statements closed on a connection to make room for others.
    pub prepared_evictions: Counter,
    /// Server connections that ended or broke while a session used them.
    pub servers_lost: Counter,
    /// Server connections closed because nobody could say what they still owed: stays 0.
    pub out_of_sync: Counter,
    /// Backends left at their priority because too many others had to be set.
    pub priority_overruns: Counter,
    /// The last attempt to reach PostgreSQL succeeded.
    pub upstream_up: Flag,
    /// Configurations put in force after the first.
    pub reloads: Counter,
    /// Configurations refused.
    pub reload_failures: Counter,
    /// The last configuration read was put in force.
    pub last_reload_succeeded: Flag,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            lanes: (0..MAX_LANES).map(|_| OnceLock::new()).collect(),
            ends: Default::default(),
            clients: Gauge::default(),
            accepted: Counter::default(),
            accept_failures: Counter::default(),
            refused: Counter::default(),
            logins: Counter::default(),
            login_failures: Counter::default(),
            aliases_used: Counter::default(),
            cancel_requests: Counter::default(),
            cancels_forwarded: Counter::default(),
            throttle_cancels: Counter::default(),
            tls_handshakes: Counter::default(),
            tls_handshake_failures: Counter::default(),
            certificate_reloads: Counter::default(),
            certificate_reload_failures: Counter::default(),
            servers_opened: Counter::default(),
            open_failures: Counter::default(),
            prepared_evictions: Counter::default(),
            servers_lost: Counter::default(),
            out_of_sync: Counter::default(),
            priority_overruns: Counter::default(),
            upstream_up: Flag::default(),
            reloads: Counter::default(),
            reload_failures: Counter::default(),
            last_reload_succeeded: Flag::default(),
        };
        metrics.last_reload_succeeded.set(true);
        metrics
    }
}

impl Metrics {
    /// The counters of a lane.
    pub fn lane(&self, lane: LaneId) -> &LaneMetrics {
        // The scheduler refuses policies with more than MAX_LANES lanes.
        let place = &self.lanes[usize::from(lane.0) % MAX_LANES];
        place.get_or_init(Box::default)
    }

    pub(crate) fn server_ended(&self, why: ServerEnd) {
        self.ends[why as usize].increment();
    }

    /// Server connections closed for this reason. Those that the scheduler closed are counted in its snapshot.
    pub fn servers_ended(&self, why: ServerEnd) -> u64 {
        self.ends[why as usize].get()
    }

    /// Backends of all lanes whose priority was set, and those where it could not be.
    pub fn priorities(&self) -> (u64, u64) {
        let lanes = self.lanes.iter().filter_map(|lane| lane.get());
        lanes.fold((0, 0), |(set, refused), lane| {
            let refusals: u64 = lane.priority.refusals().map(|(_, count)| count).sum();
            (set + lane.priority.set.get(), refused + refusals)
        })
    }

    pub(crate) fn pinned(&self, lane: LaneId, reason: Reason) -> &Gauge {
        &self.lane(lane).pinned[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let histogram = Histogram::default();
        for micros in [0, 50, 51, 300_000_000, 300_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!(counts[0], 2);
        assert_eq!(counts[1], 1);
        assert_eq!(counts[BUCKET_BOUNDS_US.len() - 1], 1);
        assert_eq!(counts[BUCKET_BOUNDS_US.len()], 1);
    }
}
