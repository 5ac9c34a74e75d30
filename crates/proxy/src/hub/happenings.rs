//! What becomes an event: what happens here, seen from outside.

use std::cell::{Cell, RefCell};

use pglanes_lanes::{LaneId, Rejection, Time};

use super::Hub;
use crate::events::EventKind;

/// A throttle that was active when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Active {
    throttle: String,
    lane: String,
    since: Time,
}

/// The throttles as they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Throttles {
    seen: Cell<u64>,
    active: RefCell<Vec<Active>>,
}

/// A text that a client chose, no longer than an event should be.
pub(crate) fn short(text: &str) -> String {
    /// Twice what PostgreSQL keeps of a name.
    const LONGEST: usize = 128;
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl Hub {
    /// Notes throttles that began or ended with the last step; one comparison if none did.
    pub(super) fn watch_throttles(&self) {
        let changes = self.scheduler.borrow().throttle_changes();
        if changes != self.throttles.seen.get() {
            self.throttles.seen.set(changes);
            self.note_throttles();
        }
    }

    fn note_throttles(&self) {
        let live = self.live();
        let now = self.clock.now();
        let scheduler = self.scheduler.borrow();
        let policies = live.policy.throttles.iter();
        let with_state = policies.zip(scheduler.active_throttles());
        let active: Vec<Active> = with_state
            .filter_map(|(policy, since)| {
                Some(Active {
                    throttle: policy.name.clone(),
                    lane: live.lane_name(policy.lane).to_owned(),
                    since: since?,
                })
            })
            .collect();
        let before = self.throttles.active.replace(active.clone());
        for ended in before.iter().filter(|ended| !active.contains(ended)) {
            self.events.push(EventKind::ThrottleEnded {
                throttle: ended.throttle.clone(),
                lane: ended.lane.clone(),
                after: now.since(ended.since),
            });
        }
        for begun in active.iter().filter(|begun| !before.contains(begun)) {
            let mut policies = live.policy.throttles.iter();
            let policy = policies.find(|policy| policy.name == begun.throttle);
            let watched = policy.map_or("unknown", |policy| live.lane_name(policy.watch));
            self.events.push(EventKind::ThrottleBegan {
                throttle: begun.throttle.clone(),
                lane: begun.lane.clone(),
                watched: watched.to_owned(),
            });
        }
    }

    pub(super) fn note_rejected(&self, lane: LaneId, reason: &Rejection) {
        let (reason, sqlstate) = match reason {
            Rejection::QueueFull { .. } => ("queue full", "53300"),
            Rejection::TimedOut { .. } => ("waited too long", "57014"),
            Rejection::OpenFailed { .. } => ("no server connection", "08006"),
            Rejection::Capped { .. } => ("too many of one client wait", "53300"),
            Rejection::Rule { .. } => ("a rule of its lane", "57014"),
            Rejection::NoneLeft => ("no server connection left", "28000"),
        };
        self.events.push(EventKind::Rejected {
            lane: self.live().lane_name(lane).to_owned(),
            reason,
            sqlstate,
        });
    }

    /// A server connection was opened.
    pub(super) fn upstream_is_up(&self) {
        let before = self.metrics.upstream_up.get();
        self.metrics.upstream_up.set(true);
        if !before && self.upstream_tried.replace(true) {
            self.events.push(EventKind::UpstreamUp);
        }
        self.upstream_tried.set(true);
    }

    /// None could be opened, for a reason that lies with PostgreSQL.
    pub(super) fn upstream_is_down(&self, why: &str) {
        let first = !self.upstream_tried.replace(true);
        if first || self.metrics.upstream_up.get() {
            let why = short(why);
            self.events.push(EventKind::UpstreamDown { why });
        }
        self.metrics.upstream_up.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_letters() {
        assert_eq!(short("abc"), "abc");
        let long = "ä".repeat(100);
        assert_eq!(short(&long), "ä".repeat(64));
        let odd = format!("a{long}");
        assert_eq!(short(&odd).len(), 127);
    }
}
