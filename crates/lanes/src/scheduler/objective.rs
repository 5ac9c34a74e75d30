//! Objectives in the scheduler: what is measured goes to the loop of its lane, and what the loop leaves to the others is shared
//! among them.
//!
//! The share of a lane: those of higher priority go first, equals share by weight, and nobody gets more than it has use for
//! while another has. Each keeps a little (`LEAST_SLOT_THOUSANDTHS`), so that a queue moves however busy the protected lane is.

use std::time::Duration;

use super::Scheduler;
use super::lane::{Activity, Lane};
use super::throttle::{Force, force_of};
use crate::objective::{
    BaselineExport, Control, Hold, ImportError, LEAST_SLOT_THOUSANDTHS, ObjectivePolicy,
    ObjectiveSnapshot, Phase, Sample, Usage,
};
use crate::output::ObjectiveChange;
use crate::time::earliest;
use crate::{LaneId, Mode, Output, Time};

/// How often what is left is shared anew, as what the lanes have use for changes.
const SHARED_ANEW: Duration = Duration::from_millis(100);
/// The shortest time between two looks at an objective that nothing else asks for.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
/// How often at most it is said that a lane begins to be held back.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// One protected lane.
pub(super) struct Guard {
    lane: LaneId,
    control: Control,
    force: Force,
    /// The lane's envelope when its baseline was learned.
    epoch: u64,
    /// Lanes that it may hold back.
    held: Vec<Held>,
    others_quiet_since: Option<Time>,
    shared_at: Time,
    limit_thousandths: Option<u32>,
    said: Option<Time>,
    held_back: u64,
}

/// A lane that may be held back.
#[derive(Clone, Copy)]
struct Held {
    lane: LaneId,
    /// What it had use for at most lately.
    wanted: f64,
    /// In thousandths of a slot.
    share: Option<u32>,
}

/// What a lane wants of what there is.
#[derive(Clone, Copy, Debug)]
struct Claim {
    priority: i32,
    weight: u32,
    wanted: f64,
}

impl Scheduler {
    /// Puts the objectives of the lanes' policies in force.
    pub(super) fn apply_objectives(&mut self) {
        let mut before = std::mem::take(&mut self.guards);
        for lane in self.lane_ids() {
            let policy = &self.lanes[lane.index()].policy;
            let Some(objective) = policy.objective.clone().filter(|_| !policy.retired) else {
                continue;
            };
            let force = match (policy.mode, force_of(objective.mode)) {
                (Mode::Enforce, force) => force,
                (Mode::Observe, Force::None) | (Mode::Off, _) => Force::None,
                (Mode::Observe, _) => Force::Observes,
            };
            if force == Force::None {
                continue;
            }
            let epoch = policy.epoch;
            let known = before.iter().position(|guard| guard.lane == lane);
            let mut guard = match known {
                Some(place) => before.swap_remove(place),
                None => Guard::new(lane, objective.clone(), epoch),
            };
            guard.control.set_policy(objective);
            if guard.epoch != epoch {
                // Other settings make other plans.
                guard.control.forget();
                guard.epoch = epoch;
            }
            guard.force = force;
            guard.held = self.lanes_below(&guard);
            self.guards.push(guard);
        }
        for lane in &mut self.lanes {
            lane.wakes_objective = false;
            lane.allowance.set(self.now, None);
        }
        // Also of lanes that nobody holds back any more.
        for lane in self.lane_ids() {
            self.note_allowance(lane);
        }
        self.note_quiet();
        self.refresh_objectives();
    }

    fn lanes_below(&self, guard: &Guard) -> Vec<Held> {
        let priority = self.lanes[guard.lane.index()].policy.priority;
        let exempt = &guard.control.policy().exempt;
        let below = self.lane_ids().filter(|&lane| {
            let policy = &self.lanes[lane.index()].policy;
            // The protection of one lane never holds another protected one back.
            let protected = policy.objective.is_some() && policy.mode == Mode::Enforce;
            policy.priority < priority && !protected && !exempt.contains(&lane)
        });
        let held = below.map(|lane| Held {
            lane,
            wanted: 0.0,
            share: None,
        });
        held.collect()
    }

