//! The settings a session has made, followed from one server connection to the next.
//!
//! After a transaction that may have changed settings the server is asked what they
//! are: it alone knows what a rollback, a savepoint or a function left. Before a
//! transaction the difference between what the connection has and what the session
//! wants is set, and nothing where they agree.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::Hash;
use std::rc::Rc;

use crate::naming::Naming;

/// Session-level settings over what the server connection started with, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Settings(Vec<(String, String)>);

/// Settings whose value is a list of quoted names (PostgreSQL's `GUC_LIST_QUOTE`):
/// `SET` would quote the whole again, `set_config` takes it as it is reported.
const QUOTED_LISTS: [&str; 5] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "unix_socket_directories",
];

/// Settings that each transaction starts anew and that cannot be reset. A SET TRANSACTION outside a transaction block leaves
/// PostgreSQL saying that the session had set them.
const OF_TRANSACTIONS: [&str; 3] = [
    "transaction_isolation",
    "transaction_read_only",
    "transaction_deferrable",
];

/// A setting every value of which is accepted: it needs no answer before the transaction
/// that follows.
const CANNOT_FAIL: &str = "application_name";

/// Whether the server may refuse it. The names of lanes are ASCII, and those are the same in every encoding.
fn may_be_refused(name: &str, value: &str) -> bool {
    let is_choice = name == crate::choice::LANE_SETTING && value.is_ascii();
    name != CANNOT_FAIL && !is_choice
}

impl Settings {
    /// From name and value pairs, later ones winning.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = Self::default();
        for (name, value) in pairs {
            settings.set(name, value);
        }
        settings
    }

    pub(crate) fn set(&mut self, name: String, value: String) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (name, value)),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        found.ok().map(|index| self.0[index].1.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Names with a dot: the server does not list those in pg_settings.
    pub(crate) fn custom_names(&self) -> impl Iterator<Item = &str> {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        names.filter(|name| name.contains('.'))
    }

    /// The SQL that turns `applied` into `self`, with names as the lane has them; `None` where they agree.
    pub(crate) fn change_from(&self, applied: &Self, naming: Naming<'_>) -> Option<Change> {
        let mut sql = String::new();
        let mut may_fail = false;
        for (name, value) in &self.0 {
            if applied.get(name) != Some(value) {
                may_fail |= may_be_refused(name, value);
                match name == CANNOT_FAIL {
                    true => write_set(&mut sql, name, &naming.shown(value)),
                    false => write_set(&mut sql, name, value),
                }
            }
        }
        for (name, _) in &applied.0 {
            if self.get(name).is_none() {
                may_fail |= may_be_refused(name, "");
                sql.push_str("RESET ");
                write_name(&mut sql, name);
                sql.push(';');
            }
        }
        (!sql.is_empty()).then_some(Change { sql, may_fail })
    }
}

/// A change of settings to be made on a server connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// One simple Query: all of it holds or none.
    pub(crate) sql: String,
    /// The server may refuse it: its answer is awaited before anything else is sent.
    pub(crate) may_fail: bool,
}

fn write_set(sql: &mut String, name: &str, value: &str) {
    if name == CANNOT_FAIL && !value.is_ascii() {
        // PostgreSQL 16 and later spell other letters so themselves, in whatever encoding.
        let mut spelt = String::new();
        for byte in value.bytes() {
            match byte {
                0..=127 => spelt.push(char::from(byte)),
                _ => {
                    let _ = write!(spelt, "\\x{byte:02x}");
                }
            }
        }
        return write_set(sql, name, &spelt);
    }
    if QUOTED_LISTS.contains(&name) {
        sql.push_str("SELECT pg_catalog.set_config(");
        write_literal(sql, name);
        sql.push(',');
        write_literal(sql, value);
        sql.push_str(",false);");
    } else {
        sql.push_str("SET ");
        write_name(sql, name);
        sql.push_str(" TO ");
        write_literal(sql, value);
        sql.push(';');
    }
}

