//! What if lanes.yaml were another: `pglanes record` writes down what a live proxy runs, `pglanes simulate` runs that through
//! the scheduler with another file.
//!
//! - `record`: from the proxy to a file
//! - `read`: the file, with the lanes of a configuration
//! - [`simulate`]: the replays, side by side
//! - `table`: what came of them, as text and as JSON

mod read;
pub(crate) mod record;
pub mod simulate;
mod table;

pub use read::{ReadError, RecordedLane, TraceFile};
