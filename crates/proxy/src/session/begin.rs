//! Between transactions: the first message of one decides its lane, and is the moment
//! at which a slot is asked for.

use std::task::{Context, Poll};

use bytes::BytesMut;
use pglanes_lanes::LaneId;
use pglanes_wire::frame::{self, Frame, HEADER};
use pglanes_wire::message;

use super::{PassTo, SCRATCH, Session, State, Step};
use crate::hub::{Activity, Asked, AskedOfSession};
use crate::stream::poll_flush;

/// The least of a long message that is looked at before a slot is asked for it.
const LOOKED_AT: usize = 16 * 1024;

/// What the first bytes of a transaction call for.
enum First {
    /// No whole message yet, or nothing that needs the server.
    More,
    /// A slot of this lane.
    Slot(LaneId),
    /// Terminate.
    Leave,
    /// Not the protocol.
    Violation(String),
}

impl Session {
    pub(super) fn step_idle(&mut self, context: &mut Context<'_>) -> Step {
        if self.is_told_to_end() {
            return self.say_goodbye();
        }
        if let Some(step) = self.missed_mail() {
            return step;
        }
        self.take_mail();
        if let Some(orders) = self.face.orders.take() {
            // What was to be aborted is over.
            self.follow(*orders);
        }
        match poll_flush(&mut self.client, context, &mut self.outbox) {
            // A client that does not read is not read from.
            Poll::Pending => return Step::Pending,
            Poll::Ready(Err(_)) => return Step::End,
            Poll::Ready(Ok(())) => {}
        }
        if self.unseen {
            self.unseen = false;
            let inbox = std::mem::take(&mut self.inbox);
            return self.begin(context, &inbox);
        }
        SCRATCH.with_borrow_mut(
            |scratch| match self.client.poll_read(context, &mut scratch.read) {
                Poll::Pending => Step::Pending,
                Poll::Ready(Err(_) | Ok(0)) => Step::End,
                Poll::Ready(Ok(count)) if self.inbox.is_empty() => {
                    self.begin_with(context, &scratch.read[..count], &mut scratch.assembled)
                }
                Poll::Ready(Ok(count)) => {
                    self.inbox.extend_from_slice(&scratch.read[..count]);
                    let inbox = std::mem::take(&mut self.inbox);
                    self.begin_with(context, &inbox, &mut scratch.assembled)
                }
            },
        )
    }

    fn begin(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Step {
        SCRATCH.with_borrow_mut(|scratch| self.begin_with(context, bytes, &mut scratch.assembled))
    }

    fn begin_with(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        assembled: &mut Vec<u8>,
    ) -> Step {
        let (first, used) = self.look(bytes);
        let bytes = &bytes[used..];
        match first {
            First::More => {
                self.inbox = bytes.to_vec();
                Step::Again
            }
            First::Leave => Step::End,
            First::Violation(text) => self.protocol_violation(&text),
            First::Slot(lane) => {
                let lane = self.moved.unwrap_or(lane);
                let relayed = self.relayed.as_ref();
                let lane = relayed.map_or(lane, |relayed| relayed.lane_for(lane));
                let turn = self.hub.turn_of(&mut self.turns, lane);
                self.face.asked_at.set(self.hub.clock.now());
                let (user, application) = (&self.identity.user, self.application_name());
                let client = self.hub.client_key(lane, user, application);
                match self.hub.ask(lane, self.identity.pool, client, turn) {
                    Asked::Granted(server) => self.link(context, server, bytes, assembled),
                    Asked::Waiting(ticket) => {
                        self.inbox = bytes.to_vec();
                        self.face.activity.replace(Activity::Waiting);
                        self.state = State::Waiting(ticket);
                        Step::Again
                    }
                    Asked::Refused(refusal) => {
                        self.inbox = bytes.to_vec();
                        self.refuse(lane, &refusal)
                    }
                }
            }
        }
    }

    /// Looks at the messages in `bytes` up to the first that needs a slot, answering
    /// or dropping those that do not. Returns the bytes used up.
    fn look(&mut self, bytes: &[u8]) -> (First, usize) {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            if self.passing > 0 {
                let dropped = self.passing.min(rest.len());
                self.passing -= dropped;
                at += dropped;
                if self.passing > 0 {
                    return (First::More, at);
                }
                continue;
            }
            let header = match frame::peek(rest) {
                Ok(Some(header)) => header,
                Ok(None) => return (First::More, at),
                Err(error) => return (First::Violation(error.to_string()), at),
            };
            match header.tag {
                b'X' => return (First::Leave, at),
                b'S' => {
                    if rest.len() < header.total {
                        return (First::More, at);
                    }
                    self.skipping = false;
                    self.say_ready();
                    at += header.total;
                }
                _ if self.skipping => self.drop_frame(header),
                // A COPY that failed ended without waiting for these; a Flush has
                // nothing to flush.
                b'd' | b'c' | b'f' | b'H' => self.drop_frame(header),
                b'Q' | b'P' | b'B' | b'D' | b'C' | b'E' | b'F' => {
                    let limit = self.hub.live().config.limits.message_before_slot as usize;
                    let whole = rest.len() >= header.total;
                    // A long message streams; it is not gathered beyond the limit.
                    if !whole && (header.total <= limit || rest.len() < LOOKED_AT) {
                        return (First::More, at);
                    }
                    if whole
                        && (self.answer_choice(header, rest) || self.answer_block(header, rest))
                    {
                        at += header.total;
                        continue;
                    }
                    let answered = self.answer_parses(header, rest);
                    if answered > 0 {
                        at += answered;
                        continue;
                    }
                    let body = &rest[HEADER..header.total.min(rest.len())];
                    return (First::Slot(self.transaction_lane(header, body)), at);
                }
                other => {
                    let text = format!("invalid frontend message type {other}");
                    return (First::Violation(text), at);
                }
            }
        }
    }

