//! Leases: while somebody says that an evaluation runs, others yield; nobody says so for ever.

use std::time::Duration;

use pglanes_proxy::{EventKind, LeaseError, LeaseRequest};
use pglanes_tests::{Proxy, connect, invariants, soon, value};

use super::{lane, throttle, waits};

const LANES: &str = "lanes:
  evaluation: { match: [{ application_name: 'eval*' }] }
  compaction: { match: [{ application_name: 'compact*' }], slots: { max: 3 } }
  default: {}
throttles:
  - { name: yields, while: { lane: evaluation, is: leased }, lane: compaction, slots: 0 }
";

fn request(lane: &str, seconds: u64) -> LeaseRequest {
    LeaseRequest {
        lane: lane.to_owned(),
        holder: "a test".to_owned(),
        time_to_live: Duration::from_secs(seconds),
    }
}

#[tokio::test]
async fn a_lease_holds_others_back_until_the_last_one_ends() {
    let proxy = Proxy::with(LANES).run().await;
    let handle = proxy.handle();
    let first = soon(handle.take_lease(request("evaluation", 600)))
        .await
        .unwrap();
    let second = soon(handle.take_lease(request("evaluation", 600)))
        .await
        .unwrap();
    assert!(throttle(&proxy).await.active_since.is_some());
    let client = connect(&proxy, "application_name=compact").await;
    let held = tokio::spawn(async move { value(&client, "SELECT 'compacted'").await });
    waits(&proxy, "compaction", 1).await;
    let renewed = soon(handle.renew_lease(first.id, Some(Duration::from_secs(900))))
        .await
        .unwrap();
    assert_eq!(renewed.time_to_live, Duration::from_secs(900));
    soon(handle.end_lease(first.id)).await.unwrap();
    assert_eq!(lane(&proxy, "evaluation").await.leases, 1);
    waits(&proxy, "compaction", 1).await;
    soon(handle.end_lease(second.id)).await.unwrap();
    // Whoever waited is served at once.
    assert_eq!(soon(held).await.unwrap(), "compacted");
    assert_eq!(soon(handle.leases()).await.unwrap(), []);
    let again = soon(handle.end_lease(second.id)).await;
    assert_eq!(again, Err(LeaseError::UnknownLease(second.id)));
    let unknown = soon(handle.take_lease(request("evaluatoin", 600))).await;
    assert!(matches!(unknown, Err(LeaseError::UnknownLane { .. })));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_expires() {
    let proxy = Proxy::with(LANES).run().await;
    let handle = proxy.handle();
    let lease = soon(handle.take_lease(request("evaluation", 1)))
        .await
        .unwrap();
    let client = connect(&proxy, "application_name=compact").await;
    assert_eq!(value(&client, "SELECT 'compacted'").await, "compacted");
    assert_eq!(proxy.lane_metrics("evaluation").leases_expired.get(), 1);
    let kinds: Vec<_> = handle
        .events()
        .since(0)
        .events
        .into_iter()
        .map(|event| event.kind)
        .collect();
    let expired = |kind: &EventKind| matches!(kind, EventKind::LeaseExpired { holder, .. } if holder == "a test");
    assert!(kinds.iter().any(expired), "{kinds:?}");
    let late = soon(handle.renew_lease(lease.id, None)).await;
    assert_eq!(late, Err(LeaseError::UnknownLease(lease.id)));
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_lease_outlives_a_reload() {
    let proxy = Proxy::with(LANES).run().await;
    soon(proxy.handle().take_lease(request("evaluation", 600)))
        .await
        .unwrap();
    proxy
        .reload(&LANES.replace("max: 3", "max: 2"))
        .await
        .unwrap();
    assert_eq!(lane(&proxy, "evaluation").await.leases, 1);
    assert!(throttle(&proxy).await.active_since.is_some());
    invariants(&proxy).await;
}
