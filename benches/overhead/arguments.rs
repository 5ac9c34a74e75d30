//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::pgbench::Mode;

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// pgbench -S: transactions, latency, processor time.
    Transactions,
    /// Memory of idle clients.
    Idle,
    /// A large result.
    Large,
}

/// Measures what pglanes costs, beside PostgreSQL alone and PgBouncer.
#[derive(Debug, Parser)]
#[command(name = "overhead")]
pub(crate) struct Arguments {
    /// Seconds of each pgbench run that count (one more goes before them).
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Writes all figures to this file.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// A smoke test: one short round, few clients, a small result. Its figures mean little.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Only these numbers of pgbench clients.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<u32>,
    /// Only these query modes of pgbench.
    #[arg(long, value_enum, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Runs this binary (`pglanes serve`) instead of the data path alone.
    #[arg(long)]
    pub(crate) pglanes: Option<PathBuf>,
    /// The child process that is pglanes: its configuration file.
    #[arg(long, hide = true)]
    pub(crate) serve: Option<PathBuf>,
    /// What cargo gives every bench.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Arguments {
    pub(crate) fn does(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub(crate) fn seconds(&self) -> u64 {
        if self.quick { 1 } else { self.seconds }
    }

    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    /// pgbench's scale: 100,000 rows each.
    pub(crate) fn scale(&self) -> u32 {
        if self.quick { 1 } else { 10 }
    }

    pub(crate) fn clients(&self) -> Vec<u32> {
        match (self.clients.as_slice(), self.quick) {
            ([], true) => vec![1, 16],
            ([], false) => vec![1, 16, 500],
            (chosen, _) => chosen.to_vec(),
        }
    }

    pub(crate) fn modes(&self) -> Vec<Mode> {
        match self.modes.as_slice() {
            [] => Mode::value_variants().to_vec(),
            chosen => chosen.to_vec(),
        }
    }

    pub(crate) fn idle_clients(&self) -> u32 {
        if self.quick { 500 } else { 5000 }
    }

    /// Rows of 1,000 bytes.
    pub(crate) fn large_rows(&self) -> u32 {
        if self.quick { 30_000 } else { 300_000 }
    }
}
