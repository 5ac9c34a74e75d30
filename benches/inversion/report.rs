//! The figures, arm by arm.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::{Arm, Lock};

/// One run of one arm.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) latencies: Vec<Duration>,
    /// Transactions of the background, and how many a second.
    pub(crate) background: u64,
    pub(crate) background_per_second: f64,
}

impl Measured {
    /// The latency below which so many thousandths are, in milliseconds.
    fn quantile(&self, thousandths: usize) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let place = (sorted.len().saturating_sub(1) * thousandths).div_ceil(1000);
        sorted
            .get(place)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "p50 {:.2} ms, p95 {:.1}, p99 {:.1}, longest {:.0}; {} statements; background {:.1}/s",
            self.quantile(500),
            self.quantile(950),
            self.quantile(990),
            self.quantile(1000),
            self.latencies.len(),
            self.background_per_second
        )
    }
}

/// All runs.
#[derive(Debug, Default)]
pub(crate) struct Report(BTreeMap<(Lock, Arm), Vec<Measured>>);

impl Report {
    pub(crate) fn add(&mut self, lock: Lock, arm: Arm, measured: Measured) {
        self.0.entry((lock, arm)).or_default().push(measured);
    }
}

/// Of an odd number of runs the middle one; of an even number the lower of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0.0)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "Medians over the repetitions; latencies of the protected lane in milliseconds.\n\n\
             | lock | background lane | p50 | p95 | p99 | longest | statements | background/s |\n\
             |---|---|---|---|---|---|---|---|"
        )?;
        for ((lock, arm), runs) in &self.0 {
            let of = |figure: &dyn Fn(&Measured) -> f64| median(runs.iter().map(figure).collect());
            writeln!(
                formatter,
                "| {lock:?} | {arm:?} | {:.2} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} |",
                of(&|run| run.quantile(500)),
                of(&|run| run.quantile(950)),
                of(&|run| run.quantile(990)),
                of(&|run| run.quantile(1000)),
                of(&|run| run.latencies.len() as f64),
                of(&|run| run.background_per_second),
            )?;
        }
        Ok(())
    }
}
