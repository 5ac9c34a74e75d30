//! The command line. Exit codes: 0 as asked; 1 it failed, or `check --strict` has warnings; 2 the command line or
//! lanes.yaml does not hold.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::advise;
use crate::check;
use crate::demo;
use crate::embedded::Embedded;
use crate::logging;
use crate::report;
use crate::run;
use crate::serve::{self, ServeError, Sockets};
use crate::source::Source;
use crate::top;
use crate::views;
use crate::what_if;

/// It failed.
const FAILED: u8 = 1;
/// What was given does not hold.
const MISTAKEN: u8 = 2;

/// A PostgreSQL connection proxy that isolates workloads.
#[derive(Debug, Parser)]
#[command(name = "pglanes", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    ///
    /// SIGHUP reads the file anew; SIGTERM or SIGINT lets transactions finish and ends, a second one ends at once.
    Serve {
        #[command(flatten)]
        file: File,
        /// Run a PostgreSQL with pgvector of pglanes' own behind the lanes, its data kept in this folder
        #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "pglanes-data")]
        embedded: Option<PathBuf>,
    },
    /// Show the lanes as understood, and what is probably not meant
    Check(CheckArguments),
    /// Run a command whose sessions are in a lane, with a lease on it
    ///
    /// It is told where the proxy is by DATABASE_URL, PGHOST, PGPORT and PGAPPNAME. The exit code is the command's; 125
    /// where it was not run.
    Run(RunArguments),
    /// Measure what the lanes do, on a PostgreSQL of the demo's own
    Demo(demo::Arguments),
    /// Install, remove or print the monitoring views of the schema pglanes
    #[command(subcommand)]
    Views(views::Command),
    /// Propose PostgreSQL's settings for this machine and the lanes
    ///
    /// Changes nothing without --output or --apply; what --apply did, --undo takes back.
    Tune {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        arguments: advise::tune::Arguments,
    },
    /// Look for broken connection strings in a source tree, or at the installation
    ///
    /// Exit code 1: there is something to mend. Passwords are not shown.
    Doctor {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        arguments: advise::doctor::Arguments,
    },
    /// Measure which vector index suits a table's data, and predict what more rows will need
    ///
    /// Reads a bounded sample of the table, or makes seeded rows; everything else happens on a throw-away server.
    Vectors(advise::vectors::Arguments),
    /// Watch the lanes in the terminal, as the dashboard shows them
    Top {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        arguments: top::Arguments,
    },
    /// Print the table of all metrics: name, type, labels and meaning
    Metrics,
    /// Tell which evaluations ran, who disturbed them, and what was held back for them
    ///
    /// Out of what the proxy of this lanes.yaml has written down (its key history); it need not run.
    Report {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        arguments: report::Arguments,
    },
    /// Indexes, storage settings and batch procedures for the memory system's tables: apply, undo, status, print
    ///
    /// Exit code 1: a script failed, or stands half-done.
    Schema {
        #[command(flatten)]
        file: File,
        #[command(subcommand)]
        command: advise::schema::Command,
    },
    /// Write down what the running proxy runs, for `pglanes simulate`
    ///
    /// Times, lanes and bytes of each transaction; no text of a query, no name of a client.
    Record {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        arguments: what_if::record::Arguments,
    },
    /// Say what a recorded time would have been with another lanes.yaml
    ///
    /// --config names the file to try.
    Simulate {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        arguments: what_if::simulate::Arguments,
    },
    /// Write a first lanes.yaml from what the running server shows
    Init(advise::init::Arguments),
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration [default: ./lanes.yaml, else the built-in one]
    #[arg(long, value_name = "FILE", env = "PGLANES_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    run: run::Arguments,
}

#[derive(Debug, clap::Args)]
struct CheckArguments {
    #[command(flatten)]
    file: File,
    /// Fail (exit code 1) when there are warnings
    #[arg(long)]
    strict: bool,
    /// Do not ask the server
    #[arg(long)]
    offline: bool,
    /// Say which lane a client would be in, such as 'application_name=ltst user=me database=db'
    #[arg(long, value_name = "CLIENT")]
    explain: Option<String>,
    /// With --explain: the first statement of the client's transaction
    #[arg(requires = "explain")]
    statement: Option<String>,
}

/// Does what the command line asks for, and says how it went.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve { file, embedded } => serve(file, embedded.as_deref()),
        Command::Check(arguments) => check(&arguments),
        Command::Run(arguments) => run_command(&arguments),
        // It shows progress instead of logs, and brings its own runtime.
        Command::Demo(arguments) => match demo::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(FAILED, &format_args!("{error:#}")),
        },
        Command::Views(command) => told(views::run(command)),
        Command::Tune { file, arguments } => advise(file, async |config| {
            let said = advise::tune::run(&arguments, config).await?;
            Ok((said, false))
        }),
        Command::Doctor { file, arguments } => advise(file, async |config| {
            advise::doctor::run(&arguments, config).await
        }),
        Command::Top { file, arguments } => advise(file, async |config| {
            let said = top::run(&arguments, config).await?;
            Ok((said, false))
        }),
        Command::Vectors(arguments) => told(advise::vectors::run(&arguments)),
        Command::Metrics => say(&pglanes_admin::metrics::reference()),
        Command::Report { file, arguments } => match Source::find(file.config).load() {
            Ok(config) => match report::run(&arguments, &config) {
                Ok(text) => say(&text),
                Err(error) => fail(FAILED, &format_args!("{error:#}")),
            },
            Err(mistakes) => fail(MISTAKEN, &mistakes),
        },
        Command::Schema { file, command } => advise(file, async |config| {
            advise::schema::run(&command, config).await
        }),
        Command::Record { file, arguments } => advise(file, async |config| {
            let said = what_if::record::run(&arguments, config).await?;
            Ok((said, false))
        }),
        Command::Simulate { file, arguments } => simulate(file, &arguments),
        Command::Init(arguments) => finish(on_a_runtime(async {
            let said = advise::init::run(&arguments).await?;
            Ok((said, false))
        })),
    }
}

