//! Which backends run at which CPU and I/O priority: their lane's, or what throttles make of it.

use std::rc::Rc;

use pglanes_lanes::LaneId;
use pglanes_wire::cancel_key::CancelKey;

use super::{Hub, Live, ServerPlace};
use crate::priority::{Backend, Kept, Level};
use crate::server::ServerFace;
use crate::stream::Stream;

impl Hub {
    /// Whom a new connection is to; where its lane is lowered, or may be, its backend is put there.
    pub(super) fn prioritise(
        &self,
        live: &Live,
        lane: LaneId,
        key: &CancelKey,
        stream: &Stream,
    ) -> (Backend, Option<Kept>) {
        let backend = Backend {
            pid: key.pid(),
            peer: stream.peer(),
            since: self.clock.now(),
        };
        let kept = match live.options(lane).may_be_lowered {
            true => self.priorities.opened(backend, lane),
            false => None,
        };
        (backend, kept)
    }

    /// Puts every lane's backends where the configuration in force has them.
    pub(super) fn prioritise_lanes(&self) {
        let live = self.live();
        for lane in live.lane_ids() {
            self.priorities.level(lane, self.level(&live, lane));
        }
        for (face, lane) in self.faces() {
            let mut kept = face.kept.borrow_mut();
            if kept.is_none() && live.options(lane).may_be_lowered {
                *kept = self.priorities.opened(face.backend, lane);
            }
        }
    }

    /// A throttle began to lower its lane's backends, or ceased.
    pub(super) fn lower_for_throttle(&self, throttle: usize) {
        let live = self.live();
        let (lane, _) = live.lowering(throttle);
        self.priorities.level(lane, self.level(&live, lane));
    }

    /// Where a lane's backends are to be at this moment.
    pub(super) fn level(&self, live: &Live, lane: LaneId) -> Level {
        let scheduler = self.scheduler.borrow();
        let lowering =
            (0..live.policy.throttles.len()).filter(|throttle| scheduler.lowers(*throttle));
        let levels = lowering.map(|throttle| live.lowering(throttle));
        let of_lane = levels.filter(|(lowered, _)| *lowered == lane);
        of_lane.fold(live.options(lane).level, |level, (_, other)| {
            level.lower(other)
        })
    }

    /// Every open connection, and the lane it was opened for.
    pub(super) fn faces(&self) -> Vec<(Rc<ServerFace>, LaneId)> {
        let servers = self.servers.borrow();
        let scheduler = self.scheduler.borrow();
        let faces = servers.values().filter_map(|place| match place {
            ServerPlace::Opening { .. } => None,
            ServerPlace::Idle(server) => Some(&server.face),
            ServerPlace::Linked(face) => Some(face),
        });
        let with_lane =
            faces.filter_map(|face| Some((Rc::clone(face), scheduler.lane_of(face.id)?)));
        with_lane.collect()
    }
}
