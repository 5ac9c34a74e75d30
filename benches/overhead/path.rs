//! The ways from a client to PostgreSQL that are compared.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process;

use anyhow::Result;
use pglanes_benches::pgbouncer::Installed;
use pglanes_benches::process::Running;
use pglanes_testbed::Postgres;
use serde::Serialize;

use crate::pgbouncer;

/// Server connections of each pooler.
pub(crate) const SLOTS: u32 = 20;

/// How a pooler reaches PostgreSQL. Clients always come over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    Tcp,
    Unix,
}

/// A way from a client to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Path {
    Direct,
    PglanesTcp,
    PglanesUnix,
    PgbouncerTcp,
    PgbouncerUnix,
}

impl Path {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::PglanesTcp => "pglanes, TCP",
            Self::PglanesUnix => "pglanes, unix socket",
            Self::PgbouncerTcp => "PgBouncer, TCP",
            Self::PgbouncerUnix => "PgBouncer, unix socket",
        }
    }

    pub(crate) fn is_pgbouncer(self) -> bool {
        matches!(self, Self::PgbouncerTcp | Self::PgbouncerUnix)
    }
}

/// All of them, in the order of the first round: those that are compared stand side by side.
pub(crate) const PATHS: [Path; 5] = [
    Path::Direct,
    Path::PglanesTcp,
    Path::PgbouncerTcp,
    Path::PglanesUnix,
    Path::PgbouncerUnix,
];

/// What is compared with what.
pub(crate) const COMPARISONS: [(Path, Path); 5] = [
    (Path::PglanesTcp, Path::PgbouncerTcp),
    (Path::PglanesUnix, Path::PgbouncerUnix),
    (Path::PglanesUnix, Path::PgbouncerTcp),
    (Path::PglanesTcp, Path::Direct),
    (Path::PglanesUnix, Path::Direct),
];

/// A path that can be connected to.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) path: Path,
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// The pooler; `None` for the direct way.
    pub(crate) pooler: Option<Running>,
}

/// What all parts of the bench work with.
#[derive(Debug)]
pub(crate) struct Bench<'b> {
    pub(crate) postgres: &'b Postgres,
    pub(crate) workplace: &'b Workplace,
    pub(crate) pgbouncer: Option<Installed>,
    /// The binary to run as pglanes, if not this program.
    pub(crate) pglanes: Option<PathBuf>,
}

impl<'b> Bench<'b> {
    pub(crate) fn new(
        postgres: &'b Postgres,
        workplace: &'b Workplace,
        pglanes: Option<PathBuf>,
    ) -> Self {
        Self {
            postgres,
            workplace,
            pgbouncer: Installed::find(),
            pglanes,
        }
    }

    /// Opens those of `paths` that there are: without PgBouncer its paths are left out.
    pub(crate) fn open(&self, paths: &[Path]) -> Result<Vec<Open>> {
        let mut open = Vec::new();
        for path in paths {
            let pooler = match (path, &self.pgbouncer) {
                (Path::Direct, _) => None,
                (Path::PglanesTcp, _) => Some(crate::pglanes::start(self, Leg::Tcp)?),
                (Path::PglanesUnix, _) => Some(crate::pglanes::start(self, Leg::Unix)?),
                (Path::PgbouncerTcp, Some(installed)) => {
                    Some(pgbouncer::start(installed, self, Leg::Tcp)?)
                }
                (Path::PgbouncerUnix, Some(installed)) => {
                    Some(pgbouncer::start(installed, self, Leg::Unix)?)
                }
                (Path::PgbouncerTcp | Path::PgbouncerUnix, None) => continue,
            };
            let port = pooler.as_ref().map_or(self.postgres.port(), Running::port);
            open.push(Open {
                path: *path,
                port,
                pooler,
            });
        }
        Ok(open)
    }
}

/// A folder of the bench's own, gone when it ends. Readable by all, for a PgBouncer that
/// must run as another user.
#[derive(Debug)]
pub(crate) struct Workplace(PathBuf);

impl Workplace {
    pub(crate) fn make() -> Result<Self> {
        let folder = env::temp_dir().join(format!("pglanes-overhead-{}", process::id()));
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.0
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// An empty folder in it.
    pub(crate) fn empty_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.0.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
