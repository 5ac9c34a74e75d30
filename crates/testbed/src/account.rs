//! Which user PostgreSQL runs as. It refuses to run as root, so a root process starts it as `postgres` or `nobody`.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::TestbedError;

/// The account that PostgreSQL's programs run under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// The account of this process.
    Own,
    /// Another one, because this process is root.
    Other {
        /// Its user id.
        user: u32,
        /// Its group id.
        group: u32,
    },
}

impl Account {
    /// This process's account, or for root the first of `postgres` and `nobody` that exists.
    pub(crate) fn choose() -> Result<Account, TestbedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Account::Own);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(look_up)
            .ok_or(TestbedError::NoAccount)
    }

    /// The user id that PostgreSQL runs under.
    pub(crate) fn user_id(self) -> u32 {
        match self {
            Account::Own => rustix::process::geteuid().as_raw(),
            Account::Other { user, .. } => user,
        }
    }

    /// Gives a file or folder (not what is in it) to the account.
    pub(crate) fn own(self, path: &Path) -> Result<(), TestbedError> {
        match self {
            Account::Own => Ok(()),
            Account::Other { user, group } => chown(path, Some(user), Some(group))
                .map_err(TestbedError::file("change the owner of", path)),
        }
    }

    /// A command that runs under the account, in its own process group so that a Ctrl-C in the terminal reaches only us, in
    /// `/` (our own folder may be closed to the account), and blind to the caller's `PG*` variables.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Account::Other { user, group } = self {
            command.uid(user).gid(group).env("HOME", "/");
        }
        command
    }

    /// Whether the account can enter every folder on the way to `path`. Looks at the mode bits for others only, and only when
    /// the account is not our own: what we could not enter ourselves would have failed already.
    pub(crate) fn can_reach(self, path: &Path) -> bool {
        let Account::Other { user, .. } = self else {
            return true;
        };
        let enters = |folder: &Path| {
            folder.metadata().is_ok_and(|found| {
                found.mode() & 0o001 != 0 || (found.uid() == user && found.mode() & 0o100 != 0)
            })
        };
        path.ancestors()
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
            .all(enters)
    }
}

/// The ids of a user by name. `id` asks the system's own directory, which on macOS is not `/etc/passwd`.
fn look_up(name: &str) -> Option<Account> {
    let number = |option: &str| -> Option<u32> {
        let output = Command::new("id")
            .args([option, name])
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then_some(())?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some(Account::Other {
        user: number("-u")?,
        group: number("-g")?,
    })
}

/// Runs a command to its end and gives its standard output; a failure carries both outputs.
pub(crate) fn run(mut command: Command, what: &str) -> Result<String, TestbedError> {
    let failed = |output: String| TestbedError::Program {
        program: what.to_owned(),
        output,
    };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(failed(format!(
        "{}\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_does_not_exist_is_not_found() {
        assert_eq!(look_up("no-such-user-here"), None);
    }

    #[test]
    fn another_account_cannot_reach_into_a_closed_folder() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("pglanes-reach-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account::Other {
            user: u32::MAX - 7,
            group: u32::MAX - 7,
        };
        let closed = stranger.can_reach(&folder.join("inner"));
        let own = Account::Own.can_reach(&folder.join("inner"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!closed);
        assert!(own);
    }
}
