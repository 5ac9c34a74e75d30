//! What a person reads: the table, the recommendation with its reasons, the SQL and its way back, and the prediction.

use std::fmt::Write as _;

use super::bench::using;
use super::growth::{Fit, fit};
use super::measure::quoted;
use super::recommend::{Advice, Goal, front, size};
use super::{Measured, Storage, faults};
use crate::size::rounded;

/// All of it; `times` is how many times the rows the prediction is for, and `all_rows` how many there are now.
pub fn report(
    measured: &Measured,
    advice: &Advice,
    goal: Goal,
    table: &str,
    column: &str,
    times: u64,
) -> String {
    let mut text = trade_off(measured);
    recommendation(&mut text, measured, advice, goal);
    sql(&mut text, measured, advice, table, column);
    prediction(&mut text, measured, advice, times);
    for version in [&measured.source_pgvector, &measured.pgvector] {
        if let Some(warning) = faults::warning(version) {
            // Writing into a string does not fail, here and below.
            let _ = writeln!(text, "\nwarning: {warning}");
            break;
        }
    }
    text
}

/// The table. A star marks what nothing beats in recall and median at once.
pub fn trade_off(measured: &Measured) -> String {
    let best = front(&measured.searched);
    let mut text = format!(
        "{}: {} rows of {} dimensions, {} searches, recall@{}; exact search {:.2} ms; pgvector {}\n\
         distance: {} ({})\n\n\
         | index | m | ef_construction | built s | size | ef_search | scan | recall | p50 ms | p95 ms | |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        measured.source,
        measured.rows,
        measured.dimensions,
        measured.queries,
        measured.k,
        measured.exact_ms,
        measured.pgvector,
        measured.metric.metric.name(),
        measured.metric.why
    );
    for one in &measured.searched {
        let index = one.index;
        let built = measured.built.iter().find(|built| built.index == index);
        let filtered = if one.filtered { ", filter 10 %" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} | {} | {} | {}{filtered} | {:.3} | {:.2} | {:.2} | {} |",
            index.storage.name(),
            index.m,
            index.ef_construction,
            built.map_or(0.0, |built| built.seconds),
            rounded(size(measured, index)),
            one.ef_search,
            one.iterative.value(),
            one.recall,
            one.p50_ms,
            one.p95_ms,
            if best.contains(&one) { "*" } else { "" }
        );
    }
    left_out(&mut text, measured);
    text
}

/// What there was no time for, and how that was known.
fn left_out(text: &mut String, measured: &Measured) {
    if let Some(reduced) = measured.reduced {
        let _ = writeln!(
            text,
            "measured on {} of the {} rows that were read: one index over all of them was predicted, from smaller ones, to take {:.1} s, and \
             {:.1} s of the budget were there for the indexes; a larger --budget measures on more. Recall falls as rows are added: what is \
             recommended here is for that many",
            measured.rows, reduced.all, reduced.predicted, reduced.left
        );
    }
    for one in &measured.left_out {
        let index = one.index;
        let why = match one.begun {
            true => "begun, and cut off when the budget ended",
            false => "not begun",
        };
        let _ = writeln!(
            text,
            "not measured: {}, m {}, ef_construction {}: {why}; predicted to take {:.1} s, {:.1} s of the budget were left for it",
            index.storage.name(),
            index.m,
            index.ef_construction,
            one.predicted,
            one.left
        );
    }
}

fn recommendation(text: &mut String, measured: &Measured, advice: &Advice, goal: Goal) {
    let Advice {
        index,
        evaluation,
        memory,
        ..
    } = advice;
    let _ = writeln!(
        text,
        "\nrecommended: HNSW, m {}, ef_construction {} ({})\n  why: {} recall {:.3} at {:.2} ms with ef_search {}, the fastest measured {}\n  \
         source: this measurement; pgvector README, \"HNSW\" and \"Index Options\"\n\nlanes.yaml (source: pgvector README, \"Query Options\"):\n  \
         evaluation: {{ settings: {{ hnsw.ef_search: {} }} }}   # recall {:.3}, {:.2} ms\n  ltst: {{ settings: {{ hnsw.ef_search: {} }} }}   # \
         recall {:.3}, {:.2} ms: enough for the goal {}",
        index.m,
        index.ef_construction,
        rounded(size(measured, *index)),
        if advice.reached {
            "the goal is reached:"
        } else {
            "the goal is NOT reached; the most found is"
        },
        evaluation.recall,
        evaluation.p50_ms,
        evaluation.ef_search,
        if advice.reached {
            format!(
                "with {} or more, a smaller index before one as fast",
                goal.evaluation
            )
        } else {
            "with that recall".to_owned()
        },
        evaluation.ef_search,
        evaluation.recall,
        evaluation.p50_ms,
        memory.ef_search,
        memory.recall,
        memory.p50_ms,
        goal.memory
    );
    if let Some(on) = &advice.iterative {
        let _ = writeln!(
            text,
            "  where searches filter: hnsw.iterative_scan: {} with ef_search {} finds {:.3} of what passes a filter of 10 %, more than one \
             scan does (source: pgvector README, \"Iterative Index Scans\")",
            on.iterative.value(),
            on.ef_search,
            on.recall
        );
    }
    if let Some(smaller) = &advice.smaller {
        let name = smaller.index.storage.name();
        let _ = writeln!(
            text,
            "  smaller, if the queries are rewritten for it: {name}, {}, recall {:.3} at {:.2} ms with ef_search {} (source: pgvector README, \
             \"{}\")",
            rounded(size(measured, smaller.index)),
            smaller.recall,
            smaller.p50_ms,
            smaller.ef_search,
            if smaller.index.storage == Storage::Binary {
                "Binary Quantization"
            } else {
                "Half-Precision Indexing"
            }
        );
    }
}

