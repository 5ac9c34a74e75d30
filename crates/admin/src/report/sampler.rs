//! From counters that only grow to what changed between two looks.

use std::collections::BTreeMap;
use std::time::Duration;

use pglanes_config::{Config, Mode as ConfigMode};
use pglanes_lanes::{LaneId, LaneSnapshot, Mode};
use pglanes_proxy::events::{Event, EventKind};
use pglanes_proxy::{LaneMetrics, Metrics, View};

use super::distribution::{Counts, Distribution, counts};
use super::record::{Happening, LaneSample, Protected, Sample, ThrottleSample};
use super::words::milliseconds;

/// What the backends of a lane had of the processors since the look before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneCpu {
    /// The lane.
    pub lane: String,
    /// How long they ran.
    pub ran: Duration,
    /// How long they were ready to run and did not.
    pub waited: Duration,
}

/// Makes samples of looks. Holds one look's counters.
#[derive(Debug, Default)]
pub struct Sampler {
    before: Option<Before>,
    was_quiet: bool,
}

#[derive(Debug)]
struct Before {
    at: u64,
    lanes: BTreeMap<String, LaneCounts>,
    /// Activations, newcomers kept, cancels.
    throttles: BTreeMap<String, (u64, u64, u64)>,
    blocked: BTreeMap<(String, String), Duration>,
    maintenance: BTreeMap<(String, String), Duration>,
}

/// What is counted of a lane.
#[derive(Clone, Debug)]
struct LaneCounts {
    transactions: u64,
    errors: u64,
    wait: Counts,
    run: Counts,
    throttled: Duration,
    cancels: u64,
    rejected: u64,
}

impl LaneCounts {
    fn of(lane: &LaneSnapshot, metrics: &LaneMetrics) -> Self {
        Self {
            transactions: metrics.transactions.get(),
            errors: metrics.errors.get(),
            wait: counts(&metrics.queue_wait),
            run: counts(&metrics.transaction_time),
            throttled: lane.throttled_total,
            cancels: lane.cancels,
            rejected: lane.rejected_queue_full
                + lane.rejected_timed_out
                + lane.rejected_open_failed,
        }
    }
}

impl Sampler {
    /// What changed since the look before; none at the first one, and none where nothing did. The first sample without
    /// anything is made all the same: it says when the others had ended.
    pub fn look(
        &mut self,
        at: u64,
        view: &View,
        metrics: &Metrics,
        cpu: Option<&[LaneCpu]>,
    ) -> Option<Sample> {
        let now = Before::of(at, view, metrics);
        let before = self.before.replace(now)?;
        let now = self.before.as_ref()?;
        let mut sample = Sample {
            t: at,
            d: at.saturating_sub(before.at),
            lanes: lanes(view, &before, now, cpu),
            throttles: throttles(view, &before, now),
            blocked: grown(&before.blocked, &now.blocked),
            maintenance: grown(&before.maintenance, &now.maintenance),
            direct: view
                .observed
                .direct
                .iter()
                .map(|direct| u64::from(direct.busy))
                .sum(),
        };
        ratios(view, &mut sample);
        let is_quiet = sample.lanes.is_empty()
            && sample.throttles.is_empty()
            && sample.blocked.is_empty()
            && sample.maintenance.is_empty();
        let was_quiet = std::mem::replace(&mut self.was_quiet, is_quiet);
        (!is_quiet || !was_quiet).then_some(sample)
    }
}

impl Before {
    fn of(at: u64, view: &View, metrics: &Metrics) -> Self {
        let lanes = view.scheduler.lanes.iter().zip(0..).map(|(lane, id)| {
            let counts = LaneCounts::of(lane, metrics.lane(LaneId(id)));
            (lane.name.clone(), counts)
        });
        let throttles = view.scheduler.throttles.iter().map(|throttle| {
            let counts = (throttle.activations, throttle.held_back, throttle.cancels);
            (throttle.name.clone(), counts)
        });
        let objectives = view.scheduler.objectives.iter().map(|objective| {
            let counts = (objective.activations, objective.held_back, 0);
            (objective_name(view, objective.lane), counts)
        });
        let blocked = view.observed.blocked.iter();
        let maintenance = view.observed.maintenance.iter();
        Self {
            at,
            lanes: lanes.collect(),
            throttles: throttles.chain(objectives).collect(),
            blocked: blocked
                .map(|pair| ((pair.blocker.clone(), pair.blocked.clone()), pair.total))
                .collect(),
            maintenance: maintenance
                .map(|one| ((one.what.to_owned(), one.lane.clone()), one.total))
                .collect(),
        }
    }
}

fn lanes(view: &View, before: &Before, now: &Before, cpu: Option<&[LaneCpu]>) -> Vec<LaneSample> {
    let lanes = view.scheduler.lanes.iter().filter_map(|lane| {
        let after = now.lanes.get(&lane.name)?;
        // A lane that is new counts from its first look on.
        let before = before.lanes.get(&lane.name).unwrap_or(after);
        let cpu = cpu.map(|lanes| {
            let lane = lanes.iter().find(|cpu| cpu.lane == lane.name);
            lane.map_or((0, 0), |cpu| (whole_ms(cpu.ran), whole_ms(cpu.waited)))
        });
        let sample = LaneSample {
            n: lane.name.clone(),
            x: after.transactions.saturating_sub(before.transactions),
            e: after.errors.saturating_sub(before.errors),
            wait: Distribution::between(&before.wait, &after.wait),
            run: Distribution::between(&before.run, &after.run),
            busy: u64::from(lane.busy),
            waiting: lane.waiting as u64,
            limit: u64::from(lane.effective),
            held: whole_ms(after.throttled.saturating_sub(before.throttled)),
            by: lane.throttled_by.clone(),
            cancels: after.cancels.saturating_sub(before.cancels),
            rejected: after.rejected.saturating_sub(before.rejected),
            cpu,
            ratio: None,
        };
        // Whoever has nothing to do is not held back by anything.
        let is_quiet = sample.x + sample.busy + sample.waiting + sample.rejected == 0
            && sample.wait.is_empty()
            && lane.leases == 0;
        (!is_quiet).then_some(sample)
    });
    lanes.collect()
}

