//! What clients and the proxy say to each other, message by message, held against what the server itself says.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod differential;
mod flow;
mod prepared;
mod scripts;
mod startup;
mod versions;
