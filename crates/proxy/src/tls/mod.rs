//! TLS on both sides, by rustls.
//!
//! - `channel`: one connection, once its handshake is over
#![allow(dead_code, reason = "the two sides come next")]

mod channel;

#[allow(unused_imports, reason = "the sides of the handshake come next")]
pub(crate) use channel::{Channel, Socket};