    /// The frame is dropped as it comes.
    fn drop_frame(&mut self, header: Frame) {
        self.passing = header.total;
        self.passing_to = PassTo::Nowhere;
    }

    fn say_ready(&mut self) {
        let mut out = BytesMut::new();
        message::ready_for_query(&mut out, self.block.status());
        self.outbox.extend_from_slice(&out);
    }

    pub(super) fn step_waiting(
        &mut self,
        context: &mut Context<'_>,
        mut ticket: crate::hub::WaitingTicket,
    ) -> Step {
        if self.face.asked.get() == AskedOfSession::CancelWait {
            self.face.asked.set(AskedOfSession::Nothing);
            drop(ticket);
            return self.refuse_cancelled();
        }
        if self.is_told_to_end() {
            drop(ticket);
            return self.say_goodbye();
        }
        if let Some(orders) = ticket.take_orders() {
            self.follow(*orders);
        }
        if let Poll::Ready(outcome) = ticket.poll(context) {
            drop(ticket);
            let lane = self.turns.lane();
            return match self.hub.settle(outcome) {
                Asked::Granted(server) => {
                    let inbox = std::mem::take(&mut self.inbox);
                    SCRATCH.with_borrow_mut(|scratch| {
                        self.link(context, server, &inbox, &mut scratch.assembled)
                    })
                }
                Asked::Refused(refusal) => self.refuse(lane, &refusal),
                // A settled wait does not wait.
                Asked::Waiting(_) => Step::Again,
            };
        }
        self.watch_while_waiting(context, ticket)
    }

    /// Notices a client that leaves its place in the queue, and reads on no further
    /// than its limit.
    fn watch_while_waiting(
        &mut self,
        context: &mut Context<'_>,
        ticket: crate::hub::WaitingTicket,
    ) -> Step {
        if let Poll::Ready(Err(_)) = poll_flush(&mut self.client, context, &mut self.outbox) {
            drop(ticket);
            return Step::End;
        }
        let limit = self.hub.live().config.limits.message_before_slot as usize;
        while self.inbox.len() <= limit {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let polled = self.client.poll_read(context, &mut scratch.read);
                if let Poll::Ready(Ok(count)) = polled {
                    self.inbox.extend_from_slice(&scratch.read[..count]);
                }
                polled
            });
            match read {
                Poll::Pending => break,
                Poll::Ready(Err(_) | Ok(0)) => {
                    drop(ticket);
                    return Step::End;
                }
                Poll::Ready(Ok(_)) => {}
            }
        }
        self.state = State::Waiting(ticket);
        Step::Pending
    }
}
