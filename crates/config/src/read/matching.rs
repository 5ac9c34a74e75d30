//! Conditions about where a session comes from and what a statement says, and who may choose a lane.

use super::MAXIMUM_RULES;
use super::lanes::session_conditions;
use crate::access::AddressMatch;
use crate::diagnostic::quoted;
use crate::lane::{MatchCondition, MatchRule};
use crate::reader::{Reading, Section};
use crate::texts;

/// The most places, or tables, of one rule.
const MAXIMUM_LISTED: usize = 64;
/// The longest glob of a table, in bytes: a schema, a dot, a name.
const MAXIMUM_TABLE: usize = 256;

/// `address`: networks, or `local`; one or a list.
pub(super) fn address(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<MatchCondition> {
    let mut places = Vec::new();
    for node in reading.list(rule, "address", MAXIMUM_LISTED)? {
        let Some(word) = reading.word_of(node, "an address") else {
            continue;
        };
        match AddressMatch::parse(word.text) {
            Ok(place) => places.push(place),
            Err(right) => {
                let message = format!(
                    "`address` in {} is {}: {right}",
                    rule.title,
                    quoted(word.text)
                );
                reading.problem(word.place, message);
            }
        }
    }
    (!places.is_empty()).then_some(MatchCondition::Address(places))
}

/// `table`: globs, one or a list.
pub(super) fn table(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<MatchCondition> {
    let mut globs = Vec::new();
    for node in reading.list(rule, "table", MAXIMUM_LISTED)? {
        let Some(word) = reading.word_of(node, "a table") else {
            continue;
        };
        let parts: Vec<&str> = word.text.split('.').collect();
        let holds = word.text.len() <= MAXIMUM_TABLE
            && parts.len() <= 2
            && parts.iter().all(|part| !part.is_empty());
        if holds {
            globs.push(word.text.to_owned());
        } else {
            let message = format!(
                "`table` in {} is {}: a table is `name` or `schema.name`, both may be globs; a name without a schema counts as \
                 one of `public`",
                rule.title,
                quoted(word.text)
            );
            reading.problem(word.place, message);
        }
    }
    (!globs.is_empty()).then_some(MatchCondition::Table(globs))
}

/// `text`: a regular expression.
pub(super) fn text(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<MatchCondition> {
    let pattern = reading.parsed(rule, "text", |text| {
        texts::compile(text).map(|_| text.to_owned())
    })?;
    Some(MatchCondition::Text(pattern))
}

/// `chosen_by`: rules about sessions alone.
pub(super) fn chosen_by(reading: &mut Reading<'_>, lane: &Section<'_>) -> Vec<MatchRule> {
    let nodes = reading.list(lane, "chosen_by", MAXIMUM_RULES);
    let mut rules = Vec::new();
    for (index, node) in nodes.unwrap_or_default().iter().enumerate() {
        let title = format!("`chosen_by` {} of {}", index + 1, lane.title);
        let Some(section) = reading.item(lane, "chosen_by", index, node, title) else {
            continue;
        };
        let before = reading.problems.len();
        let conditions = session_conditions(reading, &section);
        if conditions.is_empty() {
            if reading.problems.len() == before {
                let message = format!(
                    "{} has no condition; who everybody is says `user: \"*\"`",
                    section.title
                );
                reading.problem(section.place, message);
            }
            continue;
        }
        rules.push(MatchRule {
            conditions,
            line: section.place.line,
        });
    }
    rules
}
