//! Who gets the next free slot.

use pglanes_tests::{Proxy, connect, invariants, soon, value};
use tokio::task::JoinHandle;

use super::{holder, waits};

/// Puts one transaction in a lane's queue, behind `before` others. When it is served it writes its name down.
async fn queue_up(proxy: &Proxy, lane: &str, before: usize) -> JoinHandle<()> {
    let client = connect(proxy, &format!("application_name={lane}{before}")).await;
    let sql = format!("INSERT INTO served (name) VALUES ('{lane}{before}')");
    let waiter = tokio::spawn(async move { client.batch_execute(&sql).await.unwrap() });
    waits(proxy, lane, before + 1).await;
    waiter
}

async fn served(proxy: &Proxy) -> String {
    let direct = proxy.pg().direct().await;
    value(
        &direct,
        "SELECT string_agg(name, ' ' ORDER BY place) FROM served",
    )
    .await
}

async fn make_list(proxy: &Proxy) {
    let direct = proxy.pg().direct().await;
    let table = "CREATE TABLE served (place serial, name text)";
    direct.batch_execute(table).await.unwrap();
}

#[tokio::test]
async fn the_lane_of_higher_priority_is_served_first_and_each_in_the_order_of_arrival() {
    let lanes = "lanes:
  urgent: { match: [{ application_name: 'urgent*' }], priority: 100 }
  lazy: { match: [{ application_name: 'lazy*' }], priority: -10 }
  default: {}";
    let proxy = Proxy::with(lanes).slots(1).run().await;
    make_list(&proxy).await;
    let holding = holder(&proxy, "holder").await;
    let mut waiters = Vec::new();
    for (lane, place) in [
        ("lazy", 0),
        ("lazy", 1),
        ("urgent", 0),
        ("urgent", 1),
        ("urgent", 2),
    ] {
        waiters.push(queue_up(&proxy, lane, place).await);
    }
    holding.batch_execute("COMMIT").await.unwrap();
    for waiter in waiters {
        soon(waiter).await.unwrap();
    }
    assert_eq!(served(&proxy).await, "urgent0 urgent1 urgent2 lazy0 lazy1");
    drop(holding);
    invariants(&proxy).await;
}

#[tokio::test]
async fn waiters_of_one_lane_are_served_first_come_first_served() {
    let proxy = Proxy::with_slots(1).run().await;
    make_list(&proxy).await;
    let holding = holder(&proxy, "holder").await;
    let mut waiters = Vec::new();
    for place in 0..12 {
        waiters.push(queue_up(&proxy, "default", place).await);
    }
    holding.batch_execute("ROLLBACK").await.unwrap();
    for waiter in waiters {
        soon(waiter).await.unwrap();
    }
    let expected: Vec<String> = (0..12).map(|place| format!("default{place}")).collect();
    assert_eq!(served(&proxy).await, expected.join(" "));
    drop(holding);
    invariants(&proxy).await;
}

#[tokio::test]
async fn of_two_equal_lanes_neither_waits_for_the_other_to_be_done() {
    let lanes = "lanes:
  other: { match: [{ application_name: 'other*' }] }
  default: {}";
    let proxy = Proxy::with(lanes).slots(1).run().await;
    make_list(&proxy).await;
    let holding = holder(&proxy, "other").await;
    let mut waiters = Vec::new();
    // More than a lane may be ahead to save the other's connection from being opened anew.
    let each = 18;
    for place in 0..each {
        waiters.push(queue_up(&proxy, "other", place).await);
        waiters.push(queue_up(&proxy, "default", place).await);
    }
    holding.batch_execute("COMMIT").await.unwrap();
    for waiter in waiters {
        soon(waiter).await.unwrap();
    }
    let served = served(&proxy).await;
    let served: Vec<&str> = served.split(' ').collect();
    assert_eq!(served.len(), 2 * each);
    for lane in ["other", "default"] {
        let first = served.iter().position(|name| name.starts_with(lane));
        assert!(
            first.is_some_and(|first| first < each),
            "{lane}: {served:?}"
        );
    }
    drop(holding);
    invariants(&proxy).await;
}

/// Two sessions queue behind a third: first one that has held the lane's slot for long, then one that never did. Gives the order
/// in which they were served.
async fn behind_a_long_one(order: &str) -> String {
    let lanes = format!("lanes: {{ default: {{ queue: {{ order: {order} }} }} }}");
    let proxy = Proxy::with(&lanes).slots(1).run().await;
    make_list(&proxy).await;
    let long = connect(&proxy, "application_name=long").await;
    let short = connect(&proxy, "application_name=short").await;
    long.batch_execute("SELECT pg_sleep(0.2)").await.unwrap();
    let holding = holder(&proxy, "holder").await;
    let mut waiters = Vec::new();
    for (name, client) in [("long", long), ("short", short)] {
        let sql = format!("INSERT INTO served (name) VALUES ('{name}')");
        waiters.push(tokio::spawn(async move {
            client.batch_execute(&sql).await.unwrap();
        }));
        waits(&proxy, "default", waiters.len()).await;
    }
    holding.batch_execute("COMMIT").await.unwrap();
    for waiter in waiters {
        soon(waiter).await.unwrap();
    }
    drop(holding);
    invariants(&proxy).await;
    served(&proxy).await
}

#[tokio::test]
async fn by_service_who_has_held_a_slot_less_goes_first() {
    assert_eq!(behind_a_long_one("service").await, "short long");
    assert_eq!(behind_a_long_one("arrival").await, "long short");
}
