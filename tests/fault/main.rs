//! What breaks: clients that vanish, networks that cut, servers that break the protocol, cancels at the wrong moment, and all
//! of it at once. After each, nobody has seen another's row and every slot is free.
#![allow(clippy::unwrap_used, reason = "helpers fail as the tests do")]

mod broken_server;
mod cancel;
mod network;
mod panics;
mod resources;
mod slow_reader;
mod storm;
mod vanish;

use pglanes_tests::{Proxy, eventually, value};
use tokio_postgres::Client;

/// How many statements PostgreSQL runs in the test's database, that of the question not counted; a client that sits idle in a
/// transaction counts too.
async fn running(direct: &Client) -> String {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";
    value(direct, sql).await
}

/// Waits until nothing runs at the server: what its client left behind was cancelled.
async fn nothing_runs(proxy: &Proxy) {
    let direct = proxy.pg().direct().await;
    eventually("nothing runs at the server", || async {
        running(&direct).await == "0"
    })
    .await;
}

/// Waits until something runs at the server.
async fn something_runs(proxy: &Proxy) {
    let direct = proxy.pg().direct().await;
    eventually("something runs at the server", || async {
        running(&direct).await != "0"
    })
    .await;
}

/// Waits until so many transactions wait in the lane `default`.
async fn waits(proxy: &Proxy, count: usize) {
    let waiting = || async { proxy.view().await.scheduler.waiting == count };
    eventually(&format!("{count} wait"), waiting).await;
}
