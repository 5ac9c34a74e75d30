//! What an operator has paused or disabled. New transactions of a paused database or lane wait
//! here, before the scheduler and outside its queues: no limit of theirs ends the wait. When
//! the pause is over they go on in their order, as fast as their lane's queue takes them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use pglanes_lanes::{Input, LaneId, PoolId, Supply, TicketId};

use super::Hub;
use super::waiters::Wanted;

/// Names of databases that may be paused, or disabled, at once: they are the operator's choice, and need not exist.
pub(super) const MOST_NAMES: usize = 1000;

/// A transaction that waits for the end of a pause. There are at most as many as clients.
#[derive(Debug, Clone, Copy)]
struct Held {
    ticket: TicketId,
    wanted: Wanted,
}

/// Pauses, and who waits for their end.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// Something is paused, or somebody waits here: all that a transaction looks at otherwise.
    any: Cell<bool>,
    pub(super) all: Cell<bool>,
    pub(super) lanes: RefCell<BTreeSet<LaneId>>,
    pub(super) databases: RefCell<BTreeSet<String>>,
    /// Databases that take no new client. Nothing waits for that.
    pub(super) disabled: RefCell<BTreeSet<String>>,
    waiting: RefCell<VecDeque<Held>>,
}

impl Holds {
    pub(crate) fn any(&self) -> bool {
        self.any.get()
    }

    /// Transactions that wait here.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Whether the database takes no new client.
    pub(crate) fn is_disabled(&self, database: &str) -> bool {
        self.disabled.borrow().contains(database)
    }

    /// Whether the ticket waited here; it does no longer.
    pub(super) fn remove(&self, ticket: TicketId) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.iter().position(|held| held.ticket == ticket);
        let found = place.and_then(|place| waiting.remove(place)).is_some();
        drop(waiting);
        if found {
            self.note_any();
        }
        found
    }

    pub(super) fn note_any(&self) {
        let paused = self.all.get()
            || !self.lanes.borrow().is_empty()
            || !self.databases.borrow().is_empty();
        self.any.set(paused || !self.waiting.borrow().is_empty());
    }
}

impl Hub {
    /// Whether new transactions like this one are paused.
    fn is_paused(&self, wanted: Wanted) -> bool {
        self.holds.lanes.borrow().contains(&wanted.lane) || self.is_pool_paused(wanted.pool)
    }

    fn is_pool_paused(&self, pool: PoolId) -> bool {
        if self.holds.all.get() {
            return true;
        }
        let databases = self.holds.databases.borrow();
        !databases.is_empty() && databases.contains(&self.pools.borrow().key(pool).database)
    }

    /// Whether a new transaction waits here: it is paused, or others of its lane do.
    pub(super) fn must_hold(&self, wanted: Wanted) -> bool {
        let waiting = self.holds.waiting.borrow();
        let mut lanes = waiting.iter().map(|held| held.wanted.lane);
        lanes.any(|lane| lane == wanted.lane) || self.is_paused(wanted)
    }

    pub(super) fn hold(&self, ticket: TicketId, wanted: Wanted) {
        let mut waiting = self.holds.waiting.borrow_mut();
        waiting.push_back(Held { ticket, wanted });
    }

    /// A pause has begun: who waits for a slot in it, waits here from now on.
    pub(super) fn take_back(self: &Rc<Self>) {
        self.holds.any.set(true);
        let waiting = self.waiters.borrow().waiting();
        let known: BTreeSet<TicketId> = {
            let held = self.holds.waiting.borrow();
            held.iter().map(|held| held.ticket).collect()
        };
        for (ticket, wanted) in waiting {
            if !known.contains(&ticket) && self.is_paused(wanted) {
                self.tell(Input::Withdraw { ticket });
                self.hold(ticket, wanted);
            }
        }
        self.holds.note_any();
    }

    /// Lets those go on who are no longer paused, as far as their lanes' queues have room.
    pub(super) fn let_go(self: &Rc<Self>) {
        if self.holds.waiting.borrow().is_empty() {
            self.holds.note_any();
            return;
        }
        let lanes = self.snapshot().lanes;
        let live = self.live();
        let mut room: BTreeMap<LaneId, usize> = BTreeMap::new();
        let held = std::mem::take(&mut *self.holds.waiting.borrow_mut());
        let mut staying = VecDeque::with_capacity(held.len());
        for held in held {
            let room = room.entry(held.wanted.lane).or_insert_with(|| {
                let index = held.wanted.lane.index();
                let length = live.policy.lanes.get(index).map(|lane| lane.queue_length);
                let waiting = lanes.get(index).map_or(0, |lane| lane.waiting);
                // One at least goes on: with a queue of none it is served at once or refused.
                let least = usize::from(waiting == 0);
                length.unwrap_or(0).saturating_sub(waiting).max(least)
            });
            if *room == 0 || self.is_paused(held.wanted) {
                staying.push_back(held);
                continue;
            }
            *room -= 1;
            self.tell(held.wanted.request(held.ticket));
        }
        // Nobody was held meanwhile: that happens in a session's own step, and this is none.
        let mut waiting = self.holds.waiting.borrow_mut();
        staying.append(&mut waiting);
        *waiting = staying;
        drop(waiting);
        self.holds.note_any();
    }

    /// A paused database keeps no idle server connection: it may be about to be restarted or dropped.
    pub(super) fn close_if_paused(self: &Rc<Self>, pool: PoolId) {
        if self.is_pool_paused(pool) {
            self.close_idle(pool);
        }
    }

    /// Closes the idle connections of a pool, unless they came with their clients' logins: none could follow.
    pub(super) fn close_idle(self: &Rc<Self>, pool: PoolId) {
        if self.pools.borrow().supply(pool) == Supply::Opened {
            self.tell(Input::FlushPool { pool });
        }
    }
}
