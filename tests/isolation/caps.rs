//! One client does not take its lane, and who waits long is told so.

use pglanes_tests::{Proxy, Raw, Script, connect, invariants, soon, value};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::{holder, lane, said, waits};

const ONE_EACH: &str =
    "lanes: { default: { slots: { max: 3, per_application: 1 }, queue: { length: 1 } } }";

/// A query in the background, running or waiting.
fn ask(client: Client) -> JoinHandle<String> {
    tokio::spawn(async move { value(&client, "SELECT 'served'").await })
}

#[tokio::test]
async fn an_application_waits_behind_its_cap_and_in_nobodys_way() {
    let proxy = Proxy::with(ONE_EACH).slots(3).run().await;
    let greedy = holder(&proxy, "greedy").await;
    let second = ask(connect(&proxy, "application_name=greedy").await);
    waits(&proxy, "default", 1).await;
    assert_eq!(lane(&proxy, "default").await.capped, 1);
    // Others pass it, though it came first.
    for _ in 0..3 {
        let modest = connect(&proxy, "application_name=modest").await;
        assert_eq!(soon(ask(modest)).await.unwrap(), "served");
    }
    assert!(!second.is_finished());
    // Its line is full, the lane's queue is not.
    let third = connect(&proxy, "application_name=greedy").await;
    let (state, text) = said(&third.batch_execute("SELECT 1").await.unwrap_err());
    assert_eq!(state, "53300");
    assert!(
        text.contains("\"default\"") && text.contains("per_application 1"),
        "{text}"
    );
    greedy.batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(second).await.unwrap(), "served");
    assert_eq!(value(&third, "SELECT 'alive'").await, "alive");
    assert_eq!(lane(&proxy, "default").await.held_by_application_cap, 2);
    drop((greedy, third));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_users_sessions_share_its_cap_whatever_they_are_called() {
    let lanes = "lanes: { default: { slots: { max: 3, per_user: 2 } } }";
    let proxy = Proxy::with(lanes).slots(3).run().await;
    let direct = proxy.pg().direct().await;
    let other = format!("modest_{}", std::process::id());
    direct
        .batch_execute(&format!("CREATE ROLE {other} LOGIN"))
        .await
        .unwrap();
    let holders = [holder(&proxy, "one").await, holder(&proxy, "two").await];
    let third = ask(connect(&proxy, "application_name=three").await);
    waits(&proxy, "default", 1).await;
    let modest = connect(&proxy, &format!("user={other}")).await;
    assert_eq!(soon(ask(modest)).await.unwrap(), "served");
    holders[0].batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(third).await.unwrap(), "served");
    drop(holders);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_cap_that_only_observes_counts_and_holds_nothing() {
    let lanes = "lanes: { default: { mode: observe, slots: { max: 3, per_application: 1 } } }";
    let proxy = Proxy::with(lanes).slots(3).run().await;
    let holders = [
        holder(&proxy, "greedy").await,
        holder(&proxy, "greedy").await,
    ];
    let now = lane(&proxy, "default").await;
    assert_eq!(
        (now.busy, now.capped, now.held_by_application_cap),
        (2, 0, 1)
    );
    drop(holders);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_reload_lets_through_whom_the_cap_no_longer_holds() {
    let proxy = Proxy::with(ONE_EACH).slots(3).run().await;
    let greedy = holder(&proxy, "greedy").await;
    let second = ask(connect(&proxy, "application_name=greedy").await);
    waits(&proxy, "default", 1).await;
    proxy
        .reload("lanes: { default: { slots: { max: 3 } } }")
        .await
        .unwrap();
    assert_eq!(soon(second).await.unwrap(), "served");
    drop(greedy);
    invariants(&proxy).await;
}

#[tokio::test]
async fn who_waits_long_is_told_its_place_by_a_notice_and_served_all_the_same() {
    let lanes = "lanes: { default: { slots: { max: 1 }, queue: { notice: 50ms } } }";
    let proxy = Proxy::with(lanes).slots(1).run().await;
    let holding = holder(&proxy, "holder").await;
    let mut raw = Raw::ready(&proxy).await;
    raw.say(&Script::new().query("SELECT 'served'")).await;
    let notice = raw.read().await;
    assert_eq!((notice.tag, notice.sqlstate()), (b'N', "01000".to_owned()));
    let text = notice.text();
    assert!(
        text.contains("\"default\"") && text.contains("place 1 of 1"),
        "{text}"
    );
    holding.batch_execute("COMMIT").await.unwrap();
    let answers = raw.until_ready().await;
    assert_eq!(pglanes_tests::tags(&answers), "TDCZ", "once: {answers:?}");
    assert_eq!(lane(&proxy, "default").await.notices, 1);
    drop((holding, raw));
    invariants(&proxy).await;
}
