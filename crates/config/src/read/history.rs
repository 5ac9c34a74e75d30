//! What is written down of the past.

use std::time::Duration;

use super::server::positive_duration;
use crate::model::History;
use crate::reader::{Reading, Section};
use crate::units;

/// Between two records, where nothing is said.
const INTERVAL: Duration = Duration::from_secs(5);
/// A record is a look at the data path and a few hundred bytes on the disk.
const SHORTEST: Duration = Duration::from_millis(100);
/// A coarser record tells nothing of a run of minutes.
const LONGEST: Duration = Duration::from_secs(60);
/// How long they are kept, where nothing is said.
const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What they may take, where nothing is said: some weeks of work around the clock.
const SIZE: u64 = 256 << 20;
/// Less would not hold a day of runs.
const SMALLEST: u64 = 1 << 20;
/// Reports read all of it.
const LARGEST: u64 = 8 << 30;

pub(super) fn history(reading: &mut Reading<'_>, root: &Section<'_>) -> Option<History> {
    let mut history = History {
        interval: INTERVAL,
        keep: KEEP,
        size: SIZE,
    };
    let Some(section) = reading.subsection(root, "history") else {
        return Some(history);
    };
    let interval = reading.parsed(&section, "interval", |text| {
        let interval = units::duration(text)?;
        match (SHORTEST..=LONGEST).contains(&interval) {
            true => Ok(interval),
            false => Err("it is from `100ms` to `60s`".to_owned()),
        }
    });
    history.interval = interval.unwrap_or(INTERVAL);
    history.keep = positive_duration(reading, &section, "keep").unwrap_or(KEEP);
    let size = reading.parsed(&section, "size", |text| {
        let size = units::size(text)?;
        match (SMALLEST..=LARGEST).contains(&size) {
            true => Ok(size),
            false => Err("it is from `1MB` to `8GB`".to_owned()),
        }
    });
    history.size = size.unwrap_or(SIZE);
    match reading.truth(&section, "mode") {
        Some(false) => None,
        Some(true) | None => Some(history),
    }
}
