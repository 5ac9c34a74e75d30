//! The ways to PostgreSQL that are compared.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use pglanes::demo::lanes::{Lanes, Upstream};
use pglanes::demo::phases::Targets;
use pglanes_testbed::workload::Target;

use crate::pgbouncer::Installed;
use crate::process::{Running, free_port};

/// A way to PostgreSQL.
pub(super) enum Route {
    /// Straight.
    Direct,
    /// Through pglanes.
    Lanes(Lanes),
    /// Through PgBouncer.
    PgBouncer(PgBouncer),
}

impl Route {
    /// What it goes through; `None` is nothing.
    pub(super) fn title(&self) -> Option<String> {
        match self {
            Route::Direct => None,
            Route::Lanes(lanes) => Some(lanes.name().to_owned()),
            Route::PgBouncer(pgbouncer) => Some(pgbouncer.installed.version.clone()),
        }
    }
}

/// How PgBouncer shares its server connections out. Its pools are by database and user: the two workloads share one pool
/// under one name of the database, and have one each under two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pools {
    /// One pool of this many.
    Shared(u32),
    /// A pool each.
    Each {
        /// The evaluation's.
        evaluation: u32,
        /// The memory system's.
        memory: u32,
    },
}

/// PgBouncer with pools of a size.
pub(super) struct PgBouncer {
    pub(super) installed: Installed,
    pub(super) pools: Pools,
}

impl PgBouncer {
    /// Starts it before a database. It ends when what is given beside the targets is dropped.
    pub(super) fn open(
        &self,
        direct: &Target,
        upstream: &Upstream,
    ) -> Result<(Targets, (Running, Folder))> {
        ensure!(
            direct.password.is_none(),
            "PgBouncer is compared on the test bed's own server only"
        );
        let folder = Folder::make()?;
        let socket = upstream.socket_directory.as_ref();
        let host = socket.map_or(upstream.host.clone(), |path| path.display().to_string());
        let database = |name: &str, size: u32| {
            format!(
                "{name} = host={host} port={} dbname={} pool_size={size}\n",
                upstream.port, direct.database
            )
        };
        let (names, databases) = match self.pools {
            Pools::Shared(size) => (["shared", "shared"], database("shared", size)),
            Pools::Each { evaluation, memory } => (
                ["evaluation", "memory"],
                database("evaluation", evaluation) + &database("memory", memory),
            ),
        };
        let port = free_port()?;
        let running = self.installed.start(&folder.0, port, &databases, "")?;
        let [evaluation, memory] = names.map(|name| Target {
            database: name.to_owned(),
            ..direct.through("127.0.0.1", port)
        });
        Ok((Targets { evaluation, memory }, (running, folder)))
    }
}

/// A folder that is gone when it is dropped. Readable by all, for a PgBouncer that must run as another user.
pub(super) struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Folder> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("pglanes-contention-{}-{number}", process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path)?;
        let folder = Folder(path);
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
