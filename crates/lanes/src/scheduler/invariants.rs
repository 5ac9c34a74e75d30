//! What must hold between steps, recounted from scratch.

use super::dispatch::Plan;
use super::pool::{ServerState, Yielding};
use super::queue::Standing;
use super::{Lane, Scheduler};
use crate::LaneId;

fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Scheduler {
    /// Recounts everything and compares. Debug builds do so after every step; it costs time in proportion to all there is.
    ///
    /// # Errors
    /// The first invariant that does not hold, in words.
    pub fn check_invariants(&self) -> Result<(), String> {
        let settled = !(self.stranded || self.throttles_stale || self.dispatch_due);
        hold(settled, || "a step ended unsettled".to_owned())?;
        self.check_sums()?;
        for lane in self.lane_ids() {
            self.check_lane(lane)?;
        }
        self.check_pools()?;
        self.check_waiters()
    }

    fn check_sums(&self) -> Result<(), String> {
        let connections: u32 = self.lanes.iter().map(Lane::connections).sum();
        let reserved: u64 = self.lanes.iter().map(Lane::reserved).sum();
        let uncovered: usize = self
            .lanes
            .iter()
            .map(|lane| lane.uncovered.len() as usize)
            .sum();
        hold(
            (connections, reserved, uncovered) == (self.connections, self.reserved, self.uncovered),
            || {
                format!(
                    "sums: connections {connections}/{}, reserved {reserved}/{}, uncovered {uncovered}/{}",
                    self.connections, self.reserved, self.uncovered
                )
            },
        )?;
        let gives_way = |server: &super::Server| server.yielding == Yielding::Does;
        let preempting = self
            .servers
            .iter()
            .filter(|(_, server)| gives_way(server))
            .count();
        hold(preempting == self.preempting as usize, || {
            format!("{preempting} give way, counted {}", self.preempting)
        })?;
        hold(self.servers.len() == connections as usize, || {
            "a connection is in no lane".to_owned()
        })?;
        let idle = self.lanes.iter().any(|lane| !lane.idle.is_empty());
        hold(connections <= self.total_slots || !idle, || {
            format!(
                "{connections} connections of {} with idle ones left",
                self.total_slots
            )
        })
    }

    fn check_lane(&self, id: LaneId) -> Result<(), String> {
        let lane = &self.lanes[id.index()];
        let name = &lane.policy.name;
        hold(lane.connections() <= lane.ceiling, || {
            format!(
                "lane {name} has {} connections, at most {}",
                lane.connections(),
                lane.ceiling
            )
        })?;
        let states = [
            (ServerState::Idle, &lane.idle),
            (ServerState::Busy, &lane.busy),
            (ServerState::Cancelled, &lane.cancelled),
            (ServerState::Kept, &lane.kept),
        ];
        for (state, list) in states {
            for place in list.iter(&self.servers) {
                let server = &self.servers[place];
                hold(server.state == state && server.lane == id, || {
                    format!(
                        "lane {name}: a {:?} connection among {state:?}",
                        server.state
                    )
                })?;
            }
        }
        let moments = |rules: &super::rules::Rules| rules.check(id, &self.servers, &self.waiters);
        hold(lane.rules.as_deref().is_none_or(moments), || {
            format!("lane {name}: what is to meet its rules is miscounted")
        })?;
        if let Some(caps) = &lane.caps {
            let holders = self.room_holders(id);
            let holds = caps.check(lane.policy.caps, &holders, lane.enforces());
            hold(holds, || {
                format!("lane {name}: its clients' caps are miscounted")
            })?;
        }
        if let Some(waiter) = lane.uncovered.front() {
            let plan = self.plan(id, self.waiters[waiter].pool);
            hold(plan == Plan::Blocked, || {
                format!("lane {name}: its foremost waiter could be helped: {plan:?}")
            })?;
        }
        Ok(())
    }

    fn check_pools(&self) -> Result<(), String> {
        hold(self.pool_places.len() == self.pools.len(), || {
            "a pool is listed twice or not at all".to_owned()
        })?;
        for (place, pool) in self.pools.iter() {
            let what = format!("{:?} of {:?}", pool.id, pool.lane);
            hold(!pool.is_empty(), || format!("{what} is empty and kept"))?;
            hold(self.find_pool(pool.lane, pool.id) == Some(place), || {
                format!("{what} is not found")
            })?;
            let served = !pool.is_without_connection() || pool.kin.is_empty();
            hold(served || !self.is_adopting(pool.id), || {
                format!("{what} has waiters, no connection, and nobody to make one")
            })?;
            hold(pool.covered.len() <= pool.opening, || {
                format!("{what} covers more than it opens")
            })?;
            let foremost = pool.kin.front().map(|waiter| self.waiters[waiter].standing);
            let offered =
                pool.idle.is_empty() || foremost.is_none_or(|it| it == Standing::Uncovered);
            hold(offered, || {
                format!("{what}: an idle connection was not offered")
            })?;
            let sequences = pool
                .kin
                .iter(&self.waiters)
                .map(|waiter| self.waiters[waiter].rank());
            hold(sequences.is_sorted(), || {
                format!("{what}: waiters out of order")
            })?;
            for server in pool.idle.iter(&self.servers) {
                let server = &self.servers[server];
                hold(
                    server.pool == place && server.state == ServerState::Idle,
                    || format!("{what}: a {:?} connection is on its stack", server.state),
                )?;
            }
        }
        Ok(())
    }

    fn check_waiters(&self) -> Result<(), String> {
        hold(self.tickets.len() == self.waiters.len(), || {
            "a waiter has no ticket".to_owned()
        })?;
        let arrivals: usize = self
            .lanes
            .iter()
            .map(|lane| lane.arrivals.len() as usize)
            .sum();
        hold(arrivals == self.waiters.len(), || {
            "a waiter is in no lane".to_owned()
        })?;
        for (place, waiter) in self.waiters.iter() {
            let pool = self
                .pools
                .get(waiter.pool)
                .ok_or_else(|| format!("{:?} waits for no pool", waiter.ticket))?;
            hold(pool.lane == waiter.lane, || {
                format!("{:?} waits in another lane", waiter.ticket)
            })?;
            let parked = waiter.standing == Standing::Parked;
            hold(
                !parked || self.backoffs.blocks(pool.id) || self.is_adopting(pool.id),
                || format!("{:?} is parked without a back-off", waiter.ticket),
            )?;
            hold(self.tickets.get(&waiter.ticket) == Some(&place), || {
                format!("{:?} is not found", waiter.ticket)
            })?;
        }
        Ok(())
    }
}
