//! A server that is not there, refuses, or is full: clients hear its own words promptly, or wait where waiting helps.

use std::time::Duration;

use pglanes_testbed::{Postgres, StopMode};
use pglanes_tests::{Pg, Proxy, connect, eventually, invariants, soon, try_connect, value};

use super::state;

#[tokio::test]
async fn a_wrong_database_and_a_wrong_role_are_refused_in_the_servers_words() {
    let proxy = Proxy::with("").run().await;
    for (asked, expected) in [
        ("dbname=nowhere", "3D000"),
        ("user=nobody_we_know", "28000"),
    ] {
        let direct = try_connect(proxy.pg(), asked).await.err().unwrap();
        let through = try_connect(&proxy, asked).await.err().unwrap();
        assert_eq!(state(&through), Some(expected));
        let (direct, through) = (
            direct.as_db_error().unwrap(),
            through.as_db_error().unwrap(),
        );
        assert_eq!(through.message(), direct.message());
        assert_eq!(through.severity(), "FATAL");
    }
    // What one login was refused for does not harm the next.
    assert_eq!(
        value(&connect(&proxy, "").await, "SELECT 'fine'").await,
        "fine"
    );
    invariants(&proxy).await;
}

#[tokio::test]
async fn down_at_start_is_said_at_once_and_forgotten_when_it_comes_up() {
    let pg = Pg::own(Postgres::builder()).await;
    pg.stop(StopMode::Fast).await;
    let proxy = Proxy::with("").over(&pg).run().await;
    for _ in 0..3 {
        let error = soon(try_connect(&proxy, "")).await.err().unwrap();
        assert_eq!(state(&error), Some("08006"), "{error:?}");
    }
    assert!(!proxy.metrics().upstream_up.get());
    pg.start_again().await;
    eventually("clients are served", || async {
        try_connect(&proxy, "").await.is_ok()
    })
    .await;
    assert!(proxy.metrics().upstream_up.get());
    invariants(&proxy).await;
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn a_full_server_makes_clients_wait_until_it_has_room() {
    let pg = Pg::own(Postgres::builder().max_connections(8)).await;
    let mut taken = Vec::new();
    let full = loop {
        match try_connect(&pg, "").await {
            Ok(client) => taken.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(state(&full), Some("53300"));
    let proxy = std::rc::Rc::new(Proxy::with("").over(&pg).run().await);
    let metrics = proxy.metrics();
    let waiting = async { value(&connect(&*proxy, "").await, "SELECT 'served'").await };
    let making_room = async {
        // It tries again and again, and less and less often.
        eventually("some attempts fail", || async {
            metrics.open_failures.get() >= 3
        })
        .await;
        taken.clear();
    };
    let (served, ()) = soon(Box::pin(async { tokio::join!(waiting, making_room) })).await;
    assert_eq!(served, "served");
    assert!(
        metrics.open_failures.get() < 30,
        "{} attempts",
        metrics.open_failures.get()
    );
    invariants(&proxy).await;
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up_after_the_connect_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let builder = Proxy::with("")
        .upstream("connect_timeout: 200ms")
        .upstream_port(port);
    let proxy = builder.run().await;
    let limit = Duration::from_secs(10);
    let error = tokio::time::timeout(limit, try_connect(&proxy, ""))
        .await
        .unwrap()
        .err()
        .unwrap();
    assert_eq!(state(&error), Some("08006"), "{error:?}");
    invariants(&proxy).await;
}
