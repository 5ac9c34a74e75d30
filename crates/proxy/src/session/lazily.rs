//! A transaction that has begun only in name: where the lane asks for it, a lone BEGIN
//! is answered without a server connection, and said to PostgreSQL together with the
//! first statement that needs one. A client that opens a transaction and thinks holds no
//! slot. What differs: now() and the snapshot are those of the first statement, and the
//! lane may be that statement's.

use bytes::{BufMut, BytesMut};
use pglanes_wire::frame::{Frame, HEADER};
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

fn is_lone(seen: Inspection, kind: StatementKind, effect: Effects) -> bool {
    seen.statements == 1 && seen.first == kind && seen.effects == effect
}

impl Session {
    /// Answers a message that needs no server connection for what it does to the block.
    /// False: it needs one.
    pub(super) fn answer_block(&mut self, header: Frame, rest: &[u8]) -> bool {
        if matches!(self.block, Block::Failed) {
            return self.answer_in_failed_block(header, rest);
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
            Block::None if is_lone(seen, StatementKind::Begin, Effects::BEGIN) => {
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
            Block::Begun(_) if is_lone(seen, StatementKind::Commit, Effects::COMMIT) => {
                self.block = Block::None;
                self.complete("COMMIT");
                true
            }
            Block::Begun(_) if is_lone(seen, StatementKind::Rollback, Effects::ROLLBACK) => {
                self.block = Block::None;
                self.complete("ROLLBACK");
                true
            }
            _ => false,
        }
    }

    /// A failed block ends by COMMIT or ROLLBACK and takes nothing else.
    fn answer_in_failed_block(&mut self, header: Frame, rest: &[u8]) -> bool {
        let text = &rest[HEADER..header.total.min(rest.len())];
        let first = (header.tag == b'Q').then(|| sql::inspect(text).first);
        if matches!(first, Some(StatementKind::Commit | StatementKind::Rollback)) {
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
    fn complete(&mut self, tag: &str) {
        let mut out = BytesMut::new();
        out.put_u8(b'C');
        // A tag of a few words.
        out.put_u32(tag.len() as u32 + 5);
        out.put_slice(tag.as_bytes());
        out.put_u8(0);
        message::ready_for_query(&mut out, self.block.status());
        self.outbox.extend_from_slice(&out);
    }

    /// Says the BEGIN to PostgreSQL that the client has had answered.
    pub(super) fn begin_for_real(&mut self, server: &mut Server) -> Result<(), OutOfSync> {
        match std::mem::replace(&mut self.block, Block::None) {
            Block::Begun(text) => Self::ask_ourselves(server, OwnQuery::Beginning, &text),
            Block::None | Block::Failed => Ok(()),
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
                StatementKind::Begin,
                Effects::BEGIN,
            )
        };
        assert!(begin("BEGIN"));
        assert!(begin("begin isolation level serializable;"));
        assert!(begin("START TRANSACTION READ ONLY"));
        assert!(!begin("BEGIN; SELECT 1"));
        let commit = |sql: &str| {
            is_lone(
                sql::inspect(sql.as_bytes()),
                StatementKind::Commit,
                Effects::COMMIT,
            )
        };
        assert!(commit("COMMIT") && commit("END"));
        assert!(!commit("COMMIT AND CHAIN") && !commit("COMMIT PREPARED 'x'"));
    }
}
