//! Memory that an idle client costs a pooler: many are connected, each having made one
//! transaction, and then do nothing.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::arguments::Arguments;
use crate::path::{Bench, Path};
use crate::raw::RawClient;
use pglanes_benches::process::Running;

/// Between two looks at a process's memory.
const LOOK: Duration = Duration::from_millis(500);
/// Looks until it must have settled.
const MOST_LOOKS: u32 = 12;
/// What may change between two looks of a settled process, bytes.
const SETTLED: u64 = 16 * 1024;

/// One pooler with its idle clients.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) path: Path,
    pub(crate) clients: u32,
    pub(crate) resident_before: u64,
    pub(crate) resident_after: u64,
    pub(crate) bytes_per_client: f64,
}

/// Measures pglanes and PgBouncer, each a fresh process: what earlier work left free would
/// hide what the clients take.
pub(crate) fn measure(bench: &Bench<'_>, arguments: &Arguments) -> Result<Vec<Idle>> {
    let mut measured = Vec::new();
    for open in bench.open(&[Path::PglanesTcp, Path::PgbouncerTcp])? {
        let Some(pooler) = open.pooler else { continue };
        eprintln!("idle clients, {}", open.path.title());
        if pooler.resident_bytes().is_none() {
            eprintln!("skipped: memory of a process is read from /proc, which is not here");
            break;
        }
        measured.push(hold(open.path, &pooler, arguments.idle_clients())?);
    }
    Ok(measured)
}

fn hold(path: Path, pooler: &Running, clients: u32) -> Result<Idle> {
    let mut buffer = vec![0; 64 * 1024];
    let first = connect(pooler, &mut buffer)?;
    let before = settled(pooler).context("the process is gone")?;
    let mut held = vec![first];
    for number in 0..clients {
        let client = connect(pooler, &mut buffer)
            .with_context(|| format!("{} of {clients} idle clients connected", number))?;
        held.push(client);
    }
    let after = settled(pooler).context("the process is gone")?;
    drop(held);
    Ok(Idle {
        path,
        clients,
        resident_before: before,
        resident_after: after,
        bytes_per_client: (after as f64 - before as f64) / f64::from(clients),
    })
}

fn connect(pooler: &Running, buffer: &mut [u8]) -> Result<RawClient> {
    let mut client = RawClient::connect(pooler.port(), buffer)?;
    client.query("SELECT 1", buffer)?;
    Ok(client)
}

/// Resident memory when it does not change any more.
fn settled(pooler: &Running) -> Option<u64> {
    let mut before = pooler.resident_bytes()?;
    for _ in 0..MOST_LOOKS {
        thread::sleep(LOOK);
        let now = pooler.resident_bytes()?;
        if now.abs_diff(before) <= SETTLED {
            return Some(now);
        }
        before = now;
    }
    Some(before)
}
