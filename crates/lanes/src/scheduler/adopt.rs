//! Connections that clients' logins made: taken in where there is room, and kept where none can follow.
//!
//! A login is carried out beside the slots, because a slot given to somebody who has not proven anything could be held for
//! the asking; the connection counts once it is adopted, and only then can it be granted.

use super::pool::{Keep, ServerState};
use super::{Closing, Scheduler};
use crate::input::Supply;
use crate::output::{Output, Rejection};
use crate::{LaneId, PoolId, TicketId};

impl Scheduler {
    /// Takes the connection in, or says that there is no room. It never waits: a connection that nobody uses yet is not
    /// worth a place in the queue, and must not stand in the way of those who wait for a slot.
    pub(super) fn adopt(&mut self, ticket: TicketId, lane: LaneId, pool: PoolId) {
        if !self.make_room(lane) {
            self.outputs.push_back(Output::NotAdopted { ticket });
            return;
        }
        let pool = self.find_or_add_pool(lane, pool);
        let place = self.add_opening(lane, pool);
        let server = self.server_id(place);
        self.outputs.push_back(Output::Adopted { ticket, server });
        self.transfer(place, ServerState::Idle);
        self.note_lifetime(place);
        self.dispatch_due = true;
        self.offer(pool);
    }

    /// Whether the lane may have one connection more, after closing an idle one where another can follow it.
    fn make_room(&mut self, lane: LaneId) -> bool {
        let Some(state) = self.lanes.get(lane.index()) else {
            return false;
        };
        if state.connections() < state.cap && self.connections < self.total_slots {
            return true;
        }
        let of_lane = state.connections() >= state.cap;
        let evict = match of_lane {
            true => state.first_replaceable(&self.servers),
            false => self
                .least_needed()
                .filter(|&place| self.servers[place].keep == Keep::AsNeeded),
        };
        // After a reload there may be more than one too many.
        let room = state.connections() <= state.cap && self.connections <= self.total_slots;
        match evict {
            Some(evict) if room => {
                self.close(evict, Closing::Room);
                true
            }
            _ => false,
        }
    }

    /// Puts in force who makes a pool's connections.
    pub(super) fn supply(&mut self, id: PoolId, supply: Supply) {
        let changed = match supply {
            Supply::Adopted => self.adopting.insert(id),
            Supply::Opened => self.adopting.remove(&id),
        };
        if !changed {
            return;
        }
        let keep = self.keep_of(id);
        for lane in self.lane_ids() {
            let Some(pool) = self.find_pool(lane, id) else {
                continue;
            };
            let places: Vec<u32> = self.servers.iter().map(|(place, _)| place).collect();
            for place in places {
                if self.servers[place].pool == pool {
                    self.servers[place].keep = keep;
                }
            }
            self.note_stranded(pool);
        }
        match supply {
            Supply::Adopted => self.dispatch_due = true,
            Supply::Opened => {
                self.unpark(id);
                self.close_outdated();
                self.renew_lifetimes();
            }
        }
    }

    /// What was kept past its time goes, once another can follow it.
    fn close_outdated(&mut self) {
        let idle = |(place, server): (u32, &super::Server)| {
            (server.state == ServerState::Idle).then_some(place)
        };
        let idle: Vec<u32> = self.servers.iter().filter_map(idle).collect();
        for place in idle {
            if let Some(why) = self.must_close(place) {
                self.close(place, why);
            }
        }
    }

    pub(super) fn is_adopting(&self, pool: PoolId) -> bool {
        !self.adopting.is_empty() && self.adopting.contains(&pool)
    }

    pub(super) fn keep_of(&self, pool: PoolId) -> Keep {
        match self.is_adopting(pool) {
            true => Keep::Irreplaceable,
            false => Keep::AsNeeded,
        }
    }

    /// A pool lost a connection, or gained a waiter that no connection can be opened for.
    pub(super) fn note_stranded(&mut self, pool: u32) {
        self.stranded |= !self.adopting.is_empty() && self.is_adopting(self.pools[pool].id);
    }

    /// Rejects who waits for a pool of which nothing is left in its lane.
    pub(super) fn reject_stranded(&mut self) {
        self.stranded = false;
        let mut waiters = Vec::new();
        for (place, pool) in self.pools.iter() {
            if pool.is_without_connection() && self.is_adopting(pool.id) {
                waiters.extend(pool.kin.iter(&self.waiters));
                waiters.extend(self.capped_of(place));
            }
        }
        for waiter in waiters {
            self.reject(waiter, Rejection::NoneLeft);
        }
    }

    /// How many connections a pool has in a lane, in any state.
    #[must_use]
    pub fn connections_of(&self, lane: LaneId, pool: PoolId) -> u32 {
        self.find_pool(lane, pool).map_or(0, |place| {
            let pool = &self.pools[place];
            pool.opening + pool.running + pool.idle.len()
        })
    }
}
