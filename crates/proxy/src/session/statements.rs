//! Prepared statements: the client's names are turned into ours, and a statement that
//! the connection does not have is prepared there first, unseen by the client.

use std::rc::Rc;

use pglanes_wire::frame::{self, Frame, HEADER, split_cstr};
use pglanes_wire::message::TransactionStatus;
use pglanes_wire::prepared::{Statement, write_name};
use pglanes_wire::replies::{Expect, InPlace, Prepared, Undone};
use pglanes_wire::sql::{Effects, StatementKind};

use super::relay::Parting;
use super::requests::{Said, Taken, need_more};
use super::unnamed::Unnamed;
use super::{PassTo, Session};
use crate::hub::count;
use crate::kinds;
use crate::server::{NO_UNNAMED, Server, UNKNOWN_UNNAMED};
use crate::splice::Splice;

impl Session {
    pub(super) fn take_parse(
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
        let Some(whole) = rest.get(..header.total) else {
            return self.pass_large_parse(server, header, rest, at, splice);
        };
        count(&server.face.counts.client_parses, 1);
        let Some((name, content)) = split_cstr(&whole[HEADER..]) else {
            return Err(Parting::Violation("Parse: its name does not end".into()));
        };
        if name.is_empty() {
            return self.parse_unnamed(server, header, rest, at, splice);
        }
        self.parse_named(server, name, content, splice)
    }

    /// Too long to be looked at whole: passed on, and the session stays where it is.
    fn pass_large_parse(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        let is_unnamed = rest.get(HEADER) == Some(&0);
        let expect = match is_unnamed {
            true => Expect::ParseUnnamed,
            false => Expect::ParsePlain,
        };
        if self.count(server, expect)? {
            if is_unnamed {
                self.unnamed = Some(Box::new(Unnamed::Large));
                server.unnamed_of = self.face.key.pid();
            }
            self.pin_for_statement(super::pins::Reason::LargeStatement);
        }
        self.keep(PassTo::Server, header, rest, at, splice)
    }

    fn parse_named(
        &mut self,
        server: &mut Server,
        name: &[u8],
        content: &[u8],
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        let names = self.statements.get_or_insert_default();
        if let Some(existing) = names.get(name).map(Rc::clone) {
            // PostgreSQL refuses a name that is taken. Parsing what exists there under our
            // name a second time makes it refuse in the same way.
            self.ensure_prepared(server, &existing, splice)?;
            if self.count(server, Expect::ParsePlain)? {
                let prepared = server.statements.prepared(existing.id);
                write_parse(splice.insert(), prepared, content);
            }
            return Ok(Taken::Done);
        }
        let statement = self.intern(content);
        self.guard_sequences(server, statement.inspection.effects, splice)?;
        if server.replies.is_skipping() {
            return Ok(Taken::Done);
        }
        if server.statements.touch(statement.id) {
            if !server.replies.status_is_known() {
                return Ok(Taken::NotYet);
            }
            let failed = server.replies.status() == TransactionStatus::Failed;
            if failed && !may_end_failure(&statement) {
                // PostgreSQL refuses it, and says so itself.
                self.count(server, Expect::ParsePlain)?;
                let prepared = server.statements.prepared(statement.id);
                write_parse(splice.insert(), prepared, content);
                return Ok(Taken::Done);
            }
            self.count(server, Expect::AnsweredParse)?;
        } else {
            self.make_room(server, &statement, splice)?;
            let prepared = server.statements.prepared(statement.id);
            self.count(server, Expect::Parse(prepared))?;
            write_parse(splice.insert(), prepared, content);
        }
        let names = self.statements.get_or_insert_default();
        names.give(name, statement);
        Ok(Taken::Done)
    }

    /// The statement under our name that the client's name (or no name) leads to.
    fn named(&self, name: &[u8]) -> Option<Rc<Statement>> {
        if name.is_empty() {
            return self.shared_unnamed();
        }
        self.statements.as_ref()?.get(name).map(Rc::clone)
    }

    /// Makes the statement exist on the connection, ahead of what needs it.
    pub(super) fn ensure_prepared(
        &mut self,
        server: &mut Server,
        statement: &Rc<Statement>,
        splice: &mut Splice<'_>,
    ) -> Result<(), Parting> {
        // Where the transaction has failed PostgreSQL refuses our Parse as it would refuse
        // what comes behind it.
        if server.statements.touch(statement.id) || server.replies.is_skipping() {
            return Ok(());
        }
        self.make_room(server, statement, splice)?;
        let prepared = server.statements.prepared(statement.id);
        self.count(server, Expect::ParseOwn(prepared))?;
        write_parse(splice.insert(), prepared, &statement.content);
        Ok(())
    }

