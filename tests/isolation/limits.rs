//! A queue's bounds: what a client is told that meets them, and that its session lives on (design rule 7).

use std::time::Duration;

use pglanes_tests::{Proxy, Raw, Script, connect, invariants, soon, tags, value};

use super::{holder, lane, said, waits};

const ONE_MAY_WAIT: &str =
    "lanes: { default: { slots: { max: 1 }, queue: { length: 1, timeout: 60s } } }";
const NOBODY_WAITS_LONG: &str =
    "lanes: { default: { slots: { max: 1 }, queue: { length: 9, timeout: 200ms } } }";

#[tokio::test]
async fn a_full_queue_refuses_with_53300_and_the_session_lives_on() {
    let proxy = Proxy::with(ONE_MAY_WAIT).run().await;
    let holding = holder(&proxy, "holder").await;
    let waiting = connect(&proxy, "").await;
    let waiter = tokio::spawn(async move { waiting.batch_execute("SELECT 1").await });
    waits(&proxy, "default", 1).await;

    let refused = connect(&proxy, "").await;
    let error = refused.batch_execute("SELECT 1").await.unwrap_err();
    let (state, text) = said(&error);
    assert_eq!(state, "53300");
    assert!(text.contains("\"default\"") && text.contains('1'), "{text}");
    // The same by the extended protocol.
    let error = refused.query("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(said(&error).0, "53300");

    holding.batch_execute("COMMIT").await.unwrap();
    soon(waiter).await.unwrap().unwrap();
    assert_eq!(value(&refused, "SELECT 'alive'").await, "alive");
    assert_eq!(refused.query("SELECT 1", &[]).await.unwrap().len(), 1);
    assert_eq!(
        proxy
            .lane_metrics("default")
            .refused(pglanes_proxy::Refused::QueueFull),
        2
    );
    drop((holding, refused));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_wait_that_takes_too_long_is_answered_with_57014_and_the_session_lives_on() {
    let proxy = Proxy::with(NOBODY_WAITS_LONG).run().await;
    let holding = holder(&proxy, "holder").await;
    let client = connect(&proxy, "").await;
    let error = soon(client.batch_execute("SELECT 1")).await.unwrap_err();
    let (state, text) = said(&error);
    assert_eq!(state, "57014");
    assert!(text.contains("\"default\""), "the lane: {text}");
    assert!(text.contains("timeout 0.2 s"), "the limit: {text}");
    assert!(text.contains("within 0."), "how long it waited: {text}");
    let error = soon(client.query("SELECT 1", &[])).await.unwrap_err();
    assert_eq!(said(&error).0, "57014");
    holding.batch_execute("COMMIT").await.unwrap();
    assert_eq!(value(&client, "SELECT 'alive'").await, "alive");
    assert_eq!(lane(&proxy, "default").await.rejected_timed_out, 2);
    drop((holding, client));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_refused_pipeline_gets_one_error_for_each_sync() {
    let proxy = Proxy::with(NOBODY_WAITS_LONG).run().await;
    let holding = holder(&proxy, "holder").await;
    let mut raw = Raw::ready(&proxy).await;
    let pipeline = Script::new()
        .parse("named", "SELECT 'never'")
        .run_prepared("named", &[])
        .run("SELECT 'never'", &[])
        .sync();
    let answers = raw.ask(&pipeline).await;
    assert_eq!(tags(&answers), "EZ", "{answers:?}");
    assert_eq!(answers[0].sqlstate(), "57014");
    // Two transactions sent at once are refused one by one.
    raw.say(
        &Script::new()
            .query("SELECT 'never'")
            .run("SELECT 'never'", &[])
            .sync(),
    )
    .await;
    assert_eq!(tags(&raw.until_ready().await), "EZ");
    assert_eq!(tags(&raw.until_ready().await), "EZ");
    holding.batch_execute("COMMIT").await.unwrap();
    // What a refused Parse named is not there, as after any error.
    let answers = raw
        .ask(&Script::new().run_prepared("named", &[]).sync())
        .await;
    assert_eq!(answers[0].sqlstate(), "26000", "{answers:?}");
    assert_eq!(raw.value("SELECT 'alive'").await, "alive");
    drop((holding, raw));
    invariants(&proxy).await;
}

#[tokio::test]
async fn nobody_waits_inside_a_transaction() {
    let proxy = Proxy::with_slots(1).run().await;
    let holding = holder(&proxy, "holder").await;
    let waiting = connect(&proxy, "").await;
    let waiter = tokio::spawn(async move { value(&waiting, "SELECT 'after'").await });
    waits(&proxy, "default", 1).await;
    for _ in 0..10 {
        let answer =
            tokio::time::timeout(Duration::from_secs(20), holding.batch_execute("SELECT 1"));
        answer
            .await
            .expect("a transaction that runs is not held up")
            .unwrap();
    }
    assert_eq!(lane(&proxy, "default").await.waiting, 1);
    holding.batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(waiter).await.unwrap(), "after");
    drop(holding);
    invariants(&proxy).await;
}
