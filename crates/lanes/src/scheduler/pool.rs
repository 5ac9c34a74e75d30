//! Server connections and the pools they belong to. A connection serves one pool of one lane all its life, and moves
//! `Opening -> Idle <-> Busy (-> Cancelled)`; every move happens in `transfer`, which keeps all the counts.

use super::queue::{KIN, PLACE, Standing};
use super::slab::{Linked, Links, List};
use super::{Closing, Scheduler};
use crate::output::Output;
use crate::{ClientKey, LaneId, PoolId, ServerId, Time};

pub(super) const ORDER: usize = 0;
pub(super) const STACK: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerState {
    Opening,
    Idle,
    Busy,
    /// Busy, and its owner was told to cancel.
    Cancelled,
    /// Between transactions, with a session that keeps it.
    Kept,
}

impl ServerState {
    /// A session has it.
    pub(super) fn is_running(self) -> bool {
        matches!(self, Self::Busy | Self::Cancelled | Self::Kept)
    }
}

/// How a running transaction stands to lanes that wait below their right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yielding {
    /// It may have to give way.
    May,
    /// It is cancelled to give way.
    Does,
    /// It was looked at, and runs on.
    Spared,
}

/// Whether a connection may be closed for its age or its idleness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Another can be opened in its place.
    AsNeeded,
    /// None can: its pool has [`Supply::Adopted`](crate::Supply).
    Irreplaceable,
}

pub(super) struct Server {
    pub(super) lane: LaneId,
    /// Its pool's place.
    pub(super) pool: u32,
    pub(super) state: ServerState,
    /// When it was asked for, then when it was ready.
    pub(super) opened: Time,
    /// When it came into its state; a cancelled one keeps the moment of its grant.
    pub(super) since: Time,
    /// The lane's envelope it was opened with.
    pub(super) epoch: u64,
    pub(super) keep: Keep,
    /// Whose transaction it has.
    pub(super) client: ClientKey,
    /// The rules that its transaction met, a bit each.
    pub(super) met: u32,
    /// When its transaction meets the next rule, and which.
    pub(super) moment: Option<(Time, usize)>,
    pub(super) yielding: Yielding,
    order: Links,
    stack: Links,
}

impl Linked<ORDER> for Server {
    fn links(&self) -> &Links {
        &self.order
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.order
    }
}

impl Linked<STACK> for Server {
    fn links(&self) -> &Links {
        &self.stack
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.stack
    }
}

/// The connections and waiters of one user, database and parameters in one lane. Exists while it has any.
pub(super) struct Pool {
    pub(super) id: PoolId,
    pub(super) lane: LaneId,
    /// Last used first, so that hot connections stay hot and cold ones can be reaped.
    pub(super) idle: List<STACK>,
    pub(super) opening: u32,
    pub(super) running: u32,
    /// Everyone who waits for it, by arrival.
    pub(super) kin: List<KIN>,
    /// Those an opening connection will serve; never more than are opening.
    pub(super) covered: List<PLACE>,
    /// Those who wait for a back-off to pass.
    pub(super) parked: List<PLACE>,
    /// How many wait for it behind their caps.
    pub(super) capped: u32,
}

impl Pool {
    /// Connections being opened that nobody waits for.
    pub(super) fn spare(&self) -> u32 {
        self.opening - self.covered.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kin.is_empty() && self.capped == 0 && self.is_without_connection()
    }

    /// It has no connection in any state.
    pub(super) fn is_without_connection(&self) -> bool {
        self.idle.is_empty() && self.opening + self.running == 0
    }
}

fn pool_key(lane: LaneId, pool: PoolId) -> u64 {
    (u64::from(lane.0) << 32) | u64::from(pool.0)
}

impl Scheduler {
    /// The place of a pool in a lane, if it has connections or waiters there.
    pub(super) fn find_pool(&self, lane: LaneId, pool: PoolId) -> Option<u32> {
        self.pool_places.get(&pool_key(lane, pool)).copied()
    }

