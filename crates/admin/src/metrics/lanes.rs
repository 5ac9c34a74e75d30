//! What there is to tell of each lane and each throttle. A label's values are names out of lanes.yaml, or words of ours.

use std::collections::BTreeMap;

use pglanes_lanes::{LaneId, LaneSnapshot};
use pglanes_proxy::{LaneMetrics, LeaseView, Metrics, Refused, View};

use crate::warnings::share_left;

use super::families::{Distribution, Families, Labels};

/// A lane's state and its counters.
struct Lane<'v> {
    paused: bool,
    state: &'v LaneSnapshot,
    counters: &'v LaneMetrics,
}

impl<'v> Lane<'v> {
    fn labels(&self) -> Labels<'v> {
        vec![("lane", self.state.name.as_str())]
    }

    fn labels_with(&self, name: &'static str, value: &'v str) -> Labels<'v> {
        vec![("lane", self.state.name.as_str()), (name, value)]
    }

    /// A lane that was removed is told of until nothing of it is left.
    fn is_of_interest(&self) -> bool {
        let state = self.state;
        let connections = state.busy + state.idle + state.opening;
        !state.retired
            || connections > 0
            || state.waiting > 0
            || state.sessions > 0
            || state.leases > 0
    }
}

fn lanes<'v>(metrics: &'v Metrics, view: &'v View) -> Vec<Lane<'v>> {
    let lane = |(id, state)| {
        let id = LaneId(u16::try_from(id).ok()?);
        let counters = metrics.lane(id);
        let paused = view.operated.paused || view.operated.paused_lanes.contains(&id);
        Some(Lane {
            paused,
            state,
            counters,
        })
        .filter(Lane::is_of_interest)
    };
    view.scheduler
        .lanes
        .iter()
        .enumerate()
        .filter_map(lane)
        .collect()
}

/// Everything with a `lane` label but throttles.
pub(super) fn add(families: &mut Families, metrics: &Metrics, view: &View) {
    let lanes = lanes(metrics, view);
    times(families, &lanes);
    slots(families, &lanes);
    waiting(families, &lanes);
    clients(families, &lanes);
    rules(families, &lanes);
    sessions(families, &lanes);
    observed(families, &lanes);
    priorities(families, &lanes);
}

fn times(families: &mut Families, lanes: &[Lane<'_>]) {
    families.histograms(
        "queue_wait_seconds",
        lanes
            .iter()
            .map(|lane| (lane.labels(), Distribution::of(&lane.counters.queue_wait))),
    );
    families.histograms(
        "transaction_seconds",
        lanes.iter().map(|lane| {
            (
                lane.labels(),
                Distribution::of(&lane.counters.transaction_time),
            )
        }),
    );
    families.histograms(
        "statement_seconds",
        lanes.iter().map(|lane| {
            let times = Distribution::of(&lane.counters.statement_time);
            (lane.labels(), times)
        }),
    );
    type Counted = (&'static str, fn(&LaneMetrics) -> u64);
    let counted: [Counted; 4] = [
        ("transactions_total", |lane| lane.transactions.get()),
        ("errors_total", |lane| lane.errors.get()),
        ("received_bytes_total", |lane| lane.bytes_in.get()),
        ("sent_bytes_total", |lane| lane.bytes_out.get()),
    ];
    for (name, count) in counted {
        let series = lanes
            .iter()
            .map(|lane| (lane.labels(), count(lane.counters) as f64));
        families.counters(name, series);
    }
}

fn slots(families: &mut Families, lanes: &[Lane<'_>]) {
    let series = lanes.iter().flat_map(|lane| {
        let state = lane.state;
        [
            ("min", state.min),
            ("max", state.max),
            ("effective", state.effective),
            ("in_use", state.busy),
            ("idle", state.idle),
            ("opening", state.opening),
            (
                "reserved",
                state.min.saturating_sub(state.busy + state.opening),
            ),
            (
                "borrowed",
                (state.busy + state.opening).saturating_sub(state.min),
            ),
        ]
        .map(|(kind, slots)| (lane.labels_with("kind", kind), f64::from(slots)))
    });
    families.gauges("slots", series);
    families.gauges(
        "lane_paused",
        lanes
            .iter()
            .map(|lane| (lane.labels(), f64::from(u8::from(lane.paused)))),
    );
    families.counters(
        "throttled_seconds_total",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.throttled_total.as_secs_f64())),
    );
}

fn waiting(families: &mut Families, lanes: &[Lane<'_>]) {
    families.gauges(
        "waiting_clients",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.waiting as f64)),
    );
    families.gauges(
        "oldest_wait_seconds",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.oldest_wait.as_secs_f64())),
    );
    let series = lanes.iter().flat_map(|lane| {
        Refused::ALL.map(|reason| {
            let mut labels = lane.labels_with("reason", reason.label());
            labels.push(("sqlstate", reason.sqlstate()));
            (labels, lane.counters.refused(reason) as f64)
        })
    });
    families.counters("rejected_total", series);
    families.counters(
        "withdrawn_total",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.withdrawn as f64)),
    );
}

