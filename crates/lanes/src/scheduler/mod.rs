//! The scheduler: lanes, queues, server connections and throttles as one state machine.
//!
//! A step is `handle` or `handle_timeout`; it ends with everything decided that can be decided, so that between steps no
//! waiter could be served by what is there. `lane`, `queue`, `pool`, `throttle`, `objective`, `allowance` and `backoff` each
//! keep one kind of state;
//! `dispatch` is the only place that gives out slots; `caps` keeps one client from taking its lane; `notices` tells who waits
//! long; `rules` watches who goes too far, `preempt` takes borrowed slots back; `adopt` takes in connections that clients' logins made; `timers` is the only one that acts because time passed;
//! `reload` applies a policy; `slab` is what all of it is stored in.
//!
//! **Order among lanes.** A lane's effective priority is its own plus one step for each `ageing` its foremost waiter has
//! waited; the highest goes first. Equals of the same own priority share by weight. The bound that follows: a waiter that
//! has waited `(highest priority - own priority + 1) x ageing` longer than any other lane's foremost waiter goes before it,
//! so it waits at most that long, plus the service of those who waited longer, or until its queue's timeout.
//!
//! **Shares among equals** go by stride scheduling: a grant moves its lane's virtual time on by `65536 / weight`, and the lane
//! furthest behind goes first. So of two lanes of one priority that both wait all the while, in any stretch of time, each is
//! at most one grant from its share (grants / weight differ by at most 1 / weight of each), and at most `REOPEN_LAG` grants
//! where following the share would close one lane's idle connection to open another's. A lane that waits for nothing earns
//! nothing. **Among the clients of a lane** see `caps`.
//!
//! **Guarantee.** The sum over lanes of max(held, minimum) stays within the total whenever a lane grows above its minimum,
//! where held counts busy and opening connections. Idle ones are closed for whoever has the right to the slot.

mod adopt;
mod allowance;
mod backoff;
mod caps;
mod dispatch;
mod invariants;
mod lane;
mod notices;
mod objective;
mod pool;
mod preempt;
mod queue;
mod reload;
mod rules;
mod slab;
mod snapshot;
#[cfg(test)]
mod tests;
mod throttle;
mod timers;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

pub use backoff::{BACKOFF_FIRST, BACKOFF_LONGEST, MAX_BACKOFFS};
pub use dispatch::REOPEN_LAG;
pub use snapshot::{Closing, LaneSnapshot, RuleSnapshot, Snapshot, ThrottleSnapshot};

use crate::input::{Input, OpenVerdict};
use crate::output::{Output, Rejection};
use crate::{ClientKey, LaneId, Policy, PoolId, ServerId, TicketId, Time, Turn};
use backoff::Backoffs;
use dispatch::{Class, Plan};
use lane::Lane;
use notices::Heed;
use objective::Guard;
use pool::{Pool, Server, ServerState};
use queue::{Charge, LISTS, NumberMap, Standing, Waiter};
use slab::{Links, Slab};
use throttle::Throttle;

/// Decides which transaction gets which server connection, and when.
pub struct Scheduler {
    now: Time,
    total_slots: u32,
    ageing: Duration,
    max_waiting: usize,

    lanes: Vec<Lane>,
    classes: Vec<Class>,
    throttles: Vec<Throttle>,
    /// One for each lane with an objective.
    guards: Vec<Guard>,

    waiters: Slab<Waiter>,
    /// Waiting tickets only: a granted one is the owner's.
    tickets: NumberMap<TicketId>,
    next_sequence: u64,
    /// Waiters with standing `Uncovered`, over all lanes.
    uncovered: usize,

    servers: Slab<Server>,
    pools: Slab<Pool>,
    pool_places: NumberMap<u64>,
    backoffs: Backoffs,
    /// Pools with [`Supply::Adopted`](crate::Supply).
    adopting: BTreeSet<PoolId>,
    /// One of them may have waiters and no connection.
    stranded: bool,
    /// When connections grow too old; entries of those that are gone are dropped when they come up.
    lifetimes: BinaryHeap<Reverse<(Time, ServerId)>>,

