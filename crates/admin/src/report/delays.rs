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
use super::record::{LaneSample, Sample};

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

impl Delay {
    /// Such as `for a processor, because of ltst`.
    pub(super) fn words(&self, lane: &str) -> String {
        let cause = self.cause.words();
        match (&self.by, self.cause) {
            (Some(by), _) if by == lane => format!("{cause}, by its own limit"),
            (Some(by), _) => format!("{cause}, because of {by}"),
            (None, Cause::Cpu) => format!("{cause}, because of something else on this machine"),
            (None, _) => cause.to_owned(),
        }
    }
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
        let own = quiet.map_or(0.0, Quiet::wait_us);
        for (by, seconds) in queue(sample, lane, own) {
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

/// The wait for slots beyond what asking takes in quiet: the lane's own doing where it had all that it may have, else of those
/// who had them, by their work.
fn queue(sample: &Sample, lane: &str, own_us: f64) -> Vec<(Option<String>, f64)> {
    let Some(seen) = sample.lane(lane) else {
        return Vec::new();
    };
    let waited = seen.wait.sum().as_secs_f64() - seen.wait.count() as f64 * own_us / 1e6;
    if waited <= 0.0 {
        return Vec::new();
    }
    if seen.limit > 0 && seen.busy >= seen.limit {
        return vec![(Some(lane.to_owned()), waited)];
    }
    let weight = |other: &LaneSample| other.run.sum().as_secs_f64() + other.busy as f64;
    shared(sample, lane, waited, weight, |_| f64::INFINITY)
}

/// The wait for a processor beyond what a transaction waits in quiet: of those who ran meanwhile, by how long. Nobody keeps
/// another waiting for longer than he runs himself; what is left is of something else on the machine.
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
    let worked = seen.run.sum().as_secs_f64() * 1e3 / sample.d.max(1) as f64;
    let at_once = worked.max(seen.busy as f64).max(1.0);
    let ran = |other: &LaneSample| other.cpu.map_or(0.0, |(ran, _)| ran as f64 / 1e3);
    shared(sample, lane, waited, ran, |other| ran(other) * at_once)
}

/// Among the other lanes, by weight and up to a limit each; the rest is nobody's.
fn shared(
    sample: &Sample,
    lane: &str,
    seconds: f64,
    weight: impl Fn(&LaneSample) -> f64,
    limit: impl Fn(&LaneSample) -> f64,
) -> Vec<(Option<String>, f64)> {
    let others = || sample.lanes.iter().filter(|other| other.n != lane);
    let all: f64 = others().map(&weight).sum();
    if all <= 0.0 {
        return vec![(None, seconds)];
    }
    let mut shares: Vec<(Option<String>, f64)> = others()
        .map(|other| {
            let share = (seconds * weight(other) / all).min(limit(other));
            (Some(other.n.clone()), share)
        })
        .collect();
    let told: f64 = shares.iter().map(|(_, share)| share).sum();
    shares.push((None, seconds - told));
    shares
}
