//! The closed loop on a real server: the evaluation beside the memory system, with an objective and nothing else, and what
//! other levers do to the same work; and the trace of the loop, as CSV and as a picture.
//!
//! `cargo bench -p pglanes-benches --bench objective -- --help` names the options. Traces go to `target/objective` unless
//! `--out` says otherwise. With `--simulated` the traces of the simulator are written instead: a step, a burst, noise.

use clap::Parser;
use pglanes_benches::objective::arguments::Arguments;
use pglanes_benches::objective::{real, simulated};
use pglanes_benches::until_interrupted;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.simulated {
        return simulated::write(&arguments.out);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(until_interrupted(real::run(&arguments)))?;
    println!("\n{}", report.table());
    Ok(())
}
