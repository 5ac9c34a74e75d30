//! What an operator sees: metrics and health over HTTP, on an address of their own.
//!
//! What it is: `/metrics` in Prometheus' text format, `/healthz`, `/readyz`, built from the data path's counters and
//! its state at the moment of the question. What it is not: it decides nothing, changes nothing, and takes no time of
//! the data thread but for one snapshot a scrape.
//!
//! It never: shows a query's text, or has a label whose values clients choose.
//!
//! The types that matter: [`access::Access`] decides whose requests are taken; [`serve`] answers until the proxy has ended; [`Status`] is what the binary knows beside the
//! data path; [`text_format`] reads the metrics back, strictly.
#![forbid(unsafe_code)]

pub mod access;
mod answers;
mod leases;
mod metrics;
mod server;
mod status;
pub mod text_format;

pub use server::{BindError, MAXIMUM_CONNECTIONS, bind, serve};
pub use status::{Reachability, Status};
