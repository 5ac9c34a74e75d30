//! The client's unnamed statement. It lasts until the next unnamed Parse or simple
//! Query, and so may have to be made again on another connection. Where the lane asks
//! for it, a text that comes again is kept under a name of ours instead, so that its
//! plan is used again, whoever sends it.

use std::rc::Rc;

use pglanes_wire::frame::{Frame, HEADER, split_cstr};
use pglanes_wire::message::TransactionStatus;
use pglanes_wire::prepared::Statement;
use pglanes_wire::replies::Expect;
use pglanes_wire::sql::{self, Inspection, StatementKind};

use super::relay::Parting;
use super::requests::{Said, Taken};
use super::statements::{write_frame, write_parse};
use super::{PassTo, Session};
use crate::kinds;
use crate::server::{NO_UNNAMED, Server};
use crate::splice::Splice;

/// What the client's unnamed statement is.
pub(super) enum Unnamed {
    /// Its Parse message, whole, to be repeated elsewhere.
    Plain {
        parse: Vec<u8>,
        inspection: Inspection,
    },
    /// Kept under a name of ours.
    Shared(Rc<Statement>),
    /// Too long to be kept: it is on the connection that the session keeps since, and nowhere else.
    Large,
}

impl Session {
    pub(super) fn parse_unnamed(
        &mut self,
        server: &mut Server,
        header: Frame,
        rest: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        let whole = &rest[..header.total];
        // Name's NUL, then the text and its types.
        let content = &whole[HEADER + 1..];
        if self.shares(server)
            && let Some(statement) = self.worth_sharing(content)
        {
            return self.parse_shared(server, statement, splice);
        }
        let text = split_cstr(content).map_or(&[][..], |(text, _)| text);
        let inspection = sql::inspect(text);
        self.guard_sequences(server, inspection.effects, splice)?;
        if self.deallocate(server, inspection, text, Expect::ParseUnnamed, splice)? {
            return Ok(Taken::Done);
        }
        if self.count(server, Expect::ParseUnnamed)? {
            server.unnamed_of = self.face.key.pid();
            self.keep_unnamed(whole, inspection);
        }
        self.keep(PassTo::Server, header, rest, at, splice)
    }

    /// Keeps the Parse, in the room that the last one left.
    fn keep_unnamed(&mut self, whole: &[u8], kept: Inspection) {
        match self.unnamed.as_deref_mut() {
            Some(Unnamed::Plain { parse, inspection }) => {
                *inspection = kept;
                parse.clear();
                parse.extend_from_slice(whole);
            }
            _ => {
                self.unnamed = Some(Box::new(Unnamed::Plain {
                    parse: whole.to_vec(),
                    inspection: kept,
                }));
            }
        }
    }

    /// Whether the lane keeps repeated unnamed statements, and one can be kept now.
    fn shares(&self, server: &Server) -> bool {
        self.hub.live().options(server.lane).reuse_plans
            && server.replies.status_is_known()
            && server.replies.status() != TransactionStatus::Failed
            && !server.replies.is_skipping()
    }

    /// The statement, if it has been seen before and has a plan worth keeping.
    fn worth_sharing(&self, content: &[u8]) -> Option<Rc<Statement>> {
        let statement = self.intern(content);
        let planned = matches!(
            statement.inspection.first,
            StatementKind::Select
                | StatementKind::Insert
                | StatementKind::Update
                | StatementKind::Delete
                | StatementKind::Merge
        );
        (planned && statement.seen_before()).then_some(statement)
    }

    fn parse_shared(
        &mut self,
        server: &mut Server,
        statement: Rc<Statement>,
        splice: &mut Splice<'_>,
    ) -> Result<Taken, Parting> {
        self.guard_sequences(server, statement.inspection.effects, splice)?;
        if server.statements.touch(statement.id) {
            self.count(server, Expect::AnsweredUnnamedParse)?;
        } else {
            self.make_room(server, &statement, splice)?;
            let prepared = server.statements.prepared(statement.id);
            self.count(server, Expect::ParseShared(prepared))?;
            write_parse(splice.insert(), prepared, &statement.content);
        }
        self.unnamed = Some(Box::new(Unnamed::Shared(statement)));
        Ok(Taken::Done)
    }

    /// The statement under our name that stands for the unnamed one, if one does.
    pub(super) fn shared_unnamed(&self) -> Option<Rc<Statement>> {
        match self.unnamed.as_deref() {
            Some(Unnamed::Shared(statement)) => Some(Rc::clone(statement)),
            _ => None,
        }
    }

    /// Makes the client's unnamed statement exist on the connection, if it was made on
    /// another one. Where the client has none, another's must not be there for it.
    pub(super) fn ensure_unnamed(
        &mut self,
        server: &mut Server,
        splice: &mut Splice<'_>,
    ) -> Result<(), Parting> {
        let own = self.face.key.pid();
        if server.unnamed_of == own {
            return Ok(());
        }
        match self.unnamed.as_deref() {
            Some(Unnamed::Plain { .. }) => {}
            Some(Unnamed::Shared(_) | Unnamed::Large) => return Ok(()),
            None if server.unnamed_of == NO_UNNAMED => return Ok(()),
            None => {
                if self.count(server, Expect::CloseUnnamedOwn)? {
                    server.unnamed_of = NO_UNNAMED;
                    write_frame(splice.insert(), b'C', &[b"S\0"]);
                }
                return Ok(());
            }
        }
        if self.count(server, Expect::ParsePlainOwn)?
            && let Some(Unnamed::Plain { parse, .. }) = self.unnamed.as_deref()
        {
            server.unnamed_of = own;
            splice.insert().extend_from_slice(parse);
        }
        Ok(())
    }

    /// Tells the transaction's class, as the unnamed statement is bound.
    pub(super) fn measure_unnamed(&self, server: &mut Server) {
        if server.meter.is_on()
            && let Some(Unnamed::Plain { parse, inspection }) = self.unnamed.as_deref()
            && let Some((text, _)) = split_cstr(&parse[HEADER + 1..])
        {
            let kind = kinds::for_rules(inspection.first);
            server.meter.statement(kind, text);
        }
    }

    /// Follows what the unnamed statement does, as it is bound.
    pub(super) fn will_run_unnamed(&mut self, server: &mut Server) {
        let Some(Unnamed::Plain { parse, inspection }) = self.unnamed.as_deref() else {
            return;
        };
        if inspection.effects.is_empty() && !self.has_unlistened() {
            return;
        }
        let inspection = *inspection;
        if let Some((text, _)) = split_cstr(&parse[HEADER + 1..]) {
            let text = text.to_vec();
            self.will_run(server, inspection, &text, Said::Bind);
        }
    }
}
