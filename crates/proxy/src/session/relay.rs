//! Both directions, while the session has a server connection.

use std::io;
use std::task::{Context, Poll};

use pglanes_lanes::Time;

use super::{SCRATCH, Session, State, Step};
use crate::events::EventKind;
use crate::hub::{Activity, AskedOfSession, LinkedServer, Stall};
use crate::metrics::ServerEnd;
use crate::server::OwnQuery;
use crate::stream::poll_flush;

/// Why a session and its server connection part in disorder.
#[derive(Debug)]
pub(super) enum Parting {
    /// The client left, or its socket broke.
    ClientGone,
    /// The client said Terminate.
    ClientLeft,
    /// The client broke the protocol.
    Violation(String),
    /// The server's stream ended or broke.
    ServerGone(Option<io::Error>),
    /// The server said something that answers nothing.
    OutOfSync(String),
}

/// What came of handling the server's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    Going,
    /// The transaction is over and the connection can go back.
    Over,
    /// Our settings could not be made; the transaction never began.
    NeverBegan,
}

/// One direction's poll.
enum Flow {
    Moved(Progress),
    Blocked,
}

impl Session {
    pub(super) fn step_linked(
        &mut self,
        context: &mut Context<'_>,
        mut server: LinkedServer,
    ) -> Step {
        self.follow_linked(&mut server);
        let mut moved = false;
        loop {
            let from_server = match self.flow_from_server(context, &mut server) {
                Ok(Flow::Moved(Progress::Over)) if server.is_clean() => return self.part(server),
                Ok(Flow::Moved(Progress::NeverBegan)) => return self.never_began(server),
                Ok(Flow::Moved(Progress::Going | Progress::Over)) => true,
                Ok(Flow::Blocked) => false,
                Err(parting) => return self.end_linked(server, parting),
            };
            let from_client = match self.flow_from_client(context, &mut server) {
                Ok(moved) => moved,
                Err(parting) => return self.end_linked(server, parting),
            };
            if !from_server && !from_client {
                break;
            }
            moved = true;
            if self.work.has_ended() && server.is_clean() && self.over(&server) == Progress::Over {
                return self.part(server);
            }
        }
        if self.is_told_to_end() && server.is_clean() && self.work.is_between_transactions(&server)
        {
            // Pinned and idle: nothing runs that could finish.
            drop(server);
            return self.say_goodbye();
        }
        match self.face.asked.get() {
            AskedOfSession::EndStalled(stall) => return self.end_stalled(server, stall),
            AskedOfSession::Kill => return self.be_killed(server),
            AskedOfSession::Nothing | AskedOfSession::CancelWait | AskedOfSession::End => {}
        }
        if server.is_clean()
            && self.work.is_between_transactions(&server)
            && let Some(step) = self.missed_mail()
        {
            drop(server);
            return step;
        }
        if self.take_mail_linked(&server) {
            self.state = State::Linked(server);
            return Step::Again;
        }
        self.note_stall(&server, moved);
        if self.face.asked.get() == AskedOfSession::CancelWait {
            // It got its slot in the moment the cancel arrived; the cancel meant the wait.
            self.face.asked.set(AskedOfSession::Nothing);
        }
        self.state = State::Linked(server);
        Step::Pending
    }

    /// Server to client. Reads nothing while the client has not taken what it has: a
    /// slow reader slows its own query alone.
    fn flow_from_server(
        &mut self,
        context: &mut Context<'_>,
        server: &mut LinkedServer,
    ) -> Result<Flow, Parting> {
        match poll_flush(&mut self.client, context, &mut self.outbox) {
            Poll::Pending => return Ok(Flow::Blocked),
            Poll::Ready(Err(_)) => return Err(Parting::ClientGone),
            Poll::Ready(Ok(())) => {}
        }
        SCRATCH.with_borrow_mut(|scratch| {
            match server.stream.poll_read(context, &mut scratch.read) {
                Poll::Pending => Ok(Flow::Blocked),
                Poll::Ready(Err(error)) => Err(Parting::ServerGone(Some(error))),
                Poll::Ready(Ok(0)) => Err(Parting::ServerGone(None)),
                Poll::Ready(Ok(count)) => {
                    let bytes = &scratch.read[..count];
                    let progress = if server.carry.is_empty() {
                        self.pass_answers(context, server, bytes, &mut scratch.assembled)?
                    } else {
                        let mut carry = std::mem::take(&mut server.carry);
                        carry.extend_from_slice(bytes);
                        self.pass_answers(context, server, &carry, &mut scratch.assembled)?
                    };
                    Ok(Flow::Moved(progress))
                }
            }
        })
    }

