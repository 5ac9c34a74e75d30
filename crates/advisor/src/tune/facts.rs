//! What the rules know.

use pglanes_config::{Config, LaneMemory};

use crate::size;

/// The operating system, as far as PostgreSQL's settings differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Any Linux.
    Linux,
    /// macOS.
    MacOs,
}

/// Where the data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Flash: a random page costs about what the next one does.
    Ssd,
    /// Turning.
    Hdd,
}

/// The hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes.
    pub memory: u64,
    /// Processors.
    pub cores: u32,
    /// Its disk.
    pub disk: Disk,
    /// Its system.
    pub system: System,
}

/// A table of vectors with an HNSW index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Rows.
    pub rows: u64,
    /// Dimensions, four bytes each.
    pub dimensions: u32,
    /// The index's `m`.
    pub m: u32,
}

/// What a page holds beside its header and HNSW's own eight bytes.
const PAGE: u64 = 8192 - 24 - 8;
/// An element's tuple without its vector: ten heap pointers, the neighbours' pointer, a vector's header, alignment, line pointer.
const ELEMENT: u64 = 96;

impl Vectors {
    /// Bytes of the index on disk. An element (its vector) and its neighbours (2m pointers of six bytes at the base
    /// level, m at each above) share a page where they fit; held against a real index by a test.
    pub fn index_bytes(&self) -> u64 {
        let m = u64::from(self.m.max(2));
        let element = ELEMENT + 4 * u64::from(self.dimensions);
        // Every m-th row reaches one level higher.
        let neighbours = 16 + 6 * (2 * m + m / (m - 1));
        let each = element + neighbours;
        match PAGE / each {
            0 => self.rows.saturating_mul(each),
            per_page => self.rows.div_ceil(per_page).saturating_mul(8192),
        }
    }

    /// Bytes of the graph while it is built: what `maintenance_work_mem` has to hold for a fast build. Neighbours are
    /// sixteen bytes each there.
    pub fn graph_bytes(&self) -> u64 {
        let each = 4 * u64::from(self.dimensions) + 8 + 200 + 16 * (2 * u64::from(self.m) + 2);
        self.rows.saturating_mul(each)
    }
}

/// What the lanes may ask of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneDemand {
    /// Server connections of all lanes together.
    pub slots: u32,
    /// Each lane's slots and `work_mem`.
    pub lanes: Vec<LaneMemory>,
    /// Each lane's `maintenance_work_mem`, in the same order.
    pub maintenance: Vec<Option<u64>>,
}

impl LaneDemand {
    /// The demand of a lanes.yaml.
    pub fn of(config: &Config) -> Self {
        let maintenance = |lane: &pglanes_config::Lane| {
            let mut settings = lane.settings.iter();
            let found = settings.find(|(name, _)| name == "maintenance_work_mem");
            // Without a unit it is in kilobytes.
            found.and_then(|(_, value)| {
                size::parse(value)
                    .or_else(|| value.parse().ok().and_then(|kb: u64| kb.checked_mul(1024)))
            })
        };
        Self {
            slots: config.upstream.slots,
            lanes: config.work_mem_total(),
            maintenance: config.lanes.iter().map(maintenance).collect(),
        }
    }

    /// The most bytes the lanes take at once, each slot once its `work_mem` (times `hash`, PostgreSQL's
    /// `hash_mem_multiplier`) or its own `maintenance_work_mem`, whichever is more: the dearest first, until the slots
    /// are used up.
    pub fn bytes(&self, work_mem: u64, hash: u64) -> u64 {
        let each = |(at, lane): (usize, &LaneMemory)| {
            let work = lane.work_mem.unwrap_or(work_mem).saturating_mul(hash);
            let maintenance = self.maintenance.get(at).copied().flatten().unwrap_or(0);
            (work.max(maintenance), lane.slots)
        };
        let mut lanes: Vec<(u64, u32)> = self.lanes.iter().enumerate().map(each).collect();
        lanes.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut left = self.slots;
        let mut total: u64 = 0;
        for (bytes, slots) in lanes {
            let slots = slots.min(left);
            left -= slots;
            total = total.saturating_add(bytes.saturating_mul(u64::from(slots)));
        }
        total
    }
}

/// Everything the rules look at, beside a running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The hardware.
    pub machine: Machine,
    /// 14 to 18.
    pub major: u32,
    /// The part of the memory that PostgreSQL may use, in percent.
    pub share_percent: u32,
    /// The vectors, if there are any.
    pub vectors: Option<Vectors>,
    /// The lanes.
    pub lanes: LaneDemand,
}

impl Facts {
    /// Bytes that PostgreSQL may use, the lanes' sessions included.
    pub fn budget(&self) -> u64 {
        let (memory, share) = (self.machine.memory, u64::from(self.share_percent.min(100)));
        // In two parts, so that no product is too large.
        memory / 100 * share + memory % 100 * share / 100
    }

    /// The share where none is given: a Mac is somebody's desk, with an editor and models beside the database.
    pub fn usual_share(system: System) -> u32 {
        match system {
            System::Linux => 75,
            System::MacOs => 50,
        }
    }
}
