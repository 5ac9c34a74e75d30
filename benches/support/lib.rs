//! Support for the benches.

pub mod clock;
pub mod contention;
pub mod objective;
pub mod pgbouncer;
pub mod process;
pub mod what_if;
