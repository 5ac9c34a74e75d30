//! The lanes: what belongs in each, and what it may take.

use pglanes_lanes::QueueOrder;
use pglanes_lanes::classify::StatementKind;

use super::{MAXIMUM_LANES, MAXIMUM_RULES, matching};
use crate::diagnostic::quoted;
use crate::lane::{Cpu, DEFAULT_LANE, Io, Lane, Listen, MatchCondition, MatchRule, Mode, Pooling};
use crate::reader::{Reading, Section};
use crate::settings;
use crate::suggest::nearest;
use crate::yaml::Value;

/// The longest name of a lane: it is a label of metrics and a part of messages.
const MAXIMUM_LANE_NAME: usize = 63;
/// The longest glob, in bytes.
const MAXIMUM_GLOB: usize = 256;
/// The most kinds of statement of one rule.
const MAXIMUM_KINDS: usize = 64;

pub(super) const MODES: [(&str, Mode); 3] = [
    ("enforce", Mode::Enforce),
    ("observe", Mode::Observe),
    ("off", Mode::Off),
];

pub(super) const CPU: [(&str, Cpu); 3] = [
    ("normal", Cpu::Normal),
    ("low", Cpu::Low),
    ("background", Cpu::Background),
];

const ORDERS: [(&str, QueueOrder); 2] = [
    ("arrival", QueueOrder::Arrival),
    ("service", QueueOrder::Service),
];

const IO: [(&str, Io); 3] = [
    ("normal", Io::Normal),
    ("low", Io::Low),
    ("background", Io::Background),
];

/// The file's lanes in their order, `default` last; `None` where the file has no `lanes`.
pub(super) fn lanes(
    reading: &mut Reading<'_>,
    root: &Section<'_>,
    slots: u32,
) -> Option<Vec<Lane>> {
    let names = reading.subnames(root, "lanes")?;
    let known: Vec<&str> = names
        .entries()
        .iter()
        .map(|(key, _)| key.name.as_str())
        .collect();
    let mut lanes = Vec::new();
    let mut default = Lane::with_defaults(DEFAULT_LANE, slots);
    for entry in names.entries() {
        let (key, _) = entry;
        if lanes.len() == MAXIMUM_LANES {
            reading.problem(
                key.place,
                format!("there are more than {MAXIMUM_LANES} lanes"),
            );
            break;
        }
        if !is_lane_name(&key.name) {
            let message = format!(
                "the lane's name {} is not right: a letter, then letters, digits, `_` or `-`, at most {MAXIMUM_LANE_NAME}",
                quoted(&key.name)
            );
            reading.problem(key.place, message);
            continue;
        }
        let Some(section) = reading.entry(&names, entry, "lane") else {
            continue;
        };
        let lane = lane(reading, &section, &key.name, slots, &known);
        if lane.name == DEFAULT_LANE {
            default = lane;
        } else {
            lanes.push(lane);
        }
    }
    lanes.push(default);
    Some(lanes)
}

fn is_lane_name(name: &str) -> bool {
    name.len() <= MAXIMUM_LANE_NAME
        && name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
}

