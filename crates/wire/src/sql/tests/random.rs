//! Properties that hold of any text.

use proptest::prelude::*;

use crate::sql::inspect::Inspector;
use crate::sql::lexer::TokenKind;
use crate::sql::{Effects, custom_settings, database_named, inspect, set_config_dynamic, tags};

/// Pieces of SQL that make the lexer and the heads change their minds.
const PIECES: &[&str] = &[
    "'",
    "''",
    "E'",
    "U&'",
    "U&\"",
    "\"",
    "$$",
    "$a$",
    "$1",
    "--",
    "/*",
    "*/",
    "\\",
    "\n",
    "\r",
    " ",
    ";",
    "(",
    ")",
    ",",
    ".",
    "=",
    "*",
    "::",
    "1e",
    "0x",
    "é",
    "\0",
    "SET",
    "RESET",
    "LOCAL",
    "SESSION",
    "ROLE",
    "ALL",
    "set_config",
    "pg_temp",
    "pg_advisory_lock",
    "currval",
    "CREATE",
    "TEMP",
    "TABLE",
    "FUNCTION",
    "BEGIN",
    "ATOMIC",
    "CASE",
    "END",
    "AS",
    "WITH",
    "SELECT",
    "INTO",
    "DELETE",
    "DO",
    "EXECUTE",
    "EXPLAIN",
    "DECLARE",
    "CURSOR",
    "DROP",
    "DATABASE",
    "TEMPLATE",
    "COMMIT",
    "ON",
    "INSERT",
    "MERGE",
    "GLOBAL",
    "TEMPORARY",
    "lastval",
    "12",
    "EXPLAIN",
    "true",
    "some_long_name",
    "pg_class",
    "LISTEN",
];

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(PIECES);
    prop::collection::vec((piece, prop::bool::ANY), 0..60).prop_map(|pieces| {
        pieces
            .iter()
            .map(|(piece, space)| format!("{piece}{}", if *space { " " } else { "" }))
            .collect()
    })
}

fn ask_everything(text: &[u8]) {
    inspect(text);
    custom_settings(text).count();
    set_config_dynamic(text);
    database_named(text);
    tags(text, |_, _| {});
}

/// `text` as a literal of one kind or another, or as a comment.
fn quoted(text: &str, kind: usize) -> String {
    match kind {
        0 => format!("'{}'", text.replace('\'', "''")),
        1 => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        2 => format!("\"{}\"", text.replace('"', "\"\"")),
        3 => format!("$q$ {} $q$", text.replace('$', "")),
        4 => format!("/* {} */", text.replace(['*', '/'], " ")),
        _ => format!("-- {}\n", text.replace(['\n', '\r'], " ")),
    }
}

/// The effects as they are found when every token is looked at.
fn effects_without_skipping(text: &[u8]) -> Effects {
    let mut inspector = Inspector::new(text, 0);
    while inspector.next_statement() {
        let mut first = inspector.advance();
        while first.is_some_and(|token| token.kind == TokenKind::Open) {
            first = inspector.advance();
        }
        if let Some(first) = first {
            inspector.head(first);
        }
        while inspector.advance().is_some() {}
    }
    inspector.all_effects()
}

