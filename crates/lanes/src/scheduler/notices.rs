//! Who waits long is told so, once.

use super::Scheduler;
use crate::output::Output;
use crate::policy::{LanePolicy, Mode};
use crate::{LaneId, Time};

/// Whether a waiter is still to be told that it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    /// Its lane tells nobody.
    Quiet,
    /// It stands in its lane's `unnoticed`.
    Due,
    /// It was.
    Told,
}

/// Whether a lane tells, or counts that it would.
pub(super) fn tells(policy: &LanePolicy) -> bool {
    !policy.queue_notice.is_zero() && policy.mode != Mode::Off
}

impl Scheduler {
    /// When the next waiter of a lane is to be told.
    pub(super) fn notice_due(&self, lane: &super::Lane) -> Option<Time> {
        let next = lane.unnoticed.front()?;
        Some(self.waiters[next].since + lane.policy.queue_notice)
    }

    /// Tells everyone who has waited for long enough.
    pub(super) fn give_notices(&mut self) {
        for index in 0..self.lanes.len() {
            while self
                .notice_due(&self.lanes[index])
                .is_some_and(|due| due <= self.now)
            {
                let lane = &mut self.lanes[index];
                let Some(waiter) = lane.unnoticed.front() else {
                    break;
                };
                lane.unnoticed.remove(&mut self.waiters, waiter);
                lane.counts.notices += 1;
                let waiter = &mut self.waiters[waiter];
                waiter.heed = Heed::Told;
                let waiting = lane.arrivals.len();
                // All who came before were told before.
                let place = waiting - lane.unnoticed.len();
                if lane.enforces() {
                    self.outputs.push_back(Output::Notice {
                        ticket: waiter.ticket,
                        lane: LaneId(index as u16),
                        place,
                        waiting,
                        waited: self.now.since(waiter.since),
                    });
                }
            }
        }
    }

    /// After a reload those who wait are told by the new limit, if they were not told before.
    pub(super) fn renew_notices(&mut self) {
        for index in 0..self.lanes.len() {
            let lane = &self.lanes[index];
            let tell = tells(&lane.policy);
            if tell == lane.notices {
                continue;
            }
            self.lanes[index].notices = tell;
            let arrivals: Vec<u32> = self.lanes[index].arrivals.iter(&self.waiters).collect();
            for place in arrivals {
                let unnoticed = &mut self.lanes[index].unnoticed;
                match (tell, self.waiters[place].heed) {
                    (true, Heed::Quiet) => {
                        self.waiters[place].heed = Heed::Due;
                        unnoticed.push_back(&mut self.waiters, place);
                    }
                    (false, Heed::Due) => {
                        self.waiters[place].heed = Heed::Quiet;
                        unnoticed.remove(&mut self.waiters, place);
                    }
                    _ => {}
                }
            }
        }
    }
}
