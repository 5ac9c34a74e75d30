//! What the binary knows and the data path does not.

use std::time::SystemTime;

/// Published by the binary through a watch channel; read at each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether PostgreSQL was reached when it was last tried.
    pub upstream: Reachability,
    /// `limits.clients`.
    pub clients_limit: u32,
    /// When the process started.
    pub started: SystemTime,
    /// When the configuration in force was read.
    pub configured: SystemTime,
}

/// The outcome of the last attempt to reach PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// There was none yet.
    Untried,
    /// It answered.
    Reached,
    /// It did not.
    Unreachable {
        /// The operating system's words, and the address.
        why: String,
    },
}