/// Reads lanes.yaml, and does what the advisor has to.
fn advise(
    file: File,
    work: impl AsyncFnOnce(&pglanes_config::Config) -> anyhow::Result<(String, bool)>,
) -> ExitCode {
    match Source::find(file.config).load() {
        Ok(config) => finish(on_a_runtime(work(&config))),
        Err(mistakes) => fail(MISTAKEN, &mistakes),
    }
}

fn simulate(file: File, arguments: &what_if::simulate::Arguments) -> ExitCode {
    let source = Source::find(file.config);
    match source.load() {
        Ok(config) => match what_if::simulate::run(arguments, &config, &source.to_string()) {
            Ok(text) => say(&text),
            Err(error) => fail(FAILED, &format_args!("{error:#}")),
        },
        Err(mistakes) => fail(MISTAKEN, &mistakes),
    }
}

/// Says what came of it: the text, and whether something is to be mended.
fn finish(outcome: std::io::Result<anyhow::Result<(String, bool)>>) -> ExitCode {
    match outcome {
        Ok(Ok((text, true))) => {
            say(&text);
            ExitCode::from(FAILED)
        }
        Ok(Ok((text, false))) => say(&text),
        Ok(Err(error)) => fail(FAILED, &format_args!("{error:#}")),
        Err(error) => fail(FAILED, &error),
    }
}

fn serve(file: File, embedded: Option<&Path>) -> ExitCode {
    // First of all: there is one thread yet, and what was passed is nobody else's.
    let sockets = match Sockets::take() {
        Ok(sockets) => sockets,
        Err(error) => return fail(MISTAKEN, &error),
    };
    let source = Source::find(file.config);
    let mut config = match source.load() {
        Ok(config) => config,
        Err(mistakes) => return fail(MISTAKEN, &mistakes),
    };
    if let Err(error) = logging::start(config.logging) {
        return fail(MISTAKEN, &error);
    }
    // Dropped last: PostgreSQL ends after the proxy has.
    let server = match embedded.map(|folder| Embedded::start(folder, &config)) {
        None => None,
        Some(Ok(server)) => Some(server),
        Some(Err(error)) => return fail(FAILED, &format_args!("{error:#}")),
    };
    let source = match &server {
        Some(server) => server.behind(source),
        None => source,
    };
    if server.is_some() {
        config = match source.load() {
            Ok(config) => config,
            Err(mistakes) => return fail(MISTAKEN, &mistakes),
        };
    }
    match on_a_runtime(serve::run(source, config, sockets)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error @ ServeError::Stuck)) => {
            eprintln!("pglanes: {error}");
            // The data thread does not end, so it cannot be waited for.
            std::process::exit(i32::from(FAILED));
        }
        Ok(Err(error)) => fail(FAILED, &error),
        Err(error) => fail(FAILED, &error),
    }
}

fn run_command(arguments: &RunArguments) -> ExitCode {
    let source = Source::find(arguments.file.config.clone());
    let config = match source.load() {
        Ok(config) => config,
        Err(mistakes) => return fail(MISTAKEN, &mistakes),
    };
    match on_a_runtime(run::run(&source, &config, &arguments.run)) {
        Ok(code) => code,
        Err(error) => fail(FAILED, &error),
    }
}

fn check(arguments: &CheckArguments) -> ExitCode {
    let source = Source::find(arguments.file.config.clone());
    let config = match source.load() {
        Ok(config) => config,
        Err(mistakes) => return fail(MISTAKEN, &mistakes),
    };
    if let Some(client) = &arguments.explain {
        return match check::explain(&source, &config, client, arguments.statement.as_deref()) {
            Ok(text) => say(&text),
            Err(error) => fail(MISTAKEN, &error),
        };
    }
    let asking = if arguments.offline {
        check::Asking::Nobody
    } else {
        check::Asking::Server
    };
    let report = match on_a_runtime(check::report(&source, &config, asking)) {
        Ok(report) => report,
        Err(error) => return fail(FAILED, &error),
    };
    let said = say(&report.to_string());
    if arguments.strict && !report.warnings.is_empty() {
        return ExitCode::from(FAILED);
    }
    said
}

/// A command of the cold side that says what it has done.
fn told(work: impl Future<Output = anyhow::Result<String>>) -> ExitCode {
    match on_a_runtime(work) {
        Ok(Ok(text)) => say(&text),
        Ok(Err(error)) => fail(FAILED, &format_args!("{error:#}")),
        Err(error) => fail(FAILED, &error),
    }
}

/// The cold side needs one thread; the data path brings its own.
fn on_a_runtime<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("pglanes: {error}");
    ExitCode::from(code)
}

/// Prints to standard output, where somebody may have stopped reading (`pglanes check | head`).
fn say(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &format_args!("cannot print: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
