//! What an operator sees: copies, made when somebody asks.

use std::rc::Rc;
use std::time::Duration;

use pglanes_lanes::{PoolId, ServerId, Time};

use super::{Activity, Hub, Live, Phase, ServerPlace, SessionFace, Stall};
use crate::server::ServerFace;
use crate::view::{
    AliasView, MOST_LISTED, Operated, PoolView, PreparedView, ServerState, ServerView,
    SessionState, SessionView, View,
};

impl Hub {
    pub(crate) fn view(&self) -> View {
        View {
            scheduler: self.snapshot(),
            sessions: self.sessions.borrow().len(),
            logins: self.logins_in_flight.get(),
            servers: self.connection_counts(),
            observed: self.observed_view(),
            prepared: self.prepared(),
            draining: self.phase.get() == Phase::Draining,
            operated: self.operated(),
        }
    }

    fn prepared(&self) -> PreparedView {
        let texts = self.statements.borrow().len();
        let servers = self.servers.borrow();
        let on_servers = servers.values().map(|place| match place {
            ServerPlace::Opening { .. } => 0,
            ServerPlace::Idle(server) => server.face.prepared.get(),
            ServerPlace::Linked(face) => face.prepared.get(),
        });
        let mut prepared = PreparedView {
            texts,
            on_servers: on_servers.map(u64::from).sum(),
            ..PreparedView::default()
        };
        for (_, _, counts) in self.pools.borrow().after(None) {
            prepared.client_parses += counts.client_parses.get();
            prepared.server_parses += counts.server_parses.get();
            prepared.binds += counts.binds.get();
        }
        prepared
    }

    fn operated(&self) -> Operated {
        let holds = &self.holds;
        let adjusted = self.adjusted.borrow();
        Operated {
            paused: holds.all.get(),
            paused_databases: holds.databases.borrow().iter().cloned().collect(),
            paused_lanes: holds.lanes.borrow().iter().copied().collect(),
            disabled_databases: holds.disabled.borrow().iter().cloned().collect(),
            held: holds.waiting(),
            set: adjusted
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        }
    }

    /// The next sessions behind this process id.
    pub(crate) fn list_sessions(&self, after: i32) -> Vec<SessionView> {
        let (live, now) = (self.live(), self.clock.now());
        let sessions = self.sessions.borrow();
        let page = sessions.after(after).take(MOST_LISTED);
        page.map(|face| session_view(&live, face, now)).collect()
    }

    /// The next server connections behind this one.
    pub(crate) fn list_servers(&self, after: Option<ServerId>) -> Vec<ServerView> {
        let (live, now) = (self.live(), self.clock.now());
        let servers = self.servers.borrow();
        let behind = servers.iter();
        let page = behind
            .filter(|(id, _)| after.is_none_or(|after| **id > after))
            .take(MOST_LISTED);
        page.map(|(id, place)| self.server_view(&live, *id, place, now))
            .collect()
    }

    fn server_view(&self, live: &Live, id: ServerId, place: &ServerPlace, now: Time) -> ServerView {
        let (lane, pool) = match place {
            ServerPlace::Opening { lane, pool, .. } => (*lane, *pool),
            ServerPlace::Idle(server) => (server.lane, server.pool),
            ServerPlace::Linked(face) => (face.lane, face.pool),
        };
        let key = self.pools.borrow().key(pool);
        let mut view = ServerView {
            id,
            user: key.user.clone(),
            database: key.database.clone(),
            lane,
            lane_name: live.lane_name(lane).to_owned(),
            pool,
            state: ServerState::Login,
            backend: 0,
            age: Duration::ZERO,
            in_state_for: Duration::ZERO,
            transactions: 0,
            prepared: 0,
            retired: false,
            session: None,
        };
        match place {
            ServerPlace::Opening { since, .. } => {
                view.age = now.since(*since);
                view.in_state_for = view.age;
            }
            ServerPlace::Idle(server) => {
                view.state = ServerState::Idle;
                fill_in(&mut view, &server.face, now);
            }
            ServerPlace::Linked(face) => {
                view.state = ServerState::Active;
                fill_in(&mut view, face, now);
            }
        }
        view
    }

    /// The next pools behind this one, by number.
    pub(crate) fn list_pools(&self, after: Option<PoolId>) -> Vec<PoolView> {
        let pools = self.pools.borrow();
        let page = pools.after(after).take(MOST_LISTED);
        page.map(|(id, key, counts)| PoolView {
            id: id.0,
            user: key.user.clone(),
            database: key.database.clone(),
            assignments: counts.assignments.get(),
            transactions: counts.transactions.get(),
            queries: counts.queries.get(),
            bytes_received: counts.bytes_received.get(),
            bytes_sent: counts.bytes_sent.get(),
            transaction_us: counts.transaction_us.get(),
            query_us: counts
                .transaction_us
                .get()
                .saturating_sub(counts.idle_in_transaction_us.get()),
            wait_us: counts.wait_us.get(),
            client_parses: counts.client_parses.get(),
            server_parses: counts.server_parses.get(),
            binds: counts.binds.get(),
        })
        .collect()
    }