/// Each part between dots as a quoted identifier.
fn write_name(sql: &mut String, name: &str) {
    for (index, part) in name.split('.').enumerate() {
        if index > 0 {
            sql.push('.');
        }
        // Writing to a String cannot fail.
        let _ = write!(sql, "\"{}\"", part.replace('"', "\"\""));
    }
}

/// An E'' literal, which reads the same whatever standard_conforming_strings says, and
/// whichever client_encoding the session before has left.
pub(crate) fn write_literal(sql: &mut String, value: &str) {
    sql.push_str("E'");
    for character in value.chars() {
        match character {
            '\'' | '\\' => {
                sql.push('\\');
                sql.push(character);
            }
            ' '..='~' => sql.push(character),
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(sql, "\\U{:08x}", u32::from(character));
            }
        }
    }
    sql.push('\'');
}

/// The query that asks a server for the settings its session has made, with the
/// custom names (those with a dot) to ask for besides. Two columns: name and value.
pub(crate) fn capture_query<'a>(custom: impl Iterator<Item = &'a str>) -> String {
    let mut sql = String::from(
        "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings \
         WHERE source OPERATOR(pg_catalog.=) 'session'",
    );
    for name in custom {
        sql.push_str(" UNION ALL SELECT ");
        write_literal(&mut sql, name);
        sql.push_str(", pg_catalog.current_setting(");
        write_literal(&mut sql, name);
        sql.push_str(", true)");
    }
    sql
}

/// What a row of [`capture_query`] tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Captured {
    /// This setting has this value.
    Value(String, String),
    /// A custom setting does not exist, or was reset; or it is none of the session's.
    Nothing,
    /// It cannot be said for certain what it is.
    Unreadable,
}

/// Reads a DataRow of [`capture_query`]. Letters beyond ASCII are what they look like only
/// where everybody speaks `utf8`: the row comes in the client's encoding.
pub(crate) fn captured_row(body: &[u8], utf8: bool) -> Captured {
    let columns = body.split_first_chunk::<2>().and_then(|(count, rest)| {
        let (name, rest) = column(rest)?;
        let (value, _) = column(rest)?;
        (u16::from_be_bytes(*count) == 2).then_some((name, value))
    });
    let readable = |text: &'_ [u8]| {
        let text = std::str::from_utf8(text).ok();
        text.filter(|text| utf8 || text.is_ascii())
            .map(str::to_owned)
    };
    match columns {
        Some((Some(_), None)) => Captured::Nothing,
        Some((Some(name), Some(value))) => match (readable(name), readable(value)) {
            (Some(name), _) if OF_TRANSACTIONS.contains(&name.as_str()) => Captured::Nothing,
            (Some(name), Some(value)) => Captured::Value(name, value),
            _ => Captured::Unreadable,
        },
        _ => Captured::Unreadable,
    }
}

/// A column (`None` inside: NULL) and what follows it.
type Column<'a> = (Option<&'a [u8]>, &'a [u8]);

fn column(bytes: &[u8]) -> Option<Column<'_>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length < 0 {
        return Some((None, rest));
    }
    let (value, rest) = rest.split_at_checked(length as usize)?;
    Some((Some(value), rest))
}

/// Equal values share one allocation, so that sessions and connections that agree are
/// known to agree by comparing pointers.
#[derive(Debug)]
pub(crate) struct Interner<T> {
    values: HashSet<Rc<T>>,
    sweep_at: usize,
}

/// Unused values kept before the first sweep.
const INTERNED_BEFORE_SWEEP: usize = 256;

impl<T: Eq + Hash> Interner<T> {
    pub(crate) fn new() -> Self {
        Self {
            values: HashSet::new(),
            sweep_at: INTERNED_BEFORE_SWEEP,
        }
    }

