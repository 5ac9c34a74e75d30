//! Support for the benches.

pub mod contention;
