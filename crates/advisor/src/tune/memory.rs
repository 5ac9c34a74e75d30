//! Who may take how much memory, so that all of them together stay within the share.

use std::fmt;

use super::facts::Facts;
use crate::size;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;

/// PostgreSQL's `autovacuum_max_workers` where nobody changed it.
const AUTOVACUUM_WORKERS: u64 = 3;
/// Connections beside the lanes' slots: pglanes' own questions, superusers, and people who go past it.
const BESIDE: u32 = 20;
/// Fewer `max_connections` than this are not proposed: a connection that is not there is a failure, one that idles is not.
const FEWEST_CONNECTIONS: u32 = 60;
/// How much a process takes before it does anything.
const PROCESS: u64 = 4 * MB;

/// Even the smallest settings do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLittle {
    /// What the lanes may take.
    pub lanes: u64,
    /// The least the server needs beside them.
    pub rest: u64,
    /// What there is.
    pub budget: u64,
}

impl fmt::Display for TooLittle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the lanes may take {} and the server at least {} beside them, but its share is {}: give it more (--share, \
             --memory), or lower the lanes' slots, work_mem or maintenance_work_mem",
            size::rounded(self.lanes),
            size::rounded(self.rest),
            size::rounded(self.budget)
        )
    }
}

impl std::error::Error for TooLittle {}

/// The memory settings, and what they and the lanes come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// `shared_buffers`.
    pub shared_buffers: u64,
    /// `work_mem` of sessions that no lane gives another.
    pub work_mem: u64,
    /// `maintenance_work_mem`; one index build by hand is counted.
    pub maintenance_work_mem: u64,
    /// `autovacuum_work_mem`; every worker is counted.
    pub autovacuum_work_mem: u64,
    /// `max_connections`.
    pub max_connections: u32,
    /// What the lanes' slots may take.
    pub lanes: u64,
    /// What sessions beside the lanes may take.
    pub beside: u64,
    /// What the processes take by themselves.
    pub processes: u64,
    /// The share.
    pub budget: u64,
}

impl Ledger {
    /// Everything together.
    pub fn total(&self) -> u64 {
        [
            // Locks, buffers' headers and the like come to some percent of the cache.
            self.shared_buffers.saturating_add(self.shared_buffers / 32),
            self.maintenance_work_mem,
            self.autovacuum_work_mem.saturating_mul(AUTOVACUUM_WORKERS),
            self.lanes,
            self.beside,
            self.processes,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// The most that fits.
    ///
    /// # Errors
    /// [`TooLittle`] when the lanes leave too little for a server.
    pub(super) fn fit(facts: &Facts) -> Result<Self, TooLittle> {
        let budget = facts.budget();
        let mut ledger = Self::wanted(facts, budget);
        // From what hurts least to what hurts most.
        while ledger.total() > budget {
            if ledger.work_mem > 4 * MB {
                ledger.work_mem /= 2;
            } else if ledger.maintenance_work_mem > 64 * MB {
                ledger.maintenance_work_mem /= 2;
                ledger.autovacuum_work_mem =
                    ledger.autovacuum_work_mem.min(ledger.maintenance_work_mem);
            } else if ledger.shared_buffers > 128 * MB {
                ledger.shared_buffers = (ledger.shared_buffers / 2).max(128 * MB);
            } else if ledger.work_mem > MB {
                ledger.work_mem /= 2;
            } else if ledger.maintenance_work_mem > 16 * MB {
                ledger.maintenance_work_mem = 16 * MB;
                ledger.autovacuum_work_mem = 16 * MB;
            } else {
                return Err(TooLittle {
                    lanes: ledger.lanes,
                    rest: ledger.total().saturating_sub(ledger.lanes),
                    budget,
                });
            }
            ledger.count(facts);
        }
        // What halving gave away too much of goes back to the cache.
        let left = budget - ledger.total();
        let wanted = Self::wanted(facts, budget).shared_buffers;
        let back = whole(ledger.shared_buffers.saturating_add(left / 33 * 32));
        ledger.shared_buffers = ledger.shared_buffers.max(back.min(wanted));
        Ok(ledger)
    }

    fn wanted(facts: &Facts, budget: u64) -> Self {
        // A third of the share: a quarter of a machine whose other quarter is left to the system.
        let mut cache = budget / 3;
        if let Some(vectors) = facts.vectors {
            let hot = vectors
                .index_bytes()
                .saturating_add(vectors.index_bytes() / 5);
            cache = cache.max(hot.min(budget / 5 * 2));
        }
        let work_mem = match budget {
            bytes if bytes >= 32 * GB => 32 * MB,
            bytes if bytes >= 8 * GB => 16 * MB,
            _ => 4 * MB,
        };
        let maintenance = whole((budget / 32).clamp(64 * MB, 2 * GB));
        let connections = (facts.lanes.slots.saturating_add(BESIDE)).next_multiple_of(10);
        let mut ledger = Self {
            shared_buffers: whole(cache.max(128 * MB)),
            work_mem,
            maintenance_work_mem: maintenance,
            autovacuum_work_mem: maintenance.min(GB),
            max_connections: connections.max(FEWEST_CONNECTIONS),
            lanes: 0,
            beside: 0,
            processes: 0,
            budget,
        };
        ledger.count(facts);
        ledger
    }

    fn count(&mut self, facts: &Facts) {
        // From 15 on a hash takes twice work_mem (hash_mem_multiplier 2.0).
        let hash = if facts.major >= 15 { 2 } else { 1 };
        let beside = u64::from(self.max_connections.saturating_sub(facts.lanes.slots));
        self.lanes = facts.lanes.bytes(self.work_mem, hash);
        self.beside = beside.saturating_mul(self.work_mem.saturating_mul(hash));
        self.processes = u64::from(self.max_connections).saturating_mul(PROCESS);
    }
}

/// Without the part that would need a smaller unit to be written: whole gigabytes from eight on, else megabytes.
fn whole(bytes: u64) -> u64 {
    match bytes {
        bytes if bytes >= 8 * GB => bytes / GB * GB,
        bytes if bytes >= MB => bytes / MB * MB,
        bytes => bytes / KB * KB,
    }
}
