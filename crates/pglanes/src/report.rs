//! `pglanes report`: which evaluations ran, and who disturbed them, out of what a proxy has written down. The proxy need not
//! run.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use pglanes_admin::report::{Report, page, parse_moment, text};
use pglanes_config::{Config, Process};

use crate::history::{now, read};

/// How long before `since` is read too: what a lane takes in quiet may lie there.
const BEFORE_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For programs
    Json,
    /// One page with plots, for a browser
    Html,
}

/// What the command line asks for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// From when on: so long ago (30m, 2h, 7d), or a time such as 2026-11-26T08:00Z
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Until when
    #[arg(long, value_name = "TIME", default_value = "now")]
    until: String,
    /// Of this lane alone
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Only runs of at least so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    at_least: f64,
    /// How it is told [default: html for a --out that ends in .html, json for .json, else text]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Into this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What is to be printed.
pub(crate) fn run(arguments: &Arguments, config: &Config) -> anyhow::Result<String> {
    let now = now();
    let moment = |text: &str| parse_moment(text, now).map_err(|error| anyhow!(error));
    let (since, until) = (moment(&arguments.since)?, moment(&arguments.until)?);
    if since > until {
        return Err(anyhow!("--since is later than --until"));
    }
    let folder = config
        .state
        .for_port(config.first_port(), &Process::default());
    let folder = folder.context(
        "nothing is written down: lanes.yaml says `state: off`, or there is no home folder",
    )?;
    let history =
        read(&folder, since.saturating_sub(BEFORE_MS)).context("the history cannot be read")?;
    let mut report = Report::of(&history, since, until);
    report.runs.retain(|run| {
        let is_wanted = arguments.lane.as_ref().is_none_or(|lane| *lane == run.lane);
        is_wanted && run.seconds >= arguments.at_least
    });
    if config.history.is_none() {
        report
            .notes
            .push("history is off: nothing new is written down (lanes.yaml)".to_owned());
    }
    let told = match format(arguments) {
        Format::Text => text(&report),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Html => page(&report),
    };
    let Some(out) = &arguments.out else {
        return Ok(told);
    };
    std::fs::write(out, told).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(format!("{}: {} runs\n", out.display(), report.runs.len()))
}

/// The runs of the last day, of a proxy that keeps its state in this folder.
///
/// # Errors
/// Why they are not known.
pub(crate) fn last_day(folder: Option<&Path>) -> Result<Report, String> {
    let Some(folder) = folder else {
        return Err(
            "nothing is written down: there is no state folder (lanes.yaml: state)".to_owned(),
        );
    };
    let now = now();
    let since = now.saturating_sub(BEFORE_MS);
    let history =
        read(folder, since.saturating_sub(BEFORE_MS)).map_err(|error| error.to_string())?;
    Ok(Report::of(&history, since, now))
}

fn format(arguments: &Arguments) -> Format {
    let ending = arguments.out.as_ref().and_then(|out| out.extension());
    arguments
        .format
        .unwrap_or(match ending.and_then(|ending| ending.to_str()) {
            Some("html" | "htm") => Format::Html,
            Some("json") => Format::Json,
            _ => Format::Text,
        })
}
