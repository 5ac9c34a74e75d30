//! What a way costs the evaluation against what it leaves the memory system: a short table, and a picture.

use std::fmt::Write as _;

use pglanes::demo::phases::Work;

use super::report::{Report, Summary};
use super::statistics::Spread;

/// The picture's size, and where its axes are, in pixels.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 60.0;

/// The rows that can be compared: both workloads at once.
fn rows(report: &Report) -> impl Iterator<Item = &Summary> {
    report.summaries.iter().filter(|row| row.work == Work::Both)
}

/// For people, and for Markdown: one line a way, everything as a ratio to alone, with its 95 % interval.
pub fn table(report: &Report) -> String {
    let mut text = String::from(
        "| | evaluation: time | p50 | p95 | p99 | memory system: searches | rehydrations | compaction |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows(report) {
        let cell = |name: &str| {
            row.ratios.get(name).map_or_else(
                || "-".to_owned(),
                |ratio| format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.low, ratio.high),
            )
        };
        let at_least = if row.cut_off > 0 { ">" } else { "" };
        let cells = [
            format!("{at_least}{}", cell("time s")),
            cell("p50 ms"),
            cell("p95 ms"),
            cell("p99 ms"),
            cell("searches/s"),
            cell("rehydrations/s"),
            cell("compactions/s"),
        ];
        // Writing into a string does not fail.
        let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
    }
    text
}

/// What the memory system keeps of what it does alone: the lesser of its searches' and its rehydrations' share, as its users
/// wait for both, and more of one does not make up for the other.
fn kept(row: &Summary) -> Option<f64> {
    let share = |name| row.ratios.get(name).map(|ratio: &Spread| ratio.median);
    Some(share("searches/s")?.min(share("rehydrations/s")?))
}

/// The evaluation's time, as a ratio to alone, from right (slow) to left, and the memory system's share upwards: the best is at
/// the top left. Colours follow the reader's dark or light.
pub fn svg(report: &Report) -> String {
    let points: Vec<(&Summary, f64, f64)> = rows(report)
        .filter_map(|row| Some((row, row.ratios.get("time s")?.median, kept(row)?)))
        .collect();
    let most = points.iter().fold(2.0_f64, |most, point| most.max(point.1));
    let highest = points.iter().fold(1.0_f64, |most, point| most.max(point.2));
    // A logarithmic axis: 1.05 and 1.3 differ as much to whoever waits as 4 and 5.
    let x = |ratio: f64| {
        LEFT + (WIDTH - LEFT - RIGHT) * ratio.max(0.95).log2().max(-0.08) / (most * 1.15).log2()
    };
    let y = |share: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share / (highest * 1.05);
    let mut text = head();
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = y(share);
        let _ = writeln!(
            text,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            share * 100.0
        );
    }
    for ratio in [1.0, 1.1, 1.3, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0] {
        if ratio > most * 1.15 {
            break;
        }
        let at = x(ratio);
        let _ = writeln!(
            text,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{ratio}x</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (row, ratio, share) in points {
        point(&mut text, &mut taken, row, (x(ratio), y(share)));
    }
    text.push_str("</svg>\n");
    text
}

fn head() -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\">\n\
         <title>What each way costs the evaluation, and what it leaves the memory system</title>\n\
         <style>text{{fill:#1f2933}}.tick,.axis{{font-size:12px;fill:#52606d}}.name{{font-size:12px}}\
         .head{{font-size:16px;font-weight:600}}.grid{{stroke:#cbd2d9;stroke-width:1}}.ours{{fill:#0967d2}}\
         .other{{fill:#9aa5b1}}@media (prefers-color-scheme:dark){{text{{fill:#e4e7eb}}.tick,.axis{{fill:#9aa5b1}}\
         .grid{{stroke:#3e4c59}}.ours{{fill:#47a3f3}}.other{{fill:#7b8794}}}}</style>\n\
         <text class=\"head\" x=\"{LEFT}\" y=\"24\">Evaluation slow-down against background throughput kept</text>\n\
         <text class=\"axis\" x=\"{LEFT}\" y=\"42\">the best is at the top left: the evaluation as if alone, the memory \
         system as if alone</text>\n\
         <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">evaluation time, as a ratio to alone</text>\n\
         <text class=\"axis\" transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">searches or \
         rehydrations kept, the lesser</text>\n",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 14.0,
        f64::midpoint(TOP, HEIGHT - BOTTOM),
    )
}

/// A dot with its name beside it, moved down until it covers no other name.
fn point(text: &mut String, taken: &mut Vec<(f64, f64)>, row: &Summary, (x, y): (f64, f64)) {
    let ours = !(row.name.starts_with("PgBouncer") || row.name.starts_with("both, direct"));
    let class = if ours { "ours" } else { "other" };
    let length = row.name.len() as f64 * 6.6;
    let (anchor, place) = if x + length + 12.0 > WIDTH {
        ("end", x - 9.0)
    } else {
        ("start", x + 9.0)
    };
    let begins = if anchor == "end" {
        place - length
    } else {
        place
    };
    let mut line = y + 4.0;
    while taken
        .iter()
        .any(|(x, y)| (y - line).abs() < 13.0 && (x - begins).abs() < 180.0)
    {
        line += 13.0;
    }
    taken.push((begins, line));
    let _ = writeln!(
        text,
        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>\
         <text class=\"name\" x=\"{place:.1}\" y=\"{line:.1}\" text-anchor=\"{anchor}\">{}</text>",
        row.name.replace('&', "&amp;").replace('<', "&lt;")
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use pglanes::demo::phases::Amount;

    use super::*;

    fn report(rows: &[(&str, f64, f64)]) -> Report {
        let spread = |median: f64| Spread {
            median,
            low: median,
            high: median,
        };
        let summaries = rows.iter().map(|(name, time, kept)| Summary {
            name: (*name).to_owned(),
            work: Work::Both,
            cut_off: 0,
            errors: BTreeMap::new(),
            figures: BTreeMap::new(),
            ratios: BTreeMap::from([
                ("time s", spread(*time)),
                ("searches/s", spread(*kept)),
                ("rehydrations/s", spread(*kept)),
            ]),
        });
        Report {
            version: String::new(),
            rows: 1,
            seed: 1,
            amount: Amount {
                rounds: 1,
                time: Duration::from_secs(1),
                limit: Duration::from_secs(6),
            },
            summaries: summaries.collect(),
            arms: Vec::new(),
        }
    }

    #[test]
    fn every_row_is_a_line_of_the_table_and_a_dot_of_the_picture() {
        let report = report(&[("both, direct", 4.0, 1.1), ("a < b", 1.05, 0.8)]);
        let table = table(&report);
        assert!(table.contains("| a < b | 1.05 (1.05-1.05) |"), "{table}");
        let svg = svg(&report);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let report = report(&[("first", 1.1, 0.5), ("second", 1.1, 0.5)]);
        let svg = svg(&report);
        let lines: Vec<&str> = svg
            .lines()
            .filter_map(|line| line.split_once("class=\"name\"")?.1.split("y=\"").nth(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_ne!(lines[0], lines[1]);
    }
}
