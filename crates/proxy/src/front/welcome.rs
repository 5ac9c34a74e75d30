//! What a client is told when it has logged in: the parameters as the real server
//! reports them, a cancel key of our own, and ReadyForQuery.

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use pglanes_config::Pooling;
use pglanes_lanes::classify::Classified;
use pglanes_lanes::{ClientKey, LaneId, PoolId, Rejection};
use pglanes_wire::message::{self, Severity, TransactionStatus};
use pglanes_wire::parameters::{ParameterSet, normalise_client_encoding};
use pglanes_wire::startup::Startup;

use super::login::Known;
use super::relay::Relayed;
use super::{Arrival, Turned};
use crate::choice::LANE_SETTING;
use crate::hub::relayed::{Offered, RelayedSession};
use crate::hub::{Asked, LinkedServer, Origin, PoolKey, Refusal, SessionFace, WaitingTicket};
use crate::session::{Identity, NONE_LEFT, Session};
use crate::settings::Settings;

/// How often, and how long apart, a login looks for room for its server connection: five
/// seconds in all.
const ROOM_ATTEMPTS: u32 = 250;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// How often a login that waits for an answer looks whether another has got it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A client that has been welcomed.
pub(super) struct Welcomed {
    face: Rc<SessionFace>,
    identity: Rc<Identity>,
    class: Classified,
    told: Rc<ParameterSet>,
    relayed: Option<RelayedSession>,
    /// Its server connection, where it keeps one from the start.
    server: Option<LinkedServer>,
}

impl Welcomed {
    pub(super) fn into_session(self, arrival: Arrival) -> Session {
        let Arrival {
            hub,
            stream,
            inbox,
            peer,
            ..
        } = arrival;
        let Self {
            face,
            identity,
            class,
            told,
            relayed,
            server,
        } = self;
        Session::new(hub, stream, face, identity, class, told, inbox)
            .relayed(relayed)
            .keeping(server)
            .coming_from(peer.address.into())
    }
}

impl Arrival {
    pub(super) async fn welcome(
        &mut self,
        startup: Startup,
        mut known: Known,
    ) -> Result<Welcomed, Turned> {
        let application_name = startup
            .parameter("application_name")
            .unwrap_or("")
            .to_owned();
        let class = known.class;
        let (pool, server_told, relayed) = match known.relayed.take() {
            Some(relayed) => self.join(*relayed).await?,
            None => {
                self.review_supply(&known);
                let (pool, told) = self.pool_and_parameters(&startup, &known, class).await?;
                (pool, told, None)
            }
        };
        let mut parameters = (*server_told).clone();
        parameters.set("application_name", &application_name);
        let told = self.hub.parameter_sets.borrow_mut().intern(parameters);
        let chosen = self.chosen.take();
        let chosen = chosen.map(|lane| (LANE_SETTING.to_owned(), lane));
        let named = ("application_name".to_owned(), application_name);
        let initial = Settings::new([named].into_iter().chain(chosen));
        let identity = Identity {
            user: known.user,
            database: known.database,
            pool,
            initial: self.hub.settings.borrow_mut().intern(initial),
        };
        let identity = self.hub.identities.borrow_mut().intern(identity);
        let server = match relayed {
            None => {
                let name = told.get("application_name").unwrap_or_default();
                let client = self.hub.client_key(class.lane, &identity.user, name);
                self.kept_from_the_start(class, pool, client).await
            }
            Some(_) => None,
        };
        let backend = server.as_ref().map(|server| server.face.key.pid());
        let known_as = Rc::clone(&told);
        let face = self.register(&startup, identity.clone(), class, known_as, backend)?;
        self.say_welcome(&face, &told).await?;
        Ok(Welcomed {
            face,
            identity,
            class,
            told,
            relayed,
            server,
        })
    }

    /// Where the lane pools by session, a client gets its server connection with its login, and
    /// is told that backend's process id: `pg_backend_pid()`, NOTIFY's sender and
    /// `pg_blocking_pids()` then agree with what it knows. Where none can be had at once, it gets
    /// one with its first transaction, as everybody does, and a process id of ours.
    async fn kept_from_the_start(
        &self,
        class: Classified,
        pool: PoolId,
        client: ClientKey,
    ) -> Option<LinkedServer> {
        let options = self.hub.live().options(class.lane);
        if options.pooling != Pooling::Session {
            return None;
        }
        let mut asked = self
            .hub
            .ask(class.lane, pool, client, self.hub.first_turn(class.lane));
        loop {
            asked = match asked {
                Asked::Granted(server) => return Some(server),
                Asked::Refused(_) => return None,
                Asked::Waiting(mut ticket) => tokio::select! {
                    outcome = std::future::poll_fn(|context| ticket.poll(context)) => {
                        self.hub.settle(outcome)
                    }
                    () = tokio::time::sleep(BETWEEN_ATTEMPTS) => {
                        let (opening, _, _) = self.hub.connection_counts();
                        if opening == 0 {
                            // Nothing is on its way: the wait is for somebody to end.
                            return None;
                        }
                        Asked::Waiting(ticket)
                    }
                },
            };
        }
    }

