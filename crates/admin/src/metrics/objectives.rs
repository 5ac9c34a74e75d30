//! What there is to tell of objectives: the ratio that is kept, what the others are left, and the quiet latency it is held
//! against. Classes are labelled by kind and a few digits of their hash, and are capped by the snapshot.

use pglanes_lanes::objective::{ObjectiveSnapshot, Phase};
use pglanes_lanes::{LaneId, Mode};
use pglanes_proxy::View;

use super::families::{Families, Labels};

/// Everything with a `percentile`, a `class` or an `objective` label.
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
        all.iter().flat_map(|objective| {
            let quantiles = objective.quantiles.iter();
            quantiles.filter_map(|(name, _, ratio)| {
                Some((objective.labels_with("percentile", name), (*ratio)?))
            })
        }),
    );
    families.gauges(
        "objective_quiet_drift",
        all.iter().map(|objective| {
            (
                objective.labels(),
                thousandths(objective.seen.drift_thousandths),
            )
        }),
    );
    families.gauges(
        "objective_target",
        all.iter().flat_map(|objective| {
            let quantiles = objective.quantiles.iter();
            quantiles.map(|(name, target, _)| (objective.labels_with("percentile", name), *target))
        }),
    );
    families.gauges(
        "objective_phase",
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
        all.iter().map(|objective| {
            let enforced = objective.seen.mode == Mode::Enforce;
            (objective.labels(), f64::from(u8::from(enforced)))
        }),
    );
}

fn limits(families: &mut Families, all: &[Objective<'_>]) {
    families.gauges(
        "controller_limit",
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
        all.iter().filter_map(|objective| {
            let limit = thousandths(objective.seen.limit_thousandths?);
            Some((objective.labels(), limit))
        }),
    );
}

fn baselines(families: &mut Families, all: &[Objective<'_>]) {
    families.gauges(
        "objective_known_ratio",
        all.iter().map(|objective| {
            let known = thousandths(objective.seen.known_thousandths);
            (objective.labels(), known)
        }),
    );
    families.gauges(
        "objective_classes",
        all.iter()
            .map(|objective| (objective.labels(), objective.seen.class_count as f64)),
    );
    families.gauges(
        "objective_baseline_seconds",
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
        all.iter()
            .map(|objective| (objective.labels(), objective.seen.activations as f64)),
    );
    families.counters(
        "objective_active_seconds_total",
        all.iter().map(|objective| {
            let active = objective.seen.active_total.as_secs_f64();
            (objective.labels(), active)
        }),
    );
    families.counters(
        "objective_held_back_total",
        all.iter()
            .map(|objective| (objective.labels(), objective.seen.held_back as f64)),
    );
    families.counters(
        "objective_moves_total",
        all.iter().flat_map(|objective| {
            let (lowered, raised) = objective.seen.moves;
            [("down", lowered), ("up", raised)].map(|(direction, count)| {
                (objective.labels_with("direction", direction), count as f64)
            })
        }),
    );
    families.counters(
        "objective_probes_total",
        all.iter().flat_map(|objective| {
            let (made, failed) = (objective.seen.probes, objective.seen.failed_probes);
            [("quiet", made.saturating_sub(failed)), ("failed", failed)]
                .map(|(result, count)| (objective.labels_with("result", result), count as f64))
        }),
    );
}
