//! A protected lane beside others that slow it down: what an objective does, in simulated time.
//!
//! Everything that runs shares the cores: a job advances at full speed while there are no more jobs than cores, at its share
//! beyond that, and a little slower still for each other one (caches, memory, locks). Not PostgreSQL, but the one property that
//! the loop lives on: what runs beside a transaction makes it longer. The same seed gives the same run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::{Random, Span};
use crate::classify::StatementKind;
use crate::objective::{ClassKey, Phase, Sample};
use crate::time::nanos;
use crate::{
    ClientKey, Input, LaneId, Output, Policy, PoolId, Scheduler, ServerId, TicketId, Time, Turn,
};

/// How often the trace has a point.
const POINT: Duration = Duration::from_millis(100);
/// How long a connection takes to open.
const OPEN: Duration = Duration::from_millis(3);

/// One class of the protected lane's transactions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// How long it takes alone.
    pub alone: Span,
    /// How often it comes, relative to the others.
    pub share: f64,
}

/// Clients of another lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Background {
    /// Its lane.
    pub lane: LaneId,
    /// How many, each with one transaction after the other.
    pub clients: u32,
    /// How long one takes alone.
    pub alone: Span,
    /// When they begin and end, as pairs.
    pub active: [Duration; 2],
}

/// A run to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Contended {
    /// What the scheduler keeps. Lane 0 is the protected one.
    pub policy: Policy,
    /// Its clients, each with one transaction after the other.
    pub clients: u32,
    /// The time between two of them.
    pub think: Span,
    /// When they begin and end.
    pub active: [Duration; 2],
    /// What they run.
    pub classes: Vec<Class>,
    /// What the other lanes run.
    pub background: Vec<Background>,
    /// Cores.
    pub cores: f64,
    /// How much each other job slows one down, beyond the sharing of cores.
    pub interference: f64,
    /// How often a protected transaction stalls for another reason, and for how long.
    pub stall: (f64, Duration),
    /// How many times slower everything is between two moments, for a reason outside.
    pub slower: (f64, [Duration; 2]),
    /// Where the randomness starts.
    pub seed: u64,
    /// How long it runs.
    pub length: Duration,
}

/// One moment of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub at: Time,
    /// What all others may run, in slots; none when they are not held back.
    pub limit: Option<f64>,
    /// The first target's ratio, as the loop sees it.
    pub ratio: Option<f64>,
    /// What the loop does.
    pub phase: Phase,
    /// What ran in other lanes on average since the last point.
    pub running: f64,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Moments, a tenth of a second apart.
    pub points: Vec<Point>,
    /// Each protected transaction: when it ended, its class, and how long it took with its wait.
    pub latencies: Vec<(Time, usize, Duration)>,
    /// Each background transaction: when it ended, and its load.
    pub finished: Vec<(Time, usize)>,
    /// A hash over all of it.
    pub hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { load: usize },
    Opened { server: ServerId },
    Point,
}

/// The protected lane is load 0, the others follow.
struct Job {
    server: ServerId,
    load: usize,
    class: usize,
    asked: Time,
    granted: Time,
    /// Nanoseconds of work left.
    left: f64,
}

struct World<'a> {
    run: &'a Contended,
    scheduler: Scheduler,
    random: Random,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    waiting: BTreeMap<TicketId, (usize, Time)>,
    jobs: Vec<Job>,
    now: Time,
    next: u64,
    busy: f64,
    trace: Trace,
}

impl Contended {
    /// Makes the run.
    #[must_use]
    pub fn run(&self) -> Trace {
        let mut world = World {
            run: self,
            scheduler: Scheduler::new(self.policy.clone()),
            random: Random::new(self.seed),
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            jobs: Vec::new(),
            now: Time::ZERO,
            next: 0,
            busy: 0.0,
            trace: Trace {
                points: Vec::new(),
                latencies: Vec::new(),
                finished: Vec::new(),
                hash: 0xcbf2_9ce4_8422_2325,
            },
        };
        for _ in 0..self.clients {
            world.schedule(Time::ZERO + self.active[0], Event::Arrive { load: 0 });
        }
        for (number, load) in self.background.iter().enumerate() {
            for _ in 0..load.clients {
                let begins = Time::ZERO + load.active[0];
                world.schedule(begins, Event::Arrive { load: number + 1 });
            }
        }
        world.schedule(Time::ZERO + POINT, Event::Point);
        world.run();
        world.trace
    }
}

