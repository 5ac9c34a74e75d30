//! The part of a transaction that takes as long whatever runs beside it, told from the recording itself.
//!
//! A short burst of work after a wait is let run at once by the kernel, and wake-ups and round trips need no core: neither gets
//! longer when the cores are shared. So of transactions that are alike some are over as fast beside others as alone, and what
//! the shortest of them took, alone they take too. A burst that outlives the kernel's slice shares like any other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Recorded, Trace};
use crate::LaneId;
use crate::objective::ClassKey;

/// Of transactions that are alike, the part that is over in the fixed time.
const SHORTEST: f64 = 0.05;
/// The longest fixed part: about the kernel's time slice. Where the shortest took longer they were shared with, too.
const SLICE: Duration = Duration::from_millis(3);

/// By what transactions are alike: their class, or where none was recorded the magnitudes of their bytes in and out.
type Alike = (LaneId, Option<ClassKey>, (u32, u32));

fn alike(recorded: &Recorded) -> Alike {
    let magnitude = |bytes: u64| u64::BITS - bytes.leading_zeros();
    let (bytes_in, bytes_out) = recorded.bytes;
    let bytes = match recorded.class {
        Some(_) => (0, 0),
        None => (magnitude(bytes_in), magnitude(bytes_out)),
    };
    (recorded.lane, recorded.class, bytes)
}

impl Trace {
    /// Each transaction's fixed part, by its place; no longer than it took.
    pub(super) fn fixed(&self) -> Vec<Duration> {
        let mut held: BTreeMap<Alike, Vec<Duration>> = BTreeMap::new();
        for recorded in self.transactions.iter().filter(|one| !one.rejected) {
            held.entry(alike(recorded)).or_default().push(recorded.held);
        }
        let shortest: BTreeMap<Alike, Duration> = held
            .into_iter()
            .map(|(alike, mut held)| {
                let place = (held.len() as f64 * SHORTEST) as usize;
                let (_, shortest, _) = held.select_nth_unstable(place);
                (
                    alike,
                    if *shortest <= SLICE {
                        *shortest
                    } else {
                        Duration::ZERO
                    },
                )
            })
            .collect();
        let fixed = self.transactions.iter().map(|recorded| {
            let shortest = shortest.get(&alike(recorded)).copied();
            shortest.unwrap_or_default().min(recorded.held)
        });
        fixed.collect()
    }
}
