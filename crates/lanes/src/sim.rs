//! The scheduler driven by a simulated clock: lanes of clients that arrive, wait, run and leave, in no real time at all.
//!
//! Not a model of PostgreSQL: a transaction takes the time its distribution draws, whatever else runs. It shows what the
//! scheduler does with waits and slots, and the same seed gives the same run to the last decision.

pub mod contended;
pub mod replay;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use crate::{
    Action, ClientKey, Input, LaneId, Output, Policy, PoolId, Rejection, Scheduler, ServerId,
    TicketId, Time, Turn, Whom, time::nanos,
};

/// A small seeded generator (splitmix64): every seed is good, every run repeats.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in 0 to 1, never 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// Always this long.
    Constant(Duration),
    /// Anything between, alike.
    Uniform(Duration, Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
}

impl Span {
    pub(crate) fn draw(self, random: &mut Random) -> Duration {
        match self {
            Self::Constant(span) => span,
            Self::Uniform(least, most) => least + most.saturating_sub(least).mul_f64(random.unit()),
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - random.unit()).ln()),
        }
    }
}

/// How transactions arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// This many clients, each of which thinks, asks, runs, and thinks again.
    Closed {
        /// How many.
        clients: u32,
        /// How long each thinks.
        think: Span,
    },
    /// One after the other, whatever becomes of them, with this between.
    Open {
        /// The time between two.
        between: Span,
    },
}

/// One source of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// The lane it runs in.
    pub lane: LaneId,
    /// The pool its connections belong to.
    pub pool: PoolId,
    /// Who asks, for lanes with caps.
    pub client: ClientKey,
    /// How its transactions arrive.
    pub arrivals: Arrivals,
    /// How long each holds its connection.
    pub service: Span,
}

/// A run to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// What the scheduler keeps.
    pub policy: Policy,
    /// The work.
    pub loads: Vec<Load>,
    /// How long a connection takes to open.
    pub open: Span,
    /// Where the randomness starts.
    pub seed: u64,
    /// The simulated time after which nothing new arrives; what waits or runs then is finished.
    pub length: Duration,
}

/// What became of one load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Transactions that ran to their end.
    pub finished: u64,
    /// Transactions that were rejected.
    pub rejected: u64,
    /// Transactions that a throttle cancelled.
    pub cancelled: u64,
    /// Finished transactions per simulated second of the run's length.
    pub per_second: f64,
    /// The mean wait for a slot.
    pub wait_mean: Duration,
    /// Half of the waits were no longer.
    pub wait_p50: Duration,
    /// 95 in 100 were no longer.
    pub wait_p95: Duration,
    /// 99 in 100 were no longer.
    pub wait_p99: Duration,
    /// The longest.
    pub wait_max: Duration,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Each load, in order.
    pub loads: Vec<LoadReport>,
    /// A hash over every decision and its time.
    pub trace: u64,
    /// Steps the scheduler made.
    pub steps: u64,
    /// Connections opened.
    pub opens: u64,
    /// When the last transaction was done.
    pub end: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { load: usize },
    Opened { server: ServerId },
    Finish { server: ServerId, ticket: TicketId },
}

struct Running {
    load: usize,
    since: Time,
    cancelled: bool,
}

struct World<'a> {
    simulation: &'a Simulation,
    scheduler: Scheduler,
    random: Random,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    tickets: BTreeMap<TicketId, Running>,
    holders: BTreeMap<ServerId, TicketId>,
    next_ticket: u64,
    next_event: u64,
    waits: Vec<Vec<u64>>,
    report: Report,
}

