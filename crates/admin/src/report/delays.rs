//! Who delayed a run, by how much.
//!
//! Delays are in transaction time: ten transactions that wait a second each together are ten seconds, though the run may be
//! only one longer. What is known for certain: the wait for slots (counted by the data path) and the wait for a processor
//! (counted by the kernel, where PostgreSQL is on the same host). Waits for locks are looked at every `observe.interval`.
//! What is left of the time over the quiet baseline is nobody's in particular: disks, caches, memory.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::baseline::Quiet;
use super::record::Sample;

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A slot.
    Queue,
    /// A lock.
    Locks,
    /// A processor.
    Cpu,
    /// What was not measured: disks, caches, memory.
    Elsewhere,
}

impl Cause {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Queue => "for slots",
            Self::Locks => "for locks",
            Self::Cpu => "for a processor",
            Self::Elsewhere => "elsewhere (disk, caches, memory: not measured)",
        }
    }
}

/// A delay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delay {
    /// What was waited for.
    pub cause: Cause,
    /// Whose doing it is: a lane, `direct`, `autovacuum`; the run's own lane for its own limit; none where nobody is known.
    pub by: Option<String>,
    /// How long, over all transactions.
    pub seconds: f64,
}

/// Less is not told: the clocks' grain.
const LEAST_SECONDS: f64 = 0.001;

/// All delays of a lane within these samples, the largest first. `took` is what its transactions took in all, `count` how
/// many they were.
pub(super) fn of(
    samples: &[&Sample],
    lane: &str,
    quiet: Option<&Quiet>,
    took: Duration,
    count: u64,
) -> Vec<Delay> {
    let mut delays: BTreeMap<(Cause, Option<String>), f64> = BTreeMap::new();
    let mut add = |cause, by: Option<String>, seconds: f64| {
        *delays.entry((cause, by)).or_default() += seconds;
    };
    for sample in samples {
        for (by, seconds) in queue(sample, lane) {
            add(Cause::Queue, by, seconds);
        }
        for (blocker, blocked, ms) in &sample.blocked {
            if blocked == lane && blocker != lane {
                add(Cause::Locks, Some(blocker.clone()), *ms as f64 / 1e3);
            }
        }
        let own = quiet.map_or(0.0, Quiet::cpu_wait_us);
        for (by, seconds) in cpu(sample, lane, own) {
            add(Cause::Cpu, by, seconds);
        }
    }
    if let Some(mean) = quiet.and_then(Quiet::mean_us) {
        let over = took.as_secs_f64() - count as f64 * mean / 1e6;
        let known: f64 = delays.values().sum();
        delays.insert((Cause::Elsewhere, None), over - known);
    }
    let mut delays: Vec<Delay> = delays
        .into_iter()
        .filter(|(_, seconds)| *seconds >= LEAST_SECONDS)
        .map(|((cause, by), seconds)| Delay { cause, by, seconds })
        .collect();
    delays.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    delays
}

/// The wait for slots: the lane's own doing where it had all that it may have, else of those who had them, by their work.
fn queue(sample: &Sample, lane: &str) -> Vec<(Option<String>, f64)> {
    let Some(seen) = sample.lane(lane).filter(|seen| !seen.wait.sum().is_zero()) else {
        return Vec::new();
    };
    let waited = seen.wait.sum().as_secs_f64();
    if seen.limit > 0 && seen.busy >= seen.limit {
        return vec![(Some(lane.to_owned()), waited)];
    }
    let weight = |other: &super::LaneSample| other.run.sum().as_secs_f64() + other.busy as f64;
    shared(sample, lane, waited, weight)
}

/// The wait for a processor beyond what a transaction waits in quiet: of those who ran meanwhile, by how long.
fn cpu(sample: &Sample, lane: &str, own_us: f64) -> Vec<(Option<String>, f64)> {
    let Some(seen) = sample.lane(lane) else {
        return Vec::new();
    };
    let Some((_, waited)) = seen.cpu else {
        return Vec::new();
    };
    let waited = waited as f64 / 1e3 - seen.x as f64 * own_us / 1e6;
    if waited <= 0.0 {
        return Vec::new();
    }
    let weight = |other: &super::LaneSample| other.cpu.map_or(0.0, |(ran, _)| ran as f64);
    shared(sample, lane, waited, weight)
}

/// Among the other lanes, by weight; nobody's where none has any.
fn shared(
    sample: &Sample,
    lane: &str,
    seconds: f64,
    weight: impl Fn(&super::LaneSample) -> f64,
) -> Vec<(Option<String>, f64)> {
    let others = || sample.lanes.iter().filter(|other| other.n != lane);
    let all: f64 = others().map(&weight).sum();
    if all <= 0.0 {
        return vec![(None, seconds)];
    }
    others()
        .map(|other| (Some(other.n.clone()), seconds * weight(other) / all))
        .collect()
}
