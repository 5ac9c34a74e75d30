//! What runs out: descriptors, names, the log's disk (`crates/pglanes/tests`), who answers.

use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pglanes_tests::{Proxy, Raw, eventually, invariants, nothing_left, try_connect};
use tokio::net::TcpStream;

/// Says that this process is the one that may run out of descriptors.
const ALONE: &str = "PGLANES_TEST_ALONE";
const NAME: &str = "resources::when_descriptors_run_out_those_inside_are_served_and_nothing_spins";

/// The limit is a process's: the test runs once more, in one of its own.
#[tokio::test]
async fn when_descriptors_run_out_those_inside_are_served_and_nothing_spins() {
    if std::env::var_os(ALONE).is_some() {
        return run_out().await;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", NAME, "--nocapture"])
        .env(ALONE, "1");
    let output = pglanes_tests::run(command, Duration::from_secs(120)).await;
    assert!(output.succeeded, "{}\n{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("1 passed"), "{}", output.stdout);
}

fn descriptors() -> u64 {
    std::fs::read_dir("/dev/fd").unwrap().count() as u64
}

async fn run_out() {
    let proxy = Proxy::with("").slots(2).run().await;
    let mut inside = Raw::ready(&proxy).await;
    assert_eq!(inside.value("SELECT 1").await, "1");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, descriptors() + 21, hard).unwrap();
    // Each takes one here and, where it is accepted, one in the proxy.
    let mut outside = Vec::new();
    while let Ok(stream) = TcpStream::connect(pglanes_tests::Target::address(&proxy)).await {
        outside.push(stream);
        assert!(outside.len() < 100, "the limit does not hold");
    }
    let failures = || proxy.metrics().accept_failures.get();
    let mut waited = 0;
    while failures() == 0 && waited < 100 {
        // Here there may be one left that the proxy then took.
        outside.extend(
            TcpStream::connect(pglanes_tests::Target::address(&proxy))
                .await
                .ok(),
        );
        assert_eq!(inside.value("SELECT 1").await, "1");
        tokio::time::sleep(Duration::from_millis(50)).await;
        waited += 1;
    }
    assert!(failures() > 0, "descriptors never ran out");
    // One try in a tenth of a second and no more, however long it lasts.
    let (before, since) = (failures(), tokio::time::Instant::now());
    for _ in 0..20 {
        assert_eq!(inside.value("SELECT 1").await, "1");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let possible = since.elapsed().as_millis() as u64 / 100 + 2;
    assert!(
        failures() - before <= possible,
        "{} of {possible}",
        failures() - before
    );
    drop(outside);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    eventually("clients are taken again", || async {
        try_connect(&proxy, "").await.is_ok()
    })
    .await;
    drop(inside);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_an_answer_and_not_a_wait() {
    let pg = pglanes_tests::Pg::fresh().await;
    let proxy = Proxy::with("")
        .over(&pg)
        .upstream_host("nowhere.invalid")
        .run()
        .await;
    for _ in 0..3 {
        let error = try_connect(&proxy, "").await.unwrap_err();
        let error = error.as_db_error().unwrap().clone();
        assert_eq!(error.code().code(), "08006");
        assert!(error.message().contains("nowhere.invalid"), "{error:?}");
    }
    assert!(!proxy.metrics().upstream_up.get());
    nothing_left(&proxy).await;
}
