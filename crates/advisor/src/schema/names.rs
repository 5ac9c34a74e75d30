//! The names of tables and columns, as psql's variables stand for them: `:"cache"` is an identifier, `:'cache'` a string.

use std::collections::BTreeMap;

use thiserror::Error;

/// The keys, the defaults (the memory system's own names), and what they are.
pub const KEYS: [(&str, &str, &str); 10] = [
    ("schema", "public", "the tables' schema"),
    (
        "messages",
        "conversation_messages",
        "the messages, with their vectors",
    ),
    ("message_id", "message_id", "their key"),
    (
        "relevance",
        "relevance_score",
        "their relevance, by which compaction chooses",
    ),
    ("metadata", "metadata", "their JSON"),
    ("cache", "memory_retrieval_cache", "the cache of answers"),
    ("expires", "expires_at", "when an answer expires"),
    ("context", "retrieved_context", "the answer, a large JSON"),
    (
        "metrics",
        "memory_performance_metrics",
        "the performance metrics",
    ),
    ("measured", "created_at", "when one was taken"),
];

/// PostgreSQL's own bound, in bytes.
const LONGEST: usize = 63;

/// What tables and columns are called in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(BTreeMap<&'static str, String>);

/// A name that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnknownName {
    /// No key is called so.
    #[error("`{key}` is nothing that has a name here; there are: {known}")]
    Key {
        /// As given.
        key: String,
        /// All keys.
        known: String,
    },
    /// PostgreSQL has no such names.
    #[error("the name for `{key}` has 1 to {LONGEST} bytes, none of them NUL")]
    Value {
        /// For which.
        key: String,
    },
}

impl Default for Names {
    fn default() -> Self {
        let pairs = KEYS.iter().map(|(key, name, _)| (*key, (*name).to_owned()));
        Self(pairs.collect())
    }
}

impl Names {
    /// Gives something another name.
    ///
    /// # Errors
    /// [`UnknownName`].
    pub fn set(&mut self, key: &str, name: &str) -> Result<(), UnknownName> {
        let Some((key, _, _)) = KEYS.iter().find(|(known, _, _)| *known == key) else {
            return Err(UnknownName::Key {
                key: key.to_owned(),
                known: KEYS.map(|(key, _, _)| key).join(", "),
            });
        };
        if name.is_empty() || name.len() > LONGEST || name.contains('\0') {
            return Err(UnknownName::Value {
                key: (*key).to_owned(),
            });
        }
        self.0.insert(key, name.to_owned());
        Ok(())
    }

    /// The name for a key; a key that is none stands for itself.
    pub(super) fn of<'n>(&'n self, key: &'n str) -> &'n str {
        self.0.get(key).map_or(key, String::as_str)
    }

    /// A text with the names in the variables' places.
    pub(super) fn put_into(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (key, name) in &self.0 {
            text = text.replace(&format!(":\"{key}\""), &identifier(name));
            text = text.replace(&format!(":'{key}'"), &literal(name));
        }
        text
    }

    /// `schema.table`, as an identifier.
    pub(super) fn table(&self, key: &str) -> String {
        format!(
            "{}.{}",
            identifier(self.of("schema")),
            identifier(self.of(key))
        )
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// What [`Self::to_json`] gave; keys that this version does not know are left out.
    pub(super) fn from_json(text: &str) -> Self {
        let mut names = Self::default();
        let written: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
        for (key, name) in &written {
            // One that is no name any more keeps its default.
            let _ = names.set(key, name);
        }
        names
    }
}

pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string of SQL, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_in_as_identifiers_and_as_strings() {
        let mut names = Names::default();
        names.set("cache", "a \"b\"'s").unwrap();
        assert_eq!(
            names.put_into("SELECT :'cache' FROM :\"schema\".:\"cache\" WHERE x::text = $1"),
            "SELECT 'a \"b\"''s' FROM \"public\".\"a \"\"b\"\"'s\" WHERE x::text = $1"
        );
        assert_eq!(Names::from_json(&names.to_json()), names);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let mut names = Names::default();
        assert!(
            names
                .set("cash", "x")
                .unwrap_err()
                .to_string()
                .contains("cache, ")
        );
        for name in ["", "a\0b", &"x".repeat(64)] {
            assert!(names.set("cache", name).is_err());
        }
        assert_eq!(names, Names::default());
    }
}
