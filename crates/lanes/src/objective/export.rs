//! Baselines as plain values, for the owner to keep over a restart.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::histogram::{BUCKETS, LogHistogram};
use super::{ClassKey, Control, MAX_CLASSES};
use crate::Time;
use crate::classify::StatementKind;

/// The most buckets of a class.
pub const MAX_EXPORT_BUCKETS: usize = BUCKETS;

/// What one lane takes in quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineExport {
    /// The lane's name: numbers are given anew by each process.
    pub lane: String,
    /// The classes that have samples.
    pub classes: Vec<ClassExport>,
}

/// What one class takes in quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassExport {
    /// The kind of statement, by name.
    pub kind: String,
    /// Its shape's hash.
    pub shape: u64,
    /// Buckets that have samples, with their number.
    pub buckets: Vec<(u32, u32)>,
}

impl ClassExport {
    /// How many transactions it was learned from; older ones count for less.
    pub fn samples(&self) -> u32 {
        self.histogram().total()
    }

    /// The time that so many thousandths of them took at most.
    pub fn quantile(&self, thousandths: u16) -> Option<Duration> {
        let quantile = self.histogram().quantile(thousandths);
        quantile.map(Duration::from_nanos)
    }

    fn histogram(&self) -> LogHistogram {
        let mut histogram = LogHistogram::new();
        for (bucket, count) in &self.buckets {
            histogram.add(*bucket as usize, *count);
        }
        histogram
    }
}

/// What does not hold in a baseline that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportError {
    /// More classes than are told apart.
    TooManyClasses {
        /// How many.
        found: usize,
    },
    /// A kind of statement that is not known.
    UnknownKind {
        /// As it was kept.
        found: String,
    },
    /// A bucket that does not exist.
    UnknownBucket {
        /// Its number.
        found: u32,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyClasses { found } => write!(formatter, "{found} classes of one lane"),
            Self::UnknownKind { found } => write!(formatter, "a kind of statement {found:?}"),
            Self::UnknownBucket { found } => write!(formatter, "a bucket {found}"),
        }
    }
}

impl Error for ImportError {}

impl Control {
    /// What was learned.
    pub(crate) fn export(&self, lane: &str) -> BaselineExport {
        let classes = self.baseline.classes().iter();
        let classes = classes.filter(|class| class.quiet.total() > 0);
        BaselineExport {
            lane: lane.to_owned(),
            classes: classes
                .map(|class| ClassExport {
                    kind: class.key.kind.name().to_owned(),
                    shape: class.key.shape,
                    // A bucket's number is below MAX_EXPORT_BUCKETS.
                    buckets: class
                        .quiet
                        .filled()
                        .map(|(bucket, count)| (bucket as u32, count))
                        .collect(),
                })
                .collect(),
        }
    }

    /// Takes in what was kept: all of it, or nothing.
    pub(crate) fn import(&mut self, now: Time, kept: &BaselineExport) -> Result<(), ImportError> {
        // As many as are told apart, and a pool for each kind.
        let most = MAX_CLASSES + StatementKind::ALL.len();
        if kept.classes.len() > most {
            return Err(ImportError::TooManyClasses {
                found: kept.classes.len(),
            });
        }
        let classes: Vec<(ClassKey, LogHistogram)> =
            kept.classes.iter().map(class).collect::<Result<_, _>>()?;
        for (key, quiet) in classes {
            self.baseline.restore(key, quiet, now);
        }
        Ok(())
    }
}

fn class(kept: &ClassExport) -> Result<(ClassKey, LogHistogram), ImportError> {
    let kinds = StatementKind::ALL.iter().copied();
    let kind = kinds.into_iter().find(|kind| kind.name() == kept.kind);
    let Some(kind) = kind else {
        return Err(ImportError::UnknownKind {
            found: kept.kind.clone(),
        });
    };
    let mut quiet = LogHistogram::new();
    for &(bucket, count) in &kept.buckets {
        if bucket as usize >= BUCKETS {
            return Err(ImportError::UnknownBucket { found: bucket });
        }
        quiet.add(bucket as usize, count.min(super::baseline::MOST_SAMPLES));
    }
    let shape = kept.shape;
    Ok((ClassKey { kind, shape }, quiet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{ObjectivePolicy, Sample, Target};
    use std::time::Duration;

    fn control() -> Control {
        Control::new(ObjectivePolicy::new(Target {
            quantile: 950,
            times: 1200,
        }))
    }

    fn learned() -> BaselineExport {
        let mut control = control();
        for number in 0..50_u64 {
            let began = Time::from_nanos(1_000_000_000 + number);
            let sample = Sample {
                class: ClassKey {
                    kind: StatementKind::Insert,
                    shape: 7,
                },
                began,
                served: Duration::from_micros(100 + number),
                waited: Duration::ZERO,
            };
            let usage = crate::objective::Usage { held: 0, wanted: 0 };
            control.sample(began, sample, Some(Time::ZERO), usage);
        }
        control.export("evaluation")
    }

    #[test]
    fn what_was_learned_is_the_same_after_it_was_kept() {
        let kept = learned();
        let mut again = control();
        again.import(Time::ZERO, &kept).unwrap();
        assert_eq!(again.export("evaluation"), kept);
        assert_eq!(
            kept.classes[0]
                .buckets
                .iter()
                .map(|(_, count)| count)
                .sum::<u32>(),
            50
        );
    }

    #[test]
    fn what_does_not_hold_changes_nothing() {
        type Break = fn(&mut BaselineExport);
        let breaks: [(Break, &str); 3] = [
            (|kept| kept.classes[0].kind = "DANCE".to_owned(), "kind"),
            (
                |kept| kept.classes[0].buckets.push((MAX_EXPORT_BUCKETS as u32, 1)),
                "bucket",
            ),
            (
                |kept| kept.classes = vec![kept.classes[0].clone(); 1000],
                "classes",
            ),
        ];
        for (break_it, word) in breaks {
            let mut kept = learned();
            let whole = kept.classes[0].clone();
            break_it(&mut kept);
            kept.classes.insert(0, whole);
            let mut control = control();
            let error = control.import(Time::ZERO, &kept).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(control.export("").classes, []);
        }
    }

    #[test]
    fn counts_beyond_all_measure_are_bounded() {
        let mut kept = learned();
        kept.classes[0].buckets = vec![(3, u32::MAX); 5000];
        let mut control = control();
        control.import(Time::ZERO, &kept).unwrap();
        assert!(control.export("").classes.len() == 1);
    }
}
