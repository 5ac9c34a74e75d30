//! Caps: how many slots of a lane one user, or one application, may have, so that none takes its lane.
//!
//! A client (a user with an application) has *room* while fewer of its transactions than its cap run or contend for a slot.
//! One that comes without room stands behind its cap: outside the lane's contest, in its client's own line, and in nobody's
//! way. When one of its client's ends, the longest waiting of that line takes its room and joins the lane's queue, last.
//!
//! **The bound that follows.** A capped client is to its lane what as many clients are that ask again each time they are
//! served, however many it really has. So a transaction that its cap does not hold back is overtaken by nobody in its lane
//! and waits, beside what runs, for at most the cap's number of transactions of each other client. One that is held back is
//! served in the order of its own client's arrivals. Ageing counts from the moment of joining: who holds himself back gains
//! no priority over other lanes by it; deadlines count from the arrival.
//!
//! **What is kept** is a count for each client that has a transaction, and a line for each that has one behind its cap:
//! bounded by the slots and the waiters. A room that becomes free costs time in proportion to the clients whose other cap is
//! full, of which there are at most as many as slots.

use std::collections::{BTreeMap, BTreeSet};

use super::Scheduler;
use super::queue::{NumberMap, PLACE, Standing, Waiter, insert_by_rank};
use super::slab::{List, Slab};
use crate::policy::{Cap, CapPolicy, Mode};
use crate::{ClientKey, LaneId, Rejection};

/// The caps of one lane at work. A lane without caps has none of this.
#[derive(Default)]
pub(super) struct Caps {
    /// Transactions that run or contend, by user and by application; no entry is zero.
    held: [NumberMap<u64>; 2],
    /// The lines behind the caps, each by arrival; none is empty.
    lines: BTreeMap<ClientKey, List<PLACE>>,
    /// The lines again by user and by application, in the order of their foremost's arrival.
    fronts: [BTreeSet<(u64, u64, ClientKey)>; 2],
    /// Waiters in all lines.
    waiting: u32,
}

impl Caps {
    /// A cap that has no room for the client.
    fn full(&self, policy: CapPolicy, client: ClientKey) -> Option<Cap> {
        Cap::BOTH.into_iter().find(|&cap| {
            let limit = policy.limit(cap);
            let held = self.held[cap as usize].get(&client.part(cap)).copied();
            client.part(cap) != 0 && limit.is_some_and(|limit| held.unwrap_or(0) >= limit)
        })
    }

    fn take_room(&mut self, client: ClientKey) {
        for cap in Cap::BOTH {
            if client.part(cap) != 0 {
                *self.held[cap as usize].entry(client.part(cap)).or_default() += 1;
            }
        }
    }

    fn leave_room(&mut self, client: ClientKey) {
        for cap in Cap::BOTH {
            let held = &mut self.held[cap as usize];
            match held.get_mut(&client.part(cap)) {
                Some(1) => {
                    held.remove(&client.part(cap));
                }
                Some(count) => *count -= 1,
                None => {}
            }
        }
    }

    /// The foremost of the longest waiting line that this client's leaving may have made room for.
    fn next(&self, policy: CapPolicy, left: ClientKey) -> Option<ClientKey> {
        let found = Cap::BOTH.into_iter().filter_map(|cap| {
            let key = left.part(cap);
            let from = (key, 0, ClientKey::default());
            let to = (key, u64::MAX, ClientKey::default());
            let mut lines = self.fronts[cap as usize].range(from..=to);
            lines.find(|(_, _, client)| key != 0 && self.full(policy, *client).is_none())
        });
        let first = found.min_by_key(|&&(_, sequence, _)| sequence)?;
        Some(first.2)
    }

    fn length(&self, client: ClientKey) -> usize {
        self.lines
            .get(&client)
            .map_or(0, |line| line.len() as usize)
    }

