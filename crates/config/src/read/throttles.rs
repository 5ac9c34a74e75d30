//! Throttles: while one lane is active, another yields. That the lanes exist is checked in `validate`.

use std::time::Duration;

use super::MAXIMUM_THROTTLES;
use super::lanes::{CPU, MODES};
use crate::diagnostic::quoted;
use crate::lane::{Activity, Cpu, Keeps, Mode, Running, Throttle};
use crate::reader::{Reading, Section};
use crate::units;
use crate::yaml::Value;

/// The longest name of a throttle, in bytes: it is a label of metrics.
const MAXIMUM_NAME: usize = 100;

/// The file's throttles; `None` where it has no `throttles`.
pub(super) fn throttles(reading: &mut Reading<'_>, root: &Section<'_>) -> Option<Vec<Throttle>> {
    let nodes = reading.list(root, "throttles", MAXIMUM_THROTTLES)?;
    let mut throttles: Vec<Throttle> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let title = format!("throttle {}", index + 1);
        let Some(section) = reading.item(root, "throttles", index, node, title) else {
            continue;
        };
        let Some(throttle) = throttle(reading, &section) else {
            continue;
        };
        if throttles.iter().any(|other| other.name == throttle.name) {
            let place = reading.place_of(&format!("{}.name", section.path));
            reading.problem(
                place,
                format!(
                    "the name {} belongs to another throttle",
                    quoted(&throttle.name)
                ),
            );
        }
        throttles.push(throttle);
    }
    Some(throttles)
}

/// The `name` of a throttle or a rule.
pub(super) fn name(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<String> {
    reading.parsed(section, "name", |text| {
        let holds =
            !text.is_empty() && text.len() <= MAXIMUM_NAME && !text.chars().any(char::is_control);
        if holds {
            Ok(text.to_owned())
        } else {
            Err(format!(
                "a name is one line of at most {MAXIMUM_NAME} bytes"
            ))
        }
    })
}

fn throttle(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Throttle> {
    let name = name(reading, section);
    let lane = required_lane(reading, section);
    let Condition {
        watched,
        activity,
        linger,
        direct,
    } = condition(reading, section);
    let cpu = reading.choice(section, "cpu", &CPU).unwrap_or(Cpu::Normal);
    let by_default = match cpu {
        Cpu::Normal => Keeps::Slots(0),
        Cpu::Low | Cpu::Background => Keeps::All,
    };
    let keeps = reading
        .parsed(section, "slots", keeps)
        .unwrap_or(by_default);
    let running = running(reading, section);
    let mode = reading
        .choice(section, "mode", &MODES)
        .unwrap_or(Mode::Enforce);
    let (lane, watched) = (lane?, watched?);
    let name = name.unwrap_or_else(|| format!("{lane} yields to {watched}"));
    Some(Throttle {
        name,
        watched,
        activity,
        linger,
        lane,
        keeps,
        running,
        cpu,
        direct,
        mode,
    })
}

fn required_lane(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<String> {
    let before = reading.problems.len();
    let word = reading.word(section, "lane");
    if word.is_none() && reading.problems.len() == before {
        reading.problem(
            section.place,
            format!("{} lacks `lane`: the name of a lane", section.title),
        );
    }
    word.map(|word| word.text.to_owned())
}

/// What stands under `while`.
struct Condition {
    watched: Option<String>,
    activity: Activity,
    linger: Duration,
    direct: bool,
}

fn condition(reading: &mut Reading<'_>, throttle: &Section<'_>) -> Condition {
    let before = reading.problems.len();
    let Some(section) = reading.subsection(throttle, "while") else {
        if reading.problems.len() == before {
            let message = format!(
                "{} lacks `while`: `{{ lane: evaluation, is: busy }}`",
                throttle.title
            );
            reading.problem(throttle.place, message);
        }
        return Condition {
            watched: None,
            activity: Activity::Busy,
            linger: Duration::ZERO,
            direct: false,
        };
    };
    let watched = required_lane(reading, &section);
    let activities = [
        ("busy", Activity::Busy),
        ("connected", Activity::Connected),
        ("leased", Activity::Leased),
    ];
    let activity = reading
        .choice(&section, "is", &activities)
        .unwrap_or(Activity::Busy);
    let linger = reading
        .duration(&section, "linger")
        .unwrap_or(Duration::ZERO);
    let direct = reading.truth(&section, "direct").unwrap_or(false);
    if direct && activity == Activity::Leased {
        let place = reading.place_of(&format!("{}.direct", section.path));
        let message = "`direct` does nothing beside `is: leased`: a lease is taken, not seen";
        reading.warning(place, message);
    }
    Condition {
        watched,
        activity,
        linger,
        direct,
    }
}

fn keeps(text: &str) -> Result<Keeps, String> {
    if text.ends_with('%') {
        return match units::percent(text)? {
            0 => Ok(Keeps::Slots(0)),
            100 => Err(
                "100% yields nothing; leave the throttle out or set its mode to `off`".to_owned(),
            ),
            share => Ok(Keeps::Share(share)),
        };
    }
    let number = text.parse::<u32>().ok().filter(|number| *number <= 10_000);
    number.map(Keeps::Slots).ok_or_else(|| {
        "it is `0`, a number of slots, or a share of the time such as `25%`".to_owned()
    })
}

fn running(reading: &mut Reading<'_>, throttle: &Section<'_>) -> Running {
    let Some(node) = reading.value(throttle, "running") else {
        return Running::Finish;
    };
    if let Value::Word(_) = node.value {
        return reading
            .choice(throttle, "running", &[("finish", Running::Finish)])
            .unwrap_or(Running::Finish);
    }
    let Some(section) = reading.subsection(throttle, "running") else {
        return Running::Finish;
    };
    match reading.duration(&section, "cancel_after") {
        Some(after) => Running::CancelAfter(after),
        None => {
            if section.entries().is_empty() {
                let message = format!("{} is `finish` or `{{ cancel_after: 5s }}`", section.title);
                reading.problem(section.place, message);
            }
            Running::Finish
        }
    }
}
