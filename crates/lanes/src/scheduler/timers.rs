//! What happens because time passed: timeouts, linger ends and duty edges, cancels, back-offs, reaping.

use std::cmp::Reverse;

use super::pool::{Keep, ServerState};
use super::{Closing, Scheduler};
use crate::time::earliest;
use crate::{LaneId, Time};

impl Scheduler {
    /// Does everything that is due at `now`; `decide` gives out what it freed. Waiters that are out of time go first, so that a slot that becomes free at
    /// the same moment is given to one who still has some.
    pub(super) fn fire_timers(&mut self) {
        self.expire_waiters();
        self.give_notices();
        self.meet_rules();
        if self.throttles_stale || self.throttle_edge.is_some_and(|edge| edge <= self.now) {
            self.refresh_throttles();
        }
        if self.objectives_stale || self.objective_edge.is_some_and(|edge| edge <= self.now) {
            self.refresh_objectives();
        }
        self.open_allowances();
        self.cancel_running();
        self.preempt();
        let mut rested = Vec::new();
        self.backoffs.end_rests(self.now, |pool| rested.push(pool));
        for pool in rested {
            self.unpark(pool);
        }
        self.reap_idle();
        self.reap_old();
    }

    fn reap_idle(&mut self) {
        for lane in 0..self.lanes.len() {
            while self.lanes[lane]
                .idle_deadline(&self.servers)
                .is_some_and(|deadline| deadline <= self.now)
            {
                match self.lanes[lane].first_replaceable(&self.servers) {
                    Some(server) => self.close(server, Closing::Idle),
                    None => break,
                }
            }
        }
    }

    fn reap_old(&mut self) {
        while let Some(&Reverse((end, id))) = self.lifetimes.peek() {
            if end > self.now {
                break;
            }
            self.lifetimes.pop();
            // One that is busy is looked at when it is released.
            if let Some(place) = self.find_server(id)
                && self.servers[place].state == ServerState::Idle
                && self.servers[place].keep == Keep::AsNeeded
            {
                self.close(place, Closing::Age);
            }
        }
    }

    /// Remembers when a connection that was just opened is too old.
    pub(super) fn note_lifetime(&mut self, place: u32) {
        let server = &self.servers[place];
        let id = self.server_id(place);
        let lane = &self.lanes[server.lane.index()];
        let Some(end) = lane.lifetime_end(id, server.opened) else {
            return;
        };
        // Connections that went early leave their entries behind.
        if self.lifetimes.len() > 2 * self.servers.len() + 64 {
            let mut lifetimes = std::mem::take(&mut self.lifetimes);
            lifetimes.retain(|&Reverse((_, id))| self.find_server(id).is_some());
            self.lifetimes = lifetimes;
        }
        self.lifetimes.push(Reverse((end, id)));
    }

    /// Remembers all of it anew, after a reload.
    pub(super) fn renew_lifetimes(&mut self) {
        self.lifetimes.clear();
        let opened: Vec<u32> = self
            .servers
            .iter()
            .filter(|(_, server)| server.state != ServerState::Opening)
            .map(|(place, _)| place)
            .collect();
        for place in opened {
            self.note_lifetime(place);
        }
    }

    /// A retired lane keeps nothing for later.
    pub(super) fn empty_retired_lanes(&mut self) {
        for lane in 0..self.lanes.len() {
            while let (true, true, Some(server)) = (
                self.lanes[lane].policy.retired,
                self.lanes[lane].arrivals.is_empty(),
                self.lanes[lane].idle.front(),
            ) {
                self.close(server, Closing::Changed);
            }
        }
    }

    pub(super) fn find_next_timeout(&self) -> Option<Time> {
        let old = self.lifetimes.peek().map(|&Reverse((end, _))| end);
        let mut next = earliest(self.throttle_edge, earliest(self.backoffs.next(), old));
        next = earliest(next, self.objective_edge);
        let mut consider = |time: Option<Time>| next = earliest(next, time);
        for lane in &self.lanes {
            if let Some(oldest) = lane.arrivals.front() {
                consider(lane.deadline(self.waiters[oldest].since));
            }
            consider(self.notice_due(lane));
            consider(self.rule_due(lane));
            consider(lane.idle_deadline(&self.servers));
            if !lane.uncovered.is_empty() {
                consider(lane.allowance.opens());
            }
        }
        for throttle in &self.throttles {
            consider(self.cancel_deadline(throttle));
        }
        consider(self.preemption_due());
        next
    }

    /// Every lane, for loops that change the scheduler.
    pub(super) fn lane_ids(&self) -> impl Iterator<Item = LaneId> + use<> {
        (0..self.lanes.len() as u16).map(LaneId)
    }
}
