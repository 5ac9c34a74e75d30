//! Replication (`replication=true` or `database` in the startup packet): the client gets a
//! server connection of its own, opened with its own startup parameters. It takes a slot of its
//! lane, as a pinned session does, and waits for one as a transaction does.

use std::rc::Rc;

use pglanes_wire::startup::Startup;

use super::login::Known;
use super::{Arrival, Turned};
use crate::hub::{Activity, Asked, LinkedServer, SessionFace};
use crate::replication::Replication;
use crate::session::Identity;
use crate::settings::Settings;

/// A client that has its server connection and was welcomed.
pub(super) struct Link {
    face: Rc<SessionFace>,
    server: LinkedServer,
}

impl Link {
    pub(super) fn start(self, arrival: Arrival) -> Replication {
        let Arrival {
            hub, stream, inbox, ..
        } = arrival;
        Replication::new(hub, stream, self.face, self.server, inbox)
    }
}

impl Arrival {
    pub(super) async fn replicate(
        &mut self,
        startup: Startup,
        mut known: Known,
    ) -> Result<Link, Turned> {
        let lane = known.class.lane;
        // Counted until the connection that the login made is this client's.
        let (pool, _relayed) = match known.relayed.take() {
            Some(relayed) => {
                let (pool, _, session) = self.join(*relayed).await?;
                (pool, session)
            }
            None => (self.pool(known.key_of_replication(&startup))?, None),
        };
        let name = startup.parameter("application_name").unwrap_or("");
        let client = self.hub.client_key(lane, &known.user, name);
        let mut asked = self.hub.ask(lane, pool, client, self.hub.first_turn(lane));
        let server = loop {
            asked = match asked {
                Asked::Granted(server) => break server,
                Asked::Refused(refusal) => return Err(self.turned(&refusal)),
                Asked::Waiting(ticket) => self.wait(ticket).await,
            };
        };
        let identity = {
            let initial = self.hub.settings.borrow_mut().intern(Settings::default());
            let identity = Identity {
                user: known.user,
                database: known.database,
                pool,
                initial,
            };
            self.hub.identities.borrow_mut().intern(identity)
        };
        let told = Rc::clone(&server.parameters);
        let face = self.register(&startup, identity, known.class, told, None)?;
        // From here on a cancel finds the connection.
        let linked = Activity::Linked(Rc::clone(&server.face));
        face.activity.replace(linked);
        self.say_welcome(&face, &server.parameters).await?;
        Ok(Link { face, server })
    }
}
