//! Preemption: a lane that waits below its right takes back what others have borrowed.
//!
//! **Below its right** is a lane whose own limits would let it have one slot more, and for which none is free: while it holds
//! less than its minimum, or while a lane of lower priority holds borrowed slots, which are those above that lane's own
//! minimum. Only lanes that say `preemptible` give slots back that way, the one of lowest priority first, and of its
//! statements the youngest, in which least work is lost. It is cancelled once both have had the grace: the waiter in
//! waiting, the statement in running. As many are cancelled as wait, and no more while one is still on its way out.
//!
//! What the owner cannot cancel (nothing runs in the transaction, or its session would keep the slot all the same) it says
//! with `Input::Spared`; the next youngest goes then.

use std::cmp::Reverse;

use super::Scheduler;
use super::lane::Lane;
use super::pool::{ServerState, Yielding};
use crate::output::Output;
use crate::policy::Mode;
use crate::{LaneId, ServerId, Time};

/// Who would give way to whom, and when.
#[derive(Clone, Copy)]
struct Claim {
    due: Time,
    victim: u32,
    victim_lane: usize,
    claimant: usize,
}

impl Scheduler {
    /// When the next preemption is due.
    pub(super) fn preemption_due(&self) -> Option<Time> {
        let claims = self.claims()?;
        claims.map(|claim| claim.due).min()
    }

    /// Cancels what has to give way by now.
    pub(super) fn preempt(&mut self) {
        while let Some(claim) = self.due_claim() {
            let server = self.server_id(claim.victim);
            let (claimant, victim) = (&self.lanes[claim.claimant], &self.lanes[claim.victim_lane]);
            let binds = claimant.enforces() && victim.enforces();
            let counts = &mut self.lanes[claim.victim_lane].counts;
            if !binds {
                counts.would_preempt += 1;
                self.servers[claim.victim].yielding = Yielding::Spared;
                continue;
            }
            counts.preempted += 1;
            self.servers[claim.victim].yielding = Yielding::Does;
            self.preempting += 1;
            self.transfer(claim.victim, ServerState::Cancelled);
            self.outputs.push_back(Output::Preempt {
                server,
                lane: LaneId(claim.victim_lane as u16),
                claimant: LaneId(claim.claimant as u16),
            });
        }
    }

    fn due_claim(&self) -> Option<Claim> {
        let due = self.claims()?.filter(|claim| claim.due <= self.now);
        due.min_by_key(|claim| {
            let lane = &self.lanes[claim.victim_lane];
            let since = self.servers[claim.victim].since;
            (lane.policy.priority, Reverse(since), claim.claimant)
        })
    }

    /// For each lane that waits below its right, the youngest of each lane that may have to give way to it.
    fn claims(&self) -> Option<impl Iterator<Item = Claim> + '_> {
        if !self.preemptible {
            return None;
        }
        let claimants = (0..self.lanes.len()).filter(|&lane| self.lacks(lane));
        Some(claimants.flat_map(move |claimant| {
            let victims = (0..self.lanes.len()).filter(move |&lane| lane != claimant);
            victims.filter_map(move |victim| self.claim(claimant, victim))
        }))
    }

    /// Whether a lane waits for a slot that its own limits would let it have, and that is not on its way.
    fn lacks(&self, lane: usize) -> bool {
        let state = &self.lanes[lane];
        let lacking = state
            .uncovered
            .len()
            .min(state.effective.saturating_sub(state.held()));
        state.policy.mode != Mode::Off && lacking > self.preempting
    }

    fn claim(&self, claimant: usize, victim: usize) -> Option<Claim> {
        let (own, other) = (&self.lanes[claimant], &self.lanes[victim]);
        let grace = other.policy.preemptible?;
        let entitled = own.held() < own.minimum() || own.policy.priority > other.policy.priority;
        let borrows = other.held() > other.minimum();
        if !entitled || !borrows || other.policy.mode == Mode::Off {
            return None;
        }
        let waiter = own.uncovered.front()?;
        let youngest = self.youngest(other)?;
        let since = self.servers[youngest]
            .since
            .max(self.waiters[waiter].contends_since);
        Some(Claim {
            due: since + grace,
            victim: youngest,
            victim_lane: victim,
            claimant,
        })
    }

    fn youngest(&self, lane: &Lane) -> Option<u32> {
        let mut busy = lane.busy.iter_back(&self.servers);
        busy.find(|&place| self.servers[place].yielding == Yielding::May)
    }

    /// The owner did not cancel what was to give way: it runs on, and another is looked for.
    pub(super) fn spare(&mut self, server: ServerId) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        if self.servers[place].yielding != Yielding::Does {
            return;
        }
        self.end_preemption(place);
        let since = self.servers[place].since;
        self.transfer(place, ServerState::Busy);
        let server = &mut self.servers[place];
        server.since = since;
        server.yielding = Yielding::Spared;
        // Back to where it stood: the longest running come first.
        let lane = &mut self.lanes[server.lane.index()];
        lane.counts.preempted -= 1;
        lane.busy.remove(&mut self.servers, place);
        let before = lane
            .busy
            .iter(&self.servers)
            .find(|&other| self.servers[other].since > since);
        lane.busy.insert_before(&mut self.servers, place, before);
    }

    /// What was to give way is over, or will not.
    pub(super) fn end_preemption(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.servers[place].yielding, Yielding::May);
        if before == Yielding::Does {
            self.preempting -= 1;
        }
    }
}
