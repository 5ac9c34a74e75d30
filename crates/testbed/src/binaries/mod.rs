//! Where PostgreSQL's programs are: an installation that has pgvector ([`installed`]), else the unpacked wheel ([`wheel`]). A
//! server of a given version, without pgvector, comes from npm ([`npm`]).

mod installed;
mod npm;
mod wheel;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use npm::Version;

use crate::TestbedError;
use crate::account::{Account, run};

/// Where a set of programs came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The folder named in `PGLANES_PG_BIN`.
    Named,
    /// An installation found on `PATH` or in a known place.
    Installed,
    /// The wheel in the cache folder.
    Wheel,
    /// The npm package of a version asked for by name, in the cache folder.
    Npm,
}

/// PostgreSQL's programs: of a version that has pgvector beside it, unless a version was asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
    source: Source,
}

impl Binaries {
    /// Finds them: `PGLANES_PG_BIN` and nothing else if it is set; else the first installation with pgvector; else the
    /// wheel, which is downloaded once. `PGLANES_PG_VERSION` (14 to 18) asks for a major version; the wheel has 16 and 18.
    ///
    /// # Errors
    /// [`TestbedError::NoPostgres`] with all that was tried, or [`TestbedError::NamedFolder`].
    pub fn find() -> Result<Binaries, TestbedError> {
        Binaries::find_for(Account::choose()?)
    }

    /// As [`Binaries::find`], for an account that must be able to reach them.
    pub(crate) fn find_for(account: Account) -> Result<Binaries, TestbedError> {
        if let Some(named) = std::env::var_os("PGLANES_PG_BIN") {
            let folder = PathBuf::from(named);
            return installed::accept(&folder, account, Source::Named)
                .map_err(|reason| TestbedError::NamedFolder { folder, reason });
        }
        let asked = std::env::var("PGLANES_PG_VERSION")
            .ok()
            .and_then(|version| version.parse().ok());
        let mut looked_at = Vec::new();
        for folder in installed::places() {
            match installed::accept(&folder, account, Source::Installed) {
                Ok(found) if asked.is_none_or(|major| found.major() == Some(major)) => {
                    return Ok(found);
                }
                Ok(found) => looked_at.push(format!("{} ({})", folder.display(), found.version)),
                Err(reason) => looked_at.push(format!("{} ({reason})", folder.display())),
            }
        }
        wheel::unpacked(account, asked).map_err(|error| TestbedError::NoPostgres {
            looked_at: if looked_at.is_empty() {
                "no folder".to_owned()
            } else {
                looked_at.join(", ")
            },
            wheel: error.to_string(),
        })
    }

    /// As [`Binaries::find_for`], of one version, whatever is installed. Only the server: neither pgvector nor client programs.
    pub(crate) fn of_version(version: Version, account: Account) -> Result<Binaries, TestbedError> {
        npm::unpacked(version, account)
    }

    /// Whether pgvector is beside it.
    pub fn has_vector(&self) -> bool {
        self.source != Source::Npm
    }

    /// The folder with `postgres` and `initdb`, and except for [`Source::Npm`] with `psql`, `pgbench` and the like.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a program, such as `pgbench`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The version as `postgres --version` says it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, 16 for 16.14.
    pub fn major(&self) -> Option<u32> {
        let number = self
            .version
            .split_whitespace()
            .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
        number
            .split(|letter: char| !letter.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    }

    /// Where they came from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Takes a folder whose `postgres` runs under the account.
    fn open(folder: &Path, account: Account, source: Source) -> Result<Binaries, TestbedError> {
        let mut command = account.command(folder.join("postgres"));
        command.arg("--version");
        let version = run(command, "postgres --version")?.trim().to_owned();
        Ok(Binaries {
            folder: folder.to_owned(),
            version,
            source,
        })
    }
}

/// Restores what unpacking lost: programs and libraries are executable, everything is readable by every account.
fn open_to_all(folder: &Path) -> Result<(), TestbedError> {
    let allow = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .map_err(TestbedError::file("change the mode of", path))
    };
    allow(folder)?;
    for entry in fs::read_dir(folder)
        .map_err(TestbedError::file("read", folder))?
        .flatten()
    {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            open_to_all(&path)?;
        } else {
            allow(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        let major = |version: &str| {
            Binaries {
                folder: PathBuf::new(),
                version: version.to_owned(),
                source: Source::Named,
            }
            .major()
        };
        assert_eq!(major("postgres (PostgreSQL) 16.14"), Some(16));
        assert_eq!(major("postgres (PostgreSQL) 14.18 (Homebrew)"), Some(14));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("something else"), None);
    }
}
