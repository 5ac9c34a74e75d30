//! The arrows between crates, and what pure crates may touch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use super::{item_end, none, root, sources};

/// Which crate of the house may use which, as normal dependencies. What is not here is forbidden.
const ARROWS: &[(&str, &[&str])] = &[
    ("pglanes-wire", &[]),
    ("pglanes-auth", &["pglanes-wire"]),
    ("pglanes-lanes", &[]),
    ("pglanes-config", &["pglanes-lanes", "pglanes-auth"]),
    ("pglanes-control", &["pglanes-config", "pglanes-auth"]),
    (
        "pglanes-proxy",
        &[
            "pglanes-wire",
            "pglanes-auth",
            "pglanes-lanes",
            "pglanes-config",
        ],
    ),
    // `lanes` for the types of the snapshot that proxy's handle gives out.
    (
        "pglanes-admin",
        &[
            "pglanes-proxy",
            "pglanes-config",
            "pglanes-auth",
            "pglanes-lanes",
        ],
    ),
    (
        "pglanes-advisor",
        &["pglanes-control", "pglanes-config", "pglanes-lanes"],
    ),
    ("pglanes-testbed", &[]),
];

/// The members that may use everything, the binary too.
const USERS_OF_ALL: [&str; 3] = ["pglanes-tests", "pglanes-tests-clients", "pglanes-benches"];

/// The crates that decide without doing, and all they may use from outside the house.
const PURE: &[(&str, &[&str])] = &[
    ("pglanes-wire", &["bytes", "pgwire", "subtle", "thiserror"]),
    (
        "pglanes-auth",
        &[
            "base64",
            "hmac",
            "md-5",
            "pbkdf2",
            "sha2",
            "stringprep",
            "subtle",
            "thiserror",
            "zeroize",
        ],
    ),
    ("pglanes-lanes", &[]),
];

/// What the sources of a pure crate must not say, and why.
const IMPURE: &[(&str, &str)] = &[
    ("tokio", "it neither blocks nor awaits"),
    ("std::net", "it opens no socket"),
    ("std::fs", "it opens no file"),
    ("std::thread", "it starts no thread"),
    ("std::env", "it depends on nothing but its arguments"),
    ("Instant::now", "time is an argument"),
    ("SystemTime::now", "time is an argument"),
    ("rand::", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    ("RandomState::new", "randomness is an argument"),
    // These two draw the thread's random hash keys.
    (
        "HashMap::new",
        "its hash keys are random: same inputs, same trace",
    ),
    (
        "HashSet::new",
        "its hash keys are random: same inputs, same trace",
    ),
];

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.exec().expect("cargo describes the workspace")
}

/// A source without its `#[cfg(test)]` items and without comments.
fn product_code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim() == "#[cfg(test)]" {
            at = item_end(&lines, at + 1) + 1;
            continue;
        }
        if !lines[at].trim_start().starts_with("//") {
            kept.push(lines[at]);
        }
        at += 1;
    }
    kept.join("\n")
}

fn is_test_file(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs")
}

fn is_of_the_house(name: &str) -> bool {
    name == "pglanes" || name.starts_with("pglanes-")
}

fn dependencies(package: &Package, kind: DependencyKind) -> impl Iterator<Item = &str> {
    let of_kind = package
        .dependencies
        .iter()
        .filter(move |dependency| dependency.kind == kind);
    of_kind.map(|dependency| dependency.name.as_str())
}

#[test]
fn crates_use_only_what_the_design_allows() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut problems = Vec::new();
    for package in &metadata().packages {
        let name = package.name.as_str();
        let user_of_all = USERS_OF_ALL.contains(&name) || name == "pglanes";
        let Some(may_use) = allowed.get(name) else {
            if !user_of_all {
                problems.push(format!("{name} is not in the design: give it its arrows"));
            }
            continue;
        };
        let used =
            dependencies(package, DependencyKind::Normal).filter(|used| is_of_the_house(used));
        problems.extend(
            used.filter(|used| !may_use.contains(used))
                .map(|used| format!("{name} must not use {used}")),
        );
    }
    none(&problems);
}

#[test]
fn nothing_but_tests_and_benches_uses_the_binary() {
    let mut problems = Vec::new();
    for package in &metadata().packages {
        let uses = package
            .dependencies
            .iter()
            .any(|dependency| dependency.name == "pglanes");
        if uses && !USERS_OF_ALL.contains(&package.name.as_str()) {
            problems.push(format!("{} uses the binary", package.name));
        }
    }
    none(&problems);
}

