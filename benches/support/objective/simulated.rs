//! The simulator's traces: a step, a burst, noise, and the same step under the law that the house's own is compared with.

use std::path::Path;
use std::time::Duration;

use pglanes_lanes::objective::{Law, ObjectivePolicy, Target};
use pglanes_lanes::sim::Span;
use pglanes_lanes::sim::contended::{Background, Class, Contended};
use pglanes_lanes::{LaneId, LanePolicy, Policy, Time};

use super::real;
use super::trace::{Moment, Trace};

const MS: Duration = Duration::from_millis(1);
const ALWAYS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(3600)];

/// Writes them all, and prints what each kept and left.
///
/// # Errors
/// The folder or the files cannot be written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    println!("trace            p95 ratio   background a second   limit mean, deviation");
    for (name, run) in runs() {
        let quiet = Contended {
            background: Vec::new(),
            ..run.clone()
        }
        .run();
        let trace = run.run();
        let window = (Duration::from_secs(15), Duration::from_secs(40));
        let ratio = trace.ratio_to(&quiet, 0.95, window.0, window.1);
        let limits: Vec<f64> = trace.limits(window.0, window.1).collect();
        let mean = limits.iter().sum::<f64>() / limits.len().max(1) as f64;
        let squares = limits.iter().map(|limit| (limit - mean).powi(2));
        let deviation = (squares.sum::<f64>() / limits.len().max(1) as f64).sqrt();
        let rate = trace.rate(0, window.0, window.1);
        println!("{name:<16} {ratio:>8.2}x {rate:>15.1} {mean:>20.2} {deviation:>8.2}");
        let moments = trace.points.iter().map(|point| Moment {
            at: point.at.since(Time::ZERO).as_secs_f64(),
            limit: point.limit,
            ratio: point.ratio,
            phase: point.phase,
            running: point.running,
        });
        real::write(
            folder,
            &format!("simulated-{name}"),
            &Trace(moments.collect()),
        )?;
    }
    Ok(())
}

/// Each with a name.
fn runs() -> Vec<(&'static str, Contended)> {
    let mut step = house(Law::Excess);
    for load in &mut step.background {
        load.active[0] = Duration::from_secs(5);
    }
    let mut aimd = house(Law::Aimd);
    aimd.background.clone_from(&step.background);
    let mut burst = house(Law::Excess);
    burst.background.push(Background {
        lane: LaneId(1),
        clients: 30,
        alone: Span::Exponential(MS * 30),
        active: [Duration::from_secs(20), Duration::from_secs(25)],
    });
    let noise = Contended {
        stall: (0.02, MS * 8),
        ..house(Law::Excess)
    };
    let outside = Contended {
        slower: (2.0, [Duration::from_secs(15), Duration::from_secs(30)]),
        ..house(Law::Excess)
    };
    let one_core = Contended {
        cores: 1.0,
        ..house(Law::Excess)
    };
    vec![
        ("step", step),
        ("step-aimd", aimd),
        ("burst", burst),
        ("noise", noise),
        ("one-core", one_core),
        ("slow-outside", outside),
    ]
}

/// An evaluation of point reads, searches and writes beside searchers and a lane of long statements, on four cores.
fn house(law: Law) -> Contended {
    let mut objective = ObjectivePolicy::new(Target {
        quantile: 950,
        times: 1200,
    });
    objective.law = law;
    let mut policy = Policy::new(60);
    policy.lanes = vec![
        LanePolicy {
            min: 4,
            priority: 100,
            objective: Some(objective),
            ..LanePolicy::new("evaluation", 16)
        },
        LanePolicy::new("ltst", 36),
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
    let background = |lane, clients, mean| Background {
        lane: LaneId(lane),
        clients,
        alone: Span::Exponential(mean),
        active: ALWAYS,
    };
    Contended {
        policy,
        clients: 1,
        think: Span::Exponential(MS),
        active: ALWAYS,
        classes: vec![class(200, 0.5), class(1500, 0.3), class(4000, 0.2)],
        background: vec![background(1, 6, MS * 15), background(2, 2, MS * 400)],
        cores: 4.0,
        interference: 0.04,
        stall: (0.0, Duration::ZERO),
        slower: (1.0, ALWAYS),
        seed: 11,
        length: Duration::from_secs(40),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_name_of_its_own() {
        let mut names: Vec<&str> = runs().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), runs().len());
    }
}
