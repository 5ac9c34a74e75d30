//! PgBouncer as a process, where it is installed.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::Running;

/// Where distributions put it, beside PATH.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];
/// The first version that follows prepared statements in transaction pooling.
const PREPARES_FROM: (u32, u32) = (1, 21);

/// An installed PgBouncer.
#[derive(Debug, Clone)]
pub struct Installed {
    program: PathBuf,
    /// As it calls itself.
    pub version: String,
    numbers: (u32, u32),
}

impl Installed {
    /// The first one in PATH or where distributions put it.
    pub fn find() -> Option<Self> {
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

    /// Whether clients may use named prepared statements in transaction pooling.
    pub fn follows_prepared_statements(&self) -> bool {
        self.numbers >= PREPARES_FROM
    }

    /// Runs it with transaction pooling and `settings` (lines of its `[databases]` section, then lines of `[pgbouncer]`), in
    /// a folder that the account it changes to can read.
    ///
    /// # Errors
    /// Its files cannot be written, or it does not listen.
    pub fn start(
        &self,
        folder: &Path,
        port: u16,
        databases: &str,
        settings: &str,
    ) -> Result<Running> {
        let users = folder.join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n")?;
        let prepared = if self.follows_prepared_statements() {
            "max_prepared_statements = 200\n"
        } else {
            ""
        };
        let file = folder.join(format!("pgbouncer-{port}.ini"));
        let text = format!(
            "[databases]\n{databases}[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\n\
             log_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n\
             ignore_startup_parameters = extra_float_digits\n{prepared}{settings}",
            users = users.display(),
        );
        fs::write(&file, text)?;
        let mut command = Command::new(&self.program);
        command.arg("--quiet").arg(&file);
        if let Some(account) = account_instead_of_root() {
            command.arg("--user").arg(account);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // It says on standard error what it finds wrong with its file.
        Running::start(command, port).context("PgBouncer")
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
