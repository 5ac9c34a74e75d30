//! A large result: how long it takes to arrive, and what passing it on costs.

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::arguments::Arguments;
use crate::path::{Bench, COMPARISONS, Open, PATHS, Path};
use crate::raw::RawClient;
use crate::spread::Spread;
use pglanes_benches::clock;
use pglanes_benches::process::Running;

/// The reader's buffer: large, so that the reader is not what takes the time.
const BUFFER: usize = 256 * 1024;

/// All paths.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Large {
    pub(crate) bytes: u64,
    pub(crate) paths: Vec<Measured>,
    pub(crate) ratios: Vec<Ratio>,
}

/// One path over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) path: Path,
    pub(crate) seconds: Option<Spread>,
    /// Processor time of the pooler.
    pub(crate) cpu_seconds: Option<Spread>,
}

/// One path to another, round by round.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) path: Path,
    pub(crate) to: Path,
    pub(crate) seconds: Option<Spread>,
    pub(crate) cpu_seconds: Option<Spread>,
}

#[derive(Debug, Default)]
struct Series {
    seconds: Vec<Option<f64>>,
    cpu: Vec<Option<f64>>,
}

/// Measures every path.
pub(crate) fn measure(bench: &Bench<'_>, arguments: &Arguments) -> Result<Large> {
    eprintln!("a large result");
    let open = bench.open(&PATHS)?;
    let sql = format!(
        "SELECT repeat('x', 1000) FROM generate_series(1, {})",
        arguments.large_rows()
    );
    let mut series: Vec<Series> = open.iter().map(|_| Series::default()).collect();
    let mut bytes = 0;
    // It is over quickly: two more rounds than the long runs have.
    for round in 0..arguments.rounds() as usize + 2 {
        for turn in 0..open.len() {
            let at = (round + turn) % open.len();
            let arrived = read_one(&open[at], &sql, &mut series[at])
                .with_context(|| open[at].path.title())?;
            ensure!(
                bytes == 0 || bytes == arrived,
                "{} passed on {arrived} bytes, not {bytes}",
                open[at].path.title()
            );
            bytes = arrived;
        }
    }
    Ok(Large {
        bytes,
        ratios: ratios(&open, &series),
        paths: open
            .iter()
            .zip(&series)
            .map(|(open, series)| Measured {
                path: open.path,
                seconds: Spread::of(series.seconds.iter().copied().flatten()),
                cpu_seconds: Spread::of(series.cpu.iter().copied().flatten()),
            })
            .collect(),
    })
}

fn read_one(open: &Open, sql: &str, series: &mut Series) -> Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut client = RawClient::connect(open.port, &mut buffer)?;
    client.query("SELECT 1", &mut buffer)?;
    let cpu = || open.pooler.as_ref().and_then(Running::cpu_time);
    let (cpu_before, began) = (cpu(), clock::now());
    let bytes = client.query(sql, &mut buffer)?;
    series.seconds.push(Some(began.elapsed().as_secs_f64()));
    let spent = cpu_before
        .zip(cpu())
        .map(|(before, after)| (after - before).as_secs_f64());
    series.cpu.push(spent);
    Ok(bytes)
}

fn ratios(open: &[Open], series: &[Series]) -> Vec<Ratio> {
    let of = |path: Path| {
        let at = open.iter().position(|open| open.path == path)?;
        Some(&series[at])
    };
    COMPARISONS
        .iter()
        .filter_map(|(path, to)| {
            let (ours, theirs) = (of(*path)?, of(*to)?);
            Some(Ratio {
                path: *path,
                to: *to,
                seconds: Spread::of_ratios(&ours.seconds, &theirs.seconds),
                cpu_seconds: Spread::of_ratios(&ours.cpu, &theirs.cpu),
            })
        })
        .collect()
}
