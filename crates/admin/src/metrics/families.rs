//! Metric families in the making. Names get the prefix here and nowhere else.

use std::time::Duration;

use pglanes_proxy::BUCKET_BOUNDS_US;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// What every name but the process' own begins with.
const PREFIX: &str = "pglanes_";

/// Names and values of one series' labels, in the order of their writing.
pub(super) type Labels<'l> = Vec<(&'static str, &'l str)>;

/// What is told, in the order in which it was added.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    /// A number that only grows; `name` ends with `_total`.
    pub(super) fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) {
        debug_assert!(name.ends_with("_total"), "{name}");
        let metrics = series.into_iter().map(|(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = labelled(&labels);
            metric.set_counter(counter);
            metric
        });
        self.push(name, help, MetricType::COUNTER, metrics.collect());
    }

    /// A number that goes up and down.
    pub(super) fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) {
        let metrics = series.into_iter().map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = labelled(&labels);
            metric.set_gauge(gauge);
            metric
        });
        self.push(name, help, MetricType::GAUGE, metrics.collect());
    }

    /// Distributions of durations; `name` ends with `_seconds`.
    pub(super) fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, Distribution)>,
    ) {
        debug_assert!(name.ends_with("_seconds"), "{name}");
        let metrics = series.into_iter().map(|(labels, distribution)| {
            let mut metric = labelled(&labels);
            metric.set_histogram(distribution.cumulated());
            metric
        });
        self.push(name, help, MetricType::HISTOGRAM, metrics.collect());
    }

    /// One counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(Vec::new(), value as f64)]);
    }

    /// One gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(Vec::new(), value)]);
    }

    /// A family without a series is left out: the text format has no word for it.
    fn push(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let name = match name {
            // The name that every client library gives it; dashboards expect it as it is.
            "process_start_time_seconds" => name.to_owned(),
            _ => format!("{PREFIX}{name}"),
        };
        let mut family = MetricFamily::default();
        family.set_name(name);
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    pub(super) fn finish(self) -> Vec<MetricFamily> {
        self.0
    }
}

fn labelled(labels: &[(&'static str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

/// Durations by bucket, as the data path counts them.
pub(super) struct Distribution {
    /// Not cumulated; the last is above every bound.
    pub(super) counts: [u64; BUCKET_BOUNDS_US.len() + 1],
    pub(super) sum: Duration,
}

impl Distribution {
    pub(super) fn of(histogram: &pglanes_proxy::Histogram) -> Self {
        Self {
            counts: histogram.counts(),
            sum: histogram.sum(),
        }
    }

    /// The count is the sum of what was read, so that it agrees with the buckets even while others are counting.
    fn cumulated(&self) -> Histogram {
        let mut total = 0;
        let mut buckets = Vec::with_capacity(BUCKET_BOUNDS_US.len());
        for (bound, count) in BUCKET_BOUNDS_US.iter().zip(&self.counts) {
            total += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e6);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        total += self.counts[BUCKET_BOUNDS_US.len()];
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(total);
        histogram.set_sample_sum(self.sum.as_secs_f64());
        histogram
    }
}
