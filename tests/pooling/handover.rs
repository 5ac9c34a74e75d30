//! Server connections go from client to client at the end of each transaction, and only then.

use futures_util::future::join_all;
use pglanes_tests::{Proxy, connect, eventually, invariants, soon, value};

const CLIENTS: i32 = 24;

#[tokio::test]
async fn many_clients_share_few_server_connections_and_each_gets_its_own_rows() {
    let proxy = Proxy::with_slots(3).run().await;
    let work = (0..CLIENTS).map(|me| {
        let proxy = &proxy;
        async move {
            let mut client = connect(proxy, &format!("application_name=client{me}")).await;
            let statement = client.prepare("SELECT $1::int, $2::int").await.unwrap();
            for turn in 0..20 {
                let rows = client.query(&statement, &[&me, &turn]).await.unwrap();
                assert_eq!(
                    (rows[0].get::<_, i32>(0), rows[0].get::<_, i32>(1)),
                    (me, turn)
                );
                let transaction = client.transaction().await.unwrap();
                transaction
                    .batch_execute(&format!("SET LOCAL a.tag = '{me}'"))
                    .await
                    .unwrap();
                let tag = transaction
                    .query_one("SELECT current_setting('a.tag')", &[])
                    .await
                    .unwrap();
                assert_eq!(tag.get::<_, String>(0), me.to_string());
                transaction.commit().await.unwrap();
                assert_eq!(
                    value(&client, "SHOW application_name").await,
                    format!("client{me}")
                );
            }
        }
    });
    soon(join_all(work)).await;
    assert!(proxy.metrics().servers_opened.get() <= 3);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_transaction_keeps_its_connection_to_its_end() {
    let proxy = Proxy::with_slots(1).run().await;
    let one = connect(&proxy, "").await;
    let two = connect(&proxy, "").await;
    soon(one.batch_execute("BEGIN; CREATE TABLE mine (a int)"))
        .await
        .unwrap();
    let waits = tokio::spawn(async move {
        value(&two, "SELECT count(*) FROM pg_class WHERE relname = 'mine'").await
    });
    eventually("the other client waits", || async {
        proxy.view().await.scheduler.waiting == 1
    })
    .await;
    // A failed transaction is not over either.
    assert!(soon(one.batch_execute("SELECT 1/0")).await.is_err());
    assert!(!waits.is_finished());
    soon(one.batch_execute("ROLLBACK")).await.unwrap();
    assert_eq!(soon(waits).await.unwrap(), "0");
    drop(one);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_chained_transaction_keeps_its_connection() {
    let proxy = Proxy::with_slots(1).run().await;
    let one = connect(&proxy, "").await;
    let two = connect(&proxy, "").await;
    soon(one.batch_execute("BEGIN; SELECT 1; COMMIT AND CHAIN"))
        .await
        .unwrap();
    let waits = tokio::spawn(async move { value(&two, "SELECT 2").await });
    eventually("the other client waits", || async {
        proxy.view().await.scheduler.waiting == 1
    })
    .await;
    soon(one.batch_execute("ROLLBACK")).await.unwrap();
    assert_eq!(soon(waits).await.unwrap(), "2");
    drop(one);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_client_that_vanishes_in_a_transaction_leaves_nothing_of_it() {
    let proxy = Proxy::with_slots(1).run().await;
    for _ in 0..5 {
        let gone = connect(&proxy, "").await;
        soon(gone.batch_execute("BEGIN; CREATE TABLE never (a int)"))
            .await
            .unwrap();
        drop(gone);
        let next = connect(&proxy, "").await;
        let found = value(
            &next,
            "SELECT count(*) FROM pg_class WHERE relname = 'never'",
        )
        .await;
        assert_eq!(found, "0");
    }
    invariants(&proxy).await;
}
