//! How the server is looked at past the lanes.

use std::time::Duration;

use crate::model::Observe;
use crate::reader::{Reading, Section};
use crate::units;

/// Between two looks, where nothing is said.
const INTERVAL: Duration = Duration::from_secs(1);
/// A look takes the server about a millisecond.
const SHORTEST: Duration = Duration::from_millis(100);
/// What is seen less often tells nothing of who waits for whom.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn observe(reading: &mut Reading<'_>, root: &Section<'_>) -> Option<Observe> {
    let mut observe = Observe { interval: INTERVAL };
    let Some(section) = reading.subsection(root, "observe") else {
        return Some(observe);
    };
    let interval = reading.parsed(&section, "interval", |text| {
        let interval = units::duration(text)?;
        match (SHORTEST..=LONGEST).contains(&interval) {
            true => Ok(interval),
            false => Err("it is from `100ms` to `60s`".to_owned()),
        }
    });
    observe.interval = interval.unwrap_or(INTERVAL);
    match reading.truth(&section, "mode") {
        Some(false) => None,
        Some(true) | None => Some(observe),
    }
}
