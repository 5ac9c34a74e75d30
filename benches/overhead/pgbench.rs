//! Running pgbench, and reading what it says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use pglanes_testbed::Postgres;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::path::Bench;
use pglanes_benches::clock;
use pglanes_benches::process::Running;

/// pgbench's threads. More would take the processors from those who are measured.
const THREADS: u32 = 2;
/// Seconds before those that count: connections are opened and caches filled.
const WARM_UP_SECONDS: u64 = 1;
/// Seconds after which pgbench gives up by itself: connecting counts, and 500 clients take a while on a busy machine.
const MOST_SECONDS: u64 = 120;
/// Transactions that are logged one by one, of all.
const LOGGED_SHARE: f64 = 0.1;

/// How pgbench asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Simple,
    Extended,
    Prepared,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) mode: Mode,
    pub(crate) clients: u32,
    pub(crate) seconds: u64,
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) transactions_per_second: f64,
    pub(crate) average_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor time of the pooler per transaction, microseconds.
    pub(crate) cpu_us: Option<f64>,
}

/// Fills pgbench's tables.
pub(crate) fn initialise(postgres: &Postgres, scale: u32) -> Result<()> {
    let output = command(postgres, postgres.port())
        .args([
            "--initialize",
            "--quiet",
            "--scale",
            &scale.to_string(),
            "postgres",
        ])
        .output()
        .context("pgbench did not start")?;
    if !output.status.success() {
        bail!(
            "pgbench --initialize: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn command(postgres: &Postgres, port: u16) -> Command {
    let mut command = Command::new(postgres.pgbench_path());
    command
        .args(["--host=127.0.0.1", "--username=postgres"])
        .arg(format!("--port={port}"))
        .env("PGSSLMODE", "disable")
        .env("PGGSSENCMODE", "disable");
    command
}

/// Runs `load` against `port`. The pooler's processor time is read at pgbench's progress
/// reports, of which the first comes when all clients are connected and warm: what
/// connecting costs does not count.
pub(crate) fn run(
    bench: &Bench<'_>,
    port: u16,
    pooler: Option<&Running>,
    load: Load,
) -> Result<Outcome> {
    let logs = bench.workplace.empty_folder("transactions")?;
    let mut child = command(bench.postgres, port)
        .args(["--no-vacuum", "--select-only", "--log", "--progress=1"])
        .arg(format!("--protocol={}", load.mode.name()))
        .arg(format!("--client={}", load.clients))
        .arg(format!("--jobs={}", load.clients.min(THREADS)))
        .arg(format!("--time={}", MOST_SECONDS + load.seconds))
        .arg(format!("--sampling-rate={}", sampling_rate(load.clients)))
        .arg("postgres")
        // The log goes where it runs.
        .current_dir(&logs)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("pgbench did not start")?;
    let said = child.stderr.take().context("pgbench's standard error")?;
    let mut marks = Vec::new();
    let mut complaints = String::new();
    for line in BufReader::new(said).lines() {
        let line = line?;
        match transactions_per_second(&line) {
            Some(rate) => marks.push(Mark {
                at: clock::now(),
                cpu: pooler.and_then(Running::cpu_time),
                rate,
            }),
            None if line.contains("error") || line.contains("FATAL") => {
                complaints.push_str(&line);
                complaints.push('\n');
            }
            None => {}
        }
        if marks.len() as u64 == WARM_UP_SECONDS + load.seconds {
            end(&child)?;
        }
    }
    marks.truncate((WARM_UP_SECONDS + load.seconds) as usize);
    let status = child.wait()?;
    if !status.success() || !complaints.is_empty() {
        bail!("pgbench ({status}): {complaints}");
    }
    let latencies = Logged::read(&logs)?;
    between(&marks, &latencies).context("pgbench made too few progress reports")
}

/// Ends a run in good order: SIGALRM is how pgbench's own time limit comes.
fn end(pgbench: &Child) -> Result<()> {
    let pid = i32::try_from(pgbench.id()).ok().and_then(Pid::from_raw);
    let pid = pid.context("pgbench's process id")?;
    kill_process(pid, Signal::ALARM).context("pgbench did not take SIGALRM")
}

/// One client makes few transactions: all of them are logged.
fn sampling_rate(clients: u32) -> f64 {
    if clients == 1 { 1.0 } else { LOGGED_SHARE }
}

/// The state at a progress report.
struct Mark {
    at: Instant,
    cpu: Option<Duration>,
    /// Transactions a second since the report before.
    rate: f64,
}

/// Of `progress: 2.0 s, 7051.9 tps, lat 0.141 ms stddev 0.027`.
fn transactions_per_second(line: &str) -> Option<f64> {
    let (_, behind) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    behind.split_once(" tps")?.0.parse().ok()
}

/// What happened between the first report and the last.
fn between(marks: &[Mark], latencies: &Logged) -> Option<Outcome> {
    let (first, last) = (marks.first()?, marks.last()?);
    let seconds = (last.at - first.at).as_secs_f64();
    let transactions: f64 = marks
        .windows(2)
        .map(|pair| pair[1].rate * (pair[1].at - pair[0].at).as_secs_f64())
        .sum();
    if transactions < 1.0 {
        return None;
    }
    let cpu_us = first
        .cpu
        .zip(last.cpu)
        .map(|(before, after)| (after - before).as_secs_f64() * 1e6 / transactions);
    Some(Outcome {
        transactions_per_second: transactions / seconds,
        average_us: latencies.average(),
        p50_us: latencies.percentile(0.50),
        p99_us: latencies.percentile(0.99),
        cpu_us,
    })
}

/// Latencies of logged transactions, microseconds, ordered.
struct Logged(Vec<u32>);

impl Logged {
    /// Reads pgbench's logs, a file per thread. Each line: client, transaction, latency in
    /// microseconds, script, seconds and microseconds since 1970.
    fn read(folder: &Path) -> Result<Self> {
        let mut lines: Vec<(u64, u32)> = Vec::new();
        for file in fs::read_dir(folder)? {
            let text = fs::read_to_string(file?.path())?;
            lines.extend(text.lines().filter_map(|line| {
                let mut fields = line.split(' ');
                let latency = fields.nth(2)?.parse().ok()?;
                Some((fields.nth(1)?.parse().ok()?, latency))
            }));
        }
        let began = lines.iter().map(|(second, _)| *second).min().unwrap_or(0);
        // A second is a whole one of the clock: two of them hold the warm-up entirely.
        let counted = lines
            .iter()
            .filter(|(second, _)| *second > began + WARM_UP_SECONDS);
        let mut latencies: Vec<u32> = counted.map(|(_, latency)| *latency).collect();
        if latencies.is_empty() {
            latencies = lines.iter().map(|(_, latency)| *latency).collect();
        }
        if latencies.is_empty() {
            bail!("pgbench logged no transaction");
        }
        latencies.sort_unstable();
        Ok(Self(latencies))
    }

    fn average(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|latency| f64::from(*latency)).sum();
        sum / self.0.len() as f64
    }

    fn percentile(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share) as usize;
        f64::from(self.0[rank.min(self.0.len() - 1)])
    }
}
