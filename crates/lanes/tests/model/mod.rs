//! The owner's side of the scheduler, kept as plainly as can be, with a check of each output.

mod clients;
mod inputs;
mod rejections;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pglanes_lanes::{
    ClientKey, Input, LaneId, OpenVerdict, Output, Policy, PoolId, Scheduler, ServerId, Snapshot,
    Supply, TicketId, Time, Turn,
};

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Something to do; the numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Request {
        lane: u16,
        pool: u32,
        client: ClientKey,
    },
    Withdraw(usize),
    Release(usize),
    Opened(usize),
    OpenFailed {
        which: usize,
        reject: bool,
    },
    Closed(usize),
    /// A session keeps its connection beyond its transaction.
    Keep(usize),
    Resume(usize),
    Met {
        which: usize,
        rule: u16,
    },
    /// What was to give way does not.
    Spare(usize),
    Session {
        lane: u16,
        opens: bool,
    },
    Lease {
        lane: u16,
        taken: bool,
    },
    Flush(u32),
    Adopt {
        lane: u16,
        pool: u32,
    },
    Supply {
        pool: u32,
        supply: Supply,
    },
    Pass(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Idle,
    Busy,
    Cancelled,
    /// Cancelled to give way.
    Yielding,
    Kept,
}

impl State {
    fn runs(self) -> bool {
        !matches!(self, Self::Opening | Self::Idle)
    }
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    lane: LaneId,
    pool: PoolId,
    client: ClientKey,
    since: Time,
    /// Its session's turn, where its lane is ordered by service.
    turn: Turn,
    /// When its client's caps let it contend, in order; not yet, without.
    admitted: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    lane: LaneId,
    pool: PoolId,
    state: State,
    /// Whose transaction it has.
    client: ClientKey,
}

impl Connection {
    fn new(lane: LaneId, pool: PoolId, state: State) -> Self {
        Self {
            lane,
            pool,
            state,
            client: ClientKey::default(),
        }
    }
}

pub(crate) struct World {
    policy: Policy,
    scheduler: Scheduler,
    now: Time,
    next_ticket: u64,
    next_admission: u64,
    /// Tickets are given in order, so the map's order is that of arrival.
    waiting: BTreeMap<TicketId, Waiter>,
    connections: BTreeMap<ServerId, Connection>,
    /// Offers of connections that are not answered.
    offers: BTreeMap<TicketId, (LaneId, PoolId)>,
    /// Pools whose connections only the owner makes.
    adopting: BTreeSet<PoolId>,
    sessions: BTreeMap<LaneId, u64>,
    leases: BTreeMap<LaneId, u64>,
    /// Whether the order over a lane's pools is checked; failures to open may change it.
    pub(crate) check_lane_order: bool,
    /// Whether a reload may have left lanes above their limits.
    reloaded: bool,
    /// The limits of the lanes when the last step ended.
    limits: Vec<u32>,
    /// Who was told that it waits.
    noticed: BTreeSet<TicketId>,
    /// Which rules the transaction of a connection has met.
    met: BTreeSet<(ServerId, u16)>,
    pub(crate) rejected: u64,
    pub(crate) trace: Vec<(Time, Output)>,
}