    /// Notices when the last transaction of the other lanes ends, or the first begins.
    pub(super) fn note_quiet(&mut self) {
        let running: u32 = self.lanes.iter().map(Lane::running).sum();
        for guard in &mut self.guards {
            let others = running - self.lanes[guard.lane.index()].running();
            let was_quiet = guard.others_quiet_since.is_some();
            if (others == 0) != was_quiet {
                guard.others_quiet_since = (others == 0).then_some(self.now);
                self.objectives_stale |= guard.control.phase() == Phase::Probing;
            }
        }
    }

    /// A transaction of a protected lane was measured.
    pub(super) fn measured(&mut self, lane: LaneId, sample: Sample) {
        let Some(place) = self.guards.iter().position(|guard| guard.lane == lane) else {
            return;
        };
        let usage = self.usage(place);
        let guard = &mut self.guards[place];
        let quiet = guard.others_quiet_since;
        if guard.control.sample(self.now, sample, quiet, usage) {
            self.objectives_stale = true;
        }
    }

    fn usage(&self, guard: usize) -> Usage {
        let mut usage = Usage { held: 0, wanted: 0 };
        for held in &self.guards[guard].held {
            let lane = &self.lanes[held.lane.index()];
            usage.held += lane.held();
            usage.wanted += lane.wanted();
        }
        usage
    }

    /// Looks at every objective again, and gives each lane what follows.
    pub(super) fn refresh_objectives(&mut self) {
        self.objectives_stale = false;
        self.objective_edge = None;
        if self.guards.is_empty() {
            return;
        }
        for place in 0..self.guards.len() {
            self.refresh_guard(place);
        }
        for index in 0..self.lanes.len() {
            let lane = LaneId(index as u16);
            let shares = self
                .guards
                .iter()
                .filter(|guard| guard.force == Force::Binds);
            let strictest = shares
                .filter_map(|guard| guard.held.iter().find(|held| held.lane == lane)?.share)
                .min();
            let state = &mut self.lanes[index];
            let limit = strictest.filter(|_| state.policy.mode == Mode::Enforce);
            if limit != state.allowance.thousandths() {
                state.allowance.set(self.now, limit);
            }
            self.note_allowance(lane);
        }
    }

    fn refresh_guard(&mut self, place: usize) {
        let now = self.now;
        let idle_since = match self.lanes[self.guards[place].lane.index()].activity {
            Activity::Busy => None,
            // One that never had anything to do is idle since ever.
            Activity::Quiet(since) => Some(since.unwrap_or(Time::ZERO)),
        };
        let never = matches!(
            self.lanes[self.guards[place].lane.index()].activity,
            Activity::Quiet(None)
        );
        let guard = &mut self.guards[place];
        let edge = match never {
            true => None,
            false => guard
                .control
                .refresh(now, idle_since, guard.others_quiet_since),
        };
        let hold = guard.control.hold();
        let mut anew = None;
        match hold {
            Hold::Free => guard.share(|_| None),
            Hold::All => guard.share(|_| Some(0)),
            Hold::To(slots) => {
                // A shorter linger is kept to as well.
                let linger = guard.control.policy().linger;
                anew = Some(now + SHARED_ANEW.min(linger.max(SHORTEST_LOOK)));
                self.share_out(place, slots);
            }
        }
        let guard = &mut self.guards[place];
        let limit = match hold {
            Hold::Free => None,
            Hold::All => Some(0),
            Hold::To(slots) => Some(thousandths(slots)),
        };
        self.lanes[guard.lane.index()].wakes_objective = hold == Hold::Free;
        let begins = limit.is_some() && guard.limit_thousandths.is_none();
        guard.limit_thousandths = limit;
        let silent = guard.said.is_none_or(|said| said + SAID_EVERY <= now);
        if begins && silent && !guard.held.is_empty() {
            guard.said = Some(now);
            let change = match guard.control.phase() {
                Phase::Learning | Phase::Probing => ObjectiveChange::Learns,
                Phase::Resting | Phase::Keeping => ObjectiveChange::HoldsBack,
            };
            let lane = guard.lane;
            self.outputs.push_back(Output::Objective { lane, change });
        }
        self.objective_edge = earliest(self.objective_edge, earliest(edge, anew));
    }

