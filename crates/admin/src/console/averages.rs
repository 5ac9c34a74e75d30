//! PgBouncer's averages: over the last period that is over and what has passed of the present one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pglanes_proxy::Handle;
use pglanes_proxy::view::PoolView;
use tokio::time::Instant;

/// PgBouncer's `stats_period`.
const PERIOD: Duration = Duration::from_secs(60);

/// What was done, as PgBouncer counts it; as an average, by second or by piece. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) assignments: u64,
    pub(super) transactions: u64,
    pub(super) queries: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) transaction_us: u64,
    pub(super) query_us: u64,
    pub(super) wait_us: u64,
    pub(super) client_parses: u64,
    pub(super) server_parses: u64,
    pub(super) binds: u64,
}

/// The counts of each database.
pub(super) type ByDatabase = BTreeMap<String, Counts>;

/// What pools have done, by database.
pub(super) fn by_database(pools: &[PoolView]) -> ByDatabase {
    let mut all = ByDatabase::new();
    for pool in pools {
        let counts = all.entry(pool.database.clone()).or_default();
        counts.add(&Counts {
            assignments: pool.assignments,
            transactions: pool.transactions,
            queries: pool.queries,
            received: pool.bytes_received,
            sent: pool.bytes_sent,
            transaction_us: pool.transaction_us,
            query_us: pool.query_us,
            wait_us: pool.wait_us,
            client_parses: pool.client_parses,
            server_parses: pool.server_parses,
            binds: pool.binds,
        });
    }
    all
}

impl Counts {
    pub(super) fn add(&mut self, more: &Self) {
        self.assignments += more.assignments;
        self.transactions += more.transactions;
        self.queries += more.queries;
        self.received += more.received;
        self.sent += more.sent;
        self.transaction_us += more.transaction_us;
        self.query_us += more.query_us;
        self.wait_us += more.wait_us;
        self.client_parses += more.client_parses;
        self.server_parses += more.server_parses;
        self.binds += more.binds;
    }

    /// What was done since `before`, by second; times by transaction, query and wait.
    fn average(&self, before: &Self, over: Duration) -> Self {
        let micros = u64::try_from(over.as_micros()).unwrap_or(u64::MAX).max(1);
        let difference = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before));
        let by_second = |of: fn(&Self) -> u64| {
            let done = u128::from(difference(of)) * 1_000_000 / u128::from(micros);
            u64::try_from(done).unwrap_or(u64::MAX)
        };
        let by_piece = |time: fn(&Self) -> u64, of: fn(&Self) -> u64| {
            difference(time).checked_div(difference(of)).unwrap_or(0)
        };
        Self {
            assignments: by_second(|counts| counts.assignments),
            transactions: by_second(|counts| counts.transactions),
            queries: by_second(|counts| counts.queries),
            received: by_second(|counts| counts.received),
            sent: by_second(|counts| counts.sent),
            transaction_us: by_piece(|counts| counts.transaction_us, |counts| counts.transactions),
            query_us: by_piece(|counts| counts.query_us, |counts| counts.queries),
            wait_us: by_piece(|counts| counts.wait_us, |counts| counts.assignments),
            client_parses: by_second(|counts| counts.client_parses),
            server_parses: by_second(|counts| counts.server_parses),
            binds: by_second(|counts| counts.binds),
        }
    }
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    counts: ByDatabase,
}

/// The counts at the ends of the last two periods.
#[derive(Debug)]
pub(super) struct Averages {
    samples: Mutex<(Sample, Sample)>,
}

impl Averages {
    pub(super) fn new() -> Self {
        let now = || Sample {
            at: Instant::now(),
            counts: ByDatabase::new(),
        };
        Self {
            samples: Mutex::new((now(), now())),
        }
    }

    /// Takes a sample each period, until the proxy has ended.
    pub(super) async fn keep(&self, handle: &Handle) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            let Some(pools) = handle.pools().await else {
                return;
            };
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = Sample {
                at: Instant::now(),
                counts: by_database(&pools),
            };
            let newer = std::mem::replace(&mut samples.1, newest);
            samples.0 = newer;
        }
    }

    /// The averages of each database.
    pub(super) fn of(&self, now: &ByDatabase) -> ByDatabase {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let over = samples.0.at.elapsed();
        let none = Counts::default();
        let averages = now.iter().map(|(database, counts)| {
            let before = samples.0.counts.get(database).unwrap_or(&none);
            (database.clone(), counts.average(before, over))
        });
        averages.collect()
    }

    /// The averages of all databases together.
    pub(super) fn of_all(&self, now: &ByDatabase) -> Counts {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: &ByDatabase| {
            let mut all = Counts::default();
            of.values().for_each(|counts| all.add(counts));
            all
        };
        sum(now).average(&sum(&samples.0.counts), samples.0.at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_second_and_times_by_piece() {
        let before = Counts {
            transactions: 100,
            transaction_us: 5_000,
            ..Counts::default()
        };
        let after = Counts {
            transactions: 300,
            transaction_us: 45_000,
            queries: 50,
            ..Counts::default()
        };
        let average = after.average(&before, Duration::from_secs(10));
        assert_eq!(average.transactions, 20);
        assert_eq!(average.transaction_us, 200);
        assert_eq!(
            (average.queries, average.query_us, average.wait_us),
            (5, 0, 0)
        );
    }
}
