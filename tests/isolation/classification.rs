//! Which lane a session or a transaction belongs to: one test for each thing that a rule may ask for.

use pglanes_tests::{Proxy, Target, connect, invariants, soon, try_connect, value};

use super::{lane, said};

const LANES: &str = "lanes:
  near: { match: [{ application_name: 'near*', address: 127.0.0.0/8 }], settings: { work_mem: 2MB } }
  far: { match: [{ application_name: 'near*', address: 192.0.2.0/24 }, { application_name: 'far*', address: local }] }
  bulk: { match: [{ statement: [BULK DELETE, BULK UPDATE] }] }
  delete: { match: [{ statement: DELETE }] }
  archive: { match: [{ table: [archive.*, 'log_?'] }] }
  search: { match: [{ text: '^select .* order by e <=> \\?' }] }
  tagged: { match: [{ tag: { job: 'a*', route: /x }}], settings: { work_mem: 3MB } }
  chosen: { chosen_by: [{ application_name: 'may*' }], settings: { work_mem: 5MB } }
  default: { settings: { work_mem: 9MB } }
";

/// How many transactions the lane has run.
async fn runs(proxy: &Proxy, name: &str) -> u64 {
    lane(proxy, name).await.grants
}

#[tokio::test]
async fn a_session_goes_by_where_it_comes_from() {
    let folder = std::env::temp_dir().join(format!("pglanes-classify-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let proxy = Proxy::with(LANES).socket(&folder).run().await;
    let client = connect(&proxy, "application_name=near").await;
    assert_eq!(value(&client, "SHOW work_mem").await, "2MB");
    let text = format!(
        "host={} port=6433 user=postgres dbname={} application_name=far",
        folder.display(),
        proxy.database()
    );
    let (local, connection) = soon(tokio_postgres::connect(&text, tokio_postgres::NoTls))
        .await
        .unwrap();
    tokio::spawn(connection);
    assert_eq!(value(&local, "SELECT 1").await, "1");
    assert_eq!(runs(&proxy, "far").await, 1);
    drop((client, local));
    invariants(&proxy).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_transaction_goes_by_its_statement_its_tables_and_its_text() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "").await;
    let direct = proxy.pg().direct().await;
    let made = "CREATE TABLE t (id int, e vector(3)); CREATE TABLE log_1 (id int);
        CREATE SCHEMA archive; CREATE TABLE archive.old (id int)";
    soon(direct.batch_execute(made)).await.unwrap();
    for (sql, expected) in [
        ("DELETE FROM t WHERE id < 5", "bulk"),
        ("UPDATE t SET id = 1", "bulk"),
        ("DELETE FROM t WHERE id = 5", "delete"),
        ("UPDATE t SET id = 1 WHERE id = 2", "default"),
        ("SELECT * FROM t JOIN archive.old USING (id)", "archive"),
        ("INSERT INTO public.log_1 VALUES (1)", "archive"),
        ("VACUUM log_1", "archive"),
        ("CREATE INDEX ON log_1 (id)", "archive"),
        ("COPY archive.old TO STDOUT", "archive"),
        (
            "SELECT id FROM t ORDER BY e <=> '[1,2,3]' LIMIT 1",
            "search",
        ),
        ("/* x */ select id\nfrom t order by e<=>'[3,2,1]'", "search"),
        ("SELECT id FROM t ORDER BY e", "default"),
    ] {
        let before = runs(&proxy, expected).await;
        let transactions = if sql.starts_with("COPY") {
            // This client prepares it first.
            drop(soon(client.copy_out(sql)).await.unwrap());
            soon(client.batch_execute("")).await.unwrap();
            2
        } else {
            soon(client.simple_query(sql)).await.unwrap();
            1
        };
        let after = runs(&proxy, expected).await;
        assert_eq!(after, before + transactions, "{sql}");
    }
    // The extended protocol's statements, at their Parse and, when they are prepared, at their Bind.
    let before = runs(&proxy, "bulk").await;
    let statement = soon(client.prepare("DELETE FROM t WHERE id > $1"))
        .await
        .unwrap();
    soon(client.execute(&statement, &[&5])).await.unwrap();
    soon(client.execute(&statement, &[&6])).await.unwrap();
    assert_eq!(runs(&proxy, "bulk").await, before + 3);
    drop((client, direct, statement));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_transaction_goes_by_the_tags_of_its_comments() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "").await;
    for (sql, expected) in [
        (
            "/*job='abc',route='%2Fx'*/ SELECT current_setting('work_mem')",
            "3MB",
        ),
        (
            "SELECT current_setting('work_mem') /*route='/x', job='a',other='y'*/;",
            "3MB",
        ),
        (
            "/*job='abc'*/ SELECT current_setting('work_mem') /*route='/x'*/",
            "3MB",
        ),
        ("/*job='abc'*/ SELECT current_setting('work_mem')", "9MB"),
        (
            "SELECT '/*job=''abc'',route=''/x''*/', current_setting('work_mem')",
            "/*job='abc',route='/x'*/",
        ),
    ] {
        assert_eq!(value(&client, sql).await, expected, "{sql}");
    }
    assert_eq!(runs(&proxy, "tagged").await, 3);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_session_chooses_a_lane_that_it_may() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "application_name=may").await;
    assert_eq!(value(&client, "SHOW pglanes.lane").await, "default");
    soon(client.batch_execute("SET pglanes.lane = 'chosen'"))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "5MB");
    assert_eq!(value(&client, "SHOW pglanes.lane").await, "chosen");
    // PostgreSQL knows it as any setting of an application's own.
    assert_eq!(
        value(&client, "SELECT current_setting('pglanes.lane')").await,
        "chosen"
    );
    soon(client.batch_execute("RESET pglanes.lane"))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "9MB");
    assert_eq!(value(&client, "SHOW pglanes.lane").await, "default");
    // Rolled back it is no choice, committed it is.
    let choice = "BEGIN; SET pglanes.lane = 'chosen'; ";
    soon(client.batch_execute(&format!("{choice} ROLLBACK")))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "9MB");
    soon(client.batch_execute(&format!("{choice} COMMIT")))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "5MB");
    soon(client.batch_execute("DISCARD ALL")).await.unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "9MB");
    soon(client.execute("SET pglanes.lane TO chosen", &[]))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "5MB");
    drop(client);
    // As a startup option.
    let client = connect(
        &proxy,
        "application_name=may options='-c pglanes.lane=chosen'",
    )
    .await;
    assert_eq!(value(&client, "SHOW work_mem").await, "5MB");
    soon(client.batch_execute("RESET ALL")).await.unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "5MB");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_lane_is_not_chosen_by_those_who_may_not() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "application_name=other").await;
    let refused = |error: tokio_postgres::Error| said(&error);
    let error = soon(client.batch_execute("SET pglanes.lane = 'chosen'"))
        .await
        .unwrap_err();
    assert_eq!(
        refused(error),
        (
            "42501".into(),
            "permission denied to choose lane \"chosen\"".into()
        )
    );
    let error = soon(client.execute("SET pglanes.lane = 'chosen'", &[]))
        .await
        .unwrap_err();
    assert_eq!(refused(error).0, "42501");
    let error = soon(client.batch_execute("SET pglanes.lane = 'nowhere'"))
        .await
        .unwrap_err();
    assert_eq!(refused(error).0, "22023");
    // In a transaction it is a setting that means nothing, and the session is told.
    soon(client.batch_execute("BEGIN; SET pglanes.lane = 'chosen'; COMMIT"))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "9MB");
    for (option, code) in [("chosen", "42501"), ("nowhere", "22023")] {
        let parameters = format!("application_name=other options='-c pglanes.lane={option}'");
        let error = try_connect(&proxy, &parameters).await.err().unwrap();
        assert_eq!(refused(error).0, code);
    }
    drop(client);
    invariants(&proxy).await;
}
