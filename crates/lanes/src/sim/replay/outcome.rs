//! What became of each lane, measured or replayed, in the same terms.

use std::time::Duration;

use super::Trace;
use crate::LaneId;

/// What became of one lane while the measured lane worked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneOutcome {
    /// Transactions that ran to their end.
    pub finished: u64,
    /// Those, a second.
    pub per_second: f64,
    /// Half of the waits for a slot were no longer.
    pub wait_p50: Duration,
    /// 95 in 100 were no longer.
    pub wait_p95: Duration,
    /// 99 in 100 were no longer.
    pub wait_p99: Duration,
    /// Half of the transactions, their waits included, took no longer.
    pub time_p50: Duration,
    /// 95 in 100 took no longer.
    pub time_p95: Duration,
    /// 99 in 100 took no longer.
    pub time_p99: Duration,
    /// Requests that got no slot.
    pub rejected: u64,
    /// Transactions that a throttle, a rule or a preemption ended.
    pub cancelled: u64,
}

/// What became of all lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// From the measured lane's first request to the end of its last transaction; the whole recording where it had none.
    pub time: Duration,
    /// Whether the measured lane came to its end.
    pub complete: bool,
    /// By lane, in that time.
    pub lanes: Vec<LaneOutcome>,
}

/// One transaction that ran to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) lane: LaneId,
    pub(super) asked: Duration,
    pub(super) waited: Duration,
    pub(super) held: Duration,
}

impl Done {
    fn ended(&self) -> Duration {
        self.asked + self.waited + self.held
    }
}

/// What was measured, in the terms of a replay with so many lanes.
#[must_use]
pub fn measured(trace: &Trace, lanes: usize, lane: LaneId) -> Outcome {
    let ran = trace.transactions.iter().filter(|one| !one.rejected);
    let done: Vec<Done> = ran
        .map(|one| Done {
            lane: one.lane,
            asked: one.asked,
            waited: one.waited,
            held: one.held,
        })
        .collect();
    let over = done
        .iter()
        .filter(|one| one.lane == lane)
        .map(Done::ended)
        .max();
    let mut rejected = vec![0; lanes];
    for one in trace.transactions.iter().filter(|one| one.rejected) {
        if let Some(count) = rejected.get_mut(one.lane.index()) {
            *count += 1;
        }
    }
    Outcome::of(lanes, lane, over, trace.length, &done, (&rejected, &[]))
}

impl Outcome {
    pub(super) fn of(
        lanes: usize,
        measured: LaneId,
        over: Option<Duration>,
        length: Duration,
        done: &[Done],
        (rejected, cancelled): (&[u64], &[u64]),
    ) -> Self {
        let of_measured = || done.iter().filter(|one| one.lane == measured);
        let first = of_measured().map(|one| one.asked).min().unwrap_or_default();
        let last = of_measured().map(Done::ended).max();
        let (from, until) = match last {
            Some(last) => (first, last),
            None => (Duration::ZERO, length),
        };
        let time = until.saturating_sub(from);
        let lanes = (0..lanes).map(|lane| {
            let within: Vec<&Done> = done
                .iter()
                .filter(|one| one.lane.index() == lane)
                .filter(|one| (from..=until).contains(&one.ended()))
                .collect();
            let waits = sorted(within.iter().map(|one| one.waited));
            let times = sorted(within.iter().map(|one| one.waited + one.held));
            LaneOutcome {
                finished: within.len() as u64,
                per_second: within.len() as f64 / time.as_secs_f64().max(1e-9),
                wait_p50: at(&waits, 0.5),
                wait_p95: at(&waits, 0.95),
                wait_p99: at(&waits, 0.99),
                time_p50: at(&times, 0.5),
                time_p95: at(&times, 0.95),
                time_p99: at(&times, 0.99),
                rejected: rejected.get(lane).copied().unwrap_or(0),
                cancelled: cancelled.get(lane).copied().unwrap_or(0),
            }
        });
        Self {
            time,
            complete: over.is_some() || last.is_none(),
            lanes: lanes.collect(),
        }
    }
}

fn sorted(spans: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut spans: Vec<Duration> = spans.collect();
    spans.sort_unstable();
    spans
}

fn at(spans: &[Duration], share: f64) -> Duration {
    let place = (spans.len() as f64 * share) as usize;
    spans
        .get(place)
        .or(spans.last())
        .copied()
        .unwrap_or_default()
}
