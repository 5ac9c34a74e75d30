//! The trade-off as a picture: recall upwards, the median to the right on a logarithmic axis. The best is at the top left.

use std::fmt::Write as _;

use super::recommend::front;
use super::{Measured, Storage};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;

/// The picture. Colours follow the reader's dark or light.
pub fn svg(measured: &Measured) -> String {
    let points = || measured.searched.iter().filter(|one| !one.filtered);
    let fold = |of: fn(f64, f64) -> f64, start: f64| {
        points().map(|one| one.p50_ms.max(0.001)).fold(start, of)
    };
    let (least, most) = (fold(f64::min, f64::MAX) * 0.9, fold(f64::max, 0.002) * 1.1);
    let lowest = points().map(|one| one.recall).fold(0.9, f64::min) - 0.01;
    let x = |ms: f64| {
        LEFT + (WIDTH - LEFT - RIGHT) * (ms.max(0.001) / least).ln() / (most / least).ln().max(0.01)
    };
    let y =
        |recall: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (recall - lowest) / (1.0 - lowest));
    let mut text = head(measured);
    for step in 0..=4 {
        // Writing into a string does not fail.
        let recall = lowest + (1.0 - lowest) * f64::from(step) / 4.0;
        let ms = least * (most / least).powf(f64::from(step) / 4.0);
        let (up, along) = (y(recall), x(ms));
        let _ = writeln!(
            text,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{up:.1}\" x2=\"{:.1}\" y2=\"{up:.1}\"/><text class=\"tick\" x=\"{:.1}\" \
             y=\"{:.1}\" text-anchor=\"end\">{recall:.3}</text><text class=\"tick\" x=\"{along:.1}\" y=\"{:.1}\" \
             text-anchor=\"{}\">{ms:.2} ms</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            up + 4.0,
            HEIGHT - BOTTOM + 18.0,
            // The last one would leave the picture.
            if step == 4 { "end" } else { "middle" }
        );
    }
    let line: Vec<String> = front(&measured.searched)
        .iter()
        .map(|one| format!("{:.1},{:.1}", x(one.p50_ms), y(one.recall)))
        .collect();
    let _ = writeln!(
        text,
        "<polyline class=\"front\" points=\"{}\"/>",
        line.join(" ")
    );
    for one in points() {
        let index = one.index;
        let _ = writeln!(
            text,
            "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}, m {}, ef_construction {}, ef_search {}: recall \
             {:.3}, {:.2} ms</title></circle>",
            class(index.storage),
            x(one.p50_ms),
            y(one.recall),
            index.storage.name(),
            index.m,
            index.ef_construction,
            one.ef_search,
            one.recall,
            one.p50_ms
        );
    }
    text.push_str("</svg>\n");
    text
}

fn class(storage: Storage) -> &'static str {
    match storage {
        Storage::Vector => "whole",
        Storage::Halfvec => "half",
        Storage::Binary => "bits",
    }
}

fn head(measured: &Measured) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"system-ui, \
         sans-serif\">\n<title>Recall against the median of a search</title>\n\
         <style>text{{fill:#1f2933}}.tick{{font-size:12px;fill:#52606d}}.head{{font-size:16px;font-weight:600}}\
         .grid{{stroke:#cbd2d9}}.front{{fill:none;stroke:#7b8794;stroke-dasharray:4 3}}.whole{{fill:#0967d2}}\
         .half{{fill:#de911d}}.bits{{fill:#8719e0}}@media (prefers-color-scheme:dark){{text{{fill:#e4e7eb}}\
         .tick{{fill:#9aa5b1}}.grid{{stroke:#3e4c59}}.whole{{fill:#47a3f3}}.half{{fill:#f0b429}}.bits{{fill:#b990ff}}}}</style>\n\
         <text class=\"head\" x=\"{LEFT}\" y=\"24\">Recall@{} against the median of a search, {} rows of {} dimensions</text>\n",
        measured.k, measured.rows, measured.dimensions
    );
    let mut along = LEFT + 5.0;
    for storage in [Storage::Vector, Storage::Halfvec, Storage::Binary] {
        let _ = writeln!(
            text,
            "<circle class=\"{}\" cx=\"{along}\" cy=\"44\" r=\"4\"/><text class=\"tick\" x=\"{}\" y=\"48\">{}</text>",
            class(storage),
            along + 9.0,
            storage.name()
        );
        along += 130.0;
    }
    text
}