    /// All aliases of the configuration, used or not.
    pub(crate) fn list_aliases(&self) -> Vec<AliasView> {
        let live = self.live();
        let log = self.aliases.borrow();
        let databases = live.config.databases.iter().flat_map(|database| {
            let aliases = database.aliases.iter();
            aliases.map(|alias| ("database", alias.as_str(), database.name.as_str()))
        });
        let users = live.config.users.iter().flat_map(|user| {
            let aliases = user.aliases.iter();
            aliases.map(|alias| ("user", alias.name.as_str(), user.name.as_str()))
        });
        databases
            .chain(users)
            .map(|(kind, alias, name)| log.view(kind, alias, name))
            .collect()
    }

    /// Server connections that sessions have, of these pools and this lane.
    pub(crate) fn in_use(&self, scope: &crate::operate::Scope) -> usize {
        use crate::operate::Scope;
        let live = self.live();
        let concerned = |face: &Rc<ServerFace>| match scope {
            Scope::All => true,
            Scope::Lane(name) => live.lane_name(face.lane) == name,
            Scope::Database(name) => {
                let real = live.config.real_database(name).0;
                self.pools.borrow().key(face.pool).database == real
            }
        };
        let servers = self.servers.borrow();
        let linked = servers.values().filter(|place| match place {
            ServerPlace::Linked(face) => concerned(face),
            ServerPlace::Opening { .. } | ServerPlace::Idle(_) => false,
        });
        linked.count()
    }
}

fn fill_in(view: &mut ServerView, face: &ServerFace, now: Time) {
    if view.state == ServerState::Active && face.session.get() == 0 {
        // Given back, and not handed on before a cancel has arrived.
        view.state = ServerState::BeingCancelled;
    }
    view.backend = face.key.pid();
    view.age = now.since(face.opened_at);
    view.in_state_for = now.since(face.since.get());
    view.transactions = face.transactions.get();
    view.prepared = face.prepared.get();
    view.retired = face.retired.get();
    view.session = Some(face.session.get()).filter(|session| *session != 0);
}

fn session_view(live: &Live, face: &SessionFace, now: Time) -> SessionView {
    let activity = face.activity.borrow().clone();
    let pins = face.pins.get();
    let (state, since, server) = match &activity {
        Activity::Idle => (SessionState::Idle, None, None),
        Activity::Waiting => {
            let since = face.asked_at.get();
            (SessionState::Waiting, Some(since), None)
        }
        Activity::Linked(server) => {
            let (stall, stalled_at) = face.stall.get();
            let state = match stall {
                Stall::None if !pins.is_empty() && face.quiet.get() => SessionState::Pinned,
                Stall::None | Stall::LastWords => SessionState::Active,
                Stall::IdleInTransaction => SessionState::IdleInTransaction,
                Stall::HalfSent => SessionState::HalfSent,
                Stall::SlowReader => SessionState::SlowReader,
            };
            let since = match stall {
                Stall::None | Stall::LastWords => server.since.get(),
                Stall::IdleInTransaction | Stall::HalfSent | Stall::SlowReader => stalled_at,
            };
            (state, Some(since), Some(server.id))
        }
    };
    let told = face.told.borrow();
    SessionView {
        id: face.key.pid(),
        database: face.identity.database.clone(),
        user: face.identity.user.clone(),
        application_name: told.get("application_name").unwrap_or("").to_owned(),
        address: face.address,
        port: face.port,
        encrypted: face.encrypted,
        replication: face.replication,
        state,
        lane: face.lane.get(),
        lane_name: live.lane_name(face.lane.get()).to_owned(),
        rule: face.rule.get(),
        pins: pins.reasons().map(crate::session::Reason::label).collect(),
        pinned_for: (!pins.is_empty()).then(|| now.since(face.pinned_at.get())),
        connected_for: now.since(face.connected_at),
        asked_ago: now.since(face.asked_at.get()),
        waiting_for: matches!(activity, Activity::Waiting).then(|| now.since(face.asked_at.get())),
        in_state_for: since.map(|since| now.since(since)),
        transactions: face.deeds.transactions.get(),
        bytes_in: face.deeds.bytes_in.get(),
        bytes_out: face.deeds.bytes_out.get(),
        prepared: face.deeds.prepared.get(),
        server,
    }
}