fn throttles(view: &View, before: &Before, now: &Before) -> Vec<ThrottleSample> {
    let name = |lane: LaneId| {
        let lane = view.scheduler.lanes.get(lane.index());
        lane.map(|lane| lane.name.clone()).unwrap_or_default()
    };
    let sample = |name: String, watch: String, lane: String, mode: Mode, active: bool| {
        let after = now.throttles.get(&name).copied().unwrap_or_default();
        let before = before.throttles.get(&name).copied().unwrap_or(after);
        ThrottleSample {
            n: name,
            watch,
            lane,
            observes: mode == Mode::Observe,
            active,
            times: after.0.saturating_sub(before.0),
            kept: after.1.saturating_sub(before.1),
            cancels: after.2.saturating_sub(before.2),
        }
    };
    let throttles = view.scheduler.throttles.iter();
    let throttles = throttles.filter(|throttle| throttle.mode != Mode::Off);
    let throttles = throttles.map(|throttle| {
        let active = throttle.active_since.is_some();
        let (watch, lane) = (name(throttle.watch), name(throttle.lane));
        sample(throttle.name.clone(), watch, lane, throttle.mode, active)
    });
    let objectives = view.scheduler.objectives.iter();
    let objectives = objectives.filter(|objective| objective.mode != Mode::Off);
    let objectives = objectives.map(|objective| {
        let active = objective.limit_thousandths.is_some();
        let own = objective_name(view, objective.lane);
        let watch = name(objective.lane);
        sample(own, watch, String::new(), objective.mode, active)
    });
    let all = throttles.chain(objectives);
    all.filter(|one| one.active || one.times + one.kept + one.cancels > 0)
        .collect()
}

/// As a lane's snapshot calls what holds it back.
fn objective_name(view: &View, lane: LaneId) -> String {
    let lane = view.scheduler.lanes.get(lane.index());
    format!("objective of {}", lane.map_or("", |lane| &lane.name))
}

/// What objectives measured of the lanes that did something, of several targets the one that is missed most: by what the
/// lane takes just now while the others are quiet. What slows the whole machine is no lane's doing.
fn ratios(view: &View, sample: &mut Sample) {
    for objective in &view.scheduler.objectives {
        let Some(lane) = view.scheduler.lanes.get(objective.lane.index()) else {
            continue;
        };
        let ratios = objective.ratios.iter();
        let worst = ratios.filter_map(|(_, ratio)| *ratio).max();
        let drift = u64::from(objective.drift_thousandths.max(1));
        let worst = worst.and_then(|ratio| u32::try_from(u64::from(ratio) * 1000 / drift).ok());
        let mut lanes = sample.lanes.iter_mut();
        if let Some(found) = lanes.find(|found| found.n == lane.name && found.x > 0) {
            found.ratio = worst;
        }
    }
}

/// What grew, by how many milliseconds.
fn grown(
    before: &BTreeMap<(String, String), Duration>,
    now: &BTreeMap<(String, String), Duration>,
) -> Vec<(String, String, u64)> {
    let grown = now.iter().filter_map(|((one, other), total)| {
        let before = before.get(&(one.clone(), other.clone()));
        let more = whole_ms(total.saturating_sub(before.copied().unwrap_or_default()));
        (more > 0).then(|| (one.clone(), other.clone(), more))
    });
    grown.collect()
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Which lanes are protected: those that throttles watch or that have an objective.
pub fn protected(config: &Config) -> Vec<Protected> {
    let lanes = config.lanes.iter().filter_map(|lane| {
        let objective = lane.objective.as_ref();
        let objective = objective.filter(|objective| objective.mode != ConfigMode::Off);
        let mut throttles = config.throttles.iter();
        let is_watched =
            throttles.any(|one| one.watched == lane.name && one.mode != ConfigMode::Off);
        let times = objective.and_then(|objective| {
            let targets = [objective.p50, objective.p95, objective.p99];
            targets.into_iter().flatten().min()
        });
        (is_watched || objective.is_some()).then(|| Protected {
            lane: lane.name.clone(),
            times,
        })
    });
    lanes.collect()
}

/// What of an event belongs into the history. Throttles and refusals are in the samples, which count them.
pub fn happening(event: &Event) -> Option<Happening> {
    let who = match &event.kind {
        EventKind::LeaseTaken { holder, .. }
        | EventKind::LeaseEnded { holder, .. }
        | EventKind::LeaseExpired { holder, .. } => Some(holder.clone()),
        EventKind::Reloaded { .. }
        | EventKind::UpstreamDown { .. }
        | EventKind::UpstreamUp
        | EventKind::Paused { .. }
        | EventKind::Resumed { .. }
        | EventKind::Ending { .. }
        | EventKind::DirectSeen { .. }
        | EventKind::Blocked { .. }
        | EventKind::LongTransaction { .. }
        | EventKind::MaintenanceBegan { .. }
        | EventKind::ObserverLost => None,
        _ => return None,
    };
    Some(Happening {
        t: milliseconds(event.at),
        what: event.kind.label().to_owned(),
        lane: event.kind.lane().map(str::to_owned),
        who,
        detail: event.kind.detail(),
    })
}
