//! Whether a histogram's buckets, sum and count agree.

use std::collections::BTreeMap;

use super::line::number;
use super::{Family, Labels};

/// Which of a histogram's samples a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Bucket,
    Sum,
    Count,
}

/// The part that `sample` is of `family`.
pub(super) fn part(family: &str, sample: &str) -> Option<Part> {
    match sample.strip_prefix(family)? {
        "_bucket" => Some(Part::Bucket),
        "_sum" => Some(Part::Sum),
        "_count" => Some(Part::Count),
        _ => None,
    }
}

/// One distribution: what the labels beside `le` tell apart.
#[derive(Default)]
struct Distribution {
    /// Bound and cumulated count, in the order of the text.
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

pub(super) fn check(family: &Family) -> Result<(), String> {
    let mut distributions: BTreeMap<Labels, Distribution> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        let distribution = distributions.entry(labels).or_default();
        match (part(&family.name, &sample.name), bound) {
            (Some(Part::Bucket), Some(bound)) => {
                distribution.buckets.push((number(&bound)?, sample.value));
            }
            (Some(Part::Sum), None) => distribution.sum = Some(sample.value),
            (Some(Part::Count), None) => distribution.count = Some(sample.value),
            _ => return Err(format!("{} is no part of a histogram", sample.name)),
        }
    }
    for (labels, distribution) in &distributions {
        let wrong = |what: &str| format!("{} {labels:?}: {what}", family.name);
        distribution.check().map_err(wrong)?;
    }
    Ok(())
}

impl Distribution {
    fn check(&self) -> Result<(), &'static str> {
        let pairs = || self.buckets.iter().zip(self.buckets.iter().skip(1));
        if pairs()
            .any(|((low, _), (high, _))| low.partial_cmp(high) != Some(std::cmp::Ordering::Less))
        {
            return Err("its bounds do not rise");
        }
        if pairs().any(|((_, fewer), (_, more))| fewer > more) {
            return Err("its buckets are not cumulated");
        }
        let Some((bound, all)) = self.buckets.last() else {
            return Err("it has no bucket");
        };
        if *bound != f64::INFINITY {
            return Err("it has no bucket +Inf");
        }
        if self.count != Some(*all) {
            return Err("its bucket +Inf is not its count");
        }
        if self.sum.is_none() {
            return Err("it has no sum");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::text_format::Exposition;

    fn check(samples: &str, expected: Result<(), &str>) {
        let text = format!("# HELP a_seconds A.\n# TYPE a_seconds histogram\n{samples}");
        let found = Exposition::parse(&text).map(drop);
        let found = found.map_err(|error| error.what);
        match expected {
            Ok(()) => assert_eq!(found, Ok(())),
            Err(end) => assert!(
                found.as_ref().is_err_and(|what| what.ends_with(end)),
                "{found:?}"
            ),
        }
    }

    #[test]
    fn buckets_sum_and_count_agree() {
        let buckets = "a_seconds_bucket{le=\"0.5\"} 1\na_seconds_bucket{le=\"+Inf\"} 2\n";
        check(
            &format!("{buckets}a_seconds_sum 1.5\na_seconds_count 2\n"),
            Ok(()),
        );
        check(
            &format!("{buckets}a_seconds_sum 1.5\na_seconds_count 3\n"),
            Err("its bucket +Inf is not its count"),
        );
        check(
            &format!("{buckets}a_seconds_count 2\n"),
            Err("it has no sum"),
        );
        check(
            "a_seconds_bucket{le=\"0.5\"} 1\na_seconds_sum 1\na_seconds_count 1\n",
            Err("it has no bucket +Inf"),
        );
        check(
            "a_seconds_bucket{le=\"0.5\"} 3\na_seconds_bucket{le=\"+Inf\"} 2\na_seconds_sum 1\na_seconds_count 2\n",
            Err("its buckets are not cumulated"),
        );
        check(
            "a_seconds_bucket{le=\"2\"} 1\na_seconds_bucket{le=\"1\"} 2\na_seconds_sum 1\na_seconds_count 2\n",
            Err("its bounds do not rise"),
        );
        check(
            "a_seconds_sum 1\na_seconds_count 2\n",
            Err("it has no bucket"),
        );
        check(
            "a_seconds{le=\"1\"} 1\n",
            Err("a_seconds stands among a_seconds"),
        );
    }
}
