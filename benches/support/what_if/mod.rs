//! The bench of the what-if: predictions held against what comes of the same change for real.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use pglanes::demo::bed::{Bed, Source};
use pglanes::demo::lanes::{Ports, Upstream};
use pglanes::demo::phases::{self, Amount, Work};
use pglanes::demo::progress::Steps;
use pglanes::what_if::TraceFile;
use pglanes::what_if::simulate::{Prediction, Question, predict};
use pglanes_admin::recording::Lines;
use pglanes_config::Config;
use pglanes_lanes::sim::replay::Outcome;
use pglanes_proxy::Handle;
use pglanes_testbed::schema::Data;

use crate::contention::statistics::Spread;
use crate::objective::arms::{self, ArmLanes};

/// What is recorded.
const WAS: &str = "nothing-held-back";
/// What is predicted from it, and run.
const CHANGES: [&str; 3] = ["two-slots", "cpu", "cpu-and-two-slots"];

/// Predicts what other lanes would do to a recorded run, and measures what they do.
#[derive(Debug, Clone, Parser)]
#[command(name = "what_if")]
pub struct Arguments {
    /// How often everything is repeated.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: u32,
    /// Messages, each with a vector of 384 dimensions.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub rows: u64,
    /// How long the evaluation takes alone.
    #[arg(long, default_value_t = 10.0, value_parser = phases::seconds)]
    pub seconds: f64,
    /// How much each other transaction slows one down beyond the sharing of cores.
    #[arg(long, default_value_t = 0.0)]
    pub interference: f64,
    /// Keep each recording in this folder, as `pglanes record` writes it, to look at or to replay with `pglanes simulate`.
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
    /// One repetition of a few seconds on little data: shows that everything works, and says nothing about the model.
    #[arg(long, conflicts_with_all = ["repetitions", "rows", "seconds"])]
    pub quick: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// One repetition.
#[derive(Debug)]
pub struct Round {
    /// What was not written down.
    pub lost: u64,
    /// The recorded run, and its own replay.
    pub was: Prediction,
    /// Each change: its name, what was predicted, and what was measured.
    pub changes: Vec<(String, Prediction, Outcome)>,
}

/// All repetitions.
#[derive(Debug)]
pub struct Report {
    /// By repetition.
    pub rounds: Vec<Round>,
}

/// Records, predicts and measures.
///
/// # Errors
/// The bed's, the proxy's, or that a recording cannot be replayed.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let mut arguments = arguments.clone();
    if arguments.quick {
        (arguments.repetitions, arguments.rows, arguments.seconds) = (1, 400, 1.0);
    }
    let steps = Steps::default();
    let data = Data {
        rows: arguments.rows,
        seed: 7,
    };
    let bed = Bed::start(Source::of(None)?, data, &steps).await?;
    let time = Duration::from_secs_f64(arguments.seconds);
    let amount = Amount::calibrated(&bed, time).await?;
    let was = config_of(arm(WAS)?)?;
    let mut rounds = Vec::new();
    for repetition in 1..=arguments.repetitions {
        let step = steps.begin(&format!("{repetition}: {WAS}, recorded"));
        let keep = |name: &str| {
            let folder = arguments.keep.as_ref();
            folder.map(|folder| folder.join(format!("{repetition}-{name}.trace")))
        };
        let trace = recorded(&bed, &amount, arm(WAS)?, keep(WAS)).await?;
        step.done(&format!("{} transactions", trace.transactions.len()))?;
        let ask = |new: &Config| {
            let question = Question {
                was: Some((&was, WAS)),
                protected: Some("evaluation"),
                interference: arguments.interference,
                ..Question::of(new, "the new file")
            };
            predict(&trace, &question)
        };
        let mut changes = Vec::new();
        for name in CHANGES {
            let new = config_of(arm(name)?)?;
            let prediction = ask(&new)?;
            let step = steps.begin(&format!("{repetition}: {name}, measured"));
            let ran = recorded(&bed, &amount, arm(name)?, keep(name)).await?;
            step.done(&format!("{} transactions", ran.transactions.len()))?;
            let question = Question {
                protected: Some("evaluation"),
                ..Question::of(&new, name)
            };
            let measured = predict(&ran, &question)?.measured;
            changes.push((name.to_owned(), prediction, measured));
        }
        rounds.push(Round {
            lost: trace.lost,
            was: ask(&was)?,
            changes,
        });
    }
    Ok(Report { rounds })
}

fn arm(name: &str) -> anyhow::Result<&'static ArmLanes> {
    let found = arms::ALL.iter().find(|arm| arm.name == name);
    found.with_context(|| format!("no lanes are called {name}"))
}

