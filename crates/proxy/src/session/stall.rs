//! Clients that keep a server connection waiting: what for, and what becomes of them.

use pglanes_lanes::Time;

use super::{Session, Step};
use crate::hub::{LinkedServer, Stall, count};
use crate::server::Server;

impl Session {
    /// Notes what the server connection waits for. The clock is read only where a limit
    /// could be exceeded: the next look at it is a second away.
    ///
    /// A step in which nothing moved (somebody woke the session) begins no new wait.
    pub(super) fn note_stall(&self, server: &Server, moved: bool) {
        let stall = self.stall(server);
        let quiet = stall == Stall::None
            && server.replies.is_settled()
            && self.work.is_between_transactions(server);
        self.face.quiet.set(quiet);
        if !moved && stall == self.face.stall.get().0 {
            return;
        }
        if stall == Stall::None {
            self.face.stall.set((Stall::None, Time::ZERO));
        } else {
            self.face.stall.set((stall, self.hub.clock.now()));
        }
    }

    /// The client's next statement inside a transaction has come: the time since the last one was its own. The clock
    /// is read for such a statement alone, and for the first of a pinned session's transaction.
    pub(super) fn note_idle_time(&self, server: &Server) {
        if let (Stall::IdleInTransaction, since) = self.face.stall.get() {
            let idle = self.hub.clock.now().since(since);
            let counts = &server.face.counts;
            count(&counts.idle_in_transaction_us, idle.as_micros() as u64);
            self.face.stall.set((Stall::None, Time::ZERO));
        } else if self.face.quiet.replace(false) {
            // A pinned session's next transaction begins now.
            server.face.since.set(self.hub.clock.now());
        }
    }

    /// An operator ends the session: what it runs is cancelled, and its connection closed.
    pub(super) fn be_killed(&mut self, server: LinkedServer) -> Step {
        let running = !server.replies.is_settled();
        let mid_message = server.passing > 0;
        Self::abandon(server, running);
        if mid_message {
            // It would take the error for the rest of the row that it has a part of.
            return Step::End;
        }
        self.fatal("57P01", super::KILLED)
    }

    fn stall(&self, server: &Server) -> Stall {
        if !self.outbox.is_empty() {
            Stall::SlowReader
        } else if self.passing > 0 || (!self.inbox.is_empty() && !self.unseen) {
            Stall::HalfSent
        } else if server.replies.is_settled() && !self.work.is_between_transactions(server) {
            Stall::IdleInTransaction
        } else {
            Stall::None
        }
    }

    /// The limit has passed: the connection is closed and the session ends.
    pub(super) fn end_stalled(&mut self, server: LinkedServer, stall: Stall) -> Step {
        let running = !server.replies.is_settled();
        let mid_message = server.passing > 0;
        Self::abandon(server, running);
        match stall {
            // It would take the error for the rest of the row that it has a part of.
            Stall::HalfSent if mid_message => Step::End,
            Stall::IdleInTransaction => self.fatal(
                "25P03",
                "terminating connection due to idle-in-transaction timeout (limits: client_idle_in_transaction)",
            ),
            Stall::HalfSent => self.fatal(
                "08P01",
                "terminating connection: the rest of a message did not come (limits: half_sent_message)",
            ),
            // It does not read: there is nobody to tell.
            Stall::SlowReader | Stall::LastWords | Stall::None => Step::End,
        }
    }
}
