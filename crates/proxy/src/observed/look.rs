//! One look at who waits for whom, beside the connections that are known.

use std::collections::{BTreeMap, BTreeSet};

use pglanes_lanes::LaneId;

/// Steps from one who waits to one who is waited for; a circle is a deadlock, which PostgreSQL ends.
const LONGEST_CHAIN: usize = 64;

/// What the data path knows of its own connections.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Backends by their numbers at the server.
    pub(crate) backends: BTreeMap<i32, LaneId>,
    /// Lanes whose backends are lowered at this moment.
    pub(crate) lowered: BTreeSet<LaneId>,
    /// Lanes that others yield to, and that are busy.
    pub(crate) protected_and_busy: BTreeSet<LaneId>,
}

/// Whom a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Lane(LaneId),
    /// A client past the proxy.
    Direct,
    Autovacuum,
    /// Anything else, or one that came and went between two looks.
    Other,
}

impl Known {
    fn is_lowered(&self, pid: i32) -> bool {
        self.backends
            .get(&pid)
            .is_some_and(|lane| self.lowered.contains(lane))
    }
}

/// The lowered backends that somebody waits for who is not lowered, at whatever remove: those of lanes that are left
/// alone, and whoever connects past the proxy.
pub(crate) fn needed_by_others(waiting: &[(i32, Vec<i32>)], known: &Known) -> Vec<i32> {
    if known.lowered.is_empty() {
        return Vec::new();
    }
    let whom: BTreeMap<i32, &[i32]> = waiting
        .iter()
        .map(|(pid, blockers)| (*pid, blockers.as_slice()))
        .collect();
    let mut needed = BTreeSet::new();
    let mut reached: BTreeSet<i32> = BTreeSet::new();
    let mut next: Vec<i32> = whom
        .keys()
        .copied()
        .filter(|pid| !known.is_lowered(*pid))
        .collect();
    for _ in 0..LONGEST_CHAIN {
        let blockers = next.iter().filter_map(|pid| whom.get(pid));
        let blockers: BTreeSet<i32> = blockers.flat_map(|pids| pids.iter().copied()).collect();
        next = blockers.difference(&reached).copied().collect();
        if next.is_empty() {
            break;
        }
        needed.extend(next.iter().filter(|pid| known.is_lowered(**pid)));
        reached.extend(&next);
    }
    needed.into_iter().collect()
}
