//! Pools whose connections fail to open: no attempt for a while, then one at a time until one succeeds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{PoolId, ServerId, Time};

/// How long a pool is left alone after its first failure; doubles with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// The longest a pool is left alone.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(1);
/// Failing pools that are remembered. Beyond it the one whose wait ends first is forgotten and may try at once.
pub const MAX_BACKOFFS: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Left alone until then.
    Resting(Time),
    /// The next open is the attempt.
    Ready,
    /// This connection is the attempt.
    Trying(ServerId),
}

struct Backoff {
    rest: Duration,
    phase: Phase,
}

/// The failing pools. Empty nearly always, and then free of cost.
#[derive(Default)]
pub(super) struct Backoffs {
    pools: BTreeMap<PoolId, Backoff>,
    next: Option<Time>,
}

impl Backoffs {
    /// Whether no connection may be opened for the pool now.
    pub(super) fn blocks(&self, pool: PoolId) -> bool {
        match self.pools.get(&pool) {
            None => false,
            Some(backoff) => backoff.phase != Phase::Ready,
        }
    }

    /// A connection is being opened; for a failing pool it is the attempt.
    pub(super) fn note_open(&mut self, pool: PoolId, server: ServerId) {
        if let Some(backoff) = self.pools.get_mut(&pool) {
            backoff.phase = Phase::Trying(server);
        }
    }

    /// A connection was opened: the pool is well. True if it was not before.
    pub(super) fn note_success(&mut self, pool: PoolId) -> bool {
        let was_failing = self.pools.remove(&pool).is_some();
        if was_failing {
            self.find_next();
        }
        was_failing
    }

    /// A connection could not be opened. Returns a pool that had to be forgotten for this one.
    ///
    /// Connections that were asked for together fail together; only the first of them, or the one attempt, counts.
    pub(super) fn note_failure(
        &mut self,
        pool: PoolId,
        server: ServerId,
        now: Time,
    ) -> Option<PoolId> {
        let mut forgotten = None;
        if let Some(backoff) = self.pools.get_mut(&pool) {
            if backoff.phase == Phase::Trying(server) {
                backoff.rest = (backoff.rest * 2).min(BACKOFF_LONGEST);
                backoff.phase = Phase::Resting(now + backoff.rest);
            }
        } else {
            if self.pools.len() >= MAX_BACKOFFS {
                forgotten = self.soonest();
            }
            if let Some(soonest) = forgotten {
                self.pools.remove(&soonest);
            }
            let phase = Phase::Resting(now + BACKOFF_FIRST);
            self.pools.insert(
                pool,
                Backoff {
                    rest: BACKOFF_FIRST,
                    phase,
                },
            );
        }
        self.find_next();
        forgotten
    }

    /// The pools whose rest is over; they may try now.
    pub(super) fn end_rests(&mut self, now: Time, mut rested: impl FnMut(PoolId)) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        for (&pool, backoff) in &mut self.pools {
            if matches!(backoff.phase, Phase::Resting(until) if until <= now) {
                backoff.phase = Phase::Ready;
                rested(pool);
            }
        }
        self.find_next();
    }

    /// When the next rest ends.
    pub(super) fn next(&self) -> Option<Time> {
        self.next
    }

    fn find_next(&mut self) {
        let rests = self
            .pools
            .values()
            .filter_map(|backoff| match backoff.phase {
                Phase::Resting(until) => Some(until),
                Phase::Ready | Phase::Trying(_) => None,
            });
        self.next = rests.min();
    }

    fn soonest(&self) -> Option<PoolId> {
        let ends = |backoff: &Backoff| match backoff.phase {
            Phase::Ready => Time::ZERO,
            Phase::Resting(until) => until,
            Phase::Trying(_) => Time::from_nanos(u64::MAX),
        };
        self.pools
            .iter()
            .min_by_key(|(_, backoff)| ends(backoff))
            .map(|(&pool, _)| pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: PoolId = PoolId(7);

    #[test]
    fn rests_double_up_to_the_longest_and_end_with_a_success() {
        let mut backoffs = Backoffs::default();
        let mut now = Time::ZERO;
        let mut rests = Vec::new();
        for attempt in 0..7 {
            backoffs.note_open(POOL, ServerId(attempt));
            backoffs.note_failure(POOL, ServerId(attempt), now);
            let next = backoffs.next().unwrap();
            rests.push(next.since(now).as_millis());
            assert!(backoffs.blocks(POOL));
            now = next;
            let mut rested = Vec::new();
            backoffs.end_rests(now, |pool| rested.push(pool));
            assert_eq!(rested, [POOL]);
            assert!(!backoffs.blocks(POOL));
        }
        assert_eq!(rests, [50, 100, 200, 400, 800, 1000, 1000]);
        assert!(backoffs.note_success(POOL));
        assert!(!backoffs.note_success(POOL));
    }

    #[test]
    fn failures_of_one_volley_count_once() {
        let mut backoffs = Backoffs::default();
        for server in 0..5 {
            backoffs.note_failure(POOL, ServerId(server), Time::ZERO);
        }
        assert_eq!(backoffs.next(), Some(Time::ZERO + BACKOFF_FIRST));
    }

    #[test]
    fn no_more_pools_are_remembered_than_named() {
        let mut backoffs = Backoffs::default();
        for pool in 0..MAX_BACKOFFS as u32 {
            let now = Time::from_nanos(u64::from(pool));
            assert_eq!(backoffs.note_failure(PoolId(pool), ServerId(0), now), None);
        }
        let forgotten = backoffs.note_failure(PoolId(u32::MAX), ServerId(0), Time::ZERO);
        assert_eq!(forgotten, Some(PoolId(0)));
    }
}
