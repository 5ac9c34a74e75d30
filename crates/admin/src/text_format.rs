//! Prometheus' text format (version 0.0.4) read back, strictly: for tests, and for whoever shows what a proxy counts.
//!
//! Stricter than a scraper: every family has HELP and TYPE, stands in one piece and has a series; no series comes twice;
//! counters end with `_total` and are not negative; a histogram's buckets rise and agree with its count.

mod histogram;
mod line;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use line::{Line, line};

/// What does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct FormatError {
    /// From one; for what a whole family lacks, the line after it.
    pub line: usize,
    /// What was found.
    pub what: String,
}

/// What kind of numbers a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The family's name; for a histogram with `_bucket`, `_sum` or `_count` behind it.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// All series under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it means.
    pub help: String,
    /// What kind of numbers it has.
    pub kind: Kind,
    /// At least one.
    pub samples: Vec<Sample>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposition {
    /// In the order of the text.
    pub families: Vec<Family>,
}

impl Exposition {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut reading = Reading::default();
        for (index, content) in text.split_terminator('\n').enumerate() {
            reading.line = index + 1;
            reading.take(line(content).map_err(|what| reading.wrong(what))?)?;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(reading.wrong("the last line does not end"));
        }
        reading.line += 1;
        reading.close()?;
        Ok(Self {
            families: reading.families,
        })
    }

    /// The value of the series of that name whose labels include these; the sum, where there are several.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let mut values = samples
            .filter(|sample| {
                let has = |(key, value): &(&str, &str)| {
                    sample.labels.get(*key).is_some_and(|found| found == value)
                };
                sample.name == name && labels.iter().all(has)
            })
            .map(|sample| sample.value)
            .peekable();
        values.peek()?;
        Some(values.sum())
    }
}

/// A family whose lines are being read.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    /// HELP was there.
    Helped { name: String, help: String },
    /// TYPE was there.
    Typed(Family),
}

#[derive(Default)]
struct Reading {
    line: usize,
    open: Open,
    families: Vec<Family>,
    names: BTreeSet<String>,
    seen: BTreeSet<(String, Vec<(String, String)>)>,
}

impl Reading {
    fn wrong(&self, what: impl Into<String>) -> FormatError {
        FormatError {
            line: self.line,
            what: what.into(),
        }
    }

    fn take(&mut self, line: Line) -> Result<(), FormatError> {
        match line {
            Line::Help { name, help } => {
                self.close()?;
                if !self.names.insert(name.clone()) {
                    return Err(self.wrong(format!("{name} comes twice")));
                }
                self.open = Open::Helped { name, help };
                Ok(())
            }
            Line::Type { name, kind } => match std::mem::take(&mut self.open) {
                Open::Helped { name: helped, help } if helped == name => {
                    if kind == Kind::Counter && !name.ends_with("_total") {
                        return Err(self.wrong(format!("the counter {name} lacks _total")));
                    }
                    self.open = Open::Typed(Family {
                        name,
                        help,
                        kind,
                        samples: Vec::new(),
                    });
                    Ok(())
                }
                _ => Err(self.wrong(format!("TYPE of {name} without its HELP before"))),
            },
            Line::Sample(sample) => self.sample(sample),
        }
    }

    fn sample(&mut self, sample: Sample) -> Result<(), FormatError> {
        let labels = sample.labels.clone().into_iter().collect();
        if !self.seen.insert((sample.name.clone(), labels)) {
            return Err(self.wrong(format!("a series of {} comes twice", sample.name)));
        }
        let Open::Typed(family) = &mut self.open else {
            return Err(self.wrong(format!("{} without HELP and TYPE", sample.name)));
        };
        let belongs = match family.kind {
            Kind::Counter | Kind::Gauge => sample.name == family.name,
            Kind::Histogram => histogram::part(&family.name, &sample.name).is_some(),
        };
        if !belongs {
            let what = format!("{} stands among {}", sample.name, family.name);
            return Err(self.wrong(what));
        }
        if family.kind == Kind::Counter && (sample.value.is_nan() || sample.value < 0.0) {
            return Err(self.wrong(format!("the counter {} is {}", sample.name, sample.value)));
        }
        family.samples.push(sample);
        Ok(())
    }

    /// The family that was open is complete.
    fn close(&mut self) -> Result<(), FormatError> {
        match std::mem::take(&mut self.open) {
            Open::Nothing => Ok(()),
            Open::Helped { name, .. } => Err(self.wrong(format!("{name} has no TYPE"))),
            Open::Typed(family) => {
                if family.samples.is_empty() {
                    return Err(self.wrong(format!("{} has no series", family.name)));
                }
                if family.kind == Kind::Histogram {
                    histogram::check(&family).map_err(|what| self.wrong(what))?;
                }
                self.families.push(family);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<usize, &str>) {
        let found = Exposition::parse(text);
        let found = found.map(|exposition| exposition.families.len());
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{text}"
        );
    }

    const HEAD: &str = "# HELP a_total A.\n# TYPE a_total counter\n";

    #[test]
    fn what_holds_is_read() {
        check("", Ok(0));
        check(&format!("{HEAD}a_total 1\n"), Ok(1));
        check(
            &format!("{HEAD}a_total{{lane=\"x\"}} 1\na_total{{lane=\"y\"}} 2\n"),
            Ok(1),
        );
        let text = format!("{HEAD}a_total{{lane=\"say \\\"x\\\" \\\\ \\n\"}} 1e3\n");
        let exposition = Exposition::parse(&text).unwrap();
        let labels = &exposition.families[0].samples[0].labels;
        assert_eq!(labels["lane"], "say \"x\" \\ \n");
        assert_eq!(exposition.value("a_total", &[]), Some(1000.0));
        assert_eq!(exposition.value("a_total", &[("lane", "other")]), None);
    }

    #[test]
    fn what_does_not_hold_is_named_with_its_line() {
        check("a_total 1\n", Err("line 1: a_total without HELP and TYPE"));
        check(
            "# TYPE a gauge\na 1\n",
            Err("line 1: TYPE of a without its HELP before"),
        );
        check(HEAD, Err("line 3: a_total has no series"));
        check("# HELP a A.\n", Err("line 2: a has no TYPE"));
        check(
            &format!("{HEAD}a_total 1"),
            Err("line 3: the last line does not end"),
        );
        check(
            &format!("{HEAD}b 1\n"),
            Err("line 3: b stands among a_total"),
        );
        check(
            &format!("{HEAD}a_total -1\n"),
            Err("line 3: the counter a_total is -1"),
        );
        check(
            &format!("{HEAD}a_total 1\na_total 2\n"),
            Err("line 4: a series of a_total comes twice"),
        );
        check(
            &format!("{HEAD}a_total 1\n{HEAD}a_total{{x=\"\"}} 2\n"),
            Err("line 4: a_total comes twice"),
        );
        check(
            "# HELP a A.\n# TYPE a counter\na 1\n",
            Err("line 2: the counter a lacks _total"),
        );
        check(
            &format!("{HEAD}a_total\n"),
            Err("line 3: a sample without a value"),
        );
        check(
            &format!("{HEAD}a_total one\n"),
            Err("line 3: `one` is not a number"),
        );
        check(
            &format!("{HEAD}a_total{{x=1}} 1\n"),
            Err("line 3: a label's value is not quoted"),
        );
        check(
            &format!("{HEAD}a_total{{x=\"1\" 1\n"),
            Err("line 3: labels that do not end"),
        );
    }
}
