//! What is left of the state a session made: asked of the server, where a statement may have undone some of it. One
//! `CLOSE` of a cursor, one `UNLISTEN`, one `pg_advisory_unlock`, one `DROP TABLE`, a ROLLBACK: whether it was the last, only
//! PostgreSQL knows. Nobody is asked who is not pinned.

use pglanes_wire::message::TransactionStatus;

use super::Session;
use super::pins::{Pins, Reason};
use crate::server::{OwnQuery, Server};
use crate::settings::write_literal;

/// The expression that is true while state of this kind is there, everything named in full: a search path of the
/// client's has no part in it. `None`: the server cannot tell.
fn probe(reason: Reason, user: &str) -> Option<String> {
    let exists = |from: &str| Some(format!("EXISTS (SELECT FROM pg_catalog.{from})"));
    match reason {
        Reason::Listen => exists("pg_listening_channels()"),
        Reason::HoldCursor => exists("pg_cursors WHERE is_holdable"),
        Reason::SqlPrepare => exists("pg_prepared_statements WHERE from_sql"),
        Reason::AdvisoryLock => exists(
            "pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
             AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
        ),
        // Whatever is in the session's temporary schema depends on it.
        Reason::TemporaryTable => exists(
            "pg_depend WHERE refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() AND \
             refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass",
        ),
        Reason::Role => {
            let mut sql = String::from(
                "pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' \
                 OR session_user OPERATOR(pg_catalog.<>) ",
            );
            write_literal(&mut sql, user);
            Some(sql)
        }
        Reason::Load
        | Reason::CustomSetting
        | Reason::LargeStatement
        | Reason::FunctionCall
        | Reason::Sequence
        | Reason::SessionPooling
        | Reason::Replication => None,
    }
}

/// The query for these, one column each, and those that it asks for.
fn question(doubted: Pins, user: &str) -> (String, Pins) {
    let mut sql = String::from("SELECT ");
    let mut asked = Pins::default();
    for reason in doubted.reasons() {
        if let Some(probe) = probe(reason, user) {
            if !asked.is_empty() {
                sql.push_str(", ");
            }
            sql.push_str(&probe);
            asked = asked.with(reason);
        }
    }
    (sql, asked)
}

/// Reads the answer, a DataRow with a boolean for each of these. `None`: it is no such row.
pub(super) fn what_is_left(asked: Pins, body: &[u8]) -> Option<Pins> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    if usize::from(u16::from_be_bytes(*count)) != asked.reasons().count() {
        return None;
    }
    let mut left = Pins::default();
    for reason in asked.reasons() {
        let (value, behind) = rest.split_first_chunk::<5>()?;
        match value {
            [0, 0, 0, 1, b't'] => left = left.with(reason),
            [0, 0, 0, 1, b'f'] => {}
            _ => return None,
        }
        rest = behind;
    }
    Some(left)
}

impl Session {
    /// Asks the server for what is left of these pins' state. False: there is nothing to ask, or no asking now.
    pub(super) fn ask_what_is_left(&mut self, server: &mut Server, doubted: Pins) -> bool {
        let (sql, doubted) = question(doubted.intersection(self.pins), &self.identity.user);
        if doubted.is_empty() || server.replies.status() != TransactionStatus::Idle {
            return false;
        }
        let looking = OwnQuery::Looking {
            doubted,
            left: None,
        };
        Self::ask_ourselves(server, looking, sql).is_ok()
    }

    /// The server has said what is left. Where it could not (a cancel, a statement_timeout of next to nothing) the session
    /// keeps its connection, and the end of its next transaction asks again.
    pub(super) fn looked(&mut self, server: &mut Server, doubted: Pins, left: Option<Pins>) {
        let failed = server.own_error.take().is_some();
        match left.filter(|_| !failed) {
            Some(left) => self.unpin_after(doubted.minus(left)),
            None => self.work.doubt(doubted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(reasons: &[Reason]) -> Pins {
        let add = |pins: Pins, reason: &Reason| pins.with(*reason);
        reasons.iter().fold(Pins::default(), add)
    }

    #[test]
    fn only_what_the_server_can_tell_is_asked_for() {
        let (sql, asked) = question(pins(&[Reason::HoldCursor, Reason::Load]), "me");
        assert_eq!(asked, pins(&[Reason::HoldCursor]));
        let wanted = "SELECT EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)";
        assert_eq!(sql, wanted);
        assert!(question(pins(&[Reason::Load]), "me").1.is_empty());
        let (sql, _) = question(pins(&[Reason::Role]), "it's me");
        assert!(sql.ends_with(r"E'it\'s me'"), "{sql}");
    }

    #[test]
    fn a_row_that_is_not_as_asked_says_nothing() {
        let asked = pins(&[Reason::Listen, Reason::HoldCursor]);
        let row = |count: u8, values: &[&[u8]]| [&[0, count][..], &values.concat()].concat();
        let (yes, no): (&[u8], &[u8]) = (b"\0\0\0\x01t", b"\0\0\0\x01f");
        let left = what_is_left(asked, &row(2, &[no, yes]));
        assert_eq!(left, Some(pins(&[Reason::HoldCursor])));
        assert_eq!(what_is_left(asked, &row(2, &[no, no])), Some(pins(&[])));
        assert_eq!(what_is_left(asked, &row(1, &[yes])), None);
        assert_eq!(what_is_left(asked, &row(2, &[yes])), None);
        let null: &[u8] = &[255, 255, 255, 255, 0];
        assert_eq!(what_is_left(asked, &row(2, &[yes, null])), None);
        assert_eq!(what_is_left(asked, b"\0"), None);
    }
}
