//! What a lane takes in quiet: its transactions while nobody else did anything.

use std::time::Duration;

use super::distribution::Distribution;
use super::history::History;
use super::record::Sample;

/// Fewer tell nothing.
const LEAST: u64 = 50;
/// More are not looked for: the latest count.
const ENOUGH: u64 = 10_000;
/// The part of a sample that others may have worked in quiet, in thousandths.
const OTHERS_THOUSANDTHS: u64 = 20;

/// A lane's quiet self.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Quiet {
    pub(super) wait: Distribution,
    pub(super) run: Distribution,
    /// What its backends waited for a processor even then, over how many transactions.
    pub(super) cpu_wait: Option<(Duration, u64)>,
}

impl Quiet {
    pub(super) fn transactions(&self) -> u64 {
        self.run.count()
    }

    /// The mean of a transaction with its wait, in microseconds.
    pub(super) fn mean_us(&self) -> Option<f64> {
        Some(self.run.mean_us()? + self.wait.mean_us().unwrap_or(0.0))
    }

    /// What a transaction waits for its slot even then: asking takes a moment.
    pub(super) fn wait_us(&self) -> f64 {
        self.wait.mean_us().unwrap_or(0.0)
    }

    /// What a transaction waits for a processor by itself, in microseconds.
    pub(super) fn cpu_wait_us(&self) -> f64 {
        let known = self.cpu_wait.filter(|(_, count)| *count > 0);
        known.map_or(0.0, |(waited, count)| {
            waited.as_secs_f64() * 1e6 / count as f64
        })
    }
}

/// What the lane took in quiet, in the latest of such moments before `until`; none where too little is known.
pub(super) fn quiet(history: &History, lane: &str, until: u64) -> Option<Quiet> {
    let known = history.samples.partition_point(|sample| sample.t <= until);
    let mut quiet = Quiet::default();
    for place in (0..known).rev() {
        let sample = &history.samples[place];
        let before = place.checked_sub(1).map(|before| &history.samples[before]);
        if !is_quiet(sample, before, lane) {
            continue;
        }
        let Some(seen) = sample.lane(lane) else {
            continue;
        };
        quiet.wait.add(&seen.wait);
        quiet.run.add(&seen.run);
        if let Some((_, waited)) = seen.cpu {
            let (all, count) = quiet.cpu_wait.get_or_insert_default();
            *all += Duration::from_millis(waited);
            *count += seen.x;
        }
        if quiet.transactions() >= ENOUGH {
            break;
        }
    }
    (quiet.transactions() >= LEAST).then_some(quiet)
}

/// Nobody but the lane worked, nobody held a lock, and no maintenance ran.
fn is_quiet(sample: &Sample, before: Option<&Sample>, lane: &str) -> bool {
    let others = |sample: &Sample| {
        let others = sample.lanes.iter().filter(|other| other.n != lane);
        others.fold((0, Duration::ZERO), |(busy, ran), other| {
            (busy + other.busy, ran + other.run.sum())
        })
    };
    let (busy, ran) = others(sample);
    let adjoining = before.filter(|before| before.t >= sample.began());
    let busy_before = adjoining.map_or(0, |before| others(before).0);
    let ran = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
    busy + busy_before + sample.direct == 0
        && ran.saturating_mul(1000) <= sample.d.saturating_mul(OTHERS_THOUSANDTHS)
        && sample.blocked.is_empty()
        && sample.maintenance.is_empty()
}
