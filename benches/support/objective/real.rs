//! The arms on a real server, and the loop followed meanwhile.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use pglanes::demo::bed::{Bed, Source};
use pglanes::demo::lanes::Ports;
use pglanes::demo::phases::{self, Amount, Measurement, Work};
use pglanes::demo::progress::Steps;
use pglanes_proxy::{Baselines, Handle};
use pglanes_testbed::schema::Data;

use super::arguments::Arguments;
use super::arms::{self, ArmLanes, Knows};
use super::picture;
use super::trace::Trace;
use crate::contention::report::{Arm, Report};

/// How often the loop is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Runs all arms, and writes a trace of each loop.
///
/// # Errors
/// The bed's, the proxy's, or that a workload could not connect.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let arguments = arguments.settled();
    let steps = Steps::default();
    let data = Data {
        rows: arguments.rows,
        seed: arguments.seed,
    };
    let bed = Bed::start(Source::of(None)?, data, &steps).await?;
    let time = Duration::from_secs_f64(arguments.seconds);
    let amount = Amount::calibrated(&bed, time).await?;
    let chosen: Vec<ArmLanes> = arms::ALL
        .into_iter()
        .filter(|arm| arguments.arm.is_empty() || arguments.arm.iter().any(|name| name == arm.name))
        .collect();
    let mut measured: Vec<(String, Work, Option<String>, Vec<Measurement>)> = Vec::new();
    let mut note = |name: &str, work, lanes: Option<&str>, one| match measured
        .iter_mut()
        .find(|arm| arm.0 == name)
    {
        Some(arm) => arm.3.push(one),
        None => measured.push((name.to_owned(), work, lanes.map(str::to_owned), vec![one])),
    };
    for repetition in 1..=arguments.repetitions {
        for work in [Work::Evaluation, Work::Memory] {
            let name = phases::name(work, false);
            let step = steps.begin(&format!("{repetition}: {name}"));
            let one = phases::run(&bed, &amount, work, None).await?;
            step.done(&one.in_short())?;
            note(name, work, None, one);
        }
        let learned = learn(&bed, &amount).await?;
        for arm in &chosen {
            let step = steps.begin(&format!("{repetition}: {}", arm.name));
            let kept = match arm.knows {
                Knows::Nothing => Baselines::default(),
                Knows::Baseline => learned.clone(),
            };
            let (one, seen) = beside(&bed, &amount, arm, kept)
                .await
                .with_context(|| format!("arm {:?}", arm.name))?;
            step.done(&one.in_short())?;
            if arm.has_objective() {
                write(&arguments.out, &format!("{}-{repetition}", arm.name), &seen)?;
            }
            note(arm.name, Work::Both, Some(arm.name), one);
        }
    }
    let arms = measured
        .into_iter()
        .map(|(name, work, route, measured)| Arm {
            name,
            work,
            route,
            measured,
        });
    Ok(Report::of(bed.version(), data, amount, arms.collect()))
}

/// The evaluation alone, through lanes with an objective: what is kept of that over a restart.
async fn learn(bed: &Bed, amount: &Amount) -> anyhow::Result<Baselines> {
    let kept = Rc::new(RefCell::new(Baselines::default()));
    let keeping = Rc::clone(&kept);
    let arm = arms::ALL.iter().find(|arm| arm.has_objective());
    let lanes = arm.context("no arm has an objective")?.lanes();
    let watch = |handle: Handle| async move {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(learned) = handle.baselines().await {
                *keeping.borrow_mut() = learned;
            }
        }
    };
    phases::run_watched(bed, amount, Work::Evaluation, (&lanes, Ports::any()), watch).await?;
    Ok(kept.take())
}

/// Both workloads through an arm's lanes.
async fn beside(
    bed: &Bed,
    amount: &Amount,
    arm: &ArmLanes,
    kept: Baselines,
) -> anyhow::Result<(Measurement, Trace)> {
    let seen = Rc::new(RefCell::new(Trace::default()));
    let noting = Rc::clone(&seen);
    let watch = |handle: Handle| async move {
        if let Err(error) = handle.restore_baselines(kept).await {
            tracing::warn!(%error, "the baseline was not taken in");
        }
        let mut at = Duration::ZERO;
        loop {
            if let Some(view) = handle.view().await {
                noting.borrow_mut().note(at, &view.scheduler);
            }
            tokio::time::sleep(LOOK).await;
            at += LOOK;
        }
    };
    let lanes = arm.lanes();
    let one = phases::run_watched(bed, amount, Work::Both, (&lanes, Ports::any()), watch).await?;
    Ok((one, seen.take()))
}

/// Writes a trace as CSV and as a picture.
///
/// # Errors
/// The folder or the files cannot be written.
pub fn write(folder: &Path, name: &str, seen: &Trace) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let drawn = picture::draw(name, 1.2, seen);
    for (ending, text) in [("csv", seen.csv()), ("svg", drawn)] {
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
