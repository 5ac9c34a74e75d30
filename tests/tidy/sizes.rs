//! The size of files and functions.

use std::collections::BTreeSet;

use super::{item_end, none, sources};

/// The longest file, in lines, its tests included.
const LONGEST_FILE: usize = 600;
/// The longest function, in lines from its `fn` to its closing brace.
const LONGEST_FUNCTION: usize = 70;
/// Functions that may be longer, by file and name, because splitting one would hide what it shows: each is a table.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    // What a reload changes of a lane: one entry a setting.
    ("crates/config/src/reload.rs", "lane"),
];

#[test]
fn files_are_of_one_idea() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            problems.push(format!(
                "{name} has {lines} lines; the limit is {LONGEST_FILE}"
            ));
        }
    }
    none(&problems);
}

/// The functions of a formatted source: name and length in lines.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(place) = words.iter().position(|word| *word == "fn") else {
            continue;
        };
        let before = [
            "pub",
            "pub(crate)",
            "pub(super)",
            "async",
            "const",
            "unsafe",
            "extern",
        ];
        if !words[..place].iter().all(|word| before.contains(word)) {
            continue;
        }
        let name = words
            .get(place + 1)
            .and_then(|word| word.split(['(', '<']).next());
        let length = item_end(&lines, index) - index + 1;
        found.push((name.unwrap_or_default().to_owned(), length));
    }
    found
}

#[test]
fn functions_can_be_read_at_a_glance() {
    let mut problems = Vec::new();
    let mut excused = BTreeSet::new();
    let mut seen = 0;
    for (file, text) in sources() {
        for (name, lines) in functions(&text) {
            seen += 1;
            if lines <= LONGEST_FUNCTION {
                continue;
            }
            match LONG_FUNCTIONS
                .iter()
                .find(|long| **long == (file.as_str(), name.as_str()))
            {
                Some(excuse) => _ = excused.insert(*excuse),
                None => problems.push(format!(
                    "{file}: `{name}` has {lines} lines; the limit is {LONGEST_FUNCTION}"
                )),
            }
        }
    }
    assert!(seen > 1000, "only {seen} functions found");
    let stale = LONG_FUNCTIONS
        .iter()
        .filter(|long| !excused.contains(*long));
    problems.extend(
        stale.map(|(file, name)| format!("{file}: `{name}` is short now: take it off the list")),
    );
    none(&problems);
}

#[test]
fn the_measure_of_functions_measures() {
    let source = "impl A {\n    pub(crate) async fn long(\n        &self,\n    ) {\n        one();\n    }\n\n    fn short() {}\n}\n";
    let expected = [("long".to_owned(), 5), ("short".to_owned(), 1)];
    assert_eq!(functions(source), expected);
}