impl World {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            scheduler: Scheduler::new(policy.clone()),
            policy,
            now: Time::ZERO,
            next_ticket: 0,
            next_admission: 0,
            waiting: BTreeMap::new(),
            connections: BTreeMap::new(),
            offers: BTreeMap::new(),
            adopting: BTreeSet::new(),
            sessions: BTreeMap::new(),
            leases: BTreeMap::new(),
            check_lane_order: false,
            reloaded: false,
            limits: Vec::new(),
            noticed: BTreeSet::new(),
            met: BTreeSet::new(),
            rejected: 0,
            trace: Vec::new(),
        }
    }

    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Request { lane, pool, client } => {
                self.request(LaneId(lane), PoolId(pool), client);
            }
            Act::Withdraw(which) => {
                if let Some(ticket) = pick(self.waiting.keys().copied(), which) {
                    self.waiting.remove(&ticket);
                    self.tell(Input::Withdraw { ticket });
                }
            }
            Act::Release(which) => {
                if let Some(server) = self.pick_connection(which, State::runs) {
                    self.measure(server, which);
                    self.set(server, State::Idle);
                    self.tell(Input::Release { server });
                }
            }
            Act::Keep(_) | Act::Resume(_) | Act::Met { .. } | Act::Spare(_) => {
                self.act_on_running(act);
            }
            Act::Opened(which) => {
                if let Some(server) = self.pick_connection(which, |state| state == State::Opening) {
                    self.set(server, State::Idle);
                    self.tell(Input::Opened { server });
                }
            }
            Act::OpenFailed { which, reject } => {
                if let Some(server) = self.pick_connection(which, |state| state == State::Opening) {
                    self.connections.remove(&server);
                    let verdict = if reject {
                        OpenVerdict::RejectWaiters
                    } else {
                        OpenVerdict::KeepWaiting
                    };
                    self.tell(Input::OpenFailed { server, verdict });
                }
            }
            Act::Closed(which) => {
                if let Some(server) = self.pick_connection(which, |_| true) {
                    self.connections.remove(&server);
                    self.tell(Input::Closed { server });
                }
            }
            Act::Session { lane, opens } => self.count_session(LaneId(lane), opens),
            Act::Lease { lane, taken } => self.count_lease(LaneId(lane), taken),
            Act::Flush(pool) => {
                let pool = PoolId(pool);
                self.tell(Input::FlushPool { pool });
                let left = |one: &Connection| one.pool == pool && one.state == State::Idle;
                assert!(!self.connections.values().any(left));
            }
            Act::Adopt { lane, pool } => self.offer(LaneId(lane), PoolId(pool)),
            Act::Supply { pool, supply } => self.supply(PoolId(pool), supply),
            Act::Pass(span) => self.pass(millis(span)),
        }
    }

    fn request(&mut self, lane: LaneId, pool: PoolId, client: ClientKey) {
        self.next_ticket += 1;
        let ticket = TicketId(self.next_ticket);
        // What a session has had: anything, but the same for the same ticket.
        let own = Turn((ticket.0 * 7919 % 40) * 1_000_000);
        let turn = self.scheduler.turn(lane, own);
        let waiter = Waiter {
            lane,
            pool,
            client,
            since: self.now,
            turn,
            admitted: None,
        };
        self.waiting.insert(ticket, waiter);
        self.tell(Input::Request {
            ticket,
            lane,
            pool,
            client,
            turn,
        });
    }

    pub(crate) fn reload(&mut self, policy: Policy) {
        self.reloaded = true;
        self.policy = policy.clone();
        self.tell(Input::Reload { policy });
    }

    fn count_session(&mut self, lane: LaneId, opens: bool) {
        let count = self.sessions.entry(lane).or_default();
        match (opens, *count) {
            (true, _) => {
                *count += 1;
                self.tell(Input::SessionOpened { lane });
            }
            (false, 0) => {}
            (false, _) => {
                *count -= 1;
                self.tell(Input::SessionClosed { lane });
            }
        }
    }

    fn count_lease(&mut self, lane: LaneId, taken: bool) {
        let count = self.leases.entry(lane).or_default();
        match (taken, *count) {
            (true, _) => {
                *count += 1;
                self.tell(Input::LeaseTaken { lane });
            }
            (false, 0) => {}
            (false, _) => {
                *count -= 1;
                self.tell(Input::LeaseEnded { lane });
            }
        }
    }

    /// Lets time pass, waking the scheduler at every moment it asked for.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.scheduler.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.scheduler.handle_timeout(self.now);
            self.check();
        }
        self.now = end;
    }

    fn tell(&mut self, input: Input) {
        self.admit();
        self.scheduler.handle(self.now, input);
        self.check();
    }

    /// Ends all work there is, and lets all that waits through: everyone must be answered.
    pub(crate) fn drain(&mut self) {
        for lane in self.sessions.keys().copied().collect::<Vec<_>>() {
            while self.sessions[&lane] > 0 {
                self.count_session(lane, false);
            }
        }
        for lane in self.leases.keys().copied().collect::<Vec<_>>() {
            while self.leases[&lane] > 0 {
                self.count_lease(lane, false);
            }
        }
        for round in 0.. {
            assert!(round < 2000, "still waiting: {:?}", self.waiting);
            let unsettled = |one: &Connection| one.state != State::Idle;
            if self.waiting.is_empty() && !self.connections.values().any(unsettled) {
                break;
            }
            self.act(Act::Opened(0));
            self.act(Act::Release(0));
            self.pass(millis(20));
        }
        let snapshot = self.scheduler.snapshot(self.now);
        assert_eq!((snapshot.waiting, snapshot.in_use), (0, 0));
    }

    fn pick_connection(&self, which: usize, wanted: impl Fn(State) -> bool) -> Option<ServerId> {
        let found = self
            .connections
            .iter()
            .filter(|(_, connection)| wanted(connection.state))
            .map(|(&server, _)| server);
        pick(found, which)
    }

    fn set(&mut self, server: ServerId, state: State) {
        let connection = self.connections.get_mut(&server);
        let connection = connection.expect("a live connection");
        connection.state = state;
        if state == State::Idle {
            connection.client = ClientKey::default();
        }
    }

    /// Takes every output, checks it, and then the state they leave.
    fn check(&mut self) {
        assert_eq!(self.scheduler.check_invariants(), Ok(()));
        let next = self.scheduler.poll_timeout();
        assert!(
            next.is_none_or(|next| next > self.now),
            "wants to be woken at once"
        );
        let snapshot = self.scheduler.snapshot(self.now);
        while let Some(output) = self.scheduler.poll() {
            self.trace.push((self.now, output));
            match output {
                Output::Grant { ticket, server } => self.check_grant(ticket, server, &snapshot),
                Output::Open { server, lane, pool } => {
                    let state = State::Opening;
                    let connection = Connection::new(lane, pool, state);
                    assert!(self.connections.insert(server, connection).is_none());
                    self.check_open(lane, pool, &snapshot);
                }
                Output::Adopted { ticket, server } => self.check_adopted(ticket, server),
                Output::NotAdopted { ticket } => {
                    let offered = self.offers.remove(&ticket);
                    assert!(offered.is_some(), "nothing was offered");
                }
                Output::Close { server } => {
                    let closed = self.connections.remove(&server).expect("a live connection");
                    assert_eq!(closed.state, State::Idle);
                }
                Output::Reject {
                    ticket,
                    lane,
                    reason,
                } => self.check_reject(ticket, lane, reason),
                Output::Objective { lane, .. } => {
                    let protected = &self.policy.lanes[lane.index()].objective;
                    assert!(protected.is_some(), "{lane:?} has no objective");
                }
                Output::CancelRunning { server, .. } => {
                    assert_eq!(
                        self.connections[&server].state,
                        State::Busy,
                        "cancelled twice"
                    );
                    self.set(server, State::Cancelled);
                }
                Output::Rule {
                    lane,
                    rule,
                    action,
                    whom,
                } => self.check_rule(lane, rule, action, whom),
                Output::Preempt {
                    server,
                    lane,
                    claimant,
                } => self.check_preempt(server, lane, claimant),
                Output::Notice { ticket, waited, .. } => {
                    let waiter = self.waiting[&ticket];
                    assert_eq!(waited, self.now.since(waiter.since));
                    let limit = self.policy.lanes[waiter.lane.index()].queue_notice;
                    assert!(waited == limit || (self.reloaded && waited > limit));
                    assert!(self.noticed.insert(ticket), "told twice");
                }
                Output::Lowering { .. } => {}
            }
            self.admit();
        }
        self.check_state(&snapshot);
        self.limits = snapshot.lanes.iter().map(|lane| lane.effective).collect();
    }

    fn check_grant(&mut self, ticket: TicketId, server: ServerId, snapshot: &Snapshot) {
        let waiter = self
            .waiting
            .remove(&ticket)
            .expect("a grant to one who waits");
        let connection = self.connections[&server];
        assert_eq!(connection.state, State::Idle, "granted twice");
        assert_eq!(
            (connection.lane, connection.pool),
            (waiter.lane, waiter.pool)
        );
        let admitted = waiter.admitted.expect("a grant within the caps");
        for (other, earlier) in &self.waiting {
            let comes_later = |at: u64| (earlier.turn, at) > (waiter.turn, admitted);
            if earlier.admitted.is_none_or(comes_later) {
                continue;
            }
            let same = (earlier.lane, earlier.pool) == (waiter.lane, waiter.pool);
            assert!(!same, "{ticket:?} overtook {other:?}");
            if self.check_lane_order && earlier.lane == waiter.lane && !self.reloaded {
                assert!(
                    self.is_covered(*other),
                    "{ticket:?} overtook {other:?} of another pool"
                );
            }
        }
        self.set(server, State::Busy);
        self.met.retain(|&(met, _)| met != server);
        self.connections.get_mut(&server).expect("granted").client = waiter.client;
        self.check_growth(waiter.lane, snapshot);
    }

    /// Whether a connection is opening for a waiter: as many are as wait for the pool up to it.
    fn is_covered(&self, ticket: TicketId) -> bool {
        let waiter = self.waiting[&ticket];
        let kin = |lane, pool| (lane, pool) == (waiter.lane, waiter.pool);
        let rank = |one: &Waiter| (one.turn, one.admitted);
        let before = |one: &&Waiter| one.admitted.is_some() && rank(one) <= rank(&waiter);
        let ahead = self.waiting.values().filter(before);
        let ahead = ahead.filter(|one| kin(one.lane, one.pool)).count();
        let opening = self.connections.values();
        let opening = opening.filter(|one| one.state == State::Opening && kin(one.lane, one.pool));
        opening.count() >= ahead
    }

    fn check_adopted(&mut self, ticket: TicketId, server: ServerId) {
        let (lane, pool) = self.offers.remove(&ticket).expect("an offer");
        let state = State::Idle;
        let connection = Connection::new(lane, pool, state);
        assert!(self.connections.insert(server, connection).is_none());
        assert!(self.connections.len() as u32 <= self.policy.total_slots);
        let of_lane = self.count(lane, |_| true);
        assert!(of_lane <= self.policy.lanes[lane.index()].max);
    }

    fn check_open(&self, lane: LaneId, pool: PoolId, snapshot: &Snapshot) {
        assert!(!self.adopting.contains(&pool), "{pool:?} cannot be opened");
        let all = self.connections.len() as u32;
        assert!(all <= self.policy.total_slots, "{all} connections");
        let of_lane = self.count(lane, |_| true);
        assert!(
            of_lane <= self.policy.lanes[lane.index()].max,
            "{of_lane} in {lane:?}"
        );
        self.check_growth(lane, snapshot);
        let opening = self.connections.values();
        let opening = opening
            .filter(|one| (one.lane, one.pool, one.state) == (lane, pool, State::Opening))
            .count();
        // No herd. Grants and withdrawals of the same step may come after, so only a bound is sure.
        let waiting = self.waiting.values();
        let waiting = waiting.filter(|one| (one.lane, one.pool) == (lane, pool));
        let spare = snapshot.lanes[lane.index()].opening as usize;
        assert!(opening <= waiting.count() + spare);
    }

    /// A lane above its minimum leaves every other lane's minimum free. A limit that holds at neither end of the step is
    /// not one that a slot was given out by: a throttle may end in the step whose slots it did not keep free.
    fn check_growth(&self, lane: LaneId, snapshot: &Snapshot) {
        let held = |lane| self.count(lane, |state| state != State::Idle);
        let minimum = |lane: LaneId| {
            let after = snapshot.lanes[lane.index()].effective;
            let before = self.limits.get(lane.index()).copied().unwrap_or(after);
            let effective = before.min(after);
            self.policy.lanes[lane.index()].min.min(effective)
        };
        let lanes = (0..self.policy.lanes.len() as u16).map(LaneId);
        let reserved: u32 = lanes.map(|lane| held(lane).max(minimum(lane))).sum();
        let within = held(lane) <= self.policy.lanes[lane.index()].min;
        assert!(
            within || reserved <= self.policy.total_slots,
            "{lane:?} took another's minimum"
        );
    }

    /// Whether the pool of a waiter has a connection in its lane.
    fn is_served(&self, waiter: &Waiter) -> bool {
        let fits = |one: &Connection| (one.lane, one.pool) == (waiter.lane, waiter.pool);
        self.connections.values().any(fits)
    }

    fn count(&self, lane: LaneId, wanted: impl Fn(State) -> bool) -> u32 {
        let of_lane = |one: &&Connection| one.lane == lane && wanted(one.state);
        self.connections.values().filter(of_lane).count() as u32
    }

    /// The scheduler's counts are the owner's, and nobody waits for a connection that idles.
    fn check_state(&self, snapshot: &Snapshot) {
        assert_eq!(snapshot.waiting, self.waiting.len());
        assert_eq!(snapshot.connections, self.connections.len() as u32);
        for waiter in self.waiting.values() {
            let hopeless = self.adopting.contains(&waiter.pool) && !self.is_served(waiter);
            assert!(!hopeless, "{waiter:?} waits for nothing");
        }
        for (index, lane) in snapshot.lanes.iter().enumerate() {
            let id = LaneId(index as u16);
            let busy = self.count(id, State::runs);
            assert_eq!(lane.busy, busy);
            assert_eq!(lane.idle, self.count(id, |state| state == State::Idle));
            let behind = |one: &&Waiter| one.lane == id && one.admitted.is_none();
            let behind = self.waiting.values().filter(behind).count();
            assert_eq!(lane.capped as usize, behind);
            let held = lane.busy + lane.opening;
            if held >= lane.effective || held >= self.policy.lanes[index].min {
                continue;
            }
            // Within its minimum and its limit, whoever waits has a connection of its own to look forward to or waits
            // for one that failed.
            for (server, idle) in &self.connections {
                let fits = |one: &Waiter| {
                    (one.lane, one.pool) == (idle.lane, idle.pool) && one.admitted.is_some()
                };
                let stuck = idle.lane == id && idle.state == State::Idle;
                assert!(
                    !(stuck && self.waiting.values().any(fits)),
                    "{server:?} idles"
                );
            }
        }
    }
}

fn pick<T>(mut found: impl Iterator<Item = T> + Clone, which: usize) -> Option<T> {
    let count = found.clone().count();
    (count > 0).then(|| found.nth(which % count))?
}
