//! A PostgreSQL server of one's own.
//!
//! [`Builder`] says what it should be like; `template` is an initialised data directory that each server copies; `directory`
//! is where one server lives and how the leftovers of dead owners are found; `process` starts, stops and watches over the
//! postmaster; `supervisor` ends a server whose owner was killed. This file is what a test sees.

mod builder;
mod directory;
mod process;
mod supervisor;
mod template;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use builder::{Auth, Builder};
pub use process::StopMode;

use crate::binaries::Binaries;
use crate::clock;
use crate::error::TestbedError;
use directory::InstanceDirectory;
use process::Postmaster;
use supervisor::Supervisor;

/// A running PostgreSQL, on its own port and its own data directory. The superuser is `postgres`, and unless a version was
/// asked for by name `CREATE EXTENSION vector` has been run in `postgres` and in the template of every new database.
///
/// Dropping it stops it at once and removes all it had; so does the end of the process that owns it, however it ends.
/// Starting, stopping and restarting block the thread for some tenths of a second: that is well in a test, but a runtime
/// that serves other tasks meanwhile should put them into `tokio::task::spawn_blocking`.
#[derive(Debug)]
pub struct Postgres {
    // Fields are dropped in this order: the server ends before its folder goes, and the supervisor, which would do both if we
    // could not, goes last.
    postmaster: Postmaster,
    directory: InstanceDirectory,
    _supervisor: Supervisor,
    binaries: Binaries,
    auth: Auth,
    databases: AtomicU32,
}

impl Postgres {
    /// What the server should be like; [`Builder::start`] starts it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A server as the builder makes it by default.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> Result<Postgres, TestbedError> {
        Builder::default().start()
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.postmaster.port()
    }

    /// The folder of the unix socket, to be given as a host.
    pub fn socket_dir(&self) -> &Path {
        self.directory.socket()
    }

    /// The URL of a database over TCP, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_for("postgres", database)
    }

    /// The URL of a database over TCP, as a user. The password is in it only for the superuser, whose password is the test
    /// bed's own.
    pub fn url_for(&self, user: &str, database: &str) -> String {
        let password = match (user, self.auth.password()) {
            ("postgres", Some(password)) => format!(":{}", percent_encoded(password)),
            _ => String::new(),
        };
        format!(
            "postgresql://{}{password}@127.0.0.1:{}/{}",
            percent_encoded(user),
            self.port(),
            percent_encoded(database)
        )
    }

    /// The superuser's password, if the server asks for one.
    pub fn password(&self) -> Option<&str> {
        self.auth.password()
    }

    /// A connection to a database as the superuser, over TCP. The task that drives it is spawned on the caller's runtime and
    /// ends with the client.
    ///
    /// # Errors
    /// [`TestbedError::Database`] if the server refuses.
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, TestbedError> {
        let (client, connection) =
            tokio_postgres::connect(&self.url(database), tokio_postgres::NoTls).await?;
        // What goes wrong on the connection later is seen by the client's next call.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Makes an empty database of its own for a test, with pgvector in it, and gives its name.
    ///
    /// # Errors
    /// [`TestbedError::Database`] if the server refuses.
    pub async fn fresh_database(&self) -> Result<String, TestbedError> {
        let name = format!("fresh_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.connect("postgres")
            .await?
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await?;
        Ok(name)
    }

    /// The programs it runs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The folder of the programs.
    pub fn bin_dir(&self) -> &Path {
        self.binaries.folder()
    }

    /// The path of `psql`. A server of a version asked for by name has none: use another server's.
    pub fn psql_path(&self) -> PathBuf {
        self.binaries.program("psql")
    }

    /// The path of `pgbench`, as [`Postgres::psql_path`].
    pub fn pgbench_path(&self) -> PathBuf {
        self.binaries.program("pgbench")
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.directory.data()
    }

    /// The postmaster's process id, `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.pid()
    }

    /// The end of the server's log, at most `lines` lines.
    pub fn log_tail(&self, lines: usize) -> String {
        self.directory.log_tail(lines)
    }

    /// Stops the server and waits for its end. Nothing happens if it is stopped already.
    ///
    /// # Errors
    /// [`TestbedError::Stop`] if it did not end in 30 s; with [`StopMode::Smart`] that is so while a client stays connected.
    pub fn stop(&self, mode: StopMode) -> Result<(), TestbedError> {
        self.postmaster.stop(mode)
    }

    /// Starts a stopped server again, on the same port and with the same data.
    ///
    /// # Errors
    /// [`TestbedError::Start`] if it does not come up.
    pub fn start_again(&self) -> Result<(), TestbedError> {
        self.postmaster.start(&self.directory)
    }

    /// Stops and starts. The port, the data and the socket stay.
    ///
    /// # Errors
    /// As [`Postgres::stop`] and [`Postgres::start_again`].
    pub fn restart(&self, mode: StopMode) -> Result<(), TestbedError> {
        self.stop(mode)?;
        self.start_again()
    }

    /// Kills one backend with SIGKILL, which makes PostgreSQL end all others and recover. Returns at once;
    /// [`Postgres::wait_until_ready`] waits for the recovery.
    ///
    /// # Errors
    /// [`TestbedError::Signal`] if there is no such process.
    pub fn kill9_backend(&self, pid: i32) -> Result<(), TestbedError> {
        process::kill(pid, rustix::process::Signal::KILL)
    }

    /// Waits until a connection as the superuser succeeds and answers.
    ///
    /// # Errors
    /// [`TestbedError::Start`] if that does not happen within `limit`.
    pub async fn wait_until_ready(&self, limit: Duration) -> Result<(), TestbedError> {
        let deadline = clock::now() + limit;
        loop {
            let answer = match self.connect("postgres").await {
                Ok(client) => client
                    .simple_query("SELECT 1")
                    .await
                    .map(drop)
                    .map_err(TestbedError::from),
                Err(error) => Err(error),
            };
            match answer {
                Ok(()) => return Ok(()),
                Err(error) if clock::now() > deadline => {
                    return Err(TestbedError::Start {
                        reason: error.to_string(),
                        log: self.log_tail(20),
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// One server for the whole process, started by whoever asks first, for tests that change nothing outside a database of
/// their own ([`Postgres::fresh_database`]). It takes 200 connections. `PGLANES_TEST_VERSION` (14 to 18) asks for a version, as
/// [`Builder::version`] does.
///
/// # Errors
/// The error of the first start, as text, for everyone who asks.
pub fn shared() -> Result<&'static Postgres, TestbedError> {
    // Never dropped, as statics are not: the supervisor ends the server when the process does.
    static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            let asked = std::env::var("PGLANES_TEST_VERSION").ok();
            let major = asked.and_then(|version| version.parse().ok());
            let version = crate::Version::ALL
                .into_iter()
                .find(|version| Some(version.major()) == major);
            Postgres::builder()
                .version_if(version)
                .max_connections(200)
                .start()
                .map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|reason| TestbedError::Start {
            reason: reason.clone(),
            log: String::new(),
        })
}

/// A part of a URL, with all but letters, digits and `-._~` escaped (RFC 3986, section 2.1).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_odd_letters_survives_the_url() {
        assert_eq!(percent_encoded("a@b:/ü"), "a%40b%3A%2F%C3%BC");
    }
}
