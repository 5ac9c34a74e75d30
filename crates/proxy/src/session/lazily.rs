//! A transaction that has begun only in name: where the lane asks for it, a lone BEGIN
//! is answered without a server connection, and said to PostgreSQL together with the
//! first statement that needs one. A client that opens a transaction and thinks holds no
//! slot. What differs: now() and the snapshot are those of the first statement, and the
//! lane may be that statement's.

use bytes::{BufMut, BytesMut};
use pglanes_wire::frame::{self, Frame, HEADER};
use pglanes_wire::message::{self, ErrorBody, Severity, TransactionStatus};
use pglanes_wire::replies::OutOfSync;
use pglanes_wire::sql::{self, Effects, Inspection, StatementKind};

use super::Session;
use crate::server::{OwnQuery, Server};

/// The transaction block of a session without a server connection.
#[derive(Debug)]
pub(super) enum Block {
    None,
    /// BEGIN was answered; its text is still to be said to PostgreSQL.
    Begun(Box<[u8]>),
    /// Its first statement was refused in the proxy's own name.
    Failed,
}

impl Block {
    pub(super) fn status(&self) -> TransactionStatus {
        match self {
            Self::None => TransactionStatus::Idle,
            Self::Begun(_) => TransactionStatus::InTransaction,
            Self::Failed => TransactionStatus::Failed,
        }
    }

    /// A statement was refused: a block that had begun has failed.
    pub(super) fn refused(&mut self) {
        if matches!(self, Self::Begun(_)) {
            *self = Self::Failed;
        }
    }
}

/// Whether the text is one statement of this kind, spelt as PostgreSQL's grammar has it: it
/// must not be refused when it is said in the end.
fn is_lone(seen: Inspection, text: &[u8], kind: StatementKind, effect: Effects) -> bool {
    seen.statements == 1
        && seen.first == kind
        && seen.effects == effect
        && words(text).is_some_and(|words| match kind {
            StatementKind::Begin => begins(&words),
            _ => ends(&words),
        })
}

fn is_lone_end(seen: Inspection, text: &[u8]) -> bool {
    is_lone(seen, text, StatementKind::Commit, Effects::COMMIT)
        || is_lone(seen, text, StatementKind::Rollback, Effects::ROLLBACK)
}

/// The most words that a BEGIN or COMMIT with everything in it has.
const MOST_WORDS: usize = 24;

/// The words and commas of a text that consists of nothing else, in capitals.
fn words(text: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\0');
    let spaced = text.to_ascii_uppercase().replace(',', " , ");
    let words: Vec<String> = spaced
        .split_ascii_whitespace()
        .map(str::to_owned)
        .take(MOST_WORDS + 1)
        .collect();
    (words.len() <= MOST_WORDS).then_some(words)
}

fn begins(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut rest = match words.as_slice() {
        ["BEGIN", "WORK" | "TRANSACTION", rest @ ..]
        | ["START", "TRANSACTION", rest @ ..]
        | ["BEGIN", rest @ ..] => rest,
        _ => return false,
    };
    let mut first = true;
    while !rest.is_empty() {
        if let (false, [",", behind @ ..]) = (first, rest) {
            rest = behind;
        }
        rest = match rest {
            ["ISOLATION", "LEVEL", "SERIALIZABLE", behind @ ..]
            | ["ISOLATION", "LEVEL", "REPEATABLE", "READ", behind @ ..]
            | [
                "ISOLATION",
                "LEVEL",
                "READ",
                "COMMITTED" | "UNCOMMITTED",
                behind @ ..,
            ]
            | ["READ", "WRITE" | "ONLY", behind @ ..]
            | ["NOT", "DEFERRABLE", behind @ ..]
            | ["DEFERRABLE", behind @ ..] => behind,
            _ => return false,
        };
        first = false;
    }
    true
}

fn ends(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let rest = match words.as_slice() {
        [_, "WORK" | "TRANSACTION", rest @ ..] | [_, rest @ ..] => rest,
        [] => return false,
    };
    matches!(rest, [] | ["AND", "NO", "CHAIN"])
}

impl Session {
    /// Answers a message that needs no server connection for what it does to the block.
    /// False: it needs one.
    pub(super) fn answer_block(&mut self, header: Frame, rest: &[u8]) -> bool {
        if matches!(self.block, Block::Failed) {
            // What ends it and is more than that is for PostgreSQL, which gets a failed transaction to end.
            return !self.ends_and_more(header, rest) && self.answer_in_failed_block(header, rest);
        }
        let lazy = matches!(self.block, Block::Begun(_)) || {
            self.classify();
            self.hub.live().options(self.class.lane).lazy_begin
        };
        if header.tag != b'Q' || !lazy {
            return false;
        }
        let text = &rest[HEADER..header.total.min(rest.len())];
        let seen = sql::inspect(text);
        match self.block {
            Block::None if is_lone(seen, text, StatementKind::Begin, Effects::BEGIN) => {
                let starts = text.trim_ascii_start().first();
                let is_start = starts.is_some_and(|byte| byte.eq_ignore_ascii_case(&b's'));
                self.block = Block::Begun(text.strip_suffix(b"\0").unwrap_or(text).into());
                self.complete(if is_start {
                    "START TRANSACTION"
                } else {
                    "BEGIN"
                });
                true
            }
            Block::Begun(_) if is_lone(seen, text, StatementKind::Commit, Effects::COMMIT) => {
                self.block = Block::None;
                self.complete("COMMIT");
                true
            }
            Block::Begun(_) if is_lone(seen, text, StatementKind::Rollback, Effects::ROLLBACK) => {
                self.block = Block::None;
                self.complete("ROLLBACK");
                true
            }
            _ => false,
        }
    }

