//! CPU and I/O priority of the backends, where PostgreSQL runs on this machine.
//!
//! The hub says what it wants ([`Priorities`]); one thread beside the data path carries it out, in order, because
//! /proc may make wait and the kernel lets an ordinary user change autogroups ten times a second only. It starts with
//! the first backend that is to be lowered: without such a lane there is none.
//!
//! - `table`: which backend is where, and what follows when a lane, a throttle or a lift changes; pure
//! - `system`: what a process is, and setting its priority; one file for each operating system
//! - `refusal`: why one could not be set, and what would help

mod refusal;
mod system;
mod table;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pglanes_config::{Cpu, Io};
use pglanes_lanes::{LaneId, Time};

use crate::clock::Clock;
use crate::metrics::Metrics;

pub use refusal::Refusal;
use system::Machine;
use table::Table;

/// Changes that may wait for the thread: more than server connections open in the time that it needs for one.
const MOST_JOBS: usize = 4096;

/// How far down a backend is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) cpu: Cpu,
    pub(crate) io: Io,
}

impl Level {
    pub(crate) const NORMAL: Self = Self {
        cpu: Cpu::Normal,
        io: Io::Normal,
    };

    /// The lower of both, for each.
    pub(crate) fn lower(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            io: self.io.max(other.io),
        }
    }
}

/// A backend as the connection to it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// Out of BackendKeyData: a number in the server's own process namespace.
    pub(crate) pid: i32,
    /// Whom the connection shows at its other end.
    pub(crate) peer: Peer,
    /// When it had logged in: its process began shortly before.
    pub(crate) since: Time,
}

/// Whom a connection to PostgreSQL shows at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A unix socket, and the process that listens on it: the postmaster. `None` where it has no number here, being in
    /// another process namespace.
    Listener(Option<i32>),
    /// TCP from this port of ours, within this machine. Backends show that port in their title.
    Loopback(u16),
    /// Another machine.
    Elsewhere,
}

/// What the data path asks for.
#[derive(Debug)]
enum Job {
    Opened(Backend, LaneId),
    Closed(i32),
    /// Levels of lanes have changed: look at them.
    Levels,
    /// The backends that others wait for at this moment, and that may not be slow therefore: these and no others.
    Lift(Vec<i32>),
    /// Processes that work for a backend, with that backend.
    Workers(Vec<(i32, i32)>),
}

/// A backend that the thread knows. Dropped with its connection: the number may become another's.
#[derive(Debug)]
pub(crate) struct Kept {
    pid: i32,
    jobs: SyncSender<Job>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        // If it is lost, the backend is found to be gone when it is to be set, or is replaced by the next of its number.
        let _ = self.jobs.try_send(Job::Closed(self.pid));
    }
}

/// The data path's end of it.
#[derive(Debug)]
pub(crate) struct Priorities {
    clock: Clock,
    metrics: Arc<Metrics>,
    levels: Arc<Levels>,
    jobs: OnceCell<Option<SyncSender<Job>>>,
}

/// What the backends of each lane are to be put to. The data thread writes, the other one takes what is new: however often
/// a throttle comes and goes meanwhile, nothing queues up.
#[derive(Debug, Default)]
struct Levels {
    wanted: Mutex<BTreeMap<LaneId, Level>>,
    changed: AtomicBool,
}

impl Levels {
    /// Whether that is news.
    fn set(&self, lane: LaneId, level: Level) -> bool {
        // Nothing can panic while it is held.
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = wanted.insert(lane, level).unwrap_or(Level::NORMAL);
        self.changed.fetch_or(before != level, Ordering::Relaxed);
        before != level
    }

    /// All of them, if any changed since this was asked.
    fn take(&self) -> Option<BTreeMap<LaneId, Level>> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.changed.swap(false, Ordering::Relaxed);
        changed.then(|| wanted.clone())
    }
}

