//! The comparison with the server, message by message, before each supported version of PostgreSQL. One that cannot be had
//! on this machine (the servers come from npm) is skipped, and says so.

use std::process::Command;
use std::time::Duration;

use pglanes_testbed::{Postgres, TestbedError, Version};

/// How long one version may take; the comparison itself takes half a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// One version at a time: each comparison has as many sessions as a machine can do with.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs this program's comparison anew, in a process of its own, before a server of this version.
async fn check(version: Version) {
    let _turn = TURN.lock().await;
    let started = tokio::task::spawn_blocking(move || Postgres::builder().version(version).start());
    match started.await.unwrap() {
        Ok(_) => {}
        Err(error @ TestbedError::NoVersion { .. }) => {
            eprintln!("SKIPPED: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["scripts::", "--test-threads=2"])
        .env("PGLANES_TEST_VERSION", version.major().to_string());
    let output = pglanes_tests::run(command, LIMIT).await;
    let said = format!("{}\n{}", output.stdout, output.stderr);
    assert!(output.succeeded, "PostgreSQL {}: {said}", version.major());
    let result = output
        .stdout
        .lines()
        .rfind(|line| line.starts_with("test result:"));
    let result = result.expect("a result");
    assert!(!result.contains(" 0 passed"), "nothing ran: {said}");
    println!("PostgreSQL {}: {result}", version.major());
}

#[tokio::test]
async fn postgresql_14_is_passed_on_as_it_speaks() {
    check(Version::V14).await;
}

#[tokio::test]
async fn postgresql_15_is_passed_on_as_it_speaks() {
    check(Version::V15).await;
}

#[tokio::test]
async fn postgresql_16_is_passed_on_as_it_speaks() {
    check(Version::V16).await;
}

#[tokio::test]
async fn postgresql_17_is_passed_on_as_it_speaks() {
    check(Version::V17).await;
}

#[tokio::test]
async fn postgresql_18_is_passed_on_as_it_speaks() {
    check(Version::V18).await;
}
