//! Sessions that share server connections and never notice.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod handover;
mod hostile;
mod lanes;
mod listen;
mod names;
mod pair;
mod pins;
mod random;
mod random_listen;
mod scope;
mod sessions;
mod settings;
mod swap;
mod undone;
