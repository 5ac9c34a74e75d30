//! The loop under a step, a burst and noise: where it settles, how far it swings, and what is left to the others.

use super::*;
use crate::objective::{Law, ObjectivePolicy, Target};
use crate::{LanePolicy, Mode};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const ALWAYS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(3600)];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An evaluation of point reads, searches and writes beside searchers and a lane of long statements.
fn house(times: u32) -> Contended {
    let mut policy = Policy::new(40);
    policy.lanes = vec![
        LanePolicy {
            min: 4,
            priority: 100,
            objective: Some(ObjectivePolicy::new(Target {
                quantile: 950,
                times,
            })),
            ..LanePolicy::new("evaluation", 16)
        },
        LanePolicy::new("ltst", 12),
        LanePolicy {
            priority: -10,
            ..LanePolicy::new("compaction", 2)
        },
    ];
    let class = |micros: u64, share: f64| Class {
        alone: Span::Uniform(
            Duration::from_micros(micros),
            Duration::from_micros(micros * 3 / 2),
        ),
        share,
    };
    Contended {
        policy,
        clients: 1,
        think: Span::Exponential(MS),
        active: ALWAYS,
        classes: vec![class(200, 0.5), class(1500, 0.3), class(4000, 0.2)],
        background: vec![
            Background {
                lane: LaneId(1),
                clients: 6,
                alone: Span::Exponential(MS * 15),
                active: ALWAYS,
            },
            Background {
                lane: LaneId(2),
                clients: 2,
                alone: Span::Exponential(MS * 400),
                active: ALWAYS,
            },
        ],
        cores: 4.0,
        interference: 0.04,
        stall: (0.0, Duration::ZERO),
        slower: (1.0, ALWAYS),
        seed: 11,
        length: seconds(40),
    }
}

fn alone(run: &Contended) -> Trace {
    Contended {
        background: Vec::new(),
        ..run.clone()
    }
    .run()
}

/// The same without a loop.
fn unprotected(run: &Contended) -> Contended {
    let mut run = run.clone();
    run.policy.lanes[0].objective = None;
    run
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = Contended {
        length: seconds(5),
        ..house(1200)
    };
    assert_eq!(run.run(), run.run());
    let other = Contended {
        seed: 12,
        ..run.clone()
    };
    assert_ne!(run.run().hash, other.run().hash);
}

#[test]
fn after_a_step_the_objective_is_kept_and_the_others_get_what_is_left() {
    for seed in [1, 2, 3] {
        let mut run = Contended {
            seed,
            ..house(1200)
        };
        for load in &mut run.background {
            load.active[0] = seconds(5);
        }
        let quiet = alone(&run);
        let open = unprotected(&run).run();
        let hurt = open.ratio_to(&quiet, 0.95, seconds(15), seconds(40));
        assert!(hurt > 1.8, "without a loop it is slowed down: {hurt}");
        let trace = run.run();
        let ratio = trace.ratio_to(&quiet, 0.95, seconds(15), seconds(40));
        assert!((1.02..1.25).contains(&ratio), "{ratio}");
        // Two of four cores or so are left to the others.
        let running: Vec<f64> = trace
            .points
            .iter()
            .skip(150)
            .map(|point| point.running)
            .collect();
        let mean = running.iter().sum::<f64>() / running.len() as f64;
        assert!((1.5..4.5).contains(&mean), "{mean}");
        let first_second = trace.ratio_to(&quiet, 0.95, seconds(6), seconds(7));
        assert!(
            first_second < 1.5,
            "settled within a second: {first_second}"
        );
    }
}

#[test]
fn it_swings_less_than_additive_increase_and_leaves_more() {
    let mut swings = Vec::new();
    let mut rates = Vec::new();
    let mut ratios = Vec::new();
    for law in [Law::Excess, Law::Aimd] {
        let mut run = house(1200);
        if let Some(objective) = &mut run.policy.lanes[0].objective {
            objective.law = law;
        }
        let trace = run.run();
        let limits: Vec<f64> = trace.limits(seconds(10), seconds(40)).collect();
        let mean = limits.iter().sum::<f64>() / limits.len() as f64;
        let variance = limits
            .iter()
            .map(|limit| (limit - mean).powi(2))
            .sum::<f64>();
        swings.push((variance / limits.len() as f64).sqrt() / mean);
        rates.push(trace.rate(0, seconds(10), seconds(40)));
        ratios.push(trace.ratio_to(&alone(&run), 0.95, seconds(10), seconds(40)));
    }
    assert!(swings[0] < swings[1], "{swings:?}");
    assert!(rates[0] > rates[1], "{rates:?}");
    assert!(ratios.iter().all(|ratio| *ratio < 1.25), "{ratios:?}");
}

