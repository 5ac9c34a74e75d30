//! Asking for a server connection, getting it, and giving it back.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use pglanes_lanes::{
    ClientKey, Input, LaneId, ObjectiveChange, Output, PoolId, Rejection, ServerId, Supply,
    TicketId, Turn, Turns,
};

use super::waiters::Outcome;
use super::waiters::Wanted;
use super::{Hub, ServerPlace, WaitingTicket};
use crate::events::EventKind;
use crate::metrics::ServerEnd;
use crate::server::{Because, Health, Insistence, Server};
use crate::upstream::SharedOpenError;

/// What came of asking for a slot.
pub(crate) enum Asked {
    Granted(LinkedServer),
    Waiting(WaitingTicket),
    Refused(Refusal),
}

/// Why a transaction gets no slot.
#[derive(Debug)]
pub(crate) enum Refusal {
    Rejected(Rejection),
    OpenFailed(SharedOpenError),
}

/// A server connection in a session's hands. Dropped without having been given back,
/// it is closed: nobody knows what it still owes.
pub(crate) struct LinkedServer {
    hub: Rc<Hub>,
    server: Option<Box<Server>>,
}

impl LinkedServer {
    /// Gives the connection back, clean, for the next transaction of anybody.
    pub(crate) fn give_back(mut self) {
        if let Some(server) = self.server.take() {
            self.hub.give_back(server);
        }
    }

    /// Its client has left while a statement runs: it is cancelled, and the connection is closed when that
    /// has come to its end.
    pub(crate) fn see_off(mut self) {
        let hub = Rc::clone(&self.hub);
        if let Some(mut server) = self.server.take() {
            tokio::task::spawn_local(async move {
                crate::cancel::see_off(&hub, &mut server).await;
                hub.discard(&mut server);
            });
        }
    }
}

impl Deref for LinkedServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        // Only giving back and dropping take it out, and both consume the value.
        self.server
            .as_deref()
            .expect("a linked server is there until it is given back")
    }
}

impl DerefMut for LinkedServer {
    fn deref_mut(&mut self) -> &mut Server {
        // As above.
        self.server
            .as_deref_mut()
            .expect("a linked server is there until it is given back")
    }
}

impl Drop for LinkedServer {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            self.hub.discard(&mut server);
        }
    }
}

impl Hub {
    /// When it is a session's turn in the lane that its next transaction goes to.
    pub(crate) fn turn_of(&self, turns: &mut Turns, lane: LaneId) -> Turn {
        turns.ask(&self.scheduler.borrow(), lane)
    }

    /// The same for a session that is not there yet.
    pub(crate) fn first_turn(&self, lane: LaneId) -> Turn {
        self.scheduler.borrow().turn(lane, Turn::default())
    }

    /// Asks for a server connection for one transaction.
    pub(crate) fn ask(
        self: &Rc<Self>,
        lane: LaneId,
        pool: PoolId,
        client: ClientKey,
        turn: Turn,
    ) -> Asked {
        let wanted = Wanted {
            lane,
            pool,
            client,
            turn,
        };
        let ticket = self.waiters.borrow_mut().issue(Some(wanted));
        if self.holds.any() && self.must_hold(wanted) {
            self.hold(ticket, wanted);
        } else {
            self.tell(wanted.request(ticket));
        }
        let outcome = self.waiters.borrow_mut().take(ticket);
        match outcome {
            Some(outcome) => self.settle(outcome),
            None => Asked::Waiting(WaitingTicket {
                hub: Rc::clone(self),
                ticket: Some(ticket),
            }),
        }
    }

    /// Turns the outcome of a wait into what the session works with.
    pub(crate) fn settle(self: &Rc<Self>, outcome: Outcome) -> Asked {
        match outcome {
            Outcome::Granted(server) => {
                let now = self.clock.now();
                server.face.since.set(now);
                server.face.linked_at.set(now);
                Asked::Granted(LinkedServer {
                    hub: Rc::clone(self),
                    server: Some(server),
                })
            }
            Outcome::Rejected(rejection) => Asked::Refused(Refusal::Rejected(rejection)),
            Outcome::OpenFailed(error) => Asked::Refused(Refusal::OpenFailed(error)),
        }
    }

