//! The table of behaviours and their tests names tests that exist.

use std::collections::BTreeSet;
use std::fs;

use super::{none, root, sources};

#[test]
fn the_table_of_behaviours_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("tests/README.md")).expect("the table");
    let mut functions = BTreeSet::new();
    for (_, source) in sources() {
        for line in source.lines().map(str::trim_start) {
            let line = line.strip_prefix("async ").unwrap_or(line);
            if let Some((name, _)) = line.strip_prefix("fn ").and_then(|it| it.split_once('(')) {
                functions.insert(name.to_owned());
            }
        }
    }
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let named = rows.flat_map(|row| {
        row.rsplit(" | ")
            .next()
            .unwrap_or(row)
            .split('`')
            .skip(1)
            .step_by(2)
    });
    let named: BTreeSet<&str> = named.collect();
    assert!(named.len() > 100, "only {} tests are named", named.len());
    let missing = named.iter().filter(|name| !functions.contains(**name));
    let problems: Vec<String> = missing.map(|name| format!("no test {name}")).collect();
    none(&problems);
    let numbered = |number: u32| text.contains(&format!("\n| {number} | "));
    let absent: Vec<String> = (1..=62)
        .filter(|number| !numbered(*number))
        .map(|number| format!("no row {number}"))
        .collect();
    none(&absent);
}
