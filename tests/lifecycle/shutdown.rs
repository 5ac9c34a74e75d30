//! The proxy's own end: what runs finishes, what is new is refused, and a second request does not wait.

use std::time::Duration;

use pglanes_tests::{Proxy, Raw, ended, eventually, soon, tags, try_connect};

use super::{holder, waits};

const HOUR: Duration = Duration::from_secs(3600);

/// Until the proxy has begun to end.
async fn draining(proxy: &Proxy) {
    eventually("it drains", || async { proxy.view().await.draining }).await;
}

#[tokio::test]
async fn running_transactions_finish_idle_sessions_are_told_and_new_ones_refused() {
    let proxy = Proxy::with_slots(2).run().await;
    let mut running = Raw::ready(&proxy).await;
    assert_eq!(tags(&running.query("BEGIN").await), "CZ");
    let mut idle = Raw::ready(&proxy).await;
    proxy.handle().shutdown(HOUR).await;
    draining(&proxy).await;

    let goodbye = idle.until_end().await;
    assert_eq!(tags(&goodbye), "E");
    assert_eq!(goodbye[0].sqlstate(), "57P01");
    assert!(
        try_connect(&proxy, "").await.is_err(),
        "nobody new is let in"
    );

    assert_eq!(running.value("SELECT 'still here'").await, "still here");
    running
        .send(pglanes_tests::Script::new().query("COMMIT").bytes())
        .await;
    let last = running.until_end().await;
    assert_eq!(tags(&last), "CZE");
    assert_eq!(last[2].sqlstate(), "57P01");
    ended(&proxy).await;
}

#[tokio::test]
async fn a_waiting_transaction_is_told_and_not_left_hanging() {
    let proxy = Proxy::with_slots(1).run().await;
    let holding = holder(&proxy).await;
    let mut waiting = Raw::ready(&proxy).await;
    waiting
        .send(pglanes_tests::Script::new().query("SELECT 1").bytes())
        .await;
    waits(&proxy, 1).await;
    proxy.handle().shutdown(HOUR).await;
    let goodbye = waiting.until_end().await;
    assert_eq!(goodbye.last().unwrap().sqlstate(), "57P01", "{goodbye:?}");
    holding.batch_execute("COMMIT").await.unwrap();
    ended(&proxy).await;
}

#[tokio::test]
async fn a_session_that_is_pinned_and_idle_does_not_hold_it_up() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut pinned = Raw::ready(&proxy).await;
    pinned.query("LISTEN news").await;
    proxy.handle().shutdown(HOUR).await;
    assert_eq!(pinned.until_end().await[0].sqlstate(), "57P01");
    ended(&proxy).await;
}

#[tokio::test]
async fn a_second_request_ends_it_at_once() {
    let proxy = Proxy::with_slots(1).run().await;
    let holding = holder(&proxy).await;
    proxy.handle().shutdown(HOUR).await;
    draining(&proxy).await;
    proxy.handle().shutdown(Duration::ZERO).await;
    ended(&proxy).await;
    assert!(soon(holding.batch_execute("SELECT 1")).await.is_err());
}

#[tokio::test]
async fn after_the_grace_what_still_runs_is_cut_off_and_its_backend_ends() {
    let proxy = Proxy::with_slots(1).run().await;
    let holding = holder(&proxy).await;
    proxy.handle().shutdown(Duration::from_millis(100)).await;
    ended(&proxy).await;
    assert!(soon(holding.batch_execute("SELECT 1")).await.is_err());
    let direct = proxy.pg().direct().await;
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("no backend is left", || async {
        pglanes_tests::value(&direct, others).await == "0"
    })
    .await;
}
