//! What-if: a recorded stretch of a live proxy, run again through the scheduler with another policy.
//!
//! Clients are taken as they were: each session asks for its next transaction as long after its last one ended as it did in the
//! recording, so that a session that is kept waiting asks for less (a closed loop). What a transaction takes is taken apart: a
//! part takes as long whatever runs beside it (`fixed`); of the rest follows what it would take alone, from what ran beside it in the
//! recording, and how [`Machine`] shares its cores ([`Trace::works`]). In the replay it takes that, the rest stretched by what
//! runs beside it there.
//!
//! What the model does not know: locks, caches and disks; that long work which waits for a disk or a client needs no core; what
//! else the machine does; that a throttle ends what runs. Its error is to be seen, not believed: replayed under the policy that it was recorded under, a trace
//! should give what was measured.

mod fixed;
mod machine;
mod outcome;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

pub use machine::{Machine, Weight, Work};
pub use outcome::{LaneOutcome, Outcome, measured};

use crate::classify::StatementKind;
use crate::objective::{ClassKey, Sample};
use crate::time::nanos;
use crate::{
    Action, ClientKey, Input, LaneId, Output, Policy, PoolId, Scheduler, ServerId, TicketId, Time,
    Turns, Whom,
};

/// How long a connection takes to open.
const OPEN: Duration = Duration::from_millis(3);
/// Tries of a transaction that is rejected; then its session goes on with the next.
const TRIES: u32 = 5;
/// How long a client waits after a rejection.
const AFTER_REJECTION: Duration = Duration::from_millis(20);
/// A replay that takes so many times as long as the recording is given up: a policy under which nothing ends.
const LONGEST: u32 = 100;

/// One transaction as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its session.
    pub session: u32,
    /// Its lane, by its place in the policy of the replay.
    pub lane: LaneId,
    /// Its user, database and startup parameters.
    pub pool: PoolId,
    /// Who asked, for lanes with caps.
    pub client: ClientKey,
    /// When it asked for its slot, since the recording began.
    pub asked: Duration,
    /// How long it waited for it.
    pub waited: Duration,
    /// How long it held it.
    pub held: Duration,
    /// What it looks like, in a lane with an objective.
    pub class: Option<ClassKey>,
    /// Bytes from and to the client.
    pub bytes: (u64, u64),
    /// It got no slot.
    pub rejected: bool,
}

impl Recorded {
    fn granted(&self) -> Duration {
        self.asked + self.waited
    }

    /// When it was over.
    #[must_use]
    pub fn ended(&self) -> Duration {
        self.granted() + self.held
    }
}

/// A lease as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedLease {
    /// Its lane, by its place in the policy of the replay.
    pub lane: LaneId,
    /// When it was taken, since the recording began.
    pub taken: Duration,
    /// When it ended.
    pub ended: Duration,
}

/// A recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// What ended while it was recorded, in any order.
    pub transactions: Vec<Recorded>,
    /// The leases that were held.
    pub leases: Vec<RecordedLease>,
    /// How long it was recorded.
    pub length: Duration,
}

/// A replay to be made.
#[derive(Clone, Debug)]
pub struct Replay<'a> {
    /// What was recorded.
    pub trace: &'a Trace,
    /// What each transaction takes alone, by its place in the trace: [`Trace::works`].
    pub works: &'a [Work],
    /// The policy to try.
    pub policy: Policy,
    /// The machine, with each lane's CPU weight under that policy.
    pub machine: Machine,
    /// The lane whose work is done once, and in whose time the others are looked at. Sessions of other lanes begin again where
    /// theirs is used up.
    pub measured: LaneId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ask { session: usize },
    Opened { server: ServerId },
    Lease { lease: usize, begins: bool },
}

/// A client: its transactions in their order, and where it is.
struct Client {
    transactions: Vec<usize>,
    /// The pause before each.
    pauses: Vec<Duration>,
    next: usize,
    tries: u32,
    turns: Turns,
    asked: Time,
}

