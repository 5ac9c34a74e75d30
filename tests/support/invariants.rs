//! What holds at the end of every test, whatever it did.

use std::future::Future;
use std::time::Duration;

use crate::{LIMIT, Proxy};

/// Between two looks at something that should become so.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until something has become so, looking again and again: for what no message announces.
///
/// # Panics
/// When it has not become so within [`LIMIT`], naming `what`.
pub async fn eventually<F, L>(what: &str, mut holds: L)
where
    L: FnMut() -> F,
    F: Future<Output = bool>,
{
    let looking = async {
        while !holds().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(LIMIT, looking).await.is_err() {
        panic!("not so within {LIMIT:?}: {what}");
    }
}

/// Checks that the proxy is as it was before the first client: the clients being gone, no session, waiter or server
/// connection in use is left behind, no pin is counted, and no server connection ever owed something that nobody could name.
///
/// # Panics
/// If one of these does not hold, or does not come to hold within [`LIMIT`].
pub async fn invariants(proxy: &Proxy) {
    nothing_left(proxy).await;
    let out_of_sync = proxy.metrics().out_of_sync.get();
    assert_eq!(out_of_sync, 0, "out-of-sync closes");
}

/// As [`invariants`], for a server that itself broke the protocol: connections to it may have been closed as out of sync.
///
/// # Panics
/// As [`invariants`].
pub async fn nothing_left(proxy: &Proxy) {
    proxy.is_checked();
    let mut last = String::new();
    let waited = async {
        loop {
            let view = proxy.view().await;
            let busy: u32 = view.scheduler.lanes.iter().map(|lane| lane.busy).sum();
            let linked = view.servers.2;
            let waiting = view.scheduler.waiting;
            if (view.sessions, linked, busy, waiting) == (0, 0, 0, 0) {
                return view;
            }
            last = format!(
                "{} sessions, {linked} servers in use, {busy} slots busy, {waiting} waiting",
                view.sessions
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let Ok(view) = tokio::time::timeout(LIMIT, waited).await else {
        panic!("something is left behind: {last}");
    };
    let metrics = proxy.metrics();
    assert_eq!(metrics.clients.get(), 0, "the gauge of clients");
    assert!(view.scheduler.connections <= view.scheduler.total_slots);
    for lane in &view.scheduler.lanes {
        assert_eq!(lane.sessions, 0, "sessions of lane {}", lane.name);
        for (reason, count) in proxy.lane_metrics(&lane.name).pinned() {
            assert_eq!(count, 0, "lane {}: pinned by {reason}", lane.name);
        }
    }
}

/// Waits until a proxy that was asked to end has ended, and checks what it left: no client, and no connection out of sync.
///
/// # Panics
/// If it does not end within [`LIMIT`].
pub async fn ended(proxy: &Proxy) {
    proxy.is_checked();
    crate::soon(proxy.handle().ended()).await;
    let metrics = proxy.metrics();
    assert_eq!(metrics.out_of_sync.get(), 0, "out-of-sync closes");
    assert_eq!(metrics.clients.get(), 0, "the gauge of clients");
}
