//! PgBouncer as a process, where it is installed.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::path::{Bench, Leg, SLOTS};
use crate::process::{Running, free_port};

/// Where distributions put it, beside PATH.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];
/// The first version that follows prepared statements in transaction pooling.
const PREPARES_FROM: (u32, u32) = (1, 21);

/// An installed PgBouncer.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    program: PathBuf,
    /// As it calls itself.
    pub(crate) version: String,
    numbers: (u32, u32),
}

impl Installed {
    pub(crate) fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
        folders
            .map(|folder| folder.join("pgbouncer"))
            .find_map(Self::at)
    }

    fn at(program: PathBuf) -> Option<Self> {
        let output = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.lines().next()?.trim().to_owned();
        let mut numbers = version.rsplit(' ').next()?.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Self {
            program,
            version,
            numbers: (major, minor),
        })
    }

    pub(crate) fn follows_prepared_statements(&self) -> bool {
        self.numbers >= PREPARES_FROM
    }

    pub(crate) fn start(&self, bench: &Bench<'_>, leg: Leg) -> Result<Running> {
        let port = free_port()?;
        let users = bench.workplace.file("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n")?;
        let file = bench.workplace.file(&format!("pgbouncer-{port}.ini"));
        fs::write(&file, self.configuration(bench, leg, port, &users))?;
        let mut command = Command::new(&self.program);
        command.arg("--quiet").arg(&file);
        if let Some(account) = account_instead_of_root() {
            command.arg("--user").arg(account);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // It says on standard error what it finds wrong with its file.
        Running::start(command, port).context("PgBouncer")
    }

    fn configuration(&self, bench: &Bench<'_>, leg: Leg, port: u16, users: &Path) -> String {
        let host = match leg {
            Leg::Tcp => "127.0.0.1".to_owned(),
            Leg::Unix => bench.postgres.socket_dir().display().to_string(),
        };
        let prepared = if self.follows_prepared_statements() {
            "max_prepared_statements = 200\n"
        } else {
            ""
        };
        format!(
            "[databases]\npostgres = host={host} port={server_port} dbname=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {users}\npool_mode = transaction\n\
             default_pool_size = {SLOTS}\nmax_client_conn = 12000\nlog_connections = 0\n\
             log_disconnections = 0\nlog_stats = 0\nignore_startup_parameters = extra_float_digits\n\
             {prepared}",
            server_port = bench.postgres.port(),
            users = users.display(),
        )
    }
}

/// PgBouncer does not run as root.
fn account_instead_of_root() -> Option<&'static OsStr> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let has_postgres = accounts.lines().any(|line| line.starts_with("postgres:"));
    Some(OsStr::new(if has_postgres { "postgres" } else { "nobody" }))
}
