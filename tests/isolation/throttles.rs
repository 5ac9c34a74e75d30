//! While one lane is active, another has fewer slots.

use pglanes_tests::{Proxy, connect, eventually, invariants, soon, value};
use tokio::task::JoinHandle;

use super::{holder, lane, said, throttle, waits};

const LANES: &str = "lanes:
  evaluation: { match: [{ application_name: 'eval*' }] }
  compaction: { match: [{ application_name: 'compact*' }], slots: { max: 3 } }
  default: {}
";

/// The lanes, and compaction yielding to evaluation in this way.
fn with(condition: &str, effect: &str) -> String {
    format!(
        "{LANES}throttles:\n  - {{ name: yields, while: {{ lane: evaluation, {condition} }}, lane: compaction, {effect} }}"
    )
}

/// A query of the compaction's, running or waiting in the background.
async fn compaction(proxy: &Proxy) -> JoinHandle<String> {
    let client = connect(proxy, "application_name=compact").await;
    tokio::spawn(async move { value(&client, "SELECT 'compacted'").await })
}

#[tokio::test]
async fn compaction_is_held_while_the_evaluation_is_busy_and_resumes_when_it_has_lingered() {
    let proxy = Proxy::with(&with("is: busy, linger: 100ms", "slots: 0"))
        .run()
        .await;
    let evaluation = holder(&proxy, "eval").await;
    let held = compaction(&proxy).await;
    waits(&proxy, "compaction", 1).await;
    let now = lane(&proxy, "compaction").await;
    assert_eq!(
        (now.effective, now.throttled_by),
        (0, vec!["yields".to_owned()])
    );
    // Others are not held.
    assert_eq!(
        value(&connect(&proxy, "").await, "SELECT 'other'").await,
        "other"
    );
    assert!(!held.is_finished());
    evaluation.batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(held).await.unwrap(), "compacted");
    assert!(lane(&proxy, "compaction").await.throttled_total.as_millis() >= 100);
    drop(evaluation);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_first_login_into_a_lane_that_is_held_does_not_wait_for_the_lane() {
    let proxy = Proxy::with(&with("is: busy, linger: 0s", "slots: 0"))
        .run()
        .await;
    let evaluation = holder(&proxy, "eval").await;
    // A setting that nobody has asked for yet: the server is asked about this login.
    let newcomer = "application_name=compact options='-c geqo_threshold=13'";
    let client = soon(connect(&proxy, newcomer)).await;
    // Its work is held all the same.
    let held = tokio::spawn(async move { value(&client, "SHOW geqo_threshold").await });
    waits(&proxy, "compaction", 1).await;
    evaluation.batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(held).await.unwrap(), "13");
    drop(evaluation);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_throttle_lingers_after_the_last_transaction() {
    let proxy = Proxy::with(&with("is: busy, linger: 1h", "slots: 0"))
        .run()
        .await;
    let evaluation = holder(&proxy, "eval").await;
    evaluation.batch_execute("COMMIT").await.unwrap();
    let held = compaction(&proxy).await;
    waits(&proxy, "compaction", 1).await;
    assert_eq!(lane(&proxy, "evaluation").await.busy, 0);
    // The hour is over when a reload says so.
    proxy
        .reload(&with("is: busy, linger: 0s", "slots: 0"))
        .await
        .unwrap();
    assert_eq!(soon(held).await.unwrap(), "compacted");
    drop(evaluation);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_throttle_may_leave_some_slots() {
    let proxy = Proxy::with(&with("is: busy, linger: 0s", "slots: 1"))
        .run()
        .await;
    let evaluation = holder(&proxy, "eval").await;
    let first = holder(&proxy, "compact").await;
    let held = compaction(&proxy).await;
    waits(&proxy, "compaction", 1).await;
    assert_eq!(lane(&proxy, "compaction").await.busy, 1);
    first.batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(held).await.unwrap(), "compacted");
    drop((evaluation, first));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_duty_cycle_holds_back_and_lets_through() {
    let proxy = Proxy::with(&with("is: busy, linger: 0s", "slots: 50%"))
        .run()
        .await;
    let evaluation = holder(&proxy, "eval").await;
    let client = connect(&proxy, "application_name=compact").await;
    // As many as it takes to be held back once: each is served all the same.
    let mut served = 0;
    while throttle(&proxy).await.held_back == 0 || served == 0 {
        assert_eq!(
            soon(value(&client, "SELECT 'compacted'")).await,
            "compacted"
        );
        served += 1;
    }
    assert_eq!(
        lane(&proxy, "evaluation").await.busy,
        1,
        "it was busy all the while"
    );
    drop((evaluation, client));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_runs_on_is_cancelled_and_told_why() {
    let effect = "slots: 0, running: { cancel_after: 100ms }";
    let proxy = Proxy::with(&with("is: busy, linger: 0s", effect))
        .run()
        .await;
    let compaction = connect(&proxy, "application_name=compact").await;
    let running = tokio::spawn(async move {
        let error = compaction
            .batch_execute("SELECT pg_sleep(600)")
            .await
            .unwrap_err();
        (compaction, said(&error))
    });
    eventually("it runs", || async {
        lane(&proxy, "compaction").await.busy == 1
    })
    .await;
    let evaluation = holder(&proxy, "eval").await;
    let (compaction, (state, text)) = soon(running).await.unwrap();
    assert_eq!(state, "57014");
    assert!(
        text.contains("\"compaction\"") && text.contains("\"yields\""),
        "{text}"
    );
    assert_eq!(proxy.metrics().throttle_cancels.get(), 1);
    evaluation.batch_execute("COMMIT").await.unwrap();
    assert_eq!(value(&compaction, "SELECT 'alive'").await, "alive");
    drop((evaluation, compaction));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_ends_for_another_reason_is_told_that_one() {
    let effect = "slots: 0, running: { cancel_after: 1ms }";
    let proxy = Proxy::with(&with("is: busy, linger: 0s", effect))
        .run()
        .await;
    // What is cancelled ends well all the same.
    let compaction = holder(&proxy, "compact").await;
    let survives =
        "DO $$BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END$$";
    let running = tokio::spawn(async move {
        soon(compaction.batch_execute(survives)).await.unwrap();
        compaction
    });
    let direct = proxy.pg().direct().await;
    eventually("it runs", || async {
        let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        value(&direct, sleeps).await == "1"
    })
    .await;
    let evaluation = holder(&proxy, "eval").await;
    let compaction = soon(running).await.unwrap();
    eventually("the cancel has arrived", || async {
        proxy.metrics().cancels_forwarded.get() >= 1
    })
    .await;
    let times_out = "SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(600)";
    let error = soon(compaction.batch_execute(times_out)).await.unwrap_err();
    let (state, text) = said(&error);
    assert_eq!(state, "57014");
    assert!(text.contains("statement timeout"), "{text}");
    drop((evaluation, compaction));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_runs_may_finish() {
    let proxy = Proxy::with(&with("is: busy, linger: 0s", "slots: 0, running: finish"))
        .run()
        .await;
    let compaction = holder(&proxy, "compact").await;
    let evaluation = holder(&proxy, "eval").await;
    assert_eq!(lane(&proxy, "compaction").await.effective, 0);
    compaction.batch_execute("SELECT 1; COMMIT").await.unwrap();
    assert_eq!(proxy.metrics().throttle_cancels.get(), 0);
    drop((evaluation, compaction));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_connected_evaluation_is_enough_where_the_throttle_says_so() {
    let proxy = Proxy::with(&with("is: connected, linger: 0s", "slots: 0"))
        .run()
        .await;
    // The first login of all asks the server who it is, and may do so in any lane.
    drop(connect(&proxy, "").await);
    let evaluation = connect(&proxy, "application_name=eval").await;
    eventually("it is connected", || async {
        lane(&proxy, "evaluation").await.sessions == 1
    })
    .await;
    let held = compaction(&proxy).await;
    waits(&proxy, "compaction", 1).await;
    assert_eq!(lane(&proxy, "evaluation").await.busy, 0);
    drop(evaluation);
    assert_eq!(soon(held).await.unwrap(), "compacted");
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_throttle_that_only_observes_holds_nothing_back_and_counts() {
    let proxy = Proxy::with(&with("is: busy, linger: 0s", "slots: 0, mode: observe"))
        .run()
        .await;
    let evaluation = holder(&proxy, "eval").await;
    assert_eq!(soon(compaction(&proxy).await).await.unwrap(), "compacted");
    assert_eq!(throttle(&proxy).await.held_back, 1);
    assert_eq!(
        lane(&proxy, "compaction").await.throttled_by,
        Vec::<String>::new()
    );
    drop(evaluation);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_lane_that_only_observes_holds_nothing_back_and_counts() {
    let lanes = "lanes: { default: { mode: observe, slots: { max: 1 }, queue: { length: 0, timeout: 1s } } }";
    let proxy = Proxy::with(lanes).slots(3).run().await;
    let holders = [
        holder(&proxy, "a").await,
        holder(&proxy, "b").await,
        holder(&proxy, "c").await,
    ];
    let now = lane(&proxy, "default").await;
    assert_eq!((now.busy, now.would_hold), (3, 2), "{now:?}");
    drop(holders);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_reload_serves_those_who_wait() {
    let proxy = Proxy::with("lanes: { default: { slots: { max: 1 } } }")
        .slots(4)
        .run()
        .await;
    let holding = holder(&proxy, "holder").await;
    let mut waiters = Vec::new();
    for count in 1..=3 {
        waiters.push(compaction(&proxy).await);
        waits(&proxy, "default", count).await;
    }
    proxy
        .reload("lanes: { default: { slots: { max: 3 } } }")
        .await
        .unwrap();
    for waiter in waiters {
        assert_eq!(soon(waiter).await.unwrap(), "compacted");
    }
    assert_eq!(
        lane(&proxy, "default").await.busy,
        1,
        "the holder was not disturbed"
    );
    drop(holding);
    invariants(&proxy).await;
}
