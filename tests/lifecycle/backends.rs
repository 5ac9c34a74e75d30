//! One backend that is ended while others live.

use pglanes_tests::{Proxy, Raw, connect, eventually, invariants, tags, value};

use super::lane;

#[tokio::test]
async fn the_end_of_an_idle_backend_is_not_noticed() {
    let proxy = Proxy::with_slots(1).run().await;
    let client = connect(&proxy, "").await;
    let direct = proxy.pg().direct().await;
    for _ in 0..5 {
        let pid = value(&client, "SELECT pg_backend_pid()").await;
        let gone = format!("SELECT pg_terminate_backend({pid}, 10000)");
        assert_eq!(value(&direct, &gone).await, "t");
        // At once, or after the proxy has looked at its idle connections: no error either way.
        assert_ne!(value(&client, "SELECT pg_backend_pid()").await, pid);
    }
    assert_eq!(proxy.metrics().servers_lost.get(), 0);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_end_of_a_backend_in_a_transaction_reaches_its_client_and_nobody_else() {
    let proxy = Proxy::with_slots(2).run().await;
    let direct = proxy.pg().direct().await;
    let mut ended = Raw::ready(&proxy).await;
    let mut other = Raw::ready(&proxy).await;
    ended.query("BEGIN").await;
    other.query("BEGIN").await;
    let pid = ended.value("SELECT pg_backend_pid()").await;
    let gone = format!("SELECT pg_terminate_backend({pid}, 10000)");
    assert_eq!(value(&direct, &gone).await, "t");
    let last_words = ended.until_end().await;
    assert_eq!(tags(&last_words), "E", "{last_words:?}");
    assert_eq!(last_words[0].sqlstate(), "57P01");
    assert_eq!(other.value("SELECT 'alive'").await, "alive");
    assert_eq!(tags(&other.query("COMMIT").await), "CZ");
    eventually("its slot is free", || async {
        lane(&proxy, "default").await.busy == 0
    })
    .await;
    drop((ended, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_end_of_a_backend_in_a_query_reaches_its_client_in_the_servers_words() {
    let proxy = Proxy::with_slots(1).run().await;
    let direct = proxy.pg().direct().await;
    let mut ended = Raw::ready(&proxy).await;
    ended
        .send(
            pglanes_tests::Script::new()
                .query("SELECT pg_sleep(600)")
                .bytes(),
        )
        .await;
    let end_it = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                  WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid() AND state = 'active'";
    eventually("it is ended", || async {
        value(&direct, end_it).await == "1"
    })
    .await;
    let last_words = ended.until_end().await;
    assert_eq!(
        last_words.last().unwrap().sqlstate(),
        "57P01",
        "{last_words:?}"
    );
    drop(ended);
    assert_eq!(
        value(&connect(&proxy, "").await, "SELECT 'next'").await,
        "next"
    );
    invariants(&proxy).await;
}
