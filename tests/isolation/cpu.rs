//! The priority of the server's processes, where this machine permits it.

use pglanes_tests::{Proxy, connect, eventually, invariants, value};

const LANES: &str = "lanes:
  slow: { match: [{ application_name: 'slow*' }], cpu: background }
  default: {}";

/// The nice value of a process: the 19th field of its stat file, counted behind the name, which may hold anything.
fn nice(pid: &str) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(16)?.parse().ok()
}

#[tokio::test]
async fn a_background_lanes_processes_run_at_low_priority_and_others_do_not() {
    let proxy = Proxy::with(LANES).run().await;
    let usual = connect(&proxy, "application_name=usual").await;
    let usual_pid = value(&usual, "SELECT pg_backend_pid()").await;
    let slow = connect(&proxy, "application_name=slow").await;
    let slow_pid = value(&slow, "SELECT pg_backend_pid()").await;
    let metrics = proxy.metrics();
    eventually("it was lowered, or refused", || async {
        metrics.priority_lowered.get() + metrics.priority_refused.get() > 0
    })
    .await;
    match (
        metrics.priority_lowered.get(),
        nice(&slow_pid),
        nice(&usual_pid),
    ) {
        (0, ..) => eprintln!("skipped: this machine does not permit another priority"),
        (_, Some(slow), Some(usual)) => assert!(slow == 19 && usual < slow, "{slow} and {usual}"),
        _ => eprintln!("skipped: there is no /proc here"),
    }
    drop((usual, slow));
    invariants(&proxy).await;
}
