//! The one file of the advisor that reads the clock: what is measured here is wall time.

use std::time::Instant;

/// The time now.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the crate's clock module"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