    /// Takes a connection back. One that owes anything is closed (design rule 2).
    pub(super) fn give_back(self: &Rc<Self>, mut server: Box<Server>) {
        server.face.session.set(0);
        if !server.is_clean() {
            self.metrics.out_of_sync.increment();
            self.events.push(EventKind::OutOfSync {
                server: server.face.id.0,
            });
            tracing::warn!(
                server = server.face.id.0,
                "connection given back while it still owed something: closed"
            );
            server.end = ServerEnd::OutOfSync;
            self.discard(&mut server);
            return;
        }
        if server.face.cancels_under_way.get() > 0 {
            // The cancel was meant for the query that has ended; the next client's
            // query must not meet it.
            let hub = Rc::clone(self);
            tokio::task::spawn_local(async move {
                while server.face.cancels_under_way.get() > 0 {
                    server.face.cancels_done.notified().await;
                }
                hub.give_back(server);
            });
            return;
        }
        let can_be_made_anew = || self.pools.borrow().supply(server.pool) == Supply::Opened;
        if server.defaults != self.defaults.get() && can_be_made_anew() {
            server.end = ServerEnd::OutOfDate;
            self.discard(&mut server);
            return;
        }
        if server.face.cancelled_because.borrow().is_some() {
            server.face.cancelled_because.replace(None);
        }
        if server.face.retired.get() {
            server.end = ServerEnd::OutOfDate;
            self.discard(&mut server);
            return;
        }
        // Answers may have left room nobody needs while it is idle.
        server.carry = Vec::new();
        let (id, pool) = (server.face.id, server.pool);
        self.servers
            .borrow_mut()
            .insert(id, ServerPlace::Idle(server));
        self.tell(Input::Release { server: id });
        if self.holds.any() {
            self.close_if_paused(pool);
            self.let_go();
        }
    }

    /// Closes a connection that is in nobody's hands any more.
    pub(super) fn discard(self: &Rc<Self>, server: &mut Server) {
        if server.is_clean() {
            // Else it could be taken for the end of a message that was cut off.
            server.stream.last_words(TERMINATE);
        }
        self.servers.borrow_mut().remove(&server.face.id);
        self.metrics.server_ended(server.end);
        self.tell(Input::Closed {
            server: server.face.id,
        });
        if self.holds.any() {
            self.let_go();
        }
    }

    /// Carries out everything the scheduler has decided.
    pub(super) fn carry_out(self: &Rc<Self>) {
        loop {
            let output = self.scheduler.borrow_mut().poll();
            match output {
                None => break,
                Some(Output::Grant { ticket, server }) => self.grant(ticket, server),
                Some(Output::Open { server, lane, pool }) => {
                    self.servers
                        .borrow_mut()
                        .insert(server, ServerPlace::opening(lane, pool, self.clock.now()));
                    super::opening::start(self, server, lane, pool);
                }
                Some(Output::Close { server }) => {
                    let place = self.servers.borrow_mut().remove(&server);
                    if let Some(ServerPlace::Idle(mut server)) = place {
                        server.stream.last_words(TERMINATE);
                    }
                }
                Some(Output::Adopted { ticket, server }) => self.adopted(ticket, server),
                // What was offered stays with who offered it.
                Some(Output::NotAdopted { .. }) => {}
                Some(Output::Reject {
                    ticket,
                    lane,
                    reason,
                }) => {
                    self.metrics.lane(lane).rejected(&reason);
                    self.note_rejected(lane, &reason);
                    self.reject(ticket, reason);
                }
                Some(Output::Notice {
                    ticket,
                    lane,
                    place,
                    waiting,
                    waited,
                }) => {
                    let waited = waited.as_secs_f64();
                    let live = self.live();
                    let name = live.lane_name(lane);
                    let text = format!(
                        "lane \"{name}\": waiting for a slot for {waited:.1} s, place {place} of {waiting} in the queue"
                    );
                    let mut waiters = self.waiters.borrow_mut();
                    waiters.order(ticket, |orders| orders.notice = Some(text));
                }
                Some(Output::Objective { lane, change }) => self.tell_of_objective(lane, change),
                Some(Output::Rule {
                    lane,
                    rule,
                    action,
                    whom,
                }) => self.carry_out_rule(lane, rule, action, whom),
                Some(Output::Preempt {
                    server,
                    lane,
                    claimant,
                }) => self.preempt(server, lane, claimant),
                Some(Output::CancelRunning { server, throttle }) => {
                    self.cancel_for_throttle(server, throttle);
                }
                Some(Output::Lowering { throttle }) => self.lower_for_throttle(throttle),
            }
        }
        self.arm_timer();
        self.watch_throttles();
    }

