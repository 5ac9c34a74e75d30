//! How a machine shares its cores, and what a recorded transaction would have taken alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Trace;
use crate::{LaneId, time::nanos};

/// What a backend's CPU class is worth against others: the kernel's load weights of nice 0, nice 10 and SCHED_IDLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// `cpu: normal`.
    Normal,
    /// `cpu: low`.
    Low,
    /// `cpu: background`.
    Background,
}

impl Weight {
    const ALL: [Self; 3] = [Self::Normal, Self::Low, Self::Background];

    const fn load(self) -> f64 {
        match self {
            Self::Normal => 1024.0,
            Self::Low => 110.0,
            Self::Background => 3.0,
        }
    }
}

/// What transactions run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Cores that PostgreSQL has.
    pub cores: f64,
    /// How much each other transaction that runs slows one down beyond the sharing of cores, as a part of one.
    pub interference: f64,
    /// Each lane's CPU weight, by its place; a lane without has [`Weight::Normal`].
    pub weights: Vec<Weight>,
}

/// How fast transactions of each weight advance, 1 being alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Speeds([f64; 3]);

impl Speeds {
    pub(super) fn of(&self, weight: Weight) -> f64 {
        self.0[weight as usize]
    }
}

impl Machine {
    pub(super) fn weight(&self, lane: LaneId) -> Weight {
        let found = self.weights.get(lane.index());
        found.copied().unwrap_or(Weight::Normal)
    }

    /// The cores are shared by weight, and nobody can use more than one: what is left of one's share goes to the others.
    pub(super) fn speeds(&self, lanes: impl Iterator<Item = LaneId>) -> Speeds {
        let mut counts = [0_u32; 3];
        lanes.for_each(|lane| counts[self.weight(lane) as usize] += 1);
        let all: u32 = counts.iter().sum();
        let mut cores = self.cores;
        let mut speeds = [1.0; 3];
        let weighed = |weight: Weight| f64::from(counts[weight as usize]) * weight.load();
        let mut open: f64 = Weight::ALL.into_iter().map(weighed).sum();
        // The heaviest reach a whole core first.
        for weight in Weight::ALL {
            let count = f64::from(counts[weight as usize]);
            if count == 0.0 {
                continue;
            }
            let share = (cores * weight.load() / open).clamp(1e-6, 1.0);
            speeds[weight as usize] = share;
            cores -= share * count;
            open -= weighed(weight);
        }
        let disturbed = 1.0 + self.interference * f64::from(all.saturating_sub(1));
        Speeds(speeds.map(|speed| speed / disturbed))
    }
}

/// What a transaction takes alone, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// First: what takes as long whatever runs beside it.
    pub fixed: f64,
    /// Then: what shares the cores.
    pub shared: f64,
}

impl Trace {
    /// What each transaction would have taken alone, by its place: its fixed part, and of the rest of the time that it held its
    /// slot what those that ran beside it did not take from it.
    #[must_use]
    pub fn works(&self, machine: &Machine) -> Vec<Work> {
        let fixed = self.fixed();
        let shares_from = |place: usize| self.transactions[place].granted() + fixed[place];
        let mut order: Vec<usize> = (0..self.transactions.len()).collect();
        order.sort_by_key(|&place| shares_from(place));
        let mut works: Vec<Work> = fixed
            .iter()
            .map(|&fixed| Work {
                fixed: nanos(fixed) as f64,
                shared: 0.0,
            })
            .collect();
        let mut running: Vec<usize> = Vec::new();
        let mut ends: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
        let mut begins = order.into_iter().peekable();
        let mut now = Duration::ZERO;
        loop {
            let begin = begins.peek().map(|&place| shares_from(place));
            let end = ends.peek().map(|&Reverse((at, _))| at);
            let Some(next) = begin.into_iter().chain(end).min() else {
                return works;
            };
            let lanes = running.iter().map(|&place| self.transactions[place].lane);
            let speeds = machine.speeds(lanes);
            let passed = nanos(next.saturating_sub(now)) as f64;
            for &place in &running {
                let weight = machine.weight(self.transactions[place].lane);
                works[place].shared += passed * speeds.of(weight);
            }
            now = next;
            if end == Some(next) {
                if let Some(Reverse((_, ended))) = ends.pop() {
                    running.retain(|&place| place != ended);
                }
            } else if let Some(place) = begins.next()
                && !self.transactions[place].rejected
            {
                running.push(place);
                ends.push(Reverse((self.transactions[place].ended(), place)));
            }
        }
    }
}
