//! From a measured ratio to the next limit.

/// How a limit follows a measured ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Law {
    /// What is above the quiet latency grows about in proportion to what runs beside it, so the limit that fits is about the
    /// present one, times the excess that is allowed over the excess that was measured. A step down goes the square root of that
    /// way, as far as halving; a step up the fourth root, by a fifth at most, because one step too far up costs the protected
    /// lane and one too short costs a moment. From far off it is there in a few steps, near the target the steps vanish, where
    /// additive increase goes on sawing.
    #[default]
    Excess,
    /// Additive increase, multiplicative decrease, as TCP does: what the other is compared with.
    Aimd,
}

/// Above so much of the allowed excess the limit is lowered, in [`Law::Excess`] and [`Law::Aimd`].
const LOWER_ABOVE: f64 = 0.95;
/// Below so much of it the limit is raised; in between it stays, so that noise moves nothing.
const RAISE_BELOW: f64 = 0.6;
/// The largest steps.
const STEEPEST_DOWN: f64 = 0.5;
const STEEPEST_UP: f64 = 1.2;
/// Additive steps: slots, and a share of a slot below one.
const ADDED: f64 = 0.25;
const ADDED_BELOW_ONE: f64 = 0.1;
const DECREASE: f64 = 0.7;

/// What a window of measurements says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Evidence {
    /// What was measured above the quiet latency, relative to what is allowed: above one the objective is missed.
    pub(super) excess: f64,
    /// What ran in the other lanes at most.
    pub(super) peak: f64,
    /// Something of the other lanes waited for the limit.
    pub(super) starved: bool,
}

impl Law {
    /// The next limit. It is raised only when something waited for it: an unused limit has shown nothing.
    pub(super) fn next(self, limit: f64, evidence: Evidence) -> f64 {
        let Evidence {
            excess,
            peak,
            starved,
        } = evidence;
        if excess > LOWER_ABOVE {
            // What was not used did no harm, and lowering it would do no good.
            let used = limit.min(peak.max(f64::from(super::LEAST_SLOT_THOUSANDTHS) / 1000.0));
            return used
                * match self {
                    Self::Excess => (1.0 / excess).sqrt().max(STEEPEST_DOWN),
                    Self::Aimd => DECREASE,
                };
        }
        if excess >= RAISE_BELOW || !starved {
            return limit;
        }
        match self {
            Self::Excess => {
                // At no excess at all, as far as a step goes.
                let wanted = (1.0 / excess.max(0.01)).sqrt().sqrt();
                limit * wanted.min(STEEPEST_UP)
            }
            Self::Aimd if limit < 1.0 => limit + ADDED_BELOW_ONE,
            Self::Aimd => limit + ADDED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(excess: f64) -> Evidence {
        Evidence {
            excess,
            peak: 100.0,
            starved: true,
        }
    }

    #[test]
    fn the_limit_falls_when_the_objective_is_missed_and_rises_when_it_is_kept_with_room() {
        for law in [Law::Excess, Law::Aimd] {
            assert!(law.next(4.0, evidence(2.0)) < 4.0);
            assert!(law.next(4.0, evidence(0.2)) > 4.0);
            assert!(law.next(4.0, evidence(-3.0)) <= 5.0);
            assert_eq!(law.next(4.0, evidence(0.8)), 4.0);
            assert!(law.next(4.0, evidence(1e9)) >= 2.0);
        }
    }

    #[test]
    fn an_unused_limit_is_not_raised_and_falls_from_what_was_used() {
        let unused = |excess| Evidence {
            excess,
            peak: 2.0,
            starved: false,
        };
        assert_eq!(Law::Excess.next(6.0, unused(0.0)), 6.0);
        assert!(Law::Excess.next(6.0, unused(1.3)) < 2.0);
    }

    #[test]
    fn on_a_plant_in_proportion_it_converges_from_both_sides() {
        // A ratio of 1 + 0.1 a slot, 1.2x allowed: two slots fit.
        for start in [0.1, 20.0] {
            let mut limit: f64 = start;
            for _ in 0..20 {
                limit = Law::Excess.next(limit, evidence(0.1 * limit / 0.2));
            }
            assert!((1.1..2.1).contains(&limit), "{limit}");
        }
    }
}
