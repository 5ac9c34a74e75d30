//! A distribution in logarithmic buckets: sixteen to each doubling, so that a value is known to about three in a hundred,
//! whether it is a point read or a vacuum.

/// Buckets of one doubling.
const STEPS: usize = 16;
const STEPS_BITS: u32 = STEPS.trailing_zeros();
/// Values below 2 to this power fall in the first bucket: a microsecond, in nanoseconds.
const FIRST_OCTAVE: u32 = 10;
/// Doublings that are told apart: to 2^37, which are 137 s in nanoseconds.
const OCTAVES: u32 = 27;
/// Buckets of a distribution.
pub(super) const BUCKETS: usize = OCTAVES as usize * STEPS;

/// Counts by bucket. A count may be a weight; the sum never overflows because it is halved long before.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct LogHistogram {
    counts: Box<[u32; BUCKETS]>,
    total: u32,
}

impl LogHistogram {
    pub(super) fn new() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
        }
    }

    /// The sum of all weights.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// Adds a value with a weight. Beyond 2^31 in sum everything counts half.
    pub(super) fn record(&mut self, value: u64, weight: u32) {
        self.add(bucket_of(value), weight);
    }

    /// Adds to a bucket by its number; one that does not exist is left out.
    pub(super) fn add(&mut self, bucket: usize, weight: u32) {
        let weight = weight.min(1 << 24);
        if self.total > 1 << 31 {
            self.keep(1, 2);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += weight;
            self.total += weight;
        }
    }

    /// Keeps a share of every count; what falls below one is gone.
    pub(super) fn keep(&mut self, numerator: u32, denominator: u32) {
        self.total = 0;
        for count in self.counts.iter_mut() {
            let kept = u64::from(*count) * u64::from(numerator) / u64::from(denominator.max(1));
            *count = u32::try_from(kept).unwrap_or(u32::MAX);
            self.total += *count;
        }
    }

    /// The value that so many thousandths of the weight do not exceed, by interpolation in its bucket.
    pub(super) fn quantile(&self, thousandths: u16) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let wanted = u64::from(self.total) * u64::from(thousandths.min(1000));
        let mut before = 0;
        let mut last = None;
        for (bucket, &count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let weight = u64::from(count) * 1000;
            let (low, high) = bounds_of(bucket);
            if before + weight >= wanted {
                let into = u128::from(high - low) * u128::from(wanted.saturating_sub(before));
                // A part of a bucket's width, which is below 2^37.
                return Some(low + (into / u128::from(weight)) as u64);
            }
            before += weight;
            last = Some(high);
        }
        last
    }

    /// The buckets that have anything, with their counts.
    pub(super) fn filled(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let counts = self.counts.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.clamp(1 << FIRST_OCTAVE, (1 << (FIRST_OCTAVE + OCTAVES)) - 1);
    let octave = value.ilog2();
    let step = (value >> (octave - STEPS_BITS)) as usize % STEPS;
    (octave - FIRST_OCTAVE) as usize * STEPS + step
}

/// The least value of a bucket, and the least of the next.
fn bounds_of(bucket: usize) -> (u64, u64) {
    let octave = FIRST_OCTAVE + (bucket / STEPS) as u32;
    let width = 1 << (octave - STEPS_BITS);
    let low = (1 << octave) + (bucket % STEPS) as u64 * width;
    (low, low + width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket_and_the_ends_take_what_is_beyond() {
        let mut value = 1_u64 << FIRST_OCTAVE;
        while value < 1 << (FIRST_OCTAVE + OCTAVES) {
            let (low, high) = bounds_of(bucket_of(value));
            assert!((low..high).contains(&value), "{value}");
            assert!((high - low) as f64 <= low as f64 / 16.0 + 1.0);
            value += value / 7 + 1;
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let mut histogram = LogHistogram::new();
        assert_eq!(histogram.quantile(950), None);
        for micros in 1..=1000_u64 {
            histogram.record(micros * 1000, 3);
        }
        for (quantile, truth) in [(500, 500_000.0), (950, 950_000.0), (990, 990_000.0)] {
            let found = histogram.quantile(quantile).unwrap() as f64;
            assert!((found / truth - 1.0).abs() < 0.035, "{quantile}: {found}");
        }
        let before = histogram.quantile(500).unwrap() as f64;
        histogram.keep(1, 3);
        assert_eq!(histogram.total(), 1000);
        assert!((histogram.quantile(500).unwrap() as f64 / before - 1.0).abs() < 0.01);
    }

    #[test]
    fn weights_do_not_overflow() {
        let mut histogram = LogHistogram::new();
        for _ in 0..1000 {
            histogram.record(5000, u32::MAX);
        }
        assert!(histogram.total() > 1 << 30);
        assert!(histogram.quantile(1000).is_some());
    }
}
