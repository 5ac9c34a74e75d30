//! Databases and users: their real names, and the names that clients use.

use std::collections::HashMap;

use super::{MAXIMUM_NAMES, is_word};
use crate::diagnostic::quoted;
use crate::model::{Database, User, UserAlias};
use crate::reader::{Reading, Section};
use crate::yaml::{Key, Node, Place};

/// PostgreSQL's NAMEDATALEN less its NUL: longer names are cut by the server and would never be found.
const MAXIMUM_NAME_BYTES: usize = 63;

/// Names that were taken so far, of databases or of users, and what they stand for.
struct Taken {
    what: &'static str,
    names: HashMap<String, String>,
}

impl Taken {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            names: HashMap::new(),
        }
    }

    /// Takes a name, or says who has it.
    fn take(&mut self, reading: &mut Reading<'_>, name: &str, real: &str, place: Place) -> bool {
        let what = self.what;
        if let Some(owner) = self.names.get(name) {
            let message = if owner == name {
                format!(
                    "the alias {} of {what} {} is the name of a real {what}",
                    quoted(name),
                    quoted(real)
                )
            } else {
                format!(
                    "the alias {} of {what} {} belongs to {what} {} already",
                    quoted(name),
                    quoted(real),
                    quoted(owner)
                )
            };
            reading.problem(place, message);
            return false;
        }
        self.names.insert(name.to_owned(), real.to_owned());
        true
    }
}

pub(super) fn databases(reading: &mut Reading<'_>, root: &Section<'_>) -> Vec<Database> {
    let Some(names) = reading.subnames(root, "databases") else {
        return Vec::new();
    };
    let mut taken = Taken::new("database");
    let entries = real_names(reading, &names, &mut taken);
    let mut databases = Vec::new();
    for entry in entries {
        let Some(section) = reading.entry(&names, entry, "database") else {
            continue;
        };
        let name = entry.0.name.clone();
        let mut aliases = Vec::new();
        for node in reading
            .list(&section, "aliases", MAXIMUM_NAMES)
            .unwrap_or_default()
        {
            let Some(word) = reading.word_of(node, "an alias") else {
                continue;
            };
            if valid_name(reading, word.text, word.place)
                && taken.take(reading, word.text, &name, word.place)
            {
                aliases.push(word.text.to_owned());
            }
        }
        databases.push(Database { name, aliases });
    }
    databases
}

pub(super) fn users(reading: &mut Reading<'_>, root: &Section<'_>) -> Vec<User> {
    let Some(names) = reading.subnames(root, "users") else {
        return Vec::new();
    };
    let mut taken = Taken::new("user");
    let entries = real_names(reading, &names, &mut taken);
    let mut users = Vec::new();
    for entry in entries {
        let Some(section) = reading.entry(&names, entry, "user") else {
            continue;
        };
        let name = entry.0.name.clone();
        let credential = reading.credential(&section, "password");
        let upstream_password = reading.password(&section, "upstream_password");
        let mut aliases = Vec::new();
        let nodes = reading
            .list(&section, "aliases", MAXIMUM_NAMES)
            .unwrap_or_default();
        for (index, node) in nodes.iter().enumerate() {
            let Some((alias, place)) = user_alias(reading, &section, index, node) else {
                continue;
            };
            if valid_name(reading, &alias.name, place)
                && taken.take(reading, &alias.name, &name, place)
            {
                aliases.push(alias);
            }
        }
        users.push(User {
            name,
            credential,
            aliases,
            upstream_password,
        });
    }
    users
}

/// A name alone, or `{ name: ..., password: ... }`.
fn user_alias(
    reading: &mut Reading<'_>,
    user: &Section<'_>,
    index: usize,
    node: &Node,
) -> Option<(UserAlias, Place)> {
    if is_word(node) {
        let word = reading.word_of(node, "an alias")?;
        return Some((
            UserAlias {
                name: word.text.to_owned(),
                credential: None,
            },
            word.place,
        ));
    }
    let title = format!("an alias of {}", user.title);
    let section = reading.item(user, "aliases", index, node, title)?;
    let credential = reading.credential(&section, "password");
    let Some(word) = reading.word(&section, "name") else {
        reading.problem(section.place, format!("{} has a `name`", section.title));
        return None;
    };
    Some((
        UserAlias {
            name: word.text.to_owned(),
            credential,
        },
        word.place,
    ))
}

/// The section's real names, all taken before any alias is: an alias that equals a later real name is a conflict too.
fn real_names<'n>(
    reading: &mut Reading<'_>,
    names: &Section<'n>,
    taken: &mut Taken,
) -> Vec<&'n (Key, Node)> {
    let mut entries = Vec::new();
    for entry in names.entries() {
        let (name, place) = (&entry.0.name, entry.0.place);
        if entries.len() == MAXIMUM_NAMES {
            reading.problem(
                place,
                format!("{} has more than {MAXIMUM_NAMES} entries", names.title),
            );
            break;
        }
        if valid_name(reading, name, place) {
            taken.names.insert(name.clone(), name.clone());
            entries.push(entry);
        }
    }
    entries
}

pub(super) fn valid_name(reading: &mut Reading<'_>, name: &str, place: Place) -> bool {
    let right = if name.is_empty() {
        "a name is not empty".to_owned()
    } else if name.len() > MAXIMUM_NAME_BYTES {
        format!("PostgreSQL's names have at most {MAXIMUM_NAME_BYTES} bytes")
    } else if name.chars().any(char::is_control) {
        "a name holds no control characters".to_owned()
    } else {
        return true;
    };
    reading.problem(place, format!("the name {}: {right}", quoted(name)));
    false
}
