//! What the client says, while it has a server connection: counted, looked at where it
//! may make session state, and passed on, as it came wherever possible.

use std::task::Context;

use pglanes_wire::frame::{self, Frame, HEADER};
use pglanes_wire::replies::Expect;
use pglanes_wire::sql::{self, Effects};

use super::lazily::in_block;
use super::pins::Reason;
use super::relay::Parting;
use super::{PassTo, Session};
use crate::hub::count;
use crate::kinds;
use crate::server::{NO_UNNAMED, Server};
use crate::splice::Splice;

/// How a statement was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// As a Query: it runs.
    Query,
    /// By Bind: it runs once it is executed.
    Bind,
}

/// What became of a frame of the client.
pub(super) enum Taken {
    /// Used up, whole or in part.
    Done,
    /// More of it has to come first.
    NeedMore,
    /// Answers have to come first.
    NotYet,
}

impl Session {
    /// Passes on the frames in `bytes`; what is incomplete stays in the inbox.
    pub(super) fn pass_requests(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Server,
        bytes: &[u8],
        assembled: &mut Vec<u8>,
    ) -> Result<(), Parting> {
        let mut splice = Splice::new(bytes, assembled);
        let mut at = 0;
        let mut parting = None;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if self.passing > 0 {
                let passed = self.passing.min(rest.len());
                if self.passing_to == PassTo::Server {
                    splice.keep(at, at + passed);
                }
                self.passing -= passed;
                at += passed;
                continue;
            }
            let header = match frame::peek(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => {
                    parting = Some(Parting::Violation(error.to_string()));
                    break;
                }
            };
            match self.take_request(server, header, rest, at, &mut splice) {
                Ok(Taken::Done) => at += header.total.min(rest.len()),
                Ok(Taken::NeedMore) => break,
                Ok(Taken::NotYet) => {
                    self.unseen = true;
                    break;
                }
                Err(end) => {
                    parting = Some(end);
                    break;
                }
            }
        }
        self.inbox = bytes[at..].to_vec();
        count(&server.face.counts.bytes_received, at as u64);
        count(&self.face.deeds.bytes_in, at as u64);
        if server.replies.has_in_place() {
            self.say_in_place(server);
        }
        self.hub.metrics.lane(server.lane).bytes_in.add(at as u64);
        if server.asked_at.is_none() && !server.replies.is_settled() {
            self.forget_why(server);
            let now = self.hub.clock.now();
            server.asked_at = Some(now);
            if server.meter.is_on() {
                server.meter.run(now);
            }
        }
        // What came before a Terminate or a broken frame still counts.
        Self::send_to_server(context, server, splice.finish())
            .or_else(|_| self.sending_failed(server))?;
        parting.map_or(Ok(()), Err)
    }

    /// The server no longer reads; what it has to say about that is still read.
    fn sending_failed(&mut self, server: &mut Server) -> Result<(), Parting> {
        server.unsent = Vec::new();
        server.dying = server.dying || !server.replies.is_settled();
        Ok(())
    }

    fn take_request(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        let whole = rest.len() >= header.total;
        let names = matches!(header.tag, b'P' | b'B' | b'D' | b'C');
        // Nor while it is open whether all of them are forgotten.
        let forgets = self.work.forgets_prepared() && !server.replies.status_is_known();
        if names && (forgets || server.replies.names_in_doubt()) {
            return Ok(Taken::NotYet);
        }
        match header.tag {
            b'Q' => self.take_query(server, header, rest, at, splice),
            b'P' => self.take_parse(server, header, rest, at, splice),
            b'B' => self.take_bind(server, header, rest, at, splice),
            b'D' if whole => self.take_describe(server, header, rest, at, splice),
            b'C' if whole => self.take_close(server, header, rest, at, splice),
            b'D' | b'C' => need_more(header),
            b'E' => {
                server.sequences_are_ours = true;
                self.work.executes();
                count(&server.face.counts.queries, 1);
                self.count_and_keep(server, Expect::Execute, header, rest, at, splice)
            }
            b'S' => self.count_and_keep(server, Expect::Sync, header, rest, at, splice),
            b'F' => self.take_call(server, header, rest, at, splice),
            b'H' | b'd' => self.keep(PassTo::Server, header, rest, at, splice),
            b'c' | b'f' => {
                server.replies.copy_ended();
                self.keep(PassTo::Server, header, rest, at, splice)
            }
            b'X' => Err(Parting::ClientLeft),
            other => Err(Parting::Violation(format!(
                "invalid frontend message type {other}"
            ))),
        }
    }

    /// Notes that `expect` is owed. `false`: the server will ignore the message.
    pub(super) fn count(&mut self, server: &mut Server, expect: Expect) -> Result<bool, Parting> {
        self.work.asked();
        self.resume_linked(server);
        server.replies.sent(expect).map_err(|error| {
            Parting::Violation(format!("message not possible during COPY: {error}"))
        })
    }

    pub(super) fn count_and_keep(
        &mut self,
        server: &mut Server,
        expect: Expect,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        self.count(server, expect)?;
        self.keep(PassTo::Server, header, rest, at, splice)
    }

    /// Passes the frame on as it comes, or drops it as it comes.
    pub(super) fn keep(
        &mut self,
        to: PassTo,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        let have = header.total.min(rest.len());
        if to == PassTo::Server {
            splice.keep(at, at + have);
        }
        self.passing = header.total - have;
        self.passing_to = to;
        Ok(Taken::Done)
    }

    fn take_query(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        if !self.may_look(header, rest) {
            return need_more(header);
        }
        let have = header.total.min(rest.len());
        let text = &rest[HEADER..have];
        let seen = sql::inspect(text);
        // Whether names are forgotten, and which, depends on what is outstanding.
        let deallocates = seen.effects.intersects(
            Effects::SQL_DEALLOCATE
                .union(Effects::DEALLOCATE_ALL)
                .union(Effects::DISCARD_ALL),
        );
        let in_doubt = server.replies.names_in_doubt() || !server.replies.status_is_known();
        if (deallocates && in_doubt) || self.listen_must_wait(server, seen, text) {
            return Ok(Taken::NotYet);
        }
        count(&server.face.counts.queries, 1);
        self.guard_sequences(server, seen.effects, splice)?;
        // The message's own NUL ends the text.
        let sql = text.strip_suffix(b"\0").unwrap_or(text);
        if self.deallocate(server, seen, sql, Expect::Query, splice)? {
            return Ok(Taken::Done);
        }
        if self.count(server, Expect::Query)? {
            // What it runs may be nextval.
            server.sequences_are_ours |= seen.first != sql::StatementKind::Begin;
            // A simple Query drops the unnamed statement (protocol, "Extended Query").
            self.unnamed = None;
            server.unnamed_of = NO_UNNAMED;
            if server.meter.is_on() {
                server.meter.statement(kinds::for_rules(seen.first), sql);
            }
            self.will_run(server, seen, sql, Said::Query);
            if have < header.total {
                // What was not seen may have made any state there is.
                self.pin_for_statement(Reason::LargeStatement);
            }
        }
        self.keep(PassTo::Server, header, rest, at, splice)
    }

    /// Whether enough of a statement's message has come to look at it: all, up to the
    /// limit on what is gathered.
    pub(super) fn may_look(&self, header: Frame, rest: &[u8]) -> bool {
        rest.len() >= header.total
            || rest.len() >= self.hub.live().config.limits.message_before_slot as usize
    }

    /// A FunctionCall names its function by number only. Those of large objects do nothing to the
    /// session; any other may be one that takes a lock or sets something.
    fn take_call(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        let Some(function) = rest.get(HEADER..HEADER + 4) else {
            if header.total < HEADER + 4 {
                return Err(Parting::Violation("FunctionCall: too short".into()));
            }
            return Ok(Taken::NeedMore);
        };
        let function = function.try_into().map_or(0, u32::from_be_bytes);
        if !LARGE_OBJECT_FUNCTIONS.contains(&function) && !server.replies.is_skipping() {
            self.pin_for_statement(Reason::FunctionCall);
        }
        self.count_and_keep(server, Expect::FunctionCall, header, rest, at, splice)
    }

    /// Follows what a statement does to the session before it is sent.
    pub(super) fn will_run(
        &mut self,
        server: &mut Server,
        seen: sql::Inspection,
        text: &[u8],
        said: Said,
    ) {
        if seen.effects.is_empty() && !self.has_unlistened() {
            return;
        }
        let in_transaction = in_block(server);
        let effects = self.share_channels(server, seen.effects, said, text);
        let effects = self.with_prepared(effects);
        self.pin_for(effects);
        self.work.will_run(effects, in_transaction, said, text);
        self.follow_settings(effects, text);
        self.follow_scope(effects, text);
        if effects.intersects(Effects::SETTINGS) && !seen.effects.intersects(Effects::SETTINGS) {
            // An EXECUTE of something that sets: what it sets does not stand here.
            self.pin_for_statement(Reason::CustomSetting);
        }
        self.forget_prepared(server, seen.effects);
        if seen
            .effects
            .intersects(Effects::DROP_DATABASE.union(Effects::CREATE_DATABASE))
            && let Some(database) = sql::database_named(text)
        {
            // Idle connections of ours would stand in its way.
            self.hub.close_idle_of(&database);
        }
    }

    /// What a text does, and with an EXECUTE what any of the statements does that the session
    /// has prepared by SQL.
    fn with_prepared(&mut self, effects: Effects) -> Effects {
        if effects.contains(Effects::SQL_PREPARE) {
            if !self.pins.contains(Reason::SqlPrepare) {
                self.sql_prepared = Effects::NONE;
            }
            self.sql_prepared |= effects;
        }
        if effects.contains(Effects::SQL_EXECUTE) {
            effects.union(self.sql_prepared)
        } else {
            effects
        }
    }
}

/// `lo_open` and its like, by which libpq works with large objects (their numbers are part of
/// PostgreSQL's catalogue and never change).
const LARGE_OBJECT_FUNCTIONS: [u32; 16] = [
    715, 764, 765, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172,
];

/// Waits for the rest of a frame, within the limit.
pub(super) fn need_more(header: Frame) -> Result<Taken, Parting> {
    /// Messages that must be whole carry names and little else.
    const LARGEST: usize = 1 << 20;
    if header.tag != b'Q' && header.tag != b'P' && header.total > LARGEST {
        let tag = char::from(header.tag);
        return Err(Parting::Violation(format!(
            "a message of type {tag:?} with {} bytes; {LARGEST} are possible",
            header.total
        )));
    }
    Ok(Taken::NeedMore)
}
