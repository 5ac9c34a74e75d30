//! A program's whole life: against a proxy with three server connections, with default settings.

use std::process::Command;
use std::time::Duration;

use pglanes_tests::{Proxy, Target, invariants, run};

use crate::runtimes::{self, Skipped};

/// A client's whole life, many times over, on a loaded machine.
const LONGEST: Duration = Duration::from_secs(240);

/// Server connections of all sessions together, fewer than any program has clients.
pub(crate) const SLOTS: u32 = 3;

/// A proxy for one of them.
pub(crate) async fn proxy() -> Proxy {
    let proxy = Proxy::with_slots(SLOTS);
    proxy.lives(LONGEST + Duration::from_secs(20)).run().await
}

/// Runs a program of the folder `python`, the first of these words, with the others as its arguments.
pub(crate) async fn python(words: &[&str]) -> Result<(), Skipped> {
    let mut program = runtimes::python(words[0]).await?;
    program.args(&words[1..]);
    of(program).await
}

/// Runs a program, which finds its database in libpq's environment variables.
///
/// # Panics
/// If it fails, does not say that it lived, or leaves anything behind.
pub(crate) async fn of(mut program: Command) -> Result<(), Skipped> {
    let proxy = proxy().await;
    program
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", proxy.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", proxy.database());
    let output = run(program, LONGEST).await;
    assert!(
        output.succeeded,
        "its output:\n{}\n{}",
        output.stdout, output.stderr
    );
    assert_eq!(output.stdout.lines().last(), Some("lived"), "{output:?}");
    assert!(proxy.metrics().servers_opened.get() > 0);
    invariants(&proxy).await;
    Ok(())
}