impl Client {
    /// What it asks for, or has asked for, by its place in the trace.
    fn transaction(&self) -> usize {
        self.transactions[self.next % self.transactions.len()]
    }
}

struct Job {
    server: ServerId,
    session: usize,
    transaction: usize,
    granted: Time,
    /// Of its fixed part first, then of the rest.
    left: Work,
}

impl Job {
    fn shares(&self) -> bool {
        self.left.fixed < 1.0
    }

    fn is_done(&self) -> bool {
        self.shares() && self.left.shared < 1.0
    }
}

struct World<'a> {
    replay: &'a Replay<'a>,
    scheduler: Scheduler,
    clients: Vec<Client>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    waiting: BTreeMap<TicketId, usize>,
    jobs: Vec<Job>,
    now: Time,
    next: u64,
    /// Sessions of the measured lane that are not done.
    unfinished: usize,
    done: Vec<outcome::Done>,
    rejected: Vec<u64>,
    cancelled: Vec<u64>,
    /// When the measured lane's last transaction ended.
    over: Option<Time>,
}

impl Replay<'_> {
    /// Makes the replay. The same trace and policy give the same outcome.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut world = World::new(self);
        world.begin();
        world.run();
        Outcome::of(
            self.policy.lanes.len(),
            self.measured,
            world.over.map(|over| over.since(Time::ZERO)),
            self.trace.length,
            &world.done,
            (&world.rejected, &world.cancelled),
        )
    }
}

impl<'a> World<'a> {
    fn new(replay: &'a Replay<'a>) -> Self {
        let lanes = replay.policy.lanes.len();
        Self {
            replay,
            scheduler: Scheduler::new(replay.policy.clone()),
            clients: clients(&replay.trace.transactions),
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            jobs: Vec::new(),
            now: Time::ZERO,
            next: 0,
            unfinished: 0,
            done: Vec::new(),
            rejected: vec![0; lanes],
            cancelled: vec![0; lanes],
            over: None,
        }
    }

    fn begin(&mut self) {
        for session in 0..self.clients.len() {
            let transactions = &self.clients[session].transactions;
            let lanes = transactions
                .iter()
                .map(|&one| self.replay.trace.transactions[one].lane);
            self.unfinished += usize::from(lanes.into_iter().any(|lane| lane == self.measured()));
            let first = self.clients[session].pauses[0];
            self.schedule(Time::ZERO + first, Event::Ask { session });
            let lane = self.lane_of(session);
            self.scheduler
                .handle(Time::ZERO, Input::SessionOpened { lane });
        }
        for (lease, held) in self.replay.trace.leases.iter().enumerate() {
            let begins = true;
            self.schedule(Time::ZERO + held.taken, Event::Lease { lease, begins });
            // One that outlived the measured lane's work does so here.
            if held.lane != self.measured() {
                let begins = false;
                self.schedule(Time::ZERO + held.ended, Event::Lease { lease, begins });
            }
        }
        self.carry_out();
    }

    fn measured(&self) -> LaneId {
        self.replay.measured
    }

    fn lane_of(&self, session: usize) -> LaneId {
        let transaction = self.clients[session].transaction();
        self.replay.trace.transactions[transaction].lane
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.next += 1;
        self.events.push(Reverse((at, self.next, event)));
    }

    fn run(&mut self) {
        let length = self.replay.trace.length;
        let longest = length.saturating_mul(LONGEST);
        loop {
            let passed = self.now.since(Time::ZERO);
            let done = self.unfinished == 0 && (self.over.is_some() || passed >= length);
            if done || passed > longest {
                return;
            }
            let speeds = self.speeds();
            let done = self.first_done(&speeds);
            let event = self.events.peek().map(|&Reverse((at, ..))| at);
            let timer = self.scheduler.poll_timeout();
            let Some(next) = [done, event, timer].into_iter().flatten().min() else {
                return;
            };
            self.advance(next, &speeds);
            if done == Some(next) {
                self.finish_jobs();
            } else if event == Some(next) {
                self.take_event();
            } else {
                self.scheduler.handle_timeout(next);
            }
            self.carry_out();
        }
    }

