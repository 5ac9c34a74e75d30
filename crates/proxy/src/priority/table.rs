//! Which backend is where, and what follows when a lane's level, a lift or the backends change. It sets what differs from
//! what a backend has, and nothing else; what cannot be set is counted, and said once for each reason.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use pglanes_lanes::LaneId;

use super::{Backend, Level, Refusal};
use crate::metrics::Metrics;

/// Backends and workers kept at most; server connections are bounded by the same number.
const MOST_BACKENDS: usize = 100_000;

/// What is asked of an operating system.
pub(super) trait System {
    /// A process that was found to be what it was taken for.
    type Process: Clone + PartialEq + std::fmt::Debug;
    /// The backend's process, if it is one here.
    fn find(&mut self, backend: &Backend) -> Result<Self::Process, Refusal>;
    /// The process of a parallel worker of that backend.
    fn find_worker(&mut self, pid: i32, of: &Self::Process) -> Result<Self::Process, Refusal>;
    /// Puts it there, from wherever it is.
    fn set(&mut self, process: &Self::Process, level: Level) -> Result<(), Refusal>;
}

/// One backend, or a worker of one.
#[derive(Debug)]
struct Entry<P> {
    lane: LaneId,
    process: P,
    has: Level,
    /// The backend it works for.
    works_for: Option<i32>,
}

/// All of them.
pub(super) struct Table<S: System> {
    system: S,
    metrics: Arc<Metrics>,
    entries: BTreeMap<i32, Entry<S::Process>>,
    levels: BTreeMap<LaneId, Level>,
    lifted: HashSet<i32>,
    said: [bool; Refusal::ALL.len()],
}

impl<S: System> Table<S> {
    pub(super) fn new(system: S, metrics: Arc<Metrics>) -> Self {
        Self {
            system,
            metrics,
            entries: BTreeMap::new(),
            levels: BTreeMap::new(),
            lifted: HashSet::new(),
            said: [false; Refusal::ALL.len()],
        }
    }

    /// A backend is there. One that is known by that number is it already, or has ended.
    pub(super) fn opened(&mut self, backend: Backend, lane: LaneId) {
        self.closed(backend.pid);
        if self.entries.len() >= MOST_BACKENDS {
            return;
        }
        match self.system.find(&backend) {
            Ok(process) => {
                let entry = Entry {
                    lane,
                    process,
                    has: Level::NORMAL,
                    works_for: None,
                };
                self.entries.insert(backend.pid, entry);
                self.settle(backend.pid);
            }
            Err(refusal) => self.refused(lane, refusal),
        }
    }

    /// A connection is gone, and its workers with it.
    pub(super) fn closed(&mut self, pid: i32) {
        self.lifted.remove(&pid);
        if self.entries.remove(&pid).is_some() {
            self.entries.retain(|_, entry| entry.works_for != Some(pid));
        }
    }

    /// What a lane's backends are put to from now on.
    pub(super) fn level(&mut self, lane: LaneId, level: Level) {
        if self.levels.insert(lane, level) == Some(level) {
            return;
        }
        let of_lane = self.entries.iter().filter(|(_, entry)| entry.lane == lane);
        let pids: Vec<i32> = of_lane.map(|(pid, _)| *pid).collect();
        for pid in pids {
            self.settle(pid);
        }
    }

    /// These and no others are needed at once.
    pub(super) fn lift(&mut self, pids: &[i32]) {
        let now: HashSet<i32> = pids
            .iter()
            .copied()
            .filter(|pid| self.entries.contains_key(pid))
            .collect();
        let before = std::mem::replace(&mut self.lifted, now);
        let risen: Vec<i32> = self.lifted.difference(&before).copied().collect();
        for pid in &risen {
            if let Some(entry) = self.entries.get(pid).filter(|e| e.has != Level::NORMAL) {
                self.metrics.lane(entry.lane).priority.lifts.increment();
            }
        }
        let changed: HashSet<i32> = self.lifted.symmetric_difference(&before).copied().collect();
        let with_workers: Vec<i32> = self
            .entries
            .iter()
            .filter(|(pid, entry)| {
                changed.contains(pid) || entry.works_for.is_some_and(|pid| changed.contains(&pid))
            })
            .map(|(pid, _)| *pid)
            .collect();
        for pid in with_workers {
            self.settle(pid);
        }
    }

    /// Processes that work for backends at this moment. They inherit from the postmaster, not from whom they work for.
    pub(super) fn workers(&mut self, workers: &[(i32, i32)]) {
        self.entries.retain(|pid, entry| {
            entry.works_for.is_none() || workers.iter().any(|(worker, _)| worker == pid)
        });
        for &(worker, leader) in workers {
            if self.entries.contains_key(&worker) || self.entries.len() >= MOST_BACKENDS {
                continue;
            }
            let Some(entry) = self.entries.get(&leader).filter(|e| e.works_for.is_none()) else {
                continue;
            };
            let lane = entry.lane;
            match self.system.find_worker(worker, &entry.process.clone()) {
                Ok(process) => {
                    let entry = Entry {
                        lane,
                        process,
                        has: Level::NORMAL,
                        works_for: Some(leader),
                    };
                    self.entries.insert(worker, entry);
                    self.settle(worker);
                }
                // They end by themselves all the time.
                Err(_) => continue,
            }
        }
    }

    fn wanted(&self, pid: i32, entry: &Entry<S::Process>) -> Level {
        let leader = entry.works_for.unwrap_or(pid);
        if self.lifted.contains(&leader) {
            return Level::NORMAL;
        }
        self.levels
            .get(&entry.lane)
            .copied()
            .unwrap_or(Level::NORMAL)
    }

