//! Metric families in the making. What they are called and mean stands in the table.

use std::time::Duration;

use pglanes_proxy::BUCKET_BOUNDS_US;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::table::{self, Definition};
use crate::text_format::Kind;

/// Names and values of one series' labels, in the order of their writing.
pub(super) type Labels<'l> = Vec<(&'static str, &'l str)>;

/// What is told, in the order in which it was added.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    /// A number that only grows.
    pub(super) fn counters<'l>(
        &mut self,
        name: &str,
        series: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) {
        let metrics = series.into_iter().map(|(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = labelled(&labels);
            metric.set_counter(counter);
            metric
        });
        self.push(name, MetricType::COUNTER, metrics.collect());
    }

    /// A number that goes up and down.
    pub(super) fn gauges<'l>(
        &mut self,
        name: &str,
        series: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) {
        let metrics = series.into_iter().map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = labelled(&labels);
            metric.set_gauge(gauge);
            metric
        });
        self.push(name, MetricType::GAUGE, metrics.collect());
    }

    /// Distributions of durations.
    pub(super) fn histograms<'l>(
        &mut self,
        name: &str,
        series: impl IntoIterator<Item = (Labels<'l>, Distribution)>,
    ) {
        let metrics = series.into_iter().map(|(labels, distribution)| {
            let mut metric = labelled(&labels);
            metric.set_histogram(distribution.cumulated());
            metric
        });
        self.push(name, MetricType::HISTOGRAM, metrics.collect());
    }

    /// One counter without labels.
    pub(super) fn counter(&mut self, name: &str, value: u64) {
        self.counters(name, [(Vec::new(), value as f64)]);
    }

    /// One gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, value: f64) {
        self.gauges(name, [(Vec::new(), value)]);
    }

    /// A family without a series is left out: the text format has no word for it. One that is not in the table is a mistake
    /// that every test finds.
    fn push(&mut self, name: &str, kind: MetricType, metrics: Vec<Metric>) {
        let Some(known) = table::find(name) else {
            debug_assert!(false, "{name} is not in the table of metrics");
            return;
        };
        debug_assert!(
            known.has(kind, &metrics),
            "{name} is not what its table says"
        );
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(known.name());
        family.set_help(known.meaning.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    pub(super) fn finish(self) -> Vec<MetricFamily> {
        self.0
    }
}

impl Definition {
    /// Whether these series are of its type and have its labels.
    fn has(&self, kind: MetricType, metrics: &[Metric]) -> bool {
        let is_kind = kind
            == match self.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            };
        let labels = |metric: &Metric| {
            let names = metric
                .get_label()
                .iter()
                .map(|label| label.name().to_owned());
            names.eq(self.labels.iter().map(|label| (*label).to_owned()))
        };
        is_kind && metrics.iter().all(labels)
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
