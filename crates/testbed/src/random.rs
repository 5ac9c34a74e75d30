//! Repeatable randomness: the same seed gives the same numbers on every machine and in every version, which a library's
//! generator does not promise.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// A stream of its own for each pair of seed and number, such as a worker's or a row's.
    pub(crate) fn new(seed: u64, number: u64) -> Random {
        // Mixed first, so that neighbouring numbers do not give streams that are shifted copies of each other.
        let mut mixer = Random { state: seed };
        let salt = mixer.next();
        Random {
            state: Random {
                state: salt ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03),
            }
            .next(),
        }
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `end`; 0 when `end` is 0. The bias of the multiplication is below 2^-32 for what is asked here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number with mean 0 and variance 1, close to normal: the sum of four uniform ones. Cheap, and the tails do not matter
    /// in 384 dimensions.
    pub(crate) fn gaussian(&mut self) -> f32 {
        let bits = self.next();
        let sum = [0, 16, 32, 48]
            .map(|shift| f32::from((bits >> shift) as u16))
            .iter()
            .sum::<f32>();
        // Four uniform numbers below 65,536 have mean 131,070 and standard deviation 37,837.
        (sum - 131_070.0) / 37_837.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_published_algorithm() {
        let mut random = Random { state: 1_234_567 };
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = Random::new(7, 0);
        let mut seen = [0_u32; 10];
        for _ in 0..1_000 {
            seen[random.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn gaussians_have_the_promised_mean_and_variance() {
        let mut random = Random::new(7, 1);
        let numbers: Vec<f32> = (0..20_000).map(|_| random.gaussian()).collect();
        let mean = numbers.iter().sum::<f32>() / 20_000.0;
        let variance = numbers
            .iter()
            .map(|number| (number - mean).powi(2))
            .sum::<f32>()
            / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }
}
