//! The top level, the words that users read, and what is left for later.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{files, none, root};

#[test]
fn the_top_level_is_as_drawn() {
    const REQUIRED: &[&str] = &[
        "Cargo.lock",
        "Cargo.toml",
        "README.md",
        "benches",
        "config",
        "crates",
        "tests",
    ];
    // `deploy` comes with its first content, `target` is cargo's.
    const ALLOWED: &[&str] = &["deploy", "target"];
    let entries = fs::read_dir(root()).expect("the top level").flatten();
    let names: BTreeSet<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let missing = REQUIRED.iter().filter(|name| !names.contains(**name));
    let mut problems: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    let is_licence = |name: &str| name.starts_with("LICENSE");
    if !names.iter().any(|name| is_licence(name)) {
        problems.push("there is no licence".to_owned());
    }
    let known = |name: &str| {
        name.starts_with('.')
            || is_licence(name)
            || REQUIRED.contains(&name)
            || ALLOWED.contains(&name)
    };
    let strange = names.iter().filter(|name| !known(name));
    problems.extend(strange.map(|name| format!("{name} does not belong at the top level")));
    none(&problems);
}

/// The keys of a value as the reference writes them, with every name a user may choose taken by `*`.
fn keys(value: &Value, path: &str, documented: &BTreeSet<&str>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let place = |key: &str| {
                    if path.is_empty() {
                        key.to_owned()
                    } else {
                        format!("{path}.{key}")
                    }
                };
                let chosen = place("*");
                let is_chosen = documented.contains(chosen.as_str())
                    || documented
                        .iter()
                        .any(|entry| entry.starts_with(&format!("{chosen}.")));
                let place = if is_chosen { chosen } else { place(key) };
                // Below these two are the names of PostgreSQL's settings and of the user's own tags.
                let names_of_others = place.ends_with(".settings") || place.ends_with(".tag");
                found.insert(place.clone());
                if !names_of_others {
                    keys(value, &place, documented, found);
                }
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .for_each(|item| keys(item, &format!("{path}[]"), documented, found));
        }
        _ => {}
    }
}

#[test]
fn every_key_of_lanes_yaml_is_documented_and_the_examples_hold() {
    let entries = pglanes_config::reference::ENTRIES;
    let documented: BTreeSet<&str> = entries.iter().map(|entry| entry.path).collect();
    let reference = pglanes_config::reference::text();
    let mut problems = Vec::new();
    for entry in entries {
        if entry.meaning.is_empty() || !reference.contains(&format!("{}\n", entry.path)) {
            problems.push(format!("{} has no meaning in the reference", entry.path));
        }
    }
    let examples = files(&root().join("config"), &[".yaml"]);
    assert!(
        examples.len() >= 2,
        "config/ holds {} examples",
        examples.len()
    );
    for example in examples {
        if let Err(error) = pglanes_config::load(&example) {
            problems.push(error.to_string());
        }
        let text = fs::read_to_string(&example).expect("an example");
        let tree: Value = serde_yaml::from_str(&text).expect("an example is YAML");
        let mut found = BTreeSet::new();
        keys(&tree, "", &documented, &mut found);
        assert!(found.contains("lanes.*.slots.max"), "{found:?}");
        let undocumented = found
            .iter()
            .filter(|key| !documented.contains(key.as_str()) && !key.ends_with(".*"));
        let name = example.display().to_string();
        problems.extend(undocumented.map(|key| format!("{name}: {key} is not in the reference")));
    }
    none(&problems);
}

#[test]
fn the_map_names_every_crate() {
    let map = fs::read_to_string(root().join("crates/README.md")).expect("crates/README.md");
    let folders = fs::read_dir(root().join("crates"))
        .expect("crates")
        .flatten();
    let crates = folders.filter(|entry| entry.path().is_dir());
    let missing = crates
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !map.contains(&format!("`{name}`")));
    none(
        &missing
            .map(|name| format!("crates/README.md says nothing of `{name}`"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let mut problems = Vec::new();
    for folder in ["crates", "tests", "benches", "config"] {
        for path in files(&root().join(folder), &[".rs", ".md", ".toml", ".yaml"]) {
            let text = fs::read_to_string(&path).expect("a text");
            let said = words.iter().filter(|word| text.contains(**word));
            problems.extend(said.map(|word| format!("{}: {word}", path.display())));
        }
    }
    none(&problems);
}
