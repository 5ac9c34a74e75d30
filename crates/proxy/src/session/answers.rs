//! What the server says, while the session has it: held against what is owed, noted
//! where it changes what we know, and passed on as it came.

use std::rc::Rc;
use std::task::Context;

use bytes::BytesMut;
use pglanes_wire::error_fields::ErrorFields;
use pglanes_wire::frame::{self, Frame, HEADER};
use pglanes_wire::message;
use pglanes_wire::parameters::parse_parameter_status;
use pglanes_wire::replies::Reply;

use super::Session;
use super::left::what_is_left;
use super::relay::{Parting, Progress};
use crate::hub::{OWN_APPLICATION_NAME, count};
use crate::server::{OwnQuery, Server};
use crate::settings::{Captured, captured_row};
use crate::splice::Splice;
use crate::stream::send_or_hold;

/// The longest message that is gathered to be looked at; a longer one is passed on as
/// it comes. Rows and COPY data are never gathered.
const LARGEST_GATHERED: usize = 1 << 20;

/// The parameter by which a session is classified.
pub(super) const APPLICATION_NAME: &str = "application_name";

impl Session {
    /// Passes on the frames in `bytes`; what is incomplete is carried over.
    pub(super) fn pass_answers(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Server,
        bytes: &[u8],
        assembled: &mut Vec<u8>,
    ) -> Result<Progress, Parting> {
        let mut splice = Splice::new(bytes, assembled);
        let mut at = 0;
        let mut progress = Progress::Going;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if server.passing > 0 {
                let passed = server.passing.min(rest.len());
                splice.keep(at, at + passed);
                server.passing -= passed;
                at += passed;
                continue;
            }
            let header = match frame::peek(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => return Err(Parting::OutOfSync(error.to_string())),
            };
            let have = header.total.min(rest.len());
            if have < header.total && self.must_gather(server, header) {
                break;
            }
            let status = rest.get(HEADER).copied().unwrap_or(0);
            let reply = server
                .replies
                .received(header.tag, status)
                .map_err(|error| Parting::OutOfSync(error.to_string()))?;
            match reply {
                Reply::Forward if matches!(header.tag, b'D' | b'd') => {
                    server.returned.rows += 1;
                    splice.keep(at, at + have);
                }
                Reply::Forward => self.note(server, header, &rest[..have], at, &mut splice),
                Reply::NamedParsed => {
                    self.name_confirmed();
                    splice.keep(at, at + have);
                }
                Reply::Swallow => Self::note_own(server, header, &rest[..have]),
                Reply::Ready { settled } => {
                    splice.keep(at, at + have);
                    progress = self.ready(server, settled);
                }
                Reply::OwnReady { settled } => progress = self.own_ready(server, settled)?,
            }
            if server.replies.has_in_place() {
                self.answers_in_place(server, |answer| splice.insert().extend_from_slice(answer));
            }
            server.passing = header.total - have;
            at += have;
        }
        server.carry = bytes[at..].to_vec();
        let out = splice.finish();
        self.count_passed(server, out.len());
        if self.notes.is_some() {
            self.hand_in_notes();
        }
        if !out.is_empty() {
            send_or_hold(&mut self.client, context, out, &mut self.outbox)
                .map_err(|_| Parting::ClientGone)?;
        }
        Ok(progress)
    }

    fn count_passed(&self, server: &mut Server, bytes: usize) {
        self.hub
            .metrics
            .lane(server.lane)
            .bytes_out
            .add(bytes as u64);
        count(&server.face.counts.bytes_sent, bytes as u64);
        count(&self.face.deeds.bytes_out, bytes as u64);
        if server.returned.counts {
            self.measure(server, bytes);
        }
    }

    fn must_gather(&self, server: &Server, header: Frame) -> bool {
        if server.replies.head_is_own() {
            return true;
        }
        !matches!(header.tag, b'D' | b'd') && header.total <= LARGEST_GATHERED
    }

    /// Notes what a message of the server tells, and passes it on.
    fn note(
        &mut self,
        server: &mut Server,
        header: Frame,
        frame: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) {
        let body = &frame[HEADER..];
        match header.tag {
            b'S' => {
                if let Some(instead) = self.note_parameter(server, body) {
                    splice.insert().extend_from_slice(&instead);
                    return;
                }
            }
            b'E' => {
                if let Some(instead) = self.note_error(server, frame) {
                    splice.insert().extend_from_slice(&instead);
                    return;
                }
            }
            b'C' => {
                self.note_complete(body);
                // PostgreSQL says ROLLBACK to the COMMIT of an aborted transaction, which drivers take for an answer. Who
                // does not know that it was aborted must not take it for a commit.
                if self.work.commits() && body == b"ROLLBACK\0" && server.face.is_to_abort() {
                    let because = server.face.cancelled_because.take();
                    let error = because.as_ref().map(Self::cancelled_by_us);
                    splice
                        .insert()
                        .extend_from_slice(&error.unwrap_or_default());
                    return;
                }
            }
            b'A' if self.hears_elsewhere(frame) => return,
            b'A' => {
                if let Some(own) = self.own_notification(server, frame) {
                    splice.insert().extend_from_slice(&own);
                    return;
                }
            }
            _ => {}
        }
        splice.keep(at, at + frame.len());
    }

    /// A parameter changed. Returns what the client is told instead, if it is not told so.
    /// What a query of ours changed it is told when that is over, if it then differs from
    /// what it knows.
    fn note_parameter(&mut self, server: &mut Server, body: &[u8]) -> Option<BytesMut> {
        let (name, value) = parse_parameter_status(body)?;
        let clients = match name == APPLICATION_NAME {
            true => self.without_lane(server, value),
            false => None,
        };
        let value = clients.as_deref().unwrap_or(value);
        let mut parameters = (*server.parameters).clone();
        parameters.set(name, value);
        server.parameters = self.hub.parameter_sets.borrow_mut().intern(parameters);
        if server.replies.head_is_own() {
            return Some(BytesMut::new());
        }
        self.work.reported();
        if name != APPLICATION_NAME {
            self.tell(name, value);
            return None;
        }
        self.reclassify_next();
        // A reset brings back the name the connection was opened with. The client's own
        // default is that of its startup packet, and is set at its next transaction.
        let default = self.identity.initial.get(APPLICATION_NAME);
        let reset = default.filter(|_| value == OWN_APPLICATION_NAME);
        let value = reset.unwrap_or(value).to_owned();
        let mut instead = BytesMut::new();
        // The rollback of a reset reports what the client was never told to be otherwise.
        if self.told.get(APPLICATION_NAME) != Some(&value) {
            message::parameter_status(&mut instead, APPLICATION_NAME, &value);
            self.tell(APPLICATION_NAME, &value);
        }
        Some(instead)
    }

    /// The client's name behind one that the server reports, where we have put the lane there.
    pub(super) fn without_lane(&self, server: &Server, reported: &str) -> Option<String> {
        let live = self.hub.live();
        let naming = live.naming(server.lane);
        if naming.is_kept() {
            return None;
        }
        let being_set = match server.own.front() {
            Some(OwnQuery::Adjusting { target } | OwnQuery::AdjustingFirst { target, .. }) => {
                target.get(APPLICATION_NAME)
            }
            _ => None,
        };
        // What is being set; what the transaction began with, and a rollback comes back to; what was set since.
        let names = [
            being_set,
            self.settings.get(APPLICATION_NAME),
            self.told.get(APPLICATION_NAME),
        ];
        let mut names = names.into_iter().flatten();
        let own = names.find(|name| naming.shown(name) == reported);
        own.map(str::to_owned)
    }

    /// The client knows this of a parameter from now on.
    fn tell(&mut self, name: &str, value: &str) {
        let mut told = (*self.told).clone();
        told.set(name, value);
        self.told = self.hub.parameter_sets.borrow_mut().intern(told);
        self.face.told.replace(Rc::clone(&self.told));
    }

    /// An error for the client. Returns what it is told instead, where the proxy itself
    /// is the cause.
    fn note_error(&mut self, server: &mut Server, frame: &[u8]) -> Option<Vec<u8>> {
        let fields = ErrorFields::parse(&frame[HEADER..]);
        server.dying |= fields.is_fatal();
        if self.work.forgets_prepared()
            && let Some(names) = &mut self.statements
        {
            names.forget_all_failed();
        }
        self.work.failed();
        server.meter.spoil();
        self.channels_failed();
        self.undo_prepared(server);
        self.hub.metrics.lane(server.lane).errors.add(1);
        match fields.sqlstate() {
            // "cached plan must not change result type": what is prepared from now on is
            // prepared anew. The name that was bound goes on failing so, as by the server: its client
            // was told of other rows. Never retried: the transaction may have done things.
            Some("0A000")
                if fields
                    .message()
                    .is_some_and(|text| text.contains("cached plan")) =>
            {
                self.hub.doubt_plans();
                None
            }
            Some("57014") => {
                let because = server.face.cancelled_because.take()?;
                Some(Self::cancelled_by_us(&because))
            }
            // The first statement in a transaction that a rule aborted while it was idle: the client hears why.
            Some("25P02") if server.face.is_to_abort() => {
                let because = server.face.cancelled_because.take()?;
                Some(Self::cancelled_by_us(&because))
            }
            // Invalid or duplicate statement name, or the wrong number of parameters: by the
            // name the client gave.
            Some("26000" | "42P05" | "08P01") => self.with_clients_name(frame),
            _ => None,
        }
    }

    /// A notification that this very session sent: it knows itself by the process id it
    /// was given, not by the backend's.
    fn own_notification(&self, server: &Server, frame: &[u8]) -> Option<Vec<u8>> {
        let sender = frame.get(HEADER..HEADER + 4)?;
        if sender != server.face.key.pid().to_be_bytes() {
            return None;
        }
        let mut own = frame.to_vec();
        own[HEADER..HEADER + 4].copy_from_slice(&self.face.key.pid().to_be_bytes());
        Some(own)
    }

    fn note_complete(&mut self, body: &[u8]) {
        if body == b"DISCARD ALL\0" {
            self.work.discarded_all();
            self.channels_discarded();
        }
        if self.work.forgets_prepared()
            && (body.starts_with(b"DISCARD ALL\0") || body.starts_with(b"DEALLOCATE ALL\0"))
            && let Some(names) = &mut self.statements
        {
            names.forget_all_done();
        }
    }

    /// Answers to a query of ours.
    fn note_own(server: &mut Server, header: Frame, frame: &[u8]) {
        let is_utf8 = |name| server.parameters.get(name) == Some("UTF8");
        let utf8 = is_utf8("client_encoding") && is_utf8("server_encoding");
        let Server { own, own_error, .. } = server;
        match (header.tag, own.front_mut()) {
            (
                b'D',
                Some(OwnQuery::Capturing {
                    rows, unreadable, ..
                }),
            ) => match captured_row(&frame[HEADER..], utf8) {
                Captured::Value(name, value) => rows.push((name, value)),
                Captured::Nothing => {}
                Captured::Unreadable => *unreadable = true,
            },
            (b'D', Some(OwnQuery::Looking { doubted, left })) => {
                *left = what_is_left(*doubted, &frame[HEADER..]);
            }
            (b'E', _) => {
                server.dying |= ErrorFields::parse(&frame[HEADER..]).is_fatal();
                *own_error = Some(frame.to_vec());
            }
            _ => {}
        }
    }
}
