//! PostgreSQL's settings for a machine, a version and the lanes.
//!
//! - `facts`: what is known of machine, lanes and vectors
//! - `memory`: who may take how much, so that all of them together stay within the share
//! - `rules`: facts to proposals, each with why and from where
//! - `render`: the table, and the file for `include`
//! - [`apply`]: `ALTER SYSTEM` with a way back

pub mod apply;
mod facts;
mod memory;
mod render;
mod rules;
#[cfg(test)]
mod tests;

pub use facts::{Disk, Facts, LaneDemand, Machine, System, Vectors};
pub use memory::{Ledger, TooLittle};
pub use render::{differs, file, table};
pub use rules::{NEWEST, OLDEST, Plan, Proposal, Refusal, plan};
