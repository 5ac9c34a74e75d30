//! TLS on both sides: what clients may and must do, how the proxy reaches a server that has it, and what somebody between
//! can not.
#![allow(clippy::unwrap_used, reason = "helpers fail as the tests do")]

mod cert;
mod certificates;
mod clients;
mod libpq;
mod server;
mod stuffing;
