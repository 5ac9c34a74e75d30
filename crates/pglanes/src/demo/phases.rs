//! One phase: a fresh copy of the database, warmed; then the evaluation, the memory system, or both, straight or through
//! the lanes; and what came of it.
//!
//! Each workload runs on a thread with a runtime of its own, as they are processes of their own in life: an evaluation that
//! shared a runtime with the memory system would wait for that, and not for PostgreSQL.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use pglanes_proxy::Handle;
use pglanes_testbed::TestbedError;
use pglanes_testbed::schema::Data;
use pglanes_testbed::workload::{Evaluation, Memory, Report, Stop, StopHandle, Target};
use serde::Serialize;
use tokio::sync::oneshot;

use super::bed::Bed;
use super::lanes::{Deeds, Lanes, Ports};

/// Rounds of the evaluation that are run to warm a copy, and not counted.
const WARM_ROUNDS: u64 = 2;
/// How long the memory system's reads warm a copy.
const WARM: Duration = Duration::from_secs(1);
/// How many times its time alone an evaluation may take.
const MOST_TIMES: u32 = 6;
/// How long, after it was cut off, it may take for the operation that runs then.
const LAST_OPERATION: Duration = Duration::from_secs(60);

/// Parses and checks a number of seconds, for clap.
///
/// # Errors
/// What would be right.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .filter(|seconds| (0.1..=3600.0).contains(seconds))
        .ok_or_else(|| "it is a number of seconds from 0.1 to 3600".to_owned())
}

/// What runs in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// The evaluation alone.
    Evaluation,
    /// The memory system alone, for the evaluation's time alone.
    Memory,
    /// The evaluation, and the memory system for as long as that takes.
    Both,
}

/// What a phase is called.
pub fn name(work: Work, lanes: bool) -> &'static str {
    match (work, lanes) {
        (Work::Evaluation, false) => "evaluation alone, direct",
        (Work::Evaluation, true) => "evaluation alone, through the lanes",
        (Work::Memory, false) => "memory system alone, direct",
        (Work::Memory, true) => "memory system alone, through the lanes",
        (Work::Both, false) => "both, direct",
        (Work::Both, true) => "both, through the lanes",
    }
}

/// How much work a phase is; the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Amount {
    /// Rounds of the evaluation's 15 cases.
    pub rounds: u64,
    /// How long the memory system works where there is no evaluation.
    pub time: Duration,
    /// After how long an evaluation is cut off.
    pub limit: Duration,
}

impl Amount {
    /// As many rounds as take about `time` alone and direct, measured.
    ///
    /// # Errors
    /// The bed's, or the evaluation's.
    pub async fn calibrated(bed: &Bed, time: Duration) -> anyhow::Result<Amount> {
        let target = bed.fresh().await?;
        warm(bed, &target).await?;
        let targets = Targets::both(target);
        let limit = time.max(Duration::from_secs(1)) * MOST_TIMES;
        let mut amount = Amount {
            rounds: 4,
            time,
            limit,
        };
        // The second try is long enough for a sure answer; a short demo needs no second.
        for share in [4, 1] {
            let measured = measure(bed.data(), &amount, Work::Evaluation, &targets).await?;
            let wall = measured
                .evaluated()
                .map_or(0.0, |report| report.wall_seconds);
            let round = wall / amount.rounds as f64;
            // At least one, and no more than a float counts exactly.
            amount.rounds = ((time.as_secs_f64() / f64::from(share) / round).round() as u64).max(1);
        }
        Ok(amount)
    }
}

/// What became of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluated {
    /// It did all of its work.
    Finished(Report),
    /// It was cut off, and did a part: its time is a lower bound, and its latencies are of that part.
    CutOff(Report),
}

impl Evaluated {
    /// Of all of the work, or of a part.
    pub fn report(&self) -> &Report {
        let (Evaluated::Finished(report) | Evaluated::CutOff(report)) = self;
        report
    }
}

/// What a phase gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// The evaluation's part, where there was one.
    pub evaluation: Option<Evaluated>,
    /// The memory system's part, where there was one.
    pub memory: Option<Report>,
    /// What the lanes did, where there were any.
    pub lanes: Option<Deeds>,
}

