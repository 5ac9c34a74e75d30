//! The one file of the benches that reads the clock.

use std::time::Instant;

/// The time now.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the benches' clock module"
)]
pub fn now() -> Instant {
    Instant::now()
}
