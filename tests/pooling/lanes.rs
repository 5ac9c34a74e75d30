//! A session's lane, and that of a single transaction, by what is known of them.

use pglanes_tests::{Proxy, connect, invariants, psql, soon, value};

const LANES: &str = "
lanes:
  evaluation:
    match: [{ application_name: \"ragchecker*\" }]
    slots: { max: 3 }
    settings: { work_mem: 64MB, statement_timeout: 60s }
  compaction:
    match:
      - application_name: \"ltst-compaction*\"
      - { lane: ltst, statement: [DELETE, VACUUM, ANALYZE, REINDEX, CREATE INDEX, CLUSTER] }
      - { tag: { job: compaction } }
    slots: { max: 2 }
    settings: { work_mem: 5MB, statement_timeout: 0 }
  ltst:
    match: [{ application_name: \"ltst*\" }]
    slots: { max: 3 }
    settings: { work_mem: 32MB, statement_timeout: 30s }
  readonly:
    match: [{ user: \"readonly*\" }, { application_name: \"grafana*\" }]
    slots: { max: 2 }
    settings: { default_transaction_read_only: on, statement_timeout: 15s }
  default: { slots: { max: 2 } }
";

async fn transactions(proxy: &Proxy, lane: &str) -> u64 {
    let view = proxy.view().await;
    let lane = view.scheduler.lanes.iter().find(|known| known.name == lane);
    lane.unwrap().grants
}

#[tokio::test]
async fn psql_sees_the_envelope_of_its_lane() {
    let proxy = Proxy::with(LANES).run().await;
    let wanted = [
        ("ragchecker", "64MB\n1min"),
        ("ltst", "32MB\n30s"),
        ("ltst-compaction-7", "5MB\n0"),
        ("grafana", "4MB\n15s"),
        ("psql", "4MB\n0"),
    ];
    for (name, settings) in wanted {
        let show = ["-c", "SHOW work_mem", "-c", "SHOW statement_timeout"];
        let output = psql(&proxy, name, &show).await;
        assert_eq!(output.stdout, settings, "{name}: {output:?}");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_new_application_name_counts_from_the_next_transaction_on() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "application_name=ltst").await;
    assert_eq!(value(&client, "SHOW work_mem").await, "32MB");
    soon(client.batch_execute("SET application_name = 'ragchecker 7'"))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "64MB");
    assert_eq!(
        value(&client, "SHOW application_name").await,
        "ragchecker 7"
    );
    // Within a transaction the lane stays what it was.
    let inside = value(
        &client,
        "BEGIN; SET application_name = 'ltst'; SHOW work_mem",
    )
    .await;
    assert_eq!(inside, "64MB");
    assert_eq!(value(&client, "SHOW work_mem").await, "64MB");
    soon(client.batch_execute("COMMIT")).await.unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "32MB");
    soon(client.batch_execute("BEGIN; SET application_name = 'ragchecker'; ROLLBACK"))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "32MB");
    soon(client.batch_execute("SET application_name = 'ragchecker'"))
        .await
        .unwrap();
    soon(client.batch_execute("RESET application_name"))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "32MB");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_setting_made_by_the_session_outlives_its_change_of_lane() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "application_name=ltst").await;
    soon(client.batch_execute("SET work_mem = '7MB'"))
        .await
        .unwrap();
    soon(client.batch_execute("SET application_name = 'ragchecker'"))
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "7MB");
    assert_eq!(value(&client, "SHOW statement_timeout").await, "1min");
    soon(client.batch_execute("RESET work_mem")).await.unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "64MB");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn heavy_kinds_of_statements_run_in_the_compaction_lane() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "application_name=ltst").await;
    soon(
        client.batch_execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 9)"),
    )
    .await
    .unwrap();
    let mut wanted = transactions(&proxy, "compaction").await;
    assert_eq!(wanted, 0);
    for sql in [
        "DELETE FROM t WHERE a = 1",
        "/* nightly */ delete from t where a = 2",
        "WITH old AS (SELECT 3 AS a) DELETE FROM t USING old WHERE t.a = old.a",
        "VACUUM t",
        "ANALYZE t",
        "CREATE INDEX i ON t (a)",
        "REINDEX TABLE t",
        "CLUSTER t USING i",
    ] {
        soon(client.batch_execute(sql)).await.unwrap();
        wanted += 1;
        assert_eq!(transactions(&proxy, "compaction").await, wanted, "{sql}");
    }
    for sql in [
        "SELECT 'DELETE FROM t'",
        "UPDATE t SET a = a",
        "BEGIN; DELETE FROM t WHERE a = 4; COMMIT",
    ] {
        soon(client.batch_execute(sql)).await.unwrap();
        assert_eq!(transactions(&proxy, "compaction").await, wanted, "{sql}");
    }
    // A rule about tags alone holds in every lane behind its own.
    soon(client.batch_execute("SELECT 1 /*job='compaction'*/"))
        .await
        .unwrap();
    wanted += 1;
    assert_eq!(transactions(&proxy, "compaction").await, wanted);
    // By the extended protocol, and under a name too.
    let statement = soon(client.prepare("DELETE FROM t WHERE a = $1"))
        .await
        .unwrap();
    let before = transactions(&proxy, "compaction").await;
    assert_eq!(soon(client.execute(&statement, &[&5])).await.unwrap(), 1);
    assert_eq!(transactions(&proxy, "compaction").await, before + 1);
    // The session is where it was.
    assert_eq!(value(&client, "SHOW work_mem").await, "32MB");
    // And another lane's DELETE is none of compaction's.
    let other = connect(&proxy, "application_name=ragchecker").await;
    soon(other.batch_execute("DELETE FROM t")).await.unwrap();
    assert_eq!(transactions(&proxy, "compaction").await, before + 1);
    drop((client, other, statement));
    invariants(&proxy).await;
}
