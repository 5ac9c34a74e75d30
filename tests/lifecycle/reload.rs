//! Another lanes.yaml takes effect while sessions live.

use pglanes_tests::{Proxy, connect, eventually, invariants, soon, value};

use super::{holder, lane};

fn lanes(most: u32, work_mem: &str) -> String {
    format!(
        "lanes: {{ default: {{ slots: {{ max: {most} }}, settings: {{ work_mem: {work_mem} }} }} }}"
    )
}

#[tokio::test]
async fn a_shrunk_lane_drains_and_no_session_ends() {
    let proxy = Proxy::with(&lanes(4, "4MB")).run().await;
    let mut holders = Vec::new();
    for _ in 0..4 {
        holders.push(holder(&proxy).await);
    }
    proxy.reload(&lanes(2, "4MB")).await.unwrap();
    assert_eq!(lane(&proxy, "default").await.busy, 4, "what runs goes on");
    for client in &holders {
        client.batch_execute("SELECT 1; COMMIT").await.unwrap();
    }
    eventually("at most two connections", || async {
        let lane = lane(&proxy, "default").await;
        lane.busy + lane.idle + lane.opening <= 2
    })
    .await;
    for client in &holders {
        assert_eq!(value(client, "SELECT 'alive'").await, "alive");
    }
    drop(holders);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_changed_envelope_takes_effect_between_transactions() {
    let proxy = Proxy::with(&lanes(4, "5MB")).run().await;
    let idle = connect(&proxy, "").await;
    let running = holder(&proxy).await;
    assert_eq!(value(&running, "SHOW work_mem").await, "5MB");
    assert_eq!(value(&idle, "SHOW work_mem").await, "5MB");
    let before = value(&running, "SELECT pg_backend_pid()").await;
    proxy.reload(&lanes(4, "6MB")).await.unwrap();
    assert_eq!(
        value(&idle, "SHOW work_mem").await,
        "6MB",
        "at the next transaction"
    );
    assert_eq!(
        value(&running, "SHOW work_mem").await,
        "5MB",
        "not inside one"
    );
    running.batch_execute("COMMIT").await.unwrap();
    assert_eq!(value(&running, "SHOW work_mem").await, "6MB");
    assert_ne!(value(&running, "SELECT pg_backend_pid()").await, before);
    drop((idle, running));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_prepared_statement_outlives_the_connections_of_an_old_envelope() {
    let proxy = Proxy::with(&lanes(2, "5MB")).run().await;
    let client = connect(&proxy, "").await;
    let statement = client
        .prepare("SELECT current_setting('work_mem')")
        .await
        .unwrap();
    for work_mem in ["6MB", "7MB", "8MB"] {
        proxy.reload(&lanes(2, work_mem)).await.unwrap();
        let row = client.query_one(&statement, &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), work_mem);
    }
    drop((statement, client));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_removed_lane_drains_and_its_sessions_go_to_the_next_that_fits() {
    let both = "lanes:
  extra: { match: [{ application_name: 'extra*' }], settings: { work_mem: 7MB } }
  default: { settings: { work_mem: 8MB } }";
    let proxy = Proxy::with(both).run().await;
    let client = connect(&proxy, "application_name=extra").await;
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "7MB");
    proxy
        .reload("lanes: { default: { settings: { work_mem: 8MB } } }")
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "7MB");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "8MB");
    eventually("the lane is empty", || async {
        let lane = lane(&proxy, "extra").await;
        lane.retired && lane.busy + lane.idle + lane.opening == 0
    })
    .await;
    // It may come back, as another.
    proxy.reload(both).await.unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "7MB");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_does_not_hold_changes_nothing_and_says_why() {
    let proxy = Proxy::with(&lanes(3, "5MB")).run().await;
    let client = connect(&proxy, "").await;
    let mut config = Proxy::with(&lanes(1, "1MB")).config(proxy.pg().server().port());
    // What reading a file would not let through.
    config.lanes[0].minimum = 9;
    let why = soon(proxy.handle().reload(config)).await.unwrap_err();
    assert!(why.contains("default"), "{why}");
    assert_eq!(value(&client, "SHOW work_mem").await, "5MB");
    assert_eq!(lane(&proxy, "default").await.max, 3);
    assert_eq!(proxy.metrics().reload_failures.get(), 1);
    assert!(!proxy.metrics().last_reload_succeeded.get());
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn reloads_under_load_lose_nothing() {
    let proxy = Proxy::with(&lanes(4, "4MB")).run().await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..8 {
        let client = connect(&proxy, "").await;
        clients.spawn(async move {
            let statement = client
                .prepare("SELECT $1::text || current_setting('work_mem')")
                .await
                .unwrap();
            for round in 0..20 {
                let tag = format!("{number}.{round}.");
                let row = client.query_one(&statement, &[&tag]).await.unwrap();
                assert!(row.get::<_, &str>(0).starts_with(&tag));
                client.batch_execute("BEGIN; SELECT 1").await.unwrap();
                client.batch_execute("COMMIT").await.unwrap();
            }
        });
    }
    let mut reloads: u32 = 0;
    while !clients.is_empty() {
        let (most, work_mem) = (1 + reloads % 4, 4 + reloads % 3);
        proxy
            .reload(&lanes(most, &format!("{work_mem}MB")))
            .await
            .unwrap();
        reloads += 1;
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert!(reloads > 2, "{reloads} reloads only");
    invariants(&proxy).await;
}
