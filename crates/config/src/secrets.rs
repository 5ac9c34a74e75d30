//! Where passwords come from: the environment or a file, never lanes.yaml itself. Errors name the variable or the
//! file and never what is in it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use pglanes_auth::Secret;
use pglanes_auth::StoredCredential;

use crate::diagnostic::quoted;
use crate::reader::{Reading, Section};
use crate::userlist::MAXIMUM_USERLIST_BYTES;
use crate::yaml::{Node, Value};

/// The largest secret that is read from a file, in bytes.
const MAXIMUM_SECRET_BYTES: u64 = 16 * 1024;
/// The largest file of certificates that is read, in bytes: the bundle of all public authorities has a quarter of that.
const MAXIMUM_CERTIFICATE_BYTES: u64 = 1024 * 1024;

/// The world that a lanes.yaml refers to. [`Process`] is the real one; tests bring their own.
pub trait Surroundings {
    /// An environment variable, if it is set and is UTF-8.
    fn variable(&self, name: &str) -> Option<Secret<String>>;

    /// The text of a secret's file.
    ///
    /// # Errors
    /// Why it cannot be used, in words that do not repeat its content.
    fn secret_file(&self, path: &Path) -> Result<Secret<String>, String>;

    /// The text of a `userlist.txt`.
    ///
    /// # Errors
    /// As for [`Self::secret_file`].
    fn users_file(&self, path: &Path) -> Result<Secret<String>, String> {
        Err(format!("{} cannot be read here", path.display()))
    }

    /// The bytes of a certificate's file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn certificate_file(&self, path: &Path) -> Result<Vec<u8>, String> {
        bounded_file(path)
    }

    /// Where a path of the file leads, for who reads it later.
    fn resolved(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }
}

fn bounded_file(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let read = file
        .take(MAXIMUM_CERTIFICATE_BYTES + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if bytes.len() as u64 > MAXIMUM_CERTIFICATE_BYTES {
        return Err(format!(
            "{shown} has more than {MAXIMUM_CERTIFICATE_BYTES} bytes; it is not a certificate"
        ));
    }
    Ok(bytes)
}

/// This process: its environment, and files relative to where lanes.yaml lies.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// The folder that relative paths start from.
    pub folder: PathBuf,
}

