//! What an operator sees and does: metrics and health over HTTP, on an address of their own, and the admin console,
//! which speaks PostgreSQL's protocol.
//!
//! What it is: `/metrics` in Prometheus' text format, `/healthz`, `/readyz`, built from the data path's counters and
//! its state at the moment of the question. The console's clients are
//! authenticated by the data path and handed over with their socket. What it is not: it decides nothing, changes only
//! what an admin asks for, and takes no time of the data thread but for one snapshot a question.
//!
//! It never: shows a query's text, or has a label whose values clients choose.
//!
//! The types that matter: [`access::Access`] decides whose requests are taken; [`serve`] answers until the proxy has ended; [`Status`] is what the binary knows beside the
//! data path; [`Console`] serves the console; [`metrics`] has
//! the table of all metrics, and [`text_format`] reads them back, strictly.
#![forbid(unsafe_code)]

pub mod access;
mod answers;
mod console;
mod dashboard;
mod leases;
pub mod metrics;
pub mod recording;
pub mod report;
mod server;
mod status;
pub mod text_format;
pub mod warnings;

pub use console::{Console, MAXIMUM_CONSOLES, Operation};
pub use server::{BindError, MAXIMUM_CONNECTIONS, bind, serve};
pub use status::{Reachability, Status};
