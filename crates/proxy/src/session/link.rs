//! A session and a server connection come together for a transaction.

use std::rc::Rc;
use std::task::Context;

use bytes::BytesMut;
use pglanes_config::Pooling;
use pglanes_wire::message;
use pglanes_wire::replies::{Expect, OutOfSync};

use super::pins::Reason;
use super::{Session, State, Step};
use crate::hub::{Activity, LinkedServer, count};
use crate::metrics::ServerEnd;
use crate::server::{OwnQuery, Returned, Server};
use crate::settings::Settings;
use crate::stream::send_or_hold;

impl Session {
    /// Takes the granted connection and passes on `bytes`, the client's first messages,
    /// once the connection has the session's settings.
    pub(super) fn link(
        &mut self,
        context: &mut Context<'_>,
        mut server: LinkedServer,
        bytes: &[u8],
        assembled: &mut Vec<u8>,
    ) -> Step {
        let live = self.hub.live();
        self.take_over(&mut server);
        server.returned = Returned {
            counts: live.options(server.lane).metered,
            ..Returned::default()
        };
        server.kept = false;
        let lane = server.lane;
        let granted = server.face.since.get();
        let waited = granted.since(self.face.asked_at.get());
        self.hub.metrics.lane(lane).queue_wait.record(waited);
        server.asked_at = Some(granted);
        match live.options(lane).measured {
            true => {
                server.meter.begin(waited);
                server.meter.run(granted);
            }
            false => server.meter.off(),
        }
        count(&server.face.counts.wait_us, waited.as_micros() as u64);
        self.take_notes();
        if live.options(self.class.lane).pooling == Pooling::Session {
            self.pin(Reason::SessionPooling);
        }
        let change = if Rc::ptr_eq(&self.settings, &server.applied) {
            None
        } else {
            self.settings
                .change_from(&server.applied, live.naming(lane))
        };
        let Some(change) = change else {
            self.tell_differences(&server);
            return match self.begin_for_real(&mut server) {
                Ok(()) => self.link_and_pass(context, server, bytes, assembled),
                Err(_) => self.broken_link(server),
            };
        };
        let target = Rc::clone(&self.settings);
        let asked = if change.may_fail {
            Self::adjust_first(&mut server, target, change.sql, 0)
        } else {
            let own = OwnQuery::Adjusting { target };
            Self::ask_ourselves(&mut server, own, &change.sql)
        };
        if asked.is_err() {
            return self.broken_link(server);
        }
        if change.may_fail {
            // A BEGIN follows once the settings hold.
            self.inbox = bytes.to_vec();
            self.unseen = true;
            self.state = State::Linked(server);
            return Step::Again;
        }
        if self.begin_for_real(&mut server).is_err() {
            return self.broken_link(server);
        }
        self.link_and_pass(context, server, bytes, assembled)
    }

    /// The connection is this session's, for all to see.
    fn take_over(&mut self, server: &mut Server) {
        let own = self.face.key.pid();
        server.sequences_are_ours = server.last_session == own;
        server.last_session = own;
        server.face.session.set(own);
        self.face.quiet.set(false);
        count(&server.face.counts.assignments, 1);
        self.face
            .activity
            .replace(Activity::Linked(Rc::clone(&server.face)));
    }

    /// Makes the settings; whatever follows waits until they hold.
    pub(super) fn adjust_first(
        server: &mut Server,
        target: Rc<Settings>,
        sql: String,
        asked: u32,
    ) -> Result<(), OutOfSync> {
        server.replies.sent(Expect::Own)?;
        let mut out = BytesMut::new();
        message::query(&mut out, &sql);
        server.unsent.extend_from_slice(&out);
        server.own_asked(OwnQuery::AdjustingFirst { target, sql, asked });
        Ok(())
    }

    /// Puts a query of our own behind whatever has been sent.
    pub(super) fn ask_ourselves(
        server: &mut Server,
        own: OwnQuery,
        sql: impl AsRef<[u8]>,
    ) -> Result<(), OutOfSync> {
        server.replies.sent(Expect::Own)?;
        server.own_asked(own);
        let mut out = BytesMut::new();
        message::query(&mut out, sql);
        server.unsent.extend_from_slice(&out);
        Ok(())
    }

    fn link_and_pass(
        &mut self,
        context: &mut Context<'_>,
        mut server: LinkedServer,
        bytes: &[u8],
        assembled: &mut Vec<u8>,
    ) -> Step {
        match self.pass_requests(context, &mut server, bytes, assembled) {
            Ok(()) => {
                self.state = State::Linked(server);
                Step::Again
            }
            Err(end) => self.end_linked(server, end),
        }
    }

    /// Tells the client where the connection's parameters differ from what it knows.
    pub(super) fn tell_differences(&mut self, server: &Server) {
        if Rc::ptr_eq(&self.told, &server.parameters) {
            return;
        }
        let mut out = BytesMut::new();
        for (name, value) in server.parameters.difference(&self.told) {
            message::parameter_status(&mut out, name, value);
        }
        self.outbox.extend_from_slice(&out);
        let renamed =
            server.parameters.get("application_name") != self.told.get("application_name");
        self.told = Rc::clone(&server.parameters);
        self.face.told.replace(Rc::clone(&self.told));
        if renamed {
            self.reclassify_next();
        }
    }

    fn broken_link(&mut self, mut server: LinkedServer) -> Step {
        server.end = ServerEnd::OutOfSync;
        drop(server);
        self.fatal("08006", "the server connection fell out of step")
    }

    /// Sends to the server now, and holds what its socket does not take.
    pub(super) fn send_to_server(
        context: &mut Context<'_>,
        server: &mut Server,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        let Server { stream, unsent, .. } = server;
        if bytes.is_empty() && unsent.is_empty() {
            return Ok(());
        }
        send_or_hold(stream, context, bytes, unsent)
    }
}
