//! Our names for prepared statements, where a client would see them or SQL text uses
//! the client's: error messages, and `DEALLOCATE name`.

use std::rc::Rc;

use pglanes_wire::message::TransactionStatus;
use pglanes_wire::prepared::{find_name, write_name};
use pglanes_wire::replies::Expect;
use pglanes_wire::sql::{self, Effects, Inspection};

use super::Session;
use super::relay::Parting;
use super::statements::{write_frame, write_parse};
use crate::server::{NO_UNNAMED, Server};
use crate::splice::Splice;

impl Session {
    /// `DEALLOCATE name` of a statement that the client prepared by protocol: sent with
    /// our name. `expect` says whether it came as a Query or as a Parse. False: it is
    /// something else, or not a name of the client's.
    pub(super) fn deallocate(
        &mut self,
        server: &mut Server,
        inspection: Inspection,
        text: &[u8],
        expect: Expect,
        splice: &mut Splice<'_>,
    ) -> Result<bool, Parting> {
        if !inspection.effects.contains(Effects::SQL_DEALLOCATE)
            || server.replies.is_skipping()
            || server.replies.status() == TransactionStatus::Failed
        {
            return Ok(false);
        }
        let Some(name) = sql::deallocated(text) else {
            return Ok(false);
        };
        let known = self.statements.as_ref();
        let Some(statement) = known.and_then(|names| names.get(name.as_bytes()).map(Rc::clone))
        else {
            return Ok(false);
        };
        if !server.statements.touch(statement.id) {
            // Anything will do, as long as it cannot fail: PostgreSQL would ignore a Query behind an error, and never answer.
            self.make_room(server, &statement, splice)?;
            let prepared = server.statements.prepared(statement.id);
            self.count(server, Expect::ParseOwn(prepared))?;
            write_parse(splice.insert(), prepared, b"\0\0\0");
        }
        self.count(server, expect)?;
        let mut buffer = [0; 48];
        let ours = write_name(server.statements.prepared(statement.id), &mut buffer);
        let out = splice.insert();
        match expect {
            Expect::Query => {
                write_frame(out, b'Q', &[b"DEALLOCATE ", ours, b"\0"]);
                server.unnamed_of = NO_UNNAMED;
            }
            _ => {
                write_frame(out, b'P', &[b"\0DEALLOCATE ", ours, b"\0\0\0"]);
                server.unnamed_of = self.face.key.pid();
            }
        }
        // What it was before is not what is bound next.
        self.unnamed = None;
        server.statements.remove(statement.id);
        if let Some(names) = &mut self.statements {
            names.forget(name.as_bytes());
        }
        Ok(true)
    }

    /// An error message that names a statement as we named it, with the client's name
    /// instead: the whole frame. `None` when it names none of ours.
    pub(super) fn with_clients_name(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let (range, statement) = find_name(frame)?;
        let known = self.statements.as_ref();
        let name = known
            .and_then(|names| names.name_of(statement))
            .unwrap_or(b"");
        let mut renamed = Vec::with_capacity(frame.len() + name.len());
        renamed.extend_from_slice(&frame[..range.start]);
        renamed.extend_from_slice(name);
        renamed.extend_from_slice(&frame[range.end..]);
        // Shorter than the frame it came from plus a name: far below 2^31.
        let length = (renamed.len() - 1) as u32;
        renamed[1..5].copy_from_slice(&length.to_be_bytes());
        Some(renamed)
    }
}
