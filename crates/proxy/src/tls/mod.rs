//! TLS on both sides, by rustls. What is made of the files stands in `pglanes-config`;
//! here it is put to work.
//!
//! - `material`: what is in force, and how it follows the files
//! - `handshake`: the two handshakes
//! - `channel`: one connection, once its handshake is over

mod channel;
mod handshake;
mod material;

pub(crate) use channel::Channel;
pub(crate) use handshake::{accept, connect};
pub(crate) use material::{Material, follow_files};
