//! Transactions and session state over several simple queries.

use crate::differential::{Case, check};

use super::s;

/// Simple queries, one message each.
fn said(name: &str, texts: &[&str]) -> Case {
    let script = texts.iter().fold(s(), |script, text| script.query(text));
    Case::new(name, script)
}

#[tokio::test]
async fn transactions_end_as_by_the_server() {
    check(vec![
        said(
            "committed",
            &[
                "BEGIN",
                "INSERT INTO t VALUES (20, 'a')",
                "COMMIT",
                "SELECT count(*) FROM t",
            ],
        ),
        said(
            "rolled back",
            &[
                "BEGIN",
                "DELETE FROM t",
                "ROLLBACK",
                "SELECT count(*) FROM t",
            ],
        ),
        said(
            "failed",
            &["BEGIN", "SELECT 1/0", "SELECT 1", "COMMIT", "SELECT 2"],
        ),
        said(
            "savepoints",
            &[
                "BEGIN",
                "SAVEPOINT a",
                "SELECT 1/0",
                "ROLLBACK TO a",
                "SELECT 1",
                "RELEASE a",
                "COMMIT",
            ],
        ),
        said(
            "chained",
            &[
                "BEGIN",
                "COMMIT AND CHAIN",
                "SELECT 1",
                "ROLLBACK AND CHAIN",
                "SELECT 2",
                "COMMIT",
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn settings_follow_transactions_as_by_the_server() {
    check(vec![
        said(
            "set and rolled back",
            &[
                "BEGIN",
                "SET search_path = nowhere",
                "ROLLBACK",
                "SHOW search_path",
            ],
        ),
        said(
            "set local",
            &[
                "BEGIN",
                "SET LOCAL work_mem = '1MB'",
                "SHOW work_mem",
                "COMMIT",
                "SHOW work_mem",
            ],
        ),
        said(
            "reported settings",
            &[
                "SET TimeZone = 'Asia/Tokyo'",
                "SET DateStyle = 'German'",
                "SELECT '2026-01-02'::date",
                "RESET ALL",
                "SHOW TimeZone",
            ],
        ),
        said(
            "a reported setting rolled back",
            &[
                "BEGIN",
                "SET TimeZone = 'Asia/Tokyo'",
                "ROLLBACK",
                "SHOW TimeZone",
            ],
        ),
        Case::new("application_name", s().query("SHOW application_name"))
            .after(s().query("SET application_name = 'a'"), "CSZ")
            .after(s().query("SHOW application_name"), "TDCZ")
            .after(s().query("RESET application_name"), "CSZ"),
        said(
            "client_encoding",
            &[
                "SET client_encoding = 'LATIN1'",
                "SELECT 'p' || chr(228)",
                "SET client_encoding = 'UTF8'",
                "SELECT chr(228)",
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn session_state_answers_as_by_the_server() {
    check(vec![
        said(
            "hold cursor",
            &[
                "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t",
                "FETCH 3 FROM c",
                "SELECT 1",
                "FETCH 3 FROM c",
                "CLOSE ALL",
            ],
        ),
        said(
            "sql prepare",
            &[
                "PREPARE p AS SELECT * FROM t WHERE id = $1",
                "EXECUTE p(3)",
                "DEALLOCATE ALL",
                "EXECUTE p(3)",
            ],
        ),
        said(
            "role",
            &[
                "SET ROLE pg_monitor",
                "SELECT current_user",
                "RESET ROLE",
                "SELECT current_user",
            ],
        ),
        said(
            "session authorization",
            &[
                "SET SESSION AUTHORIZATION pg_monitor",
                "SELECT current_user",
                "RESET SESSION AUTHORIZATION",
                "SELECT current_user",
            ],
        ),
        said(
            "discarded",
            &[
                "SET work_mem = '1MB'",
                "SET a.b = '1'",
                "DISCARD ALL",
                "SHOW work_mem",
                "SHOW a.b",
            ],
        ),
        said("discard in a block", &["BEGIN", "DISCARD ALL", "ROLLBACK"]),
        said(
            "large object",
            &[
                "BEGIN",
                "SELECT lo_create(77)",
                "SELECT lo_open(77, 131072)",
                "SELECT lo_unlink(77)",
                "COMMIT",
            ],
        ),
    ])
    .await;
}
