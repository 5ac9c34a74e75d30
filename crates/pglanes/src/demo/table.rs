//! The demo's one table: what was measured alone, beside each other direct, and through the lanes.

use pglanes_testbed::workload::Report;

use super::phases::{Amount, Evaluated, Measurement, Throughput};

/// All that was measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    /// The evaluation alone, direct.
    pub(super) alone: Report,
    /// The memory system alone, direct.
    pub(super) memory: Report,
    /// Both, direct.
    pub(super) direct: Measurement,
    /// Both, through the lanes.
    pub(super) through: Measurement,
    /// How much work each was.
    pub(super) amount: Amount,
}

/// One figure of the evaluation: its name, its unit's size in microseconds, and where it is found.
type Latency = (&'static str, fn(&Report) -> u64);

const LATENCIES: [Latency; 3] = [
    ("p50", |report| report.all.p50_us),
    ("p95", |report| report.all.p95_us),
    ("p99", |report| report.all.p99_us),
];

/// One figure of the memory system.
type Rate = (&'static str, fn(&Throughput) -> f64);

pub(super) const RATES: [Rate; 3] = [
    ("searches", |throughput| throughput.searches),
    ("rehydrations", |throughput| throughput.rehydrations),
    ("compaction steps", |throughput| throughput.compactions),
];

/// The table as text, without a newline at its end.
pub(super) fn render(figures: &Figures) -> String {
    let mut lines = vec![
        row(
            "",
            "alone, direct",
            "both, direct",
            "both, through the lanes",
        ),
        "evaluation".to_owned(),
    ];
    let contended = [&figures.direct, &figures.through];
    let alone = figures.alone.wall_seconds;
    let [direct, through] = contended.map(|measured| time_cell(measured, alone));
    lines.push(row("  time", &format!("{alone:.1} s"), &direct, &through));
    for (name, of) in LATENCIES {
        let alone = of(&figures.alone);
        let [direct, through] = contended.map(|measured| {
            let report = measured.evaluated();
            report.map_or_else(
                || "-".to_owned(),
                |report| with_ratio(&milliseconds(of(report)), of(report) as f64, alone as f64),
            )
        });
        lines.push(row(
            &format!("  {name}"),
            &milliseconds(alone),
            &direct,
            &through,
        ));
    }
    lines.push("memory system, each second".to_owned());
    let alone = Throughput::of(&figures.memory);
    for (name, of) in RATES {
        let [direct, through] = contended.map(|measured| {
            measured.memory.as_ref().map_or_else(
                || "-".to_owned(),
                |report| {
                    let rate = of(&Throughput::of(report));
                    with_ratio(&format!("{rate:.1}"), rate, of(&alone))
                },
            )
        });
        let alone = format!("{:.1}", of(&alone));
        lines.push(row(&format!("  {name}"), &alone, &direct, &through));
    }
    lines.join("\n")
}

fn row(name: &str, alone: &str, direct: &str, through: &str) -> String {
    format!("{name:<20}{alone:>14}{direct:>20}{through:>26}")
        .trim_end()
        .to_owned()
}

fn time_cell(measured: &Measurement, alone: f64) -> String {
    match &measured.evaluation {
        Some(Evaluated::Finished(report)) => with_ratio(
            &format!("{:.1} s", report.wall_seconds),
            report.wall_seconds,
            alone,
        ),
        Some(Evaluated::CutOff(report)) => {
            let seconds = report.wall_seconds;
            format!("over {seconds:.0} s  >{:.1}x", seconds / alone)
        }
        None => "-".to_owned(),
    }
}

fn with_ratio(shown: &str, value: f64, alone: f64) -> String {
    if alone > 0.0 {
        format!("{shown} {:>6}", format!("{:.2}x", value / alone))
    } else {
        shown.to_owned()
    }
}

fn milliseconds(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1_000.0)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use pglanes_testbed::workload::OperationReport;

    use super::*;

    fn operations(per_second: f64, us: u64) -> OperationReport {
        OperationReport {
            count: 10,
            per_second,
            mean_us: us,
            p50_us: us,
            p95_us: us * 2,
            p99_us: us * 3,
            max_us: us * 4,
        }
    }

    fn report(wall_seconds: f64, us: u64, rates: [f64; 3]) -> Report {
        let kinds = ["search", "rehydrate", "compact-scan"];
        let by_kind = kinds.iter().zip(rates);
        Report {
            workload: String::new(),
            wall_seconds,
            database_seconds: 0.0,
            all: operations(0.0, us),
            operations: by_kind
                .map(|(kind, rate)| ((*kind).to_owned(), operations(rate, us)))
                .collect(),
            errors: BTreeMap::new(),
            retries: 0,
            abandoned: 0,
            reconnects: 0,
        }
    }

    /// Figures of an evaluation that takes 10 s alone, and so long in the two contended phases.
    pub(in crate::demo) fn figures(direct: f64, through: f64, kept: f64) -> Figures {
        let measured = |seconds: f64, kept: f64| Measurement {
            evaluation: Some(Evaluated::Finished(report(
                seconds,
                (seconds * 100.0) as u64,
                [0.0; 3],
            ))),
            memory: Some(report(1.0, 1, [80.0 * kept, 12.0 * kept, 4.0 * kept])),
            lanes: None,
        };
        Figures {
            alone: report(10.0, 1_000, [0.0; 3]),
            memory: report(10.0, 1, [80.0, 12.0, 4.0]),
            direct: measured(direct, 1.0),
            through: measured(through, kept),
            amount: Amount {
                rounds: 1,
                time: Duration::from_secs(10),
                limit: Duration::from_secs(100),
            },
        }
    }

    #[test]
    fn every_figure_stands_beside_its_ratio_to_alone() {
        let text = render(&figures(41.0, 13.0, 0.5));
        let cells: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let time = [
            "time", "10.0", "s", "41.0", "s", "4.10x", "13.0", "s", "1.30x",
        ];
        assert_eq!(cells[2], time);
        let p95 = [
            "p95", "2.00", "ms", "8.20", "ms", "4.10x", "2.60", "ms", "1.30x",
        ];
        assert_eq!(cells[4], p95);
        assert_eq!(
            cells[7],
            ["searches", "80.0", "80.0", "1.00x", "40.0", "0.50x"]
        );
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn an_evaluation_that_was_cut_off_is_at_least_so_slow() {
        let mut figures = figures(41.0, 13.0, 0.5);
        figures.direct.evaluation = Some(Evaluated::CutOff(report(100.0, 7_000, [0.0; 3])));
        let text = render(&figures);
        assert!(text.contains("over 100 s  >10.0x"), "{text}");
        assert!(text.contains("7.00 ms  7.00x"), "{text}");
    }
}
