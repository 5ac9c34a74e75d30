//! What is still to be done, by what it will probably cost: which sizes and indexes fit in the budget, and how far one is.

use std::collections::VecDeque;

use serde::Serialize;

use super::growth::fit;
use super::{Built, Index, Storage};

/// The share of the budget that the growth's builds are kept.
pub(super) const GROWTH_SHARE: f64 = 0.35;
/// What the growth's builds take of one over all rows: a half, a quarter, and the small one that has to outgrow its memory.
const GROWTH: [f64; 3] = [0.5, 0.25, 0.05];
/// The parts of the rows that are built first, to tell from them what more would take.
const PILOTS: [u64; 2] = [16, 8];
/// A smaller build tells nothing.
const LEAST_PILOT: u64 = 250;
/// All rows are halved so often, at most, where the budget is too small for them.
const MOST_HALVINGS: u32 = 4;

/// An index that is not in the table, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// Which.
    pub index: Index,
    /// What it was predicted to take, in seconds.
    pub predicted: f64,
    /// What was left of the budget for it.
    pub left: f64,
    /// It was begun, and cut off when the budget ended.
    pub begun: bool,
}

/// Fewer rows than were read: what all of them would have taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reduced {
    /// Rows that were read.
    pub all: u64,
    /// Predicted for one index over them, in seconds.
    pub predicted: f64,
    /// What was left for it.
    pub left: f64,
}

/// The sizes to build first.
pub(super) fn pilots(rows: u64) -> Vec<u64> {
    let sizes = PILOTS.into_iter().map(|part| rows / part);
    sizes.filter(|size| *size >= LEAST_PILOT).collect()
}

/// What one over so many rows will take, told from smaller ones.
pub(super) fn grown(smaller: &[Built], rows: u64) -> Option<f64> {
    let sizes: Vec<(u64, f64)> = smaller.iter().map(|one| (one.rows, one.seconds)).collect();
    fit(&sizes).map(|fitted| fitted.at(rows))
}

/// How many of the rows fit, with what their builds are predicted to take, told from smaller ones. All where nothing can be told.
pub(super) fn rows_that_fit(smaller: &[Built], rows: u64, left: f64) -> (u64, Option<Reduced>) {
    let Some(predicted) = grown(smaller, rows) else {
        return (rows, None);
    };
    let fit_in = |size: &u64| grown(smaller, *size).is_some_and(|takes| takes <= left);
    if predicted <= left {
        return (rows, None);
    }
    let halved = (1..=MOST_HALVINGS).map(|halvings| rows >> halvings);
    let sizes = halved.take_while(|size| *size >= LEAST_PILOT);
    // The smallest was built already: it takes no longer than it did.
    let fits = sizes.clone().find(fit_in);
    let chosen = fits.or(sizes.last()).unwrap_or(rows);
    let reduced = Reduced {
        all: rows,
        predicted,
        left,
    };
    (chosen, (chosen < rows).then_some(reduced))
}

/// What a build costs beside others over the same rows: powers of the candidates of each row and of the links that are looked at
/// for each, fitted to seven indexes over 20,000 rows of 384 dimensions (deploy/guides/scaling.md), which they miss by 8 % at most.
fn weight(index: Index) -> f64 {
    let storage = match index.storage {
        Storage::Vector | Storage::Halfvec => 1.0,
        Storage::Binary => 0.7,
    };
    storage * f64::from(index.ef_construction).powf(0.7) * f64::from(index.m).powf(0.8)
}

/// How many times what one costs another does.
pub(super) fn beside(index: Index, other: Index) -> f64 {
    weight(index) / weight(other)
}

/// What an index will take, by those that are built over as many rows; none before the first.
pub(super) fn predicted(index: Index, built: &[Built], rows: u64) -> Option<f64> {
    let of_size = built.iter().filter(|one| one.rows == rows);
    let rates = of_size.map(|one| one.seconds / weight(one.index));
    // The dearest so far: what is begun should come to its end.
    let rate = rates.max_by(f64::total_cmp)?;
    Some(rate * weight(index))
}

/// How far one is, by cost in seconds: each index with its searches, then the growth's builds.
#[derive(Debug, Default)]
pub(super) struct Plan {
    done: f64,
    to_come: VecDeque<f64>,
}

impl Plan {
    /// Of these indexes, where the first takes so long to build, and the searches of each take so long.
    pub(super) fn of(indexes: &[Index], first: f64, searches: f64) -> Self {
        let base = indexes.first().map_or(1.0, |index| weight(*index));
        let costs = indexes
            .iter()
            .map(|index| first * weight(*index) / base + searches);
        let growth = GROWTH.into_iter().map(|part| first * part);
        Self {
            done: 0.0,
            to_come: costs.chain(growth).collect(),
        }
    }

    /// The share that is done, when this part of what is at hand is. It never falls.
    pub(super) fn share(&self, part: f64) -> f64 {
        let left: f64 = self.to_come.iter().sum();
        let at_hand = self.to_come.front().copied().unwrap_or_default();
        let all = self.done + left;
        if all > 0.0 {
            (self.done + at_hand * part.clamp(0.0, 1.0)) / all
        } else {
            1.0
        }
    }

    /// What was at hand is done, or left out.
    pub(super) fn next(&mut self, is_done: bool) {
        let cost = self.to_come.pop_front().unwrap_or_default();
        self.done += if is_done { cost } else { 0.0 };
    }
}
