//! Latencies in a histogram of fixed size: exact below 128 us, within 0.8 % above.

use std::time::Duration;

/// Values below this have a bucket each; above, each doubling has `HALF` buckets.
const EXACT: u64 = 128;
const HALF: u64 = EXACT / 2;
/// Enough for 2^36 us, which is 19 hours; what is longer counts as that.
const BUCKETS: usize = (EXACT + 29 * HALF) as usize;

/// Counts of latencies, from which percentiles are read. Its size does not grow.
#[derive(Debug, Clone)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    total_us: u64,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies {
            buckets: vec![0; BUCKETS],
            count: 0,
            total_us: 0,
            max_us: 0,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)] += 1;
        self.count += 1;
        self.total_us = self.total_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Latencies) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.total_us = self.total_us.saturating_add(other.total_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.total_us
    }

    /// The longest, in microseconds, exact.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The latency in microseconds that a share of all (0.99 for p99) does not exceed; 0 when none was counted.
    pub fn percentile_us(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest(index).min(self.max_us);
            }
        }
        self.max_us
    }
}

fn bucket(us: u64) -> usize {
    if us < EXACT {
        return us as usize;
    }
    // The number of halvings that bring the value into HALF..EXACT.
    let halvings = u64::from(us.ilog2()) - u64::from(EXACT.ilog2()) + 1;
    ((EXACT + (halvings - 1) * HALF + ((us >> halvings) - HALF)) as usize).min(BUCKETS - 1)
}

/// The highest value of a bucket.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let halvings = (index - EXACT) / HALF + 1;
    let within = (index - EXACT) % HALF + HALF;
    ((within + 1) << halvings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_holds_it_closely() {
        for us in (0..2_000).chain([4_095, 4_096, 65_535, 1_000_000, 123_456_789, 1 << 35]) {
            let index = bucket(us);
            assert!(highest(index) >= us, "{us}");
            assert!(index == 0 || highest(index - 1) < us, "{us}");
            assert!((highest(index) - us) as f64 <= us as f64 / 60.0, "{us}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile_us(0.5), 0);
        (1..=100).for_each(|us| latencies.record(Duration::from_micros(us)));
        let read = [0.5, 0.95, 0.99, 1.0].map(|share| latencies.percentile_us(share));
        assert_eq!(read, [50, 95, 99, 100]);
        assert_eq!(
            (latencies.count(), latencies.total_us(), latencies.max_us()),
            (100, 5_050, 100)
        );
    }

    #[test]
    fn merging_is_as_counting_all_in_one() {
        let (mut one, mut two, mut both) = (
            Latencies::default(),
            Latencies::default(),
            Latencies::default(),
        );
        for us in 0..1_000 {
            if us % 3 == 0 { &mut one } else { &mut two }.record(Duration::from_micros(us * 7));
            both.record(Duration::from_micros(us * 7));
        }
        one.merge(&two);
        for share in [0.1, 0.5, 0.9, 0.999] {
            assert_eq!(one.percentile_us(share), both.percentile_us(share));
        }
        assert_eq!(one.total_us(), both.total_us());
    }
}