    /// Gives the session its cancel key; with the process id of its backend, where it has one.
    pub(super) fn register(
        &self,
        startup: &Startup,
        identity: Rc<Identity>,
        class: Classified,
        told: Rc<ParameterSet>,
        backend: Option<i32>,
    ) -> Result<Rc<SessionFace>, Turned> {
        self.refuse_if_full()?;
        let origin = Origin {
            identity,
            class,
            told,
            address: self.peer.address,
            port: self.peer.port,
            encrypted: self.stream.tls().is_some(),
            replication: startup.replication.is_some(),
            now: self.hub.clock.now(),
        };
        let mut sessions = self.hub.sessions.borrow_mut();
        let secret = startup.version.cancel_secret();
        let registered = sessions.register(origin, secret, backend);
        registered.ok_or_else(|| Turned::away("58000", "no randomness for a cancel key"))
    }

    /// Says all that follows on AuthenticationOk. A client that does not take it is forgotten.
    pub(super) async fn say_welcome(
        &mut self,
        face: &SessionFace,
        told: &ParameterSet,
    ) -> Result<(), Turned> {
        let mut out = BytesMut::new();
        for (name, value) in told.iter() {
            message::parameter_status(&mut out, name, value);
        }
        message::backend_key_data(&mut out, face.key.pid(), face.key.secret());
        message::ready_for_query(&mut out, TransactionStatus::Idle);
        if let Err(error) = self.stream.write_all(&out).await {
            self.hub.sessions.borrow_mut().remove(face.key.pid());
            return Err(error.into());
        }
        Ok(())
    }

    /// The pool of this login, and what the server reports there. Startup parameters
    /// that ask for what the server reports anyway make no pool of their own.
    async fn pool_and_parameters(
        &self,
        startup: &Startup,
        known: &Known,
        class: Classified,
    ) -> Result<(PoolId, Rc<ParameterSet>), Turned> {
        let key = |startup| PoolKey {
            user: known.user.clone(),
            database: known.database.clone(),
            startup,
            replication: None,
        };
        let plain = self.pool(key(Vec::new()))?;
        let reported = self.reported(plain, class).await?;
        let asked = asked_beyond(startup, Some(&reported));
        if asked.is_empty() {
            return Ok((plain, reported));
        }
        let pool = self.pool(key(asked))?;
        Ok((pool, self.reported(pool, class).await?))
    }

