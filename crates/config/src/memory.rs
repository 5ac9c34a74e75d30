//! What the lanes' settings may take of the server's memory.

use crate::model::Config;
use crate::units;

/// One lane's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneMemory {
    /// The lane.
    pub lane: String,
    /// The most server connections it has.
    pub slots: u32,
    /// `work_mem` of its envelope in bytes; `None` where the server's own value holds.
    pub work_mem: Option<u64>,
}

impl Config {
    /// Each lane's slots and `work_mem`. A statement may use it several times (a sort or a hash each, times
    /// `hash_mem_multiplier`), so `slots x work_mem` is the usual bound and not the worst case.
    pub fn work_mem_total(&self) -> Vec<LaneMemory> {
        self.lanes
            .iter()
            .map(|lane| LaneMemory {
                lane: lane.name.clone(),
                slots: lane.maximum,
                work_mem: lane
                    .settings
                    .iter()
                    .find(|(name, _)| name == "work_mem")
                    .and_then(|(_, value)| units::memory_setting(value)),
            })
            .collect()
    }

    /// The most bytes of `work_mem` that all lanes take at once, given the server's own `work_mem`: the dearest lanes
    /// first, until the upstream's slots are used up.
    pub fn work_mem_bound(&self, server_work_mem: u64) -> u64 {
        let mut lanes = self.work_mem_total();
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.work_mem.unwrap_or(server_work_mem)));
        let mut left = self.upstream.slots;
        let mut total: u64 = 0;
        for lane in lanes {
            let slots = lane.slots.min(left);
            left -= slots;
            let each = lane.work_mem.unwrap_or(server_work_mem);
            total = total.saturating_add(u64::from(slots).saturating_mul(each));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::read;

    #[test]
    fn work_mem_is_bounded_by_the_dearest_lanes_within_the_total() {
        let config = read(
            "upstream: { slots: 10 }\nlanes:\n  a: { slots: { max: 8 }, settings: { work_mem: 64MB } }\n  b: { slots: { max: 8 }, settings: { work_mem: 4096 } }\n",
        )
        .unwrap();
        let lanes: Vec<_> = config
            .work_mem_total()
            .into_iter()
            .map(|lane| (lane.lane, lane.slots, lane.work_mem))
            .collect();
        assert_eq!(
            lanes,
            [
                ("a".to_owned(), 8, Some(64 << 20)),
                ("b".to_owned(), 8, Some(4 << 20)),
                ("default".to_owned(), 10, None)
            ]
        );
        assert_eq!(config.work_mem_bound(1 << 20), (8 * 64 + 2 * 4) << 20);
    }
}
