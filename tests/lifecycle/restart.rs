//! PostgreSQL goes and comes back: idle sessions feel nothing, those in a transaction are told, those who wait do not hang.

use std::time::Duration;

use pglanes_testbed::{Postgres, StopMode};
use pglanes_tests::{Pg, Proxy, connect, eventually, invariants, soon, try_connect, value};

use super::{holder, state, waits};

async fn check_restart(mode: StopMode) {
    let pg = Pg::own(Postgres::builder()).await;
    let proxy = Proxy::with("").over(&pg).run().await;
    let idle = connect(&proxy, "").await;
    let statement = idle.prepare("SELECT 'prepared'::text").await.unwrap();
    let running = holder(&proxy).await;
    pg.stop(mode).await;
    let error = soon(running.batch_execute("SELECT 1")).await.unwrap_err();
    // The server's last words where they came through, and the connection's end in any case.
    assert!(
        matches!(state(&error), None | Some("57P01" | "57P02" | "08006")),
        "{error:?}"
    );
    eventually("the session has ended", || async { running.is_closed() }).await;
    pg.start_again().await;
    // No error on the way: its connection died while it did not use it.
    let served = async { idle.query_one(&statement, &[]).await };
    let row = tokio::time::timeout(Duration::from_secs(10), served)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "prepared");
    drop((statement, idle, running));
    invariants(&proxy).await;
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn a_fast_restart_is_not_felt_by_idle_sessions() {
    check_restart(StopMode::Fast).await;
}

#[tokio::test]
async fn an_immediate_restart_is_not_felt_by_idle_sessions() {
    check_restart(StopMode::Immediate).await;
}

#[tokio::test]
async fn those_who_wait_when_it_goes_are_told_and_served_when_it_is_back() {
    let pg = Pg::own(Postgres::builder()).await;
    let proxy = Proxy::with_slots(1).over(&pg).run().await;
    let holding = holder(&proxy).await;
    let mut waiters = Vec::new();
    for count in 1..=3 {
        let client = connect(&proxy, "").await;
        waiters.push(tokio::spawn(async move {
            let outcome = client.batch_execute("SELECT 1").await;
            (client, outcome)
        }));
        waits(&proxy, count).await;
    }
    pg.stop(StopMode::Immediate).await;
    let mut clients = Vec::new();
    for waiter in waiters {
        let (client, outcome) = soon(waiter).await.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(state(&error), Some("08006"), "{error:?}");
        clients.push(client);
    }
    pg.start_again().await;
    for client in &clients {
        eventually("it is served", || async {
            client.batch_execute("SELECT 1").await.is_ok()
        })
        .await;
    }
    drop((holding, clients));
    invariants(&proxy).await;
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn a_killed_backend_ends_the_transactions_and_all_else_recovers() {
    let pg = Pg::own(Postgres::builder()).await;
    let proxy = Proxy::with("").over(&pg).run().await;
    let idle = connect(&proxy, "").await;
    let running = holder(&proxy).await;
    let pid = value(&running, "SELECT pg_backend_pid()")
        .await
        .parse()
        .unwrap();
    pg.server().kill9_backend(pid).unwrap();
    assert!(soon(running.batch_execute("SELECT 1")).await.is_err());
    // While the server recovers it says 57P03, for which one waits. A newcomer asks: a statement that meets the
    // crash itself ends its session, as it would directly.
    eventually("it is served", || async {
        match try_connect(&proxy, "").await {
            Ok(client) => client.batch_execute("SELECT 1").await.is_ok(),
            Err(_) => false,
        }
    })
    .await;
    drop((idle, running));
    invariants(&proxy).await;
    pg.stop(StopMode::Immediate).await;
}
