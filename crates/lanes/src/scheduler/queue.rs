//! Waiting transactions. Each stands in three lists: its lane's by arrival (deadlines, length), its pool's by arrival (who
//! is served first), and one by its standing (what it waits for).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::Scheduler;
use super::lane::Activity;
use super::notices::{Heed, tells};
use super::slab::{Linked, Links, List, Slab};
use crate::output::{Output, Rejection};
use crate::{ClientKey, LaneId, Mode, TicketId, Time, Turn};

pub(super) const ARRIVAL: usize = 0;
pub(super) const KIN: usize = 1;
pub(super) const PLACE: usize = 2;
pub(super) const NOTICE: usize = 3;
/// In how many lists a waiter may stand.
pub(super) const LISTS: usize = 4;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Room. In its lane's `uncovered`.
    Uncovered,
    /// A connection that is being opened. In its pool's `covered`.
    Covered,
    /// The end of its pool's back-off. In its pool's `parked`.
    Parked,
    /// Its client to have room under its cap. In its client's line, and not among its pool's `kin`.
    Capped,
}

/// Whether a waiter's lane has paid for it in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    Due,
    Paid,
}

pub(super) struct Waiter {
    pub(super) ticket: TicketId,
    pub(super) lane: LaneId,
    /// Its pool's place.
    pub(super) pool: u32,
    pub(super) client: ClientKey,
    /// When it came.
    pub(super) since: Time,
    /// When it began to contend for a slot: as it came, or as its cap let it.
    pub(super) contends_since: Time,
    /// Its session's turn, where the lane is ordered by service.
    pub(super) turn: Turn,
    /// Order over all lanes in which they began to contend; behind a cap, of arrival.
    pub(super) sequence: u64,
    pub(super) standing: Standing,
    pub(super) charge: Charge,
    pub(super) heed: Heed,
    /// When it meets the next rule, and which.
    pub(super) moment: Option<(Time, usize)>,
    pub(super) links: [Links; LISTS],
}

macro_rules! linked {
    ($($kind:ident),*) => {$(
        impl Linked<$kind> for Waiter {
            fn links(&self) -> &Links {
                &self.links[$kind]
            }
            fn links_mut(&mut self) -> &mut Links {
                &mut self.links[$kind]
            }
        }
    )*};
}
linked!(ARRIVAL, KIN, PLACE, NOTICE);

/// Places of waiters or pools by number. Looked up, never walked, so that the hash decides nothing.
pub(super) type NumberMap<K> = HashMap<K, u32, BuildHasherDefault<NumberHasher>>;

/// Mixes one number. The keys are the owner's own counters, so no one can choose them to collide.
#[derive(Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Waiter {
    /// By what a lane's waiters are ordered. In a lane ordered by arrival every turn is zero.
    pub(super) fn rank(&self) -> (Turn, u64) {
        (self.turn, self.sequence)
    }
}

/// Inserts in the lane's order: at the end if it is the last, else from the front, where a waiter that had a place in
/// sight nearly always belongs.
pub(super) fn insert_by_rank<const LIST: usize>(
    list: &mut List<LIST>,
    waiters: &mut Slab<Waiter>,
    place: u32,
) where
    Waiter: Linked<LIST>,
{
    let rank = waiters[place].rank();
    let last = list.back().is_none_or(|last| waiters[last].rank() < rank);
    let before = if last {
        None
    } else {
        list.iter(waiters)
            .find(|&other| waiters[other].rank() > rank)
    };
    list.insert_before(waiters, place, before);
}

impl Scheduler {
    /// Puts a transaction in its lane's queue: without a slot in sight, or behind its cap.
    pub(super) fn insert(&mut self, mut waiter: Waiter) {
        self.next_sequence += 1;
        waiter.sequence = self.next_sequence;
        let (ticket, lane, pool) = (waiter.ticket, waiter.lane, waiter.pool);
        let standing = waiter.standing;
        let state = &mut self.lanes[lane.index()];
        let tell = tells(&state.policy);
        waiter.heed = if tell { Heed::Due } else { Heed::Quiet };
        let place = self.waiters.insert(waiter);
        self.tickets.insert(ticket, place);
        state.arrivals.push_back(&mut self.waiters, place);
        if tell {
            state.unnoticed.push_back(&mut self.waiters, place);
        }
        if standing != Standing::Capped {
            insert_by_rank(&mut self.pools[pool].kin, &mut self.waiters, place);
        }
        self.take_standing(place, standing);
        self.watch_waiting(place);
        self.note_activity(lane);
    }

    /// Moves a waiter to another standing.
    pub(super) fn restand(&mut self, place: u32, standing: Standing) {
        self.leave_standing(place);
        self.take_standing(place, standing);
    }

    pub(super) fn take_standing(&mut self, place: u32, standing: Standing) {
        let waiter = &mut self.waiters[place];
        waiter.standing = standing;
        let (lane, pool) = (waiter.lane.index(), waiter.pool);
        match standing {
            Standing::Uncovered => {
                if self.lanes[lane].uncovered.is_empty() {
                    self.join_class(lane);
                }
                insert_by_rank(&mut self.lanes[lane].uncovered, &mut self.waiters, place);
                self.uncovered += 1;
            }
            Standing::Covered => {
                insert_by_rank(&mut self.pools[pool].covered, &mut self.waiters, place);
                self.lanes[lane].covered += 1;
            }
            Standing::Parked => {
                insert_by_rank(&mut self.pools[pool].parked, &mut self.waiters, place);
            }
            Standing::Capped => self.join_line(place),
        }
    }

