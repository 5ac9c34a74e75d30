//! Connections that are not sessions, and what is said before one: cancel requests that arrive at the worst moment,
//! replication, protocol versions.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod cancels;
mod gate;
mod negotiation;
mod replication;

use pglanes_tests::{Proxy, eventually};

/// Waits until so many transactions wait for a slot.
async fn waits(proxy: &Proxy, count: usize) {
    let waiting = || async { proxy.view().await.scheduler.waiting == count };
    eventually(&format!("{count} wait"), waiting).await;
}
