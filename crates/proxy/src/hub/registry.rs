//! The sessions, found by the process id of their cancel key.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::task::Waker;

use pglanes_config::ClientAddress;
use pglanes_lanes::classify::Classified;
use pglanes_lanes::{LaneId, Time};
use pglanes_wire::cancel_key::{CancelKey, SECRET_3_2};
use pglanes_wire::parameters::ParameterSet;

use super::Orders;
use crate::server::ServerFace;
use crate::session::{Identity, Pins};

/// What a session is doing, as far as others have to know.
#[derive(Debug, Clone)]
pub(crate) enum Activity {
    /// Between transactions.
    Idle,
    /// Its transaction waits for a slot.
    Waiting,
    /// It uses this server connection.
    Linked(Rc<ServerFace>),
}

/// What others may ask of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    /// Its waiting transaction is to be answered 57014.
    CancelWait,
    /// It is to end at the end of its transaction.
    End,
    /// It holds a server connection that waits for its client, and is to end now.
    EndStalled(Stall),
    /// An operator ends it now, whatever it does.
    Kill,
}

/// What a session that holds a server connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Nothing of its client: the server works, or nothing is open.
    None,
    /// The client's next statement, inside a transaction.
    IdleInTransaction,
    /// The rest of a message.
    HalfSent,
    /// The client to read.
    SlowReader,
    /// The client to read the last words of its session (no server connection waits).
    LastWords,
}

/// Where a session comes from, and as whom.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) identity: Rc<Identity>,
    pub(crate) class: Classified,
    /// What it was told at login; its application_name among that.
    pub(crate) told: Rc<ParameterSet>,
    pub(crate) address: ClientAddress,
    /// 0 over a unix socket.
    pub(crate) port: u16,
    pub(crate) encrypted: bool,
    pub(crate) replication: bool,
    pub(crate) now: Time,
}

/// What a session has done; its own task writes, and nobody reads but for a look.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) transactions: Cell<u64>,
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    /// Statements it has named.
    pub(crate) prepared: Cell<u32>,
}

/// What the rest of the proxy knows of a session.
#[derive(Debug)]
pub(crate) struct SessionFace {
    pub(crate) key: CancelKey,
    pub(crate) activity: RefCell<Activity>,
    pub(crate) asked: Cell<Asked>,
    pub(crate) lane: Cell<LaneId>,
    /// The rule that put it there, by its place.
    pub(crate) rule: Cell<Option<usize>>,
    pub(crate) identity: Rc<Identity>,
    /// The parameters that the client has been told.
    pub(crate) told: RefCell<Rc<ParameterSet>>,
    pub(crate) address: ClientAddress,
    pub(crate) port: u16,
    pub(crate) encrypted: bool,
    pub(crate) replication: bool,
    pub(crate) connected_at: Time,
    /// When its last transaction asked for its slot.
    pub(crate) asked_at: Cell<Time>,
    /// Why it keeps its server connection, and since when.
    pub(crate) pins: Cell<Pins>,
    pub(crate) pinned_at: Cell<Time>,
    /// It keeps its server connection, and nothing runs.
    pub(crate) quiet: Cell<bool>,
    pub(crate) deeds: Deeds,
    /// What its server connection waits for, and since when: looked at once a second.
    pub(crate) stall: Cell<(Stall, Time)>,
    /// Whether it keeps its server connection between transactions.
    pub(crate) pinned: Cell<bool>,
    /// What it is to do when it is woken, besides what it is asked.
    pub(crate) orders: RefCell<Option<Box<Orders>>>,
    /// The session's task, to be woken when something is asked.
    pub(crate) waker: RefCell<Option<Waker>>,
}

impl SessionFace {
    /// Asks something of the session and wakes it.
    pub(crate) fn ask(&self, asked: Asked) {
        // A session that is told to end does not come back from it.
        let ends = matches!(
            self.asked.get(),
            Asked::End | Asked::EndStalled(_) | Asked::Kill
        );
        if !ends || asked == Asked::Kill {
            self.asked.set(asked);
        }
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// The bit that every process id of ours has. Linux gives numbers below 2^22, macOS below 100,000.
const INVENTED: i32 = 1 << 30;

/// All sessions that have logged in.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// In order, so that a listing can go on where it stopped.
    by_process_id: BTreeMap<i32, Rc<SessionFace>>,
}

impl Registry {
    /// Registers a session under a new random key with so many bytes of secret; `None` if
    /// there is no randomness. The process id is `backend`, if nobody has that.
    pub(crate) fn register(
        &mut self,
        origin: Origin,
        secret: usize,
        backend: Option<i32>,
    ) -> Option<Rc<SessionFace>> {
        let mut backend = backend.filter(|process_id| *process_id > 0);
        loop {
            let mut random = [0; 4 + SECRET_3_2];
            getrandom::fill(&mut random).ok()?;
            let [a, b, c, d, random @ ..] = random;
            let secret = random.get(..secret)?;
            // Positive, as process ids are: clients print and compare them. Beyond those that
            // systems give, so that it is no backend's.
            let invented = (i32::from_be_bytes([a, b, c, d]) & i32::MAX) | INVENTED;
            let process_id = backend.take().unwrap_or(invented);
            if self.by_process_id.contains_key(&process_id) {
                continue;
            }
            let face = Rc::new(SessionFace {
                key: CancelKey::new(process_id, secret).ok()?,
                activity: RefCell::new(Activity::Idle),
                asked: Cell::new(Asked::Nothing),
                lane: Cell::new(origin.class.lane),
                rule: Cell::new(origin.class.rule()),
                identity: origin.identity,
                told: RefCell::new(origin.told),
                address: origin.address,
                port: origin.port,
                encrypted: origin.encrypted,
                replication: origin.replication,
                connected_at: origin.now,
                asked_at: Cell::new(origin.now),
                pins: Cell::default(),
                pinned_at: Cell::new(origin.now),
                quiet: Cell::new(false),
                deeds: Deeds::default(),
                stall: Cell::new((Stall::None, Time::ZERO)),
                pinned: Cell::new(false),
                orders: RefCell::new(None),
                waker: RefCell::new(None),
            });
            self.by_process_id.insert(process_id, Rc::clone(&face));
            return Some(face);
        }
    }

    pub(crate) fn remove(&mut self, process_id: i32) {
        self.by_process_id.remove(&process_id);
    }

    /// The session whose key this is; the secret is compared in constant time.
    pub(crate) fn find(&self, process_id: i32, secret: &[u8]) -> Option<Rc<SessionFace>> {
        let face = self.by_process_id.get(&process_id)?;
        face.key
            .matches(process_id, secret)
            .then(|| Rc::clone(face))
    }

    /// The session that goes by this process id.
    pub(crate) fn get(&self, process_id: i32) -> Option<&Rc<SessionFace>> {
        self.by_process_id.get(&process_id)
    }

    /// Those behind this process id, in order.
    pub(crate) fn after(&self, process_id: i32) -> impl Iterator<Item = &Rc<SessionFace>> {
        let behind = (Bound::Excluded(process_id), Bound::Unbounded);
        self.by_process_id.range(behind).map(|(_, face)| face)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_process_id.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<SessionFace>> {
        self.by_process_id.values()
    }
}
