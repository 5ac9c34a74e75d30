//! The figures of all repetitions, put together.

use std::collections::BTreeMap;

use pglanes::demo::phases::{Amount, Evaluated, Measurement, Throughput, Work};
use pglanes_testbed::schema::Data;
use serde::Serialize;

use super::statistics::Spread;

/// One phase with all of its repetitions, in their order.
#[derive(Debug, Clone, Serialize)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What ran in it.
    pub work: Work,
    /// What it went through, such as a lanes.yaml; `None` is direct.
    pub route: Option<String>,
    /// What each repetition gave.
    pub measured: Vec<Measurement>,
}

/// All of it, as it is written to JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// PostgreSQL's version and pgvector's.
    pub version: String,
    /// Messages in the database.
    pub rows: u64,
    /// The seed of data and work.
    pub seed: u64,
    /// How much work a phase is.
    pub amount: Amount,
    /// By phase.
    pub summaries: Vec<Summary>,
    /// As measured.
    pub arms: Vec<Arm>,
}

/// One phase's medians.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The phase.
    pub name: String,
    /// What ran in it.
    pub work: Work,
    /// Evaluations that were cut off: their time is a lower bound, their latencies are of what they did.
    pub cut_off: usize,
    /// Errors that clients saw, by SQLSTATE, all repetitions together.
    pub errors: BTreeMap<String, u64>,
    /// Each figure of the phase: evaluation times in seconds, latencies in milliseconds, and rates a second.
    pub figures: BTreeMap<&'static str, Spread>,
    /// The same as ratios to what is alone, within each repetition.
    pub ratios: BTreeMap<&'static str, Spread>,
}

/// The figures' names, in the order of the table.
const FIGURES: [&str; 7] = [
    "time s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "searches/s",
    "rehydrations/s",
    "compactions/s",
];

impl Report {
    /// Puts the arms together.
    pub fn of(version: &str, data: Data, amount: Amount, arms: Vec<Arm>) -> Report {
        let alone = |work: Work| {
            let direct = |arm: &&Arm| arm.work == work && arm.route.is_none();
            arms.iter().find(direct).map(|arm| &arm.measured[..])
        };
        let baselines =
            [Work::Evaluation, Work::Memory].map(|work| alone(work).unwrap_or_default());
        let summaries = arms.iter().map(|arm| Summary::of(arm, baselines));
        Report {
            version: version.to_owned(),
            rows: data.rows,
            seed: data.seed,
            amount,
            summaries: summaries.collect(),
            arms,
        }
    }

    /// For people: a figure, its interval, and its ratio to alone in each cell.
    pub fn table(&self) -> String {
        let repetitions = self.arms.first().map_or(0, |arm| arm.measured.len());
        let mut lines = vec![format!(
            "{}, {} messages; {} rounds of the evaluation, {repetitions} repetitions.\n\
             Medians [95 % interval], and the ratio to alone within a repetition.",
            self.version, self.rows, self.amount.rounds
        )];
        for summary in &self.summaries {
            lines.push(format!("\n{}", summary.name));
            for name in FIGURES {
                let Some(figure) = summary.figures.get(name) else {
                    continue;
                };
                let ratio = summary.ratios.get(name).map_or_else(String::new, |ratio| {
                    format!(
                        "{:>8.2}x [{:.2}, {:.2}]",
                        ratio.median, ratio.low, ratio.high
                    )
                });
                let shown = format!(
                    "{:>10.2} [{:.2}, {:.2}]",
                    figure.median, figure.low, figure.high
                );
                lines.push(
                    format!("  {name:<16}{shown:<32}{ratio}")
                        .trim_end()
                        .to_owned(),
                );
            }
            if summary.cut_off > 0 {
                lines.push(format!("  cut off         {:>7} times", summary.cut_off));
            }
            for (state, count) in &summary.errors {
                lines.push(format!("  errors {state:<9}{count:>7}"));
            }
        }
        lines.join("\n")
    }
}

impl Summary {
    /// Errors that nothing in the arms asks for. The lanes give compaction a `lock_timeout`, so that a VACUUM which meets
    /// another, or autovacuum's, is told off (55P03) and tries again: on a slow machine that is what they are for.
    pub fn unasked_errors(&self) -> BTreeMap<&str, u64> {
        let asked = |state: &str| self.work != Work::Evaluation && state == "55P03";
        let counted = self.errors.iter();
        counted
            .filter(|(state, _)| !asked(state))
            .map(|(state, count)| (state.as_str(), *count))
            .collect()
    }