    pub(super) fn find_or_add_pool(&mut self, lane: LaneId, id: PoolId) -> u32 {
        if let Some(place) = self.find_pool(lane, id) {
            return place;
        }
        let place = self.pools.insert(Pool {
            id,
            lane,
            idle: List::new(),
            opening: 0,
            running: 0,
            kin: List::new(),
            covered: List::new(),
            parked: List::new(),
            capped: 0,
        });
        self.pool_places.insert(pool_key(lane, id), place);
        place
    }

    /// Forgets a pool that has neither connections nor waiters, so that pools are bounded by those.
    pub(super) fn prune(&mut self, place: u32) {
        let pool = &self.pools[place];
        if pool.is_empty() {
            self.pool_places.remove(&pool_key(pool.lane, pool.id));
            self.pools.remove(place);
        }
    }

    /// The place of a live connection, if the id is not of an earlier one.
    pub(super) fn find_server(&self, id: ServerId) -> Option<u32> {
        let (place, generation) = id.parts();
        self.servers.get(place)?;
        (self.servers.generation(place) == generation).then_some(place)
    }

    pub(super) fn server_id(&self, place: u32) -> ServerId {
        ServerId::new(place, self.servers.generation(place))
    }

    /// Starts a connection: its slot counts from here.
    pub(super) fn open(&mut self, lane: LaneId, pool: u32) {
        let place = self.add_opening(lane, pool);
        self.lanes[lane.index()].counts.opens += 1;
        let (server, id) = (self.server_id(place), self.pools[pool].id);
        self.backoffs.note_open(id, server);
        self.outputs.push_back(Output::Open {
            server,
            lane,
            pool: id,
        });
    }

    /// A new connection in the state `Opening`.
    pub(super) fn add_opening(&mut self, lane: LaneId, pool: u32) -> u32 {
        let epoch = self.lanes[lane.index()].policy.epoch;
        let keep = self.keep_of(self.pools[pool].id);
        let place = self.servers.insert(Server {
            lane,
            pool,
            state: ServerState::Opening,
            opened: self.now,
            since: self.now,
            epoch,
            keep,
            client: ClientKey::default(),
            met: 0,
            moment: None,
            yielding: Yielding::May,
            order: Links::ALONE,
            stack: Links::ALONE,
        });
        self.account(lane, |scheduler| {
            scheduler.lanes[lane.index()].opening += 1;
            scheduler.pools[pool].opening += 1;
        });
        self.connections += 1;
        place
    }

    /// Moves a connection to another state.
    pub(super) fn transfer(&mut self, place: u32, state: ServerState) {
        let lane = self.servers[place].lane;
        let now = self.now;
        self.account(lane, |scheduler| {
            scheduler.detach(place);
            let server = &mut scheduler.servers[place];
            if state != ServerState::Cancelled {
                server.since = now;
            }
            server.state = state;
            let (pool, index) = (server.pool, lane.index());
            let servers = &mut scheduler.servers;
            match state {
                ServerState::Opening => {}
                ServerState::Idle => {
                    scheduler.lanes[index].idle.push_back(servers, place);
                    scheduler.pools[pool].idle.push_front(servers, place);
                }
                ServerState::Busy => {
                    scheduler.lanes[index].busy.push_back(servers, place);
                    scheduler.pools[pool].running += 1;
                }
                ServerState::Cancelled => {
                    scheduler.lanes[index].cancelled.push_back(servers, place);
                    scheduler.pools[pool].running += 1;
                }
                ServerState::Kept => {
                    scheduler.lanes[index].kept.push_back(servers, place);
                    scheduler.pools[pool].running += 1;
                }
            }
        });
        self.note_running(lane);
    }

    /// What runs in a lane has changed: those who count it hear so. Costs nothing where there is no objective.
    fn note_running(&mut self, lane: LaneId) {
        if self.guards.is_empty() {
            return;
        }
        self.note_quiet();
        if self.lanes[lane.index()].allowance.is_limited() {
            self.note_allowance(lane);
        }
    }

