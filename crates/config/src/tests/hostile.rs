//! What no file may do: panic, or take time and memory out of proportion.

use proptest::prelude::*;

use crate::testing::{MAXIMAL, read};
use crate::{DEFAULT_FILE, MAXIMUM_FILE_BYTES};

/// Reads it, renders what is wrong, and bounds what is said.
fn survives(source: &str) {
    match read(source) {
        Ok(config) => {
            let (policy, index) = config.policy(None);
            assert_eq!(policy.validate(), Ok(()), "{source}");
            let _ = config.classifier(&index);
        }
        Err(error) => {
            assert!(!error.diagnostics.is_empty());
            assert!(
                error.to_string().len() < 64 * 1024,
                "{}",
                error.to_string().len()
            );
        }
    }
}

#[test]
fn a_billion_laughs_are_not_laughed() {
    let mut source = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, before) in ('b'..='j').zip('a'..) {
        let ten = format!("*{before}, ").repeat(10);
        source.push_str(&format!(
            "{name}: &{name} [{}]\n",
            ten.trim_end_matches(", ")
        ));
    }
    let error = read(&source).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("nests deeper, or holds or refers to more"),
        "{error}"
    );
}

#[test]
fn depth_is_bounded() {
    for source in [
        "[".repeat(100_000),
        format!("a: {}", "{b: ".repeat(10_000)),
        (0..500)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect(),
        "- ".repeat(100_000),
        format!("{}x", "? ".repeat(50_000)),
    ] {
        let error = read(&source).unwrap_err();
        assert!(error.to_string().len() < 4096, "{error}");
    }
}

#[test]
fn size_is_bounded() {
    let error = read(&"x".repeat(10 * 1024 * 1024)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "lanes.yaml: the file has {} bytes; at most {MAXIMUM_FILE_BYTES} are read",
            10 * 1024 * 1024
        )
    );
    let error = read(&"- x\n".repeat(100_000)).unwrap_err();
    assert!(
        error.to_string().contains("holds or refers to more"),
        "{error}"
    );
    let lanes: String = (0..100)
        .map(|number| format!("  lane{number}: {{}}\n"))
        .collect();
    let error = read(&format!("lanes:\n{lanes}")).unwrap_err();
    assert_eq!(
        error.diagnostics[0].headline(),
        "lanes.yaml:66:3: there are more than 64 lanes"
    );
    let rules = "{ user: x }, ".repeat(300);
    let error = read(&format!("lanes: {{ a: {{ match: [{rules}] }} }}")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`match` in lane `a` has 300 entries; at most 256 are read"),
        "{error}"
    );
    let keys: String = (0..5000)
        .map(|number| format!("{}{number}: 1\n", "k".repeat(100)))
        .collect();
    let error = read(&keys).unwrap_err();
    assert_eq!(error.diagnostics.len() + error.omitted, 5000);
}

#[test]
fn documents_tags_and_anchors_that_make_no_sense_are_answered() {
    for source in [
        "a: 1\n---\nb: 2\n",
        "a: *missing\n",
        "&a a: *a\n",
        "a: &a [*a]\n",
        "listen: !!binary aGk=\n",
        "listen: !include /etc/passwd\n",
        "lanes: !!set { a }\n",
        "? { a: 1 }\n: 2\n",
        "lanes: { <<: 3 }\n",
        "\t- x\n",
        "a: 'unclosed\n",
        "%YAML 9.9\n---\na: 1\n",
        "\u{feff}listen: x\n",
        "a: \"\\xZZ\"\n",
        "lanes: { \"a\\nb\": {} }\n",
    ] {
        let error = read(source).unwrap_err();
        assert!(!error.diagnostics.is_empty(), "{source}");
        survives(source);
    }
}

fn one_mutation(source: &'static str) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        "[-{}\\[\\]:,&*!|>'\"%@#?~ \n\ta-z0-9]{0,6}",
        Just("*usual".to_owned()),
        Just("&usual ".to_owned()),
    ];
    (0..source.len(), 0..40_usize, piece).prop_map(move |(at, length, piece)| {
        let border = |at: usize| {
            (at..=source.len())
                .find(|at| source.is_char_boundary(*at))
                .unwrap()
        };
        let start = border(at);
        let end = border((start + length).min(source.len()));
        format!("{}{piece}{}", &source[..start], &source[end..])
    })
}

proptest! {
    #[test]
    fn no_text_panics(source in any::<String>()) {
        survives(&source);
    }

    #[test]
    fn no_yaml_like_text_panics(source in "([a-z]{1,4}|[-:,{}\\[\\]&*!|>'\"%@#?~ \n]){0,60}") {
        survives(&source);
    }

    #[test]
    fn no_change_to_the_default_file_panics(source in one_mutation(DEFAULT_FILE)) {
        survives(&source);
    }

    #[test]
    fn no_change_to_the_maximal_file_panics(source in one_mutation(MAXIMAL)) {
        survives(&source);
    }
}
