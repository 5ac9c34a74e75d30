//! What each schema script of `deploy/sql` brings on the memory system's tables, and what it costs.
//!
//! For each script two copies of one loaded database stand side by side, one of them with the script; every operation runs on
//! both, in turn, and every ratio is of two neighbours. Figures are medians with the 95 % interval of a bootstrap.
//!
//! `cargo bench -p pglanes-benches --bench schema -- --help` names the options.

use clap::Parser;
use pglanes_benches::schema::{Arguments, run};
use pglanes_benches::until_interrupted;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    println!("| script | what | before | after | ratio (95 %) |\n|---|---|---|---|---|");
    let told = |line: &str| print!("{line}");
    runtime.block_on(until_interrupted(run(&arguments, &told)))?;
    Ok(())
}