fn sql(text: &mut String, measured: &Measured, advice: &Advice, table: &str, column: &str) {
    let name = format!(
        "pglanes_hnsw_{}_{}",
        advice.index.m, advice.index.ef_construction
    );
    let schema = table
        .rsplit_once('.')
        .map_or(String::new(), |(schema, _)| format!("{}.", quoted(schema)));
    let _ = writeln!(
        text,
        "\n-- not inside a transaction; the way back also removes what a failed build leaves\nSET lock_timeout = '2s';\nCREATE INDEX CONCURRENTLY \
         {name} ON {} {};\n-- way back:\nDROP INDEX CONCURRENTLY IF EXISTS {schema}{name};",
        quoted(table),
        using(
            advice.index,
            measured.dimensions,
            &quoted(column),
            measured.metric.metric
        )
    );
}

fn prediction(text: &mut String, measured: &Measured, advice: &Advice, times: u64) {
    let own = || {
        measured
            .built
            .iter()
            .filter(|built| built.index == advice.index)
    };
    let read = measured
        .reduced
        .map_or(measured.rows, |reduced| reduced.all);
    let rows = read.saturating_mul(times);
    let seconds: Vec<(u64, f64)> = own().map(|built| (built.rows, built.seconds)).collect();
    let bytes: Vec<(u64, f64)> = own()
        .map(|built| (built.rows, built.bytes as f64))
        .collect();
    let mut ms = measured.growth_ms.clone();
    ms.push((measured.rows, advice.evaluation.p50_ms));
    let _ = writeln!(
        text,
        "\nat {times} times the rows of the sample ({rows}), by a power of the rows fitted to {} sizes:",
        seconds.len()
    );
    let mut line = |what: &str, fitted: Option<Fit>, shown: &dyn Fn(f64) -> String| {
        let Some(fitted) = fitted else {
            let _ = writeln!(
                text,
                "  {what}: measured at one size only; a larger --budget measures more"
            );
            return;
        };
        let error = fitted
            .held_out_error
            .map_or("unknown error".to_owned(), |error| {
                format!(
                    "the smaller sizes missed the largest by {:.0} %",
                    error * 100.0
                )
            });
        let _ = writeln!(
            text,
            "  {what}: {} (rows^{:.2}; {error})",
            shown(fitted.at(rows)),
            fitted.exponent
        );
    };
    line(
        "build time, one process, graph in memory",
        fit(&seconds),
        &|value| format!("{value:.0} s"),
    );
    line("index size", fit(&bytes), &|value| rounded(value as u64));
    line("a search's median, index in memory", fit(&ms), &|value| {
        format!("{value:.2} ms")
    });
    build_memory(text, measured, advice, rows);
}

fn build_memory(text: &mut String, measured: &Measured, advice: &Advice, rows: u64) {
    match measured.build_bytes_a_row {
        Some(a_row) => {
            let needed = rounded((a_row * rows as f64) as u64);
            let _ = writeln!(
                text,
                "  memory of the build: {needed} of maintenance_work_mem ({a_row:.0} bytes a row, from a build made to outgrow 2MB; source: pgvector README, \"Index Build Time\")"
            );
        }
        None => text.push_str("  memory of the build: not measured\n"),
    }
    let mut own = measured
        .built
        .iter()
        .filter(|built| built.index == advice.index);
    let outgrew = own.find_map(|built| built.outgrew_after);
    let fitted = outgrew.map_or("every build of it fitted".to_owned(), |after| {
        format!("outgrown after {after} rows")
    });
    let _ = writeln!(
        text,
        "  maintenance_work_mem here: {}, {fitted}",
        rounded(measured.build_memory)
    );
}
