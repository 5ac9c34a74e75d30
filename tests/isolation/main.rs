//! What one lane may feel of another: order, bounds, guaranteed slots, throttles, envelopes, CPU priority and what is seen past the proxy, all through real
//! sessions before a real server.
#![allow(clippy::unwrap_used, reason = "helpers fail as the tests do")]

mod caps;
mod classification;
mod cpu;
mod envelopes;
mod leases;
mod limits;
mod names;
mod objectives;
mod observe;
mod order;
mod rules;
mod slots;
mod throttles;

use pglanes_lanes::{LaneSnapshot, ThrottleSnapshot};
use pglanes_tests::{Proxy, connect, eventually};
use tokio_postgres::Client;

/// A lane as it is at this moment.
async fn lane(proxy: &Proxy, name: &str) -> LaneSnapshot {
    let lanes = proxy.view().await.scheduler.lanes;
    let found = lanes.into_iter().find(|lane| lane.name == name);
    found.unwrap_or_else(|| panic!("no lane {name}"))
}

/// The first throttle as it is at this moment.
async fn throttle(proxy: &Proxy) -> ThrottleSnapshot {
    proxy.view().await.scheduler.throttles.remove(0)
}

/// Waits until exactly so many transactions wait in a lane.
async fn waits(proxy: &Proxy, name: &str, count: usize) {
    let what = format!("{count} wait in {name}");
    eventually(&what, || async { lane(proxy, name).await.waiting == count }).await;
}

/// A client that is called so, inside a transaction: it holds a slot until it commits.
async fn holder(proxy: &Proxy, application_name: &str) -> Client {
    let client = connect(proxy, &format!("application_name={application_name}")).await;
    client.batch_execute("BEGIN").await.unwrap();
    client
}

/// The SQLSTATE and the message of an error that came from the other side.
fn said(error: &tokio_postgres::Error) -> (String, String) {
    let error = error
        .as_db_error()
        .unwrap_or_else(|| panic!("no error of a server: {error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}
