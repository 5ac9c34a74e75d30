//! What all sessions of the data thread share: the scheduler, the server connections
//! that are not in use, the pools, the registry of sessions, and the configuration in
//! force. One thread owns it; nothing here is locked, and no borrow outlives a call.
//!
//! - `slots`: asking for, getting, and giving back a server connection
//! - `waiters`: transactions that wait for one
//! - `pools`: (user, database, startup parameters), and what PostgreSQL says to each
//! - `registry`: the sessions, found by their cancel key
//! - `known`: what is known of passwords beyond the files
//! - `relayed`: logins that PostgreSQL decided, and the connections they brought
//! - `rules`: what becomes of transactions that go too far
//! - `live`: the configuration in force; `texts`: what its patterns matched
//! - `baselines`: what outlives a restart
//! - `observing`: what follows from what others saw of the server
//! - `priorities`: which backends run at which CPU and I/O priority
//! - `hold`: what an operator has paused or disabled
//! - `operate`: what an operator asks for
//! - `look`: what an operator sees
//! - `happenings`: what becomes an event

mod baselines;
mod happenings;
mod hold;
pub(crate) mod known;
pub(crate) mod live;
mod look;
mod observing;
mod opening;
mod operate;
mod pools;
mod priorities;
mod registry;
pub(crate) mod relayed;
mod rules;
mod slots;
pub(crate) mod texts;
mod timer;
mod upkeep;
mod waiters;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;

use pglanes_auth::{Secret, Verifier};
use pglanes_lanes::{ClientKey, Input, LaneId, Leases, PoolId, Scheduler, ServerId, Time};
use pglanes_wire::parameters::ParameterSet;
use pglanes_wire::prepared::StatementCache;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::console::{ConsoleDoor, Visitors};
use crate::credentials::CredentialSource;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::observed::Record;
use crate::priority::Priorities;
use crate::recording::Recorder;
use crate::server::{Server, ServerFace};
use crate::session::Identity;
use crate::settings::{Interner, Settings};
use crate::tls::Material;
use crate::upstream::SaltedPasswords;

pub use baselines::{Baselines, LaneBaseline};
use known::Known;
use relayed::Relays;

pub(crate) use happenings::short;
pub(crate) use live::Live;
pub(crate) use opening::{OWN_APPLICATION_NAME, open as open_connection, startup_parameters};
pub(crate) use pools::{PoolCounts, PoolKey, Pools, count};
pub(crate) use registry::{
    Activity, Asked as AskedOfSession, Origin, Registry, SessionFace, Stall,
};
pub use rules::MOST_BLOCKERS;
pub(crate) use rules::Orders;
pub(crate) use slots::{Asked, LinkedServer, Refusal, TERMINATE};
pub(crate) use waiters::{Waiters, WaitingTicket};

/// Statements kept by content although no session names them.
const UNUSED_STATEMENTS: usize = 4096;

/// How far the proxy is with ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Running,
    /// Transactions finish, nothing new begins.
    Draining,
}

/// Where a server connection is.
#[derive(Debug)]
enum ServerPlace {
    Opening {
        lane: LaneId,
        pool: PoolId,
        since: Time,
    },
    Idle(Box<Server>),
    /// With a session.
    Linked(Rc<ServerFace>),
}

impl ServerPlace {
    fn opening(lane: LaneId, pool: PoolId, since: Time) -> Self {
        Self::Opening { lane, pool, since }
    }
}

/// The shared state of the data thread.
pub(crate) struct Hub {
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pools: RefCell<Pools>,
    pub(crate) sessions: RefCell<Registry>,
    pub(crate) statements: RefCell<StatementCache<RandomState>>,
    pub(crate) settings: RefCell<Interner<Settings>>,
    pub(crate) identities: RefCell<Interner<Identity>>,
    pub(crate) parameter_sets: RefCell<Interner<ParameterSet>>,
    pub(crate) salted_passwords: Rc<SaltedPasswords>,
    /// What clients' passwords are held against.
    pub(crate) verifiers: crate::front::Verifiers,
    pub(crate) known: Known,
    pub(crate) relays: Relays,
    pub(crate) listeners: crate::listen::Listeners,
    /// Keys the mock exchange of unknown users: the same user always gets the same salt.
    pub(crate) mock_secret: [u8; 32],
    /// Cancel requests being carried to PostgreSQL.
    pub(crate) cancels_in_flight: Cell<u32>,
    /// Logins not finished.
    pub(crate) logins_in_flight: Cell<u32>,
    pub(crate) phase: Cell<Phase>,
    /// How often what sessions start with may have changed: older connections are not used again.
    pub(crate) defaults: Cell<u32>,
    /// When a failed plan last made statements be prepared anew.
    plans_doubted: Cell<Option<Time>>,
    live: RefCell<Rc<Live>>,
    /// What handshakes work with; replaced when lanes.yaml or a certificate's file changes.
    tls: RefCell<Rc<Material>>,
    scheduler: RefCell<Scheduler>,
    /// What clients and commands hold. Their ends are looked for once a second.
    pub(crate) leases: RefCell<Leases>,
    waiters: RefCell<Waiters>,
    servers: RefCell<BTreeMap<ServerId, ServerPlace>>,
    open_errors: RefCell<BTreeMap<ServerId, crate::upstream::SharedOpenError>>,
    timer: Notify,
    armed: Cell<Option<Time>>,
    /// The major version that connections say they are of.
    server_version: RefCell<Option<String>>,
    priorities: Priorities,
    pub(crate) recorder: Recorder,
    record: RefCell<Record>,
    pub(crate) events: Events,
    /// PostgreSQL was tried: from then on it is up or down.
    upstream_tried: Cell<bool>,
    aliases: RefCell<upkeep::AliasLog>,
    /// Backends that keep others waiting.
    blockers: RefCell<HashSet<i32>>,
    /// Makes numbers of clients' names, which nobody outside can foresee.
    names: RandomState,
    pub(crate) holds: hold::Holds,
    throttles: happenings::Throttles,
    /// Who serves the admin console, if anybody does.
    pub(crate) console: Option<Arc<dyn ConsoleDoor>>,
    pub(crate) visitors: Visitors,
    /// The console's token, and what proofs of it are held against.
    pub(crate) console_verifier: RefCell<Option<(Secret<String>, Verifier)>>,
    /// What operators have set since the last reload, by key.
    adjusted: RefCell<BTreeMap<String, String>>,
}