impl Simulation {
    /// Makes the run.
    #[must_use]
    pub fn run(&self) -> Report {
        let mut world = World {
            simulation: self,
            scheduler: Scheduler::new(self.policy.clone()),
            random: Random::new(self.seed),
            events: BinaryHeap::new(),
            tickets: BTreeMap::new(),
            holders: BTreeMap::new(),
            next_ticket: 0,
            next_event: 0,
            waits: vec![Vec::new(); self.loads.len()],
            report: Report {
                loads: vec![LoadReport::default(); self.loads.len()],
                trace: 0xcbf2_9ce4_8422_2325,
                steps: 0,
                opens: 0,
                end: Time::ZERO,
            },
        };
        for (load, source) in self.loads.iter().enumerate() {
            let first = match source.arrivals {
                Arrivals::Closed { clients, .. } => clients,
                Arrivals::Open { .. } => 1,
            };
            for _ in 0..first {
                world.arrive_later(Time::ZERO, load);
            }
        }
        world.run();
        world.finish()
    }
}

impl World<'_> {
    fn schedule(&mut self, at: Time, event: Event) {
        self.next_event += 1;
        self.events.push(Reverse((at, self.next_event, event)));
    }

    fn arrive_later(&mut self, now: Time, load: usize) {
        let pause = match self.simulation.loads[load].arrivals {
            Arrivals::Closed { think, .. } => think,
            Arrivals::Open { between } => between,
        };
        let at = now + pause.draw(&mut self.random);
        if at <= Time::ZERO + self.simulation.length {
            self.schedule(at, Event::Arrive { load });
        }
    }

    fn run(&mut self) {
        loop {
            let event = self.events.peek().map(|&Reverse((at, ..))| at);
            // Without transactions, what is left are timers for idle connections.
            let timer = self
                .scheduler
                .poll_timeout()
                .filter(|_| !self.tickets.is_empty());
            self.report.steps += 1;
            let now = match (event, timer) {
                (None, None) => return,
                (Some(at), timer) if timer.is_none_or(|timer| at <= timer) => {
                    self.step(at);
                    at
                }
                (_, Some(at)) => {
                    self.scheduler.handle_timeout(at);
                    at
                }
                (Some(_), None) => return,
            };
            self.report.end = now;
            self.carry_out(now);
        }
    }

    fn step(&mut self, now: Time) {
        let Some(Reverse((_, _, event))) = self.events.pop() else {
            return;
        };
        match event {
            Event::Arrive { load } => {
                let Load {
                    lane,
                    pool,
                    client,
                    arrivals,
                    ..
                } = self.simulation.loads[load];
                if matches!(arrivals, Arrivals::Open { .. }) {
                    self.arrive_later(now, load);
                }
                self.next_ticket += 1;
                let ticket = TicketId(self.next_ticket);
                let running = Running {
                    load,
                    since: now,
                    cancelled: false,
                };
                self.tickets.insert(ticket, running);
                self.scheduler.handle(
                    now,
                    Input::Request {
                        ticket,
                        lane,
                        pool,
                        client,
                        turn: Turn::default(),
                    },
                );
            }
            Event::Opened { server } => self.scheduler.handle(now, Input::Opened { server }),
            Event::Finish { server, ticket } => {
                // A cancelled transaction finished early; its own end comes to nothing.
                if self.holders.get(&server) != Some(&ticket) {
                    return;
                }
                self.holders.remove(&server);
                if let Some(running) = self.tickets.remove(&ticket) {
                    let report = &mut self.report.loads[running.load];
                    match running.cancelled {
                        true => report.cancelled += 1,
                        false => report.finished += 1,
                    }
                    self.leave(now, running.load);
                }
                self.scheduler.handle(now, Input::Release { server });
            }
        }
    }

    /// A client of a closed load thinks again.
    fn leave(&mut self, now: Time, load: usize) {
        if matches!(
            self.simulation.loads[load].arrivals,
            Arrivals::Closed { .. }
        ) {
            self.arrive_later(now, load);
        }
    }

    fn carry_out(&mut self, now: Time) {
        while let Some(output) = self.scheduler.poll() {
            self.trace(now, output);
            match output {
                Output::Grant { ticket, server } => {
                    let Some(running) = self.tickets.get(&ticket) else {
                        continue;
                    };
                    let load = running.load;
                    self.waits[load].push(nanos(now.since(running.since)));
                    self.holders.insert(server, ticket);
                    let service = self.simulation.loads[load].service;
                    let end = now + service.draw(&mut self.random);
                    self.schedule(end, Event::Finish { server, ticket });
                }
                Output::Open { server, .. } => {
                    self.report.opens += 1;
                    let ready = now + self.simulation.open.draw(&mut self.random);
                    self.schedule(ready, Event::Opened { server });
                }
                Output::Close { .. } | Output::Objective { .. } | Output::Lowering { .. } => {}
                // A simulated server asks nobody for a password.
                Output::Adopted { .. } | Output::NotAdopted { .. } => {}
                // And nobody reads what a simulated client is told.
                Output::Notice { .. } => {}
                Output::Reject { ticket, .. } => {
                    if let Some(running) = self.tickets.remove(&ticket) {
                        self.report.loads[running.load].rejected += 1;
                        self.leave(now, running.load);
                    }
                }
                Output::CancelRunning { server, .. } | Output::Preempt { server, .. } => {
                    self.cancel(now, server);
                }
                Output::Rule {
                    action: Action::Cancel,
                    whom: Whom::Server(server),
                    ..
                } => self.cancel(now, server),
                Output::Rule { .. } => {}
            }
        }
    }

    fn cancel(&mut self, now: Time, server: ServerId) {
        if let Some(&ticket) = self.holders.get(&server) {
            if let Some(running) = self.tickets.get_mut(&ticket) {
                running.cancelled = true;
            }
            self.schedule(now, Event::Finish { server, ticket });
        }
    }

    /// FNV-1a over what was decided and when.
    fn trace(&mut self, now: Time, output: Output) {
        let (kind, what, whom) = match output {
            Output::Grant { ticket, server } => (1, ticket.0, server.0),
            Output::Open { server, lane, .. } => (2, server.0, u64::from(lane.0)),
            Output::Close { server } => (3, server.0, 0),
            Output::Reject { ticket, reason, .. } => {
                let reason = match reason {
                    Rejection::QueueFull { .. } => 1,
                    Rejection::TimedOut { .. } => 2,
                    Rejection::OpenFailed { .. } => 3,
                    Rejection::NoneLeft => 4,
                    Rejection::Capped { .. } => 5,
                    Rejection::Rule { .. } => 6,
                };
                (4, ticket.0, reason)
            }
            Output::Adopted { ticket, server } => (6, ticket.0, server.0),
            Output::NotAdopted { ticket } => (7, ticket.0, 0),
            Output::Rule { lane, rule, .. } => (11, u64::from(lane.0), u64::from(rule)),
            Output::Preempt {
                server, claimant, ..
            } => (10, server.0, u64::from(claimant.0)),
            Output::Notice { ticket, place, .. } => (8, ticket.0, u64::from(place)),
            Output::CancelRunning { server, throttle } => (5, server.0, throttle as u64),
            Output::Objective { lane, change } => (9, u64::from(lane.0), change as u64),
            Output::Lowering { throttle } => (8, throttle as u64, 0),
        };
        for word in [now.as_nanos(), kind, what, whom] {
            for byte in word.to_le_bytes() {
                self.report.trace =
                    (self.report.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    fn finish(mut self) -> Report {
        let seconds = self.simulation.length.as_secs_f64();
        for (report, waits) in self.report.loads.iter_mut().zip(&mut self.waits) {
            waits.sort_unstable();
            let at = |share: f64| {
                let place = (waits.len() as f64 * share) as usize;
                let wait = waits.get(place).or(waits.last()).copied().unwrap_or(0);
                Duration::from_nanos(wait)
            };
            (report.wait_p50, report.wait_p95) = (at(0.5), at(0.95));
            (report.wait_p99, report.wait_max) = (at(0.99), at(1.0));
            let sum: u128 = waits.iter().map(|&wait| u128::from(wait)).sum();
            let mean = sum / waits.len().max(1) as u128;
            report.wait_mean = Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX));
            report.per_second = report.finished as f64 / seconds;
        }
        self.report
    }
}

#[cfg(test)]
mod tests;