#[test]
fn a_burst_of_the_others_is_taken_back_and_given_again() {
    let mut run = house(1200);
    run.background.push(Background {
        lane: LaneId(1),
        clients: 30,
        alone: Span::Exponential(MS * 30),
        active: [seconds(15), seconds(20)],
    });
    run.policy.lanes[1].max = 30;
    let quiet = alone(&run);
    let trace = run.run();
    let during = trace.ratio_to(&quiet, 0.95, seconds(16), seconds(20));
    assert!(during < 1.4, "{during}");
    let before = trace.rate(0, seconds(8), seconds(15));
    let after = trace.rate(0, seconds(25), seconds(40));
    assert!(after > before * 0.7, "{before} {after}");
}

#[test]
fn noise_that_is_there_in_quiet_as_well_does_not_starve_the_others() {
    // One in fifty transactions stalls for 8 ms, whatever runs: more than the 95th percentile should see, and no fault of theirs.
    let run = Contended {
        stall: (0.02, MS * 8),
        ..house(1200)
    };
    let calm = house(1200).run().rate(0, seconds(10), seconds(40));
    let trace = run.run();
    let noisy = trace.rate(0, seconds(10), seconds(40));
    assert!(noisy > calm * 0.5, "{noisy} of {calm}");
    let ratio = trace.ratio_to(&alone(&run), 0.95, seconds(10), seconds(40));
    assert!(ratio < 1.35, "{ratio}");
}

#[test]
fn what_never_comes_to_rest_is_learned_in_moments_that_are_made() {
    let run = house(1200);
    let trace = run.run();
    let learned = trace
        .points
        .iter()
        .find(|point| point.phase == Phase::Keeping);
    let at = learned.map(|point| point.at.since(Time::ZERO));
    assert!(at.is_some_and(|at| at < seconds(10)), "{at:?}");
    // Made moments cost little once it has learned: one in ten at the very most.
    let late: Vec<&Point> = trace.points.iter().skip(200).collect();
    let probing = late
        .iter()
        .filter(|point| point.phase == Phase::Probing)
        .count();
    assert!(probing * 20 < late.len(), "{probing} of {}", late.len());
}

#[test]
fn the_limit_goes_below_one_slot_and_nobody_waits_for_ever() {
    // One core: whatever runs beside it halves its speed.
    let run = Contended {
        cores: 1.0,
        ..house(1200)
    };
    let trace = run.run();
    let limits: Vec<f64> = trace.limits(seconds(15), seconds(40)).collect();
    let mean = limits.iter().sum::<f64>() / limits.len() as f64;
    assert!(mean < 0.9, "{mean}");
    assert!(trace.rate(0, seconds(15), seconds(40)) > 1.0);
}

#[test]
fn a_lane_that_rests_holds_nobody_back() {
    let mut run = house(1200);
    run.active = [Duration::ZERO, seconds(10)];
    let trace = run.run();
    let rested: Vec<&Point> = trace.points.iter().skip(110).collect();
    assert!(
        rested
            .iter()
            .all(|point| point.limit.is_none() && point.phase == Phase::Resting)
    );
    let open = unprotected(&run).run();
    let (kept, all) = (
        trace.rate(0, seconds(12), seconds(40)),
        open.rate(0, seconds(12), seconds(40)),
    );
    assert!(kept > all * 0.95, "{kept} of {all}");
}

#[test]
fn observing_decides_and_holds_nothing_back() {
    let mut run = Contended {
        length: seconds(15),
        ..house(1200)
    };
    if let Some(objective) = &mut run.policy.lanes[0].objective {
        objective.mode = Mode::Observe;
    }
    let trace = run.run();
    let open = unprotected(&run).run();
    let rates = |trace: &Trace| trace.rate(0, SECOND, seconds(15));
    assert!((rates(&trace) / rates(&open) - 1.0).abs() < 0.05);
    assert!(trace.points.iter().any(|point| point.limit.is_some()));
}

#[test]
fn what_nobody_below_causes_is_laid_at_nobodys_door() {
    // From the 15th second on the machine is half as fast as it was learned to be, for a reason outside.
    let run = Contended {
        slower: (2.0, [seconds(15), seconds(40)]),
        ..house(1200)
    };
    let trace = run.run();
    let before = trace.rate(0, seconds(8), seconds(15));
    let after = trace.rate(0, seconds(25), seconds(40));
    // Half as much is done by what runs; without looking it would be next to nothing.
    assert!(after > before * 0.2, "{before} {after}");
}
