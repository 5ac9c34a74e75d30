//! Records in the order of their times, and what can be asked of them.

use super::record::{Happening, Protected, Record, Sample};

/// What was written down. Memory is bounded by the size that lanes.yaml allows the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Times at which a proxy began.
    pub(super) begins: Vec<u64>,
    /// Which lanes were protected, from when on.
    pub(super) protected: Vec<(u64, Vec<Protected>)>,
    /// What changed, in order.
    pub(super) samples: Vec<Sample>,
    /// What happened, in order.
    pub(super) events: Vec<Happening>,
    /// The last moment that anything is known of.
    pub(super) last: u64,
    /// Lines that could not be read.
    pub(super) unreadable: usize,
}

impl History {
    /// Of records in any order.
    pub fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut history = Self::default();
        for record in records {
            history.last = history.last.max(record.at());
            match record {
                Record::Begin(begin) => history.begins.push(begin.t),
                Record::Lanes { t, protected } => history.protected.push((t, protected)),
                Record::Sample(sample) => history.samples.push(sample),
                Record::Event(event) => history.events.push(event),
            }
        }
        // A clock may have been set back.
        history.begins.sort_unstable();
        history.protected.sort_by_key(|(at, _)| *at);
        history.samples.sort_by_key(|sample| sample.t);
        history.events.sort_by_key(|event| event.t);
        history
    }

    /// Of lines, each a record; those that are none are counted: a torn last line, another format.
    pub fn of_lines<'l>(lines: impl IntoIterator<Item = &'l str>) -> Self {
        let mut unreadable = 0;
        let records = lines.into_iter().filter(|line| !line.is_empty());
        let records: Vec<Record> = records
            .filter_map(|line| match serde_json::from_str(line) {
                Ok(Record::Begin(begin)) if begin.format != super::FORMAT => {
                    unreadable += 1;
                    None
                }
                Ok(record) => Some(record),
                Err(_) => {
                    unreadable += 1;
                    None
                }
            })
            .collect();
        let mut history = Self::of(records);
        history.count_unreadable(unreadable);
        history
    }

    /// Lines that could not be read come to those that could not.
    pub fn count_unreadable(&mut self, lines: usize) {
        self.unreadable += lines;
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// The samples of what was between two moments: from the first that lies there for the most part up to the one within
    /// which the time ends. A look is taken when a run begins and when it ends, a moment later at most.
    pub(super) fn within(&self, from: u64, until: u64) -> impl Iterator<Item = &Sample> {
        let first = self.samples.partition_point(|sample| sample.t < from);
        let samples = self.samples[first..].iter();
        samples
            .skip_while(move |sample| sample.t - sample.d / 2 < from)
            .take_while(move |sample| sample.began() < until)
    }

    /// The events between two moments.
    pub(super) fn events_within(&self, from: u64, until: u64) -> impl Iterator<Item = &Happening> {
        let events = self.events.iter();
        events.filter(move |event| (from..=until).contains(&event.t))
    }

    /// What was protected at a moment, as far as it was written down.
    pub(super) fn protected_at(&self, at: u64) -> &[Protected] {
        let known = self.protected.partition_point(|(from, _)| *from <= at);
        let known = self.protected.get(known.saturating_sub(1));
        known.map_or(&[], |(_, lanes)| lanes)
    }
}
