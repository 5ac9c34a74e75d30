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
pub(crate) async fn of(program: Command) -> Result<(), Skipped> {
    before(proxy().await, program).await
}

/// The lanes of the module in `deploy/examples/python`: its components' own, and some that are narrow on purpose.
const COMPONENTS: &str = r#"
lanes:
  evaluation: { match: [{ application_name: "ragchecker" }], slots: { min: 1, max: 4 }, settings: { work_mem: 64MB } }
  ltst: { match: [{ application_name: "ltst" }], slots: { min: 2, max: 4 }, settings: { work_mem: 32MB } }
  full: { match: [{ application_name: "*full" }], slots: { max: 1 }, queue: { length: 0 } }
  slow: { match: [{ application_name: "*slow" }], slots: { max: 1 }, queue: { length: 9, timeout: 200ms } }
  ruled: { match: [{ application_name: "ruled" }], slots: { max: 2 }, rules: [{ name: runaway, when: { running: 500ms }, then: cancel }] }
  default: { slots: { max: 2 } }
"#;

/// Runs a program of the folder `python` that uses the module in `deploy/examples/python`, before lanes for its components.
pub(crate) async fn python_module(name: &str) -> Result<(), Skipped> {
    let mut program = runtimes::python(name).await?;
    program.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/examples/python"
    ));
    let lanes = Proxy::with(COMPONENTS).lives(LONGEST + Duration::from_secs(20));
    before(lanes.run().await, program).await
}

async fn before(proxy: Proxy, mut program: Command) -> Result<(), Skipped> {
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
