//! What becomes of transactions that go too far, and of borrowed slots that a protected lane has a right to.

use pglanes_lanes::RuleSnapshot;
use pglanes_tests::{Proxy, Raw, Script, connect, eventually, invariants, soon, tags, value};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::{holder, lane, said, waits};

/// The default lane with one rule, and a lane to move to.
fn with_rule(when: &str, then: &str) -> String {
    format!(
        "lanes:
  aside: {{ match: [{{ application_name: 'aside*' }}] }}
  default: {{ rules: [{{ name: limit, when: {{ {when} }}, then: {then} }}] }}"
    )
}

async fn rule(proxy: &Proxy) -> RuleSnapshot {
    lane(proxy, "default").await.rules.remove(0)
}

async fn met(proxy: &Proxy) {
    eventually("the rule is met", || async { rule(proxy).await.met == 1 }).await;
}

/// A statement that ends by itself in ten minutes, in the background.
fn sleep(client: Client) -> JoinHandle<(Client, (String, String))> {
    tokio::spawn(async move {
        let error = client
            .batch_execute("SELECT pg_sleep(600)")
            .await
            .unwrap_err();
        (client, said(&error))
    })
}

#[tokio::test]
async fn what_runs_too_long_is_cancelled_with_lane_and_rule() {
    let proxy = Proxy::with(&with_rule("running: 100ms", "cancel"))
        .run()
        .await;
    let running = sleep(connect(&proxy, "").await);
    let (client, (state, text)) = soon(running).await.unwrap();
    assert_eq!(state, "57014");
    assert!(
        text.contains("\"default\"") && text.contains("\"limit\""),
        "{text}"
    );
    assert_eq!(value(&client, "SELECT 'alive'").await, "alive");
    let rule = rule(&proxy).await;
    assert_eq!((rule.met, rule.acted, rule.action), (1, 1, "cancel"));
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_transaction_that_idles_when_it_is_cancelled_is_aborted_where_it_stands() {
    let proxy = Proxy::with(&with_rule("running: 100ms", "cancel"))
        .run()
        .await;
    let client = holder(&proxy, "idler").await;
    client
        .batch_execute("SELECT pg_advisory_xact_lock(4711)")
        .await
        .unwrap();
    met(&proxy).await;
    // Its locks are free, and nobody had to end the session.
    let direct = proxy.pg().direct().await;
    soon(direct.batch_execute("SELECT pg_advisory_lock(4711)"))
        .await
        .unwrap();
    let (state, text) = said(&client.batch_execute("SELECT 1").await.unwrap_err());
    assert_eq!(state, "57014");
    assert!(text.contains("\"limit\""), "{text}");
    // From here on it is as after any error.
    let (state, _) = said(&client.batch_execute("SELECT 1").await.unwrap_err());
    assert_eq!(state, "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(value(&client, "SELECT 'alive'").await, "alive");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_commit_of_an_aborted_transaction_is_an_error_and_its_rollback_is_none() {
    let proxy = Proxy::with(&with_rule("idle_in_transaction: 50ms", "cancel"))
        .run()
        .await;
    let direct = proxy.pg().direct().await;
    direct
        .batch_execute("CREATE TABLE kept (n int)")
        .await
        .unwrap();
    let begin = || Script::new().query("BEGIN; INSERT INTO kept VALUES (1)");
    for extended in [false, true] {
        let mut raw = Raw::ready(&proxy).await;
        let before = rule(&proxy).await.met;
        raw.ask(&begin()).await;
        eventually("it is aborted", || async {
            rule(&proxy).await.met == before + 1
        })
        .await;
        let commit = match extended {
            false => Script::new().query("COMMIT"),
            true => Script::new().run("COMMIT", &[]).sync(),
        };
        let answers = raw.ask(&commit).await;
        let error = answers.iter().find(|answer| answer.tag == b'E');
        let error = error.unwrap_or_else(|| panic!("no error: {answers:?}"));
        assert_eq!(error.sqlstate(), "57014");
        assert_eq!(raw.value("SELECT 'alive'").await, "alive");
    }
    let mut raw = Raw::ready(&proxy).await;
    raw.ask(&begin()).await;
    eventually("it is aborted", || async { rule(&proxy).await.met == 3 }).await;
    assert_eq!(tags(&raw.ask(&Script::new().query("ROLLBACK")).await), "CZ");
    assert_eq!(value(&direct, "SELECT count(*)::text FROM kept").await, "0");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_pinned_session_between_its_transactions_runs_nothing_and_its_state_lives_on() {
    let proxy = Proxy::with(&with_rule("running: 1s", "cancel")).run().await;
    let client = connect(&proxy, "").await;
    client
        .batch_execute("CREATE TEMP TABLE mine AS SELECT 'mine' AS word")
        .await
        .unwrap();
    eventually("it is between its transactions", || async {
        lane(&proxy, "default").await.kept == 1
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(rule(&proxy).await.met, 0);
    let (client, (state, _)) = soon(sleep(client)).await.unwrap();
    assert_eq!(state, "57014");
    assert_eq!(value(&client, "SELECT word FROM mine").await, "mine");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn who_waits_too_long_is_rejected_by_name() {
    let lanes = "lanes: { default: { slots: { max: 1 }, rules: [{ name: impatient, when: { queued: 100ms }, then: reject }] } }";
    let proxy = Proxy::with(lanes).slots(1).run().await;
    let holding = holder(&proxy, "holder").await;
    let client = connect(&proxy, "").await;
    let (state, text) = said(&soon(client.batch_execute("SELECT 1")).await.unwrap_err());
    assert_eq!(state, "57014");
    assert!(
        text.contains("\"default\"") && text.contains("\"impatient\""),
        "{text}"
    );
    holding.batch_execute("COMMIT").await.unwrap();
    assert_eq!(value(&client, "SELECT 'alive'").await, "alive");
    drop((holding, client));
    invariants(&proxy).await;
}

#[tokio::test]
async fn rows_and_bytes_are_counted_by_the_transaction() {
    for (when, sql) in [
        ("rows: 100", "SELECT generate_series(1, 60)"),
        ("bytes: 4kB", "SELECT repeat('x', 3000)"),
    ] {
        let proxy = Proxy::with(&with_rule(when, "log")).run().await;
        let client = connect(&proxy, "").await;
        for _ in 0..3 {
            client.batch_execute(sql).await.unwrap();
        }
        assert_eq!(rule(&proxy).await.met, 0, "{when}: each by itself");
        client.batch_execute("BEGIN").await.unwrap();
        for _ in 0..3 {
            client.batch_execute(sql).await.unwrap();
        }
        client.batch_execute("COMMIT").await.unwrap();
        assert_eq!(rule(&proxy).await.met, 1, "{when}: together");
        drop(client);
        invariants(&proxy).await;
    }
}

#[tokio::test]
async fn a_result_without_end_is_cut_off() {
    let proxy = Proxy::with(&with_rule("rows: 1000", "cancel")).run().await;
    let client = connect(&proxy, "").await;
    // In the list of what is selected it comes row by row; in FROM it would be stored first.
    let endless = "SELECT repeat('x', 1000), generate_series(1, 1000000000)";
    let (state, text) = said(&soon(client.batch_execute(endless)).await.unwrap_err());
    assert_eq!(state, "57014");
    assert!(text.contains("\"limit\""), "{text}");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_session_is_moved_with_its_next_transactions() {
    let proxy = Proxy::with(&with_rule("rows: 10", "{ move: aside }"))
        .run()
        .await;
    let client = connect(&proxy, "").await;
    client
        .batch_execute("SELECT generate_series(1, 20)")
        .await
        .unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(lane(&proxy, "aside").await.busy, 1);
    assert_eq!(lane(&proxy, "default").await.busy, 0);
    client.batch_execute("COMMIT").await.unwrap();
    // Another name is another session, as far as lanes go.
    client
        .batch_execute("SET application_name = 'other'")
        .await
        .unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(lane(&proxy, "default").await.busy, 1);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_client_is_told_what_rule_its_transaction_meets() {
    let proxy = Proxy::with(&with_rule("running: 50ms", "notice"))
        .run()
        .await;
    let mut raw = Raw::ready(&proxy).await;
    raw.ask(&Script::new().query("BEGIN")).await;
    let notice = raw.read().await;
    assert_eq!((notice.tag, notice.sqlstate()), (b'N', "01000".to_owned()));
    assert!(notice.text().contains("\"limit\""), "{}", notice.text());
    assert_eq!(tags(&raw.ask(&Script::new().query("COMMIT")).await), "CZ");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_idle_transaction_is_let_be_until_it_keeps_somebody_waiting() {
    let when = "idle_in_transaction: 50ms, blocking: true";
    let proxy = Proxy::with(&with_rule(when, "cancel")).run().await;
    let client = holder(&proxy, "idler").await;
    let backend = value(&client, "SELECT pg_backend_pid()::text").await;
    let backend: i32 = backend.parse().unwrap();
    proxy.handle().note_blockers(vec![backend + 1]).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(rule(&proxy).await.met, 0);
    proxy.handle().note_blockers(vec![backend]).await;
    met(&proxy).await;
    assert_eq!(
        said(&client.batch_execute("SELECT 1").await.unwrap_err()).0,
        "57014"
    );
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_rule_that_only_observes_counts_and_does_nothing() {
    let lanes = "lanes: { default: { mode: observe, rules: [{ when: { idle_in_transaction: 50ms }, then: cancel }] } }";
    let proxy = Proxy::with(lanes).run().await;
    let client = holder(&proxy, "idler").await;
    met(&proxy).await;
    assert_eq!(rule(&proxy).await.acted, 0);
    client.batch_execute("SELECT 1; COMMIT").await.unwrap();
    drop(client);
    invariants(&proxy).await;
}

const PREEMPTIBLE: &str = "lanes:
  protected: { match: [{ application_name: 'protected*' }], priority: 10 }
  default: { preemptible: { grace: 100ms } }";

#[tokio::test]
async fn the_youngest_statement_gives_its_borrowed_slot_to_who_waits_below_its_right() {
    let proxy = Proxy::with(PREEMPTIBLE).slots(2).run().await;
    let older = connect(&proxy, "application_name=older").await;
    let token = older.cancel_token();
    let older = sleep(older);
    eventually("it runs", || async {
        lane(&proxy, "default").await.busy == 1
    })
    .await;
    let younger = sleep(connect(&proxy, "application_name=younger").await);
    eventually("it runs", || async {
        lane(&proxy, "default").await.busy == 2
    })
    .await;
    let protected = connect(&proxy, "application_name=protected").await;
    assert_eq!(soon(value(&protected, "SELECT 'served'")).await, "served");
    let (client, (state, text)) = soon(younger).await.unwrap();
    // What retries of drivers and frameworks know.
    assert_eq!(state, "40001");
    assert!(
        text.contains("\"default\"") && text.contains("\"protected\""),
        "{text}"
    );
    assert!(!older.is_finished());
    assert_eq!(value(&client, "SELECT 'alive'").await, "alive");
    assert_eq!(lane(&proxy, "default").await.preempted, 1);
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    let (older, _) = soon(older).await.unwrap();
    drop(older);
    drop((client, protected));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_transaction_that_idles_and_a_session_that_keeps_its_slot_are_not_preempted() {
    let proxy = Proxy::with(PREEMPTIBLE).slots(3).run().await;
    let pinned = connect(&proxy, "application_name=pinned").await;
    pinned
        .batch_execute("CREATE TEMP TABLE mine AS SELECT 'mine' AS word")
        .await
        .unwrap();
    let idle = holder(&proxy, "idle").await;
    let running = sleep(connect(&proxy, "application_name=running").await);
    eventually("all slots are taken", || async {
        lane(&proxy, "default").await.busy == 3
    })
    .await;
    // The youngest by its grant, and nothing of it runs.
    pinned.batch_execute("BEGIN").await.unwrap();
    let protected = holder(&proxy, "protected").await;
    assert_eq!(soon(running).await.unwrap().1.0, "40001");
    let waiting = connect(&proxy, "application_name=protected").await;
    let waiter = tokio::spawn(async move { value(&waiting, "SELECT 'served'").await });
    waits(&proxy, "protected", 1).await;
    // Longer than the grace.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(value(&idle, "SELECT 'alive'").await, "alive");
    assert_eq!(value(&pinned, "SELECT word FROM mine").await, "mine");
    idle.batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(waiter).await.unwrap(), "served");
    drop((idle, pinned, protected));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_preemption_that_is_only_observed_counts_and_cancels_nothing() {
    let lanes = format!("{PREEMPTIBLE}\n").replace("default: {", "default: { mode: observe,");
    let proxy = Proxy::with(&lanes).slots(1).run().await;
    let holding = holder(&proxy, "holder").await;
    let protected = connect(&proxy, "application_name=protected").await;
    let waiter = tokio::spawn(async move { value(&protected, "SELECT 'served'").await });
    eventually("it would be", || async {
        lane(&proxy, "default").await.would_preempt == 1
    })
    .await;
    holding.batch_execute("SELECT 1; COMMIT").await.unwrap();
    assert_eq!(soon(waiter).await.unwrap(), "served");
    drop(holding);
    invariants(&proxy).await;
}