impl Trace {
    /// A quantile of the protected latencies between two moments, each divided by its class's in `alone`.
    #[must_use]
    pub fn ratio_to(&self, alone: &Trace, quantile: f64, from: Duration, until: Duration) -> f64 {
        let most = self.latencies.iter().map(|latency| latency.1).max();
        let quiet: Vec<f64> = (0..=most.unwrap_or(0))
            .map(|class| {
                let of_class = alone.latencies.iter().filter(|latency| latency.1 == class);
                at(of_class.map(|latency| latency.2.as_secs_f64()), quantile)
            })
            .collect();
        let within = self
            .latencies
            .iter()
            .filter(|(at, ..)| (from..until).contains(&at.since(Time::ZERO)));
        at(
            within.map(|(_, class, latency)| latency.as_secs_f64() / quiet[*class]),
            quantile,
        )
    }

    /// Background transactions of a load between two moments, a second.
    #[must_use]
    pub fn rate(&self, load: usize, from: Duration, until: Duration) -> f64 {
        let within = self.finished.iter().filter(|(at, finished)| {
            *finished == load && (from..until).contains(&at.since(Time::ZERO))
        });
        within.count() as f64 / (until - from).as_secs_f64()
    }

    /// The limits between two moments while the loop was closed.
    pub fn limits(&self, from: Duration, until: Duration) -> impl Iterator<Item = f64> + '_ {
        let points = self.points.iter();
        points
            .filter(move |point| (from..until).contains(&point.at.since(Time::ZERO)))
            .filter(|point| point.phase == Phase::Keeping)
            .filter_map(|point| point.limit)
    }
}

/// A quantile of some values; not a number of none.
fn at(values: impl Iterator<Item = f64>, quantile: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * quantile) as usize;
    values
        .get(place)
        .or(values.last())
        .copied()
        .unwrap_or(f64::NAN)
}

