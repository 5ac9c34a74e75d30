//! Finds rules that an earlier rule leaves nothing to.

use super::{Condition, Rule};

/// Each rule that can never be first, with the first earlier one that matches whatever it matches.
pub(super) fn unreachable(rules: &[Rule]) -> Vec<(usize, usize)> {
    rules
        .iter()
        .enumerate()
        .filter_map(|(index, rule)| {
            let by = rules[..index]
                .iter()
                .position(|earlier| shadows(earlier, rule))?;
            Some((index, by))
        })
        .collect()
}

/// Everything the earlier rule asks for follows from something the later one asks for.
fn shadows(earlier: &Rule, later: &Rule) -> bool {
    earlier
        .conditions
        .iter()
        .all(|broad| later.conditions.iter().any(|narrow| follows(broad, narrow)))
}

fn follows(broad: &Condition, narrow: &Condition) -> bool {
    use Condition::{
        ApplicationName, Database, FromLane, Origin, Statement, Table, Tag, Text, User,
    };
    match (broad, narrow) {
        (ApplicationName(broad), ApplicationName(narrow))
        | (User(broad), User(narrow))
        | (Database(broad), Database(narrow)) => broad.covers(narrow),
        (FromLane(broad), FromLane(narrow)) => broad == narrow,
        (Statement(broad), Statement(narrow)) => narrow
            .iter()
            .all(|kind| broad.contains(kind) || broad.contains(&kind.whole())),
        (Origin(broad), Origin(narrow)) => narrow
            .iter()
            .all(|place| broad.iter().any(|broad| broad.covers(*place))),
        (Table(broad), Table(narrow)) => narrow
            .iter()
            .all(|table| broad.iter().any(|broad| broad.covers(table))),
        (Text(broad), Text(narrow)) => broad == narrow,
        (
            Tag { key, value },
            Tag {
                key: found,
                value: narrow,
            },
        ) => key == found && value.covers(narrow),
        // A name pattern of stars alone asks for nothing, whatever the later rule says.
        (ApplicationName(glob) | User(glob) | Database(glob), _) => {
            glob.as_str().contains('*') && glob.as_str().chars().all(|one| one == '*')
        }
        (Origin(broad), _) => broad.contains(&super::Place::Any),
        (FromLane(_) | Statement(_) | Tag { .. } | Table(_) | Text(_), _) => false,
    }
}