/// An arm's lanes.yaml as it is understood.
fn config_of(arm: &ArmLanes) -> anyhow::Result<Config> {
    // Nobody connects by it.
    let upstream = Upstream {
        host: "localhost".to_owned(),
        port: 5432,
        socket_directory: None,
        password: None,
    };
    let folder = arm.lanes().write(Ports::any(), &upstream)?;
    Ok(pglanes_config::load(&folder.file())?)
}

/// Both workloads through an arm's lanes, recorded, and kept where that is wished.
async fn recorded(
    bed: &Bed,
    amount: &Amount,
    arm: &ArmLanes,
    keep: Option<PathBuf>,
) -> anyhow::Result<TraceFile> {
    let text = Rc::new(RefCell::new(String::new()));
    let writing = Rc::clone(&text);
    let watch = |handle: Handle| async move {
        let Some(recording) = handle.record().await else {
            return;
        };
        let mut lines = Lines::of(recording);
        while let Some(more) = lines.next().await {
            writing.borrow_mut().push_str(&more);
        }
    };
    let lanes = arm.lanes();
    phases::run_watched(bed, amount, Work::Both, (&lanes, Ports::any()), watch).await?;
    let text = text.take();
    if let Some(file) = keep {
        std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(TraceFile::parse(&text)?)
}

/// What is compared: its name, and where it is found, with the lanes' names.
type Figure = (&'static str, fn(&Outcome, &[String]) -> f64);

const FIGURES: [Figure; 6] = [
    ("evaluation time, s", |outcome, _| {
        outcome.time.as_secs_f64()
    }),
    ("evaluation p50, ms", |outcome, names| {
        of_lane(outcome, names, "evaluation").map_or(0.0, |lane| lane.time_p50.as_secs_f64() * 1e3)
    }),
    ("evaluation p95, ms", |outcome, names| {
        of_lane(outcome, names, "evaluation").map_or(0.0, |lane| lane.time_p95.as_secs_f64() * 1e3)
    }),
    ("ltst, transactions/s", |outcome, names| {
        of_lane(outcome, names, "ltst").map_or(0.0, |lane| lane.per_second)
    }),
    ("ltst wait p95, ms", |outcome, names| {
        of_lane(outcome, names, "ltst").map_or(0.0, |lane| lane.wait_p95.as_secs_f64() * 1e3)
    }),
    ("compaction, transactions/s", |outcome, names| {
        of_lane(outcome, names, "compaction").map_or(0.0, |lane| lane.per_second)
    }),
];

fn of_lane<'a>(
    outcome: &'a Outcome,
    names: &[String],
    name: &str,
) -> Option<&'a pglanes_lanes::sim::replay::LaneOutcome> {
    let place = names.iter().position(|lane| lane == name)?;
    outcome.lanes.get(place)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_round = |change: Option<usize>| {
            let pairs = self.rounds.iter().map(move |round| match change {
                // The recorded run, replayed as it was.
                None => (&round.was.new, &round.was.measured, &round.was.names),
                Some(place) => {
                    let (_, prediction, measured) = &round.changes[place];
                    (&prediction.new, measured, &prediction.names)
                }
            });
            pairs.collect::<Vec<_>>()
        };
        let names = CHANGES.iter().enumerate();
        let all = std::iter::once((WAS, None)).chain(names.map(|(at, name)| (*name, Some(at))));
        for (name, change) in all {
            let what = if change.is_some() {
                ""
            } else {
                " (recorded; its own replay)"
            };
            writeln!(formatter, "{name}{what}")?;
            writeln!(
                formatter,
                "  {:<28}{:>12}{:>12}   error",
                "", "predicted", "measured"
            )?;
            let pairs = of_round(change);
            for (figure, of) in FIGURES {
                let predicted =
                    Spread::of(&pairs.iter().map(|one| of(one.0, one.2)).collect::<Vec<_>>());
                let measured =
                    Spread::of(&pairs.iter().map(|one| of(one.1, one.2)).collect::<Vec<_>>());
                let (Some(predicted), Some(measured)) = (predicted, measured) else {
                    continue;
                };
                if predicted.median == 0.0 && measured.median == 0.0 {
                    continue;
                }
                let error = if measured.median > 0.0 {
                    format!(
                        "{:+.0} %",
                        (predicted.median / measured.median - 1.0) * 100.0
                    )
                } else {
                    String::new()
                };
                writeln!(
                    formatter,
                    "  {figure:<28}{:>12.2}{:>12.2}   {error}",
                    predicted.median, measured.median
                )?;
            }
        }
        Ok(())
    }
}
