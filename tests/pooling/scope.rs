//! One text may mean different tables to different sessions: then they do not share what is prepared of it.

use pglanes_tests::{Answer, Proxy, Raw, Script, invariants};

/// Two schemas with a table of one name and of different columns, and clients of one server connection.
async fn clients(fragment: &str) -> (Proxy, Raw, Raw) {
    let proxy = Proxy::with(fragment).slots(1).run().await;
    let mut one = Raw::ready(&proxy).await;
    let schemas = "CREATE SCHEMA one; CREATE TABLE one.t (a int); INSERT INTO one.t VALUES (1); \
                   CREATE SCHEMA two; CREATE TABLE two.t (a text, b int); INSERT INTO two.t VALUES ('x', 2)";
    one.query(schemas).await;
    let other = Raw::ready(&proxy).await;
    (proxy, one, other)
}

/// The values of all rows; an error's code in their place.
async fn rows(raw: &mut Raw, script: Script) -> String {
    let answers = raw.ask(&script).await;
    if let Some(error) = answers.iter().find(|answer| answer.tag == b'E') {
        return format!("{} {}", error.sqlstate(), error.text());
    }
    let rows = answers.iter().filter(|answer| answer.tag == b'D');
    let values = rows.flat_map(Answer::row).map(Option::unwrap_or_default);
    values.collect::<Vec<_>>().join(" ")
}

fn prepare_and_run(name: &str, sql: &str, values: &[&str]) -> Script {
    let parse = Script::new().parse(name, sql);
    parse.run_prepared(name, values).sync()
}

#[tokio::test]
async fn one_text_in_two_search_paths_is_two_statements() {
    for fragment in ["", "lanes: { default: { reuse_plans: true } }"] {
        let (proxy, mut one, mut two) = clients(fragment).await;
        one.query("SET search_path = one").await;
        two.query("SET search_path = two").await;
        // Unnamed, where repeated ones are shared, and named.
        for name in ["", "", "", "n"] {
            let all = || prepare_and_run(name, "SELECT * FROM t", &[]);
            assert_eq!(rows(&mut one, all()).await, "1", "{name:?}");
            assert_eq!(rows(&mut two, all()).await, "x 2", "{name:?}");
        }
        // The types of parameters are those of the table that is meant.
        let sql = "SELECT a FROM t WHERE a = $1";
        for name in ["", "", "", "p"] {
            let found = rows(&mut one, prepare_and_run(name, sql, &["1"])).await;
            assert_eq!(found, "1", "{name:?}");
            let found = rows(&mut two, prepare_and_run(name, sql, &["x"])).await;
            assert_eq!(found, "x", "{name:?}");
        }
        drop((one, two));
        invariants(&proxy).await;
    }
}

#[tokio::test]
async fn a_search_path_of_one_transaction_is_no_other_transactions() {
    let (proxy, mut one, mut two) = clients("").await;
    let paths = [
        "SET LOCAL search_path = {}",
        "SELECT set_config('search_path', '{}', true)",
        "SET search_path TO {}",
    ];
    for (place, path) in paths.iter().enumerate() {
        // Each with a text of its own.
        let sql = format!("SELECT {place}, * FROM t");
        for (raw, schema, row) in [(&mut one, "one", "1"), (&mut two, "two", "x 2")] {
            raw.query("BEGIN").await;
            raw.query(&path.replace("{}", schema)).await;
            let found = rows(raw, prepare_and_run(&format!("s{place}"), &sql, &[])).await;
            assert_eq!(found, format!("{place} {row}"), "{path}");
            // Back to the other one within the transaction.
            let (other, others) = match schema {
                "one" => ("two", "x 2"),
                _ => ("one", "1"),
            };
            raw.query("SAVEPOINT here").await;
            raw.query(&path.replace("{}", other)).await;
            let found = rows(raw, prepare_and_run("", &sql, &[])).await;
            assert_eq!(found, format!("{place} {others}"), "{path}");
            raw.query("ROLLBACK TO here").await;
            let found = rows(raw, prepare_and_run(&format!("r{place}"), &sql, &[])).await;
            assert_eq!(found, format!("{place} {row}"), "{path}");
            raw.query("ROLLBACK").await;
        }
    }
    drop((one, two));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_temporary_table_in_front_of_a_table_has_plans_of_its_own() {
    let (proxy, mut one, mut two) = clients("").await;
    one.query("SET search_path = one").await;
    two.query("SET search_path = one").await;
    let all = |name: &str| prepare_and_run(name, "SELECT * FROM t", &[]);
    assert_eq!(rows(&mut one, all("n")).await, "1");
    two.query("CREATE TEMP TABLE t AS SELECT 'mine' AS a, 'too' AS b")
        .await;
    assert_eq!(rows(&mut two, all("n")).await, "mine too");
    two.query("DROP TABLE pg_temp.t; CREATE TEMP TABLE t AS SELECT 7 AS a")
        .await;
    assert_eq!(rows(&mut two, all("m")).await, "7");
    two.query("DISCARD ALL").await;
    assert_eq!(rows(&mut one, all("m")).await, "1");
    drop((one, two));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_was_dropped_and_made_with_other_columns_is_prepared_anew() {
    let (proxy, mut one, mut two) = clients("").await;
    one.query("CREATE TABLE d AS SELECT 1 AS a; CREATE VIEW v AS SELECT 1 AS a")
        .await;
    let all = |name: &str| prepare_and_run(name, &format!("SELECT * FROM {name}"), &[]);
    assert_eq!(rows(&mut one, all("d")).await, "1");
    assert_eq!(rows(&mut one, all("v")).await, "1");
    two.query("DROP TABLE d").await;
    two.query("CREATE TABLE d AS SELECT 'x' AS a, 2 AS b").await;
    two.query("CREATE OR REPLACE VIEW v AS SELECT 1 AS a, 2 AS b")
        .await;
    assert_eq!(rows(&mut two, all("d")).await, "x 2");
    assert_eq!(rows(&mut two, all("v")).await, "1 2");
    // Who had prepared it before is told so, as by the server.
    let before = rows(&mut one, Script::new().run_prepared("d", &[]).sync()).await;
    assert_eq!(before, "0A000 cached plan must not change result type");
    drop((one, two));
    invariants(&proxy).await;
}
