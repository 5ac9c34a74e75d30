//! Opening a server connection for a lane and a pool.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use pglanes_lanes::{Input, LaneId, OpenVerdict, PoolId, ServerId, Time};
use pglanes_wire::prepared::ServerStatements;
use pglanes_wire::replies::Replies;
use pglanes_wire::startup::PROTOCOL_3_0;
use tokio::sync::Notify;

use super::{Hub, PoolKey, ServerPlace};
use crate::hub::Live;
use crate::meter::Meter;
use crate::metrics::ServerEnd;
use crate::server::{NO_UNNAMED, Returned, Server, ServerFace};
use crate::settings::Settings;
use crate::stream::Stream;
use crate::upstream::{Attempt, LoggedIn, OpenError, Route, dial, log_in};

/// Statements kept prepared on one server connection.
const PREPARED_PER_CONNECTION: usize = 500;
/// What a server connection calls itself until a session gives it a name.
pub(crate) const OWN_APPLICATION_NAME: &str = "pglanes";

/// Opens in the background and tells the scheduler how it went.
pub(super) fn start(hub: &Rc<Hub>, id: ServerId, lane: LaneId, pool: PoolId) {
    let hub = Rc::clone(hub);
    tokio::task::spawn_local(async move {
        let live = hub.live();
        let key = hub.pools.borrow().key(pool);
        let limit = live.config.upstream.connect_timeout;
        let opening = Box::pin(open(&hub, &live, &key, lane));
        let result = match tokio::time::timeout(limit, opening).await {
            Ok(result) => result,
            Err(_) => Err(OpenError::TimedOut {
                place: live.target.place(),
                limit,
            }),
        };
        match result {
            Ok((stream, welcome)) => hub.opened(id, lane, pool, stream, welcome),
            Err(error) => hub.open_failed(id, pool, error),
        }
    });
}

/// Opens a connection, in whichever of the ways that `lanes.yaml` allows works.
pub(crate) async fn open(
    hub: &Hub,
    live: &Live,
    key: &PoolKey,
    lane: LaneId,
) -> Result<(Stream, LoggedIn), OpenError> {
    let (first, second) = live.target.attempts();
    let mut route = Route::SocketFirst;
    let (mut error, mut encrypted) = match open_by(hub, live, key, lane, (route, first)).await {
        Ok(opened) => return Ok(opened),
        Err(failed) => failed,
    };
    // Debian's PostgreSQL lets a role through the socket only if it is the operating system
    // user's (peer); over TCP it asks for a password.
    if encrypted == Encrypted::Never && live.target.has_tcp() && error.is_unproven() {
        route = Route::Tcp;
        (error, encrypted) = match open_by(hub, live, key, lane, (route, first)).await {
            Ok(opened) => return Ok(opened),
            Err(failed) => failed,
        };
    }
    // The other way is another one only over TCP, and where TLS was tried, not just asked for.
    match (second, encrypted) {
        (Some(Attempt::Plain), Encrypted::Yes) | (Some(Attempt::Tls), Encrypted::No)
            if error.may_be_for_the_encryption() =>
        {
            let second = second.unwrap_or(first);
            let opened = open_by(hub, live, key, lane, (route, second)).await;
            opened.map_err(|(error, _)| error)
        }
        _ => Err(error),
    }
}

/// What an attempt that failed had to do with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encrypted {
    Yes,
    No,
    /// It went over a unix socket, which never has TLS.
    Never,
}

/// Opens in the protocol that is asked for at present; where the server refuses that, in 3.0.
/// PostgreSQL itself negotiates; other poolers may refuse.
async fn open_by(
    hub: &Hub,
    live: &Live,
    key: &PoolKey,
    lane: LaneId,
    attempt: (Route, Attempt),
) -> Result<(Stream, LoggedIn), (OpenError, Encrypted)> {
    let asked = live.target.protocol.get();
    match open_once(hub, live, key, lane, attempt).await {
        Err((error, _)) if asked > PROTOCOL_3_0 && error.refuses_protocol() => {
            live.target.protocol.set(PROTOCOL_3_0);
            open_once(hub, live, key, lane, attempt).await
        }
        opened => opened,
    }
}

async fn open_once(
    hub: &Hub,
    live: &Live,
    key: &PoolKey,
    lane: LaneId,
    attempt: (Route, Attempt),
) -> Result<(Stream, LoggedIn), (OpenError, Encrypted)> {
    let material = hub.tls();
    let dialled = dial(&live.target, &material, attempt.0, attempt.1).await;
    let mut stream = dialled.map_err(|error| (error, Encrypted::Yes))?;
    let encrypted = match &stream {
        Stream::Unix(_) => Encrypted::Never,
        Stream::Tls(_) => Encrypted::Yes,
        Stream::Tcp(_) | Stream::Closed => Encrypted::No,
    };
    let parameters = startup_parameters(key, live.envelope(lane));
    let credential = hub.upstream_credential(&key.user);
    let logged_in = log_in(
        &mut stream,
        &live.target,
        &parameters,
        &key.user,
        &credential,
        &hub.salted_passwords,
    )
    .await;
    match logged_in {
        Ok(logged_in) => Ok((stream, logged_in)),
        Err(error) => Err((error, encrypted)),
    }
}