    pub(super) fn leave_standing(&mut self, place: u32) {
        let Waiter {
            lane,
            pool,
            standing,
            ..
        } = self.waiters[place];
        match standing {
            Standing::Uncovered => {
                self.lanes[lane.index()]
                    .uncovered
                    .remove(&mut self.waiters, place);
                self.uncovered -= 1;
            }
            Standing::Covered => {
                self.pools[pool].covered.remove(&mut self.waiters, place);
                self.lanes[lane.index()].covered -= 1;
            }
            Standing::Parked => self.pools[pool].parked.remove(&mut self.waiters, place),
            Standing::Capped => self.leave_line(place),
        }
    }

    /// Takes a waiter out that gets no slot: its client has room for another.
    pub(super) fn give_up(&mut self, place: u32) {
        let Waiter {
            lane,
            client,
            standing,
            ..
        } = self.waiters[place];
        self.dequeue(place);
        if standing != Standing::Capped {
            self.leave_room(lane, client);
        }
    }

    /// Takes a waiter out of everything. Its pool may go with it.
    pub(super) fn dequeue(&mut self, place: u32) {
        self.unwatch_waiting(place);
        self.leave_standing(place);
        let Waiter {
            ticket,
            lane,
            pool,
            standing,
            heed,
            ..
        } = self.waiters[place];
        let state = &mut self.lanes[lane.index()];
        state.arrivals.remove(&mut self.waiters, place);
        if heed == Heed::Due {
            state.unnoticed.remove(&mut self.waiters, place);
        }
        if standing != Standing::Capped {
            self.pools[pool].kin.remove(&mut self.waiters, place);
        }
        self.tickets.remove(&ticket);
        self.waiters.remove(place);
        self.prune(pool);
        self.offer(pool);
        self.note_activity(lane);
        // A connection may now be opening for nobody, or the lane's next in line may find what this one did not.
        self.dispatch_due = true;
    }

    /// Answers a waiter with a rejection, and counts it.
    pub(super) fn reject(&mut self, place: u32, reason: Rejection) {
        let Waiter { ticket, lane, .. } = self.waiters[place];
        self.answer_rejected(ticket, lane, reason);
        self.give_up(place);
    }

    pub(super) fn answer_rejected(&mut self, ticket: TicketId, lane: LaneId, reason: Rejection) {
        if let Some(lane) = self.lanes.get_mut(lane.index()) {
            match reason {
                Rejection::QueueFull { .. } | Rejection::Capped { .. } => {
                    lane.counts.queue_full += 1;
                }
                Rejection::TimedOut { .. } | Rejection::Rule { .. } => {
                    lane.counts.timed_out += 1;
                }
                Rejection::OpenFailed { .. } | Rejection::NoneLeft => lane.counts.open_failed += 1,
            }
        }
        self.outputs.push_back(Output::Reject {
            ticket,
            lane,
            reason,
        });
    }

    /// The limit a newcomer without a slot in sight meets, if any.
    pub(super) fn full_queue(&mut self, lane: LaneId) -> Option<usize> {
        if self.waiters.len() >= self.max_waiting {
            return Some(self.max_waiting);
        }
        let lane = &mut self.lanes[lane.index()];
        let length = lane.policy.queue_length;
        if lane.queued() < length {
            return None;
        }
        match lane.policy.mode {
            Mode::Enforce => Some(length),
            Mode::Observe => {
                lane.counts.would_reject += 1;
                None
            }
            Mode::Off => None,
        }
    }

    /// Rejects everyone whose time is up, in every lane.
    pub(super) fn expire_waiters(&mut self) {
        for lane in 0..self.lanes.len() {
            while let Some(oldest) = self.lanes[lane].arrivals.front() {
                let since = self.waiters[oldest].since;
                match self.lanes[lane].deadline(since) {
                    Some(deadline) if deadline <= self.now => {}
                    _ => break,
                }
                let reason = Rejection::TimedOut {
                    waited: self.now.since(since),
                    limit: self.lanes[lane].policy.queue_timeout,
                };
                self.reject(oldest, reason);
            }
        }
    }

    /// Notices when the last transaction of a lane ends or the first begins: throttles watch for that.
    pub(super) fn note_activity(&mut self, lane: LaneId) {
        let now = self.now;
        let lane = &mut self.lanes[lane.index()];
        let busy = !lane.arrivals.is_empty() || lane.running() > 0;
        match (busy, lane.activity) {
            (true, Activity::Quiet(_)) => {
                lane.activity = Activity::Busy;
                // Its end is noticed when the objective is looked at next.
                self.objectives_stale |= lane.wakes_objective;
            }
            (false, Activity::Busy) => lane.activity = Activity::Quiet(Some(now)),
            _ => return,
        }
        self.throttles_stale |= lane.watched;
    }
}
