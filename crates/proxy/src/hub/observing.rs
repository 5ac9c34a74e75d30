//! What follows from what others saw of the server.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use pglanes_lanes::classify::{Origin, SessionFacts};
use pglanes_lanes::{Input, LaneId, LaneSnapshot, Mode};

use super::{Hub, Live};
use crate::events::EventKind;
use crate::observed::{Attention, Findings, Known, Observed, ObservedView, SeenBackend, Who};
use crate::priority::Level;

/// What was seen holds for so long; the observer looks every minute at least.
const LONGEST_HOLD: Duration = Duration::from_secs(150);

impl Hub {
    /// Takes note of what was seen, and does what follows.
    pub(crate) fn observed(self: &Rc<Self>, observed: Observed) -> Attention {
        let live = self.live();
        if live.shortest_idle_rule.is_some() {
            self.note_blockers(observed.blockers());
        }
        let lanes = self.snapshot().lanes;
        let known = self.known_to_observer(&live, &lanes);
        let now = self.clock.now();
        let name = |who| shown(&live, who);
        let attention = attention(&known, &lanes);
        let findings = match observed {
            Observed::All(seen) => {
                let lane_of = |one: &SeenBackend| lane_of(&live, one);
                let mut record = self.record.borrow_mut();
                record.all(now, &seen, &known, lane_of, &name)
            }
            Observed::Waiting(waiting) => {
                let mut record = self.record.borrow_mut();
                record.waiting(now, waiting, &known, &name)
            }
            Observed::Nothing => {
                self.forget_observations();
                return Attention::Usual;
            }
        };
        self.act_on(findings);
        attention
    }

    fn act_on(self: &Rc<Self>, findings: Findings) {
        self.priorities.lift(findings.needed);
        if let Some(workers) = findings.workers {
            self.priorities.workers(workers);
        }
        for (lane, (sessions, busy)) in findings.direct {
            self.tell(Input::Direct {
                lane,
                sessions,
                busy,
            });
        }
        for event in findings.events {
            self.events.push(event);
        }
    }

    /// What was seen long ago holds no more, should the observer have fallen silent.
    pub(crate) fn forget_old_observations(self: &Rc<Self>) {
        let age = self.record.borrow().age(self.clock.now());
        if age.is_some_and(|age| age > LONGEST_HOLD) {
            self.forget_observations();
        }
    }

    fn forget_observations(self: &Rc<Self>) {
        let (lanes, was_seen) = self.record.borrow_mut().lost();
        self.priorities.lift(Vec::new());
        for lane in lanes {
            self.tell(Input::Direct {
                lane,
                sessions: 0,
                busy: 0,
            });
        }
        if was_seen {
            self.events.push(EventKind::ObserverLost);
        }
    }

    /// For metrics and people.
    pub(crate) fn observed_view(&self) -> ObservedView {
        let live = self.live();
        let name = |who| shown(&live, who);
        self.record.borrow().view(self.clock.now(), &name)
    }

    fn known_to_observer(&self, live: &Live, lanes: &[LaneSnapshot]) -> Known {
        let is_lowered = |lane: &LaneId| self.level(live, *lane) != Level::NORMAL;
        let faces = self.faces().into_iter();
        Known {
            backends: faces.map(|(face, lane)| (face.backend.pid, lane)).collect(),
            lowered: live.lane_ids().filter(is_lowered).collect(),
            protected_and_busy: protected(live)
                .into_iter()
                .filter(|lane| lanes.get(lane.index()).is_some_and(is_busy))
                .collect(),
        }
    }
}

fn is_busy(lane: &LaneSnapshot) -> bool {
    lane.busy > 0 || lane.waiting > 0
}

/// Lanes that others yield to, or that have an objective.
fn protected(live: &Live) -> BTreeSet<LaneId> {
    let throttles = live.policy.throttles.iter();
    let watched = throttles.filter(|throttle| throttle.mode != Mode::Off);
    let mut lanes: BTreeSet<LaneId> = watched.map(|throttle| throttle.watch).collect();
    lanes.extend(live.lane_ids().filter(|lane| {
        let lane = live.config.lane(live.lane_name(*lane));
        lane.is_some_and(|lane| lane.objective.is_some())
    }));
    lanes
}

/// Close while a lowered lane and one that is not are both busy: then one may keep the other waiting.
fn attention(known: &Known, lanes: &[LaneSnapshot]) -> Attention {
    let mut busy = lanes.iter().enumerate().filter(|(_, lane)| is_busy(lane));
    let lowered = |(place, _): &(usize, &LaneSnapshot)| {
        u16::try_from(*place).is_ok_and(|place| known.lowered.contains(&LaneId(place)))
    };
    let any_lowered = busy.clone().any(|lane| lowered(&lane));
    match any_lowered && busy.any(|lane| !lowered(&lane)) {
        true => Attention::Close,
        false => Attention::Usual,
    }
}

fn lane_of(live: &Live, one: &SeenBackend) -> LaneId {
    let facts = SessionFacts {
        application_name: &one.application_name,
        user: &one.user,
        database: &one.database,
        // Where it comes from is not looked at: it counts as being on the server's machine.
        origin: Origin::Local,
    };
    live.classifier.session(&facts, None).lane
}

fn shown(live: &Live, who: Who) -> String {
    match who {
        Who::Lane(lane) => live.lane_name(lane).to_owned(),
        Who::Direct => "direct".to_owned(),
        Who::Autovacuum => "autovacuum".to_owned(),
        Who::Other => "other".to_owned(),
    }
}
