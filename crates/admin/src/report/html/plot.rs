//! A run's course: its latency against its quiet self, what ran beside it, and who was held back when.

use std::fmt::Write as _;

use super::super::findings::{Beside, Run};
use super::super::timeline::Point;
use super::super::words::{lasting, micros};
use super::escaped;

/// Of the drawing, in its own units; it is scaled to the page.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 88.0;
const RIGHT: f64 = 12.0;
/// Heights of the parts.
const LATENCY: f64 = 180.0;
const WORK: f64 = 110.0;
const STRIP: f64 = 18.0;
/// Above each part, for its title.
const TITLE: f64 = 38.0;
/// Lanes that have a colour of their own; the others share the last.
const COLOURS: usize = 6;
/// Letters of a lane's name beside its strip; the table has it whole.
const LETTERS: usize = 12;
/// Latency beyond so many times the usual one is drawn at the upper edge.
const CUT: f64 = 1.5;

/// The other lanes by their work, most first, with the number of their colour.
pub(super) fn ordered(run: &Run) -> impl Iterator<Item = (usize, &Beside)> {
    let mut lanes: Vec<&Beside> = run.beside.iter().collect();
    lanes.sort_by(|one, other| other.slots.total_cmp(&one.slots));
    let places = (0..COLOURS).chain(std::iter::repeat(COLOURS - 1));
    places.zip(lanes)
}

/// From seconds and values to places in the drawing.
struct Scale {
    seconds: f64,
    top: f64,
    height: f64,
    most: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value / self.most).clamp(0.0, 1.0);
        self.top + self.height * (1.0 - share)
    }
}

pub(super) fn course(out: &mut String, run: &Run) {
    if run.timeline.is_empty() {
        return;
    }
    let held: Vec<(usize, &str)> = ordered(run)
        .filter(|(_, other)| other.held_s > 0.0)
        .map(|(place, other)| (place, other.lane.as_str()))
        .collect();
    let locked = run.timeline.iter().any(|point| point.locked > 0.0);
    let strips = held.len() + usize::from(locked);
    let work_top = TITLE + LATENCY + TITLE;
    let strips_top = work_top + WORK + if strips > 0 { TITLE } else { 0.0 };
    let bottom = strips_top + STRIP * strips as f64;
    let seconds = run.seconds.max(0.001);
    let label = format!("Course of the run: {}", run.verdict.sentence);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<figure><div class=\"scroll\" tabindex=\"0\"><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">",
        bottom + 26.0,
        escaped(&label)
    );
    let mut scale = Scale {
        seconds,
        top: TITLE,
        height: LATENCY,
        most: most_latency(run),
    };
    latency(out, run, &scale);
    (scale.top, scale.height) = (work_top, WORK);
    scale.most = most_slots(run);
    work(out, run, &scale);
    (scale.top, scale.height) = (strips_top, STRIP);
    if strips > 0 {
        title(out, strips_top, "held back, and waits for locks");
    }
    for (place, lane) in held {
        let share = |point: &Point| of(&point.held, lane);
        strip(out, run, &scale, lane, &format!("c{place}"), share);
        scale.top += STRIP;
    }
    if locked {
        let share = |point: &Point| (point.locked / point.lasts).min(1.0);
        strip(out, run, &scale, "locks", "lock", share);
    }
    time_axis(out, &scale, bottom);
    hover(out, run, &scale, bottom);
    out.push_str("</svg></div></figure>\n");
}

fn of(all: &[(String, f64)], lane: &str) -> f64 {
    let mut all = all.iter();
    all.find(|(known, _)| known == lane)
        .map_or(0.0, |(_, value)| *value)
}

fn title(out: &mut String, top: f64, text: &str) {
    let _ = write!(
        out,
        "<text class=\"t\" x=\"0\" y=\"{:.1}\">{text}</text>",
        top - 10.0
    );
}

/// Rare peaks do not flatten the rest.
fn most_latency(run: &Run) -> f64 {
    let mut values: Vec<f64> = run
        .timeline
        .iter()
        .filter_map(|point| point.p95_ms)
        .collect();
    values.sort_by(f64::total_cmp);
    let usual = values
        .get(values.len() * 95 / 100)
        .or(values.last())
        .copied();
    let quiet = quiet(run).map_or(0.0, |quiet| quiet * run.allowed);
    let most = values.last().copied().unwrap_or(0.0);
    let shown = (usual.unwrap_or(0.0) * CUT).min(most * 1.05);
    shown.max(quiet * 1.25).max(0.01)
}

fn quiet(run: &Run) -> Option<f64> {
    run.quiet.as_ref().and_then(|quiet| quiet.p95_ms)
}

fn most_slots(run: &Run) -> f64 {
    let points = run.timeline.iter();
    let sums = points.map(|point| point.slots.iter().map(|(_, slots)| slots).sum::<f64>());
    sums.fold(1.0, f64::max) * 1.05
}

fn latency(out: &mut String, run: &Run, scale: &Scale) {
    title(
        out,
        scale.top,
        &format!(
            "{}: 95th percentile and median of a transaction",
            escaped(&run.lane)
        ),
    );
    axis(out, scale, |ms| micros(ms * 1e3));
    if let Some(quiet) = quiet(run) {
        let (y, limit) = (scale.y(quiet), scale.y(quiet * run.allowed));
        let (from, to) = (LEFT, WIDTH - RIGHT);
        let _ = write!(
            out,
            "<rect class=\"room\" x=\"{from}\" y=\"{limit:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <line class=\"quiet\" x1=\"{from}\" y1=\"{y:.1}\" x2=\"{to}\" y2=\"{y:.1}\"/>\
             <text class=\"l\" x=\"{to}\" y=\"{:.1}\" text-anchor=\"end\"><tspan class=\"q\">- - -</tspan> in quiet {}; shaded: \
             what is allowed, {:.2}x</text>",
            to - from,
            y - limit,
            scale.top - 10.0,
            micros(quiet * 1e3),
            run.allowed,
        );
    }
    let p95 = path(run, scale, |point| point.p95_ms);
    let p50 = path(run, scale, |point| point.p50_ms);
    let _ = write!(
        out,
        "<path class=\"p50\" d=\"{p50}\"/><path class=\"p95\" d=\"{p95}\"/>"
    );
}

