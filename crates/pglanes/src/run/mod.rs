//! `pglanes run --lane evaluation -- python evaluate.py`: a command whose sessions are in a lane, and a lease on that lane for
//! as long as it runs.
//!
//! - `environment`: what the command is told, so that its sessions come through the proxy into the lane
//! - `lease`: the lease, taken, renewed and ended
//! - `child`: the command itself, its signals and its end

mod child;
mod environment;
mod lease;

use std::process::ExitCode;
use std::time::Duration;

use pglanes_config::Config;

use crate::source::Source;
use environment::{Environment, Surroundings};
use lease::{Held, LeaseProblem};

/// How long the lease lives without a renewal: a crashed run holds others back for no longer.
const TIME_TO_LIVE: Duration = Duration::from_secs(30);
/// The exit code where the command was not run.
const NOT_RUN: u8 = 125;
/// The exit codes of shells: the command cannot be run, is not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The lane of the command's sessions
    #[arg(long, value_name = "LANE")]
    lane: String,
    /// Run the command also where the proxy cannot be asked: then without a lease, and past a proxy that does not run
    #[arg(long)]
    anyway: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command, and gives its exit code.
pub(crate) async fn run(source: &Source, config: &Config, arguments: &Arguments) -> ExitCode {
    let environment = Environment::of(config, &arguments.lane, &Surroundings::of_process());
    let environment = match environment {
        Ok(environment) => environment,
        Err(problem) => return not_run(&format!("{problem} ({source})")),
    };
    for note in &environment.notes {
        eprintln!("pglanes run: {note}");
    }
    if let Some(warning) = lease::unprotected(config, &arguments.lane) {
        eprintln!("pglanes run: {warning}");
    }
    let holder = lease::holder(&arguments.command);
    let held = match Held::take(config, &arguments.lane, holder, TIME_TO_LIVE).await {
        Ok(held) => Some(held),
        Err(problem) if !arguments.anyway => {
            let hint = match problem {
                LeaseProblem::Nobody(_) => "; start it with `pglanes serve`",
                LeaseProblem::Refused(_) => "",
            };
            return not_run(&format!("{problem}{hint}"));
        }
        Err(problem) => {
            eprintln!("pglanes run: {problem}; running the command all the same, without a lease");
            // Past a proxy that is not there the command finds PostgreSQL as it did before.
            let there = matches!(problem, LeaseProblem::Refused(_));
            let environment = if there {
                environment
            } else {
                Environment::default()
            };
            return child_code(child::run(&arguments.command, &environment, None).await);
        }
    };
    child_code(child::run(&arguments.command, &environment, held).await)
}

fn child_code(ended: std::io::Result<u8>) -> ExitCode {
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pglanes run: the command cannot be run: {error}");
            ExitCode::from(match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND,
                _ => CANNOT_RUN,
            })
        }
    }
}

fn not_run(why: &str) -> ExitCode {
    eprintln!("pglanes run: {why}");
    eprintln!(
        "pglanes run: the command was not run (--anyway runs it where only the proxy is missing)"
    );
    ExitCode::from(NOT_RUN)
}
