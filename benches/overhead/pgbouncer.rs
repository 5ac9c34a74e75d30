//! PgBouncer as a way of this bench.

use anyhow::Result;
use pglanes_benches::pgbouncer::Installed;
use pglanes_benches::process::{Running, free_port};

use crate::path::{Bench, Leg, SLOTS};

/// Starts it before the bench's PostgreSQL.
pub(crate) fn start(installed: &Installed, bench: &Bench<'_>, leg: Leg) -> Result<Running> {
    let host = match leg {
        Leg::Tcp => "127.0.0.1".to_owned(),
        Leg::Unix => bench.postgres.socket_dir().display().to_string(),
    };
    let databases = format!(
        "postgres = host={host} port={} dbname=postgres\n",
        bench.postgres.port()
    );
    let settings = format!("default_pool_size = {SLOTS}\nmax_client_conn = 12000\n");
    installed.start(
        bench.workplace.folder(),
        free_port()?,
        &databases,
        &settings,
    )
}