fn lane(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    name: &str,
    slots: u32,
    known: &[&str],
) -> Lane {
    let mut lane = Lane::with_defaults(name, slots);
    lane.rules = rules(reading, section, name, known);
    lane.chosen_by = matching::chosen_by(reading, section);
    if let Some(section) = reading.subsection(section, "slots") {
        lane.minimum = reading.count(&section, "min", 0..=10_000).unwrap_or(0);
        lane.maximum = reading.count(&section, "max", 1..=10_000).unwrap_or(slots);
        lane.caps.per_user = reading.count(&section, "per_user", 1..=10_000);
        lane.caps.per_application = reading.count(&section, "per_application", 1..=10_000);
    }
    let pooling = [
        ("transaction", Pooling::Transaction),
        ("session", Pooling::Session),
    ];
    lane.pooling = reading
        .choice(section, "pooling", &pooling)
        .unwrap_or(lane.pooling);
    lane.lazy_begin = reading.truth(section, "lazy_begin").unwrap_or(false);
    let listen = [("pin", Listen::Pin), ("shared", Listen::Shared)];
    lane.listen = reading
        .choice(section, "listen", &listen)
        .unwrap_or(lane.listen);
    lane.reuse_plans = reading.truth(section, "reuse_plans").unwrap_or(false);
    let priority = reading.number(section, "priority", -1000..=1000);
    lane.priority = priority
        .and_then(|number| i32::try_from(number).ok())
        .unwrap_or(lane.priority);
    lane.weight = reading
        .count(section, "weight", 1..=1000)
        .unwrap_or(lane.weight);
    if let Some(queue) = reading.subsection(section, "queue") {
        let length = reading.count(&queue, "length", 0..=100_000);
        lane.queue_length = length.unwrap_or(lane.queue_length);
        let timeout = super::server::positive_duration(reading, &queue, "timeout");
        lane.queue_timeout = timeout.unwrap_or(lane.queue_timeout);
        lane.queue_notice = reading.duration_or_off(&queue, "notice").flatten();
        let order = reading.choice(&queue, "order", &ORDERS);
        lane.queue_order = order.unwrap_or(lane.queue_order);
    }
    lane.settings = settings::settings(reading, section);
    lane.cpu = reading.choice(section, "cpu", &CPU).unwrap_or(lane.cpu);
    lane.io = reading.choice(section, "io", &IO).unwrap_or(lane.io);
    lane.mode = reading.choice(section, "mode", &MODES).unwrap_or(lane.mode);
    let idle = reading.duration_or_off(section, "idle_timeout");
    lane.idle_timeout = idle.unwrap_or(lane.idle_timeout);
    let lifetime = reading.duration_or_off(section, "server_lifetime");
    lane.server_lifetime = lifetime.unwrap_or(lane.server_lifetime);
    lane.objective = super::objective::objective(reading, section, known);
    lane.limits = super::rules::rules(reading, section, known);
    lane.preemptible = super::rules::preemptible(reading, section);
    lane
}

fn rules(
    reading: &mut Reading<'_>,
    lane: &Section<'_>,
    name: &str,
    known: &[&str],
) -> Vec<MatchRule> {
    let nodes = reading
        .list(lane, "match", MAXIMUM_RULES)
        .unwrap_or_default();
    if name == DEFAULT_LANE && !nodes.is_empty() {
        let place = reading.place_of(&format!("{}.match", lane.path));
        reading.problem(
            place,
            "the lane `default` takes what no other lane takes; it has no `match`",
        );
        return Vec::new();
    }
    let mut rules = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let title = format!("a rule of {}", lane.title);
        let Some(section) = reading.item(lane, "match", index, node, title) else {
            continue;
        };
        let before = reading.problems.len();
        let conditions = conditions(reading, &section, name, known);
        if conditions.is_empty() && reading.problems.len() == before {
            let message = format!(
                "{} has no condition and would take everything; that is what `default` is for",
                section.title
            );
            reading.problem(section.place, message);
        }
        if !conditions.is_empty() {
            rules.push(MatchRule {
                conditions,
                line: section.place.line,
            });
        }
    }
    rules
}

fn conditions(
    reading: &mut Reading<'_>,
    rule: &Section<'_>,
    own: &str,
    known: &[&str],
) -> Vec<MatchCondition> {
    let mut conditions = session_conditions(reading, rule);
    let lane = lane_condition(reading, rule, own, known);
    let statement = statement_condition(reading, rule);
    let tags = tag_conditions(reading, rule);
    let table = matching::table(reading, rule);
    let text = matching::text(reading, rule);
    let about_statements = ["statement", "tag", "table", "text"];
    if lane.is_some() && !about_statements.iter().any(|key| rule.has(key)) {
        let place = reading.place_of(&format!("{}.lane", rule.path));
        let message = format!(
            "`lane` in {} needs `statement`, `tag`, `table` or `text` beside it; alone it would empty that lane",
            rule.title
        );
        reading.problem(place, message);
    }
    conditions.extend(lane);
    conditions.extend(statement);
    conditions.extend(tags);
    conditions.extend(table);
    conditions.extend(text);
    conditions
}