    pub(crate) fn intern(&mut self, value: T) -> Rc<T> {
        if let Some(known) = self.values.get(&value) {
            return Rc::clone(known);
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|known| Rc::strong_count(known) > 1);
            self.sweep_at = INTERNED_BEFORE_SWEEP.max(self.values.len() * 2);
        }
        let value = Rc::new(value);
        self.values.insert(Rc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::new(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn check(from: &[(&str, &str)], to: &[(&str, &str)], sql: Option<&str>) {
        let change = settings(to).change_from(&settings(from), Naming::KEPT);
        assert_eq!(change.map(|change| change.sql).as_deref(), sql);
    }

    #[test]
    fn only_the_difference_is_set() {
        check(&[], &[], None);
        check(&[("a", "1"), ("b", "2")], &[("b", "2"), ("a", "1")], None);
        check(
            &[("a", "1"), ("b", "2")],
            &[("a", "1"), ("c", "3")],
            Some("SET \"c\" TO E'3';RESET \"b\";"),
        );
        check(
            &[],
            &[("app.user", "x")],
            Some("SET \"app\".\"user\" TO E'x';"),
        );
    }

    #[test]
    fn values_cannot_end_their_literal() {
        check(
            &[],
            &[("application_name", r"x\'; DROP TABLE t; --")],
            Some(r#"SET "application_name" TO E'x\\\'; DROP TABLE t; --';"#),
        );
        check(
            &[],
            &[("search_path", r#""$user", public"#)],
            Some(r#"SELECT pg_catalog.set_config(E'search_path',E'"$user", public',false);"#),
        );
    }

    #[test]
    fn letters_read_the_same_in_every_encoding() {
        check(
            &[],
            &[("app.who", "é\n")],
            Some(r#"SET "app"."who" TO E'\U000000e9\U0000000a';"#),
        );
        check(
            &[],
            &[("application_name", "é")],
            Some(r#"SET "application_name" TO E'\\xc3\\xa9';"#),
        );
    }

    #[test]
    fn only_the_application_name_needs_no_answer() {
        let name = settings(&[("application_name", "a")]);
        let none = settings(&[]);
        assert!(
            !name
                .change_from(&none, Naming::KEPT)
                .expect("differs")
                .may_fail
        );
        assert!(
            !none
                .change_from(&name, Naming::KEPT)
                .expect("differs")
                .may_fail
        );
        let more = settings(&[("application_name", "a"), ("work_mem", "1MB")]);
        assert!(
            more.change_from(&none, Naming::KEPT)
                .expect("differs")
                .may_fail
        );
    }

    #[test]
    fn a_lane_is_told_with_a_name_that_is_set_anyway_and_sets_nothing_by_itself() {
        let naming = Naming {
            mode: pglanes_config::ApplicationName::Both,
            lane: "ltst",
        };
        let (none, named) = (settings(&[]), settings(&[("application_name", "é")]));
        let change = named.change_from(&none, naming).expect("differs");
        let sql = r#"SET "application_name" TO E'\\xc3\\xa9 [ltst]';"#;
        assert_eq!((change.sql.as_str(), change.may_fail), (sql, false));
        assert_eq!(named.change_from(&named, naming), None);
    }

    #[test]
    fn rows_are_read_and_truncated_ones_refused() {
        let row = b"\0\x02\0\0\0\x01a\0\0\0\x02bc";
        let value = |name: &str, value: &str| Captured::Value(name.into(), value.into());
        assert_eq!(captured_row(row, false), value("a", "bc"));
        for end in 0..row.len() {
            assert_eq!(captured_row(&row[..end], true), Captured::Unreadable);
        }
        let null = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(captured_row(null, true), Captured::Nothing);
        let row = b"\0\x02\0\0\0\x15transaction_read_only\0\0\0\x02on";
        assert_eq!(captured_row(row, true), Captured::Nothing);
        // The same bytes are one letter in UTF-8 and two in LATIN1.
        let letters = b"\0\x02\0\0\0\x01a\0\0\0\x02\xc3\xa9";
        assert_eq!(captured_row(letters, true), value("a", "é"));
        assert_eq!(captured_row(letters, false), Captured::Unreadable);
        let latin1 = b"\0\x02\0\0\0\x01a\0\0\0\x01\xe9";
        assert_eq!(captured_row(latin1, true), Captured::Unreadable);
    }

    #[test]
    fn equal_values_are_one() {
        let mut interner = Interner::new();
        let one = interner.intern(settings(&[("a", "1")]));
        let other = interner.intern(settings(&[("a", "1")]));
        assert!(Rc::ptr_eq(&one, &other));
    }
}