impl World<'_> {
    fn schedule(&mut self, at: Time, event: Event) {
        self.next += 1;
        self.events.push(Reverse((at, self.next, event)));
    }

    /// How fast every job advances.
    fn speed(&self) -> f64 {
        let jobs = self.jobs.len() as f64;
        let share = (self.run.cores / jobs.max(1.0)).min(1.0);
        let (times, [from, until]) = self.run.slower;
        let outside = (from..until).contains(&self.now.since(Time::ZERO));
        let slower = if outside { times } else { 1.0 };
        share / slower / (1.0 + self.run.interference * (jobs - 1.0).max(0.0))
    }

    fn run(&mut self) {
        let end = Time::ZERO + self.run.length;
        loop {
            let speed = self.speed();
            let first = self
                .jobs
                .iter()
                .map(|job| job.left)
                .fold(f64::INFINITY, f64::min);
            let done = first.is_finite().then(|| self.now + span(first / speed));
            let event = self.events.peek().map(|&Reverse((at, ..))| at);
            let timer = self.scheduler.poll_timeout();
            let next = [done, event, timer].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                return;
            };
            self.advance(next, speed);
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

    fn advance(&mut self, to: Time, speed: f64) {
        let passed = nanos(to.since(self.now)) as f64;
        for job in &mut self.jobs {
            job.left -= passed * speed;
        }
        let others = self.jobs.iter().filter(|job| job.load > 0).count();
        self.busy += passed * others as f64;
        self.now = to;
    }

    fn finish_jobs(&mut self) {
        while let Some(place) = self.jobs.iter().position(|job| job.left < 1.0) {
            let job = self.jobs.remove(place);
            let served = self.now.since(job.granted);
            let waited = job.granted.since(job.asked);
            if job.load == 0 {
                let sample = Sample {
                    class: ClassKey {
                        kind: StatementKind::Select,
                        shape: job.class as u64 + 1,
                    },
                    began: job.granted,
                    served,
                    waited,
                };
                let latency = (self.now, job.class, served + waited);
                self.trace.latencies.push(latency);
                self.mix(&[job.class as u64, nanos(served + waited)]);
                let lane = LaneId(0);
                self.scheduler
                    .handle(self.now, Input::Measured { lane, sample });
            } else {
                self.trace.finished.push((self.now, job.load - 1));
                self.mix(&[job.load as u64, self.now.as_nanos()]);
            }
            self.scheduler
                .handle(self.now, Input::Release { server: job.server });
            self.again(job.load);
        }
    }

    fn again(&mut self, load: usize) {
        let (pause, until) = match load {
            0 => (self.run.think.draw(&mut self.random), self.run.active[1]),
            _ => (Duration::ZERO, self.run.background[load - 1].active[1]),
        };
        let at = self.now + pause;
        if at.since(Time::ZERO) < until {
            self.schedule(at, Event::Arrive { load });
        }
    }

    fn take_event(&mut self) {
        let Some(Reverse((_, number, event))) = self.events.pop() else {
            return;
        };
        match event {
            Event::Arrive { load } => {
                let ticket = TicketId(number);
                self.waiting.insert(ticket, (load, self.now));
                let lane = match load {
                    0 => LaneId(0),
                    _ => self.run.background[load - 1].lane,
                };
                let pool = PoolId(0);
                self.scheduler.handle(
                    self.now,
                    Input::Request {
                        ticket,
                        lane,
                        pool,
                        client: ClientKey::default(),
                        turn: Turn::default(),
                    },
                );
            }
            Event::Opened { server } => self.scheduler.handle(self.now, Input::Opened { server }),
            Event::Point => self.point(),
        }
    }

    fn point(&mut self) {
        let snapshot = self.scheduler.snapshot(self.now);
        let Some(seen) = snapshot.objectives.first() else {
            return;
        };
        let thousandths = |value: u32| f64::from(value) / 1000.0;
        self.trace.points.push(Point {
            at: self.now,
            limit: seen.limit_thousandths.map(thousandths),
            ratio: seen
                .ratios
                .first()
                .and_then(|ratio| ratio.1)
                .map(thousandths),
            phase: seen.phase,
            running: self.busy / nanos(POINT) as f64,
        });
        self.busy = 0.0;
        self.schedule(self.now + POINT, Event::Point);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Grant { ticket, server } => self.begin(ticket, server),
                Output::Open { server, .. } => {
                    self.schedule(self.now + OPEN, Event::Opened { server });
                }
                Output::Reject { ticket, .. } => {
                    if let Some((load, _)) = self.waiting.remove(&ticket) {
                        self.again(load);
                    }
                }
                Output::Close { .. }
                | Output::Adopted { .. }
                | Output::NotAdopted { .. }
                | Output::CancelRunning { .. }
                | Output::Rule { .. }
                | Output::Preempt { .. }
                | Output::Notice { .. }
                | Output::Objective { .. }
                | Output::Lowering { .. } => {}
            }
        }
    }

    fn begin(&mut self, ticket: TicketId, server: ServerId) {
        let Some((load, asked)) = self.waiting.remove(&ticket) else {
            return;
        };
        let (class, alone) = match load {
            0 => self.draw_class(),
            _ => (0, self.run.background[load - 1].alone),
        };
        let mut work = alone.draw(&mut self.random);
        if load == 0 && self.random.unit() < self.run.stall.0 {
            work += self.run.stall.1;
        }
        self.jobs.push(Job {
            server,
            load,
            class,
            asked,
            granted: self.now,
            left: (nanos(work) as f64).max(1.0),
        });
    }

    fn draw_class(&mut self) -> (usize, Span) {
        let all: f64 = self.run.classes.iter().map(|class| class.share).sum();
        let mut drawn = self.random.unit() * all;
        for (number, class) in self.run.classes.iter().enumerate() {
            if drawn < class.share {
                return (number, class.alone);
            }
            drawn -= class.share;
        }
        (0, Span::Constant(Duration::from_millis(1)))
    }

    /// FNV-1a.
    fn mix(&mut self, words: &[u64]) {
        for byte in words.iter().flat_map(|word| word.to_le_bytes()) {
            self.trace.hash = (self.trace.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// So many nanoseconds, and at least one, so that time goes on.
fn span(nanos: f64) -> Duration {
    Duration::from_nanos(nanos.ceil().clamp(1.0, 1e18) as u64)
}

#[cfg(test)]
mod tests;
