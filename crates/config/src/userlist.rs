//! PgBouncer's `userlist.txt`, read as it is: `"user" "secret"` a line, with quotes doubled inside.

use std::collections::BTreeMap;
use std::fmt;

use pglanes_auth::StoredCredential;

/// The most users of one file.
pub const MAXIMUM_LISTED_USERS: usize = 100_000;
/// The largest file that is read, in bytes.
pub const MAXIMUM_USERLIST_BYTES: u64 = 16 * 1024 * 1024;

/// What a `userlist.txt` says. Its `Debug` shows how many users there are, and nothing of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Userlist {
    credentials: BTreeMap<String, StoredCredential>,
}

impl fmt::Debug for Userlist {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Userlist({} users)", self.credentials.len())
    }
}

impl Userlist {
    /// Reads the file's text. An entry with an empty secret is no credential, and a later entry of a user replaces an
    /// earlier one.
    ///
    /// # Errors
    /// The line and what is wrong with it, without a word of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut credentials = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(';') || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {}: {what}", index + 1);
            let form = "an entry is \"user\" \"password\", both in double quotes";
            let (user, rest) = quoted(line).ok_or_else(|| wrong(form))?;
            // What follows the secret was for old versions, and is ignored as PgBouncer does.
            let (secret, _) = quoted(rest.trim_start()).ok_or_else(|| wrong(form))?;
            if user.is_empty() || secret.is_empty() {
                continue;
            }
            let credential =
                StoredCredential::parse(&secret).map_err(|error| wrong(&error.to_string()))?;
            credentials.insert(user, credential);
            if credentials.len() > MAXIMUM_LISTED_USERS {
                return Err(wrong(&format!("more than {MAXIMUM_LISTED_USERS} users")));
            }
        }
        Ok(Self { credentials })
    }

    /// What is listed for a user.
    pub fn get(&self, user: &str) -> Option<&StoredCredential> {
        self.credentials.get(user)
    }

    /// How many users are listed.
    pub fn len(&self) -> usize {
        self.credentials.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.credentials.is_empty()
    }
}

/// The text in double quotes at the start, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    // Room from the start: a string that grows leaves copies of the secret behind.
    let mut inside = String::with_capacity(text.len());
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '"' {
            inside.push(letter);
        } else if letters.next_if(|(_, next)| *next == '"').is_some() {
            inside.push('"');
        } else {
            return Some((inside, &text[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_pgbouncer_reads_it() {
        let list = Userlist::parse(concat!(
            "; a comment\n",
            "\"plain\" \"canary-1\"\n",
            "  \"say \"\"hi\"\"\"\t\"a\"\"b\" \"ignored\"\n",
            "\"hash\" \"md57474753e4b2f9e23953d5977773aabb0\"\r\n",
            "\"nobody\" \"\"\n",
            "\n",
            "\"plain\" \"canary-2\"",
        ))
        .unwrap();
        let password = |user: &str| match list.get(user) {
            Some(StoredCredential::Password(password)) => Some(password.expose().clone()),
            _ => None,
        };
        assert_eq!(password("plain").as_deref(), Some("canary-2"));
        assert_eq!(password("say \"hi\"").as_deref(), Some("a\"b"));
        assert!(matches!(list.get("hash"), Some(StoredCredential::Md5(_))));
        assert!(list.get("nobody").is_none());
        assert_eq!(list.len(), 3);
        assert_eq!(format!("{list:?}"), "Userlist(3 users)");
    }

    #[test]
    fn what_is_no_entry_is_named_by_its_line_alone() {
        for (text, expected) in [
            ("user \"canary\"", "line 1: an entry is"),
            ("\n\"user\" canary", "line 2: an entry is"),
            ("\"user\" \"canary", "line 1: an entry is"),
            ("\"user\"", "line 1: an entry is"),
            (
                "\"user\" \"SCRAM-SHA-256$canary\"",
                "line 1: not of the form",
            ),
        ] {
            let error = Userlist::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
