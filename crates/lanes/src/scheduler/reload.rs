//! A new policy: lanes change in place, what is too much drains, what is out of date closes.

use super::dispatch::Class;
use super::lane::Lane;
use super::pool::Keep;
use super::throttle::{Force, Throttle, force_of};
use super::{Closing, Scheduler};
use crate::policy::{
    CapPolicy, MAX_LANES, MAX_THROTTLES, MAX_TOTAL_SLOTS, Mode, Policy, ThrottlePolicy,
};
use crate::{LaneId, QueueOrder, Turn};

/// Makes a policy that does not hold safe to run: every lane must find a slot in the end.
fn mend(policy: &mut Policy) {
    policy.total_slots = policy.total_slots.clamp(1, MAX_TOTAL_SLOTS);
    policy.lanes.truncate(MAX_LANES);
    policy.throttles.truncate(MAX_THROTTLES);
    for lane in &mut policy.lanes {
        if lane.retired {
            lane.max = lane.max.max(1);
        }
        lane.min = lane.min.min(lane.max).min(policy.total_slots);
    }
    let limit = policy.borrowable_from();
    let mut excess = policy
        .lanes
        .iter()
        .map(|lane| lane.guaranteed())
        .sum::<u64>()
        .saturating_sub(limit);
    while excess > 0 {
        // A lane that falls to zero here borrows from then on, so one slot more must be left.
        let Some(lane) = policy.lanes.iter_mut().max_by_key(|lane| lane.guaranteed()) else {
            break;
        };
        lane.min -= 1;
        let minima: u64 = policy.lanes.iter().map(|lane| lane.guaranteed()).sum();
        excess = minima.saturating_sub(policy.borrowable_from());
    }
}

impl Scheduler {
    /// Where a lane is ordered by arrival from now on, newcomers go behind all who wait by their service.
    fn renew_turns(&mut self) {
        for lane in &mut self.lanes {
            if lane.policy.queue_order == QueueOrder::Arrival && lane.turn > Turn::default() {
                let waiting = lane.arrivals.iter(&self.waiters);
                let last = waiting.map(|waiter| self.waiters[waiter].turn).max();
                lane.turn = lane.turn.max(last.unwrap_or_default());
            }
        }
    }

    /// Puts a policy in force.
    pub(super) fn apply_policy(&mut self, mut policy: Policy) {
        mend(&mut policy);
        let forces: Vec<Force> = (0..policy.throttles.len())
            .map(|index| force(&policy, index))
            .collect();
        self.total_slots = policy.total_slots;
        self.ageing = policy.ageing;
        self.max_waiting = policy.max_waiting;
        self.apply_lanes(policy.lanes);
        self.apply_throttles(policy.throttles.into_iter().zip(forces));
        self.apply_classes();
        self.refresh_throttles();
        self.apply_objectives();
        self.reserved = self.lanes.iter().map(Lane::reserved).sum();
        self.drain_idle();
        self.renew_lifetimes();
        self.dispatch_due = true;
    }

    fn apply_lanes(&mut self, policies: Vec<crate::LanePolicy>) {
        let before: Vec<CapPolicy> = self.lanes.iter().map(|lane| lane.policy.caps).collect();
        let mut policies = policies.into_iter();
        for lane in &mut self.lanes {
            match policies.next() {
                Some(policy) => lane.policy = policy,
                // The caller keeps places; one who does not gets lanes that drain.
                None => {
                    lane.policy.retired = true;
                    lane.policy.max = lane.policy.max.max(1);
                }
            }
        }
        self.lanes.extend(policies.map(Lane::new));
        for lane in &mut self.lanes {
            lane.cap = if lane.enforces() {
                lane.policy.max.min(self.total_slots)
            } else {
                self.total_slots
            };
            lane.ceiling = lane.cap.max(lane.connections());
            lane.effective = lane.effective.min(lane.cap);
            lane.watched = false;
        }
        for lane in self.lane_ids() {
            let unchanged = before.get(lane.index()).copied().unwrap_or_default();
            self.renew_caps(lane, unchanged);
        }
        self.renew_turns();
        self.renew_notices();
        self.renew_rules();
        let gives_back = |lane: &Lane| lane.policy.preemptible.is_some();
        self.preemptible = self.lanes.iter().any(gives_back);
        self.retired_lanes = self.lanes.iter().filter(|lane| lane.policy.retired).count();
        // Sums depend on the limits; they are right again before anything is moved.
        self.reserved = self.lanes.iter().map(Lane::reserved).sum();
    }

    /// A throttle that was there before, by name and lanes, stays active since when it was, and keeps its counts.
    fn apply_throttles(&mut self, policies: impl Iterator<Item = (ThrottlePolicy, Force)>) {
        self.throttle_changes += 1;
        let mut before = std::mem::take(&mut self.throttles);
        for (policy, force) in policies {
            let key = |policy: &ThrottlePolicy| (policy.name.clone(), policy.watch, policy.lane);
            let known = before
                .iter()
                .position(|throttle| key(&throttle.policy) == key(&policy));
            let mut throttle = match known {
                Some(place) => before.swap_remove(place),
                None => Throttle::new(policy.clone(), force),
            };
            throttle.policy = policy;
            throttle.force = force;
            if force == Force::None {
                throttle.rest(self.now);
            } else {
                self.lanes[throttle.policy.watch.index()].watched = true;
            }
            self.throttles.push(throttle);
        }
    }

    fn apply_classes(&mut self) {
        self.classes.clear();
        for lane in &mut self.lanes {
            let priority = lane.policy.priority;
            let known = self
                .classes
                .iter()
                .position(|class| class.priority == priority);
            lane.class = known.unwrap_or(self.classes.len());
            lane.pass = 0;
            if known.is_none() {
                self.classes.push(Class {
                    priority,
                    reached: 0,
                });
            }
        }
    }

    /// Closes idle connections with an old envelope, and those above a lowered maximum or total.
    fn drain_idle(&mut self) {
        for lane in self.lane_ids() {
            let idle: Vec<u32> = self.lanes[lane.index()].idle.iter(&self.servers).collect();
            for server in idle {
                let state = &self.lanes[lane.index()];
                let outdated = self.servers[server].epoch != state.policy.epoch
                    && self.servers[server].keep == Keep::AsNeeded;
                if outdated || state.connections() > state.cap {
                    self.close(server, Closing::Changed);
                }
            }
        }
        while self.connections > self.total_slots {
            match self.least_needed() {
                Some(server) => self.close(server, Closing::Changed),
                None => break,
            }
        }
    }
}

/// A throttle that names unknown lanes does nothing; one that would lock lanes for good only observes.
fn force(policy: &Policy, index: usize) -> Force {
    let throttle = &policy.throttles[index];
    let known = |lane: LaneId| lane.index() < policy.lanes.len();
    if !known(throttle.watch) || !known(throttle.lane) {
        return Force::None;
    }
    let locks = throttle.watch == throttle.lane || policy.closes_circle(index);
    match throttle.mode {
        Mode::Enforce if locks => Force::Observes,
        mode => force_of(mode),
    }
}
