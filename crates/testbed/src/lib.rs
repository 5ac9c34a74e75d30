//! A real, throw-away PostgreSQL with pgvector, and the workloads that fight over it.
//!
//! The demo, the tests and the benchmarks use it. It is not a mock: [`Postgres`] runs the binaries of an installed
//! PostgreSQL that has pgvector, or those of a wheel that is downloaded once. It is no part of the proxy either: nothing that
//! `pglanes serve` does passes through here; with `--embedded` the server behind it is started from here, its data kept.
//!
//! - [`Postgres`]: a server of one's own on a free port, gone when it is dropped, when the test panics and when the process
//!   that started it is killed. [`shared`] is one server for a whole test process.
//! - [`Version`]: a server of PostgreSQL 14, 15, 16, 17 or 18, without pgvector, for what has to be shown on each.
//! - [`schema`]: the memory system's tables, filled with seeded, clustered vectors.
//! - [`workload`]: the memory system and the evaluation as seeded load generators that report throughput and latency.
//!
//! ```no_run
//! # async fn example() -> Result<(), pglanes_testbed::TestbedError> {
//! let postgres = pglanes_testbed::Postgres::builder().max_connections(50).start()?;
//! let client = postgres.connect("postgres").await?;
//! client.batch_execute("CREATE EXTENSION IF NOT EXISTS vector").await?;
//! # Ok(())
//! # }
//! ```

mod account;
mod binaries;
mod cache;
mod clock;
mod error;
mod random;
pub mod schema;
mod server;
pub mod workload;

pub use binaries::{Binaries, Source, Version};
pub use error::TestbedError;
pub use server::{Auth, Builder, Postgres, StopMode, shared};
