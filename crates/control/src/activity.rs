//! What the server's own views tell of who works, who waits for whom, and what maintenance runs: `pg_stat_activity`, and
//! `pg_blocking_pids()` for those who wait for a lock and nobody else (it holds up the lock manager for a moment).

use std::time::Duration;

use pglanes_config::{TlsError, UpstreamTls};
use tokio_postgres::Row;

use crate::address::ServerAddress;
use crate::connection::Control;
use crate::error::ControlError;

/// Processes looked at in one look; the rest is left out, and said.
pub const MOST_BACKENDS: i64 = 2000;
/// Waiting processes whose blockers are asked for in one look, the longest waiting first.
pub const MOST_WAITING: i64 = 64;

/// What the server's own views show this connection as.
pub(crate) const APPLICATION_NAME: &str = "pglanes-observer";

/// A look must never become a load: it is given up soon.
pub(crate) const STARTUP_OPTIONS: &str = "-c statement_timeout=1s -c lock_timeout=1s -c search_path=pg_catalog \
     -c default_transaction_read_only=on -c jit=off -c max_parallel_workers_per_gather=0";

const WAITING: &str = "select pid, pg_blocking_pids(pid) as blockers from pg_stat_activity \
     where wait_event_type = 'Lock' order by query_start limit $1";

/// The proxy's own questions are left out. `backend_type` is hidden from those who may not see all of it.
const ACTIVITY: &str = "with waiting as materialized (\
       select pid, pg_blocking_pids(pid) as blockers from pg_stat_activity \
       where wait_event_type = 'Lock' order by query_start limit $1) \
     select activity.pid, leader_pid, backend_type, usename::text as usename, \
       coalesce(application_name, '') as application_name, datname::text as datname, state, \
       (extract(epoch from clock_timestamp() - xact_start) * 1000)::int8 as transaction_ms, \
       wait_event, blockers \
     from pg_stat_activity as activity left join waiting using (pid) \
     where activity.pid <> pg_backend_pid() \
       and coalesce(application_name, '') not in ('pglanes-control', 'pglanes-observer', 'pglanes-listener') and (backend_type is null or backend_type in \
       ('client backend', 'parallel worker', 'autovacuum worker', 'checkpointer')) \
     limit $2";

/// Everything that one look shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Those that were looked at.
    pub backends: Vec<ObservedBackend>,
    /// There are more than [`MOST_BACKENDS`].
    pub cut_off: bool,
    /// Backends of which this user may not see what they do: it lacks `pg_monitor`.
    pub hidden: usize,
    /// A checkpoint is being written.
    pub checkpoint: bool,
}

/// One process of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedBackend {
    /// Its number, in the server's process namespace.
    pub pid: i32,
    /// The backend that a parallel worker works for.
    pub leader: Option<i32>,
    /// What it is.
    pub kind: BackendKind,
    /// The role; empty where there is none.
    pub user: String,
    /// As the session set it.
    pub application_name: String,
    /// The database; empty where there is none.
    pub database: String,
    /// What a client's backend does.
    pub state: BackendState,
    /// How long its transaction has been open.
    pub transaction: Option<Duration>,
    /// Whom it waits for; nobody unless it waits for a lock.
    pub blocked_by: Vec<i32>,
}

/// Kinds of processes that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// Serves a client.
    Client,
    /// Works for another one.
    ParallelWorker,
    /// Autovacuum.
    Autovacuum,
}

/// What a client's backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// A statement runs.
    Active,
    /// Between transactions.
    Idle,
    /// Inside a transaction, failed or not, between statements.
    IdleInTransaction,
    /// Not to be seen by this user, or not tracked.
    Unknown,
}

/// Somebody who waits for a lock, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who waits.
    pub pid: i32,
    /// Who holds the lock, or waits for it in front.
    pub blocked_by: Vec<i32>,
}

/// One connection that looks.
#[derive(Clone, Debug)]
pub struct Observer(Control);

impl Observer {
    /// Opens nothing yet. To be used inside a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`TlsError`]: a file that cannot be used.
    pub fn new(upstream: &ServerAddress, tls: &UpstreamTls) -> Result<Self, TlsError> {
        Control::observing(upstream, tls).map(Self)
    }

    /// Who is asked: `user@host:port/database`.
    pub fn server(&self) -> &str {
        self.0.server()
    }