impl Measurement {
    /// The evaluation's report, if there was one, of all of its work or of a part.
    pub fn evaluated(&self) -> Option<&Report> {
        self.evaluation.as_ref().map(Evaluated::report)
    }

    /// A few words.
    pub fn in_short(&self) -> String {
        let mut parts = Vec::new();
        match &self.evaluation {
            Some(Evaluated::Finished(report)) => {
                parts.push(format!("evaluation {:.1} s", report.wall_seconds));
            }
            Some(Evaluated::CutOff(report)) => {
                parts.push(format!(
                    "evaluation cut off at {:.0} s",
                    report.wall_seconds
                ));
            }
            None => {}
        }
        if let Some(memory) = &self.memory {
            let rate = Throughput::of(memory).searches;
            parts.push(format!("{rate:.1} searches/s"));
        }
        parts.join(", ")
    }
}

/// What the memory system got done, each second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Throughput {
    /// The 100 nearest messages.
    pub searches: f64,
    /// All sessions of a user.
    pub rehydrations: f64,
    /// Scans, bulk updates, bulk deletes with their writing back, and vacuums.
    pub compactions: f64,
}

impl Throughput {
    /// That of a memory system's report.
    pub fn of(report: &Report) -> Throughput {
        let rate = |prefix: &str| {
            let operations = report.operations.iter();
            let of_the_kind = operations.filter(|(kind, _)| kind.starts_with(prefix));
            // From 0.0: the sum of no floats is -0.0.
            of_the_kind.fold(0.0, |sum, (_, operation)| sum + operation.per_second)
        };
        Throughput {
            searches: rate("search"),
            rehydrations: rate("rehydrate"),
            compactions: rate("compact"),
        }
    }
}

/// Where each workload connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// The evaluation.
    pub evaluation: Target,
    /// The memory system.
    pub memory: Target,
}

impl Targets {
    /// Both to one place.
    pub fn both(target: Target) -> Targets {
        Targets {
            evaluation: target.clone(),
            memory: target,
        }
    }
}

/// Runs one phase on a fresh copy of the bed's data.
///
/// # Errors
/// The bed's, the proxy's, or that a workload could not connect. Errors during the work are in the reports.
pub async fn run(
    bed: &Bed,
    amount: &Amount,
    work: Work,
    lanes: Option<(&Lanes, Ports)>,
) -> anyhow::Result<Measurement> {
    let direct = bed.fresh().await?;
    warm(bed, &direct).await?;
    let Some((lanes, ports)) = lanes else {
        return measure(bed.data(), amount, work, &Targets::both(direct)).await;
    };
    let running = lanes.start(ports, &bed.upstream()?)?;
    let through = Targets::both(running.target(&direct));
    let mut measurement = measure(bed.data(), amount, work, &through).await?;
    measurement.lanes = Some(running.deeds().await);
    Ok(measurement)
}

/// The same over a way of the caller's, such as another pooler: `open` is given the copy, and what it gives beside the
/// targets is kept until the work is done.
///
/// # Errors
/// As for [`run`], and those of `open`.
pub async fn run_over<Way>(
    bed: &Bed,
    amount: &Amount,
    work: Work,
    open: impl FnOnce(&Target) -> anyhow::Result<(Targets, Way)>,
) -> anyhow::Result<Measurement> {
    let direct = bed.fresh().await?;
    warm(bed, &direct).await?;
    let (targets, _way) = open(&direct)?;
    measure(bed.data(), amount, work, &targets).await
}

/// Runs one phase through the lanes, with somebody who looks at the proxy meanwhile: `watch` gets its handle before the work
/// begins, and what it returns is dropped when the work has ended.
///
/// # Errors
/// As [`run`].
pub async fn run_watched<Watching: Future<Output = ()>>(
    bed: &Bed,
    amount: &Amount,
    work: Work,
    (lanes, ports): (&Lanes, Ports),
    watch: impl FnOnce(Handle) -> Watching,
) -> anyhow::Result<Measurement> {
    let direct = bed.fresh().await?;
    warm(bed, &direct).await?;
    let running = lanes.start(ports, &bed.upstream()?)?;
    let through = Targets::both(running.target(&direct));
    let watching = watch(running.handle());
    let mut measurement = tokio::select! {
        measurement = measure(bed.data(), amount, work, &through) => measurement?,
        never = async { watching.await; std::future::pending::<Infallible>().await } => match never {},
    };
    measurement.lanes = Some(running.deeds().await);
    Ok(measurement)
}