    /// Counts the statement as existing, closing another where there are too many.
    pub(super) fn make_room(
        &mut self,
        server: &mut Server,
        statement: &Statement,
        splice: &mut Splice<'_>,
    ) -> Result<(), Parting> {
        count(&server.face.counts.server_parses, 1);
        if let Some(evicted) = server.statements.insert(statement.id) {
            self.hub.metrics.prepared_evictions.increment();
            self.count(server, Expect::CloseOwn(evicted))?;
            let mut name = [0; 48];
            let name = write_name(evicted, &mut name);
            write_frame(splice.insert(), b'C', &[b"S", name, b"\0"]);
        }
        Ok(())
    }

    pub(super) fn take_bind(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        count(&server.face.counts.binds, 1);
        let have = header.total.min(rest.len());
        let names = split_cstr(&rest[HEADER..have])
            .and_then(|(portal, rest)| split_cstr(rest).map(|(name, _)| (portal, name)));
        let Some((portal, name)) = names else {
            /// PostgreSQL cuts names at 63 bytes; longer ones are somebody's mistake.
            const LONGEST_NAMES: usize = 64 * 1024;
            if have < header.total && have < LONGEST_NAMES {
                return Ok(Taken::NeedMore);
            }
            return Err(Parting::Violation("Bind: its names do not end".into()));
        };
        self.work.binds();
        if name.is_empty() {
            if self.unnamed_must_wait(server) {
                return Ok(Taken::NotYet);
            }
            self.ensure_unnamed(server, splice)?;
            self.measure_unnamed(server);
            self.will_run_unnamed(server);
        }
        let Some(statement) = self.named(name) else {
            // PostgreSQL says that there is no such statement, in its own words.
            return self.count_and_keep(server, Expect::Bind, header, rest, at, splice);
        };
        if self.listen_must_wait(server, statement.inspection, statement.text()) {
            return Ok(Taken::NotYet);
        }
        self.guard_sequences(server, statement.inspection.effects, splice)?;
        self.ensure_prepared(server, &statement, splice)?;
        // Before what it does is followed: a prepared DEALLOCATE ALL forgets its own name.
        let mut buffer = [0; 48];
        let ours = write_name(server.statements.prepared(statement.id), &mut buffer);
        if self.count(server, Expect::Bind)? {
            if server.meter.is_on() {
                let kind = kinds::for_rules(statement.inspection.first);
                server.meter.statement(kind, statement.text());
            }
            self.will_run(server, statement.inspection, statement.text(), Said::Bind);
        }
        let behind_names = HEADER + portal.len() + 1 + name.len() + 1;
        let length = (header.total - 1 - name.len() + ours.len()) as u32;
        let out = splice.insert();
        out.push(b'B');
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(portal);
        out.push(0);
        out.extend_from_slice(ours);
        out.push(0);
        splice.keep(at + behind_names, at + have);
        self.passing = header.total - have;
        self.passing_to = PassTo::Server;
        Ok(Taken::Done)
    }

    pub(super) fn take_describe(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        if let Some(name) = statement_name(&rest[HEADER..header.total]) {
            if name.is_empty() {
                self.ensure_unnamed(server, splice)?;
            }
            if let Some(statement) = self.named(name) {
                self.ensure_prepared(server, &statement, splice)?;
                self.count(server, Expect::Describe)?;
                let mut buffer = [0; 48];
                let ours = write_name(server.statements.prepared(statement.id), &mut buffer);
                write_frame(splice.insert(), b'D', &[b"S", ours, b"\0"]);
                return Ok(Taken::Done);
            }
        }
        self.count_and_keep(server, Expect::Describe, header, rest, at, splice)
    }

    pub(super) fn take_close(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        let name = statement_name(&rest[HEADER..header.total]);
        if name.is_some_and(<[u8]>::is_empty) {
            self.unnamed = None;
        }
        let held = self.statements.as_mut().zip(name);
        if let Some((names, name)) = held.filter(|(names, name)| names.get(name).is_some()) {
            // It stays prepared for others; the client is answered in its turn.
            if !server.replies.is_skipping() {
                names.close(name);
                self.count(server, Expect::AnsweredClose)?;
            }
            return Ok(Taken::Done);
        }
        if name.is_some_and(<[u8]>::is_empty) && !server.replies.is_skipping() {
            // Whosever it was: it is made again where it is needed.
            server.unnamed_of = NO_UNNAMED;
        }
        self.count_and_keep(server, Expect::Close, header, rest, at, splice)
    }

