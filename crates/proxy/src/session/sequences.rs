//! `currval` and `lastval` tell what nextval gave earlier in the same server session.
//! On another connection they would fail, or tell a value of somebody else's.

use bytes::BytesMut;
use pglanes_wire::message;
use pglanes_wire::replies::Expect;
use pglanes_wire::sql::Effects;

use super::Session;
use super::pins::Reason;
use super::relay::Parting;
use crate::server::{OwnQuery, Server};
use crate::splice::Splice;

impl Session {
    /// Ahead of a statement that asks for a sequence's last value: unless the connection
    /// has been this session's since it last worked, or the session has already run
    /// something there (which may have been nextval), what others left is discarded, so
    /// that PostgreSQL says that there is no value rather than a wrong one. From then on
    /// the session keeps its connection.
    pub(super) fn guard_sequences(
        &mut self,
        server: &mut Server,
        effects: Effects,
        splice: &mut Splice<'_>,
    ) -> Result<(), Parting> {
        if !effects.contains(Effects::SEQUENCE_CURRVAL) {
            return Ok(());
        }
        self.pin_for_statement(Reason::Sequence);
        if server.sequences_are_ours || server.replies.is_skipping() {
            return Ok(());
        }
        server.sequences_are_ours = true;
        self.count(server, Expect::Own)?;
        server.own_asked(OwnQuery::Discarding);
        let mut out = BytesMut::new();
        message::query(&mut out, b"DISCARD SEQUENCES");
        splice.insert().extend_from_slice(&out);
        Ok(())
    }
}
