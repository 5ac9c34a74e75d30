//! The settings that a lane's sessions start with, and come back to.

use pglanes_tests::{Proxy, connect, invariants, soon, value};
use tokio_postgres::Client;

use super::said;

const LANES: &str = "lanes:
  evaluation:
    match: [{ application_name: 'ragchecker*' }]
    settings: { statement_timeout: 61s, work_mem: 65MB, hnsw.ef_search: 101 }
  compaction:
    match: [{ lane: ltst, statement: [DELETE, VACUUM] }]
    settings: { statement_timeout: 0, work_mem: 7MB, hnsw.ef_search: 10 }
  ltst:
    match: [{ application_name: 'ltst*' }]
    settings: { statement_timeout: 31s, work_mem: 33MB, hnsw.ef_search: 41 }
  default: {}";

async fn shown(client: &Client) -> String {
    let sql = "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('work_mem'), \
               current_setting('hnsw.ef_search', true))";
    value(client, sql).await
}

#[tokio::test]
async fn each_lane_has_its_own_and_reset_comes_back_to_it() {
    let proxy = Proxy::with(LANES).run().await;
    for (name, expected) in [("ragchecker", "61s 65MB 101"), ("ltst", "31s 33MB 41")] {
        let client = connect(&proxy, &format!("application_name={name}")).await;
        assert_eq!(shown(&client).await, expected);
        let change = "SET work_mem = '1MB'; SET statement_timeout = 5000; SET hnsw.ef_search = 7";
        for reset in [
            "RESET ALL",
            "DISCARD ALL",
            "RESET work_mem; RESET statement_timeout; RESET hnsw.ef_search",
        ] {
            client.batch_execute(change).await.unwrap();
            assert_eq!(shown(&client).await, "5s 1MB 7", "{name}");
            client.batch_execute(reset).await.unwrap();
            assert_eq!(shown(&client).await, expected, "{name} after {reset}");
        }
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_one_session_sets_no_other_session_sees() {
    let proxy =
        Proxy::with("lanes: { default: { slots: { max: 1 }, settings: { work_mem: 9MB } } }")
            .run()
            .await;
    let one = connect(&proxy, "").await;
    let other = connect(&proxy, "").await;
    for _ in 0..3 {
        one.batch_execute("SET work_mem = '3MB'").await.unwrap();
        assert_eq!(value(&other, "SHOW work_mem").await, "9MB");
        assert_eq!(value(&one, "SHOW work_mem").await, "3MB");
        one.batch_execute("RESET work_mem").await.unwrap();
        assert_eq!(value(&one, "SHOW work_mem").await, "9MB");
    }
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_bulk_delete_runs_with_the_settings_of_its_own_lane() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "application_name=ltst-worker").await;
    client
        .batch_execute("CREATE TABLE old AS SELECT 1 AS number")
        .await
        .unwrap();
    assert_eq!(
        value(&client, "SELECT current_setting('work_mem')").await,
        "33MB"
    );
    let sql = "DELETE FROM old RETURNING current_setting('work_mem')";
    assert_eq!(value(&client, sql).await, "7MB");
    assert_eq!(
        value(&client, "SELECT current_setting('work_mem')").await,
        "33MB"
    );
    client.batch_execute("VACUUM old").await.unwrap();
    assert!(proxy.lane_metrics("compaction").transactions.get() >= 2);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_lanes_statement_timeout_ends_its_statement_alone() {
    let lanes = "lanes:
  hasty: { match: [{ application_name: 'hasty*' }], settings: { statement_timeout: 50ms } }
  default: {}";
    let proxy = Proxy::with(lanes).run().await;
    let hasty = connect(&proxy, "application_name=hasty").await;
    let error = soon(hasty.batch_execute("SELECT pg_sleep(600)"))
        .await
        .unwrap_err();
    assert_eq!(said(&error).0, "57014");
    assert_eq!(value(&hasty, "SHOW statement_timeout").await, "50ms");
    assert_eq!(
        value(&connect(&proxy, "").await, "SHOW statement_timeout").await,
        "0"
    );
    drop(hasty);
    invariants(&proxy).await;
}
