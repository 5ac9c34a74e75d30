//! What is known of a session and of a transaction's first statement when their lane is asked for.

use core::net::IpAddr;

use super::StatementKind;

/// Where a client comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Through a unix socket.
    #[default]
    Local,
    /// Over TCP, from this address.
    Address(IpAddr),
}

/// What is known of a session when it has logged in. The names are the real ones, after aliases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts<'a> {
    /// What the client calls itself; empty when it does not say.
    pub application_name: &'a str,
    /// The user.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
    /// Where it comes from.
    pub origin: Origin,
}

/// What is known of a transaction by its first statement. What no rule [`Needs`] may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionFacts<'a> {
    /// The statement's kind.
    pub statement: StatementKind,
    /// The tags of its comments.
    pub tags: &'a [(&'a str, &'a str)],
    /// The tables it names, each with its schema; [`USUAL_SCHEMA`] where none stands before it.
    pub tables: &'a [(&'a str, &'a str)],
    /// Which of the rules' patterns its text matches: a bit for each, by its number.
    pub texts: u64,
}

impl TransactionFacts<'_> {
    /// Only the kind is known.
    #[must_use]
    pub const fn of_kind(statement: StatementKind) -> Self {
        Self {
            statement,
            tags: &[],
            tables: &[],
            texts: 0,
        }
    }
}

/// The schema that a table's name without one is taken to be in.
pub const USUAL_SCHEMA: &str = "public";

/// How many patterns all rules together may hold texts against.
pub const MAX_TEXT_PATTERNS: usize = 64;

/// What the rules that may move a session's transactions ask about their first statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its tags.
    pub tags: bool,
    /// Whether an UPDATE or DELETE works in bulk.
    pub breadth: bool,
    /// Its tables.
    pub tables: bool,
    /// Which patterns its text matches.
    pub texts: bool,
}

impl Needs {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            tags: self.tags || other.tags,
            breadth: self.breadth || other.breadth,
            tables: self.tables || other.tables,
            texts: self.texts || other.texts,
        }
    }
}
