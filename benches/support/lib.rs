//! Support for the benches.

use std::future::Future;

pub mod clock;
pub mod contention;
pub mod objective;
pub mod pgbouncer;
pub mod process;
pub mod schema;
pub mod what_if;

/// Runs a measurement to its end, or until Ctrl-C: dropping it removes what it made.
///
/// # Errors
/// The measurement's own, or that it was interrupted.
pub async fn until_interrupted<T>(
    measurement: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
        measured = measurement => measured,
    }
}
