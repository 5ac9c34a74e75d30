//! A run's course, in few enough points for a plot.

use std::time::Duration;

use serde::Serialize;

use super::distribution::Distribution;
use super::record::Sample;

/// Points of one run at most.
const MOST_POINTS: u64 = 240;

/// A stretch of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Seconds since the run began, at the point's begin.
    pub at: f64,
    /// How many seconds it covers.
    pub lasts: f64,
    /// Transactions of the run's lane.
    pub transactions: u64,
    /// Their median in milliseconds, with the wait for a slot apart.
    pub p50_ms: Option<f64>,
    /// Their 95th percentile.
    pub p95_ms: Option<f64>,
    /// The 95th percentile of their waits.
    pub wait_p95_ms: Option<f64>,
    /// Slots that each other lane had at work, on average.
    pub slots: Vec<(String, f64)>,
    /// Which lanes were held back for how much of it, as a share.
    pub held: Vec<(String, f64)>,
    /// Seconds that the run's lane waited for locks of others.
    pub locked: f64,
}

/// The course of a lane's run between two moments.
pub(super) fn of(samples: &[&Sample], lane: &str, began: u64, ended: u64) -> Vec<Point> {
    let width = ended.saturating_sub(began).div_ceil(MOST_POINTS).max(1);
    let mut points: Vec<Point> = Vec::new();
    let mut rest = samples;
    while let Some(first) = rest.first() {
        let bin = (middle(first).saturating_sub(began)) / width;
        let count =
            rest.partition_point(|sample| middle(sample).saturating_sub(began) / width <= bin);
        let (these, others) = rest.split_at(count.max(1));
        points.push(point(these, lane, began));
        rest = others;
    }
    points
}

fn middle(sample: &Sample) -> u64 {
    sample.t - sample.d / 2
}

fn point(samples: &[&Sample], lane: &str, began: u64) -> Point {
    let (mut run, mut wait) = (Distribution::default(), Distribution::default());
    let mut slots: Vec<(String, Duration)> = Vec::new();
    let mut held: Vec<(String, u64)> = Vec::new();
    let (mut transactions, mut locked) = (0, 0);
    for sample in samples {
        for seen in &sample.lanes {
            if seen.n == lane {
                run.add(&seen.run);
                wait.add(&seen.wait);
                transactions += seen.x;
                continue;
            }
            // What has not ended is not in the sums yet: it had its slot all the time.
            let open = Duration::from_millis(sample.d) * u32::try_from(seen.busy).unwrap_or(0);
            let worked = seen.run.sum().max(open);
            entry(&mut slots, &seen.n, |all| *all += worked);
            if seen.held > 0 {
                entry(&mut held, &seen.n, |all| *all += seen.held);
            }
        }
        let locks = sample.blocked.iter();
        let locks = locks.filter(|(blocker, blocked, _)| blocked == lane && blocker != lane);
        locked += locks.map(|(_, _, ms)| ms).sum::<u64>();
    }
    let first = samples.first().map_or(0, |sample| sample.began());
    let covered: u64 = samples.iter().map(|sample| sample.d).sum();
    let lasts = covered.max(1) as f64 / 1e3;
    let ms = |distribution: &Distribution, share| {
        distribution.quantile_us(share).map(|us| round(us / 1e3))
    };
    Point {
        at: first.saturating_sub(began) as f64 / 1e3,
        lasts,
        transactions,
        p50_ms: ms(&run, 0.5),
        p95_ms: ms(&run, 0.95),
        wait_p95_ms: ms(&wait, 0.95),
        slots: slots
            .into_iter()
            .map(|(lane, worked)| (lane, round(worked.as_secs_f64() / lasts)))
            .collect(),
        held: held
            .into_iter()
            .map(|(lane, ms)| (lane, round((ms as f64 / 1e3 / lasts).min(1.0))))
            .collect(),
        locked: locked as f64 / 1e3,
    }
}

fn entry<T: Default>(all: &mut Vec<(String, T)>, name: &str, change: impl FnOnce(&mut T)) {
    match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, value)) => change(value),
        None => {
            let mut value = T::default();
            change(&mut value);
            all.push((name.to_owned(), value));
        }
    }
}

/// To three digits behind the point.
fn round(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
