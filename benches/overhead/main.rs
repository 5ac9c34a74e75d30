//! What a pooler between the client and PostgreSQL costs: pgbench -S straight to the
//! server, through pglanes, and through PgBouncer where it is installed; the memory of an
//! idle client; and a large result.
//!
//! Every figure is taken side by side: all paths run one after another in each round, the
//! first one moving by one every round, and a ratio is of two neighbours of one round. A busy
//! machine then disturbs both sides of it alike. The poolers are processes of their own, so
//! that their processor time and memory can be read from /proc.
//!
//! `cargo bench -p pglanes-benches --bench overhead -- --help` names the options.

mod arguments;
mod idle;
mod large;
mod path;
mod pgbench;
mod pgbouncer;
mod pglanes;
mod raw;
mod report;
mod spread;
mod transactions;

use std::fs;

use anyhow::{Context, Result};
use clap::Parser;
use pglanes_benches::process;
use pglanes_testbed::Postgres;

use arguments::{Arguments, Part};
use path::{Bench, Workplace};
use report::Report;

/// Server connections beside the 500 of pgbench and the poolers' own.
const MAX_CONNECTIONS: u32 = 620;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(config) = &arguments.serve {
        return pglanes::serve(config);
    }
    process::allow_many_descriptors()?;
    let postgres = Postgres::builder()
        .max_connections(MAX_CONNECTIONS)
        .setting("shared_buffers", "256MB")
        .start()
        .context("PostgreSQL did not start")?;
    let workplace = Workplace::make()?;
    let bench = Bench::new(&postgres, &workplace, arguments.pglanes.clone());
    let mut report = Report::new(&bench, &arguments);
    report.print_head();
    if arguments.does(Part::Transactions) {
        pgbench::initialise(&postgres, arguments.scale())?;
        report.transactions = transactions::measure(&bench, &arguments)?;
        report.print_transactions();
    }
    if arguments.does(Part::Idle) {
        report.idle = idle::measure(&bench, &arguments)?;
        report.print_idle();
    }
    if arguments.does(Part::Large) {
        report.large = large::measure(&bench, &arguments)?;
        report.print_large();
    }
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(file, json).with_context(|| format!("{} was not written", file.display()))?;
    }
    Ok(())
}
