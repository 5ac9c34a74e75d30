//! Caps, as plainly as can be.

use pglanes_lanes::{Cap, ClientKey, LaneId};

use super::{Waiter, World};

impl World {
    /// Lets everyone contend whose client's caps have room, longest waiting first: a client has room while fewer of its
    /// transactions than its cap run or contend.
    pub(super) fn admit(&mut self) {
        let next = |world: &Self| {
            let mut waiting = world.waiting.iter();
            let fits = |waiter: &Waiter| waiter.admitted.is_none() && world.has_room(waiter);
            Some(*waiting.find(|(_, waiter)| fits(waiter))?.0)
        };
        while let Some(ticket) = next(self) {
            self.next_admission += 1;
            let admission = Some(self.next_admission);
            self.waiting.get_mut(&ticket).expect("it waits").admitted = admission;
        }
    }

    fn has_room(&self, waiter: &Waiter) -> bool {
        let caps = self.policy.lanes[waiter.lane.index()].caps;
        let part = |client: ClientKey, cap| match cap {
            Cap::User => client.user,
            Cap::Application => client.application,
        };
        Cap::BOTH.into_iter().all(|cap| {
            let own = part(waiter.client, cap);
            let Some(limit) = caps.limit(cap).filter(|_| own != 0) else {
                return true;
            };
            let same = |lane: LaneId, client| lane == waiter.lane && part(client, cap) == own;
            let running = self.connections.values();
            let running = running.filter(|one| same(one.lane, one.client)).count();
            let contending = self.waiting.values();
            let contending = contending
                .filter(|one| one.admitted.is_some() && same(one.lane, one.client))
                .count();
            running + contending < limit as usize
        })
    }
}