    fn speeds(&self) -> machine::Speeds {
        let lanes = self
            .jobs
            .iter()
            .filter(|job| job.shares())
            .map(|job| self.replay.trace.transactions[job.transaction].lane);
        self.replay.machine.speeds(lanes)
    }

    fn speed(&self, job: &Job, speeds: &machine::Speeds) -> f64 {
        let lane = self.replay.trace.transactions[job.transaction].lane;
        speeds.of(self.replay.machine.weight(lane))
    }

    /// When the first job comes to the end of what it is at.
    fn first_done(&self, speeds: &machine::Speeds) -> Option<Time> {
        let left = self.jobs.iter().map(|job| match job.shares() {
            true => job.left.shared / self.speed(job, speeds),
            false => job.left.fixed,
        });
        let first = left.fold(f64::INFINITY, f64::min);
        let span = Duration::from_nanos(first.ceil().clamp(1.0, 1e18) as u64);
        first.is_finite().then(|| self.now + span)
    }

    fn advance(&mut self, to: Time, speeds: &machine::Speeds) {
        let passed = nanos(to.since(self.now)) as f64;
        for place in 0..self.jobs.len() {
            let speed = self.speed(&self.jobs[place], speeds);
            let job = &mut self.jobs[place];
            match job.shares() {
                true => job.left.shared -= passed * speed,
                false => job.left.fixed -= passed,
            }
        }
        self.now = to;
    }

    fn finish_jobs(&mut self) {
        while let Some(place) = self.jobs.iter().position(Job::is_done) {
            self.finish(place, false);
        }
    }

    fn finish(&mut self, place: usize, cancelled: bool) {
        let job = self.jobs.swap_remove(place);
        let recorded = &self.replay.trace.transactions[job.transaction];
        let asked = self.clients[job.session].asked;
        let served = self.now.since(job.granted);
        let waited = job.granted.since(asked);
        if cancelled {
            self.cancelled[recorded.lane.index()] += 1;
        } else {
            self.done.push(outcome::Done {
                lane: recorded.lane,
                asked: asked.since(Time::ZERO),
                waited,
                held: served,
            });
        }
        let lane = recorded.lane;
        let has_objective = self.replay.policy.lanes[lane.index()].objective.is_some();
        if has_objective && !cancelled {
            let pooled = ClassKey {
                kind: StatementKind::Select,
                shape: 0,
            };
            let sample = Sample {
                class: recorded.class.unwrap_or(pooled),
                began: job.granted,
                served,
                waited,
            };
            let measured = Input::Measured { lane, sample };
            self.scheduler.handle(self.now, measured);
        }
        let client = &mut self.clients[job.session];
        client.turns.served(served);
        let release = Input::Release { server: job.server };
        self.scheduler.handle(self.now, release);
        self.go_on(job.session);
    }

    /// The session's next transaction comes after its pause.
    fn go_on(&mut self, session: usize) {
        let before = self.lane_of(session);
        let client = &mut self.clients[session];
        client.next += 1;
        client.tries = 0;
        let all = client.transactions.len();
        if client.next >= all && before == self.replay.measured {
            self.unfinished = self.unfinished.saturating_sub(1);
            let lane = before;
            self.scheduler
                .handle(self.now, Input::SessionClosed { lane });
            if self.unfinished == 0 {
                self.over = Some(self.now);
                self.end_leases();
            }
            return;
        }
        let place = client.next % all;
        // Beginning again it pauses as it usually did, not as long as it took to come.
        let pause = match place {
            0 => client.pauses.get(1).copied().unwrap_or_default(),
            _ => client.pauses[place],
        };
        let lane = self.lane_of(session);
        if lane != before {
            let closed = Input::SessionClosed { lane: before };
            self.scheduler.handle(self.now, closed);
            self.scheduler
                .handle(self.now, Input::SessionOpened { lane });
        }
        self.schedule(self.now + pause, Event::Ask { session });
    }

