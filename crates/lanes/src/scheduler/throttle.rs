//! Throttles: while a watched lane is active, another lane's slots shrink.

use std::time::Duration;

use super::Scheduler;
use super::lane::{Activity, Lane};
use super::pool::ServerState;
use crate::policy::{Condition, DUTY_PERIOD, Effect, Mode, Running, ThrottlePolicy};
use crate::time::{earliest, nanos};
use crate::{LaneId, Output, Time};

/// No limit.
pub(super) const UNLIMITED: u32 = u32::MAX;

/// What a throttle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    /// Hold back.
    Binds,
    /// Watch and count.
    Observes,
    /// Nothing: it is off, or names a lane that is not there.
    None,
}

pub(super) struct Throttle {
    pub(super) policy: ThrottlePolicy,
    pub(super) force: Force,
    pub(super) active_since: Option<Time>,
    /// How long it was active before that.
    pub(super) active_before: Duration,
    /// It lowers the lane's processes now.
    pub(super) lowering: bool,
    /// The slots it leaves now.
    pub(super) limit: u32,
    pub(super) activations: u64,
    pub(super) held_back: u64,
    pub(super) cancels: u64,
}

impl Throttle {
    pub(super) fn new(policy: ThrottlePolicy, force: Force) -> Self {
        Self {
            policy,
            force,
            active_since: None,
            active_before: Duration::ZERO,
            lowering: false,
            limit: UNLIMITED,
            activations: 0,
            held_back: 0,
            cancels: 0,
        }
    }

    /// How long it has been active, all told.
    pub(super) fn active_total(&self, now: Time) -> Duration {
        let since = self.active_since;
        self.active_before + since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// It is active no more.
    pub(super) fn rest(&mut self, now: Time) {
        self.active_before = self.active_total(now);
        self.active_since = None;
    }

    /// Looks at the watched lane again. Returns when it must look again though nothing happens.
    fn refresh(&mut self, watched: &Lane, now: Time) -> Option<Time> {
        let lingers = |last: Option<Time>| last.map(|last| last + self.policy.linger);
        // Active while something holds it so, or until a moment.
        let (mut held_active, mut until) = match self.policy.condition {
            Condition::Busy => match watched.activity {
                Activity::Busy => (true, None),
                Activity::Quiet(last) => (false, lingers(last)),
            },
            Condition::Connected => (watched.sessions > 0, lingers(watched.last_connected)),
            Condition::Leased => (watched.leases > 0, lingers(watched.last_leased)),
        };
        if self.policy.counts_direct {
            let direct = &watched.direct;
            let (seen, last) = match self.policy.condition {
                Condition::Busy => (direct.busy > 0, direct.last_busy),
                Condition::Connected => (direct.sessions > 0, direct.last_connected),
                // A lease is somebody's word; nothing of it can be seen.
                Condition::Leased => (false, None),
            };
            held_active |= seen;
            until = until.max(lingers(last));
        }
        if !held_active && until.is_none_or(|until| until <= now) {
            self.rest(now);
            self.limit = UNLIMITED;
            return None;
        }
        let since = *self.active_since.get_or_insert_with(|| {
            self.activations += 1;
            now
        });
        let until = until.filter(|_| !held_active);
        let (limit, edge) = match self.policy.effect {
            Effect::Slots(slots) => (slots, None),
            Effect::All => (UNLIMITED, None),
            Effect::DutyCycle(percent) => duty(percent, since, now),
        };
        self.limit = limit;
        earliest(until, edge)
    }
}

/// A duty cycle's limit at `now`, and when it changes. Closed first: the protected lane has just begun.
fn duty(percent: u8, since: Time, now: Time) -> (u32, Option<Time>) {
    match percent {
        0 => return (0, None),
        100.. => return (UNLIMITED, None),
        _ => {}
    }
    let period = nanos(DUTY_PERIOD);
    let closed = period / 100 * u64::from(100 - percent);
    let phase = nanos(now.since(since)) % period;
    let (limit, left) = if phase < closed {
        (0, closed - phase)
    } else {
        (UNLIMITED, period - phase)
    };
    (limit, Some(now + Duration::from_nanos(left)))
}

impl Scheduler {
    /// Looks at every throttle again, and gives each lane the limit that follows.
    pub(super) fn refresh_throttles(&mut self) {
        self.throttles_stale = false;
        self.throttle_edge = None;
        for lane in &mut self.lanes {
            lane.throttles_active = 0;
        }
        for throttle in &mut self.throttles {
            if throttle.force == Force::None {
                continue;
            }
            let before = throttle.active_since;
            let edge = throttle.refresh(&self.lanes[throttle.policy.watch.index()], self.now);
            self.throttle_changes += u64::from(before != throttle.active_since);
            self.throttle_edge = earliest(self.throttle_edge, edge);
            if throttle.active_since.is_some() {
                self.lanes[throttle.policy.lane.index()].throttles_active += 1;
            }
        }
        self.tell_of_lowering();
        for index in 0..self.lanes.len() {
            self.limit_lane(index);
        }
    }

