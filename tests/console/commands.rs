//! Each command by each role, in both protocols.

use pglanes_tests::{Proxy, invariants};

use super::{LISTED, admin, refusal, stats, with_console};

/// Those that look.
const SHOWS: [&str; 31] = [
    "HELP",
    "VERSION",
    "CONFIG",
    "CLIENTS",
    "SERVERS",
    "POOLS",
    "POOLS EXTENDED",
    "LISTS",
    "DATABASES",
    "USERS",
    "STATS",
    "STATS_TOTALS",
    "STATS_AVERAGES",
    "TOTALS",
    "MEM",
    "SOCKETS",
    "ACTIVE_SOCKETS",
    "DNS_HOSTS",
    "DNS_ZONES",
    "STATE",
    "PEERS",
    "PEER_POOLS",
    "LANES",
    "QUEUES",
    "THROTTLES",
    "LEASES",
    "RULES",
    "PINNED",
    "ALIASES",
    "EVENTS",
    "BASELINES",
];

/// Those that change something.
const CHANGES: [&str; 17] = [
    "SHOW FDS",
    "RELOAD",
    "PAUSE",
    "PAUSE LANE default",
    "RESUME",
    "RECONNECT",
    "KILL",
    "KILL_CLIENT 1",
    "CANCEL 1",
    "ENABLE postgres",
    "DISABLE postgres",
    "WAIT_CLOSE",
    "SUSPEND",
    "SET limits.clients = 7",
    "LEASE default 1m",
    "RELEASE default",
    "SHUTDOWN",
];

#[tokio::test]
async fn everybody_at_the_console_may_look_in_both_protocols() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    for client in [stats(&proxy).await, admin(&proxy).await] {
        for show in SHOWS {
            let sql = format!("SHOW {show}");
            client.batch_execute(&sql).await.unwrap();
            let rows = client.query(&sql, &[]).await;
            rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn only_an_admin_changes_anything_in_both_protocols_cve_2026_6667() {
    let (proxy, mut asked) = with_console(Proxy::with(LISTED)).await;
    let client = stats(&proxy).await;
    for command in CHANGES {
        assert_eq!(
            refusal(client.batch_execute(command).await),
            "42501",
            "{command}"
        );
        assert_eq!(
            refusal(client.query(command, &[]).await),
            "42501",
            "{command}"
        );
        // Behind something that is allowed, too.
        let behind = format!("SHOW STATE; {command}");
        assert_eq!(
            refusal(client.batch_execute(&behind).await),
            "42501",
            "{command}"
        );
    }
    assert!(asked.try_recv().is_err());
    assert_eq!(proxy.view().await.operated, Default::default());
    assert_eq!(proxy.view().await.scheduler.lanes[0].leases, 0);
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_is_no_command_is_an_error_and_the_client_stays() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let client = admin(&proxy).await;
    for sql in [
        "SELECT * FROM pg_class",
        "SHOW BOGUS",
        "DROP TABLE x",
        "KILL_CLIENT me",
    ] {
        assert_eq!(refusal(client.batch_execute(sql).await), "42601", "{sql}");
        assert_eq!(refusal(client.query(sql, &[]).await), "42601", "{sql}");
    }
    assert_eq!(refusal(client.batch_execute("SHOW FDS").await), "0A000");
    assert_eq!(refusal(client.batch_execute("SUSPEND").await), "0A000");
    assert_eq!(
        refusal(client.batch_execute("KILL_CLIENT 1").await),
        "42704"
    );
    client
        .batch_execute("BEGIN; SELECT 1; COMMIT")
        .await
        .unwrap();
    client.batch_execute("").await.unwrap();
    invariants(&proxy).await;
}
