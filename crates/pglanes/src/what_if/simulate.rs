//! `pglanes simulate`: a trace through the scheduler, with the file in force and with another.

use std::path::PathBuf;

use anyhow::{Context, bail};
use pglanes_config::Config;
use pglanes_lanes::LaneId;
use pglanes_lanes::sim::replay::{Machine, Outcome, Replay, measured};

use super::read::{Bound, TraceFile};
use super::table;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What `pglanes record` wrote
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// The file that was in force while it was recorded: shows how far the model is from what was measured
    #[arg(long, value_name = "FILE")]
    was: Option<PathBuf>,
    /// The lane whose work is done once, and in whose time the others are looked at [default: the one of highest priority]
    #[arg(long, value_name = "LANE")]
    protected: Option<String>,
    /// Where transactions of a lane go that the new file does not have
    #[arg(long = "lane", value_name = "OLD=NEW", value_parser = pair)]
    lanes: Vec<(String, String)>,
    /// Cores that PostgreSQL has [default: those of the machine that was recorded]
    #[arg(long, value_name = "COUNT")]
    cores: Option<f64>,
    /// How much each other transaction that runs slows one down beyond the sharing of cores
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    interference: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once('=')
        .filter(|(old, new)| !old.is_empty() && !new.is_empty());
    let (old, new) = parts.ok_or("OLD=NEW is right, such as `memory=ltst`")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// What came of a what-if, by lane, in the time of the protected one.
#[derive(Debug)]
pub struct Prediction {
    /// The lanes' names.
    pub names: Vec<String>,
    /// The protected lane, by its place.
    pub protected: usize,
    /// What was measured.
    pub measured: Outcome,
    /// What the model makes of the file that was in force.
    pub was: Option<Outcome>,
    /// What it makes of the new one.
    pub new: Outcome,
}

/// What a trace is held against.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The new configuration, and what it is called.
    pub new: (&'a Config, &'a str),
    /// The one that was in force, and what it is called.
    pub was: Option<(&'a Config, &'a str)>,
    /// The protected lane, where it is named.
    pub protected: Option<&'a str>,
    /// Lanes that go elsewhere.
    pub lanes: &'a [(String, String)],
    /// Cores, where they are not those of the trace.
    pub cores: Option<f64>,
    /// See [`Machine::interference`].
    pub interference: f64,
}

impl<'a> Question<'a> {
    /// What would this configuration have done, on the machine that was recorded?
    pub fn of(config: &'a Config, name: &'a str) -> Self {
        Self {
            new: (config, name),
            was: None,
            protected: None,
            lanes: &[],
            cores: None,
            interference: 0.0,
        }
    }
}

/// Reads, replays, and says what came of it.
///
/// # Errors
/// A file cannot be read or does not hold, or the trace has no lane to look at.
pub(crate) fn run(arguments: &Arguments, config: &Config, file: &str) -> anyhow::Result<String> {
    let trace = TraceFile::read(&arguments.trace)
        .with_context(|| format!("the trace {}", arguments.trace.display()))?;
    let was = match &arguments.was {
        Some(path) => Some((pglanes_config::load(path)?, path.display().to_string())),
        None => None,
    };
    let question = Question {
        new: (config, file),
        was: was.as_ref().map(|(config, file)| (config, file.as_str())),
        protected: arguments.protected.as_deref(),
        lanes: &arguments.lanes,
        cores: arguments.cores,
        interference: arguments.interference,
    };
    let prediction = predict(&trace, &question)?;
    Ok(if arguments.json {
        format!("{:#}\n", table::json(&trace, &prediction))
    } else {
        table::text(
            &trace,
            &prediction,
            was.as_ref().map(|was| was.1.as_str()),
            file,
        )
    })
}

/// Replays a trace as it was recorded and with another configuration.
///
/// # Errors
/// A lane of the trace is unknown, there is nothing to look at, or a figure makes no sense.
pub fn predict(file: &TraceFile, question: &Question<'_>) -> anyhow::Result<Prediction> {
    let (config, name) = question.new;
    let cores = question.cores.unwrap_or(f64::from(file.cores));
    let holds = cores > 0.0 && cores <= 65_536.0;
    if !holds || !(0.0..=10.0).contains(&question.interference) {
        bail!("--cores is a number above 0 and --interference one from 0 to 10");
    }
    let new = file.bind(config, name, question.lanes)?;
    let protected = protected(&new, question.protected, name)?;
    let replayed = replay(&new, protected, cores, question.interference);
    let was = match question.was {
        Some((config, name)) => {
            let was = file.bind(config, name, &[])?;
            let protected = was
                .names
                .iter()
                .position(|lane| *lane == new.names[protected.index()]);
            let protected =
                protected.context("the protected lane is not in the file that was in force")?;
            let replayed = replay(&was, LaneId(protected as u16), cores, question.interference);
            Some(in_order(replayed, &was.names, &new.names))
        }
        None => None,
    };
    Ok(Prediction {
        measured: measured(&new.trace, new.names.len(), protected),
        names: new.names,
        protected: protected.index(),
        was,
        new: replayed,
    })
}

fn replay(bound: &Bound, protected: LaneId, cores: f64, interference: f64) -> Outcome {
    let machine = |weights: &[_]| Machine {
        cores,
        interference,
        weights: weights.to_vec(),
    };
    let works = bound.trace.works(&machine(&bound.was));
    let replay = Replay {
        trace: &bound.trace,
        works: &works,
        policy: bound.policy.clone(),
        machine: machine(&bound.is),
        measured: protected,
    };
    replay.run()
}

/// The lanes of one file in the order of another; a lane that the one has not was idle.
fn in_order(mut outcome: Outcome, from: &[String], to: &[String]) -> Outcome {
    let lanes = to.iter().map(|name| {
        let place = from.iter().position(|other| other == name);
        place.map_or_else(Default::default, |place| outcome.lanes[place])
    });
    outcome.lanes = lanes.collect();
    outcome
}

fn protected(bound: &Bound, named: Option<&str>, file: &str) -> anyhow::Result<LaneId> {
    let ran = |lane: usize| {
        let transactions = bound.trace.transactions.iter();
        transactions
            .filter(|one| !one.rejected)
            .any(|one| one.lane.index() == lane)
    };
    let found = match named {
        Some(name) => {
            let place = bound.names.iter().position(|lane| lane == name);
            let place = place.with_context(|| {
                format!(
                    "--protected {name}: {file} has no such lane; it has {}",
                    bound.names.join(", ")
                )
            })?;
            Some(place).filter(|&lane| ran(lane))
        }
        None => {
            let lanes = (0..bound.names.len()).filter(|&lane| ran(lane));
            lanes.max_by_key(|&lane| (bound.policy.lanes[lane].priority, std::cmp::Reverse(lane)))
        }
    };
    match (found, named) {
        (Some(place), _) => Ok(LaneId(place as u16)),
        (None, Some(name)) => {
            bail!("--protected {name}: nothing ran in it while the trace was recorded")
        }
        (None, None) => bail!("nothing ran while the trace was recorded"),
    }
}