/// The startup packet: the lane's envelope, and over it what the client asked for, so
/// that RESET ALL and DISCARD ALL come back to these (design rule 4).
pub(crate) fn startup_parameters(
    key: &PoolKey,
    envelope: &[(String, String)],
) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut parameters = vec![pair("user", &key.user), pair("database", &key.database)];
    if let Some(replication) = &key.replication {
        parameters.push(pair("replication", replication));
        parameters.extend(key.startup.iter().cloned());
        return parameters;
    }
    parameters.push(pair("application_name", OWN_APPLICATION_NAME));
    let asked = |name: &str| {
        let mut startup = key.startup.iter();
        startup.any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let of_lane = envelope.iter().filter(|(name, _)| !asked(name));
    parameters.extend(of_lane.cloned());
    parameters.extend(key.startup.iter().cloned());
    parameters
}

impl Hub {
    fn opened(
        self: &Rc<Self>,
        id: ServerId,
        lane: LaneId,
        pool: PoolId,
        stream: Stream,
        welcome: LoggedIn,
    ) {
        let server = self.new_server(id, lane, pool, stream, welcome);
        let place = ServerPlace::Idle(Box::new(server));
        self.servers.borrow_mut().insert(id, place);
        self.tell(Input::Opened { server: id });
    }

    /// A connection that has just been made, ready for its first transaction.
    pub(super) fn new_server(
        &self,
        id: ServerId,
        lane: LaneId,
        pool: PoolId,
        stream: Stream,
        welcome: LoggedIn,
    ) -> Server {
        let live = self.live();
        if let Some(version) = welcome.parameters.get("server_version") {
            self.note_server_version(version);
        }
        let now = self.clock.now();
        let parameters = self.parameter_sets.borrow_mut().intern(welcome.parameters);
        self.pools
            .borrow_mut()
            .set_welcome(pool, Some(Rc::clone(&parameters)));
        let (backend, kept) = self.prioritise(&live, lane, &welcome.key, &stream);
        self.metrics.servers_opened.increment();
        self.upstream_is_up();
        Server {
            face: Rc::new(ServerFace {
                id,
                lane,
                pool,
                opened_at: now,
                since: Cell::new(now),
                session: Cell::new(0),
                transactions: Cell::new(0),
                prepared: Cell::new(0),
                retired: Cell::new(false),
                counts: self.pools.borrow().counts(pool),
                key: welcome.key,
                backend,
                kept: RefCell::new(kept),
                cancels_under_way: Cell::new(0),
                cancels_done: Notify::new(),
                next_waits: RefCell::default(),
                linked_at: Cell::new(Time::ZERO),
                turns: Cell::new(0),
                begun: Cell::new(0),
                ours: Cell::default(),
                cancelled_because: RefCell::new(None),
            }),
            lane,
            pool,
            stream,
            replies: Replies::default(),
            statements: ServerStatements::new(PREPARED_PER_CONNECTION),
            carry: Vec::new(),
            passing: 0,
            unsent: Vec::new(),
            applied: self.settings.borrow_mut().intern(Settings::default()),
            parameters,
            own: VecDeque::new(),
            own_error: None,
            unnamed_of: NO_UNNAMED,
            defaults: self.defaults.get(),
            last_session: 0,
            sequences_are_ours: false,
            returned: Returned::default(),
            kept: false,
            meter: Meter::default(),
            dying: false,
            asked_at: None,
            end: ServerEnd::default(),
        }
    }

    fn open_failed(self: &Rc<Self>, id: ServerId, pool: PoolId, error: OpenError) {
        tracing::warn!(server = id.0, %error, "server connection not opened");
        self.metrics.open_failures.increment();
        if !matches!(error, OpenError::Refused(_) | OpenError::NoPassword(_)) {
            self.upstream_is_down(&error.to_string());
        }
        if error.is_unproven() {
            self.doubt(pool);
        }
        if error.refutes_welcome() {
            self.pools.borrow_mut().set_welcome(pool, None);
        }
        // Nobody else's connection will do for a replication client, so it is told at once.
        let verdict = match self.pools.borrow().key(pool).replication {
            Some(_) => OpenVerdict::RejectWaiters,
            None => error.verdict(),
        };
        self.servers.borrow_mut().remove(&id);
        self.open_errors.borrow_mut().insert(id, Rc::new(error));
        self.tell(Input::OpenFailed {
            server: id,
            verdict,
        });
        self.open_errors.borrow_mut().remove(&id);
    }

    /// PostgreSQL did not take what is known of the pool's user: none of it holds any more.
    fn doubt(self: &Rc<Self>, pool: PoolId) {
        let key = self.pools.borrow().key(pool);
        self.known.unlearn(&key.user);
        self.relays.distrust(&key.user, &key.database);
        self.doubt_supply(pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn what_the_client_asked_for_wins_over_the_envelope() {
        let key = PoolKey {
            user: "u".into(),
            database: "d".into(),
            startup: pairs(&[("Work_Mem", "1MB")]),
            replication: None,
        };
        let envelope = pairs(&[("work_mem", "64MB"), ("statement_timeout", "60s")]);
        let parameters = startup_parameters(&key, &envelope);
        let expected = pairs(&[
            ("user", "u"),
            ("database", "d"),
            ("application_name", "pglanes"),
            ("statement_timeout", "60s"),
            ("Work_Mem", "1MB"),
        ]);
        assert_eq!(parameters, expected);
    }

    #[test]
    fn replication_starts_with_what_the_client_asked_for_alone() {
        let key = PoolKey {
            user: "u".into(),
            database: "d".into(),
            startup: pairs(&[("application_name", "standby")]),
            replication: Some("true".into()),
        };
        let parameters = startup_parameters(&key, &pairs(&[("statement_timeout", "60s")]));
        let expected = pairs(&[
            ("user", "u"),
            ("database", "d"),
            ("replication", "true"),
            ("application_name", "standby"),
        ]);
        assert_eq!(parameters, expected);
    }
}