proptest! {
    #[test]
    fn skipping_what_is_dull_misses_nothing(text in pieces()) {
        prop_assert_eq!(inspect(text.as_bytes()).effects, effects_without_skipping(text.as_bytes()));
    }

    #[test]
    fn nothing_makes_it_panic(text: Vec<u8>) {
        ask_everything(&text);
    }

    #[test]
    fn nor_does_sql_in_pieces_cut_off_anywhere(text in pieces(), cut: prop::sample::Index) {
        ask_everything(text.as_bytes());
        ask_everything(&text.as_bytes()[..cut.index(text.len() + 1)]);
    }

    #[test]
    fn what_stands_in_a_literal_or_comment_has_no_effect(text in pieces(), kind in 0..6_usize) {
        let found = inspect(format!("SELECT 1, {} ", quoted(&text, kind)).as_bytes());
        prop_assert_eq!(found.effects, Effects::NONE);
        prop_assert_eq!(found.statements, 1);
    }

    #[test]
    fn and_does_not_hide_what_follows(text in pieces(), kind in 0..6_usize) {
        let quoted = quoted(&text, kind);
        let found = inspect(format!("SELECT 1, {quoted} ; LISTEN c; SELECT {quoted}").as_bytes());
        prop_assert_eq!(found.effects, Effects::LISTEN);
        prop_assert_eq!(found.statements, 3);
    }

    #[test]
    fn statements_add_up(first in prop::sample::select(&ALONE[..]), second in prop::sample::select(&ALONE[..])) {
        let both = inspect(format!("{first} ;; {second}").as_bytes());
        let (first, second) = (inspect(first.as_bytes()), inspect(second.as_bytes()));
        prop_assert_eq!(both.effects, first.effects | second.effects);
        prop_assert_eq!(both.first, first.first);
        prop_assert_eq!(both.statements, 2);
    }
}

const ALONE: [&str; 12] = [
    "SELECT 1",
    "BEGIN",
    "SET a = 1",
    "RESET ALL",
    "SET ROLE x",
    "LISTEN c",
    "DISCARD ALL",
    "SELECT currval('x')",
    "CREATE TABLE t AS EXECUTE p",
    "CLOSE ALL",
    "DO $$BEGIN SET a=1; END$$",
    "WITH a AS (DELETE FROM t RETURNING 1) SELECT 1",
];

/// Texts that would take quadratic time, or the whole stack, if they were read carelessly. At
/// a quarter of a megabyte each that would be minutes: the test would be seen to hang.
#[test]
fn hostile_texts_take_linear_time_and_no_stack() {
    let size = 1 << 18;
    for piece in [
        "/*",
        "(",
        "'",
        "''",
        "$a$b",
        "$a",
        "$",
        "E'\n",
        "E''\n",
        "set_config(",
        "EXPLAIN ",
        "WITH ",
        "DO $a$",
        "--",
        "case ",
        ";",
        "1e",
        "DO 'execute ",
        "SET a.",
        "x='y',",
        "\\",
        "*/",
        "a.",
        "CREATE FUNCTION BEGIN ATOMIC ",
        "U&\"",
        "/*/",
    ] {
        ask_everything(piece.repeat(size / piece.len()).as_bytes());
    }
    ask_everything(format!("SET a{}", ".a".repeat(size / 2)).as_bytes());
    let mut nested = String::new();
    for level in 0..50_000 {
        nested.push_str(&format!("DO $a{level}$ execute "));
    }
    ask_everything(nested.as_bytes());
}

/// Prints how fast it is: `cargo test --release -p pglanes-wire -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement, not a check"]
#[allow(clippy::disallowed_methods)] // A measurement reads the clock.
fn speed() {
    let long = format!(
        "INSERT INTO t VALUES ('{}')",
        "text of a literal ".repeat(1 << 16)
    );
    let list = format!("SELECT a FROM t WHERE a IN ({})", "12345, ".repeat(1 << 16));
    let words = format!("SELECT {} FROM t", "some_column AS alias, ".repeat(1 << 15));
    for (name, text) in [
        (
            "short select",
            "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        ),
        (
            "short update",
            "UPDATE pgbench_accounts SET abalance = abalance + 12 WHERE aid = 42",
        ),
        ("BEGIN", "BEGIN"),
        ("long literal", &long),
        ("long list", &list),
        ("many words", &words),
    ] {
        // The best of many short runs: the machine may be busy with other things.
        let rounds = (1 << 20) / (text.len() + 50) + 1;
        let each = (0..100)
            .map(|_| {
                let start = std::time::Instant::now();
                for _ in 0..rounds {
                    std::hint::black_box(inspect(std::hint::black_box(text.as_bytes())));
                }
                start.elapsed().as_secs_f64() / rounds as f64
            })
            .fold(f64::INFINITY, f64::min);
        println!(
            "{name}: {:.0} ns, {:.0} MB/s",
            each * 1e9,
            text.len() as f64 / each / 1e6
        );
    }
}
