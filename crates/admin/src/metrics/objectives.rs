//! What there is to tell of objectives: the ratio that is kept, what the others are left, and the quiet latency it is held
//! against. Classes are labelled by kind and a few digits of their hash, and are capped by the snapshot.

use pglanes_lanes::objective::{ObjectiveSnapshot, Phase};
use pglanes_lanes::{LaneId, Mode};
use pglanes_proxy::View;

use super::families::{Families, Labels};

/// Everything with a `quantile`, a `class` or an `objective` label.
pub(super) fn add(families: &mut Families, view: &View) {
    let all: Vec<Objective<'_>> = view
        .scheduler
        .objectives
        .iter()
        .map(|seen| Objective::of(view, seen))
        .collect();
    ratios(families, &all);
    limits(families, &all);
    baselines(families, &all);
    deeds(families, &all);
}

/// One objective with its labels' values.
struct Objective<'v> {
    seen: &'v ObjectiveSnapshot,
    lane: &'v str,
    quantiles: Vec<(String, f64, Option<f64>)>,
    classes: Vec<String>,
    held: Vec<(&'v str, Option<f64>)>,
}

impl<'v> Objective<'v> {
    fn of(view: &'v View, seen: &'v ObjectiveSnapshot) -> Self {
        let name = |lane: LaneId| {
            let lane = view.scheduler.lanes.get(lane.index());
            lane.map_or("", |lane| lane.name.as_str())
        };
        let quantiles = seen.ratios.iter().map(|(target, ratio)| {
            let quantile = f64::from(target.quantile) / 10.0;
            let ratio = ratio.map(thousandths);
            (format!("p{quantile}"), thousandths(target.times), ratio)
        });
        let classes = seen.classes.iter();
        let held = seen.lanes.iter();
        Self {
            seen,
            lane: name(seen.lane),
            quantiles: quantiles.collect(),
            classes: classes.map(|class| class.class.to_string()).collect(),
            held: held
                .map(|(lane, limit)| (name(*lane), limit.map(thousandths)))
                .collect(),
        }
    }

    fn labels(&self) -> Labels<'_> {
        vec![("lane", self.lane)]
    }

    fn labels_with<'l>(&'l self, name: &'static str, value: &'l str) -> Labels<'l> {
        vec![("lane", self.lane), (name, value)]
    }
}

fn thousandths(value: u32) -> f64 {
    f64::from(value) / 1000.0
}

fn ratios(families: &mut Families, all: &[Objective<'_>]) {
    families.gauges(
        "objective_ratio",
        "The lane's latency relative to its own in quiet, as measured last.",
        all.iter().flat_map(|objective| {
            let quantiles = objective.quantiles.iter();
            quantiles.filter_map(|(name, _, ratio)| {
                Some((objective.labels_with("quantile", name), (*ratio)?))
            })
        }),
    );
    families.gauges(
        "objective_quiet_drift",
        "How many times slower than its baseline the lane is just now while all others are quiet: the ratio is judged by it.",
        all.iter()
            .map(|objective| (objective.labels(), thousandths(objective.seen.drift_thousandths))),
    );
    families.gauges(
        "objective_target",
        "What that may be.",
        all.iter().flat_map(|objective| {
            let quantiles = objective.quantiles.iter();
            quantiles.map(|(name, target, _)| (objective.labels_with("quantile", name), *target))
        }),
    );
    families.gauges(
        "objective_phase",
        "1 for what the objective does now.",
        all.iter().flat_map(|objective| {
            Phase::ALL.map(|phase| {
                let is_it = u8::from(objective.seen.phase == phase);
                (
                    objective.labels_with("phase", phase.name()),
                    f64::from(is_it),
                )
            })
        }),
    );
    families.gauges(
        "objective_enforced",
        "1 when it holds others back, 0 when it only observes.",
        all.iter().map(|objective| {
            let enforced = objective.seen.mode == Mode::Enforce;
            (objective.labels(), f64::from(u8::from(enforced)))
        }),
    );
}

fn limits(families: &mut Families, all: &[Objective<'_>]) {
    families.gauges(
        "controller_limit",
        "Slots that the objective of another lane leaves a lane, parts as shares of the time; none while it holds nothing back.",
        all.iter().flat_map(|objective| {
            let held = objective.held.iter();
            held.filter_map(|(lane, limit)| {
                let labels = vec![("objective", objective.lane), ("lane", *lane)];
                Some((labels, (*limit)?))
            })
        }),
    );
    families.gauges(
        "controller_total_limit",
        "The same for all lanes that it may hold back together.",
        all.iter().filter_map(|objective| {
            let limit = thousandths(objective.seen.limit_thousandths?);
            Some((objective.labels(), limit))
        }),
    );
}

fn baselines(families: &mut Families, all: &[Objective<'_>]) {
    families.gauges(
        "objective_known_ratio",
        "The share of the lane's latest transactions whose quiet latency is known.",
        all.iter().map(|objective| {
            let known = thousandths(objective.seen.known_thousandths);
            (objective.labels(), known)
        }),
    );
    families.gauges(
        "objective_classes",
        "Classes of the lane's transactions that are told apart.",
        all.iter()
            .map(|objective| (objective.labels(), objective.seen.class_count as f64)),
    );
    families.gauges(
        "objective_baseline_seconds",
        "A class's quiet latency at the first target's quantile; the most used classes only.",
        all.iter().flat_map(|objective| {
            let classes = objective.seen.classes.iter().zip(&objective.classes);
            classes.filter_map(|(class, name)| {
                let quiet = class.quiet?.as_secs_f64();
                Some((objective.labels_with("class", name), quiet))
            })
        }),
    );
    families.gauges(
        "objective_baseline_samples",
        "Quiet transactions that is known by; old ones count less.",
        all.iter().flat_map(|objective| {
            let classes = objective.seen.classes.iter().zip(&objective.classes);
            classes.map(|(class, name)| {
                (
                    objective.labels_with("class", name),
                    f64::from(class.samples),
                )
            })
        }),
    );
    families.gauges(
        "objective_baseline_age_seconds",
        "How long ago the class's last quiet transaction was; none since the start without one.",
        all.iter().flat_map(|objective| {
            let classes = objective.seen.classes.iter().zip(&objective.classes);
            classes.filter_map(|(class, name)| {
                let age = class.age?.as_secs_f64();
                Some((objective.labels_with("class", name), age))
            })
        }),
    );
}

fn deeds(families: &mut Families, all: &[Objective<'_>]) {
    families.counters(
        "objective_activations_total",
        "How often the objective began to hold others back.",
        all.iter()
            .map(|objective| (objective.labels(), objective.seen.activations as f64)),
    );
    families.counters(
        "objective_held_back_total",
        "Transactions that it kept waiting, or would have.",
        all.iter()
            .map(|objective| (objective.labels(), objective.seen.held_back as f64)),
    );
    families.counters(
        "objective_moves_total",
        "How often the limit was moved.",
        all.iter().flat_map(|objective| {
            let (lowered, raised) = objective.seen.moves;
            [("down", lowered), ("up", raised)].map(|(direction, count)| {
                (objective.labels_with("direction", direction), count as f64)
            })
        }),
    );
    families.counters(
        "objective_probes_total",
        "Moments of quiet that were made to measure, and those that did not become quiet.",
        all.iter().flat_map(|objective| {
            let (made, failed) = (objective.seen.probes, objective.seen.failed_probes);
            [("quiet", made.saturating_sub(failed)), ("failed", failed)]
                .map(|(result, count)| (objective.labels_with("result", result), count as f64))
        }),
    );
}
