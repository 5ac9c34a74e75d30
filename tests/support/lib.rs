//! What the end-to-end tests stand on: a real PostgreSQL ([`Pg`]), a proxy before it in the test's own process ([`Proxy`]),
//! a client that speaks in frames ([`Raw`]) and helpers for the one that hides them (tokio-postgres, [`connect`]).
//!
//! It is no product code, and it asserts: every wait has a limit and panics when it is over, so that a test fails where it
//! would hang. A test ends with [`invariants`], which no [`Proxy`] can be dropped without:
//!
//! ```no_run
//! # async fn example() {
//! use pglanes_tests::{Proxy, connect, invariants};
//! let proxy = Proxy::with("lanes: { default: { slots: { max: 1 } } }").run().await;
//! let client = connect(&proxy, "application_name=mine").await;
//! client.batch_execute("SELECT 1").await.unwrap();
//! drop(client);
//! invariants(&proxy).await;
//! # }
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support fails as the tests do"
)]

mod answer;
mod cancel;
mod client;
mod fake;
mod files;
mod invariants;
mod memory;
mod pg;
mod proxy;
mod psql;
mod random;
mod raw;
mod script;
mod tls;
mod toxic;

use std::future::Future;
use std::time::Duration;

pub use answer::{Answer, tags};
pub use cancel::{cancel, send_cancel};
pub use client::{Target, config, connect, try_connect, value};
pub use fake::{Fake, Step};
pub use files::may_open_many_files;
pub use invariants::{ended, eventually, invariants, nothing_left};
pub use memory::{available, resident};
pub use pg::Pg;
pub use proxy::{Builder, Proxy};
pub use psql::{Output, psql, run};
pub use random::Random;
pub use raw::{Raw, Welcome, startup_packet};
pub use script::Script;
pub use tls::{Begin, Certificates, raw_over, tls_connect};
pub use toxic::{Direction, Relay, Toxic};

/// How long anything that should happen may take: long enough for a loaded machine, so that only what never happens fails.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Waits for something that should happen.
///
/// # Panics
/// When it has not happened after [`LIMIT`].
pub async fn soon<F: Future>(what: F) -> F::Output {
    match tokio::time::timeout(LIMIT, what).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("did not happen within {LIMIT:?}"),
    }
}
