//! The report for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::findings::{Figures, Report, Run};
use super::words::{counted, lasting, thousands};

/// The widest line.
const WIDTH: usize = 100;

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut out = format!(
        "{} between {} and {}\n",
        counted(report.runs.len() as u64, "evaluation run"),
        report.since,
        report.until
    );
    for note in &report.notes {
        out.push_str(&wrapped(&format!("note: {note}"), ""));
    }
    for run in &report.runs {
        out.push('\n');
        of_run(&mut out, run);
    }
    out
}

fn of_run(out: &mut String, run: &Run) {
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{}  {}  ({})", run.began, run.lane, run.name);
    out.push_str(&wrapped(&run.verdict.sentence, "  "));
    let _ = writeln!(
        out,
        "  {:<12}{:>10}{:>10}{:>10}{:>10}",
        "", "mean", "p50", "p95", "p99"
    );
    figures(out, "transaction", &run.latency);
    if let Some(quiet) = &run.quiet {
        figures(out, "in quiet", quiet);
    }
    figures(out, "slot wait", &run.queue);
    delays(out, run);
    beside(out, run);
    for held in &run.held_back {
        let _ = writeln!(
            out,
            "  {} ({}): {}",
            held.by,
            held.lanes.join(", "),
            held.words(),
        );
    }
    if run.errors + run.rejected > 0 {
        let _ = writeln!(
            out,
            "  {}, {} got no slot",
            counted(run.errors, "error"),
            counted(run.rejected, "transaction")
        );
    }
    for event in &run.happenings {
        let lane = event.lane.as_deref().unwrap_or("");
        let _ = writeln!(
            out,
            "  {}  {} {lane} {}",
            super::words::clock(event.t),
            event.what.replace('_', " "),
            event.detail
        );
    }
}

fn figures(out: &mut String, name: &str, figures: &Figures) {
    let cell =
        |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| super::words::micros(ms * 1e3));
    let cells = [
        figures.mean_ms,
        figures.p50_ms,
        figures.p95_ms,
        figures.p99_ms,
    ];
    let _ = write!(out, "  {name:<12}");
    for ms in cells {
        let _ = write!(out, "{:>10}", cell(ms));
    }
    let _ = writeln!(out, "  of {}", counted(figures.count, "transaction"));
}

fn delays(out: &mut String, run: &Run) {
    for delay in &run.delays {
        let time = lasting(Duration::from_secs_f64(delay.seconds));
        let _ = writeln!(out, "  waited {time} {}", delay.words(&run.lane));
    }
    if !run.cpu_measured {
        let _ = writeln!(
            out,
            "  waits for a processor are unknown (Linux, and PostgreSQL on this host)"
        );
    }
}

fn beside(out: &mut String, run: &Run) {
    if run.beside.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "  {:<16}{:>14}{:>10}{:>10}{:>14}{:>12}",
        "beside it", "transactions", "slots", "CPU s", "held back", "cancelled"
    );
    for other in &run.beside {
        let cpu = other
            .cpu_s
            .map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1}"));
        let _ = writeln!(
            out,
            "  {:<16}{:>14}{:>10.2}{cpu:>10}{:>14}{:>12}",
            other.lane,
            thousands(other.transactions),
            other.slots,
            lasting(Duration::from_secs_f64(other.held_s)),
            thousands(other.cancels),
        );
    }
}

/// Lines of at most [`WIDTH`], broken between words.
fn wrapped(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut line = indent.to_owned();
    for word in text.split(' ') {
        if line.len() + word.len() >= WIDTH && line.len() > indent.len() {
            out.push_str(line.trim_end());
            out.push('\n');
            line = indent.to_owned();
        }
        line.push_str(word);
        line.push(' ');
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}
