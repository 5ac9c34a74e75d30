//! The rules of a lane: what becomes of transactions that go too far.

use std::time::Duration;

use super::throttles::name;
use crate::diagnostic::quoted;
use crate::reader::{Reading, Section};
use crate::rule::{Rule, Then, When};
use crate::suggest::nearest;
use crate::units;
use crate::yaml::Value;

/// The most rules of one lane, which is what the scheduler takes.
const MAXIMUM_RULES: usize = pglanes_lanes::MAX_RULES;

const PREDICATES: [&str; 5] = ["running", "queued", "rows", "bytes", "idle_in_transaction"];

/// How long borrowed slots may be kept from a lane that waits below its right; `None` where they are not given back.
pub(super) fn preemptible(reading: &mut Reading<'_>, lane: &Section<'_>) -> Option<Duration> {
    let section = reading.subsection(lane, "preemptible")?;
    let before = reading.problems.len();
    let grace = reading.duration(&section, "grace");
    if grace.is_none() && reading.problems.len() == before {
        let message = format!("{} lacks `grace`, such as `2s`", section.title);
        reading.problem(section.place, message);
    }
    grace
}

pub(super) fn rules(reading: &mut Reading<'_>, lane: &Section<'_>, known: &[&str]) -> Vec<Rule> {
    let nodes = reading
        .list(lane, "rules", MAXIMUM_RULES)
        .unwrap_or_default();
    let mut rules: Vec<Rule> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let title = format!("rule {} of {}", index + 1, lane.title);
        let Some(section) = reading.item(lane, "rules", index, node, title) else {
            continue;
        };
        let name = name(reading, &section).unwrap_or_else(|| format!("rule {}", index + 1));
        let when = when(reading, &section);
        let then = then(reading, &section, known);
        let (Some(when), Some(then)) = (when, then) else {
            continue;
        };
        fits(reading, &section, when, &then);
        if rules.iter().any(|other| other.name == name) {
            let place = reading.place_of(&format!("{}.name", section.path));
            let message = format!(
                "the name {} belongs to another rule of the lane",
                quoted(&name)
            );
            reading.problem(place, message);
        }
        rules.push(Rule { name, when, then });
    }
    rules
}

fn when(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<When> {
    let before = reading.problems.len();
    let section = reading.subsection(rule, "when");
    let Some(section) = section else {
        if reading.problems.len() == before {
            let message = format!("{} lacks `when`, such as `{{ running: 30s }}`", rule.title);
            reading.problem(rule.place, message);
        }
        return None;
    };
    let running = reading.duration(&section, "running").map(When::Running);
    let queued = reading.duration(&section, "queued").map(When::Queued);
    let rows = reading.parsed(&section, "rows", |text| {
        let number = text.replace('_', "").parse::<u64>();
        number.map_err(|_| "a whole number is right".to_owned())
    });
    let bytes = reading.parsed(&section, "bytes", units::size);
    let blocking = reading.truth(&section, "blocking").unwrap_or(false);
    let idle = reading.duration(&section, "idle_in_transaction");
    let idle = idle.map(|after| When::Idle { after, blocking });
    let written = PREDICATES.iter().filter(|key| section.has(key)).count();
    if written != 1 {
        let message = format!("{} has one of `{}`", section.title, PREDICATES.join("`, `"));
        reading.problem(section.place, message);
        return None;
    }
    if section.has("blocking") && !section.has("idle_in_transaction") {
        let place = reading.place_of(&format!("{}.blocking", section.path));
        reading.problem(place, "`blocking` goes beside `idle_in_transaction`");
    }
    let counted = rows.map(When::Rows).or(bytes.map(When::Bytes));
    running.or(queued).or(counted).or(idle)
}

fn then(reading: &mut Reading<'_>, rule: &Section<'_>, known: &[&str]) -> Option<Then> {
    const WORDS: [(&str, u8); 4] = [("log", 0), ("notice", 1), ("cancel", 2), ("reject", 3)];
    let Some(node) = reading.value(rule, "then") else {
        let message = format!(
            "{} lacks `then`: log, notice, cancel, reject or `{{ move: LANE }}`",
            rule.title
        );
        reading.problem(rule.place, message);
        return None;
    };
    if let Value::Word(_) = node.value {
        return reading.choice(rule, "then", &WORDS).map(|word| match word {
            0 => Then::Log,
            1 => Then::Notice,
            2 => Then::Cancel,
            _ => Then::Reject,
        });
    }
    let section = reading.subsection(rule, "then")?;
    let Some(lane) = reading.word(&section, "move") else {
        let message = format!("{} is a word, or `{{ move: LANE }}`", section.title);
        reading.problem(section.place, message);
        return None;
    };
    if lane.text != crate::lane::DEFAULT_LANE && !known.contains(&lane.text) {
        let message = format!(
            "`move` in {} names the lane {}, and there is no such lane",
            section.title,
            quoted(lane.text)
        );
        let near = nearest(lane.text, known.iter().copied());
        reading.problem_near(lane.place, message, near);
    }
    Some(Then::Move(lane.text.to_owned()))
}

/// One that waits runs nothing to cancel, and one that runs has its slot.
fn fits(reading: &mut Reading<'_>, rule: &Section<'_>, when: When, then: &Then) {
    let waits = matches!(when, When::Queued(_));
    let message = match then {
        Then::Cancel if waits => "what waits is rejected: `then: reject`",
        Then::Reject if !waits => {
            "only what waits is rejected; what runs is cancelled: `then: cancel`"
        }
        _ => return,
    };
    let place = reading.place_of(&format!("{}.then", rule.path));
    reading.problem(place, format!("{}: {message}", rule.title));
}
