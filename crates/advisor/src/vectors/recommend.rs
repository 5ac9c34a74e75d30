//! Which index, and which `hnsw.ef_search`, out of what was measured.

use serde::Serialize;

use super::{Index, Iterative, Measured, Searched, Storage};

/// Medians closer than this are the same: the smaller index wins.
const SAME: f64 = 1.1;

/// What the lanes want of a search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// Of the protected lane.
    pub evaluation: f64,
    /// Of the memory system, which searches much.
    pub memory: f64,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// The index for queries as they are.
    pub index: Index,
    /// The evaluation's search.
    pub evaluation: Searched,
    /// The memory system's search.
    pub memory: Searched,
    /// Whether the goal was reached.
    pub reached: bool,
    /// The filtered search that finds the most, where scanning on finds more than one scan does.
    pub iterative: Option<Searched>,
    /// A smaller index that reaches the goal too, if the queries are rewritten for it.
    pub smaller: Option<Searched>,
}

/// The searches that no other beats in recall and in median at once, the fastest first.
pub fn front(searched: &[Searched]) -> Vec<&Searched> {
    let mut sorted: Vec<&Searched> = searched.iter().filter(|one| !one.filtered).collect();
    sorted.sort_by(|one, two| {
        one.p50_ms
            .total_cmp(&two.p50_ms)
            .then(two.recall.total_cmp(&one.recall))
    });
    let mut best = -1.0;
    sorted.retain(|one| {
        let better = one.recall > best;
        best = one.recall.max(best);
        better
    });
    sorted
}

/// The advice; none where nothing was searched.
pub fn advice(measured: &Measured, goal: Goal) -> Option<Advice> {
    let plain = |storage: Storage| {
        let all = measured.searched.iter();
        all.filter(move |one| !one.filtered && one.index.storage == storage)
    };
    let bytes = |one: &Searched| size(measured, one.index);
    let best = cheapest(plain(Storage::Vector), goal.evaluation, bytes)?;
    let own = || plain(Storage::Vector).filter(|one| one.index == best.index);
    let memory = cheapest(own(), goal.memory, bytes)?;
    let filtered = |iterative_too: bool| {
        let all = measured.searched.iter();
        let all = all
            .filter(move |one| one.filtered && (one.iterative != Iterative::Off) == iterative_too);
        all.max_by(|one, two| {
            one.recall
                .total_cmp(&two.recall)
                .then(two.p50_ms.total_cmp(&one.p50_ms))
        })
    };
    let iterative = filtered(true)
        .filter(|on| filtered(false).is_none_or(|off| on.recall > off.recall + 0.005));
    let others = plain(Storage::Halfvec).chain(plain(Storage::Binary));
    let smaller = others
        .filter(|one| one.recall >= goal.evaluation && bytes(one) < bytes(best))
        .min_by_key(|one| (bytes(one), (one.p50_ms * 1e3) as u64));
    Some(Advice {
        index: best.index,
        evaluation: best.clone(),
        memory: memory.clone(),
        reached: best.recall >= goal.evaluation,
        iterative: iterative.cloned(),
        smaller: smaller.cloned(),
    })
}

/// The size of an index over all rows.
pub(super) fn size(measured: &Measured, index: Index) -> u64 {
    let all = measured.built.iter();
    all.filter(|built| built.index == index)
        .map(|built| built.bytes)
        .max()
        .unwrap_or(u64::MAX)
}

/// The fastest search with the recall, of nearly as fast ones the one over the smallest index; where none has it, the one with the most.
fn cheapest<'a>(
    searched: impl Iterator<Item = &'a Searched>,
    recall: f64,
    bytes: impl Fn(&Searched) -> u64,
) -> Option<&'a Searched> {
    let all: Vec<&Searched> = searched.collect();
    let good = all.iter().filter(|one| one.recall >= recall);
    let Some(fastest) = good.clone().map(|one| one.p50_ms).min_by(f64::total_cmp) else {
        return all.into_iter().max_by(|one, two| {
            one.recall
                .total_cmp(&two.recall)
                .then(two.p50_ms.total_cmp(&one.p50_ms))
        });
    };
    good.filter(|one| one.p50_ms <= fastest * SAME)
        .min_by(|one, two| {
            bytes(one)
                .cmp(&bytes(two))
                .then(one.p50_ms.total_cmp(&two.p50_ms))
        })
        .copied()
}