    /// Looks at everything.
    ///
    /// # Errors
    /// [`ControlError`] when the server cannot be asked.
    pub async fn look(&self) -> Result<Activity, ControlError> {
        let limits = [MOST_WAITING, MOST_BACKENDS + 1];
        let rows = self.0.rows(ACTIVITY, &[&limits[0], &limits[1]]).await?;
        read(&rows).map_err(|what| self.0.unexpected(what))
    }

    /// Looks only at who waits for a lock.
    ///
    /// # Errors
    /// [`ControlError`] when the server cannot be asked.
    pub async fn waiting(&self) -> Result<Vec<Waiting>, ControlError> {
        let rows = self.0.rows(WAITING, &[&MOST_WAITING]).await?;
        let waiting = rows.iter().map(|row| {
            Some(Waiting {
                pid: row.try_get("pid").ok()?,
                blocked_by: blockers(row).ok()?,
            })
        });
        let waiting: Option<Vec<_>> = waiting.collect();
        waiting.ok_or_else(|| self.0.unexpected("pg_blocking_pids"))
    }
}

fn read(rows: &[Row]) -> Result<Activity, &'static str> {
    let mut activity = Activity {
        cut_off: rows.len() as i64 > MOST_BACKENDS,
        ..Activity::default()
    };
    for row in rows.iter().take(MOST_BACKENDS as usize) {
        let kind: Option<&str> = row.try_get("backend_type").map_err(|_| "backend_type")?;
        let kind = match kind {
            Some("parallel worker") => BackendKind::ParallelWorker,
            Some("autovacuum worker") => BackendKind::Autovacuum,
            Some("checkpointer") => {
                let waits: Option<&str> = row.try_get("wait_event").map_err(|_| "wait_event")?;
                activity.checkpoint = waits != Some("CheckpointerMain");
                continue;
            }
            Some(_) => BackendKind::Client,
            None => {
                // The server's own processes have no user.
                if row
                    .try_get::<_, Option<&str>>("usename")
                    .ok()
                    .flatten()
                    .is_none()
                {
                    continue;
                }
                activity.hidden += 1;
                BackendKind::Client
            }
        };
        activity.backends.push(backend(row, kind)?);
    }
    Ok(activity)
}

fn backend(row: &Row, kind: BackendKind) -> Result<ObservedBackend, &'static str> {
    let text = |column| {
        let text = row.try_get::<_, Option<&str>>(column);
        text.map(|text| text.unwrap_or("").to_owned())
            .map_err(|_| column)
    };
    let transaction: Option<i64> = row.try_get("transaction_ms").map_err(|_| "xact_start")?;
    Ok(ObservedBackend {
        pid: row.try_get("pid").map_err(|_| "pid")?,
        leader: row.try_get("leader_pid").map_err(|_| "leader_pid")?,
        kind,
        user: text("usename")?,
        application_name: text("application_name")?,
        database: text("datname")?,
        state: state(row.try_get("state").map_err(|_| "state")?),
        // A clock that was set back makes no negative age.
        transaction: transaction.map(|age| Duration::from_millis(u64::try_from(age).unwrap_or(0))),
        blocked_by: blockers(row)?,
    })
}

fn blockers(row: &Row) -> Result<Vec<i32>, &'static str> {
    let blockers: Option<Vec<i32>> = row.try_get("blockers").map_err(|_| "pg_blocking_pids")?;
    let mut blockers = blockers.unwrap_or_default();
    // Zero is a prepared transaction. A parallel group names its leader several times.
    blockers.retain(|pid| *pid != 0);
    blockers.sort_unstable();
    blockers.dedup();
    Ok(blockers)
}

fn state(state: Option<&str>) -> BackendState {
    match state {
        Some("active" | "fastpath function call") => BackendState::Active,
        Some("idle") => BackendState::Idle,
        Some(text) if text.starts_with("idle in transaction") => BackendState::IdleInTransaction,
        Some(_) | None => BackendState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_understood_and_a_hidden_one_is_unknown() {
        assert_eq!(state(Some("active")), BackendState::Active);
        assert_eq!(state(Some("fastpath function call")), BackendState::Active);
        assert_eq!(state(Some("idle")), BackendState::Idle);
        for text in ["idle in transaction", "idle in transaction (aborted)"] {
            assert_eq!(state(Some(text)), BackendState::IdleInTransaction);
        }
        assert_eq!(state(Some("disabled")), BackendState::Unknown);
        assert_eq!(state(None), BackendState::Unknown);
    }
}
