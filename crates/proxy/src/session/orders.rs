//! What rules make a session do: tell its client something, move to another lane, abort its transaction.

use std::rc::Rc;

use pglanes_lanes::{Input, When};
use pglanes_wire::message::TransactionStatus;

use super::Session;
use crate::hub::Orders;
use crate::server::{Because, Insistence, Ours, OwnQuery, Returned, Server};

/// Fails in any transaction, needs no right, and leaves the reason in the server's log: PostgreSQL aborts the transaction,
/// frees its locks, and waits for the client to end it.
pub(super) const ABORT: &str = "ROLLBACK TO SAVEPOINT \"pglanes: aborted by a rule of its lane\"";

impl Session {
    /// Does what it was ordered while it waits or between messages.
    pub(super) fn follow(&mut self, orders: Orders) {
        if let Some(text) = &orders.notice {
            self.say_notice(text);
        }
        if orders.moves.is_some() {
            self.moved = orders.moves;
        }
    }

    /// The same with a server connection. What is for the client waits for the end of a message.
    pub(super) fn follow_linked(&mut self, server: &mut Server) {
        if server.passing > 0 {
            return;
        }
        let Some(orders) = self.face.orders.take() else {
            return;
        };
        if orders.abort {
            self.abort(server);
        }
        self.follow(*orders);
    }

    /// Aborts the transaction. If a statement runs again by now, that is cancelled.
    fn abort(&mut self, server: &mut Server) {
        if server.replies.is_settled() && self.passing == 0 {
            self.abort_idle(server);
        } else {
            crate::cancel::forward_to_client(&self.hub, Rc::clone(&server.face));
        }
    }

    /// Aborts a transaction of which nothing runs.
    pub(super) fn abort_idle(&mut self, server: &mut Server) {
        if server.replies.status() == TransactionStatus::InTransaction {
            // Refused only inside a COPY, and nothing runs.
            let _ = Self::ask_ourselves(server, OwnQuery::Aborting, ABORT);
        }
    }

    /// Holds what the transaction has returned against the lane's rules.
    pub(super) fn measure(&self, server: &mut Server, bytes: usize) {
        server.returned.bytes += bytes as u64;
        let Returned {
            rows, bytes, met, ..
        } = server.returned;
        let live = self.hub.live();
        let rules = live.policy.lanes.get(server.lane.index());
        for (place, rule) in rules.iter().flat_map(|lane| lane.rules.iter().enumerate()) {
            let goes_too_far = match rule.when {
                When::Rows(limit) => rows > limit,
                When::Bytes(limit) => bytes > limit,
                _ => false,
            };
            let bit = 1_u32.checked_shl(place as u32).unwrap_or(0);
            if goes_too_far && met & bit == 0 {
                server.returned.met |= bit;
                let rule = place as u16;
                let server = server.face.id;
                self.hub.tell(Input::Met { server, rule });
            }
        }
    }

    /// Once a statement that was to be cancelled has been answered, what is cancelled is so for another reason. A cancel that is
    /// still under way may meet what comes next, which is then told why.
    pub(super) fn forget_why(&self, server: &Server) {
        let face = &server.face;
        let is_over = |why: &Because| matches!(why.insistence, Insistence::Statement { turn } if turn != face.turns.get());
        let known = face
            .cancelled_because
            .borrow()
            .as_ref()
            .is_some_and(is_over);
        if known
            && face.cancels_under_way.get() == 0
            && face.ours.get() != Ours::BeforeClientsCancelled
        {
            face.cancelled_because.replace(None);
        }
    }

    /// A transaction has ended on a connection that stays with the session.
    pub(super) fn rest_linked(&self, server: &mut Server) {
        server.returned = Returned {
            counts: server.returned.counts,
            ..Returned::default()
        };
        if server.face.cancelled_because.borrow().is_some() {
            server.face.cancelled_because.replace(None);
        }
        let timed = self.hub.live().options(server.lane).timed;
        if timed && !self.pins.is_empty() && !server.kept {
            server.kept = true;
            let server = server.face.id;
            self.hub.tell(Input::Kept { server });
        }
    }

    /// The next one begins there.
    pub(super) fn resume_linked(&self, server: &mut Server) {
        if std::mem::take(&mut server.kept) {
            let server = server.face.id;
            self.hub.tell(Input::Resumed { server });
        }
    }
}
