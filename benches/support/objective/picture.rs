//! A trace as a picture: the ratio above, the limit and what ran below, over time.

use std::fmt::Write as _;

use pglanes_lanes::objective::Phase;

use super::trace::{Moment, Trace};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 50.0;
const GAP: f64 = 40.0;

/// Draws it as SVG, with a line at the target.
pub fn draw(title: &str, target: f64, trace: &Trace) -> String {
    let moments = &trace.0;
    let end = moments.last().map_or(1.0, |moment| moment.at.max(0.1));
    let most = |values: &dyn Fn(&Moment) -> Option<f64>, least: f64| {
        moments.iter().filter_map(values).fold(least, f64::max)
    };
    let top_ratio = most(&|moment| moment.ratio, target * 1.5).min(5.0);
    let top_slots = most(&|moment| moment.limit, 1.0)
        .min(20.0)
        .max(most(&|moment| Some(moment.running), 1.0));
    let x = |at: f64| LEFT + at / end * WIDTH;
    let upper = |ratio: f64| GAP + HEIGHT * (1.0 - ratio.min(top_ratio) / top_ratio);
    let base = GAP * 2.0 + HEIGHT;
    let lower = |slots: f64| base + HEIGHT * (1.0 - slots.min(top_slots) / top_slots);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n",
        LEFT * 2.0 + WIDTH,
        GAP * 3.0 + HEIGHT * 2.0
    );
    probes(&mut svg, moments, &x, base + HEIGHT);
    line(&mut svg, "#c33", moments, &|m| {
        Some((x(m.at), upper(m.ratio?)))
    });
    line(&mut svg, "#bbb", moments, &|m| {
        Some((x(m.at), lower(m.running)))
    });
    line(&mut svg, "#36c", moments, &|m| {
        Some((x(m.at), lower(m.limit?)))
    });
    rule(&mut svg, upper(target), &format!("{target}x"), "4 3");
    rule(&mut svg, upper(1.0), "1x", "1 3");
    rule(&mut svg, lower(0.0), "0", "none");
    rule(
        &mut svg,
        lower(top_slots.floor()),
        &format!("{}", top_slots.floor()),
        "1 3",
    );
    let right = LEFT + WIDTH;
    // Writing to a string does not fail.
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"36\" fill=\"#c33\">latency relative to quiet</text>\n\
         <text x=\"{LEFT}\" y=\"{}\" fill=\"#36c\">slots of the others: limit</text>\n\
         <text x=\"{}\" y=\"{}\" fill=\"#999\">running</text>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{end:.0} s; grey bands: made quiet to measure</text>\n</svg>\n",
        base - 6.0,
        LEFT + 160.0,
        base - 6.0,
        base + HEIGHT + 18.0
    );
    svg
}

type Place<'p> = dyn Fn(&Moment) -> Option<(f64, f64)> + 'p;

/// A line through the moments that have a place, broken at those that have none.
fn line(svg: &mut String, colour: &str, moments: &[Moment], place: &Place<'_>) {
    let mut path = String::new();
    let mut pen = 'M';
    for moment in moments {
        match place(moment) {
            Some((x, y)) => {
                let _ = write!(path, "{pen}{x:.1} {y:.1} ");
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\"/>"
    );
}

fn rule(svg: &mut String, y: f64, label: &str, dashes: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#666\" stroke-dasharray=\"{dashes}\"/>\
         <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
        LEFT + WIDTH,
        LEFT - 6.0,
        y + 4.0
    );
}

fn probes(svg: &mut String, moments: &[Moment], x: &dyn Fn(f64) -> f64, bottom: f64) {
    for pair in moments.windows(2) {
        if pair[0].phase == Phase::Probing {
            let (from, to) = (x(pair[0].at), x(pair[1].at));
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{GAP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#eee\"/>",
                to - from,
                bottom - GAP
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_path_for_each_line() {
        let moment = |at: f64| Moment {
            at,
            limit: (at > 1.0).then_some(2.0),
            ratio: Some(1.1),
            phase: Phase::Keeping,
            running: 1.0,
        };
        let svg = draw(
            "a step",
            1.2,
            &Trace((0..50).map(|n| moment(f64::from(n) / 10.0)).collect()),
        );
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