/// What a rule asks of the session itself.
pub(super) fn session_conditions(
    reading: &mut Reading<'_>,
    rule: &Section<'_>,
) -> Vec<MatchCondition> {
    let mut conditions = Vec::new();
    let mut glob = |key: &str| {
        reading.parsed(rule, key, |text| {
            if text.is_empty() || text.len() > MAXIMUM_GLOB {
                Err(format!(
                    "a glob has 1 to {MAXIMUM_GLOB} bytes; `*` is any text, `?` one character"
                ))
            } else {
                Ok(text.to_owned())
            }
        })
    };
    conditions.extend(glob("application_name").map(MatchCondition::ApplicationName));
    conditions.extend(glob("user").map(MatchCondition::User));
    conditions.extend(glob("database").map(MatchCondition::Database));
    conditions.extend(matching::address(reading, rule));
    conditions
}

fn lane_condition(
    reading: &mut Reading<'_>,
    rule: &Section<'_>,
    own: &str,
    known: &[&str],
) -> Option<MatchCondition> {
    let word = reading.word(rule, "lane")?;
    if word.text == own {
        let message = format!(
            "`lane` in {} is the lane itself; it names the lane that the work comes from",
            rule.title
        );
        reading.problem(word.place, message);
        return None;
    }
    if !known.contains(&word.text) && word.text != DEFAULT_LANE {
        let message = format!(
            "`lane` in {} is {}, and there is no such lane",
            rule.title,
            quoted(word.text)
        );
        let near = nearest(word.text, known.iter().copied());
        reading.problem_near(word.place, message, near);
        return None;
    }
    Some(MatchCondition::Lane(word.text.to_owned()))
}

fn statement_condition(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<MatchCondition> {
    let mut kinds = Vec::new();
    let nodes = reading.list(rule, "statement", MAXIMUM_KINDS)?;
    for node in nodes {
        let Some(word) = reading.word_of(node, "a kind of statement") else {
            continue;
        };
        match StatementKind::from_name(word.text) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => {
                let message = format!(
                    "the kind of statement {} in {} is not known",
                    quoted(word.text),
                    rule.title
                );
                let near = nearest(word.text, StatementKind::ALL.iter().map(|kind| kind.name()));
                reading.problem_near(word.place, message, near);
            }
        }
    }
    if nodes.is_empty() {
        let place = reading.place_of(&format!("{}.statement", rule.path));
        reading.problem(
            place,
            format!("`statement` in {} lists no kind", rule.title),
        );
    }
    (!kinds.is_empty()).then_some(MatchCondition::Statement(kinds))
}

fn tag_conditions(reading: &mut Reading<'_>, rule: &Section<'_>) -> Vec<MatchCondition> {
    let Some(tags) = reading.subnames(rule, "tag") else {
        return Vec::new();
    };
    let mut conditions = Vec::new();
    for (key, node) in tags.entries().iter().take(MAXIMUM_KINDS) {
        match &node.value {
            Value::Word(value) if !key.name.is_empty() && !value.is_empty() => {
                conditions.push(MatchCondition::Tag {
                    key: key.name.clone(),
                    value: value.clone(),
                });
            }
            _ => {
                let message = format!(
                    "the tag {} in {} has a value, such as `job: compaction`",
                    quoted(&key.name),
                    rule.title
                );
                reading.problem(key.place, message);
            }
        }
    }
    conditions
}
