//! Durations as the data path counts them: how many fell into each bucket, and their sum.

use std::time::Duration;

use pglanes_proxy::{BUCKET_BOUNDS_US, Histogram};
use serde::{Deserialize, Serialize};

/// One more than there are bounds.
const BUCKETS: usize = BUCKET_BOUNDS_US.len() + 1;

/// A histogram at one moment.
pub(super) type Counts = ([u64; BUCKETS], Duration);

/// What a histogram has counted so far.
pub(super) fn counts(histogram: &Histogram) -> Counts {
    (histogram.counts(), histogram.sum())
}

/// Some durations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Buckets that are not empty, by their number, with how many fell into them.
    #[serde(rename = "c")]
    counts: Vec<(u8, u64)>,
    /// All of them together, in microseconds.
    #[serde(rename = "us")]
    sum_us: u64,
}

impl Distribution {
    /// What came to a histogram between two moments.
    pub(super) fn between(before: &Counts, after: &Counts) -> Self {
        let pairs = before.0.iter().zip(&after.0).enumerate();
        let counts = pairs.filter_map(|(bucket, (before, after))| {
            let count = after.saturating_sub(*before);
            let bucket = u8::try_from(bucket).ok()?;
            (count > 0).then_some((bucket, count))
        });
        let sum = after.1.saturating_sub(before.1);
        Self {
            counts: counts.collect(),
            sum_us: u64::try_from(sum.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.sum_us == 0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts.fold(0, |all, (_, count)| all.saturating_add(*count))
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// Their mean in microseconds.
    pub fn mean_us(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_us as f64 / count as f64)
    }

    /// Takes in others.
    pub fn add(&mut self, other: &Self) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        for (bucket, count) in &other.counts {
            match self
                .counts
                .binary_search_by_key(bucket, |(known, _)| *known)
            {
                Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(*count),
                Err(at) => self.counts.insert(at, (*bucket, *count)),
            }
        }
    }

    /// A quantile in microseconds, as far as the buckets tell: within one it is taken to lie as its share does.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * count as f64).max(1.0);
        let mut below = 0.0;
        for (bucket, count) in &self.counts {
            let count = *count as f64;
            if below + count >= rank {
                let (low, high) = bounds(usize::from(*bucket));
                return Some(low + (high - low) * ((rank - below) / count));
            }
            below += count;
        }
        None
    }
}

/// Between what the durations of a bucket lie; the last one has no upper bound and is taken for its lower one.
fn bounds(bucket: usize) -> (f64, f64) {
    let bound = |bucket: usize| BUCKET_BOUNDS_US.get(bucket).map(|bound| *bound as f64);
    let low = bucket.checked_sub(1).and_then(bound).unwrap_or(0.0);
    (low, bound(bucket).unwrap_or(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buckets: &[(usize, u64)], sum_us: u64) -> Distribution {
        let mut after = ([0; BUCKETS], Duration::from_micros(sum_us));
        for (bucket, count) in buckets {
            after.0[*bucket] = *count;
        }
        Distribution::between(&([0; BUCKETS], Duration::ZERO), &after)
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        // 90 up to 1 ms, 10 up to 10 ms.
        let some = of(&[(4, 90), (7, 10)], 100_000);
        assert_eq!(some.count(), 100);
        assert_eq!(some.mean_us(), Some(1000.0));
        let median = some.quantile_us(0.5).unwrap();
        assert!((500.0..1000.0).contains(&median), "{median}");
        assert_eq!(some.quantile_us(0.95), Some(7500.0));
        assert_eq!(some.quantile_us(1.0), Some(10_000.0));
        assert_eq!(of(&[(20, 1)], 1).quantile_us(0.5), Some(300_000_000.0));
        assert_eq!(Distribution::default().quantile_us(0.5), None);
    }

    #[test]
    fn sums_are_of_both() {
        let mut one = of(&[(1, 2)], 10);
        one.add(&of(&[(0, 1), (1, 1)], 5));
        assert_eq!(one, of(&[(0, 1), (1, 3)], 15));
    }
}
