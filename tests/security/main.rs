//! Who gets in, what those outside can do, and what is never said.
#![allow(clippy::unwrap_used, reason = "helpers fail as the tests do")]

mod canary;
mod login;
mod outside;
mod upstream;
