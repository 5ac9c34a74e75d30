//! Where a session's own transactions have brought it, lane by lane.

use std::time::Duration;

use crate::{LaneId, Scheduler, Turn};

/// The lanes beside the present one in which a session's service is remembered, at most. Of more, those are forgotten in which
/// it is least ahead of the others.
pub const MAX_OTHER_LANES: usize = 8;

/// A session's turns in lanes that are ordered by service, see [`QueueOrder::Service`](crate::QueueOrder::Service).
///
/// A session whose transactions go to one lane now and to another then has its service counted in each by itself. Were it
/// forgotten on the way, a session of long transactions could have one short one elsewhere after each, come back level with
/// those who wait, and so take the lane by turns and not by time: nearly all of it beside short ones.
///
/// What others have meanwhile caught up with is not kept, so that a session that stays in one lane, or whose lanes are ordered by
/// arrival, owns nothing for it. A new session begins level with the others all the same: who connects anew for each
/// transaction is not held to account, and caps are against that.
#[derive(Clone, Debug)]
pub struct Turns {
    lane: LaneId,
    /// Of the transaction that asked last, and once that has ended of the next.
    turn: Turn,
    /// Of other lanes; an entry with turn zero is free.
    others: Option<Box<[(LaneId, Turn); MAX_OTHER_LANES]>>,
}

impl Turns {
    /// Those of a session that has had nothing, and is in this lane.
    #[must_use]
    pub const fn new(lane: LaneId) -> Self {
        Self {
            lane,
            turn: Turn(0),
            others: None,
        }
    }

    /// A transaction asks for its slot in this lane: its turn there.
    pub fn ask(&mut self, scheduler: &Scheduler, lane: LaneId) -> Turn {
        if lane != self.lane {
            self.leave(scheduler);
            self.lane = lane;
            self.turn = self.take(lane);
        }
        self.turn = scheduler.turn(lane, self.turn);
        self.turn
    }

    /// Its transaction held the slot for so long.
    pub fn served(&mut self, held: Duration) {
        self.turn = self.turn.after(held);
    }

    /// The lane that was asked last.
    #[must_use]
    pub const fn lane(&self) -> LaneId {
        self.lane
    }

    /// Keeps what the session is ahead in the lane that it leaves.
    fn leave(&mut self, scheduler: &Scheduler) {
        let ahead = |(lane, turn): (LaneId, Turn)| scheduler.turns_ahead(lane, turn);
        let left = (self.lane, self.turn);
        if ahead(left) == 0 {
            return;
        }
        let others = self
            .others
            .get_or_insert_with(|| Box::new([(LaneId(0), Turn(0)); MAX_OTHER_LANES]));
        // One that has been caught up with, else where it is least ahead.
        if let Some(least) = others.iter_mut().min_by_key(|other| ahead(**other))
            && ahead(*least) < ahead(left)
        {
            *least = left;
        }
    }

    fn take(&mut self, lane: LaneId) -> Turn {
        let mut others = self.others.iter_mut().flat_map(|others| others.iter_mut());
        let found = others.find(|other| other.0 == lane && other.1 > Turn::default());
        found.map_or_else(Turn::default, |found| std::mem::take(&mut found.1))
    }
}