    fn tell_of_lowering(&mut self) {
        for (index, throttle) in self.throttles.iter_mut().enumerate() {
            let lane = self.lanes.get(throttle.policy.lane.index());
            let lowering = throttle.policy.lowers
                && throttle.force == Force::Binds
                && throttle.active_since.is_some()
                && lane.is_some_and(Lane::enforces);
            if lowering != throttle.lowering {
                throttle.lowering = lowering;
                self.outputs.push_back(Output::Lowering { throttle: index });
            }
        }
    }

    /// Gives a lane the limit of this moment: the strictest of its maximum, its throttles, and what objectives leave it.
    pub(super) fn limit_lane(&mut self, index: usize) {
        let lane = &self.lanes[index];
        let mut effective = lane.cap.min(lane.allowed);
        if lane.throttles_active > 0 && lane.enforces() {
            let binding = self.throttles.iter().filter(|throttle| {
                throttle.force == Force::Binds && throttle.policy.lane.index() == index
            });
            effective = binding.fold(effective, |least, throttle| least.min(throttle.limit));
        }
        if effective != lane.effective {
            self.account(LaneId(index as u16), |scheduler| {
                scheduler.lanes[index].effective = effective;
            });
            // A lane's own limit, or through its minimum what is left to others.
            self.dispatch_due = true;
        }
        let now = self.now;
        let lane = &mut self.lanes[index];
        match (effective < lane.cap, lane.throttled_since) {
            (true, None) => lane.throttled_since = Some(now),
            (false, Some(since)) => {
                lane.throttled_total += now.since(since);
                lane.throttled_since = None;
            }
            _ => {}
        }
    }

    /// Counts a newcomer with the throttles that keep it waiting, or would.
    pub(super) fn note_held_back(&mut self, lane: LaneId) {
        let state = &self.lanes[lane.index()];
        if state.throttles_active == 0 {
            return;
        }
        let held = state.held();
        for throttle in &mut self.throttles {
            if throttle.policy.lane == lane
                && throttle.active_since.is_some()
                && throttle.limit <= held
            {
                throttle.held_back += 1;
            }
        }
    }

    /// When a throttle cancels the longest running transaction of its lane: while more run than it leaves slots, and
    /// were not cancelled already.
    pub(super) fn cancel_deadline(&self, throttle: &Throttle) -> Option<Time> {
        let Running::CancelAfter(patience) = throttle.policy.running else {
            return None;
        };
        let since = throttle.active_since?;
        let lane = &self.lanes[throttle.policy.lane.index()];
        if throttle.force != Force::Binds || !lane.enforces() || lane.busy.len() <= throttle.limit {
            return None;
        }
        let granted = self.servers[lane.busy.front()?].since;
        Some(granted.max(since) + patience)
    }

    /// Cancels what throttles have waited for long enough.
    pub(super) fn cancel_running(&mut self) {
        for index in 0..self.throttles.len() {
            while self
                .cancel_deadline(&self.throttles[index])
                .is_some_and(|deadline| deadline <= self.now)
            {
                let lane = self.throttles[index].policy.lane.index();
                let Some(place) = self.lanes[lane].busy.front() else {
                    break;
                };
                self.transfer(place, ServerState::Cancelled);
                self.lanes[lane].counts.cancels += 1;
                self.throttles[index].cancels += 1;
                let server = self.server_id(place);
                self.outputs.push_back(Output::CancelRunning {
                    server,
                    throttle: index,
                });
            }
        }
    }
}

/// What a throttle may do, by its mode.
pub(super) fn force_of(mode: Mode) -> Force {
    match mode {
        Mode::Enforce => Force::Binds,
        Mode::Observe => Force::Observes,
        Mode::Off => Force::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_cycle_is_closed_first_and_open_for_its_share() {
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        assert_eq!(duty(25, at(100), at(100)), (0, Some(at(850))));
        assert_eq!(duty(25, at(100), at(849)), (0, Some(at(850))));
        assert_eq!(duty(25, at(100), at(850)), (UNLIMITED, Some(at(1100))));
        assert_eq!(duty(25, at(100), at(1100)), (0, Some(at(1850))));
        assert_eq!(duty(0, at(0), at(5)), (0, None));
        assert_eq!(duty(100, at(0), at(5)), (UNLIMITED, None));
    }
}
