//! The repetitions.

use std::time::Duration;

use anyhow::Context;
use pglanes::demo::bed::{Bed, Source};
use pglanes::demo::lanes::{Lanes, Ports};
use pglanes::demo::phases::{self, Amount, Measurement, Work};
use pglanes::demo::progress::Steps;
use pglanes_testbed::schema::Data;

use super::arguments::Arguments;
use super::report::{Arm, Report};

/// One phase that is repeated.
struct Phase {
    name: String,
    work: Work,
    lanes: Option<Lanes>,
    measured: Vec<Measurement>,
}

/// Runs everything, and shows each phase as it is done.
///
/// # Errors
/// The bed's, the proxy's, or that a workload could not connect.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let arguments = arguments.settled();
    let steps = Steps::default();
    let mut phases = phases_of(&arguments)?;
    let data = Data {
        rows: arguments.rows,
        seed: arguments.seed,
    };
    let bed = Bed::start(Source::of(arguments.url.as_deref())?, data, &steps).await?;
    let time = Duration::from_secs_f64(arguments.seconds);
    let amount = Amount::calibrated(&bed, time).await?;
    for repetition in 0..arguments.repetitions {
        for place in order(repetition as usize, phases.len()) {
            let phase = &mut phases[place];
            let step = steps.begin(&format!("{}: {}", repetition + 1, phase.name));
            let lanes = phase.lanes.as_ref().map(|lanes| (lanes, Ports::any()));
            let measurement = phases::run(&bed, &amount, phase.work, lanes)
                .await
                .with_context(|| format!("phase \"{}\"", phase.name))?;
            step.done(&measurement.in_short())?;
            phase.measured.push(measurement);
        }
    }
    let arms = phases.into_iter().map(|phase| Arm {
        name: phase.name,
        work: phase.work,
        lanes: phase.lanes.map(|lanes| lanes.name().to_owned()),
        measured: phase.measured,
    });
    Ok(Report::of(bed.version(), data, amount, arms.collect()))
}

/// What is alone comes first: all else is compared with it.
fn phases_of(arguments: &Arguments) -> anyhow::Result<Vec<Phase>> {
    let phase = |name: &str, work, lanes| Phase {
        name: name.to_owned(),
        work,
        lanes,
        measured: Vec::new(),
    };
    let mut phases = Vec::new();
    for work in [Work::Evaluation, Work::Memory, Work::Both] {
        phases.push(phase(phases::name(work, false), work, None));
    }
    if arguments.lanes.is_empty() {
        for work in [Work::Evaluation, Work::Both] {
            phases.push(phase(
                phases::name(work, true),
                work,
                Some(Lanes::default()),
            ));
        }
    }
    for (name, file) in &arguments.lanes {
        let lanes = Lanes::from_file(file)?;
        phases.push(phase(&format!("both, {name}"), Work::Both, Some(lanes)));
    }
    Ok(phases)
}

/// The places of all phases, beginning one later at each repetition.
fn order(repetition: usize, phases: usize) -> impl Iterator<Item = usize> {
    (0..phases).map(move |place| (place + repetition) % phases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repetition_runs_every_phase_and_begins_with_another() {
        let orders: Vec<Vec<usize>> = (0..3).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [vec![0, 1, 2], vec![1, 2, 0], vec![2, 0, 1]]);
    }
}