    /// Puts a waiter at the end of its client's line.
    fn join(&mut self, waiters: &mut Slab<Waiter>, client: ClientKey, place: u32) {
        let line = self.lines.entry(client).or_insert(List::new());
        if line.is_empty() {
            let sequence = waiters[place].sequence;
            for cap in Cap::BOTH {
                self.fronts[cap as usize].insert((client.part(cap), sequence, client));
            }
        }
        line.push_back(waiters, place);
        self.waiting += 1;
    }

    fn leave(&mut self, waiters: &mut Slab<Waiter>, client: ClientKey, place: u32) {
        let Some(line) = self.lines.get_mut(&client) else {
            return;
        };
        let front = line.front();
        line.remove(waiters, place);
        self.waiting -= 1;
        if front == Some(place) {
            let next = line.front();
            for cap in Cap::BOTH {
                let fronts = &mut self.fronts[cap as usize];
                fronts.remove(&(client.part(cap), waiters[place].sequence, client));
                if let Some(next) = next {
                    fronts.insert((client.part(cap), waiters[next].sequence, client));
                }
            }
        }
        if line.is_empty() {
            self.lines.remove(&client);
        }
    }

    /// Waiters behind their caps.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Compares with a count from scratch of those that run or contend.
    pub(super) fn check(&self, policy: CapPolicy, holders: &[ClientKey], binds: bool) -> bool {
        let mut counted = Self::default();
        holders.iter().for_each(|&client| counted.take_room(client));
        let blocked = |client: &ClientKey| self.full(policy, *client).is_some();
        let lines: u32 = self.lines.values().map(List::len).sum();
        counted.held == self.held
            && self.lines.keys().all(blocked)
            && self
                .fronts
                .iter()
                .all(|fronts| fronts.len() == self.lines.len())
            && lines == self.waiting
            && (binds || lines == 0)
    }
}

impl Scheduler {
    /// Whether a newcomer finds its client's caps full, and has to stand behind them. Counts it then.
    pub(super) fn stands_back(&mut self, lane: LaneId, client: ClientKey) -> Option<Cap> {
        let lane = &mut self.lanes[lane.index()];
        let policy = lane.policy.caps;
        let caps = lane.caps.as_deref()?;
        let full = caps.full(policy, policy.masked(client))?;
        lane.counts.held_by_cap[full as usize] += 1;
        (lane.policy.mode == Mode::Enforce).then_some(full)
    }

    /// Puts a newcomer behind its cap, unless as many of its client's wait there as may.
    pub(super) fn stand_behind(&mut self, waiter: Waiter, cap: Cap) {
        let (ticket, lane, pool) = (waiter.ticket, waiter.lane, waiter.pool);
        let state = &self.lanes[lane.index()];
        let policy = state.policy.caps;
        let caps = state.caps.as_deref();
        let length = caps.map_or(0, |caps| caps.length(policy.masked(waiter.client)));
        if length >= state.policy.queue_length || self.waiters.len() >= self.max_waiting {
            self.prune(pool);
            let slots = policy.limit(cap).unwrap_or(0);
            let reason = Rejection::Capped { cap, slots, length };
            self.answer_rejected(ticket, lane, reason);
            return;
        }
        self.insert(waiter);
        self.note_stranded(pool);
    }

    /// A transaction begins to run or to contend.
    pub(super) fn take_room(&mut self, lane: LaneId, client: ClientKey) {
        let lane = &mut self.lanes[lane.index()];
        let client = lane.policy.caps.masked(client);
        if let Some(caps) = &mut lane.caps {
            caps.take_room(client);
        }
    }

    /// A transaction has ended, or contends no more: those it made room for join the queue.
    pub(super) fn leave_room(&mut self, lane: LaneId, client: ClientKey) {
        let state = &mut self.lanes[lane.index()];
        let policy = state.policy.caps;
        let client = policy.masked(client);
        let Some(caps) = &mut state.caps else {
            return;
        };
        caps.leave_room(client);
        while let Some(waiter) = self.lanes[lane.index()].caps.as_deref().and_then(|caps| {
            let next = caps.next(policy, client)?;
            caps.lines.get(&next)?.front()
        }) {
            self.join_queue(waiter);
        }
    }