    /// Whether this ends a failed block in another way than by a lone COMMIT or ROLLBACK as a Query: by the extended protocol,
    /// as some drivers say it, with AND CHAIN, or with other statements behind it.
    fn ends_and_more(&self, header: Frame, rest: &[u8]) -> bool {
        let body = &rest[HEADER..header.total.min(rest.len())];
        let ends = |seen: Inspection| {
            let ends = Effects::COMMIT.union(Effects::ROLLBACK);
            let first = matches!(seen.first, StatementKind::Commit | StatementKind::Rollback);
            first && seen.effects.intersects(ends)
        };
        if header.tag == b'Q' {
            let seen = sql::inspect(body);
            return ends(seen) && !is_lone_end(seen, body);
        }
        let behind = match frame::split_cstr(body) {
            Some((_, behind)) if matches!(header.tag, b'P' | b'B') => behind,
            _ => return false,
        };
        let second = frame::split_cstr(behind).map_or(behind, |(second, _)| second);
        match header.tag {
            b'P' => ends(sql::inspect(second)),
            // Its portal comes first, then the statement.
            _ => {
                let names = self.statements.as_ref();
                let statement = names.and_then(|names| names.get(second));
                statement.is_some_and(|statement| ends(statement.inspection))
            }
        }
    }

    /// A failed block ends by COMMIT or ROLLBACK and takes nothing else.
    fn answer_in_failed_block(&mut self, header: Frame, rest: &[u8]) -> bool {
        let text = &rest[HEADER..header.total.min(rest.len())];
        if header.tag == b'Q' && is_lone_end(sql::inspect(text), text) {
            self.block = Block::None;
            self.complete("ROLLBACK");
            return true;
        }
        let mut out = BytesMut::new();
        let text =
            "current transaction is aborted, commands ignored until end of transaction block";
        message::error(&mut out, &ErrorBody::new(Severity::Error, "25P02", text));
        if matches!(header.tag, b'Q' | b'F') {
            message::ready_for_query(&mut out, TransactionStatus::Failed);
        } else {
            self.skipping = true;
        }
        self.outbox.extend_from_slice(&out);
        true
    }

    /// CommandComplete and ReadyForQuery.
    pub(super) fn complete(&mut self, tag: &str) {
        let mut out = BytesMut::new();
        out.put_u8(b'C');
        // A tag of a few words.
        out.put_u32(tag.len() as u32 + 5);
        out.put_slice(tag.as_bytes());
        out.put_u8(0);
        message::ready_for_query(&mut out, self.block.status());
        self.outbox.extend_from_slice(&out);
    }

    /// Says the BEGIN to PostgreSQL that the client has had answered, and makes it fail where the block has failed.
    pub(super) fn begin_for_real(&mut self, server: &mut Server) -> Result<(), OutOfSync> {
        match std::mem::replace(&mut self.block, Block::None) {
            Block::Begun(text) => Self::ask_ourselves(server, OwnQuery::Beginning, &text),
            Block::Failed => {
                Self::ask_ourselves(server, OwnQuery::Beginning, b"BEGIN")?;
                Self::ask_ourselves(server, OwnQuery::Aborting, super::orders::ABORT)
            }
            Block::None => Ok(()),
        }
    }
}

/// Whether statements that are sent now run inside a transaction block.
pub(super) fn in_block(server: &Server) -> bool {
    server.replies.status() != TransactionStatus::Idle
        || server
            .own
            .iter()
            .any(|own| matches!(own, OwnQuery::Beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lone_begin_or_end_is_answered_without_a_server() {
        let begin = |sql: &str| {
            is_lone(
                sql::inspect(sql.as_bytes()),
                sql.as_bytes(),
                StatementKind::Begin,
                Effects::BEGIN,
            )
        };
        assert!(begin("BEGIN"));
        assert!(begin("begin isolation level serializable;"));
        assert!(begin("START TRANSACTION READ ONLY"));
        assert!(begin(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY NOT DEFERRABLE"
        ));
        assert!(!begin("BEGIN; SELECT 1"));
        // What PostgreSQL would refuse it has to see at once.
        for refused in [
            "BEGIN NONSENSE",
            "BEGIN ,READ ONLY",
            "BEGIN READ ONLY,",
            "START",
            "START TRANSACTION ISOLATION LEVEL NONE",
        ] {
            assert!(!begin(refused), "{refused}");
        }
        let commit = |sql: &str| {
            is_lone(
                sql::inspect(sql.as_bytes()),
                sql.as_bytes(),
                StatementKind::Commit,
                Effects::COMMIT,
            )
        };
        assert!(commit("COMMIT") && commit("END"));
        assert!(commit("COMMIT WORK AND NO CHAIN") && commit("end transaction;"));
        assert!(!commit("COMMIT AND CHAIN") && !commit("COMMIT PREPARED 'x'"));
        assert!(!commit("COMMIT NONSENSE"));
    }
}
