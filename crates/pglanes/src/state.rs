//! The folder of what outlives a restart, and the token in it.
//!
//! `serve` makes the folder (of its user alone) and, unless lanes.yaml names a token, a random one in it; the commands of the
//! same user find both by the same lanes.yaml.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pglanes_auth::Secret;
use pglanes_config::{
    Config, MAXIMUM_TOKEN_BYTES, MINIMUM_TOKEN_BYTES, Process, StateFolder, Surroundings,
};
use thiserror::Error;

/// The token's file in the folder.
const TOKEN: &str = "token";
/// How many random bytes a token is made of.
const TOKEN_BYTES: usize = 32;

/// The folder, made and looked at.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
}

/// Why the folder cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It could not be made, read or written.
    #[error("the state folder {}: {cause}", folder.display())]
    Io {
        /// The folder, or the file in it.
        folder: PathBuf,
        /// The operating system's words.
        cause: io::Error,
    },
    /// Somebody else could read or replace what is in it.
    #[error("the state folder {} belongs to another user, or others may write to it", folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
    },
}

impl State {
    /// Makes the folder for the proxy on this port; `None` where nothing is to be kept, or no home is known.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(wanted: &StateFolder, port: u16) -> Result<Option<Self>, StateError> {
        let Some(folder) = wanted.for_port(port, &Process::default()) else {
            return Ok(None);
        };
        let state = Self { folder };
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&state.folder);
        made.map_err(|cause| state.failed(&state.folder, cause))?;
        let facts = std::fs::metadata(&state.folder);
        let facts = facts.map_err(|cause| state.failed(&state.folder, cause))?;
        let own = facts.uid() == rustix::process::geteuid().as_raw();
        if !own || facts.mode() & 0o022 != 0 {
            return Err(StateError::Open {
                folder: state.folder,
            });
        }
        Ok(Some(state))
    }

    /// Where the proxy keeps its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The token that is kept here; a new one where there is none. It stays over restarts, so that who holds it still can
    /// use it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn token(&self) -> Result<Secret<String>, StateError> {
        let path = self.folder.join(TOKEN);
        if let Ok(token) = read_token(&path) {
            return Ok(token);
        }
        let token = new_token().map_err(|cause| self.failed(&path, cause))?;
        self.write(TOKEN, token.expose().as_bytes())?;
        Ok(token)
    }

    /// Puts a file of the user's alone in place of what was there: a reader sees the one or the other, whole.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let path = self.folder.join(name);
        let beside = self.folder.join(format!("{name}.new"));
        let written = || -> io::Result<()> {
            // One that was left behind may have other rights.
            match std::fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)
        };
        written().map_err(|cause| self.failed(&path, cause))
    }

    fn failed(&self, place: &Path, cause: io::Error) -> StateError {
        StateError::Io {
            folder: place.to_owned(),
            cause,
        }
    }
}

/// The token that the proxy of this lanes.yaml takes, for a command that asks it for something.
///
/// # Errors
/// Where it was looked for, and why it was not found.
pub fn token_of(config: &Config) -> Result<Secret<String>, String> {
    if let Some(token) = &config.admin.token {
        return Ok(token.clone());
    }
    let folder = config
        .state
        .for_port(config.first_port(), &Process::default());
    let Some(folder) = folder else {
        return Err(
            "there is no token: lanes.yaml has no admin.token and no state folder".to_owned(),
        );
    };
    read_token(&folder.join(TOKEN)).map_err(|why| format!("the proxy's token is not there: {why}"))
}

fn read_token(path: &Path) -> Result<Secret<String>, String> {
    let text = Process::default().secret_file(path)?;
    let token = text.expose().trim_end();
    if !(MINIMUM_TOKEN_BYTES..=MAXIMUM_TOKEN_BYTES).contains(&token.len()) {
        return Err(format!("{} holds no token", path.display()));
    }
    Ok(Secret::from(token))
}

fn new_token() -> io::Result<Secret<String>> {
    use std::io::Read;
    let mut bytes = [0; TOKEN_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut token = String::with_capacity(2 * TOKEN_BYTES);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            token.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("pglanes-state-{}-{name}", std::process::id()));
            Self(path)
        }

        fn open(&self) -> Result<Option<State>, StateError> {
            State::open(&StateFolder::At(self.0.clone()), 6433)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn rights(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folder_and_token_are_their_users_alone_and_the_token_stays() {
        let folder = Folder::new("token");
        let state = folder.open().unwrap().unwrap();
        assert_eq!(state.folder(), folder.0.join("6433"));
        assert_eq!(rights(state.folder()), 0o700);
        let token = state.token().unwrap();
        assert_eq!(token.expose().len(), 64);
        assert_eq!(rights(&state.folder().join(TOKEN)), 0o600);
        let again = folder.open().unwrap().unwrap();
        assert_eq!(again.token().unwrap(), token);
        let config = Config {
            state: StateFolder::At(folder.0.clone()),
            ..Config::default()
        };
        assert_eq!(token_of(&config).unwrap(), token);
    }

    #[test]
    fn a_token_that_others_could_read_is_replaced() {
        let folder = Folder::new("leak");
        let state = folder.open().unwrap().unwrap();
        let path = state.folder().join(TOKEN);
        std::fs::write(&path, "0123456789abcdef").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert_ne!(state.token().unwrap(), Secret::from("0123456789abcdef"));
        assert_eq!(rights(&path), 0o600);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        let folder = Folder::new("shared");
        let path = folder.0.join("6433");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(folder.open(), Err(StateError::Open { .. })));
    }

    #[test]
    fn off_keeps_nothing() {
        assert!(State::open(&StateFolder::Off, 6433).unwrap().is_none());
        let config = Config {
            state: StateFolder::Off,
            ..Config::default()
        };
        assert!(token_of(&config).is_err());
    }
}
