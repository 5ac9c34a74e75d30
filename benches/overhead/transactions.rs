//! pgbench -S over every path: throughput, latency and processor time per transaction.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::arguments::Arguments;
use crate::path::{Bench, COMPARISONS, Open, PATHS, Path};
use crate::pgbench::{self, Load, Mode, Outcome};
use crate::spread::Spread;

/// One mode with one number of clients.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) mode: Mode,
    pub(crate) clients: u32,
    pub(crate) paths: Vec<Measured>,
    pub(crate) ratios: Vec<Ratio>,
    /// Why a path is missing.
    pub(crate) skipped: Option<String>,
}

/// One path in a cell, over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) path: Path,
    pub(crate) transactions_per_second: Option<Spread>,
    pub(crate) average_us: Option<Spread>,
    pub(crate) p50_us: Option<Spread>,
    pub(crate) p99_us: Option<Spread>,
    pub(crate) cpu_us_per_transaction: Option<Spread>,
}

/// One path to another, round by round.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) path: Path,
    pub(crate) to: Path,
    pub(crate) transactions_per_second: Option<Spread>,
    pub(crate) p50: Option<Spread>,
    pub(crate) p99: Option<Spread>,
    pub(crate) cpu_per_transaction: Option<Spread>,
}

/// Measures every cell.
pub(crate) fn measure(bench: &Bench<'_>, arguments: &Arguments) -> Result<Vec<Cell>> {
    let open = bench.open(&PATHS)?;
    let mut cells = Vec::new();
    for mode in arguments.modes() {
        for clients in arguments.clients() {
            let load = Load {
                mode,
                clients,
                seconds: arguments.seconds(),
            };
            eprintln!("pgbench -S, {}, {clients} clients", mode.name());
            cells.push(measure_cell(bench, &open, load, arguments.rounds())?);
        }
    }
    Ok(cells)
}

fn measure_cell(bench: &Bench<'_>, open: &[Open], load: Load, rounds: u32) -> Result<Cell> {
    let skipped = why_without_pgbouncer(bench, load.mode);
    let runs: Vec<&Open> = open
        .iter()
        .filter(|open| skipped.is_none() || !open.path.is_pgbouncer())
        .collect();
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); runs.len()];
    for round in 0..rounds as usize {
        for turn in 0..runs.len() {
            let at = (round + turn) % runs.len();
            let run = runs[at];
            let outcome = pgbench::run(bench, run.port, run.pooler.as_ref(), load)
                .with_context(|| format!("{} through {}", load.mode.name(), run.path.title()))?;
            outcomes[at].push(outcome);
        }
    }
    let of = |path: Path| {
        let at = runs.iter().position(|run| run.path == path)?;
        Some(outcomes[at].as_slice())
    };
    let ratios = COMPARISONS
        .iter()
        .filter_map(|(path, to)| Some(Ratio::of((*path, of(*path)?), (*to, of(*to)?))))
        .collect();
    let paths = runs
        .iter()
        .zip(&outcomes)
        .map(|(run, outcomes)| Measured::of(run.path, outcomes))
        .collect();
    Ok(Cell {
        mode: load.mode,
        clients: load.clients,
        paths,
        ratios,
        skipped,
    })
}

fn why_without_pgbouncer(bench: &Bench<'_>, mode: Mode) -> Option<String> {
    match &bench.pgbouncer {
        None => Some("PgBouncer is not installed".to_owned()),
        Some(installed) if mode == Mode::Prepared && !installed.follows_prepared_statements() => {
            Some(format!(
                "{} has no prepared statements in transaction pooling (1.21 has)",
                installed.version
            ))
        }
        Some(_) => None,
    }
}

type Figure = fn(&Outcome) -> Option<f64>;

const RATE: Figure = |outcome| Some(outcome.transactions_per_second);
const AVERAGE: Figure = |outcome| Some(outcome.average_us);
const P50: Figure = |outcome| Some(outcome.p50_us);
const P99: Figure = |outcome| Some(outcome.p99_us);
const CPU: Figure = |outcome| outcome.cpu_us;

impl Measured {
    fn of(path: Path, outcomes: &[Outcome]) -> Self {
        let spread = |figure: Figure| Spread::of(outcomes.iter().filter_map(figure));
        Self {
            path,
            transactions_per_second: spread(RATE),
            average_us: spread(AVERAGE),
            p50_us: spread(P50),
            p99_us: spread(P99),
            cpu_us_per_transaction: spread(CPU),
        }
    }
}

impl Ratio {
    fn of((path, ours): (Path, &[Outcome]), (to, theirs): (Path, &[Outcome])) -> Self {
        let ratio = |figure: Figure| {
            let ours: Vec<_> = ours.iter().map(figure).collect();
            let theirs: Vec<_> = theirs.iter().map(figure).collect();
            Spread::of_ratios(&ours, &theirs)
        };
        Self {
            path,
            to,
            transactions_per_second: ratio(RATE),
            p50: ratio(P50),
            p99: ratio(P99),
            cpu_per_transaction: ratio(CPU),
        }
    }
}
