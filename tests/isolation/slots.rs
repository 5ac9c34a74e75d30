//! Minimum, maximum, and the total of all lanes.

use pglanes_tests::{Proxy, connect, eventually, invariants, soon, value};
use tokio_postgres::Client;

use super::{holder, lane, waits};

/// How many server connections PostgreSQL sees in the test's database, that of the question not counted.
async fn connections(direct: &Client) -> u32 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    value(direct, sql).await.parse().unwrap()
}

#[tokio::test]
async fn a_lanes_minimum_is_kept_while_another_lane_is_full() {
    let lanes = "lanes:
  protected: { match: [{ application_name: 'protected*' }], slots: { min: 2, max: 4 } }
  default: { slots: { max: 4 } }";
    let proxy = Proxy::with(lanes).slots(4).run().await;
    let holders = [holder(&proxy, "a").await, holder(&proxy, "b").await];
    let third = connect(&proxy, "application_name=c").await;
    let waiter = tokio::spawn(async move { value(&third, "SELECT 'served'").await });
    // Two of four are the other lane's: the third waits although nobody uses them.
    waits(&proxy, "default", 1).await;
    let protected = [
        holder(&proxy, "protected").await,
        holder(&proxy, "protected").await,
    ];
    let now = lane(&proxy, "default").await;
    assert_eq!((now.busy, now.waiting), (2, 1));
    assert_eq!(lane(&proxy, "protected").await.busy, 2);
    holders[0].batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(waiter).await.unwrap(), "served");
    drop((holders, protected));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_lane_never_has_more_than_its_maximum() {
    let lanes = "lanes:
  small: { match: [{ application_name: 'small*' }], slots: { max: 2 } }
  default: {}";
    let proxy = Proxy::with(lanes).slots(8).run().await;
    let holders = [
        holder(&proxy, "small1").await,
        holder(&proxy, "small2").await,
    ];
    let third = connect(&proxy, "application_name=small3").await;
    let waiter = tokio::spawn(async move { value(&third, "SELECT 'served'").await });
    waits(&proxy, "small", 1).await;
    let now = lane(&proxy, "small").await;
    assert_eq!((now.busy + now.idle + now.opening, now.waiting), (2, 1));
    assert_eq!(
        value(&connect(&proxy, "").await, "SELECT 'others'").await,
        "others"
    );
    drop(holders);
    assert_eq!(soon(waiter).await.unwrap(), "served");
    invariants(&proxy).await;
}

#[tokio::test]
async fn idle_connections_of_one_lane_are_closed_when_another_lane_needs_the_slot() {
    let lanes = "lanes:
  other: { match: [{ application_name: 'other*' }] }
  default: {}";
    let proxy = Proxy::with(lanes).slots(2).run().await;
    let direct = proxy.pg().direct().await;
    let clients = [connect(&proxy, "").await, connect(&proxy, "").await];
    for client in &clients {
        client.batch_execute("BEGIN").await.unwrap();
    }
    for client in &clients {
        client.batch_execute("COMMIT").await.unwrap();
    }
    eventually("two idle connections", || async {
        lane(&proxy, "default").await.idle == 2
    })
    .await;

    let others = [
        holder(&proxy, "other1").await,
        holder(&proxy, "other2").await,
    ];
    let now = lane(&proxy, "default").await;
    assert_eq!((now.idle, now.closes >= 2), (0, true), "{now:?}");
    // PostgreSQL ends a backend some time after its client has left.
    eventually("two connections", || async {
        connections(&direct).await == 2
    })
    .await;
    drop((clients, others));
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_server_never_sees_more_connections_than_slots() {
    let proxy = Proxy::with("lanes: { default: {} }").slots(4).run().await;
    let direct = proxy.pg().direct().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..40 {
        let client = connect(&proxy, "").await;
        clients.spawn(async move {
            for round in 0..25 {
                let tag = format!("{number}.{round}");
                assert_eq!(value(&client, &format!("SELECT '{tag}'")).await, tag);
            }
        });
    }
    let mut most = 0;
    while !clients.is_empty() {
        most = most.max(connections(&direct).await);
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
    }
    assert!((1..=4).contains(&most), "{most} connections seen");
    drop(direct);
    invariants(&proxy).await;
}

#[tokio::test]
async fn lanes_that_take_slots_from_each_other_stay_within_the_total() {
    let lanes = "lanes:
  a: { match: [{ application_name: 'a*' }] }
  b: { match: [{ application_name: 'b*' }], slots: { min: 1, max: 3 } }
  default: {}";
    let proxy = Proxy::with(lanes).slots(3).run().await;
    let direct = proxy.pg().direct().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..12 {
        let name = ["a", "b", "c"][number % 3];
        let client = connect(&proxy, &format!("application_name={name}")).await;
        clients.spawn(async move {
            for round in 0..15 {
                let tag = format!("{number}.{round}");
                assert_eq!(value(&client, &format!("SELECT '{tag}'")).await, tag);
            }
        });
    }
    while !clients.is_empty() {
        let now = proxy.view().await.scheduler;
        assert!(now.connections <= 3, "{now:?}");
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
    }
    eventually("at most three connections", || async {
        connections(&direct).await <= 3
    })
    .await;
    invariants(&proxy).await;
}
