//! Names and tags found in texts.

use crate::sql::{custom_settings, database_named, set_config_dynamic, settings_named, tags};

#[test]
fn settings_are_named_as_the_server_knows_them() {
    for (text, expected) in [
        ("SET work_mem = 1", &["work_mem"][..]),
        (
            "set SESSION \"Work_Mem\" to 1; RESET a.B",
            &["work_mem", "a.b"],
        ),
        (
            "SET TIME ZONE 'UTC'; SET NAMES 'x'; SET SCHEMA 'a'",
            &["timezone", "client_encoding", "search_path"],
        ),
        (
            "SET time.zone = 1; SET XML OPTION document",
            &["time.zone", "xmloption"],
        ),
        (
            "SET LOCAL a.b = 1; SET TRANSACTION READ ONLY; SET ROLE x; RESET ALL",
            &[],
        ),
        (
            "SET SESSION AUTHORIZATION x; RESET SESSION AUTHORIZATION; RESET ROLE",
            &[],
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY; SELECT 1",
            &[
                "default_transaction_isolation",
                "default_transaction_read_only",
            ],
        ),
        ("SELECT set_config('App.User', $1, false)", &["app.user"]),
        (
            "SELECT pg_catalog . \"set_config\" ( 'a.b'::text , 'x', false)",
            &["a.b"],
        ),
        (
            "SELECT set_config('a.b', 'x', true), set_config($1, 'x', false)",
            &[],
        ),
        ("SELECT 'SET a.b = 1; SET c.d = 2', x AS set FROM t", &[]),
        ("UPDATE t SET a.b = 1", &[]),
        ("SET", &[]),
        ("SET ; SET a = 1", &["a"]),
        ("SET a.; SET b = 1", &["b"]),
    ] {
        let found: Vec<_> = settings_named(text.as_bytes()).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn custom_settings_have_a_dot() {
    let text = b"SET a.b = 1; SET work_mem = 1; SELECT set_config('c.d', 'x', false)";
    let found: Vec<_> = custom_settings(text).collect();
    assert_eq!(found, ["a.b", "c.d"]);
}

#[test]
fn a_setting_without_a_literal_name_is_told() {
    for (text, expected) in [
        ("SELECT set_config($1, 'x', false)", true),
        ("SELECT set_config('a' || 'b', 'x', false)", true),
        ("SELECT set_config(E'a', 'x', false)", true),
        ("SELECT set_config('a'\n'b', 'x', false)", true),
        (
            "SELECT set_config(setting_name => 'a', new_value => 'b', is_local => false)",
            true,
        ),
        (
            "SELECT set_config('a', 'b', false), pg_catalog.set_config(x, 'b', false) FROM t",
            true,
        ),
        ("UPDATE pg_settings SET setting = 1", true),
        ("DO $$ BEGIN SET a = 1; END $$", true),
        ("SELECT set_config('a', $1, false)", false),
        ("SELECT set_config('a'::text, $1, false)", false),
        ("SELECT set_config($1, $2, true)", false),
        ("SET a = 1", false),
        ("DO $$ BEGIN DELETE FROM t; END $$", false),
    ] {
        assert_eq!(set_config_dynamic(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn the_database_in_the_way() {
    for (text, expected) in [
        ("DROP DATABASE Shop", Some("shop")),
        (
            "drop /* x */ database -- y\n if exists \"My\"\"DB\" WITH (FORCE)",
            Some("My\"DB"),
        ),
        ("DROP DATABASE if", Some("if")),
        ("CREATE DATABASE a TEMPLATE b", Some("b")),
        (
            "CREATE DATABASE a WITH OWNER = o TEMPLATE = \"B\" ENCODING 'UTF8'",
            Some("B"),
        ),
        ("CREATE DATABASE a", Some("template1")),
        (
            "CREATE DATABASE a TEMPLATE DEFAULT; DROP DATABASE c",
            Some("template1"),
        ),
        ("SELECT 1; DROP DATABASE c", Some("c")),
        ("DROP TABLE a", None),
        ("SELECT 'DROP DATABASE x'", None),
        ("DROP DATABASE", None),
        ("", None),
    ] {
        assert_eq!(
            database_named(text.as_bytes()).as_deref(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn tags_are_read_from_both_ends() {
    for (text, expected) in [
        (
            "/*job='compaction'*/ DELETE FROM t",
            &[("job", "compaction")][..],
        ),
        (
            "DELETE FROM t /*job='a',route='%2Fpolls%20x'*/",
            &[("job", "a"), ("route", "/polls x")],
        ),
        (
            "SELECT 1 /* job = 'a' , b='c' */ ; ",
            &[("job", "a"), ("b", "c")],
        ),
        ("SELECT 1; /*a='1'*/", &[("a", "1")]),
        ("/*a='1'*/ SELECT 1 /*b='2'*/;", &[("a", "1"), ("b", "2")]),
        ("/*a='1'*/", &[("a", "1")]),
        (
            "SELECT 1 /*name='it\\'s',x='%zz'*/",
            &[("name", "it's"), ("x", "%zz")],
        ),
        ("SELECT 1 /*a='%ff',b='2'*/", &[("b", "2")]),
        ("SELECT '/*a=''1''*/'", &[]),
        ("SELECT /*a='1'*/ 1", &[]),
        ("SELECT 1 /* just words */", &[]),
        ("SELECT 1 /*a='1", &[]),
        ("SELECT 1 /*a='1*/", &[]),
        ("/* a, it's='x'*/ SELECT 1", &[]),
        ("", &[]),
        (";;;", &[]),
    ] {
        let mut found = Vec::new();
        tags(text.as_bytes(), |key, value| {
            found.push((key.to_owned(), value.to_owned()))
        });
        let found: Vec<_> = found
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn tags_are_bounded_in_number_and_length() {
    let many = vec!["k='v'"; 100].join(",");
    let mut count = 0;
    tags(
        format!("/*{many}*/ SELECT 1 /*{many}*/").as_bytes(),
        |_, _| count += 1,
    );
    assert_eq!(count, crate::sql::MAX_TAGS);
    let long = "x".repeat(crate::sql::MAX_TAG_COMMENT);
    tags(
        format!("/*k='{long}'*/ SELECT 1 /*k='{long}'*/").as_bytes(),
        |_, _| count += 1,
    );
    assert_eq!(count, crate::sql::MAX_TAGS);
}
