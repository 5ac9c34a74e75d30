//! That what is counted is what happened.

use std::time::Duration;

use pglanes_proxy::ServerEnd;
use pglanes_tests::{Proxy, connect, eventually, invariants, value};

#[tokio::test]
async fn a_statements_time_leaves_out_what_its_client_thinks_inside_the_transaction() {
    let pause = Duration::from_millis(300);
    let proxy = Proxy::with_slots(1).run().await;
    let client = connect(&proxy, "").await;
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    tokio::time::sleep(pause).await;
    client.batch_execute("SELECT 2").await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    // Without a transaction's frame the two are the same.
    client.batch_execute("SELECT 3").await.unwrap();
    let lane = proxy.lane_metrics("default");
    let count = |counts: [u64; 21]| counts.iter().sum::<u64>();
    assert_eq!(count(lane.transaction_time.counts()), 2);
    assert_eq!(count(lane.statement_time.counts()), 4);
    let (statements, transactions) = (lane.statement_time.sum(), lane.transaction_time.sum());
    assert!(statements > Duration::ZERO);
    assert!(
        statements + pause <= transactions,
        "{statements:?}, {transactions:?}"
    );
    assert!(lane.bytes_in.get() > 0 && lane.bytes_out.get() > 0);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn every_server_connection_that_closes_has_its_reason() {
    let proxy = Proxy::with_slots(2).run().await;
    let ended = |why| proxy.metrics().servers_ended(why);
    // One that its client leaves in the middle of a transaction.
    let client = connect(&proxy, "").await;
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    drop(client);
    eventually("the connection is closed", async || {
        ended(ServerEnd::Session) == 1
    })
    .await;
    // One that the server ends while nobody uses it.
    let client = connect(&proxy, "").await;
    let backend = value(&client, "SELECT pg_backend_pid()").await;
    let other = connect(proxy.pg(), "").await;
    other
        .batch_execute(&format!("SELECT pg_terminate_backend({backend}, 60000)"))
        .await
        .unwrap();
    assert_ne!(value(&client, "SELECT pg_backend_pid()").await, backend);
    eventually("the dead one is found", async || {
        ended(ServerEnd::FoundDead) == 1
    })
    .await;
    assert_eq!(
        (ended(ServerEnd::Lost), ended(ServerEnd::OutOfSync)),
        (0, 0)
    );
    drop((client, other));
    invariants(&proxy).await;
}