    /// Shares what is left among the lanes below.
    fn share_out(&mut self, place: usize, slots: f64) {
        let now = self.now;
        let elapsed = now.since(self.guards[place].shared_at).as_secs_f64();
        // What a lane had use for is believed for about a second.
        let faded = (1.0 - elapsed).clamp(0.0, 1.0);
        self.guards[place].shared_at = now;
        let mut claims = Vec::with_capacity(self.guards[place].held.len());
        for held in &mut self.guards[place].held {
            let lane = &self.lanes[held.lane.index()];
            let cap = f64::from(lane.cap);
            held.wanted = f64::from(lane.wanted()).max(held.wanted * faded).min(cap);
            claims.push(Claim {
                priority: lane.policy.priority,
                weight: lane.policy.weight,
                wanted: held.wanted,
            });
        }
        let shares = shares(&claims, slots);
        for (held, share) in self.guards[place].held.iter_mut().zip(shares) {
            held.share = Some(thousandths(share).max(LEAST_SLOT_THOUSANDTHS));
        }
    }

    /// A lane's account is brought up to now, and its limit with it.
    pub(super) fn note_allowance(&mut self, lane: LaneId) {
        let state = &mut self.lanes[lane.index()];
        let running = state.running();
        state.allowance.settle(self.now, running);
        if state.allowance.slots() != state.allowed {
            state.allowed = state.allowance.slots();
            self.limit_lane(lane.index());
        }
    }

    /// Lanes whose share of the time has come again.
    pub(super) fn open_allowances(&mut self) {
        if self.guards.is_empty() {
            return;
        }
        for lane in self.lane_ids() {
            let opens = self.lanes[lane.index()].allowance.opens();
            if opens.is_some_and(|opens| opens <= self.now) {
                self.note_allowance(lane);
            }
        }
    }

    /// Counts a newcomer with the objectives that keep it waiting, or would.
    pub(super) fn note_held_back_by_objective(&mut self, lane: LaneId) {
        let held_slots = self.lanes[lane.index()].held();
        for guard in &mut self.guards {
            let share = guard.held.iter().find(|held| held.lane == lane);
            if let Some(share) = share.and_then(|held| held.share)
                && u64::from(held_slots) * 1000 >= u64::from(share)
            {
                guard.held_back += 1;
            }
        }
    }

    /// The objectives that leave a lane less than its maximum now, in words.
    pub(super) fn objectives_over(&self, lane: LaneId) -> impl Iterator<Item = String> + '_ {
        let binding = self.guards.iter().filter(move |guard| {
            let state = &self.lanes[lane.index()];
            let share = guard.held.iter().find(|held| held.lane == lane);
            let share = share.and_then(|held| held.share);
            guard.force == Force::Binds
                && state.enforces()
                && share.is_some_and(|share| u64::from(share) < u64::from(state.cap) * 1000)
        });
        binding.map(|guard| {
            let name = &self.lanes[guard.lane.index()].policy.name;
            format!("objective of {name}")
        })
    }

    /// What protected lanes take in quiet, for the owner to keep.
    #[must_use]
    pub fn baselines(&self) -> Vec<BaselineExport> {
        let guards = self.guards.iter();
        guards
            .map(|guard| {
                let lane = &self.lanes[guard.lane.index()];
                guard.control.export(&lane.policy.name)
            })
            .collect()
    }

    /// Takes in what was kept of lanes that are still protected.
    ///
    /// # Errors
    /// What does not hold in it; lanes before that one have theirs.
    pub fn restore(&mut self, kept: &[BaselineExport]) -> Result<(), ImportError> {
        for export in kept {
            let lanes = &self.lanes;
            let guard = self
                .guards
                .iter_mut()
                .find(|guard| lanes[guard.lane.index()].policy.name == export.lane);
            if let Some(guard) = guard {
                guard.control.import(self.now, export)?;
            }
        }
        Ok(())
    }

    /// Everything is learned again: what runs behind the slots is not what it was.
    pub fn forget_baselines(&mut self) {
        for guard in &mut self.guards {
            guard.control.forget();
        }
        self.objectives_stale = true;
    }

    pub(super) fn objective_snapshots(&self, now: Time) -> Vec<ObjectiveSnapshot> {
        let guards = self.guards.iter();
        guards.map(|guard| guard.snapshot(now)).collect()
    }
}

