//! What somebody outside the data path has seen of the server: who works there, who waits for whom. The data path gets
//! plain facts through [`Handle::observed`](crate::Handle::observed), lays them beside the connections it knows, and draws
//! conclusions: connections past the proxy, lanes that wait for lanes, backends that must not stay slow.
//!
//! - `facts`: what is told, and what can be read of it
//! - `look`: one look at it all, judged; pure
//! - `record`: what is kept from look to look: counters, and what was there the last time; pure

mod facts;
mod look;
mod record;
#[cfg(test)]
mod tests;

pub use facts::{
    Attention, BlockedView, DirectView, MaintenanceView, Observed, ObservedView, Seen, SeenBackend,
    SeenKind, SeenWork,
};
pub(crate) use look::{Known, Who};
pub(crate) use record::{Findings, Record};
