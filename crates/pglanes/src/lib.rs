//! The binary's parts: what wires the crates together.
//!
//! - [`cli`]: the command line, and the exit codes
//! - [`serve`]: the proxy with its metrics, its signals and its reloads
//! - [`check`]: lanes.yaml as understood, and what is probably not meant
//! - `advise`: tune, doctor, init and schema, wired to this machine and this server
//! - `run`: a command in a lane, with a lease; `ask`: what commands ask of the running proxy
//! - `top`: the dashboard in the terminal
//! - [`what_if`]: what runs, recorded, and run again with another lanes.yaml
//! - [`demo`]: the main job, measured
//! - [`observe`]: the server, looked at past the lanes
//! - [`state`]: the folder of what outlives a restart, and the token in it
//! - [`source`]: where the configuration comes from
//! - [`logging`]: what is logged and how
//!
//! It decides nothing about traffic: that is `pglanes-lanes` by way of `pglanes-proxy`. It never logs a query's text or
//! a password.
#![forbid(unsafe_code)]

mod advise;
mod ask;
pub mod check;
pub mod cli;
pub mod demo;
mod embedded;
mod file_limit;
mod history;
pub mod logging;
mod machine;
pub mod observe;
mod report;
mod run;
pub mod serve;
mod server_address;
pub mod source;
pub mod state;
mod top;
pub mod views;
pub mod what_if;
