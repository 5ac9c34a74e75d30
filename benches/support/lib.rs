//! Support for the benches.

pub mod clock;
pub mod contention;
pub mod pgbouncer;
pub mod process;
