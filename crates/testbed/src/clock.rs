//! The one file of this crate that reads the clock. A test bed measures wall time, so it cannot take time as an argument.

use std::time::Instant;

/// The time now, for durations that are waited for or measured.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the crate's clock module"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