    /// Client to server. Reads nothing while the server has not taken what it has, nor
    /// while a query of ours has to be answered first.
    fn flow_from_client(
        &mut self,
        context: &mut Context<'_>,
        server: &mut LinkedServer,
    ) -> Result<bool, Parting> {
        let crate::server::Server { stream, unsent, .. } = &mut **server;
        match poll_flush(stream, context, unsent) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return self.server_does_not_take(server, error),
            Poll::Ready(Ok(())) => {}
        }
        let must_end_first = |own: &OwnQuery| {
            matches!(
                own,
                OwnQuery::AdjustingFirst { .. }
                    | OwnQuery::Capturing { .. }
                    | OwnQuery::Looking { .. }
                    | OwnQuery::Resting { .. }
                    | OwnQuery::Aborting
            )
        };
        let waits_for_ours = server.own.iter().any(must_end_first);
        let full = server.replies.outstanding() >= pglanes_wire::replies::MOST_OUTSTANDING;
        if waits_for_ours || full {
            return Ok(false);
        }
        let was_settled = server.replies.is_settled();
        if was_settled && server.face.next_must_wait(context) {
            return Ok(false);
        }
        let in_doubt = server.replies.names_in_doubt() || !server.replies.status_is_known();
        if self.unseen && (in_doubt || self.listener_is_coming()) {
            // What comes next depends on it.
            return Ok(false);
        }
        let passed = self.pass_what_came(context, server)?;
        if was_settled && !server.replies.is_settled() {
            let begun = &server.face.begun;
            begun.set(begun.get().wrapping_add(1));
        }
        Ok(passed)
    }

    /// Passes on what was not looked at yet, or what the client says now.
    fn pass_what_came(
        &mut self,
        context: &mut Context<'_>,
        server: &mut LinkedServer,
    ) -> Result<bool, Parting> {
        if self.unseen {
            self.unseen = false;
            let inbox = std::mem::take(&mut self.inbox);
            SCRATCH.with_borrow_mut(|scratch| {
                self.pass_requests(context, server, &inbox, &mut scratch.assembled)
            })?;
            return Ok(true);
        }
        SCRATCH.with_borrow_mut(
            |scratch| match self.client.poll_read(context, &mut scratch.read) {
                Poll::Pending => Ok(false),
                Poll::Ready(Err(_) | Ok(0)) => Err(Parting::ClientGone),
                Poll::Ready(Ok(count)) => {
                    self.note_idle_time(server);
                    let bytes = &scratch.read[..count];
                    if self.inbox.is_empty() {
                        self.pass_requests(context, server, bytes, &mut scratch.assembled)?;
                    } else {
                        let mut inbox = std::mem::take(&mut self.inbox);
                        inbox.extend_from_slice(bytes);
                        self.pass_requests(context, server, &inbox, &mut scratch.assembled)?;
                    }
                    Ok(true)
                }
            },
        )
    }

    /// A server that closes may have said why: what it said is read before giving up.
    fn server_does_not_take(
        &mut self,
        server: &mut LinkedServer,
        error: io::Error,
    ) -> Result<bool, Parting> {
        if server.unsent.is_empty() {
            return Err(Parting::ServerGone(Some(error)));
        }
        // Dropped, so that reading goes on to its last words and the end of its stream.
        server.unsent = Vec::new();
        Ok(false)
    }

    /// The transaction is over: the connection goes back.
    fn part(&mut self, server: LinkedServer) -> Step {
        self.face.activity.replace(Activity::Idle);
        self.face.stall.set((Stall::None, Time::ZERO));
        self.unseen = !self.inbox.is_empty();
        server.give_back();
        Step::Again
    }

    /// The session's settings were refused: its transaction is answered with that.
    fn never_began(&mut self, mut server: LinkedServer) -> Step {
        let error = server.own_error.take().unwrap_or_default();
        server.give_back();
        self.answer_first(&error)
    }

    /// Parts in disorder. The connection is dropped, and so closed.
    pub(super) fn end_linked(&mut self, mut server: LinkedServer, parting: Parting) -> Step {
        let running = !server.replies.is_settled();
        // The client has a part of a message: whatever came next it would take for the rest,
        // a row filled up with the text of an error. It is left without a word.
        let mid_message = server.passing > 0;
        match parting {
            Parting::ClientGone | Parting::ClientLeft => {
                if server.is_clean()
                    && self.pins.is_empty()
                    && self.passing == 0
                    && self.work.is_between_transactions(&server)
                {
                    server.give_back();
                } else {
                    Self::abandon(server, running);
                }
                Step::End
            }
            Parting::Violation(text) => {
                Self::abandon(server, running);
                if mid_message {
                    self.state = State::Closing;
                    return Step::Again;
                }
                self.protocol_violation(&text)
            }
            Parting::ServerGone(error) => {
                let told = server.dying;
                self.hub.metrics.servers_lost.increment();
                server.end = ServerEnd::Lost;
                drop(server);
                if told || mid_message {
                    // Its FATAL has been passed on; the session ends as it would directly.
                    self.state = State::Closing;
                    return Step::Again;
                }
                let cause = error.map_or_else(String::new, |error| format!(": {error}"));
                let text = format!("the server closed the connection unexpectedly{cause}");
                self.fatal("08006", &text)
            }
            Parting::OutOfSync(text) => {
                self.hub.metrics.out_of_sync.increment();
                server.end = ServerEnd::OutOfSync;
                self.hub.events.push(EventKind::OutOfSync {
                    server: server.face.id.0,
                });
                tracing::error!(server = server.face.id.0, %text, "server connection out of sync: closed");
                drop(server);
                self.fatal("08P01", "the server connection fell out of step")
            }
        }
    }

    /// Closes a connection that is in the middle of something. A statement that runs
    /// is cancelled: PostgreSQL would notice the closed socket only when it writes.
    pub(super) fn abandon(server: LinkedServer, running: bool) {
        if running {
            server.see_off();
        } else {
            drop(server);
        }
    }
}
