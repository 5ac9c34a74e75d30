//! Statements that are prepared ahead of their use, alone: Parse, or several, and Sync, which is libpq's `PQprepare`. Where a
//! server of the pool has taken the same texts before it needs none now, and so no slot: the answer is known, and each
//! statement is made on whichever connection first runs it. A program that prepares in one thread while its other sessions hold
//! the slots (`pgbench -M prepared`) would wait for itself otherwise.
//!
//! What differs is what differs for every prepared statement that moves between connections: should a table be gone
//! meanwhile, the error comes with the statement's first use.

use std::rc::Rc;

use pglanes_wire::frame::{self, Frame, HEADER, split_cstr};
use pglanes_wire::prepared::Statement;
use pglanes_wire::sql::Effects;

use super::Session;
use super::lazily::Block;

/// Statements that are prepared together without a slot; more take one.
const MOST_TOGETHER: usize = 64;

/// The client's name for a statement, and the statement.
type Known<'a> = (&'a [u8], Rc<Statement>);

impl Session {
    /// Answers the Parses that `rest` begins with, where they stand before a Sync and none needs a server connection. Returns
    /// their length, or 0: a server has to be asked.
    pub(super) fn answer_parses(&mut self, header: Frame, rest: &[u8]) -> usize {
        // Nearly every Parse ends the look here: a Bind or a Describe stands behind it.
        let behind = rest.get(header.total);
        if header.tag != b'P' || !matches!(behind, Some(b'S' | b'P')) {
            return 0;
        }
        let Some((known, length)) = self.known_parses(rest) else {
            return 0;
        };
        let names = self.statements.get_or_insert_default();
        for (name, statement) in known {
            names.give(name, statement);
            names.confirm();
            self.outbox.extend_from_slice(&[b'1', 0, 0, 0, 4]);
        }
        length
    }

    /// The statements of the Parses up to a Sync, and the length of those; `None` where one is not known, or anything else
    /// stands among them.
    fn known_parses<'a>(&self, rest: &'a [u8]) -> Option<(Vec<Known<'a>>, usize)> {
        if !matches!(self.block, Block::None) {
            return None;
        }
        let mut known: Vec<Known<'_>> = Vec::new();
        let mut at = 0;
        while known.len() <= MOST_TOGETHER {
            let next = frame::peek(&rest[at..]).ok()??;
            let whole = rest.get(at..at + next.total)?;
            match next.tag {
                b'S' => return Some((known, at)),
                b'P' => {}
                _ => return None,
            }
            let (name, content) = split_cstr(&whole[HEADER..])?;
            let held = self.statements.as_ref();
            let is_taken = held.is_some_and(|names| names.get(name).is_some())
                || known.iter().any(|(taken, _)| *taken == name);
            // A name that is taken is an error, which PostgreSQL says itself.
            if name.is_empty() || is_taken {
                return None;
            }
            known.push((name, self.taken_before(content)?));
            at += next.total;
        }
        None
    }

    /// The statement of this content, if a server of the pool has taken it and it pins nobody.
    fn taken_before(&self, content: &[u8]) -> Option<Rc<Statement>> {
        let statement = self.hub.statements.borrow().find(self.scope(), content)?;
        let pins = statement.inspection.effects;
        let pins = pins.contains(Effects::SEQUENCE_CURRVAL);
        (statement.was_taken(self.identity.pool.0) && !pins).then_some(statement)
    }
}
