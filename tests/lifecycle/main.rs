//! What sessions feel of change: a reload, the proxy's end, a server that goes and comes back.
#![allow(clippy::unwrap_used, reason = "helpers fail as the tests do")]

mod backends;
mod operate;
mod reload;
mod restart;
mod shutdown;
mod unreachable;

use pglanes_lanes::LaneSnapshot;
use pglanes_tests::{Proxy, connect, eventually};
use tokio_postgres::Client;

/// A lane as it is at this moment.
async fn lane(proxy: &Proxy, name: &str) -> LaneSnapshot {
    let lanes = proxy.view().await.scheduler.lanes;
    let found = lanes.into_iter().find(|lane| lane.name == name);
    found.unwrap_or_else(|| panic!("no lane {name}"))
}

/// Waits until exactly so many transactions wait in the lane `default`.
async fn waits(proxy: &Proxy, count: usize) {
    let what = format!("{count} wait");
    eventually(&what, || async {
        lane(proxy, "default").await.waiting == count
    })
    .await;
}

/// A client inside a transaction.
async fn holder(proxy: &Proxy) -> Client {
    let client = connect(proxy, "").await;
    client.batch_execute("BEGIN").await.unwrap();
    client
}

/// The SQLSTATE of an error, or `None` where the connection simply ended.
fn state(error: &tokio_postgres::Error) -> Option<&str> {
    error.code().map(tokio_postgres::error::SqlState::code)
}
