//! `pglanes demo`: the main job, measured on a PostgreSQL of its own.
//!
//! The same evaluation runs alone, beside the memory system straight to PostgreSQL, and beside it through the lanes. What is
//! printed is what was measured.
//!
//! - [`bed`]: the database that all of it happens in, and its end; `databases` are those in it, `loading` their content;
//! - [`lanes`]: the lanes.yaml of the demo, and a proxy that runs by one;
//! - [`phases`]: one phase of work, measured; `benches/contention` repeats the same phases;
//! - `table` and `verdict`: what the figures say; `connect` how to look at it oneself; `progress` what is shown meanwhile.

pub mod bed;
mod connect;
mod databases;
pub mod lanes;
mod loading;
pub mod phases;
pub mod progress;
mod signals;
mod table;
mod verdict;

pub use signals::Interrupted;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use pglanes_testbed::schema::Data;

use bed::{Bed, Source};
use lanes::{Lanes, Ports};
use phases::{Amount, Evaluated, Measurement, Work};
use progress::{Steps, say};
use table::Figures;

/// How long the process waits, at its end, for threads of the workloads that are still cancelling their statements.
const LAST_WORK: Duration = Duration::from_secs(2);

/// Runs the same evaluation alone, beside the memory system, and beside it through the lanes, and compares.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// A PostgreSQL with pgvector to run on, whose user may create databases, instead of a throw-away one. Nothing is
    /// touched but the databases pglanes_demo and pglanes_demo_run, which must not exist yet and are dropped at the end.
    #[arg(
        long,
        value_name = "URL",
        env = "PGLANES_DEMO_URL",
        hide_env_values = true
    )]
    pub url: Option<String>,
    /// Messages, each with a vector of 384 dimensions.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub rows: u64,
    /// How long the evaluation takes alone; beside the memory system it takes as long as it takes.
    #[arg(long, default_value_t = 15.0, value_parser = phases::seconds)]
    pub seconds: f64,
    /// The seed of the data and of the work.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// A lanes.yaml whose lanes and throttles to use instead of the default ones; its addresses are not used.
    #[arg(long, value_name = "FILE")]
    pub lanes: Option<PathBuf>,
    /// Stays up afterwards, with the database and the proxy, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demo; blocks until its end. Whatever it started or made is gone when it returns, fails, panics or is
/// interrupted. Must not be called from within an asynchronous runtime: it brings its own.
///
/// # Errors
/// What kept the test bed, the proxy or a workload from running; an interruption by Ctrl-C or SIGTERM is one too.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the demo has no runtime")?;
    let outcome = runtime.block_on(async {
        let (mut bed, lanes) = tokio::select! {
            biased;
            signal = signals::interrupted() => return Err(signal?.into()),
            shown = show(&arguments) => shown?,
        };
        if arguments.keep {
            bed.leave_up().await?;
            connect::stay(&bed, &lanes).await
        } else {
            connect::explain_keep(&bed)
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    outcome
}

/// Measures and prints.
async fn show(arguments: &Arguments) -> anyhow::Result<(Bed, Lanes)> {
    let lanes = match &arguments.lanes {
        Some(file) => Lanes::from_file(file)?,
        None => Lanes::default(),
    };
    let steps = Steps::default();
    say(
        "The evaluation beside the memory system: alone, straight to PostgreSQL, and through the lanes.\n",
    )?;
    let source = Source::of(arguments.url.as_deref())?;
    let data = Data {
        rows: arguments.rows,
        seed: arguments.seed,
    };
    let bed = Bed::start(source, data, &steps).await?;
    let figures = measure(&bed, &lanes, arguments.seconds, &steps).await?;
    say(&format!("\n{}", table::render(&figures)))?;
    say(&format!("\n{}\n", verdict::of(&figures).join("\n")))?;
    Ok((bed, lanes))
}

/// The three phases, and the memory system alone, without which its throughput would have nothing to be compared with.
async fn measure(bed: &Bed, lanes: &Lanes, seconds: f64, steps: &Steps) -> anyhow::Result<Figures> {
    let step = steps.begin("measuring how much work fills the time");
    let amount = Amount::calibrated(bed, Duration::from_secs_f64(seconds)).await?;
    step.done(&format!("{} rounds of 15 cases", amount.rounds))?;

    let alone = phase(bed, &amount, steps, Work::Evaluation, None).await?;
    let memory = phase(bed, &amount, steps, Work::Memory, None).await?;
    let direct = phase(bed, &amount, steps, Work::Both, None).await?;
    let through = phase(bed, &amount, steps, Work::Both, Some(lanes)).await?;
    let (Some(Evaluated::Finished(alone)), Some(memory)) = (alone.evaluation, memory.memory) else {
        bail!(
            "the evaluation did not finish even alone within {} s",
            amount.limit.as_secs()
        );
    };
    Ok(Figures {
        alone,
        memory,
        direct,
        through,
        amount,
    })
}

async fn phase(
    bed: &Bed,
    amount: &Amount,
    steps: &Steps,
    work: Work,
    lanes: Option<&Lanes>,
) -> anyhow::Result<Measurement> {
    let name = phases::name(work, lanes.is_some());
    let step = steps.begin(name);
    let ports = Ports {
        http: None,
        ..Ports::usual().context("there is no free port")?
    };
    let measurement = phases::run(bed, amount, work, lanes.map(|lanes| (lanes, ports)))
        .await
        .with_context(|| format!("phase \"{name}\""))?;
    step.done(&measurement.in_short())?;
    Ok(measurement)
}
