//! What an owner tells besides requests and their ends: measurements, offers, who makes connections.

use pglanes_lanes::classify::StatementKind;
use pglanes_lanes::objective::{ClassKey, Sample};
use pglanes_lanes::{Input, LaneId, PoolId, ServerId, Supply, TicketId};

use super::{World, millis};

impl World {
    /// What any transaction may have taken: it moves limits and answers nobody wrongly.
    pub(super) fn measure(&mut self, server: ServerId, which: usize) {
        let lane = self.connections[&server].lane;
        let sample = Sample {
            class: ClassKey {
                kind: StatementKind::Select,
                shape: which as u64 % 3,
            },
            began: self.now,
            served: millis(which as u64),
            waited: millis(which as u64 % 7),
        };
        self.tell(Input::Measured { lane, sample });
    }

    pub(super) fn offer(&mut self, lane: LaneId, pool: PoolId) {
        self.next_ticket += 1;
        let ticket = TicketId(self.next_ticket);
        self.offers.insert(ticket, (lane, pool));
        self.tell(Input::Adopt { ticket, lane, pool });
        assert!(self.offers.is_empty(), "an offer is answered at once");
    }

    pub(super) fn supply(&mut self, pool: PoolId, supply: Supply) {
        match supply {
            Supply::Adopted => self.adopting.insert(pool),
            Supply::Opened => self.adopting.remove(&pool),
        };
        self.tell(Input::Supply { pool, supply });
    }
}