    fn end_leases(&mut self) {
        for lease in &self.replay.trace.leases {
            if lease.lane == self.replay.measured && lease.taken <= self.now.since(Time::ZERO) {
                let lane = lease.lane;
                self.scheduler.handle(self.now, Input::LeaseEnded { lane });
            }
        }
    }

    fn take_event(&mut self) {
        let Some(Reverse((_, number, event))) = self.events.pop() else {
            return;
        };
        match event {
            Event::Ask { session } => self.ask(session, TicketId(number)),
            Event::Opened { server } => self.scheduler.handle(self.now, Input::Opened { server }),
            Event::Lease { lease, begins } => {
                let lane = self.replay.trace.leases[lease].lane;
                let input = match begins {
                    true => Input::LeaseTaken { lane },
                    false => Input::LeaseEnded { lane },
                };
                self.scheduler.handle(self.now, input);
            }
        }
    }

    fn ask(&mut self, session: usize, ticket: TicketId) {
        let lane = self.lane_of(session);
        let client = &mut self.clients[session];
        let transaction = client.transaction();
        let recorded = &self.replay.trace.transactions[transaction];
        if client.tries == 0 {
            client.asked = self.now;
        }
        client.tries += 1;
        let turn = client.turns.ask(&self.scheduler, lane);
        self.waiting.insert(ticket, session);
        let request = Input::Request {
            ticket,
            lane,
            pool: recorded.pool,
            client: recorded.client,
            turn,
        };
        self.scheduler.handle(self.now, request);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Grant { ticket, server } => self.start(ticket, server),
                Output::Open { server, .. } => {
                    self.schedule(self.now + OPEN, Event::Opened { server });
                }
                Output::Reject { ticket, .. } => self.rejected(ticket),
                Output::CancelRunning { server, .. }
                | Output::Preempt { server, .. }
                | Output::Rule {
                    action: Action::Cancel,
                    whom: Whom::Server(server),
                    ..
                } => {
                    let running = self.jobs.iter().position(|job| job.server == server);
                    if let Some(place) = running {
                        self.finish(place, true);
                    }
                }
                // Nobody reads what a replayed client is told, and nothing has to be closed.
                Output::Close { .. }
                | Output::Adopted { .. }
                | Output::NotAdopted { .. }
                | Output::Rule { .. }
                | Output::Notice { .. }
                | Output::Objective { .. }
                | Output::Lowering { .. } => {}
            }
        }
    }

    fn rejected(&mut self, ticket: TicketId) {
        let Some(session) = self.waiting.remove(&ticket) else {
            return;
        };
        let lane = self.lane_of(session);
        self.rejected[lane.index()] += 1;
        if self.clients[session].tries < TRIES {
            self.schedule(self.now + AFTER_REJECTION, Event::Ask { session });
        } else {
            self.go_on(session);
        }
    }

    fn start(&mut self, ticket: TicketId, server: ServerId) {
        let Some(session) = self.waiting.remove(&ticket) else {
            return;
        };
        let transaction = self.clients[session].transaction();
        let work = self.replay.works.get(transaction).copied();
        self.jobs.push(Job {
            server,
            session,
            transaction,
            granted: self.now,
            left: work.unwrap_or_default(),
        });
    }
}

/// Sessions with their transactions in order, and how long each paused before each.
fn clients(transactions: &[Recorded]) -> Vec<Client> {
    let mut sessions: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, recorded) in transactions.iter().enumerate() {
        // What was rejected was work that somebody wanted, but how much is not known.
        if !recorded.rejected {
            sessions.entry(recorded.session).or_default().push(place);
        }
    }
    let clients = sessions.into_values().map(|mut places| {
        places.sort_by_key(|&place| transactions[place].asked);
        let mut before = Duration::ZERO;
        let pauses = places.iter().map(|&place| {
            let pause = transactions[place].asked.saturating_sub(before);
            before = transactions[place].ended();
            pause
        });
        Client {
            pauses: pauses.collect(),
            turns: Turns::new(transactions[places[0]].lane),
            transactions: places,
            next: 0,
            tries: 0,
            asked: Time::ZERO,
        }
    });
    clients.collect()
}