/// Reads what the work will read, so that no phase is the first to do so.
async fn warm(bed: &Bed, target: &Target) -> anyhow::Result<()> {
    let readers = Memory {
        compactors: 0,
        ..Memory::new(bed.data())
    };
    let (reading, stop) = begin_memory(readers, target)?;
    tokio::time::sleep(WARM).await;
    stop.stop();
    reading.await.context("the memory system's thread ended")?;
    let (evaluation, _stop) = begin_evaluation(Evaluation::new(bed.data(), WARM_ROUNDS), target)?;
    evaluation
        .await
        .context("the evaluation's thread ended")??;
    Ok(())
}

/// Runs workloads against a target. Dropped half-way, it stops them.
async fn measure(
    data: Data,
    amount: &Amount,
    work: Work,
    targets: &Targets,
) -> anyhow::Result<Measurement> {
    let memory = match work {
        Work::Memory | Work::Both => Some(begin_memory(Memory::new(data), &targets.memory)?),
        Work::Evaluation => None,
    };
    let evaluation = match work {
        Work::Evaluation | Work::Both => {
            let evaluation = Evaluation::new(data, amount.rounds);
            Some(evaluate(evaluation, &targets.evaluation, amount.limit).await?)
        }
        Work::Memory => {
            tokio::time::sleep(amount.time).await;
            None
        }
    };
    let memory = match memory {
        Some((running, stop)) => {
            stop.stop();
            Some(running.await.context("the memory system's thread ended")?)
        }
        None => None,
    };
    Ok(Measurement {
        evaluation,
        memory,
        lanes: None,
    })
}

/// Runs an evaluation to its end, or until it has taken too long.
async fn evaluate(
    evaluation: Evaluation,
    target: &Target,
    limit: Duration,
) -> anyhow::Result<Evaluated> {
    let (mut running, stop) = begin_evaluation(evaluation, target)?;
    let gone = "the evaluation's thread ended";
    if let Ok(report) = tokio::time::timeout(limit, &mut running).await {
        return Ok(Evaluated::Finished(report.context(gone)??));
    }
    stop.stop();
    let report = tokio::time::timeout(LAST_OPERATION, running)
        .await
        .context("an operation of the evaluation does not end")?;
    Ok(Evaluated::CutOff(report.context(gone)??))
}

type Evaluating = oneshot::Receiver<Result<Report, TestbedError>>;

/// Runs an evaluation on a thread of its own, to its end or until the handle says stop or is dropped.
fn begin_evaluation(
    evaluation: Evaluation,
    target: &Target,
) -> anyhow::Result<(Evaluating, StopHandle)> {
    let (handle, stop) = Stop::new();
    let target = target.clone();
    let running = on_its_own_thread("evaluation", async move {
        evaluation.run_until(&target, stop).await
    })?;
    Ok((running, handle))
}

/// Runs a memory system on a thread of its own until the handle says stop or is dropped.
fn begin_memory(
    memory: Memory,
    target: &Target,
) -> anyhow::Result<(oneshot::Receiver<Report>, StopHandle)> {
    let (handle, stop) = Stop::new();
    let target = target.clone();
    let running = on_its_own_thread(
        "memory-system",
        async move { memory.run(&target, stop).await },
    )?;
    Ok((running, handle))
}

/// What the work gives comes through the channel, which closes without it after a panic.
fn on_its_own_thread<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<T>> {
    let (sender, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Whoever waited may have been interrupted.
            let _ = sender.send(runtime.block_on(work));
        })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "1e9", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_workload_that_panics_closes_its_channel() {
        // Quiet: the hook would print a backtrace into the test's output.
        let running = on_its_own_thread::<()>("panics", async {
            std::panic::resume_unwind(Box::new("on purpose"))
        });
        assert!(running.unwrap().await.is_err());
    }
}
