//! How well a what-if predicts: both workloads are recorded through one lanes.yaml, replayed with others, and run with those for
//! real. Printed are what was predicted, what was measured, and how far apart they are.
//!
//! `cargo bench -p pglanes-benches --bench what_if -- --help` names the options.

use clap::Parser;
use pglanes_benches::until_interrupted;
use pglanes_benches::what_if::{Arguments, run};

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(until_interrupted(run(&arguments)))?;
    println!("\n{report}");
    Ok(())
}
