//! What there is to tell of each lane and each throttle. A label's values are names out of lanes.yaml, or words of ours.

use pglanes_lanes::{LaneId, LaneSnapshot};
use pglanes_proxy::{LaneMetrics, Metrics, View};

use super::families::{Distribution, Families, Labels};

/// A lane's state and its counters.
struct Lane<'v> {
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
        Some(Lane { state, counters }).filter(Lane::is_of_interest)
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
        "From asking for a slot to getting it.",
        lanes
            .iter()
            .map(|lane| (lane.labels(), Distribution::of(&lane.counters.queue_wait))),
    );
    families.histograms(
        "transaction_seconds",
        "From getting the slot to the end of the transaction.",
        lanes.iter().map(|lane| {
            (
                lane.labels(),
                Distribution::of(&lane.counters.transaction_time),
            )
        }),
    );
    type Counted = (&'static str, &'static str, fn(&LaneMetrics) -> u64);
    let counted: [Counted; 3] = [
        ("transactions_total", "Transactions that ended.", |lane| {
            lane.transactions.get()
        }),
        (
            "errors_total",
            "Errors of PostgreSQL passed to clients.",
            |lane| lane.errors.get(),
        ),
        ("sent_bytes_total", "Bytes sent to clients.", |lane| {
            lane.bytes_out.get()
        }),
    ];
    for (name, help, count) in counted {
        let series = lanes
            .iter()
            .map(|lane| (lane.labels(), count(lane.counters) as f64));
        families.counters(name, help, series);
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
        ]
        .map(|(kind, slots)| (lane.labels_with("kind", kind), f64::from(slots)))
    });
    families.gauges(
        "slots",
        "Server connections of a lane: guaranteed (min), configured (max), allowed now (effective), and as they are.",
        series,
    );
    families.counters(
        "throttled_seconds_total",
        "How long throttles have kept a lane's limit below its maximum.",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.throttled_total.as_secs_f64())),
    );
}

fn waiting(families: &mut Families, lanes: &[Lane<'_>]) {
    families.gauges(
        "waiting_clients",
        "Transactions that wait for a slot.",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.waiting as f64)),
    );
    families.gauges(
        "oldest_wait_seconds",
        "How long the oldest of them has waited; zero without any.",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.oldest_wait.as_secs_f64())),
    );
    let series = lanes.iter().flat_map(|lane| {
        let counters = lane.counters;
        [
            ("queue_full", "53300", counters.rejected_full.get()),
            ("queue_timeout", "57014", counters.rejected_timeout.get()),
            // What the client sees is PostgreSQL's own code where it spoke.
            ("upstream", "08006", counters.rejected_upstream.get()),
        ]
        .map(|(reason, sqlstate, count)| {
            let mut labels = lane.labels_with("reason", reason);
            labels.push(("sqlstate", sqlstate));
            (labels, count as f64)
        })
    });
    families.counters("rejected_total", "Transactions that got no slot.", series);
    families.counters(
        "withdrawn_total",
        "Transactions that were given up while they waited: cancelled, or their client gone.",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.withdrawn as f64)),
    );
}

fn clients(families: &mut Families, lanes: &[Lane<'_>]) {
    families.gauges(
        "capped_clients",
        "Transactions that wait for others of their own user or application to end.",
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
    families.counters(
        "held_by_cap_total",
        "Transactions that had to wait for others of their own client, or would have.",
        series,
    );
    families.counters(
        "queue_notices_total",
        "Clients that were told that they wait, or would have been.",
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
        "Transactions that a rule had consequences for.",
        rules().map(|(labels, rule)| (labels, rule.acted as f64)),
    );
    families.counters(
        "rule_met_total",
        "Transactions that met a rule, also where the lane only observes.",
        rules().map(|(labels, rule)| (labels, rule.met as f64)),
    );
    families.counters(
        "preempted_total",
        "Statements cancelled to give a borrowed slot back.",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.preempted as f64)),
    );
}

fn sessions(families: &mut Families, lanes: &[Lane<'_>]) {
    families.gauges(
        "sessions",
        "Client sessions by the lane of their names.",
        lanes
            .iter()
            .map(|lane| (lane.labels(), lane.state.sessions as f64)),
    );
    families.gauges(
        "leases",
        "Leases held on a lane.",
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
    families.counters(
        "leases_total",
        "What became of leases on a lane; one that expired was left by its holder.",
        lease_events,
    );
    families.gauges(
        "pinned_sessions",
        "Sessions that keep their server connection, by what keeps them.",
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
    families.counters(
        "observed_total",
        "What a lane in mode observe would have done to a transaction.",
        series,
    );
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
    families.counters(
        "backend_priority_total",
        "Backends put to the lane's CPU and I/O priority (set), their parallel workers (worker), put back (raised), and \
         put back because somebody protected waited for them (lifted).",
        series,
    );
    let refused = lanes.iter().flat_map(|lane| {
        let refusals = lane.counters.priority.refusals();
        refusals.map(|(reason, count)| (lane.labels_with("reason", reason), count as f64))
    });
    families.counters(
        "backend_priority_refused_total",
        "Backends whose priority could not be set, by what was missing.",
        refused,
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
    families.gauges(
        "throttle_active",
        "1 while the throttle's condition holds.",
        every().map(|place| {
            let active = throttles[place].active_since.is_some();
            (labels(place), f64::from(u8::from(active)))
        }),
    );
    families.counters(
        "throttle_activations_total",
        "How often the throttle became active.",
        every().map(|place| (labels(place), throttles[place].activations as f64)),
    );
    families.counters(
        "throttle_held_back_total",
        "Transactions that the throttle kept waiting, or would have.",
        every().map(|place| (labels(place), throttles[place].held_back as f64)),
    );
    families.counters(
        "throttle_cancels_total",
        "Transactions that the throttle cancelled.",
        every().map(|place| (labels(place), throttles[place].cancels as f64)),
    );
}
