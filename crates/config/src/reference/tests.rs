use std::collections::BTreeSet;

use super::*;
use crate::testing::{MAXIMAL, asked_by};

#[test]
fn the_reader_asks_for_every_documented_key() {
    let asked = asked_by(MAXIMAL);
    let documented: BTreeSet<String> = ENTRIES
        .iter()
        // `lanes.*` documents the name itself, not a key.
        .filter(|entry| !entry.path.ends_with(".*"))
        .map(|entry| entry.path.to_owned())
        .collect();
    assert_eq!(asked, documented);
}

#[test]
fn every_documented_key_appears_in_the_default_file() {
    for entry in ENTRIES {
        let key = entry.path.rsplit('.').next().unwrap_or(entry.path);
        let key = key.trim_end_matches("[]");
        if key == "*" {
            continue;
        }
        let found = crate::DEFAULT_FILE.lines().any(|line| {
            line.split([' ', '{', '[', ',', '-', '#'])
                .any(|word| word == format!("{key}:"))
        });
        assert!(
            found,
            "config/lanes.yaml does not show `{key}` ({})",
            entry.path
        );
    }
}

#[test]
fn no_key_is_documented_twice_and_none_without_a_meaning() {
    let paths: BTreeSet<&str> = ENTRIES.iter().map(|entry| entry.path).collect();
    assert_eq!(paths.len(), ENTRIES.len());
    assert!(
        ENTRIES
            .iter()
            .all(|entry| !entry.meaning.is_empty() && !entry.kind.is_empty())
    );
    assert!(text().contains("lanes.*.slots.max\n    number; default: upstream.slots\n"));
}