impl Hub {
    pub(crate) fn new(
        live: Live,
        tls: Material,
        metrics: Arc<Metrics>,
        mock_secret: [u8; 32],
        source: Option<Arc<dyn CredentialSource>>,
        console: Option<Arc<dyn ConsoleDoor>>,
        events: Events,
    ) -> Rc<Self> {
        let scheduler = Scheduler::new(live.policy.clone());
        let clock = Clock::start();
        let hub = Rc::new(Self {
            clock,
            metrics: Arc::clone(&metrics),
            pools: RefCell::new(Pools::default()),
            sessions: RefCell::new(Registry::default()),
            statements: RefCell::new(StatementCache::new(UNUSED_STATEMENTS, RandomState::new())),
            settings: RefCell::new(Interner::new()),
            identities: RefCell::new(Interner::new()),
            parameter_sets: RefCell::new(Interner::new()),
            salted_passwords: Rc::default(),
            verifiers: crate::front::Verifiers::default(),
            known: Known::new(source),
            relays: Relays::default(),
            listeners: crate::listen::Listeners::default(),
            mock_secret,
            cancels_in_flight: Cell::new(0),
            logins_in_flight: Cell::new(0),
            phase: Cell::new(Phase::Running),
            defaults: Cell::new(0),
            plans_doubted: Cell::new(None),
            live: RefCell::new(Rc::new(live)),
            tls: RefCell::new(Rc::new(tls)),
            scheduler: RefCell::new(scheduler),
            leases: RefCell::default(),
            waiters: RefCell::new(Waiters::default()),
            servers: RefCell::new(BTreeMap::new()),
            open_errors: RefCell::new(BTreeMap::new()),
            timer: Notify::new(),
            armed: Cell::new(None),
            server_version: RefCell::new(None),
            priorities: Priorities::new(clock, Arc::clone(&metrics)),
            aliases: RefCell::default(),
            blockers: RefCell::default(),
            names: RandomState::new(),
            recorder: Recorder::default(),
            record: RefCell::default(),
            events,
            upstream_tried: Cell::new(false),
            holds: hold::Holds::default(),
            throttles: happenings::Throttles::default(),
            console,
            visitors: Visitors::default(),
            console_verifier: RefCell::default(),
            adjusted: RefCell::default(),
        });
        hub.prioritise_lanes();
        hub
    }

    /// The configuration in force.
    pub(crate) fn live(&self) -> Rc<Live> {
        Rc::clone(&self.live.borrow())
    }

    /// The TLS material in force.
    pub(crate) fn tls(&self) -> Rc<Material> {
        Rc::clone(&self.tls.borrow())
    }

    /// Puts other TLS material in force, for the handshakes that follow.
    pub(crate) fn set_tls(&self, material: Material) {
        *self.tls.borrow_mut() = Rc::new(material);
    }

    /// Puts another configuration in force: sessions meet it at their next transaction.
    pub(crate) fn set_live(self: &Rc<Self>, live: Live) {
        let policy = live.policy.clone();
        self.salted_passwords.forget();
        self.verifiers.forget();
        self.known.forget_answers();
        self.relays.forget_trust();
        *self.live.borrow_mut() = Rc::new(live);
        self.tell(Input::Reload { policy });
        self.prioritise_lanes();
        self.review_supplies();
        if self.recorder.is_on() {
            self.record_lanes();
        }
    }

    /// Hands one event to the scheduler and carries out what it decides.
    pub(crate) fn tell(self: &Rc<Self>, input: Input) {
        let now = self.clock.now();
        if self.recorder.is_on() {
            self.recorder.see(&input, now);
        }
        self.scheduler.borrow_mut().handle(now, input);
        self.carry_out();
    }

    /// Who asks for a slot, where the lane's caps want to know.
    pub(crate) fn client_key(&self, lane: LaneId, user: &str, application: &str) -> ClientKey {
        if !self.live.borrow().options(lane).capped {
            return ClientKey::default();
        }
        ClientKey {
            user: self.number_of(user),
            application: self.number_of(application),
        }
    }

    /// A number for a client's name; zero is nobody.
    pub(crate) fn number_of(&self, name: &str) -> u64 {
        self.names.hash_one(name).max(1)
    }

    /// The scheduler's view of itself.
    pub(crate) fn snapshot(&self) -> pglanes_lanes::Snapshot {
        self.scheduler.borrow().snapshot(self.clock.now())
    }
}