/// A line through the middles of the points, broken where nothing is known.
fn path(run: &Run, scale: &Scale, value: impl Fn(&Point) -> Option<f64>) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    let mut until: Option<f64> = None;
    for point in &run.timeline {
        // While it did nothing there is nothing to draw, and no record.
        let adjoins = until.is_some_and(|until| point.at - until <= point.lasts * 2.0);
        let Some(value) = value(point) else {
            pen_down = false;
            continue;
        };
        let command = if pen_down && adjoins { 'L' } else { 'M' };
        let (x, y) = (scale.x(point.at + point.lasts / 2.0), scale.y(value));
        let _ = write!(path, "{command}{x:.1} {y:.1}");
        if command == 'M' {
            // A lone point is a dot.
            path.push_str("h0.01");
        }
        pen_down = true;
        until = Some(point.at + point.lasts);
    }
    path
}

fn work(out: &mut String, run: &Run, scale: &Scale) {
    title(out, scale.top, "beside it: slots at work, by lane");
    axis(out, scale, |slots| format!("{slots:.1}"));
    for point in &run.timeline {
        let (from, to) = (scale.x(point.at), scale.x(point.at + point.lasts));
        let mut below = 0.0;
        for (place, other) in ordered(run) {
            let slots = of(&point.slots, &other.lane);
            if slots <= 0.0 {
                continue;
            }
            let (top, bottom) = (scale.y(below + slots), scale.y(below));
            let _ = write!(
                out,
                "<rect class=\"c{place}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                (to - from).max(0.6),
                bottom - top
            );
            below += slots;
        }
    }
    let mut x = WIDTH - RIGHT;
    let lanes: Vec<(usize, &Beside)> = ordered(run).take(COLOURS).collect();
    for (place, other) in lanes.into_iter().rev() {
        x -= other.lane.chars().count() as f64 * 7.0 + 24.0;
        let y = scale.top - 20.0;
        let _ = write!(
            out,
            "<rect class=\"c{place}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"11\" height=\"11\" rx=\"2\"/>\
             <text class=\"l\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 15.0,
            y + 10.0,
            escaped(&other.lane)
        );
    }
}

/// The ground line, the top, and the middle, with their values.
fn axis(out: &mut String, scale: &Scale, words: impl Fn(f64) -> String) {
    for share in [0.0, 0.5, 1.0] {
        let value = scale.most / 1.05 * share;
        let y = scale.y(value);
        let label = if share == 0.0 {
            "0".to_owned()
        } else {
            words(value)
        };
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"l\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
}

fn strip(
    out: &mut String,
    run: &Run,
    scale: &Scale,
    name: &str,
    class: &str,
    share: impl Fn(&Point) -> f64,
) {
    let (top, height) = (scale.top + 2.0, STRIP - 5.0);
    let short: String = match name.chars().count() {
        0..=LETTERS => name.to_owned(),
        _ => name.chars().take(LETTERS - 1).chain(['\u{2026}']).collect(),
    };
    let _ = write!(
        out,
        "<rect class=\"ground\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>\
         <text class=\"l\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        WIDTH - LEFT - RIGHT,
        LEFT - 6.0,
        top + height - 2.0,
        escaped(&short)
    );
    for point in &run.timeline {
        let share = share(point);
        if share <= 0.0 {
            continue;
        }
        let from = scale.x(point.at);
        let width = (scale.x(point.at + point.lasts) - from).max(0.6);
        let _ = write!(
            out,
            "<rect class=\"{class}\" fill-opacity=\"{:.2}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>",
            0.25 + 0.75 * share
        );
    }
}

fn time_axis(out: &mut String, scale: &Scale, bottom: f64) {
    for step in 0..=6 {
        let seconds = scale.seconds * f64::from(step) / 6.0;
        let anchor = match step {
            0 => "start",
            6 => "end",
            _ => "middle",
        };
        let _ = write!(
            out,
            "<text class=\"l\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            scale.x(seconds),
            bottom + 18.0,
            lasting(std::time::Duration::from_secs_f64(seconds))
        );
    }
}

/// What a pointer is told of a point.
fn hover(out: &mut String, run: &Run, scale: &Scale, bottom: f64) {
    for point in &run.timeline {
        let from = scale.x(point.at);
        let width = (scale.x(point.at + point.lasts) - from).max(1.0);
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| micros(ms * 1e3));
        let mut told = format!(
            "at {}: {} transactions, p95 {}, median {}, slot wait p95 {}",
            lasting(std::time::Duration::from_secs_f64(point.at)),
            point.transactions,
            ms(point.p95_ms),
            ms(point.p50_ms),
            ms(point.wait_p95_ms)
        );
        for (lane, slots) in &point.slots {
            let _ = write!(told, "; {lane}: {slots:.1} slots");
            let held = of(&point.held, lane);
            if held > 0.0 {
                let _ = write!(told, ", held back {:.0} %", held * 100.0);
            }
        }
        let _ = write!(
            out,
            "<rect class=\"h\" x=\"{from:.1}\" y=\"{TITLE}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            bottom - TITLE,
            escaped(&told)
        );
    }
}
