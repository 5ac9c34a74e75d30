//! Quiet as it is just now, relative to what was learned over a long time.
//!
//! A machine has other things to do than PostgreSQL, and a checkpoint is nobody's lane: the protected lane may be slow though
//! everybody else stands still. Holding them back further would cost them everything and help nobody. So the latest quiet
//! transactions are held against the baseline too, and what they exceed it by is not laid at the others' door.

use std::time::Duration;

use super::baseline::ONE;
use super::histogram::LogHistogram;
use crate::Time;

/// The fewest quiet transactions that say something.
const FEWEST: u32 = 20;
/// Of so many, the older ones count half.
const REMEMBERED: u32 = 64;
/// How long they say something.
const VALID: Duration = Duration::from_secs(15);
/// The most that is believed: beyond it the baseline itself has to follow.
const MOST: f64 = 4.0;

/// The latest quiet transactions.
pub(super) struct Present {
    quotients: LogHistogram,
    last: Option<Time>,
}

impl Present {
    pub(super) fn new() -> Self {
        Self {
            quotients: LogHistogram::new(),
            last: None,
        }
    }

    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }

    /// A quiet transaction took so many times its class's quiet quantile.
    pub(super) fn note(&mut self, now: Time, quotient: u64) {
        if self.last.is_some_and(|last| last + VALID <= now) {
            self.quotients.keep(0, 1);
        }
        if self.quotients.total() >= REMEMBERED {
            self.quotients.keep(1, 2);
        }
        self.quotients.record(quotient, 1);
        self.last = Some(now);
    }

    /// How many times slower than the baseline quiet is now: one where it is not, or nothing is known.
    pub(super) fn drift(&self, now: Time, quantile: u16) -> f64 {
        let valid = self.last.is_some_and(|last| last + VALID > now);
        if !valid || self.quotients.total() < FEWEST {
            return 1.0;
        }
        let found = self.quotients.quantile(quantile).unwrap_or(ONE);
        (found as f64 / ONE as f64).clamp(1.0, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn it_follows_quickly_forgets_quickly_and_is_never_below_one() {
        let mut present = Present::new();
        assert_eq!(present.drift(at(0), 950), 1.0);
        for _ in 0..40 {
            present.note(at(1), ONE / 2);
        }
        assert_eq!(present.drift(at(1), 950), 1.0);
        for _ in 0..100 {
            present.note(at(2), ONE * 2);
        }
        assert!((1.9..2.2).contains(&present.drift(at(2), 950)));
        assert_eq!(present.drift(at(17), 950), 1.0);
        for _ in 0..100 {
            present.note(at(18), ONE * 100);
        }
        assert_eq!(present.drift(at(18), 950), MOST);
    }
}
