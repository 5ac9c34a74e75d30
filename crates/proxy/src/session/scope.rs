//! What the names in a statement mean to the session: sessions with the same scope, and no others, share what is prepared.
//!
//! PostgreSQL keeps a prepared statement's columns and the types of its parameters as they were when it was prepared. A session
//! with another search path, or with a temporary table in front of a table, would get an error where it works directly.

use std::rc::Rc;

use pglanes_wire::prepared::Statement;
use pglanes_wire::sql::Effects;

use super::Session;

/// What stands before the text of a statement that set the search path. No search path begins so.
const SAID: u8 = 1;
/// What stands before the number of a scope that is the session's alone.
const OWN: u8 = 2;
/// The longest text of a SET that is a scope by itself.
const LONGEST_TEXT: usize = 256;

impl Session {
    /// The session's scope as it is now; empty where names mean what they mean to everybody.
    pub(super) fn scope(&self) -> &[u8] {
        match &self.work.scope {
            Some(scope) => scope,
            None => self.settings.get("search_path").map_or(&[], str::as_bytes),
        }
    }

    /// The statement with this content, as the session means it.
    pub(super) fn intern(&self, content: &[u8]) -> Rc<Statement> {
        let mut statements = self.hub.statements.borrow_mut();
        statements.intern(self.scope(), content)
    }

    /// Follows what a statement does to the meaning of names.
    pub(super) fn follow_scope(&mut self, effects: Effects, text: &[u8]) {
        const CHANGES: Effects = Effects::SEARCH_PATH
            .union(Effects::SETTINGS_RESET_ALL)
            .union(Effects::DISCARD_ALL)
            .union(Effects::DISCARD_TEMP)
            .union(Effects::TEMPORARY);
        if effects.intersects(CHANGES) {
            let text = text.strip_suffix(b"\0").unwrap_or(text);
            let says_all = effects.without(Effects::SETTINGS) == Effects::SEARCH_PATH
                && self.work.scope.is_none()
                && text.len() <= LONGEST_TEXT
                // Neither a parameter, nor "$user", nor the value of an expression.
                && !text.iter().any(|byte| matches!(byte, b'$' | b'('));
            match says_all {
                // Many sessions say the same, each in every transaction: they share what they prepare there.
                true => self.work.scope = Some([&[SAID], text].concat().into()),
                false => self.have_own_scope(),
            }
        } else if self.work.scope.is_some()
            && effects.intersects(Effects::SAVEPOINT_ROLLBACK.union(Effects::DROP))
        {
            self.have_own_scope();
        }
    }

    /// The transaction is over. What it set for itself is gone, what it set for the session is learned before the next
    /// begins; of a session that keeps its connection nobody learns it.
    pub(super) fn settle_scope(&mut self) {
        let is_said = |scope: &[u8]| scope.first() == Some(&SAID);
        match &self.work.scope {
            None => {}
            Some(_) if self.pins.is_empty() => self.work.scope = None,
            Some(scope) if is_said(scope) => self.have_own_scope(),
            Some(_) => {}
        }
    }

    fn have_own_scope(&mut self) {
        let number = self.hub.statements.borrow_mut().number();
        let scope = [&[OWN], &number.to_be_bytes()[..]].concat();
        self.work.scope = Some(scope.into());
    }
}
