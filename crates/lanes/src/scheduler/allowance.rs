//! How much of its slots a lane has while an objective holds it back: so many, and of one more a share of the time.
//!
//! A share of the time is kept as an account of slot-time. It earns the share for every moment that passes, and pays for what
//! runs beyond the whole slots; a transaction may begin while something is in it. A statement of an hour and one of a
//! millisecond are thus charged for what they take, which a fixed duty cycle, into which each of them begins once, does not do:
//! a few long statements would take what many short ones were meant to share.

use std::time::Duration;

use crate::Time;
use crate::time::nanos;

/// The most that an unused share grows to, in slot-nanoseconds: enough for one short statement to begin at once.
const MOST_SAVED: i64 = 20_000_000;
/// The longest that others wait for what a long statement took, in nanoseconds: less than a queue's usual timeout.
const LONGEST_WAIT: i64 = 30_000_000_000;

/// A lane's account.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    /// Slots, and thousandths of one more. `None` is no limit.
    limit: Option<(u32, u32)>,
    /// Slot-nanoseconds.
    balance: i64,
    as_of: Time,
    running: u32,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self {
            limit: None,
            balance: MOST_SAVED,
            as_of: Time::ZERO,
            running: 0,
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// The limit in thousandths of a slot.
    pub(super) fn thousandths(&self) -> Option<u32> {
        let (whole, part) = self.limit?;
        Some(whole.saturating_mul(1000).saturating_add(part))
    }

    /// Sets the limit, in thousandths of a slot.
    pub(super) fn set(&mut self, now: Time, thousandths: Option<u32>) {
        self.settle(now, self.running);
        self.limit = thousandths.map(|limit| (limit / 1000, limit % 1000));
    }

    /// Brings the account up to `now`; from then on `running` transactions run.
    pub(super) fn settle(&mut self, now: Time, running: u32) {
        let Some((whole, part)) = self.limit else {
            self.balance = MOST_SAVED;
            (self.as_of, self.running) = (now, running);
            return;
        };
        // Below 2^63 for every time between two steps that is shorter than a century.
        let passed = i64::try_from(nanos(now.since(self.as_of))).unwrap_or(i64::MAX);
        let earned = passed.saturating_mul(i64::from(part)) / 1000;
        let beyond = i64::from(self.running.saturating_sub(whole));
        let paid = passed.saturating_mul(beyond);
        let balance = self.balance.saturating_add(earned).saturating_sub(paid);
        let most_owed = -(LONGEST_WAIT / 1000 * i64::from(part));
        self.balance = balance.clamp(most_owed, MOST_SAVED);
        (self.as_of, self.running) = (now, running);
    }

    /// The slots of this moment, as settled last.
    pub(super) fn slots(&self) -> u32 {
        match self.limit {
            None => u32::MAX,
            Some((whole, part)) => whole.saturating_add(u32::from(part > 0 && self.balance > 0)),
        }
    }

    /// When there is a slot more though nothing happens.
    pub(super) fn opens(&self) -> Option<Time> {
        let (whole, part) = self.limit?;
        if part == 0 || self.balance > 0 || self.running > whole {
            return None;
        }
        let missing = self.balance.unsigned_abs() + 1;
        let wait = missing.saturating_mul(1000).div_ceil(u64::from(part)) + 1;
        Some(self.as_of + Duration::from_nanos(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(micros * 1000)
    }

    /// The share of the time that statements of one length run, one at a time, each beginning as soon as it may.
    fn share(thousandths: u32, statement: u64) -> f64 {
        let mut allowance = Allowance::new();
        allowance.set(at(0), Some(thousandths));
        let (mut now, mut ran, end) = (0, 0, 100_000_000);
        while now < end {
            if allowance.slots() == 0 {
                let opens = allowance.opens().unwrap();
                now = opens.as_nanos().div_ceil(1000);
                allowance.settle(at(now), 0);
                continue;
            }
            allowance.settle(at(now), 1);
            now += statement;
            ran += statement;
            allowance.settle(at(now), 0);
        }
        ran as f64 / now as f64
    }

    #[test]
    fn long_and_short_statements_get_the_same_share_of_the_time() {
        for wanted in [50, 100, 333, 700] {
            for statement in [500, 20_000, 700_000] {
                let got = share(wanted, statement);
                let ratio = got * 1000.0 / f64::from(wanted);
                assert!(
                    (0.95..1.1).contains(&ratio),
                    "{wanted} of {statement}: {got}"
                );
            }
        }
    }

    #[test]
    fn whole_slots_cost_nothing_and_no_limit_is_no_limit() {
        let mut allowance = Allowance::new();
        assert_eq!((allowance.slots(), allowance.opens()), (u32::MAX, None));
        allowance.set(at(0), Some(2000));
        for second in 1..100 {
            allowance.settle(at(second * 1_000_000), 2);
            assert_eq!((allowance.slots(), allowance.opens()), (2, None));
        }
        allowance.set(at(100_000_000), Some(2500));
        assert_eq!(allowance.slots(), 3);
        allowance.settle(at(100_000_000), 3);
        allowance.settle(at(100_100_000), 2);
        assert_eq!(allowance.slots(), 2, "it ran 100 ms and had earned 50");
        assert!(allowance.opens().is_some());
    }

    #[test]
    fn what_is_owed_is_bounded() {
        let mut allowance = Allowance::new();
        allowance.set(at(0), Some(50));
        allowance.settle(at(0), 1);
        allowance.settle(at(3_600_000_000), 0);
        let opens = allowance.opens().unwrap().since(at(3_600_000_000));
        assert!(opens <= Duration::from_secs(31), "{opens:?}");
    }
}
