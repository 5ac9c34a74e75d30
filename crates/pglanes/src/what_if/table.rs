//! What came of a what-if, as text and as JSON.

use std::time::Duration;

use pglanes_lanes::sim::replay::{LaneOutcome, Outcome};
use serde_json::{Value, json};

use super::read::TraceFile;
use super::simulate::Prediction;

/// One figure of a lane: its name, how it is found, and how it is shown.
type Figure = (&'static str, fn(&LaneOutcome) -> f64, fn(f64) -> String);

const FIGURES: [Figure; 9] = [
    (
        "transactions/s",
        |lane| lane.per_second,
        |rate| format!("{rate:.1}"),
    ),
    ("wait p50", |lane| milliseconds(lane.wait_p50), shown_ms),
    ("wait p95", |lane| milliseconds(lane.wait_p95), shown_ms),
    ("wait p99", |lane| milliseconds(lane.wait_p99), shown_ms),
    ("time p50", |lane| milliseconds(lane.time_p50), shown_ms),
    ("time p95", |lane| milliseconds(lane.time_p95), shown_ms),
    ("time p99", |lane| milliseconds(lane.time_p99), shown_ms),
    (
        "rejected",
        |lane| lane.rejected as f64,
        |count| format!("{count:.0}"),
    ),
    (
        "cancelled",
        |lane| lane.cancelled as f64,
        |count| format!("{count:.0}"),
    ),
];

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn shown_ms(milliseconds: f64) -> String {
    if milliseconds >= 10_000.0 {
        format!("{:.1} s", milliseconds / 1e3)
    } else {
        format!("{milliseconds:.2} ms")
    }
}

fn row(label: &str, cells: &[String]) -> String {
    let mut text = format!("{label:<18}");
    for cell in cells {
        text.push_str(&format!("{cell:>18}"));
    }
    text.trim_end().to_owned()
}

/// How many times a figure is what it was, where both are there.
fn times(new: f64, before: f64) -> String {
    if before > 0.0 && new > 0.0 {
        format!("{:.2}x", new / before)
    } else {
        String::new()
    }
}

/// The table. What is new is held against the model of what was, where there is one, else against what was measured.
pub(super) fn text(
    trace: &TraceFile,
    prediction: &Prediction,
    was: Option<&str>,
    new: &str,
) -> String {
    let protected = &prediction.names[prediction.protected];
    let before = prediction.was.as_ref().unwrap_or(&prediction.measured);
    let mut lines = vec![
        format!(
            "{} transactions of {:.1} s, recorded on {} cores{}; lane {protected} is looked at, and the others in its time",
            trace.transactions.len(),
            trace.length.as_secs_f64(),
            trace.cores,
            match trace.lost {
                0 => String::new(),
                lost => format!(" ({lost} more were lost on the way)"),
            },
        ),
        format!(
            "as it was: {}; new: {new}",
            was.unwrap_or("not simulated (--was names the file)")
        ),
        String::new(),
    ];
    let simulated = prediction.was.is_some();
    let word = |text: &str| text.to_owned();
    lines.push(row(
        "",
        &with_was(
            word("measured"),
            simulated.then(|| word("as it was")),
            word("new"),
            String::new(),
        ),
    ));
    let time = |outcome: &Outcome| {
        let unfinished = if outcome.complete { "" } else { ", unfinished" };
        format!("{:.2} s{unfinished}", outcome.time.as_secs_f64())
    };
    lines.push(row(
        &format!("{protected}: time"),
        &with_was(
            time(&prediction.measured),
            prediction.was.as_ref().map(time),
            time(&prediction.new),
            times(prediction.new.time.as_secs_f64(), before.time.as_secs_f64()),
        ),
    ));
    add_lanes(&mut lines, prediction, before);
    lines.push(String::new());
    lines.push(error_line(prediction));
    lines.join("\n") + "\n"
}

/// A row's cells: the model of the old file stands between, where there is one.
fn with_was(measured: String, was: Option<String>, new: String, times: String) -> Vec<String> {
    let mut cells = vec![measured];
    cells.extend(was);
    cells.extend([new, times]);
    cells
}

fn add_lanes(lines: &mut Vec<String>, prediction: &Prediction, before: &Outcome) {
    for (place, name) in prediction.names.iter().enumerate() {
        let quiet = |outcome: &Outcome| outcome.lanes[place] == LaneOutcome::default();
        if quiet(&prediction.measured) && quiet(&prediction.new) {
            continue;
        }
        lines.push(name.clone());
        for (figure, of, shown) in FIGURES {
            let found = |outcome: &Outcome| of(&outcome.lanes[place]);
            let all = [&prediction.measured, before, &prediction.new];
            if all.iter().all(|outcome| found(outcome) == 0.0) {
                continue;
            }
            lines.push(row(
                &format!("  {figure}"),
                &with_was(
                    shown(found(&prediction.measured)),
                    prediction.was.as_ref().map(|was| shown(found(was))),
                    shown(found(&prediction.new)),
                    times(found(&prediction.new), found(before)),
                ),
            ));
        }
    }
}

/// How far the model is from what was measured, where both are known.
fn error_line(prediction: &Prediction) -> String {
    let Some(was) = &prediction.was else {
        return "The model knows cores and slots, not locks, caches and disks: --was shows its error on this trace.".to_owned();
    };
    let apart = |is: f64, measured: f64| format!("{:+.0} %", (is / measured - 1.0) * 100.0);
    let mut parts = vec![format!(
        "time {}",
        apart(
            was.time.as_secs_f64(),
            prediction.measured.time.as_secs_f64()
        )
    )];
    for (place, name) in prediction.names.iter().enumerate() {
        let measured = prediction.measured.lanes[place].per_second;
        if place != prediction.protected && measured > 0.0 {
            let is = was.lanes[place].per_second;
            parts.push(format!("{name} transactions/s {}", apart(is, measured)));
        }
    }
    format!(
        "The model's error, as it was against measured: {}.",
        parts.join(", ")
    )
}

/// The same as JSON, times in seconds.
pub(super) fn json(trace: &TraceFile, prediction: &Prediction) -> Value {
    let outcome = |outcome: &Outcome| {
        let lanes = prediction
            .names
            .iter()
            .zip(&outcome.lanes)
            .map(|(name, lane)| {
                let found = json!({
                    "finished": lane.finished,
                    "per_second": lane.per_second,
                    "wait_p50": lane.wait_p50.as_secs_f64(),
                    "wait_p95": lane.wait_p95.as_secs_f64(),
                    "wait_p99": lane.wait_p99.as_secs_f64(),
                    "time_p50": lane.time_p50.as_secs_f64(),
                    "time_p95": lane.time_p95.as_secs_f64(),
                    "time_p99": lane.time_p99.as_secs_f64(),
                    "rejected": lane.rejected,
                    "cancelled": lane.cancelled,
                });
                (name.clone(), found)
            });
        json!({
            "time": outcome.time.as_secs_f64(),
            "complete": outcome.complete,
            "lanes": lanes.collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({
        "transactions": trace.transactions.len(),
        "seconds": trace.length.as_secs_f64(),
        "lost": trace.lost,
        "protected": prediction.names[prediction.protected],
        "measured": outcome(&prediction.measured),
        "as_it_was": prediction.was.as_ref().map(outcome),
        "new": outcome(&prediction.new),
    })
}
