//! What it does.

use pglanes_admin::Operation;
use pglanes_proxy::Ending;
use pglanes_tests::{Proxy, connect, eventually, invariants, value};

use super::{LISTED, admin, of, refusal, rows, rows_where, with_console};

#[tokio::test]
async fn a_pause_waits_for_what_runs_and_a_resume_lets_all_go_on() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let running = connect(&proxy, "application_name=running").await;
    running.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let pausing = admin(&proxy).await;
    let paused = tokio::spawn(async move { pausing.batch_execute("PAUSE").await });
    eventually("it is paused", || async {
        proxy.view().await.operated.paused
    })
    .await;
    assert!(!paused.is_finished());
    running.batch_execute("COMMIT").await.unwrap();
    paused.await.unwrap().unwrap();
    let waiting = tokio::spawn(async move { value(&running, "SELECT 'through'").await });
    eventually("it waits", || async {
        proxy.view().await.operated.held == 1
    })
    .await;
    let client = admin(&proxy).await;
    assert_eq!(refusal(client.batch_execute("PAUSE").await), "55000");
    client.batch_execute("RESUME").await.unwrap();
    assert_eq!(waiting.await.unwrap(), "through");
    let events = rows_where(&client, "SHOW EVENTS", "event", "command").await;
    let told: Vec<&str> = events.iter().map(|row| of(row, "detail")).collect();
    assert_eq!(told, ["pglanes: PAUSE all", "pglanes: RESUME all"]);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_cancel_request_ends_the_wait_of_a_pause_and_the_pause_stays() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let running = connect(&proxy, "application_name=running").await;
    running.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let pausing = admin(&proxy).await;
    let cancel = pausing.cancel_token();
    let paused = tokio::spawn(async move { pausing.batch_execute("PAUSE").await });
    eventually("it is paused", || async {
        proxy.view().await.operated.paused
    })
    .await;
    cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert_eq!(refusal(paused.await.unwrap()), "57014");
    assert!(proxy.view().await.operated.paused);
    admin(&proxy).await.batch_execute("RESUME").await.unwrap();
    running.batch_execute("COMMIT").await.unwrap();
    drop(running);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_client_is_killed_by_its_number() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let victim = connect(&proxy, "application_name=victim").await;
    let other = connect(&proxy, "application_name=other").await;
    let client = admin(&proxy).await;
    let shown = rows_where(&client, "SHOW CLIENTS", "application_name", "victim").await;
    let kill = format!("KILL_CLIENT {}", of(&shown[0], "id"));
    client.batch_execute(&kill).await.unwrap();
    eventually("it is gone", || async { victim.is_closed() }).await;
    assert_eq!(value(&other, "SELECT 'here'").await, "here");
    drop(other);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_value_is_set_and_a_lease_taken_and_released() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let client = admin(&proxy).await;
    client
        .batch_execute("SET max_client_conn = 77")
        .await
        .unwrap();
    let shown = rows_where(&client, "SHOW CONFIG", "key", "max_client_conn").await;
    assert_eq!(of(&shown[0], "value"), "77");
    assert_eq!(
        refusal(client.batch_execute("SET upstream.url = x").await),
        "22023"
    );
    client.batch_execute("LEASE default 1m").await.unwrap();
    let lease = &rows(&client, "SHOW LEASES").await[0];
    assert_eq!((of(lease, "lane"), of(lease, "ttl_s")), ("default", "60"));
    client.batch_execute("RELEASE default").await.unwrap();
    assert!(rows(&client, "SHOW LEASES").await.is_empty());
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_reload_and_an_end_are_asked_of_the_process() {
    let (proxy, mut asked) = with_console(Proxy::with(LISTED)).await;
    let client = admin(&proxy).await;
    let reloading = async { client.batch_execute("RELOAD").await };
    let answering = async {
        match asked.recv().await {
            Some(Operation::Reload(reply)) => reply.send(Err("line 3".to_owned())).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let (failed, ()) = tokio::join!(reloading, answering);
    let failed = failed.unwrap_err();
    assert!(failed.as_db_error().unwrap().message().contains("line 3"));
    for (command, expected) in [
        ("SHUTDOWN WAIT_FOR_CLIENTS", Ending::Clients),
        ("SHUTDOWN", Ending::Transactions(std::time::Duration::ZERO)),
    ] {
        client.batch_execute(command).await.unwrap();
        match asked.recv().await {
            Some(Operation::End(ending)) => assert_eq!(ending, expected),
            other => panic!("{other:?}"),
        }
    }
    invariants(&proxy).await;
}
