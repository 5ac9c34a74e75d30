//! What can go wrong while a throw-away server is found, started, filled or stopped.

use std::path::{Path, PathBuf};

/// An error of the test bed. Says what was tried, and carries the tool's own output where there is any.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// No PostgreSQL with pgvector: not installed, and the wheel could not be had.
    #[error(
        "no PostgreSQL with pgvector: looked at {looked_at}; then tried the wheel: {wheel}. Install PostgreSQL with pgvector, \
         name its bin folder in PGLANES_PG_BIN, or make `python3 -m pip` work"
    )]
    NoPostgres {
        /// The folders looked at, and why each was passed over.
        looked_at: String,
        /// What became of the wheel.
        wheel: String,
    },
    /// `PGLANES_PG_BIN` names a folder that will not do.
    #[error("PGLANES_PG_BIN={folder}: {reason}")]
    NamedFolder {
        /// The folder as named.
        folder: PathBuf,
        /// Why it will not do.
        reason: String,
    },
    /// The server of a version asked for by name could not be had: no npm, no network, or no build for this machine. A test
    /// that asks for one is then to be skipped, and counted as skipped.
    #[error("no PostgreSQL {version}: {reason}")]
    NoVersion {
        /// The major version.
        version: u32,
        /// What became of the npm package.
        reason: String,
    },
    /// The process is root and there is no account to run PostgreSQL as (PostgreSQL refuses root).
    #[error(
        "running as root, and there is neither a user `postgres` nor `nobody` to run PostgreSQL as"
    )]
    NoAccount,
    /// A folder for kept data cannot be reached by the account that PostgreSQL runs as.
    #[error(
        "PostgreSQL does not run as root, and the account that it runs as cannot reach {folder}: choose a folder whose parents \
         are open to all, or run as an ordinary user"
    )]
    Unreachable {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder of kept data is in use.
    #[error("{folder} is in use by another process that keeps its data there")]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A unix socket in the folder would have too long a path.
    #[error(
        "the path {folder} is too long for a unix socket in it (103 bytes in all): choose a shorter one"
    )]
    PathTooLong {
        /// The folder.
        folder: PathBuf,
    },
    /// Kept data was made by another major version.
    #[error(
        "the data in {folder} is of PostgreSQL {found}, and what was found here is {binaries}: name that version's programs in \
         PGLANES_PG_BIN, or carry the data over with pg_dump"
    )]
    OtherVersion {
        /// The folder.
        folder: PathBuf,
        /// The version of the data.
        found: String,
        /// The version of the programs.
        binaries: String,
    },
    /// A program could not be run, or failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program, with what it was to do.
        program: String,
        /// Its exit and its output, or why it did not start.
        output: String,
    },
    /// A file or folder could not be made, read, moved or removed.
    #[error("{action} {path}: {source}")]
    File {
        /// What was to be done.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The server ended or stayed silent while it was to start.
    #[error("PostgreSQL did not start ({reason}); the end of its log:\n{log}")]
    Start {
        /// What happened.
        reason: String,
        /// The end of the server's log.
        log: String,
    },
    /// The server did not stop in time.
    #[error("PostgreSQL did not stop within {seconds} s")]
    Stop {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The server is not running.
    #[error("PostgreSQL is stopped")]
    Stopped,
    /// No backend with that process id.
    #[error("no process {pid} to signal: {source}")]
    Signal {
        /// The process id.
        pid: i32,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A statement or a connection failed.
    #[error("database: {}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
}

/// The server's own message with its SQLSTATE: tokio-postgres shows only "db error" by itself.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{}: {}", server.code().code(), server.message()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

impl TestbedError {
    /// For `map_err` on file operations.
    pub(crate) fn file(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> TestbedError {
        let path = path.to_owned();
        move |source| TestbedError::File {
            action,
            path,
            source,
        }
    }
}