    /// A waiter behind its cap contends from now on, as if it had just come.
    fn join_queue(&mut self, place: u32) {
        self.next_sequence += 1;
        self.leave_standing(place);
        let waiter = &mut self.waiters[place];
        waiter.sequence = self.next_sequence;
        waiter.contends_since = self.now;
        let (lane, pool, client) = (waiter.lane, waiter.pool, waiter.client);
        insert_by_rank(&mut self.pools[pool].kin, &mut self.waiters, place);
        self.take_standing(place, Standing::Uncovered);
        self.take_room(lane, client);
        self.note_stranded(pool);
        self.dispatch_due = true;
    }

    pub(super) fn join_line(&mut self, place: u32) {
        let Waiter {
            lane, pool, client, ..
        } = self.waiters[place];
        let lane = &mut self.lanes[lane.index()];
        let client = lane.policy.caps.masked(client);
        if let Some(caps) = &mut lane.caps {
            caps.join(&mut self.waiters, client, place);
        }
        self.pools[pool].capped += 1;
    }

    pub(super) fn leave_line(&mut self, place: u32) {
        let Waiter {
            lane, pool, client, ..
        } = self.waiters[place];
        let lane = &mut self.lanes[lane.index()];
        let client = lane.policy.caps.masked(client);
        if let Some(caps) = &mut lane.caps {
            caps.leave(&mut self.waiters, client, place);
        }
        self.pools[pool].capped -= 1;
    }

    /// Those of a pool that stand behind their caps, for what concerns the whole pool.
    pub(super) fn capped_of(&self, pool: u32) -> Vec<u32> {
        let state = &self.pools[pool];
        if state.capped == 0 {
            return Vec::new();
        }
        let arrivals = self.lanes[state.lane.index()].arrivals.iter(&self.waiters);
        let capped = |&place: &u32| {
            let waiter = &self.waiters[place];
            waiter.pool == pool && waiter.standing == Standing::Capped
        };
        arrivals.filter(capped).collect()
    }

    /// Puts changed caps in force: everything is counted anew, and who has room under them contends.
    pub(super) fn renew_caps(&mut self, lane: LaneId, before: CapPolicy) {
        let index = lane.index();
        let arrivals: Vec<u32> = self.lanes[index].arrivals.iter(&self.waiters).collect();
        let capped =
            |scheduler: &Self, place: u32| scheduler.waiters[place].standing == Standing::Capped;
        let policy = std::mem::replace(&mut self.lanes[index].policy.caps, before);
        let behind: Vec<u32> = arrivals
            .into_iter()
            .filter(|&place| capped(self, place))
            .collect();
        for &place in &behind {
            self.leave_line(place);
        }
        self.lanes[index].policy.caps = policy;
        let state = &self.lanes[index].policy;
        let wanted = policy != CapPolicy::default() && state.mode != Mode::Off && !state.retired;
        self.lanes[index].caps = wanted.then(Box::default);
        for client in self.room_holders(lane) {
            self.take_room(lane, client);
        }
        for place in behind {
            let client = policy.masked(self.waiters[place].client);
            let state = &self.lanes[index];
            let caps = state.caps.as_deref().filter(|_| state.enforces());
            let full = caps.is_some_and(|caps| caps.full(policy, client).is_some());
            self.join_line(place);
            if !full {
                self.join_queue(place);
            }
        }
    }

    /// The clients of all that runs or contends in a lane.
    pub(super) fn room_holders(&self, lane: LaneId) -> Vec<ClientKey> {
        let state = &self.lanes[lane.index()];
        let policy = state.policy.caps;
        let running = state
            .busy
            .iter(&self.servers)
            .chain(state.cancelled.iter(&self.servers))
            .chain(state.kept.iter(&self.servers));
        let running = running.map(|place| self.servers[place].client);
        let waiting = state
            .arrivals
            .iter(&self.waiters)
            .map(|place| &self.waiters[place]);
        let contending = waiting.filter(|waiter| waiter.standing != Standing::Capped);
        running
            .chain(contending.map(|waiter| waiter.client))
            .map(|client| policy.masked(client))
            .collect()
    }
}
