//! Where one server lives: a folder with its data directory, its socket and its log. The owner holds a lock in it for as long
//! as it lives, so a throw-away folder whose lock is free is a leftover, and the next start removes it. One that is kept is
//! its user's, and stays.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::supervisor;
use crate::TestbedError;
use crate::account::{Account, run};
use crate::cache;

/// The longest path of a unix socket on macOS; Linux allows 107 bytes.
const SOCKET_PATH_BYTES: usize = 103;

/// What becomes of a server's folder when its owner ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It is removed.
    Removed,
    /// It stays, and the server ends in good order.
    Kept,
}

/// The folder of one server.
#[derive(Debug)]
pub(super) struct InstanceDirectory {
    afterwards: Afterwards,
    root: PathBuf,
    data: PathBuf,
    socket: PathBuf,
    // Held, never read: the system gives it back when the process ends, however it ends.
    _owner: File,
}

impl InstanceDirectory {
    /// Makes the folder with a copy of the template, after the leftovers of dead owners have been removed.
    pub(super) fn make(
        account: Account,
        template: &Path,
    ) -> Result<InstanceDirectory, TestbedError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let parent = parent(account)?;
        let name = format!(
            "{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let root = parent.join(name);
        let owner = {
            // Between the making of a folder and the taking of its lock nobody may take it for a leftover.
            let _lock = cache::lock(&parent.join("lock"))?;
            remove_leftovers(&parent);
            fs::create_dir(&root).map_err(TestbedError::file("make", &root))?;
            open_to_all(&root)?;
            cache::lock(&root.join("owner"))?
        };
        let directory = InstanceDirectory {
            afterwards: Afterwards::Removed,
            data: root.join("data"),
            socket: root.join("s"),
            root,
            _owner: owner,
        };
        fs::create_dir(&directory.socket).map_err(TestbedError::file("make", &directory.socket))?;
        account.own(&directory.socket)?;
        copy(template, &directory.data)?;
        Ok(directory)
    }

    /// Takes a folder of the user's into use, with a copy of the template where it has no data yet. Says whether it had.
    pub(super) fn keep(
        account: Account,
        template: &Path,
        folder: &Path,
    ) -> Result<(InstanceDirectory, Content), TestbedError> {
        let root = std::path::absolute(folder).map_err(TestbedError::file("find", folder))?;
        fs::create_dir_all(&root).map_err(TestbedError::file("make", &root))?;
        if !account.can_reach(&root) {
            return Err(TestbedError::Unreachable { folder: root });
        }
        let in_use = || TestbedError::InUse {
            folder: root.clone(),
        };
        let owner = cache::try_lock(&root.join("owner"))?.ok_or_else(in_use)?;
        let data = root.join("data");
        let socket = root.join("s");
        if socket.join(".s.PGSQL.65535").as_os_str().len() > SOCKET_PATH_BYTES {
            return Err(TestbedError::PathTooLong { folder: root });
        }
        fs::create_dir_all(&socket).map_err(TestbedError::file("make", &socket))?;
        account.own(&socket)?;
        // Only a whole copy gets the name.
        let content = if data.join("PG_VERSION").exists() {
            Content::Old
        } else {
            let half = root.join("data.half");
            if half.exists() {
                fs::remove_dir_all(&half).map_err(TestbedError::file("remove", &half))?;
            }
            copy(template, &half)?;
            fs::rename(&half, &data).map_err(TestbedError::file("rename", &half))?;
            Content::New
        };
        let directory = InstanceDirectory {
            afterwards: Afterwards::Kept,
            data,
            socket,
            root,
            _owner: owner,
        };
        // The log is the account's to write; it is opened by us.
        Ok((directory, content))
    }

    /// What becomes of it when its owner ends.
    pub(super) fn afterwards(&self) -> Afterwards {
        self.afterwards
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The data directory.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of the unix socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The last lines of the log; empty when there is none.
    pub(super) fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for InstanceDirectory {
    fn drop(&mut self) {
        if self.afterwards == Afterwards::Removed {
            // What cannot be removed now is a leftover for the next start.
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Whether a kept folder had data already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A copy of the template.
    New,
    /// That of an earlier time.
    Old,
}

/// Copies a data directory with its owners and modes.
fn copy(from: &Path, to: &Path) -> Result<(), TestbedError> {
    let mut copy = Command::new("cp");
    copy.arg("-Rp").arg(from).arg(to);
    run(copy, "cp -Rp").map(drop)
}

/// The folder that holds all servers of an account: in `PGLANES_TMP`, else in the temporary folder, else, when the path of a
/// socket in it would be too long, in `/tmp`.
fn parent(account: Account) -> Result<PathBuf, TestbedError> {
    let name = format!("pglanes-{}", account.user_id());
    let base = std::env::var_os("PGLANES_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
    let base = std::path::absolute(&base).map_err(TestbedError::file("find", &base))?;
    let longest_socket = base.join(&name).join("4194304-999999/s/.s.PGSQL.65535");
    let fits = longest_socket.as_os_str().len() <= SOCKET_PATH_BYTES && account.can_reach(&base);
    let parent = if fits {
        base.join(name)
    } else {
        Path::new("/tmp").join(name)
    };
    fs::create_dir_all(&parent).map_err(TestbedError::file("make", &parent))?;
    open_to_all(&parent)?;
    Ok(parent)
}

/// Lets the account that PostgreSQL runs as in, whatever our umask; what matters inside is closed by itself.
fn open_to_all(folder: &Path) -> Result<(), TestbedError> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .map_err(TestbedError::file("change the mode of", folder))
}

/// Ends and removes the servers whose owner is gone: normally their supervisor has done it, but it may have been killed too.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let root = entry.path();
        let Ok(owner) = File::open(root.join("owner")) else {
            continue;
        };
        if owner.try_lock().is_ok() {
            supervisor::reap(&root);
        }
    }
}
