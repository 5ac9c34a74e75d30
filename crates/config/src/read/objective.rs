//! A lane's objective.

use std::time::Duration;

use super::MAXIMUM_LANES;
use super::lanes::MODES;
use crate::diagnostic::quoted;
use crate::objective::Objective;
use crate::reader::{Reading, Section};
use crate::suggest::nearest;
use crate::units;

/// The longest time that others stay held back after the last transaction.
const LONGEST_LINGER: Duration = Duration::from_secs(3600);
/// A moment of quiet lasts this long at least and at most.
const PROBE: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(5)];

/// The objective of a lane, where it has one. `known` are the names of all lanes.
pub(super) fn objective(
    reading: &mut Reading<'_>,
    lane: &Section<'_>,
    known: &[&str],
) -> Option<Objective> {
    let section = reading.subsection(lane, "objective")?;
    let before = reading.problems.len();
    let defaults = Objective::default();
    let [p50, p95, p99] = ["p50", "p95", "p99"].map(|key| times(reading, &section, key));
    let linger = reading.duration(&section, "linger");
    if linger.is_some_and(|linger| linger > LONGEST_LINGER) {
        let place = reading.place_of(&format!("{}.linger", section.path));
        reading.problem(place, "`linger` of an objective is at most 1h");
    }
    let (probe_every, probe_length) = probe(reading, &section, &defaults);
    let objective = Objective {
        p50,
        p95,
        p99,
        linger: linger.unwrap_or(defaults.linger),
        probe_every,
        probe_length,
        exempt: exempt(reading, &section, known),
        mode: reading
            .choice(&section, "mode", &MODES)
            .unwrap_or(defaults.mode),
    };
    if objective.targets().next().is_some() {
        return Some(objective);
    }
    if reading.problems.len() == before {
        let message = format!("{} has no target: `p95: 1.2x`", section.title);
        reading.problem(section.place, message);
    }
    None
}

fn times(reading: &mut Reading<'_>, section: &Section<'_>, key: &str) -> Option<u32> {
    reading.parsed(section, key, |text| {
        let thousandths = units::ratio_thousandths(text)?;
        if (1001..=100_000).contains(&thousandths) {
            Ok(thousandths)
        } else {
            Err("it is above `1x`, which is the quiet baseline, and at most `100x`".to_owned())
        }
    })
}

fn probe(
    reading: &mut Reading<'_>,
    objective: &Section<'_>,
    defaults: &Objective,
) -> (Option<Duration>, Duration) {
    let Some(section) = reading.subsection(objective, "probe") else {
        return (defaults.probe_every, defaults.probe_length);
    };
    let every = reading.duration_or_off(&section, "every");
    let every = every.unwrap_or(defaults.probe_every);
    let length = reading.duration(&section, "length");
    let length = length.unwrap_or(defaults.probe_length);
    if !(PROBE[0]..=PROBE[1]).contains(&length) {
        let place = reading.place_of(&format!("{}.length", section.path));
        reading.problem(place, "`length` of `probe` is from 10ms to 5s");
    }
    if every.is_some_and(|every| every < length * 10) {
        let place = reading.place_of(&format!("{}.every", section.path));
        reading.problem(
            place,
            "`every` of `probe` is at least ten times its `length`, or `off`: others stand still meanwhile",
        );
    }
    (every, length)
}

fn exempt(reading: &mut Reading<'_>, section: &Section<'_>, known: &[&str]) -> Vec<String> {
    let nodes = reading
        .list(section, "exempt", MAXIMUM_LANES)
        .unwrap_or_default();
    let mut exempt = Vec::new();
    for node in nodes {
        let title = format!("`exempt` in {}", section.title);
        let Some(word) = reading.word_of(node, &title) else {
            continue;
        };
        if known.contains(&word.text) || word.text == crate::lane::DEFAULT_LANE {
            exempt.push(word.text.to_owned());
            continue;
        }
        let names = known.iter().copied().chain([crate::lane::DEFAULT_LANE]);
        let near = nearest(word.text, names);
        let near = near.map_or_else(String::new, |near| format!("; is it `{near}`?"));
        let message = format!("there is no lane {}{near}", quoted(word.text));
        reading.problem(node.place, message);
    }
    exempt
}