    fn detach(&mut self, place: u32) {
        let Server {
            lane, pool, state, ..
        } = self.servers[place];
        let (lane, pool) = (&mut self.lanes[lane.index()], &mut self.pools[pool]);
        match state {
            ServerState::Opening => {
                lane.opening -= 1;
                pool.opening -= 1;
            }
            ServerState::Idle => {
                lane.idle.remove(&mut self.servers, place);
                pool.idle.remove(&mut self.servers, place);
            }
            ServerState::Busy => {
                lane.busy.remove(&mut self.servers, place);
                pool.running -= 1;
            }
            ServerState::Cancelled => {
                lane.cancelled.remove(&mut self.servers, place);
                pool.running -= 1;
            }
            ServerState::Kept => {
                lane.kept.remove(&mut self.servers, place);
                pool.running -= 1;
            }
        }
    }

    /// Runs a change of one lane's counts and keeps the sum of what lanes reserve.
    pub(super) fn account(&mut self, lane: LaneId, change: impl FnOnce(&mut Self)) {
        let before = self.lanes[lane.index()].reserved();
        change(self);
        self.reserved = self.reserved - before + self.lanes[lane.index()].reserved();
    }

    /// A connection has no transaction any more: its client has room for another.
    pub(super) fn vacate(&mut self, place: u32) {
        self.end_watch(place);
        let server = &mut self.servers[place];
        let client = std::mem::take(&mut server.client);
        let lane = server.lane;
        self.leave_room(lane, client);
    }

    /// A transaction is over: it meets no more rules, and has given way if it had to.
    pub(super) fn end_watch(&mut self, place: u32) {
        self.unwatch_running(place);
        self.end_preemption(place);
    }

    /// Forgets a connection, in whatever state it was. Waiters it would have served lose their cover, youngest first.
    pub(super) fn forget(&mut self, place: u32) {
        let Server {
            lane,
            pool,
            state,
            client,
            ..
        } = self.servers[place];
        self.end_watch(place);
        self.account(lane, |scheduler| scheduler.detach(place));
        self.servers.remove(place);
        self.connections -= 1;
        let lane_state = &mut self.lanes[lane.index()];
        lane_state.counts.closes += 1;
        // What was blocked beside an idle connection may be helped without it.
        lane_state.blocked_in = 0;
        lane_state.ceiling = lane_state.cap.max(lane_state.connections());
        self.uncover_excess(pool);
        self.note_stranded(pool);
        self.prune(pool);
        if state.is_running() {
            self.leave_room(lane, client);
        }
        self.note_activity(lane);
        self.note_running(lane);
        self.dispatch_due = true;
    }

    /// Closes an idle connection.
    pub(super) fn close(&mut self, place: u32, why: Closing) {
        self.closings[why as usize] += 1;
        let server = self.server_id(place);
        self.forget(place);
        self.outputs.push_back(Output::Close { server });
    }

    /// Brings `covered` down to the connections that are opening.
    pub(super) fn uncover_excess(&mut self, pool: u32) {
        while self.pools[pool].covered.len() > self.pools[pool].opening {
            match self.pools[pool].covered.back() {
                Some(youngest) => self.restand(youngest, Standing::Uncovered),
                None => return,
            }
        }
    }

    /// Why a connection that just became idle must go, if it must: its envelope or itself is too old, or a reload left too
    /// many.
    pub(super) fn must_close(&self, place: u32) -> Option<Closing> {
        let server = &self.servers[place];
        let lane = &self.lanes[server.lane.index()];
        let ended = lane.lifetime_end(self.server_id(place), server.opened);
        let as_needed = server.keep == Keep::AsNeeded;
        if lane.connections() > lane.cap
            || self.connections > self.total_slots
            || (as_needed && server.epoch != lane.policy.epoch)
        {
            return Some(Closing::Changed);
        }
        let old = as_needed && ended.is_some_and(|end| end <= self.now);
        old.then_some(Closing::Age)
    }
}