impl Surroundings for Process {
    fn certificate_file(&self, path: &Path) -> Result<Vec<u8>, String> {
        bounded_file(&self.resolved(path))
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    fn variable(&self, name: &str) -> Option<Secret<String>> {
        std::env::var(name).ok().map(Secret::new)
    }

    fn secret_file(&self, path: &Path) -> Result<Secret<String>, String> {
        let path = self.folder.join(path);
        read_secret(&path, MAXIMUM_SECRET_BYTES).map_err(|error| match error {
            Unread::TooLong => format!(
                "{} has more than {MAXIMUM_SECRET_BYTES} bytes; it is neither a password nor a key",
                path.display()
            ),
            Unread::Because(why) => why,
        })
    }

    fn users_file(&self, path: &Path) -> Result<Secret<String>, String> {
        let path = self.folder.join(path);
        read_secret(&path, MAXIMUM_USERLIST_BYTES).map_err(|error| match error {
            Unread::TooLong => format!(
                "{} has more than {MAXIMUM_USERLIST_BYTES} bytes",
                path.display()
            ),
            Unread::Because(why) => why,
        })
    }
}

/// Why a file of secrets was not read.
enum Unread {
    TooLong,
    Because(String),
}

/// Reads a file that its owner, or its group, alone may read.
fn read_secret(path: &Path, most: u64) -> Result<Secret<String>, Unread> {
    let shown = path.display();
    let unreadable = |error| Unread::Because(format!("{shown} cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let facts = file.metadata().map_err(unreadable)?;
    if !facts.is_file() {
        return Err(Unread::Because(format!("{shown} is not a regular file")));
    }
    owner_alone(&facts, path).map_err(Unread::Because)?;
    // Room from the start: a string that grows leaves copies of the secret behind.
    let mut text = String::with_capacity(facts.len().min(most) as usize + 64);
    let read = file.take(most + 1).read_to_string(&mut text);
    let text = Secret::new(text);
    read.map_err(|_| Unread::Because(format!("{shown} is not text in UTF-8")))?;
    if text.expose().len() as u64 > most {
        return Err(Unread::TooLong);
    }
    Ok(text)
}

/// Refuses a file that others on the machine may read.
#[cfg(unix)]
fn owner_alone(facts: &std::fs::Metadata, path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    // A group may be meant (a secret mounted for a service's group); the world never is.
    if facts.permissions().mode() & 0o007 != 0 {
        let shown = path.display();
        return Err(format!(
            "{shown} is open to every user of this machine; run: chmod 600 {shown}"
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn owner_alone(_: &std::fs::Metadata, _: &Path) -> Result<(), String> {
    Ok(())
}

/// What may stand for a secret at a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inline {
    /// Nothing but `{ env: ... }` or `{ file: ... }`.
    Refused,
    /// A SCRAM verifier may be written out: it does not reveal the password.
    Verifier,
}

impl Reading<'_> {
    /// The client's password or verifier under `key`.
    pub(crate) fn credential(
        &mut self,
        section: &Section<'_>,
        key: &str,
    ) -> Option<StoredCredential> {
        let node = self.value(section, key)?;
        // The reference's keys below are asked for even where a verifier is written out.
        let place = node.place;
        let secret = self.secret_at(section, key, node, Inline::Verifier)?;
        match StoredCredential::parse(secret.expose()) {
            Ok(credential) => Some(credential),
            Err(error) => {
                self.problem(place, format!("`{key}` of {}: {error}", section.title));
                None
            }
        }
    }

    /// The password for PostgreSQL under `key`.
    pub(crate) fn password(&mut self, section: &Section<'_>, key: &str) -> Option<Secret<String>> {
        let node = self.value(section, key)?;
        let secret = self.secret_at(section, key, node, Inline::Refused)?;
        if secret.expose().is_empty() {
            self.problem(
                node.place,
                format!("`{key}` of {}: the password is empty", section.title),
            );
            return None;
        }
        Some(secret)
    }

    /// A credential that is no password, under `key`: what `right` says of it must hold.
    pub(crate) fn token(
        &mut self,
        section: &Section<'_>,
        key: &str,
        right: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<Secret<String>> {
        let node = self.value(section, key)?;
        let secret = self.secret_at(section, key, node, Inline::Refused)?;
        if let Err(right) = right(secret.expose()) {
            self.problem(node.place, format!("`{key}` of {}: {right}", section.title));
            return None;
        }
        Some(secret)
    }

    fn secret_at(
        &mut self,
        section: &Section<'_>,
        key: &str,
        node: &Node,
        inline: Inline,
    ) -> Option<Secret<String>> {
        if let Value::Word(text) = &node.value {
            if inline == Inline::Verifier && text.starts_with("SCRAM-SHA-256$") {
                return Some(Secret::new(text.clone()));
            }
            let what = if key.ends_with("password") {
                "password"
            } else {
                "secret"
            };
            let message = format!(
                "`{key}` of {} is written out; a {what} never stands in this file: name its source, `{key}: {{ env: NAME }}` or `{key}: {{ file: PATH }}`",
                section.title
            );
            self.problem(node.place, message);
            return None;
        }
        let source = self.subsection(section, key)?;
        let variable = self.word(&source, "env");
        let file = self.word(&source, "file");
        match (variable, file) {
            (Some(variable), None) => {
                let found = self.surroundings.variable(variable.text);
                if found.is_none() {
                    let message = format!(
                        "the environment variable {} is not set",
                        quoted(variable.text)
                    );
                    self.problem(variable.place, message);
                }
                found
            }
            (None, Some(file)) => match self.surroundings.secret_file(Path::new(file.text)) {
                // Editors end a file with a line break; no password does.
                Ok(text) => Some(Secret::new(
                    text.expose().trim_end_matches(['\r', '\n']).to_owned(),
                )),
                Err(message) => {
                    self.problem(file.place, message);
                    None
                }
            },
            _ => {
                // A misspelt key was reported already.
                if source
                    .entries()
                    .iter()
                    .all(|(key, _)| ["env", "file"].contains(&key.name.as_str()))
                {
                    let message = format!(
                        "{} is `env: NAME` or `file: PATH`, one of the two",
                        source.title
                    );
                    self.problem(source.place, message);
                }
                None
            }
        }
    }
}