    fn grant(self: &Rc<Self>, ticket: TicketId, id: ServerId) {
        let place = self.servers.borrow_mut().remove(&id);
        let mut server = match place {
            Some(ServerPlace::Idle(server)) => server,
            other => {
                // The scheduler granted what is not idle here: a defect, never a guess.
                debug_assert!(false, "granted {id:?}, which is {other:?}");
                if let Some(other) = other {
                    self.servers.borrow_mut().insert(id, other);
                }
                return;
            }
        };
        if server.check_idle() == Health::Dead {
            // It died while idle: nobody notices. The transaction asks again.
            self.metrics.server_ended(ServerEnd::FoundDead);
            let (lane, pool) = (server.lane, server.pool);
            drop(server);
            let now = self.clock.now();
            let mut scheduler = self.scheduler.borrow_mut();
            let request = Input::Request {
                ticket,
                lane,
                pool,
                client: scheduler.client_of(id),
                // It had its turn.
                turn: Turn::default(),
            };
            scheduler.handle(now, Input::Closed { server: id });
            scheduler.handle(now, request);
            return;
        }
        let face = Rc::clone(&server.face);
        self.servers
            .borrow_mut()
            .insert(id, ServerPlace::Linked(face));
        let unclaimed = self
            .waiters
            .borrow_mut()
            .decide(ticket, Outcome::Granted(server));
        if let Some(Outcome::Granted(server)) = unclaimed {
            // Its client has left: what is clean goes back at once. Deferred, because
            // giving back asks the scheduler, which is being listened to here.
            let hub = Rc::clone(self);
            tokio::task::spawn_local(async move { hub.give_back(server) });
        }
    }

    fn reject(&self, ticket: TicketId, reason: Rejection) {
        let outcome = match &reason {
            Rejection::OpenFailed { server } => self
                .open_errors
                .borrow()
                .get(server)
                .map(|error| Outcome::OpenFailed(Rc::clone(error))),
            _ => None,
        };
        let outcome = outcome.unwrap_or(Outcome::Rejected(reason));
        self.waiters.borrow_mut().decide(ticket, outcome);
    }

    fn cancel_for_throttle(self: &Rc<Self>, server: ServerId, throttle: usize) {
        let face = match self.servers.borrow().get(&server) {
            Some(ServerPlace::Linked(face)) => Rc::clone(face),
            _ => return,
        };
        let live = self.live();
        let name = live.throttle_name(throttle);
        let lane = self.scheduler.borrow().lane_of(server);
        let lane = lane.map_or("unknown", |lane| live.lane_name(lane));
        face.cancelled_because.replace(Some(Because {
            text: format!("canceling statement: lane \"{lane}\" gave way to throttle {name:?}"),
            sqlstate: "57014",
            hint: Some("The work can be tried again; it will wait until the lane has slots."),
            insistence: Insistence::Statement {
                turn: face.turns.get(),
            },
        }));
        self.metrics.throttle_cancels.increment();
        self.events.push(EventKind::Cancelled {
            lane: live.lane_name(face.lane).to_owned(),
            by: format!("throttle {name:?}"),
        });
        crate::cancel::forward_to_client(self, face);
    }

    /// An objective's beginning, once in a while: what there is to see of it is in the metrics.
    fn tell_of_objective(&self, lane: LaneId, change: ObjectiveChange) {
        let live = self.live();
        let lane = live.lane_name(lane);
        self.events.push(EventKind::Objective {
            lane: lane.to_owned(),
            does: match change {
                ObjectiveChange::HoldsBack => "holds lanes of lower priority back",
                ObjectiveChange::Learns => "holds lanes back to learn its latency in quiet",
            },
        });
        match change {
            ObjectiveChange::HoldsBack => {
                tracing::info!(
                    lane,
                    "its objective begins to hold lanes of lower priority back"
                );
            }
            ObjectiveChange::Learns => tracing::info!(
                lane,
                "its objective holds lanes of lower priority back, to learn the lane's latency in quiet"
            ),
        }
    }

    /// Notes the face of a connection that a session holds, for cancels by throttles.
    pub(crate) fn connection_counts(&self) -> (usize, usize, usize) {
        let servers = self.servers.borrow();
        let mut counts = (0, 0, 0);
        for place in servers.values() {
            match place {
                ServerPlace::Opening { .. } => counts.0 += 1,
                ServerPlace::Idle(_) => counts.1 += 1,
                ServerPlace::Linked(_) => counts.2 += 1,
            }
        }
        counts
    }
}

/// Terminate (`X`): the server ends the session in good order.
pub(crate) const TERMINATE: &[u8] = &[b'X', 0, 0, 0, 4];

#[cfg(test)]
mod tests {
    #[test]
    fn the_parting_word_is_terminate() {
        let mut out = bytes::BytesMut::new();
        pglanes_wire::message::terminate(&mut out);
        assert_eq!(out, super::TERMINATE);
    }
}
