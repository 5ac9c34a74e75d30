//! What becomes of transactions that meet a rule of their lane, or have to give their slot back.
//!
//! The scheduler decides and knows the times. Seen here are the rows and bytes that the relay passes (reported by the
//! session), and the idleness inside transactions, looked at once in a while where a lane has a rule for it.

use std::rc::Rc;
use std::time::Duration;

use pglanes_lanes::{Action, Input, LaneId, ServerId, When, Whom};

use super::{Activity, Hub, ServerPlace, SessionFace, Stall};
use crate::cancel;
use crate::server::{Because, Insistence, ServerFace};

/// How often idle transactions are looked at where the shortest rule allows a longer pause, and at least.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// The most backends remembered as blocking somebody; beyond it the rest go unnoticed for one look.
pub const MOST_BLOCKERS: usize = 10_000;

/// What a session is to do at its next step.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Tell the client.
    pub(crate) notice: Option<String>,
    /// Run the next transactions in this lane.
    pub(crate) moves: Option<LaneId>,
    /// Cancel what runs, or abort the transaction that idles.
    pub(crate) abort: bool,
}

impl SessionFace {
    /// Leaves an order beside those that are there, and wakes the session.
    fn order(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.orders.take().unwrap_or_default();
        change(&mut orders);
        self.orders.replace(Some(orders));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

impl Hub {
    /// Carries out what a rule says.
    pub(super) fn carry_out_rule(
        self: &Rc<Self>,
        lane: LaneId,
        rule: u16,
        action: Action,
        whom: Whom,
    ) {
        let live = self.live();
        let (lane, rule) = (live.lane_name(lane), live.rule_name(lane, rule));
        let text = format!("lane \"{lane}\": the transaction meets rule \"{rule}\"");
        match (action, whom) {
            (Action::Log, Whom::Server(server)) => {
                let backend = self.linked(server).map(|face| face.key.pid());
                tracing::warn!(lane, rule, backend, "a transaction meets a rule");
            }
            (Action::Log, Whom::Ticket(_)) => {
                tracing::warn!(lane, rule, "a waiting transaction meets a rule");
            }
            (Action::Notice, Whom::Ticket(ticket)) => {
                self.waiters
                    .borrow_mut()
                    .order(ticket, |orders| orders.notice = Some(text));
            }
            (Action::Notice, Whom::Server(server)) => {
                self.order(server, |orders| orders.notice = Some(text));
            }
            (Action::Move(to), Whom::Ticket(ticket)) => {
                self.waiters
                    .borrow_mut()
                    .order(ticket, |orders| orders.moves = Some(to));
            }
            (Action::Move(to), Whom::Server(server)) => {
                self.order(server, |orders| orders.moves = Some(to));
            }
            (Action::Cancel, Whom::Server(server)) => {
                let because = Because {
                    text: format!("canceling statement: rule \"{rule}\" of lane \"{lane}\""),
                    sqlstate: "57014",
                    hint: None,
                    insistence: Insistence::Transaction,
                };
                self.cancel_for_rule(server, because);
            }
            // The scheduler rejects who waits itself, and nobody else is rejected.
            (Action::Reject, _) | (Action::Cancel, Whom::Ticket(_)) => {}
        }
    }

    fn linked(&self, server: ServerId) -> Option<Rc<ServerFace>> {
        match self.servers.borrow().get(&server) {
            Some(ServerPlace::Linked(face)) => Some(Rc::clone(face)),
            _ => None,
        }
    }

    /// The session that has a server connection. Walks through all: for what happens seldom.
    fn session_of(&self, server: ServerId) -> Option<Rc<SessionFace>> {
        let sessions = self.sessions.borrow();
        let has = |session: &&Rc<SessionFace>| matches!(&*session.activity.borrow(), Activity::Linked(face) if face.id == server);
        sessions.iter().find(has).map(Rc::clone)
    }

    fn order(&self, server: ServerId, change: impl FnOnce(&mut Orders)) {
        if let Some(session) = self.session_of(server) {
            session.order(change);
        }
    }

    /// The whole transaction is meant: if nothing of it runs at this moment it is aborted where it stands, by its session.
    fn cancel_for_rule(self: &Rc<Self>, server: ServerId, because: Because) {
        let (Some(face), Some(session)) = (self.linked(server), self.session_of(server)) else {
            return;
        };
        face.cancelled_because.replace(Some(because));
        if session.stall.get().0 == Stall::IdleInTransaction {
            session.order(|orders| orders.abort = true);
        } else {
            cancel::forward_to_client(self, face);
        }
    }

    /// Cancels a statement whose slot another lane has a right to. Where that would not free the slot, because nothing
    /// runs or the session would keep it, nothing is done and the scheduler is told.
    pub(super) fn preempt(self: &Rc<Self>, server: ServerId, lane: LaneId, claimant: LaneId) {
        let session = self.session_of(server);
        let runs = |session: &Rc<SessionFace>| {
            !session.pinned.get() && session.stall.get().0 != Stall::IdleInTransaction
        };
        let (Some(face), true) = (
            self.linked(server),
            session.is_some_and(|found| runs(&found)),
        ) else {
            let now = self.clock.now();
            self.scheduler
                .borrow_mut()
                .handle(now, Input::Spared { server });
            return;
        };
        let live = self.live();
        let (lane, claimant) = (live.lane_name(lane), live.lane_name(claimant));
        face.cancelled_because.replace(Some(Because {
            text: format!(
                "canceling statement: lane \"{lane}\" gives a borrowed slot back to lane \"{claimant}\" (preemptible)"
            ),
            // serialization_failure: what retries of drivers and frameworks know, and mean by it what is meant here.
            sqlstate: "40001",
            hint: Some("Retry the transaction; it will wait until the lane has a slot."),
            insistence: Insistence::Statement {
                turn: face.turns.get(),
            },
        }));
        cancel::forward_to_client(self, face);
    }

    /// Which backends keep others waiting, as the server's observer last saw it.
    pub(crate) fn note_blockers(self: &Rc<Self>, mut backends: Vec<i32>) {
        backends.truncate(MOST_BLOCKERS);
        self.blockers.borrow_mut().clear();
        self.blockers.borrow_mut().extend(backends);
        self.sweep_idle_rules();
    }

    /// How long until idle transactions are looked at again; without a rule for them, no look is needed.
    pub(crate) fn idle_rules_pause(&self) -> Option<Duration> {
        let shortest = self.live.borrow().shortest_idle_rule?;
        Some((shortest / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }

    /// Looks which transactions idle for longer than a rule of their lane allows.
    pub(crate) fn sweep_idle_rules(self: &Rc<Self>) {
        let live = self.live();
        if live.shortest_idle_rule.is_none() {
            return;
        }
        let now = self.clock.now();
        let mut met = Vec::new();
        for session in self.sessions.borrow().iter() {
            let (stall, since) = session.stall.get();
            let activity = session.activity.borrow();
            let (Stall::IdleInTransaction, Activity::Linked(face)) = (stall, &*activity) else {
                continue;
            };
            let Some(lane) = self.scheduler.borrow().lane_of(face.id) else {
                continue;
            };
            let blocks = self.blockers.borrow().contains(&face.backend.pid);
            let rules = live.policy.lanes.get(lane.index()).map(|lane| &lane.rules);
            for (place, rule) in rules.into_iter().flatten().enumerate() {
                let after = match rule.when {
                    When::Idle(after) => after,
                    When::IdleBlocking(after) if blocks => after,
                    _ => continue,
                };
                if now.since(since) >= after {
                    met.push((face.id, place as u16));
                }
            }
        }
        for (server, rule) in met {
            self.tell(Input::Met { server, rule });
        }
    }
}
