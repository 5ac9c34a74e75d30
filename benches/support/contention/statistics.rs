//! Medians, and how sure they are.

use serde::Serialize;

/// Samples drawn for an interval.
const RESAMPLES: usize = 10_000;
/// What an interval leaves out at each end, in thousandths: 95 % are within.
const TAIL: usize = 25;

/// A median with the 95 % interval of a percentile bootstrap. Of few repetitions that interval is nearly their range: it
/// claims no more than they show.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Spread {
    /// Of some values; `None` where there are none. The same values always give the same.
    pub fn of(values: &[f64]) -> Option<Spread> {
        if values.is_empty() {
            return None;
        }
        let mut random = 0x5eed_u64;
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let drawn = values
                    .iter()
                    .map(|_| values[below(&mut random, values.len())]);
                median(drawn.collect())
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Some(Spread {
            median: median(values.to_vec()),
            low: medians[RESAMPLES * TAIL / 1_000],
            high: medians[RESAMPLES * (1_000 - TAIL) / 1_000],
        })
    }
}

/// Of at least one value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// A number below a bound, by SplitMix64 (Steele, Lea and Flood, 2014). The bound is small: its bias does not matter.
fn below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_value_is_its_own_interval_and_none_has_none() {
        let of_one = Spread::of(&[3.0]).unwrap();
        assert_eq!((of_one.low, of_one.median, of_one.high), (3.0, 3.0, 3.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn an_interval_holds_the_median_and_narrows_with_more_values() {
        let width = |count: u32| {
            let values: Vec<f64> = (0..count).map(|n| f64::from(n * 37 % 101)).collect();
            let spread = Spread::of(&values).unwrap();
            assert!(spread.low <= spread.median && spread.median <= spread.high);
            spread.high - spread.low
        };
        assert!(width(400) < width(10) / 2.0);
        assert_eq!(
            width(10),
            width(10),
            "the same values give the same interval"
        );
    }

    #[test]
    fn a_median_of_an_even_number_lies_between() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(vec![9.0, 1.0, 3.0]), 3.0);
    }
}
