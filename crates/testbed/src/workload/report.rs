//! What a workload did: throughput, latencies and errors, as numbers and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Latencies;

/// What a workload did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its name: `memory` or `evaluation`.
    pub workload: String,
    /// From start to end, in seconds.
    pub wall_seconds: f64,
    /// The sum of all latencies, in seconds: for an evaluation on one connection, the wall time less its pauses.
    pub database_seconds: f64,
    /// All operations together.
    pub all: OperationReport,
    /// The operations by kind.
    pub operations: BTreeMap<String, OperationReport>,
    /// Errors by SQLSTATE; `connection` where there was none, as the connection broke or was refused by the network.
    pub errors: BTreeMap<String, u64>,
    /// Tries of an operation after the first.
    pub retries: u64,
    /// Operations that were given up after all tries.
    pub abandoned: u64,
    /// Connections made after each worker's first.
    pub reconnects: u64,
}

/// What was done of one kind of operation. A latency is from the first try to the success, its pauses before retries included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationReport {
    /// How many succeeded.
    pub count: u64,
    /// How many a second of the wall time.
    pub per_second: f64,
    /// The mean latency, in microseconds.
    pub mean_us: u64,
    /// The median latency, in microseconds.
    pub p50_us: u64,
    /// The latency that 95 % do not exceed, in microseconds.
    pub p95_us: u64,
    /// The latency that 99 % do not exceed, in microseconds.
    pub p99_us: u64,
    /// The longest latency, in microseconds.
    pub max_us: u64,
}

impl OperationReport {
    fn of(latencies: &Latencies, wall: Duration) -> OperationReport {
        OperationReport {
            count: latencies.count(),
            per_second: latencies.count() as f64 / wall.as_secs_f64().max(1e-9),
            mean_us: latencies.total_us() / latencies.count().max(1),
            p50_us: latencies.percentile_us(0.50),
            p95_us: latencies.percentile_us(0.95),
            p99_us: latencies.percentile_us(0.99),
            max_us: latencies.max_us(),
        }
    }
}

/// What one worker counts as it goes; those of all workers are put together at the end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    latencies: BTreeMap<&'static str, Latencies>,
    errors: BTreeMap<String, u64>,
    pub(super) retries: u64,
    pub(super) abandoned: u64,
    pub(super) reconnects: u64,
}

impl Tally {
    pub(super) fn succeeded(&mut self, kind: &'static str, latency: Duration) {
        self.latencies.entry(kind).or_default().record(latency);
    }

    pub(super) fn failed(&mut self, error: &tokio_postgres::Error) {
        let name = error.code().map_or("connection", |state| state.code());
        *self.errors.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: Tally) {
        for (kind, latencies) in other.latencies {
            self.latencies.entry(kind).or_default().merge(&latencies);
        }
        for (state, count) in other.errors {
            *self.errors.entry(state).or_default() += count;
        }
        self.retries += other.retries;
        self.abandoned += other.abandoned;
        self.reconnects += other.reconnects;
    }

    pub(super) fn report(self, workload: &str, wall: Duration) -> Report {
        let mut all = Latencies::default();
        self.latencies
            .values()
            .for_each(|latencies| all.merge(latencies));
        let by_kind = |(kind, latencies): (&&str, &Latencies)| {
            ((*kind).to_owned(), OperationReport::of(latencies, wall))
        };
        Report {
            workload: workload.to_owned(),
            wall_seconds: wall.as_secs_f64(),
            database_seconds: Duration::from_micros(all.total_us()).as_secs_f64(),
            all: OperationReport::of(&all, wall),
            operations: self.latencies.iter().map(by_kind).collect(),
            errors: self.errors,
            retries: self.retries,
            abandoned: self.abandoned,
            reconnects: self.reconnects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_puts_the_workers_together_and_survives_json() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.succeeded("search", Duration::from_micros(100));
        two.succeeded("search", Duration::from_micros(300));
        two.succeeded("compact-vacuum", Duration::from_millis(2));
        two.retries = 4;
        one.merge(two);
        let report = one.report("memory", Duration::from_secs(2));
        assert_eq!(report.operations["search"].count, 2);
        assert_eq!(report.operations["search"].mean_us, 200);
        assert!((report.all.per_second - 1.5).abs() < 1e-9);
        assert_eq!(report.retries, 4);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