impl Guard {
    fn new(lane: LaneId, policy: ObjectivePolicy, epoch: u64) -> Self {
        Self {
            lane,
            control: Control::new(policy),
            force: Force::None,
            epoch,
            held: Vec::new(),
            others_quiet_since: None,
            shared_at: Time::ZERO,
            limit_thousandths: None,
            said: None,
            held_back: 0,
        }
    }

    fn share(&mut self, of: impl Fn(&Held) -> Option<u32>) {
        for held in &mut self.held {
            held.share = of(held);
        }
    }

    fn snapshot(&self, now: Time) -> ObjectiveSnapshot {
        let mode = match self.force {
            Force::Binds => Mode::Enforce,
            Force::Observes => Mode::Observe,
            Force::None => Mode::Off,
        };
        let lanes = self.held.iter().map(|held| (held.lane, held.share));
        ObjectiveSnapshot {
            lane: self.lane,
            mode,
            limit_thousandths: self.limit_thousandths,
            lanes: lanes.collect(),
            held_back: self.held_back,
            ..self.control.snapshot(now)
        }
    }
}

/// In thousandths, and no more than there are slots.
fn thousandths(slots: f64) -> u32 {
    // Within the range of a u32 after the clamp.
    (slots * 1000.0).clamp(0.0, 1e8) as u32
}

/// What each claim gets of `slots`: higher priorities first, equals by weight, none more than it wants while another wants
/// more; and what nobody wants is there for whoever comes.
fn shares(claims: &[Claim], slots: f64) -> Vec<f64> {
    let mut shares = vec![0.0; claims.len()];
    let mut left = slots;
    let mut order: Vec<i32> = claims.iter().map(|claim| claim.priority).collect();
    order.sort_unstable_by_key(|priority| std::cmp::Reverse(*priority));
    order.dedup();
    for priority in order {
        let mut hungry: Vec<usize> = (0..claims.len())
            .filter(|&claim| claims[claim].priority == priority && claims[claim].wanted > 0.0)
            .collect();
        // Each round satisfies one claim at least, or gives everything away.
        while !hungry.is_empty() && left > 0.0 {
            let weights: f64 = hungry
                .iter()
                .map(|&claim| f64::from(claims[claim].weight))
                .sum();
            let level = left / weights.max(1.0);
            let is_modest =
                |&claim: &usize| claims[claim].wanted <= level * f64::from(claims[claim].weight);
            if !hungry.iter().any(is_modest) {
                for &claim in &hungry {
                    shares[claim] = level * f64::from(claims[claim].weight);
                }
                return shares;
            }
            for &claim in hungry.iter().filter(|claim| is_modest(claim)) {
                shares[claim] = claims[claim].wanted;
                left -= claims[claim].wanted;
            }
            hungry.retain(|claim| !is_modest(claim));
        }
    }
    let left = left.max(0.0);
    shares.iter().map(|share| share + left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(priority: i32, weight: u32, wanted: f64) -> Claim {
        Claim {
            priority,
            weight,
            wanted,
        }
    }

    #[test]
    fn higher_priorities_go_first_and_equals_share_by_weight() {
        let claims = [claim(0, 1, 6.0), claim(-10, 1, 2.0), claim(0, 3, 6.0)];
        assert_eq!(shares(&claims, 4.0), [1.0, 0.0, 3.0]);
        assert_eq!(shares(&claims, 13.0), [6.0, 1.0, 6.0]);
        assert_eq!(shares(&claims, 15.0), [7.0, 3.0, 7.0]);
        assert_eq!(
            shares(&[claim(0, 1, 1.0), claim(0, 1, 9.0)], 4.0),
            [1.0, 3.0]
        );
        assert_eq!(
            shares(&[claim(0, 1, 0.0), claim(-1, 1, 0.0)], 2.0),
            [2.0, 2.0]
        );
        assert_eq!(shares(&[], 2.0), Vec::<f64>::new());
    }
}