    /// Connections in any state.
    connections: u32,
    /// The sum of what lanes reserve.
    reserved: u64,

    outputs: VecDeque<Output>,
    /// The next linger end or duty edge.
    throttle_edge: Option<Time>,
    /// A watched lane changed between active and not.
    throttles_stale: bool,
    /// When objectives are looked at again though nothing happens.
    objective_edge: Option<Time>,
    /// What an objective leaves to others may have changed.
    objectives_stale: bool,
    /// How often a throttle became active or quiet, or throttles came and went with a policy.
    throttle_changes: u64,
    /// Idle connections that were closed, by why.
    closings: [u64; Closing::ALL.len()],
    /// Something changed that may let a waiter through.
    dispatch_due: bool,
    /// Counts dispatch rounds, to mark lanes found blocked in one.
    round: u64,
    retired_lanes: usize,
    /// Whether any lane gives borrowed slots back.
    preemptible: bool,
    /// Cancelled to give way, and not over yet.
    preempting: u32,
    next: Option<Time>,
}

impl Scheduler {
    /// A scheduler with no connections and nobody waiting, at time zero. A policy that does not hold is mended, see
    /// [`Policy::validate`].
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let mut scheduler = Self {
            now: Time::ZERO,
            total_slots: 0,
            ageing: Duration::ZERO,
            max_waiting: 0,
            lanes: Vec::new(),
            classes: Vec::new(),
            throttles: Vec::new(),
            guards: Vec::new(),
            waiters: Slab::new(),
            tickets: NumberMap::default(),
            next_sequence: 0,
            uncovered: 0,
            servers: Slab::new(),
            pools: Slab::new(),
            pool_places: NumberMap::default(),
            backoffs: Backoffs::default(),
            adopting: BTreeSet::new(),
            stranded: false,
            lifetimes: BinaryHeap::new(),
            connections: 0,
            reserved: 0,
            outputs: VecDeque::new(),
            throttle_edge: None,
            throttles_stale: false,
            objective_edge: None,
            objectives_stale: false,
            throttle_changes: 0,
            closings: [0; Closing::ALL.len()],
            dispatch_due: false,
            round: 0,
            retired_lanes: 0,
            preemptible: false,
            preempting: 0,
            next: None,
        };
        scheduler.apply_policy(policy);
        scheduler.settle();
        scheduler
    }

    /// Takes note of something that happened at `now`, and decides what follows. What was due before `now` is done first.
    /// A `now` before an earlier one counts as the earlier one.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        if self.next.is_some_and(|next| next <= self.now) {
            // Who has left and what is gone must not be part of what is decided now.
            match input {
                Input::Withdraw { ticket } => self.withdraw(ticket),
                Input::Closed { server } => self.closed(server),
                _ => {}
            }
            self.fire_timers();
            self.decide();
        }
        match input {
            Input::Request {
                ticket,
                lane,
                pool,
                client,
                turn,
            } => self.request(ticket, lane, pool, client, turn),
            Input::Withdraw { ticket } => self.withdraw(ticket),
            Input::Release { server } => self.release(server),
            Input::Opened { server } => self.opened(server),
            Input::OpenFailed { server, verdict } => self.open_failed(server, verdict),
            Input::Closed { server } => self.closed(server),
            Input::SessionOpened { lane } => self.count_sessions(lane, 1),
            Input::SessionClosed { lane } => self.count_sessions(lane, -1),
            Input::LeaseTaken { lane } => self.count_leases(lane, 1),
            Input::LeaseEnded { lane } => self.count_leases(lane, -1),
            Input::Direct {
                lane,
                sessions,
                busy,
            } => self.see_direct(lane, sessions, busy),
            Input::Reload { policy } => self.apply_policy(policy),
            Input::Adopt { ticket, lane, pool } => self.adopt(ticket, lane, pool),
            Input::Supply { pool, supply } => self.supply(pool, supply),
            Input::Measured { lane, sample } => self.measured(lane, sample),
            Input::FlushPool { pool } => self.flush(pool),
            Input::Kept { server } => self.keep(server),
            Input::Resumed { server } => self.resume(server),
            Input::Met { server, rule } => self.met(server, rule),
            Input::Spared { server } => self.spare(server),
        }
        self.settle();
    }

    /// Does what is due at `now`. Early or needless calls do no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.fire_timers();
        self.settle();
    }

    /// The next decision to carry out, in order. Ask until there is none after each step.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next
    }

    /// The lane of a live connection.
    #[must_use]
    pub fn lane_of(&self, server: ServerId) -> Option<LaneId> {
        Some(self.servers[self.find_server(server)?].lane)
    }

    /// The pool of a live connection.
    #[must_use]
    pub fn pool_of(&self, server: ServerId) -> Option<PoolId> {
        let server = &self.servers[self.find_server(server)?];
        Some(self.pools[server.pool].id)
    }

    /// Whose transaction a live connection has, as the owner said.
    #[must_use]
    pub fn client_of(&self, server: ServerId) -> ClientKey {
        let found = self.find_server(server);
        found.map_or_else(ClientKey::default, |place| self.servers[place].client)
    }

    /// Whether a ticket waits.
    #[must_use]
    pub fn is_waiting(&self, ticket: TicketId) -> bool {
        self.tickets.contains_key(&ticket)
    }

    /// Raised whenever [`Self::active_throttles`] may have changed: cheap enough to look at after every step.
    #[must_use]
    pub const fn throttle_changes(&self) -> u64 {
        self.throttle_changes
    }

    /// Each throttle by its place in the policy: since when it is active, if it is.
    pub fn active_throttles(&self) -> impl Iterator<Item = Option<Time>> + '_ {
        self.throttles.iter().map(|throttle| throttle.active_since)
    }

    /// The end of every step.
    fn settle(&mut self) {
        loop {
            self.decide();
            if self.retired_lanes > 0 {
                self.empty_retired_lanes();
                self.decide();
            }
            self.next = self.find_next_timeout();
            // What was done may make something due at this very moment: a grant under `CancelAfter(0)`, a new connection
            // that leaves an old idle one above the minimum. Each use of this ends a wait, a connection or a transaction.
            if self.next.is_none_or(|next| next > self.now) {
                break;
            }
            self.fire_timers();
        }
        debug_assert_eq!(self.check_invariants(), Ok(()));
    }

    /// Decides all that can be decided. Who cannot be helped leaves first, then the throttles take note, and only then are
    /// slots given out: a slot must not go by a limit, nor past a minimum, that somebody's leaving has just changed.
    fn decide(&mut self) {
        loop {
            if self.stranded {
                self.reject_stranded();
            }
            if self.throttles_stale {
                self.refresh_throttles();
            }
            if self.objectives_stale {
                self.refresh_objectives();
            }
            self.dispatch();
            if !self.is_unsettled() {
                return;
            }
        }
    }

    /// Something happened that comes before the next slot is given out.
    fn is_unsettled(&self) -> bool {
        self.stranded || self.throttles_stale || self.objectives_stale
    }

    fn request(
        &mut self,
        ticket: TicketId,
        lane: LaneId,
        pool: PoolId,
        client: ClientKey,
        turn: Turn,
    ) {
        if lane.index() >= self.lanes.len() {
            self.answer_rejected(ticket, lane, Rejection::QueueFull { length: 0 });
            return;
        }
        if !self.tickets.is_empty() && self.tickets.contains_key(&ticket) {
            return;
        }
        let pool = self.find_or_add_pool(lane, pool);
        self.note_held_back(lane);
        if self.lanes[lane.index()].allowance.is_limited() {
            self.note_allowance(lane);
        }
        self.note_held_back_by_objective(lane);
        let mut waiter = Waiter {
            ticket,
            lane,
            pool,
            client,
            since: self.now,
            contends_since: self.now,
            turn,
            sequence: 0,
            standing: Standing::Uncovered,
            charge: Charge::Due,
            heed: Heed::Quiet,
            moment: None,
            links: [Links::ALONE; LISTS],
        };
        if let Some(cap) = self.stands_back(lane, client) {
            waiter.standing = Standing::Capped;
            self.stand_behind(waiter, cap);
            return;
        }
        self.take_room(lane, client);
        // Whoever waits for room goes first, and a step ends only when they cannot be helped.
        let foremost = self.lanes[lane.index()].uncovered.front();
        let plan = match foremost {
            None => self.plan(lane, pool),
            Some(_) => Plan::Blocked,
        };
        let overtakes = foremost.is_some_and(|foremost| turn < self.waiters[foremost].turn);
        match plan {
            Plan::Grant(server) if self.pools[pool].kin.is_empty() => {
                self.grant_at_once(&waiter, server);
            }
            Plan::Grant(_) | Plan::Cover | Plan::Open { .. } => {
                self.insert(waiter);
                self.dispatch_due = true;
            }
            Plan::Park | Plan::Blocked => {
                if let Some(length) = self.full_queue(lane) {
                    self.prune(pool);
                    self.answer_rejected(ticket, lane, Rejection::QueueFull { length });
                    self.leave_room(lane, client);
                    return;
                }
                self.insert(waiter);
                self.dispatch_due |= plan == Plan::Park || overtakes;
                self.note_stranded(pool);
            }
        }
    }

    fn withdraw(&mut self, ticket: TicketId) {
        if let Some(&waiter) = self.tickets.get(&ticket) {
            let lane = self.waiters[waiter].lane;
            self.lanes[lane.index()].counts.withdrawn += 1;
            self.give_up(waiter);
        }
    }

    fn release(&mut self, server: ServerId) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        let Server {
            lane, pool, state, ..
        } = self.servers[place];
        if !state.is_running() {
            return;
        }
        self.transfer(place, ServerState::Idle);
        self.vacate(place);
        self.note_activity(lane);
        self.dispatch_due = true;
        match self.must_close(place) {
            Some(why) => self.close(place, why),
            None => self.offer(pool),
        }
    }

    /// A session keeps its connection beyond its transaction.
    fn keep(&mut self, server: ServerId) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        if self.servers[place].state.is_running() {
            self.end_watch(place);
            self.transfer(place, ServerState::Kept);
            self.dispatch_due = true;
        }
    }

    fn resume(&mut self, server: ServerId) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        if self.servers[place].state == ServerState::Kept {
            self.transfer(place, ServerState::Busy);
            self.watch_running(place);
        }
    }

    fn opened(&mut self, server: ServerId) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        let Server {
            lane, pool, state, ..
        } = self.servers[place];
        if state != ServerState::Opening {
            return;
        }
        self.servers[place].opened = self.now;
        self.transfer(place, ServerState::Idle);
        self.note_lifetime(place);
        let id = self.pools[pool].id;
        if self.backoffs.note_success(id) {
            self.unpark(id);
        }
        self.dispatch_due = true;
        if let Some(why) = self.must_close(place) {
            self.uncover_excess(pool);
            self.close(place, why);
            return;
        }
        // The slot was given out when the connection was asked for, so it goes to its pool's foremost waiter directly,
        // unless a throttle or reload has taken the slot meanwhile, from it or from one who came before it.
        let covers = !self.pools[pool].covered.is_empty();
        if covers && self.is_foremost(lane, pool) && self.may_grow(lane) {
            self.grant_foremost(pool, place);
        }
        self.uncover_excess(pool);
        self.offer(pool);
    }

    fn open_failed(&mut self, server: ServerId, verdict: OpenVerdict) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        let Server { pool, state, .. } = self.servers[place];
        if state != ServerState::Opening {
            return;
        }
        let id = self.pools[pool].id;
        let forgotten = self.backoffs.note_failure(id, server, self.now);
        self.forget(place);
        if let Some(forgotten) = forgotten {
            self.unpark(forgotten);
        }
        if verdict == OpenVerdict::RejectWaiters {
            self.reject_pool(id, server);
        }
    }

    /// Nothing of the pool is alive: whoever waits for it, in any lane, hears so. A live connection shows that the pool
    /// can be served, so they wait for that.
    fn reject_pool(&mut self, id: PoolId, server: ServerId) {
        let mut waiters = Vec::new();
        for lane in 0..self.lanes.len() {
            let Some(pool) = self.find_pool(LaneId(lane as u16), id) else {
                continue;
            };
            let state = &self.pools[pool];
            if state.running > 0 || !state.idle.is_empty() {
                return;
            }
            waiters.extend(state.kin.iter(&self.waiters));
            waiters.extend(self.capped_of(pool));
        }
        for waiter in waiters {
            self.reject(waiter, Rejection::OpenFailed { server });
        }
    }

    fn closed(&mut self, server: ServerId) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        if self.servers[place].state == ServerState::Opening {
            self.open_failed(server, OpenVerdict::KeepWaiting);
        } else {
            self.forget(place);
        }
    }

    fn flush(&mut self, id: PoolId) {
        for lane in 0..self.lanes.len() {
            while let Some(pool) = self.find_pool(LaneId(lane as u16), id) {
                match self.pools[pool].idle.front() {
                    Some(server) => self.close(server, Closing::Changed),
                    None => break,
                }
            }
        }
    }

    fn count_sessions(&mut self, lane: LaneId, change: i64) {
        let now = self.now;
        let Some(lane) = self.lanes.get_mut(lane.index()) else {
            return;
        };
        let before = lane.sessions;
        lane.sessions = before.saturating_add_signed(change);
        if before > 0 && lane.sessions == 0 {
            lane.last_connected = Some(now);
        }
        self.throttles_stale |= lane.watched && (before == 0) != (lane.sessions == 0);
    }

    fn see_direct(&mut self, lane: LaneId, sessions: u32, busy: u32) {
        let now = self.now;
        let Some(lane) = self.lanes.get_mut(lane.index()) else {
            return;
        };
        let direct = &mut lane.direct;
        if direct.sessions > 0 {
            direct.last_connected = Some(now);
        }
        if direct.busy > 0 {
            direct.last_busy = Some(now);
        }
        let before = (direct.sessions > 0, direct.busy > 0);
        (direct.sessions, direct.busy) = (sessions, busy);
        self.throttles_stale |= lane.watched && before != (sessions > 0, busy > 0);
    }

    /// Whether a throttle lowers its lane's processes at this moment.
    #[must_use]
    pub fn lowers(&self, throttle: usize) -> bool {
        let throttle = self.throttles.get(throttle);
        throttle.is_some_and(|throttle| throttle.lowering)
    }

    fn count_leases(&mut self, lane: LaneId, change: i64) {
        let now = self.now;
        let Some(lane) = self.lanes.get_mut(lane.index()) else {
            return;
        };
        let before = lane.leases;
        lane.leases = before.saturating_add_signed(change);
        if before > 0 && lane.leases == 0 {
            lane.last_leased = Some(now);
        }
        self.throttles_stale |= lane.watched && (before == 0) != (lane.leases == 0);
    }

    /// Lets everyone parked for a pool ask for room again.
    fn unpark(&mut self, id: PoolId) {
        for lane in 0..self.lanes.len() {
            let Some(pool) = self.find_pool(LaneId(lane as u16), id) else {
                continue;
            };
            // Youngest first: each then goes in front of the one before it.
            while let Some(waiter) = self.pools[pool].parked.back() {
                self.restand(waiter, Standing::Uncovered);
            }
        }
        self.dispatch_due = true;
    }
}
