//! Which vector index suits the data: recall, latency, build time and size, measured on a sample, and what follows.
//!
//! The pure parts are [`growth`] (what ten times the rows will need), [`recommend`] (which index, which `hnsw.ef_search`),
//! [`faults`] (versions of pgvector that are known to lose rows), [`render`] and [`svg`]. [`measure`] is the collector: it reads a
//! bounded sample from a table and does everything else on a server that is thrown away afterwards (`bench`), as far as the budget
//! goes (`plan`), by the distance that the column is searched by ([`metric`]).

mod bench;
mod clock;
pub mod faults;
pub mod growth;
pub mod measure;
pub mod metric;
mod plan;
pub mod recommend;
pub mod render;
pub mod svg;
#[cfg(test)]
mod tests;

pub use plan::{LeftOut, Reduced};
use serde::Serialize;

/// What the index keeps of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// All of it, four bytes a dimension.
    Vector,
    /// Two bytes a dimension.
    Halfvec,
    /// One bit a dimension; what is found is ranked again by the whole vectors.
    Binary,
}

impl Storage {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Halfvec => "halfvec",
            Self::Binary => "binary+rerank",
        }
    }
}

/// An HNSW index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Index {
    /// What it keeps.
    pub storage: Storage,
    /// Links of a node.
    pub m: u32,
    /// Candidates while it is built.
    pub ef_construction: u32,
}

/// `hnsw.iterative_scan`, of pgvector 0.8.0 and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Iterative {
    /// One scan: a filter may leave fewer rows than were asked for.
    Off,
    /// Scans on until there are enough, nearly in order.
    RelaxedOrder,
    /// Scans on, in order.
    StrictOrder,
}

impl Iterative {
    /// Its value in SQL.
    pub fn value(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::RelaxedOrder => "relaxed_order",
            Self::StrictOrder => "strict_order",
        }
    }
}

/// A built index.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Built {
    /// Which one.
    pub index: Index,
    /// Over how many rows.
    pub rows: u64,
    /// How long it took, in one process.
    pub seconds: f64,
    /// How large it is.
    pub bytes: u64,
    /// After how many rows the graph no longer fitted in `maintenance_work_mem`; none where it did.
    pub outgrew_after: Option<u64>,
}

/// A way to search, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Searched {
    /// Over which index.
    pub index: Index,
    /// Candidates of the search.
    pub ef_search: u32,
    /// Whether it scans on.
    pub iterative: Iterative,
    /// Whether one row in ten passes a filter.
    pub filtered: bool,
    /// The share of the nearest rows that were found.
    pub recall: f64,
    /// The median, in milliseconds, as the client sees it.
    pub p50_ms: f64,
    /// The 95th percentile.
    pub p95_ms: f64,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Whose rows, such as `public.conversation_messages.embedding`.
    pub source: String,
    /// Rows in the largest index.
    pub rows: u64,
    /// Where that is fewer than were read.
    pub reduced: Option<Reduced>,
    /// By which distance, and why.
    pub metric: metric::Chosen,
    /// The vectors' dimensions.
    pub dimensions: u32,
    /// Searches of each measurement, by rows that are in no index.
    pub queries: u64,
    /// How many rows a search asks for.
    pub k: u32,
    /// pgvector's version on the server that measured.
    pub pgvector: String,
    /// pgvector's version where the rows are from.
    pub source_pgvector: String,
    /// `maintenance_work_mem` while indexes were built, in bytes.
    pub build_memory: u64,
    /// The median of an exact search, in milliseconds.
    pub exact_ms: f64,
    /// The indexes, the growth's smaller ones last.
    pub built: Vec<Built>,
    /// The searches.
    pub searched: Vec<Searched>,
    /// Searches over the recommended index at its smaller sizes: rows and median milliseconds.
    pub growth_ms: Vec<(u64, f64)>,
    /// Bytes of `maintenance_work_mem` a row of the recommended index took; measured by letting a small build outgrow it.
    pub build_bytes_a_row: Option<f64>,
    /// Indexes that the budget left no time for.
    pub left_out: Vec<LeftOut>,
}
