//! What may come of rules and of preemption.

use pglanes_lanes::{Action, Input, LaneId, LanePolicy, ServerId, When, Whom};

use super::{Act, Connection, State, Waiter, World};

impl World {
    pub(super) fn lane(&self, lane: LaneId) -> &LanePolicy {
        &self.policy.lanes[lane.index()]
    }

    pub(super) fn act_on_running(&mut self, act: Act) {
        match act {
            Act::Keep(which) => {
                if let Some(server) = self.pick_connection(which, State::runs) {
                    self.set(server, State::Kept);
                    self.tell(Input::Kept { server });
                }
            }
            Act::Resume(which) => {
                if let Some(server) = self.pick_connection(which, |state| state == State::Kept) {
                    self.set(server, State::Busy);
                    self.met.retain(|&(met, _)| met != server);
                    self.tell(Input::Resumed { server });
                }
            }
            Act::Met { which, rule } => {
                if let Some(server) = self.pick_connection(which, State::runs) {
                    self.tell(Input::Met { server, rule });
                }
            }
            Act::Spare(which) => {
                if let Some(server) = self.pick_connection(which, |state| state == State::Yielding)
                {
                    self.set(server, State::Busy);
                    self.tell(Input::Spared { server });
                }
            }
            _ => {}
        }
    }

    pub(super) fn check_rule(&mut self, lane: LaneId, rule: u16, action: Action, whom: Whom) {
        let policy = &self.lane(lane).rules[usize::from(rule)];
        assert_eq!(policy.then, action);
        match whom {
            Whom::Ticket(ticket) => {
                let waiter = self.waiting[&ticket];
                let waited = self.now.since(waiter.since);
                assert!(matches!(policy.when, When::Queued(after) if waited >= after));
            }
            Whom::Server(server) => {
                let connection = self.connections[&server];
                assert!(connection.state.runs() && connection.state != State::Kept);
                let first = self.met.insert((server, rule));
                assert!(first || self.reloaded, "met twice");
                if action == Action::Cancel && connection.state == State::Busy {
                    self.set(server, State::Cancelled);
                }
            }
        }
    }

    /// Who gives way runs, in a lane that allows it, for one that has a right to it, and no more do than wait.
    pub(super) fn check_preempt(&mut self, server: ServerId, lane: LaneId, claimant: LaneId) {
        let connection = self.connections[&server];
        assert_eq!((connection.state, connection.lane), (State::Busy, lane));
        let (own, other) = (self.lane(claimant), self.lane(lane));
        assert!(other.preemptible.is_some() && lane != claimant);
        let held = self.count(claimant, |state| state != State::Idle);
        assert!(own.priority > other.priority || held < own.min);
        self.set(server, State::Yielding);
        let yielding = |one: &&Connection| one.state == State::Yielding;
        let yielding = self.connections.values().filter(yielding).count();
        let wants = |one: &&Waiter| one.admitted.is_some();
        assert!(yielding <= self.waiting.values().filter(wants).count());
    }
}
