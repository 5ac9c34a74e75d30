//! A statement that is prepared ahead of its use, alone: Parse and Sync, which is libpq's `PQprepare`. Where a server of the
//! pool has taken the same text before it needs none now, and so no slot: the answer is known, and the statement is made on
//! whichever connection first runs it. A program that prepares in one thread while its other sessions hold the slots
//! (`pgbench -M prepared`) would wait for itself otherwise.
//!
//! What differs is what differs for every prepared statement that moves between connections: should a table be gone
//! meanwhile, the error comes with the statement's first use.

use pglanes_wire::frame::{Frame, HEADER, split_cstr};
use pglanes_wire::sql::Effects;

use super::Session;
use super::lazily::Block;

/// The length of a Sync.
const SYNC: usize = HEADER;

impl Session {
    /// Answers a Parse that stands before a Sync and needs no server connection. False: it needs one.
    pub(super) fn answer_parse(&mut self, header: Frame, rest: &[u8]) -> bool {
        let behind = &rest[header.total..];
        let is_alone = behind.first() == Some(&b'S') && behind.len() >= SYNC;
        if header.tag != b'P' || !is_alone || !matches!(self.block, Block::None) {
            return false;
        }
        let Some((name, content)) = split_cstr(&rest[HEADER..header.total]) else {
            return false;
        };
        let held = self.statements.as_ref();
        // A name that is taken is an error, which PostgreSQL says itself.
        if name.is_empty() || held.is_some_and(|names| names.get(name).is_some()) {
            return false;
        }
        let Some(statement) = self.hub.statements.borrow().find(content) else {
            return false;
        };
        let pins = Effects::SEQUENCE_CURRVAL;
        if !statement.was_taken(self.identity.pool.0)
            || statement.inspection.effects.intersects(pins)
        {
            return false;
        }
        let names = self.statements.get_or_insert_default();
        names.give(name, statement);
        names.confirm();
        self.outbox.extend_from_slice(&[b'1', 0, 0, 0, 4]);
        true
    }
}
