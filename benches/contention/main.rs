//! The contention between the evaluation and the memory system, with confidence: the phases of `pglanes demo`, each on a
//! fresh copy of the same database, repeated.
//!
//! Every repetition runs all phases, the first one moving by one each time, and every ratio is of two phases of one
//! repetition: what else the machine does meanwhile then meets both sides alike. Figures are medians over the
//! repetitions, with the 95 % interval that a bootstrap gives.
//!
//! `cargo bench -p pglanes-benches --bench contention -- --help` names the options. With `--lanes NAME=FILE` any number
//! of lane configurations are compared in one run; with `--proof` PgBouncer and every lever of pglanes, one more at a time.

use anyhow::Context;
use clap::Parser;
use pglanes_benches::contention::arguments::Arguments;
use pglanes_benches::contention::{measure, trade_off};
use pglanes_benches::until_interrupted;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(until_interrupted(measure::run(&arguments)))?;
    println!("\n{}", report.table());
    if arguments.proof {
        println!("\n{}", trade_off::table(&report));
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, trade_off::svg(&report))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