    fn of(arm: &Arm, [evaluation, memory]: [&[Measurement]; 2]) -> Summary {
        let mut figures = BTreeMap::new();
        let mut ratios = BTreeMap::new();
        for name in FIGURES {
            let values: Vec<Option<f64>> =
                arm.measured.iter().map(|one| figure(one, name)).collect();
            let known: Vec<f64> = values.iter().flatten().copied().collect();
            figures.extend(Spread::of(&known).map(|spread| (name, spread)));
            let baseline = if name.ends_with("/s") {
                memory
            } else {
                evaluation
            };
            let pairs = values
                .iter()
                .zip(baseline.iter().map(|one| figure(one, name)));
            let within: Vec<f64> = pairs
                .filter_map(|(value, alone)| Some((*value)? / alone.filter(|alone| *alone > 0.0)?))
                .collect();
            ratios.extend(Spread::of(&within).map(|spread| (name, spread)));
        }
        let cut_off = |one: &&Measurement| matches!(one.evaluation, Some(Evaluated::CutOff(_)));
        let mut errors = BTreeMap::new();
        for one in &arm.measured {
            let reports = one.evaluated().into_iter().chain(&one.memory);
            for (state, count) in reports.flat_map(|report| &report.errors) {
                *errors.entry(state.clone()).or_default() += count;
            }
        }
        Summary {
            name: arm.name.clone(),
            work: arm.work,
            cut_off: arm.measured.iter().filter(cut_off).count(),
            errors,
            figures,
            ratios,
        }
    }
}

/// A figure of one repetition, if it has that.
fn figure(measured: &Measurement, name: &str) -> Option<f64> {
    let milliseconds = |us: u64| us as f64 / 1_000.0;
    let evaluation = measured.evaluated();
    let throughput = measured.memory.as_ref().map(Throughput::of);
    match name {
        "time s" => Some(evaluation?.wall_seconds),
        "p50 ms" => Some(milliseconds(evaluation?.all.p50_us)),
        "p95 ms" => Some(milliseconds(evaluation?.all.p95_us)),
        "p99 ms" => Some(milliseconds(evaluation?.all.p99_us)),
        "searches/s" => Some(throughput?.searches),
        "rehydrations/s" => Some(throughput?.rehydrations),
        "compactions/s" => Some(throughput?.compactions),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pglanes_testbed::workload::OperationReport;

    use super::*;

    fn evaluated(seconds: f64) -> pglanes_testbed::workload::Report {
        let none = OperationReport {
            count: 0,
            per_second: 0.0,
            mean_us: 0,
            p50_us: 0,
            p95_us: 0,
            p99_us: 0,
            max_us: 0,
        };
        pglanes_testbed::workload::Report {
            workload: "evaluation".to_owned(),
            wall_seconds: seconds,
            database_seconds: seconds,
            all: none,
            operations: BTreeMap::new(),
            errors: BTreeMap::from([("57014".to_owned(), 2)]),
            retries: 0,
            abandoned: 0,
            reconnects: 0,
        }
    }

    fn arm(name: &str, work: Work, seconds: &[f64]) -> Arm {
        let measured = seconds.iter().map(|seconds| Measurement {
            evaluation: Some(Evaluated::CutOff(evaluated(*seconds))),
            memory: None,
            lanes: None,
        });
        Arm {
            name: name.to_owned(),
            work,
            route: None,
            measured: measured.collect(),
        }
    }

    #[test]
    fn ratios_are_of_phases_of_one_repetition() {
        let arms = vec![
            arm("alone", Work::Evaluation, &[1.0, 2.0, 4.0]),
            arm("both", Work::Both, &[3.0, 6.0, 12.0]),
        ];
        let amount = Amount {
            rounds: 1,
            time: Duration::from_secs(1),
            limit: Duration::from_secs(10),
        };
        let report = Report::of("", Data { rows: 1, seed: 1 }, amount, arms);
        let both = &report.summaries[1];
        assert_eq!(both.figures["time s"].median, 6.0);
        let ratio = both.ratios["time s"];
        assert_eq!((ratio.low, ratio.median, ratio.high), (3.0, 3.0, 3.0));
        assert_eq!(both.cut_off, 3);
        assert_eq!(both.errors, BTreeMap::from([("57014".to_owned(), 6)]));
        assert_eq!(both.unasked_errors(), BTreeMap::from([("57014", 6)]));
        assert!(!both.figures.contains_key("searches/s"));
        assert!(report.table().contains("3.00x [3.00, 3.00]"));
    }
}