    /// Puts a backend where it should be.
    fn settle(&mut self, pid: i32) {
        let Some(entry) = self.entries.get(&pid) else {
            return;
        };
        let wanted = self.wanted(pid, entry);
        let (lane, has, is_worker) = (entry.lane, entry.has, entry.works_for.is_some());
        if wanted == has {
            return;
        }
        let process = entry.process.clone();
        let outcome = self.system.set(&process, wanted);
        // What was refused halfway is not tried again before something else is wanted.
        if let Some(entry) = self.entries.get_mut(&pid) {
            entry.has = wanted;
        }
        match outcome {
            Ok(()) => {
                let counters = &self.metrics.lane(lane).priority;
                match (wanted == Level::NORMAL, is_worker) {
                    (true, _) => counters.raised.increment(),
                    (false, false) => counters.set.increment(),
                    (false, true) => counters.workers.increment(),
                }
            }
            Err(refusal) => {
                if refusal == Refusal::Gone {
                    self.closed(pid);
                }
                self.refused(lane, refusal);
            }
        }
    }

    fn refused(&mut self, lane: LaneId, refusal: Refusal) {
        let counters = &self.metrics.lane(lane).priority;
        counters.refused(refusal).increment();
        let said = &mut self.said[refusal as usize];
        if let (false, Some(advice)) = (std::mem::replace(said, true), refusal.advice()) {
            tracing::warn!(
                reason = refusal.label(),
                "lanes ask for another CPU or I/O priority, which cannot be set: {advice}; going on without it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::priority::Peer;
    use pglanes_config::{Cpu, Io};
    use pglanes_lanes::Time;

    const LANE: LaneId = LaneId(3);
    const LOW: Level = Level {
        cpu: Cpu::Background,
        io: Io::Low,
    };

    /// Remembers what was set; processes of an odd number are others', which may not be touched.
    #[derive(Default)]
    struct Recorder(Vec<(i32, Level)>);

    impl System for Recorder {
        type Process = i32;

        fn find(&mut self, backend: &Backend) -> Result<i32, Refusal> {
            match backend.peer {
                Peer::Elsewhere => Err(Refusal::OtherMachine),
                Peer::Listener(_) | Peer::Loopback(_) => Ok(backend.pid),
            }
        }

        fn find_worker(&mut self, pid: i32, _: &i32) -> Result<i32, Refusal> {
            Ok(pid)
        }

        fn set(&mut self, process: &i32, level: Level) -> Result<(), Refusal> {
            if process % 2 == 1 {
                return Err(Refusal::NotPermitted);
            }
            self.0.push((*process, level));
            Ok(())
        }
    }

    fn table() -> Table<Recorder> {
        Table::new(Recorder::default(), Arc::default())
    }

    fn backend(pid: i32) -> Backend {
        Backend {
            pid,
            peer: Peer::Loopback(1),
            since: Time::ZERO,
        }
    }

    #[test]
    fn a_backend_gets_its_lanes_level_once_and_follows_it() {
        let mut table = table();
        table.level(LANE, LOW);
        table.opened(backend(2), LANE);
        table.level(LANE, LOW);
        assert_eq!(table.system.0, [(2, LOW)]);
        table.level(LANE, Level::NORMAL);
        assert_eq!(table.system.0, [(2, LOW), (2, Level::NORMAL)]);
        table.closed(2);
        table.level(LANE, LOW);
        assert_eq!(table.system.0.len(), 2);
        let counters = &table.metrics.lane(LANE).priority;
        assert_eq!((counters.set.get(), counters.raised.get()), (1, 1));
    }

    #[test]
    fn a_lifted_backend_goes_back_when_nobody_waits_for_it_any_more() {
        let mut table = table();
        table.level(LANE, LOW);
        table.opened(backend(2), LANE);
        table.opened(backend(4), LANE);
        table.system.0.clear();
        table.lift(&[2, 77]);
        table.lift(&[2]);
        assert_eq!(table.system.0, [(2, Level::NORMAL)]);
        table.lift(&[]);
        assert_eq!(table.system.0, [(2, Level::NORMAL), (2, LOW)]);
        assert_eq!(table.metrics.lane(LANE).priority.lifts.get(), 1);
        assert!(table.lifted.is_empty());
    }

    #[test]
    fn workers_share_their_leaders_level_and_end_with_it() {
        let mut table = table();
        table.level(LANE, LOW);
        table.opened(backend(2), LANE);
        table.workers(&[(10, 2), (12, 99)]);
        table.workers(&[(10, 2)]);
        assert_eq!(table.system.0, [(2, LOW), (10, LOW)]);
        table.lift(&[2]);
        assert_eq!(
            table.system.0[2..],
            [(2, Level::NORMAL), (10, Level::NORMAL)]
        );
        table.workers(&[]);
        assert_eq!(table.entries.len(), 1);
        table.workers(&[(14, 2)]);
        table.closed(2);
        assert!(table.entries.is_empty());
    }

    #[test]
    fn refusals_are_counted_by_reason_and_tried_once() {
        let mut table = table();
        table.level(LANE, LOW);
        table.opened(backend(3), LANE);
        table.lift(&[]);
        table.opened(
            Backend {
                peer: Peer::Elsewhere,
                ..backend(4)
            },
            LANE,
        );
        let counters = &table.metrics.lane(LANE).priority;
        assert_eq!(counters.refused(Refusal::NotPermitted).get(), 1);
        assert_eq!(counters.refused(Refusal::OtherMachine).get(), 1);
        assert_eq!(counters.set.get(), 0);
        assert!(table.said[Refusal::NotPermitted as usize]);
    }

    #[test]
    fn every_reason_has_its_own_place_and_label() {
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place);
        }
        let labels: HashSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }
}
