//! The repetitions.

use std::time::Duration;

use anyhow::Context;
use pglanes::demo::bed::{Bed, Source};
use pglanes::demo::lanes::{Lanes, Ports};
use pglanes::demo::phases::{self, Amount, Measurement, Work};
use pglanes::demo::progress::Steps;
use pglanes_testbed::schema::Data;
use pglanes_testbed::workload::Target;

use super::arguments::Arguments;
use super::proof;
use super::report::{Arm, Report};
use super::route::Route;

/// One phase that is repeated.
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) work: Work,
    pub(super) route: Route,
    measured: Vec<Measurement>,
}

impl Phase {
    pub(super) fn new(name: &str, work: Work, route: Route) -> Phase {
        Phase {
            name: name.to_owned(),
            work,
            route,
            measured: Vec::new(),
        }
    }
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
            let measurement = measured(&bed, &amount, phase)
                .await
                .with_context(|| format!("phase \"{}\"", phase.name))?;
            step.done(&measurement.in_short())?;
            phase.measured.push(measurement);
        }
    }
    let arms = phases.into_iter().map(|phase| Arm {
        name: phase.name,
        work: phase.work,
        route: phase.route.title(),
        measured: phase.measured,
    });
    Ok(Report::of(bed.version(), data, amount, arms.collect()))
}

async fn measured(bed: &Bed, amount: &Amount, phase: &Phase) -> anyhow::Result<Measurement> {
    match &phase.route {
        Route::Direct => phases::run(bed, amount, phase.work, None).await,
        Route::Lanes(lanes) => {
            phases::run(bed, amount, phase.work, Some((lanes, Ports::any()))).await
        }
        Route::PgBouncer(pgbouncer) => {
            let upstream = bed.upstream()?;
            let open = |direct: &Target| pgbouncer.open(direct, &upstream);
            phases::run_over(bed, amount, phase.work, open).await
        }
    }
}

/// What is alone comes first: all else is compared with it.
fn phases_of(arguments: &Arguments) -> anyhow::Result<Vec<Phase>> {
    let mut phases = Vec::new();
    for work in [Work::Evaluation, Work::Memory, Work::Both] {
        phases.push(Phase::new(phases::name(work, false), work, Route::Direct));
    }
    if arguments.proof {
        phases.extend(proof::phases()?);
    } else if arguments.lanes.is_empty() {
        for work in [Work::Evaluation, Work::Both] {
            let route = Route::Lanes(Lanes::default());
            phases.push(Phase::new(phases::name(work, true), work, route));
        }
    }
    for (name, file) in &arguments.lanes {
        let route = Route::Lanes(Lanes::from_file(file)?);
        phases.push(Phase::new(&format!("both, {name}"), Work::Both, route));
    }
    if !arguments.row.is_empty() {
        let named = |name: &str| arguments.row.iter().any(|word| name.contains(word));
        let is_measure =
            |phase: &Phase| phase.work != Work::Both && matches!(phase.route, Route::Direct);
        phases.retain(|phase| is_measure(phase) || named(&phase.name));
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
