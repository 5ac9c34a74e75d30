//! Connection strings in a source tree, and the installation.
//!
//! - `walk`: the files that are looked into
//! - [`mod@find`], `lines` and `commands`: connections in a text, in parts that know their places (`found`)
//! - [`probe`]: which of them work
//! - [`judge`]: what is to be said about them
//! - [`rewrite`]: edits that bring them to the proxy, and the difference as people read it
//! - [`installation`]: the server against the lanes

mod commands;
pub mod find;
mod found;
pub mod installation;
pub mod judge;
mod lines;
pub mod probe;
pub mod rewrite;
#[cfg(test)]
mod tests;
mod walk;

pub use found::{Driver, Found, Kind, Part, Parts};
pub use walk::{MAXIMUM_FILES, Source, Walked, walk};