    /// Makes the connection of a relayed login one of its pool's, where there is room; the
    /// client is in, whether or not there is.
    pub(super) async fn join(
        &self,
        relayed: Relayed,
    ) -> Result<(PoolId, Rc<ParameterSet>, Option<RelayedSession>), Turned> {
        let Relayed {
            connection,
            key,
            lane,
        } = relayed;
        // A replication connection serves nobody but the client that made it.
        let shared = key.replication.is_none();
        let pool = self.pool(key)?;
        let told = connection.welcome.parameters.clone();
        let told = self.hub.parameter_sets.borrow_mut().intern(told);
        let welcome = Some(Rc::clone(&told));
        self.hub.pools.borrow_mut().set_welcome(pool, welcome);
        let session = self.hub.begin_relayed(lane, pool);
        let mut connection = connection;
        for _ in 0..ROOM_ATTEMPTS {
            let (connections, sessions) = self.hub.relayed_counts(lane, pool);
            // One each is enough; more would push out what others use.
            if shared && connections >= sessions {
                connection.close();
                return Ok((pool, told, Some(session)));
            }
            connection = match self.hub.offer(lane, pool, connection) {
                Offered::Adopted => return Ok((pool, told, Some(session))),
                Offered::NoRoom(mut connection) if shared && connections > 0 => {
                    connection.close();
                    return Ok((pool, told, Some(session)));
                }
                Offered::NoRoom(connection) => connection,
            };
            // Its transactions would find no connection: it waits for room.
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        connection.close();
        let live = self.hub.live();
        let text = format!(
            "lane \"{}\": no slot became free for the server connection of this login",
            live.lane_name(lane)
        );
        Err(Turned::away("53300", text))
    }

    /// This login needed no connection of its own: where that is so because PostgreSQL
    /// trusts the user, or a password is known, the pool lives on logins no longer.
    fn review_supply(&self, known: &Known) {
        let now = self.hub.clock.now();
        let trusted = self
            .hub
            .relays
            .is_trusted(&known.user, &known.database, now);
        if trusted || !self.hub.upstream_credential(&known.user).is_empty() {
            let pools = self
                .hub
                .pools
                .borrow()
                .adopting(&known.user, &known.database);
            for pool in pools {
                self.hub.can_open(pool);
            }
        }
    }

    pub(super) fn pool(&self, key: PoolKey) -> Result<PoolId, Turned> {
        let id = self.hub.pools.borrow_mut().id(key);
        id.ok_or_else(|| {
            let text = "too many combinations of user, database and startup parameters";
            Turned::away("53300", text)
        })
    }

    /// What the server reports at login. Known from the first connection of the pool on;
    /// until then a slot is asked for, so that a login that the server would refuse is
    /// refused now, in its words.
    async fn reported(&self, pool: PoolId, class: Classified) -> Result<Rc<ParameterSet>, Turned> {
        let known = self.hub.pools.borrow().welcome(pool);
        if let Some(known) = known {
            return Ok(known);
        }
        let lane = self.lane_to_ask_in(class);
        let mut asked = self
            .hub
            .ask(lane, pool, ClientKey::default(), self.hub.first_turn(lane));
        loop {
            asked = match asked {
                Asked::Granted(server) => {
                    let reported = Rc::clone(&server.parameters);
                    server.give_back();
                    return Ok(reported);
                }
                Asked::Refused(refusal) => return Err(self.turned(&refusal)),
                Asked::Waiting(mut ticket) => tokio::select! {
                    outcome = std::future::poll_fn(|context| ticket.poll(context)) => {
                        self.hub.settle(outcome)
                    }
                    () = tokio::time::sleep(LOOK_AGAIN) => {
                        // Another login may have learned it in another lane.
                        let known = self.hub.pools.borrow().welcome(pool);
                        if let Some(known) = known {
                            return Ok(known);
                        }
                        Asked::Waiting(ticket)
                    }
                },
            };
        }
    }

    /// The session's own lane, unless a throttle leaves it nothing: a login is not the work
    /// that is held back, and would wait until its time is up.
    fn lane_to_ask_in(&self, class: Classified) -> LaneId {
        let lanes = self.hub.snapshot().lanes;
        let is_held = lanes
            .get(class.lane.index())
            .is_some_and(|lane| lane.effective == 0);
        if is_held {
            self.hub.live().classifier.default_lane()
        } else {
            class.lane
        }
    }

    pub(super) async fn wait(&self, mut ticket: WaitingTicket) -> Asked {
        let outcome = std::future::poll_fn(|context| ticket.poll(context)).await;
        self.hub.settle(outcome)
    }

    pub(super) fn turned(&self, refusal: &Refusal) -> Turned {
        match refusal {
            Refusal::OpenFailed(error) => {
                let mut out = BytesMut::new();
                error.write_error(&mut out, Severity::Fatal);
                Turned::ByServer(out)
            }
            Refusal::Rejected(Rejection::NoneLeft) => Turned::away("28000", NONE_LEFT),
            Refusal::Rejected(_) => Turned::away(
                "53300",
                "no slot became free to ask PostgreSQL about this login; its lane is full",
            ),
        }
    }
}

/// What the startup packet asks for beyond what the server reports anyway, sorted by name;
/// without a report, all of it.
pub(super) fn asked_beyond(
    startup: &Startup,
    reported: Option<&ParameterSet>,
) -> Vec<(String, String)> {
    let mut asked: Vec<(String, String)> = Vec::new();
    for (name, value) in &startup.parameters {
        let name = name.to_ascii_lowercase();
        let value = if name == "client_encoding" {
            normalise_client_encoding(value).into_owned()
        } else {
            value.clone()
        };
        let as_reported = reported
            .and_then(|reported| reported.get(&name))
            .is_some_and(|known| same_value(&name, known, &value));
        if name != "application_name" && !as_reported {
            asked.push((name, value));
        }
    }
    asked.sort();
    asked
}

/// Whether a reported value is what was asked for. DateStyle is reported with its
/// default order of day and month (`ISO, MDY`) although only `ISO` was asked for.
fn same_value(name: &str, reported: &str, asked: &str) -> bool {
    reported == asked
        || (name == "datestyle"
            && reported
                .split(',')
                .next()
                .is_some_and(|style| style.eq_ignore_ascii_case(asked)))
        || (matches!(name, "timezone" | "client_encoding") && reported.eq_ignore_ascii_case(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_reports_anyway_is_not_asked_for() {
        assert!(same_value("datestyle", "ISO, MDY", "ISO"));
        assert!(!same_value("datestyle", "ISO, MDY", "German"));
        assert!(same_value("timezone", "Etc/UTC", "etc/utc"));
        assert!(!same_value("search_path", "a", "A"));
    }
}