fn clients(families: &mut Families, lanes: &[Lane<'_>]) {
    families.gauges(
        "capped_clients",
        lanes
            .iter()
            .map(|lane| (lane.labels(), f64::from(lane.state.capped))),
    );
    let series = lanes.iter().flat_map(|lane| {
        [
            ("user", lane.state.held_by_user_cap),
            ("application", lane.state.held_by_application_cap),
        ]
        .map(|(cap, count)| (lane.labels_with("cap", cap), count as f64))
    });
    families.counters("held_by_cap_total", series);
    families.counters(
        "queue_notices_total",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.notices as f64)),
    );
}

fn rules(families: &mut Families, lanes: &[Lane<'_>]) {
    let rules = || {
        lanes.iter().flat_map(|lane| {
            let rules = lane.state.rules.iter();
            rules.map(move |rule| {
                let mut labels = lane.labels_with("rule", rule.name.as_str());
                labels.push(("action", rule.action));
                (labels, rule)
            })
        })
    };
    families.counters(
        "rule_actions_total",
        rules().map(|(labels, rule)| (labels, rule.acted as f64)),
    );
    families.counters(
        "rule_met_total",
        rules().map(|(labels, rule)| (labels, rule.met as f64)),
    );
    families.counters(
        "preempted_total",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.preempted as f64)),
    );
}

fn sessions(families: &mut Families, lanes: &[Lane<'_>]) {
    families.gauges(
        "sessions",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.sessions as f64)),
    );
    families.gauges(
        "leases",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.leases as f64)),
    );
    let lease_events = lanes.iter().flat_map(|lane| {
        let counters = lane.counters;
        [
            ("taken", &counters.leases_taken),
            ("renewed", &counters.leases_renewed),
            ("ended", &counters.leases_ended),
            ("expired", &counters.leases_expired),
        ]
        .map(|(event, count)| (lane.labels_with("event", event), count.get() as f64))
    });
    families.counters("leases_total", lease_events);
    families.gauges(
        "pinned_sessions",
        lanes.iter().flat_map(|lane| {
            let pinned = lane.counters.pinned();
            pinned.map(|(reason, count)| (lane.labels_with("reason", reason), count as f64))
        }),
    );
}

fn observed(families: &mut Families, lanes: &[Lane<'_>]) {
    let series = lanes.iter().flat_map(|lane| {
        let state = lane.state;
        [
            ("hold", state.would_hold),
            ("reject", state.would_reject),
            ("time_out", state.would_time_out),
            ("preempt", state.would_preempt),
        ]
        .map(|(decision, count)| (lane.labels_with("decision", decision), count as f64))
    });
    families.counters("observed_total", series);
}

/// What became of the backends' CPU and I/O priority.
fn priorities(families: &mut Families, lanes: &[Lane<'_>]) {
    let series = lanes.iter().flat_map(|lane| {
        let counters = &lane.counters.priority;
        [
            ("set", &counters.set),
            ("worker", &counters.workers),
            ("raised", &counters.raised),
            ("lifted", &counters.lifts),
        ]
        .map(|(change, count)| (lane.labels_with("change", change), count.get() as f64))
    });
    families.counters("backend_priority_total", series);
    let refused = lanes.iter().flat_map(|lane| {
        let refusals = lane.counters.priority.refusals();
        refusals.map(|(reason, count)| (lane.labels_with("reason", reason), count as f64))
    });
    families.counters("backend_priority_refused_total", refused);
}

/// The lease of each lane that is nearest its end.
pub(super) fn add_leases(families: &mut Families, leases: &[LeaseView]) {
    let mut least: BTreeMap<&str, f64> = BTreeMap::new();
    for lease in leases {
        let left = least.entry(&lease.lane).or_insert(1.0);
        *left = left.min(share_left(lease));
    }
    families.gauges(
        "lease_left_ratio",
        least
            .iter()
            .map(|(lane, left)| (vec![("lane", *lane)], *left)),
    );
}

/// Everything with a `throttle` label.
pub(super) fn add_throttles(families: &mut Families, view: &View) {
    let throttles = &view.scheduler.throttles;
    let labels = |throttle: usize| -> Labels<'_> {
        let throttle = &throttles[throttle];
        let lane = view.scheduler.lanes.get(throttle.lane.index());
        let lane = lane.map_or("", |lane| lane.name.as_str());
        vec![("throttle", throttle.name.as_str()), ("lane", lane)]
    };
    let every = || 0..throttles.len();
    families.counters(
        "throttle_active_seconds_total",
        every().map(|place| (labels(place), throttles[place].active_total.as_secs_f64())),
    );
    families.gauges(
        "throttle_active",
        every().map(|place| {
            let active = throttles[place].active_since.is_some();
            (labels(place), f64::from(u8::from(active)))
        }),
    );
    families.counters(
        "throttle_activations_total",
        every().map(|place| (labels(place), throttles[place].activations as f64)),
    );
    families.counters(
        "throttle_held_back_total",
        every().map(|place| (labels(place), throttles[place].held_back as f64)),
    );
    families.counters(
        "throttle_cancels_total",
        every().map(|place| (labels(place), throttles[place].cancels as f64)),
    );
}
