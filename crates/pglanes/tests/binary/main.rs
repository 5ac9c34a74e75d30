//! The real binary as an operator meets it: `check` and the command line, `serve` without and with a PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod advise;
mod baselines;
mod check;
mod console;
mod priority;
mod report;
mod run;
mod schema;
mod serve;
mod sockets;
mod support;
mod top;
mod upstream;
mod vectors;
mod what_if;