impl Priorities {
    pub(crate) fn new(clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            clock,
            metrics,
            levels: Arc::default(),
            jobs: OnceCell::new(),
        }
    }

    /// A backend of a lane that is, or may be, lowered. It is one until what this returns is dropped.
    pub(crate) fn opened(&self, backend: Backend, lane: LaneId) -> Option<Kept> {
        self.send(Job::Opened(backend, lane));
        let jobs = self.jobs.get()?.clone()?;
        let pid = backend.pid;
        Some(Kept { pid, jobs })
    }

    /// What a lane's backends are to be put to from now on.
    pub(crate) fn level(&self, lane: LaneId, level: Level) {
        if self.levels.set(lane, level) {
            self.send(Job::Levels);
        }
    }

    pub(crate) fn lift(&self, pids: Vec<i32>) {
        self.send_if_started(Job::Lift(pids));
    }

    pub(crate) fn workers(&self, workers: Vec<(i32, i32)>) {
        self.send_if_started(Job::Workers(workers));
    }

    fn send_if_started(&self, job: Job) {
        if self.jobs.get().is_some() {
            self.send(job);
        }
    }

    fn send(&self, job: Job) {
        let jobs = self.jobs.get_or_init(|| self.start());
        let refused = match jobs {
            Some(jobs) => match jobs.try_send(job) {
                Ok(()) => return,
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
            },
            None => job,
        };
        if matches!(refused, Job::Opened(..)) {
            self.metrics.priority_overruns.increment();
        }
    }

    fn start(&self) -> Option<SyncSender<Job>> {
        let (sender, jobs) = sync_channel(MOST_JOBS);
        let machine = Machine::new(self.clock);
        let table = Table::new(machine, Arc::clone(&self.metrics));
        let (clock, levels) = (self.clock, Arc::clone(&self.levels));
        let thread = std::thread::Builder::new().name("pglanes-priority".to_owned());
        match thread.spawn(move || work(table, &jobs, clock, &levels)) {
            Ok(_) => Some(sender),
            Err(error) => {
                tracing::warn!(%error, "no thread for the priorities of backends");
                None
            }
        }
    }
}

/// Between two changes of lanes' levels: a throttle without linger comes and goes with every transaction.
const LEVELS_PAUSE: Duration = Duration::from_millis(100);

/// Ends with the hub and its connections, to whose jobs it listens.
fn work(mut table: Table<Machine>, jobs: &Receiver<Job>, clock: Clock, levels: &Levels) {
    let mut next_levels = Time::ZERO;
    loop {
        let left = next_levels.since(clock.now());
        if left.is_zero()
            && let Some(wanted) = levels.take()
        {
            for (lane, level) in wanted {
                table.level(lane, level);
            }
            next_levels = clock.now() + LEVELS_PAUSE;
            continue;
        }
        let waits = match levels.changed.load(Ordering::Relaxed) {
            true => left.max(Duration::from_millis(1)),
            false => IDLE_LOOK,
        };
        match jobs.recv_timeout(waits) {
            Ok(Job::Opened(backend, lane)) => table.opened(backend, lane),
            Ok(Job::Closed(pid)) => table.closed(pid),
            Ok(Job::Lift(pids)) => table.lift(&pids),
            Ok(Job::Workers(workers)) => table.workers(&workers),
            Ok(Job::Levels) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// With nothing to do it wakes as often, in case a change came while its queue was full.
const IDLE_LOOK: Duration = Duration::from_secs(60);

/// How much earlier than its login was over a backend may have begun: a login may wait for a password.
const LONGEST_LOGIN: Duration = Duration::from_secs(120);
/// Clocks that count in hundredths of a second are rounded.
const ROUNDING: Duration = Duration::from_secs(1);

/// Whether a process that began then can be the backend that had logged in `since`.
fn start_fits(began: Time, since: Time) -> bool {
    began.as_nanos() <= (since + ROUNDING).as_nanos()
        && since.since(began) <= LONGEST_LOGIN + ROUNDING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_two_levels_is_the_lower_of_each() {
        let one = Level {
            cpu: Cpu::Background,
            io: Io::Normal,
        };
        let other = Level {
            cpu: Cpu::Low,
            io: Io::Low,
        };
        let both = Level {
            cpu: Cpu::Background,
            io: Io::Low,
        };
        assert_eq!(one.lower(other), both);
        assert_eq!(other.lower(one), both);
        assert_eq!(Level::NORMAL.lower(one), one);
    }

    #[test]
    fn levels_are_taken_when_they_are_new_and_only_the_last_of_each() {
        let low = Level {
            cpu: Cpu::Low,
            io: Io::Normal,
        };
        let levels = Levels::default();
        assert!(!levels.set(LaneId(1), Level::NORMAL));
        assert_eq!(levels.take(), None);
        assert!(levels.set(LaneId(1), low) && levels.set(LaneId(1), Level::NORMAL));
        assert!(levels.set(LaneId(2), low) && !levels.set(LaneId(2), low));
        let wanted = BTreeMap::from([(LaneId(1), Level::NORMAL), (LaneId(2), low)]);
        assert_eq!(levels.take(), Some(wanted));
        assert_eq!(levels.take(), None);
    }

    #[test]
    fn a_backend_began_shortly_before_its_login_was_over() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert!(start_fits(at(1000), at(1000)));
        assert!(start_fits(at(1001), at(1000)));
        assert!(start_fits(at(900), at(1000)));
        assert!(!start_fits(at(1002), at(1000)));
        assert!(!start_fits(at(878), at(1000)));
    }
}
