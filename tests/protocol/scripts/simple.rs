//! One simple query each.

use crate::differential::{Case, check};

use super::s;

fn simple(texts: &[&str]) -> Vec<Case> {
    let said = |text: &&str| Case::new(*text, s().query(text));
    texts.iter().map(said).collect()
}

#[tokio::test]
async fn simple_queries_are_answered_as_by_the_server() {
    check(simple(&[
        "SELECT 1",
        "",
        ";",
        " ;; -- nothing\n /* at all */ ",
        "SELECT id, name FROM t ORDER BY id",
        "SELECT 1; SELECT 2 AS two, NULL; ; UPDATE t SET name = 'x' WHERE id = 1",
        "INSERT INTO t VALUES (11, 'a') RETURNING *; SELECT count(*) FROM t",
        "SELECT 1; SELECT 1/0; SELECT 3",
        "INSERT INTO t VALUES (12, 'a'); SELECT 1/0; SELECT 1",
        "BEGIN; SELECT 1; COMMIT",
        "BEGIN; SELECT 1/0; COMMIT",
        "SELECT 1; BEGIN; SELECT 2",
        "BEGIN; INSERT INTO t VALUES (13, 'a'); COMMIT AND CHAIN; SELECT 1; ROLLBACK AND CHAIN; SELECT 2; COMMIT",
        "COMMIT",
        "BEGIN; BEGIN; COMMIT",
        "SELECT warns('bang')",
        "SELECT fails('this')",
        "INSERT INTO t VALUES (1, 'taken')",
        "INSERT INTO t VALUES (14, 'bad')",
        "SELECT nothing FROM t",
        "SELECT * FROM missing",
        "SELEC 1",
        "SELECT 'open",
        "SHOW application_name",
        "SHOW nonsense",
        "SET nonsense = 1",
        "SET work_mem = 'many'",
        "DO $$ BEGIN RAISE NOTICE 'one'; RAISE INFO 'two'; RAISE DEBUG 'three'; END $$",
        "SELECT repeat('x', 100000), generate_series(1, 20)",
        "SELECT 'päng', E'\\x01', ''",
        "DECLARE c CURSOR FOR SELECT * FROM t; FETCH 2 FROM c; FETCH ALL FROM c; CLOSE c",
        "PREPARE TRANSACTION 'never'",
        "EXPLAIN SELECT * FROM t WHERE id = 1",
        "VACUUM t",
        "BEGIN; VACUUM t; COMMIT",
        "LISTEN here; NOTIFY here, 'payload'; UNLISTEN *",
        "NOTIFY nobody",
        "CREATE TEMP TABLE mine (a int); SELECT count(*) FROM mine; DROP TABLE mine",
        "PREPARE p AS SELECT $1::int; EXECUTE p(1); DEALLOCATE p; EXECUTE p(2)",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1); SELECT pg_advisory_unlock(1)",
    ]))
    .await;
}
