//! Real clients, with what they do by default, over more sessions than there are server connections.
//!
//! Each is a program in this folder that installs nothing itself: [`python`] makes one environment for all of them, once, with
//! the packages they need. Where there is no Python they are skipped, and say so.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod python;

use std::process::Command;
use std::time::Duration;

use pglanes_tests::{Proxy, Target, invariants, run};

/// A client's whole life, many times over.
const LONGEST_LIFE: Duration = Duration::from_secs(90);

/// Runs a program of this folder against a proxy with three server connections.
async fn lives_through(program: &str) {
    let Some(python) = python::environment().await else {
        eprintln!("skipped: {program}, for there is no python3 with venv here");
        return;
    };
    let proxy = Proxy::with_slots(3).run().await;
    let mut command = Command::new(python);
    command
        .arg(format!("{}/clients/{program}", env!("CARGO_MANIFEST_DIR")))
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", proxy.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", proxy.database())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = run(command, LONGEST_LIFE).await;
    assert!(
        output.succeeded,
        "{program}:\n{}\n{}",
        output.stdout, output.stderr
    );
    assert_eq!(output.stdout.lines().last(), Some("lived"), "{output:?}");
    assert!(proxy.metrics().servers_opened.get() > 0);
    invariants(&proxy).await;
}

#[tokio::test]
async fn psycopg_3() {
    lives_through("psycopg_3.py").await;
}

#[tokio::test]
async fn psycopg_2() {
    lives_through("psycopg_2.py").await;
}

#[tokio::test]
async fn asyncpg() {
    lives_through("asyncpg_pool.py").await;
}
