//! The clients that are crates, each with its defaults. diesel comes with diesel-async, over tokio-postgres: its own connection links
//! libpq when it is built, which a fresh machine lacks.

pub(crate) mod diesel;
pub(crate) mod sqlx;
pub(crate) mod tokio_postgres;

use std::future::Future;

use futures_util::future::join_all;
use pglanes_tests::{Proxy, Target};

/// Clients at once, more than there are server connections.
const CLIENTS: i32 = 8;
/// How often each does what it does.
const TURNS: i32 = 12;

/// Where a client finds the proxy.
fn url(proxy: &Proxy) -> String {
    let (port, database) = (proxy.port(), proxy.database());
    format!("postgresql://postgres@127.0.0.1:{port}/{database}")
}

/// All clients' lives, side by side.
async fn together<L: Future<Output = ()>>(life: impl Fn(i32) -> L) {
    join_all((0..CLIENTS).map(life)).await;
}