#[test]
fn pure_crates_use_nothing_that_does_anything() {
    let metadata = metadata();
    let mut problems = Vec::new();
    for (name, may_use) in PURE {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == *name);
        let package = package.expect("a pure crate of the house");
        for used in dependencies(package, DependencyKind::Normal) {
            if !may_use.contains(&used) && !is_of_the_house(used) {
                problems.push(format!("{name} must not use {used}"));
            }
        }
        let with_tokio = package
            .dependencies
            .iter()
            .any(|dependency| dependency.name == "pgwire" && dependency.uses_default_features);
        if with_tokio {
            problems.push(format!(
                "{name} uses pgwire with its default features, which are tokio"
            ));
        }
    }
    none(&problems);
}

#[test]
fn pure_sources_touch_no_clock_no_socket_no_file_and_no_chance() {
    let mut problems = Vec::new();
    let mut looked_at = 0;
    for (name, text) in sources() {
        let folder =
            |(pure, _): &(&str, _)| format!("crates/{}/src/", pure.trim_start_matches("pglanes-"));
        if !PURE.iter().any(|pure| name.starts_with(&folder(pure))) || is_test_file(&name) {
            continue;
        }
        looked_at += 1;
        let code = product_code(&text);
        let said = IMPURE.iter().filter(|(word, _)| code.contains(word));
        problems.extend(said.map(|(word, why)| format!("{name}: `{word}`, but {why}")));
    }
    assert!(
        looked_at > 30,
        "only {looked_at} sources of pure crates found"
    );
    none(&problems);
}

#[test]
fn the_data_path_uses_no_driver_and_control_no_frames() {
    const FORBIDDEN: &[(&str, &[&str])] = &[
        (
            "proxy",
            &[
                "tokio_postgres",
                "deadpool",
                "pgwire::api",
                "postgres_protocol",
            ],
        ),
        ("control", &["pglanes_wire"]),
    ];
    let metadata = metadata();
    let mut problems = Vec::new();
    for (name, words) in FORBIDDEN {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == format!("pglanes-{name}"));
        for dependency in &package.expect("a crate of the house").dependencies {
            let crate_name = dependency.name.replace('-', "_");
            if words.iter().any(|word| crate_name.starts_with(word)) || crate_name == "pgwire" {
                problems.push(format!("crates/{name}/Cargo.toml uses {crate_name}"));
            }
        }
        for (file, text) in sources() {
            if file.starts_with(&format!("crates/{name}/")) {
                let said = words.iter().filter(|word| text.contains(*word));
                problems.extend(said.map(|word| format!("{file} says `{word}`")));
            }
        }
    }
    none(&problems);
}

#[test]
fn what_only_tests_do_is_not_looked_at() {
    let source = "use a;\n#[cfg(test)]\nmod tests {\n    use std::net;\n}\n// std::fs\nfn b() {}\n";
    assert_eq!(product_code(source), "use a;\nfn b() {}");
    assert_eq!(
        product_code("#[cfg(test)]\nmod tests;\nfn b() {}\n"),
        "fn b() {}"
    );
}

#[test]
fn versions_have_the_fixes_that_are_needed() {
    const FLOORS: &[(&str, (u64, u64, u64))] = &[
        ("tokio-postgres", (0, 7, 18)),
        ("postgres-protocol", (0, 6, 12)),
        ("rustls", (0, 23, 18)),
    ];
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    let mut problems = Vec::new();
    let mut found = BTreeSet::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let floor = FLOORS
            .iter()
            .find(|(name, _)| line == format!("name = \"{name}\""));
        let Some((name, floor)) = floor else { continue };
        let version = lines
            .next()
            .and_then(|line| line.split('"').nth(1))
            .expect("a version follows");
        let numbers: Vec<u64> = version
            .split(['.', '-', '+'])
            .take(3)
            .flat_map(str::parse)
            .collect();
        found.insert(*name);
        if numbers[..] < [floor.0, floor.1, floor.2][..] {
            problems.push(format!("{name} {version} is older than {floor:?}"));
        }
    }
    assert!(
        found.contains("tokio-postgres") && found.contains("postgres-protocol"),
        "{found:?}"
    );
    none(&problems);
}
