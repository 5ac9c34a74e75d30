//! The one file of this bench that reads the clock.

use std::time::Instant;

/// The time now.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the bench's clock module"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
