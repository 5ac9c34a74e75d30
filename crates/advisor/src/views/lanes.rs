//! The lanes of a lanes.yaml as SQL: which lane a session is in by its names.

use pglanes_config::{Config, MatchCondition};

/// The branches of `lane_of`, in the order of the rules. A rule that asks for more than names (a statement, a tag, an address)
/// is left out: what `pg_stat_activity` shows does not decide it.
pub(super) fn branches(config: &Config) -> String {
    let mut text = String::new();
    for (lane, rule) in config.rules() {
        let conditions: Option<Vec<String>> = rule.conditions.iter().map(condition).collect();
        let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) else {
            continue;
        };
        text.push_str(&format!(
            "    WHEN {} THEN {}\n",
            conditions.join(" AND "),
            literal(&lane.name)
        ));
    }
    text
}

/// The branches for names that tell the lane themselves, as `upstream.application_name` has it: `ragchecker [evaluation]`,
/// `[evaluation]`. They come first: the lane of a transaction is known to the proxy alone.
pub(super) fn told(config: &Config) -> String {
    let lanes = config.lanes.iter().map(|lane| {
        let (alone, behind) = (
            format!("[{}]", lane.name),
            like(&format!("* [{}]", lane.name)),
        );
        format!(
            "    WHEN $1 = {} OR $1 LIKE {} THEN {}\n",
            literal(&alone),
            literal(&behind),
            literal(&lane.name)
        )
    });
    lanes.collect()
}

fn condition(condition: &MatchCondition) -> Option<String> {
    let (argument, glob) = match condition {
        MatchCondition::ApplicationName(glob) => ("$1", glob),
        MatchCondition::User(glob) => ("$2", glob),
        MatchCondition::Database(glob) => ("$3", glob),
        _ => return None,
    };
    Some(format!("{argument} LIKE {}", literal(&like(glob))))
}

/// A glob as a pattern of LIKE: `*` and `?` are its wildcards, and LIKE's own are taken literally.
fn like(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len());
    for character in glob.chars() {
        match character {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '\\' => pattern.extend(['\\', character]),
            other => pattern.push(other),
        }
    }
    pattern
}

/// A string of SQL, whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_becomes_a_pattern_that_matches_the_same() {
        let check = |glob: &str, expected: &str| assert_eq!(literal(&like(glob)), expected);
        check("ragchecker*", "'ragchecker%'");
        check("a?c", "'a_c'");
        check("100%_x", "E'100\\\\%\\\\_x'");
        check("o'brien", "'o''brien'");
    }

    #[test]
    fn a_name_that_tells_its_lane_is_believed() {
        let text = told(&Config::default());
        let branch = "WHEN $1 = '[evaluation]' OR $1 LIKE '% [evaluation]' THEN 'evaluation'";
        assert!(text.contains(branch), "{text}");
        assert!(text.contains("THEN 'default'"), "{text}");
    }

    #[test]
    fn rules_about_statements_are_left_out_and_the_order_stays() {
        let text = branches(&Config::default());
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(place("ragchecker%") < place("'ltst-compaction%' THEN 'compaction'"));
        assert!(place("'ltst-compaction%'") < place("'ltst%' THEN 'ltst'"));
        assert!(!text.contains("DELETE"), "{text}");
    }
}