    /// DEALLOCATE ALL and DISCARD ALL take every name along, in stream order.
    pub(super) fn forget_prepared(&mut self, server: &mut Server, effects: Effects) {
        if effects.intersects(Effects::DEALLOCATE_ALL.union(Effects::DISCARD_ALL)) {
            server.statements.forget_all();
            if let Some(names) = &mut self.statements {
                names.forget_all_sent();
            }
        }
    }

    /// Gives the answers whose turn it is in the server's place.
    pub(super) fn say_in_place(&mut self, server: &mut Server) {
        let mut out = bytes::BytesMut::new();
        self.answers_in_place(server, |bytes| out.extend_from_slice(bytes));
        self.outbox.extend_from_slice(&out);
    }

    pub(super) fn answers_in_place(&mut self, server: &mut Server, mut say: impl FnMut(&[u8])) {
        while let Some(answer) = server.replies.next_in_place() {
            match answer {
                InPlace::NamedParseComplete => {
                    self.name_confirmed();
                    say(&[b'1', 0, 0, 0, 4]);
                }
                InPlace::ParseComplete => say(&[b'1', 0, 0, 0, 4]),
                InPlace::CloseComplete => {
                    if let Some(names) = &mut self.statements {
                        names.close_confirmed();
                    }
                    say(&[b'3', 0, 0, 0, 4]);
                }
            }
        }
    }

    pub(super) fn name_confirmed(&mut self) {
        let names = self.statements.as_mut();
        if let Some(statement) = names.and_then(|names| names.confirm()) {
            statement.note_taken(self.identity.pool.0);
        }
    }

    /// An error undid what was counted on.
    pub(super) fn undo_prepared(&mut self, server: &mut Server) {
        // A Parse or a Close of the unnamed statement may have been skipped.
        server.unnamed_of = UNKNOWN_UNNAMED;
        let in_doubt = server.replies.unnamed_in_doubt();
        for _ in 0..server.replies.own_undone() {
            server.own_answered();
        }
        let Server {
            replies,
            statements,
            sequences_are_ours,
            ..
        } = server;
        for undone in replies.take_undone() {
            match undone {
                Undone::ClientParse(prepared) => {
                    if let Some(names) = &mut self.statements {
                        names.undo();
                    }
                    if let Some(prepared) = prepared {
                        statements.undo_parse(prepared);
                    }
                }
                Undone::ClientClose => {
                    if let Some(names) = &mut self.statements {
                        names.close_undone();
                    }
                }
                Undone::OwnParse(prepared) => statements.undo_parse(prepared),
                Undone::OwnClose(prepared) => statements.undo_close(prepared),
                Undone::Own => *sequences_are_ours = false,
                // One that was sent behind its Sync takes its place, if that holds.
                Undone::UnnamedParse if in_doubt => {}
                Undone::UnnamedParse => self.unnamed = None,
            }
        }
    }
}

/// Whether PostgreSQL may parse it even in a failed transaction: what ends that, wholly or
/// to a savepoint, and a text without a statement.
fn may_end_failure(statement: &Statement) -> bool {
    use StatementKind::{Commit, Empty, Prepare, Rollback, Savepoint};
    match statement.inspection.first {
        Commit | Rollback | Prepare | Empty => true,
        Savepoint => {
            let effects = statement.inspection.effects;
            effects.contains(Effects::SAVEPOINT_ROLLBACK)
        }
        _ => false,
    }
}

/// The statement named by the body of a Describe or Close; `None` for a portal.
fn statement_name(body: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = body.split_first()?;
    (*kind == b'S').then(|| split_cstr(rest).map_or(rest, |(name, _)| name))
}

pub(super) fn write_parse(out: &mut Vec<u8>, prepared: Prepared, content: &[u8]) {
    let mut name = [0; 48];
    let name = write_name(prepared, &mut name);
    write_frame(out, b'P', &[name, b"\0", content]);
}

pub(super) fn write_frame(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    // Every part came in a frame, or is a name of ours: far below 2^31.
    let length = (body + 4) as u32;
    debug_assert!((length as usize) < frame::LARGEST_FRAME);
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}
