//! The families of a scheduler that has done something, read back strictly.

use std::time::{Duration, SystemTime};

use pglanes_lanes::classify::StatementKind;
use pglanes_lanes::objective::{ClassKey, ObjectivePolicy, Sample, Target};
use pglanes_lanes::{
    ClientKey, Condition, Effect, Input, LaneId, LanePolicy, Mode, Policy, PoolId, Running,
    Scheduler, ThrottlePolicy, TicketId, Time, Turn,
};
use pglanes_proxy::view::AliasView;
use pglanes_proxy::{BUCKET_BOUNDS_US, Metrics, View};
use pglanes_proxy::{BlockedView, DirectView, ObservedView};
use prometheus::TextEncoder;

use super::families::{Distribution, Families};
use super::{Beside, families};
use crate::text_format::Exposition;
use crate::{Reachability, Status};

fn policy() -> Policy {
    let mut policy = Policy::new(10);
    policy.lanes = ["evaluation", "compaction"]
        .map(|name| LanePolicy::new(name, 8))
        .into();
    policy.throttles.push(ThrottlePolicy {
        name: "compaction yields to \"evaluation\"".into(),
        watch: LaneId(0),
        condition: Condition::Connected,
        linger: Duration::ZERO,
        lane: LaneId(1),
        effect: Effect::Slots(2),
        running: Running::Finish,
        counts_direct: false,
        lowers: false,
        mode: Mode::Enforce,
    });
    policy
}

fn view(scheduler: &Scheduler, seconds: u64) -> View {
    View {
        scheduler: scheduler.snapshot(Time::from_nanos(seconds * 1_000_000_000)),
        sessions: 3,
        logins: 1,
        servers: (1, 2, 4),
        observed: ObservedView::default(),
        prepared: Default::default(),
        draining: false,
        operated: Default::default(),
    }
}

fn status(upstream: Reachability) -> Status {
    Status {
        upstream,
        clients_limit: 100,
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
        configured: SystemTime::UNIX_EPOCH + Duration::from_millis(7500),
    }
}

fn scrape(view: &View, status: &Status) -> Exposition {
    let aliases = vec![AliasView {
        kind: "database",
        alias: "dspy_rag".to_owned(),
        name: "ai_agency".to_owned(),
        used: 2,
        last: None,
        last_client: String::new(),
    }];
    let leases = Vec::new();
    let beside = Beside { aliases, leases };
    let families = families(&Metrics::default(), view, status, &beside);
    let text = TextEncoder::new().encode_to_string(&families).unwrap();
    Exposition::parse(&text).unwrap()
}

#[test]
fn every_family_is_well_formed_and_tells_the_state() {
    let mut scheduler = Scheduler::new(policy());
    let start = Time::from_nanos(0);
    scheduler.handle(start, Input::SessionOpened { lane: LaneId(0) });
    let exposition = scrape(&view(&scheduler, 3), &status(Reachability::Reached));
    let check = |name: &str, labels: &[(&str, &str)], expected: f64| {
        assert_eq!(
            exposition.value(name, labels),
            Some(expected),
            "{name} {labels:?}"
        );
    };
    check("pglanes_sessions", &[("lane", "evaluation")], 1.0);
    check("pglanes_sessions", &[("lane", "compaction")], 0.0);
    check(
        "pglanes_slots",
        &[("lane", "compaction"), ("kind", "max")],
        8.0,
    );
    check(
        "pglanes_slots",
        &[("lane", "compaction"), ("kind", "effective")],
        2.0,
    );
    check(
        "pglanes_throttled_seconds_total",
        &[("lane", "compaction")],
        3.0,
    );
    check(
        "pglanes_throttle_active",
        &[
            ("throttle", "compaction yields to \"evaluation\""),
            ("lane", "compaction"),
        ],
        1.0,
    );
    check("pglanes_clients", &[], 3.0);
    check("pglanes_clients_limit", &[], 100.0);
    check("pglanes_server_connections", &[("state", "in_use")], 4.0);
    check("pglanes_server_connections", &[], 7.0);
    check("pglanes_upstream_up", &[], 1.0);
    check("pglanes_upstream_slots", &[], 10.0);
    check("pglanes_config_last_reload_successful", &[], 1.0);
    check(
        "pglanes_config_last_reload_success_timestamp_seconds",
        &[],
        7.5,
    );
    check("process_start_time_seconds", &[], 5.0);
    check(
        "pglanes_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    check(
        "pglanes_rejected_total",
        &[("reason", "queue_full"), ("sqlstate", "53300")],
        0.0,
    );
    check(
        "pglanes_queue_wait_seconds_count",
        &[("lane", "evaluation")],
        0.0,
    );
    let pinned = [("lane", "evaluation"), ("reason", "temporary_table")];
    check("pglanes_pinned_sessions", &pinned, 0.0);
    check("pglanes_out_of_sync_total", &[], 0.0);
}

#[test]
fn an_objective_tells_what_it_keeps_what_it_leaves_and_what_it_knows() {
    let mut policy = policy();
    policy.lanes[0].priority = 10;
    policy.lanes[0].objective = Some(ObjectivePolicy::new(Target {
        quantile: 950,
        times: 1200,
    }));
    let mut scheduler = Scheduler::new(policy);
    let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
    let (lane, pool, ticket) = (LaneId(0), PoolId(0), TicketId(1));
    let request = Input::Request {
        ticket,
        lane,
        pool,
        client: ClientKey::default(),
        turn: Turn::default(),
    };
    scheduler.handle(at(100), request);
    for number in 0..60 {
        let sample = Sample {
            class: ClassKey {
                kind: StatementKind::Select,
                shape: 0xabcd_ef01 << 32,
            },
            began: at(200 + number),
            served: Duration::from_millis(4),
            waited: Duration::ZERO,
        };
        scheduler.handle(at(205 + number), Input::Measured { lane, sample });
    }
    let exposition = scrape(&view(&scheduler, 1), &status(Reachability::Reached));
    let value = |name: &str, labels: &[(&str, &str)]| {
        let lane = [&[("lane", "evaluation")], labels].concat();
        exposition.value(name, &lane)
    };
    let p95 = [("percentile", "p95")];
    assert_eq!(value("pglanes_objective_target", &p95), Some(1.2));
    assert_eq!(value("pglanes_objective_enforced", &[]), Some(1.0));
    assert_eq!(
        value("pglanes_objective_phase", &[("phase", "resting")]),
        Some(0.0)
    );
    let class = [("class", "SELECT abcdef01")];
    assert_eq!(
        value("pglanes_objective_baseline_samples", &class),
        Some(60.0)
    );
    let quiet = value("pglanes_objective_baseline_seconds", &class).unwrap();
    assert!((quiet / 0.004 - 1.0).abs() < 0.05, "{quiet}");
    assert!(value("pglanes_objective_baseline_age_seconds", &class).is_some());
    assert_eq!(value("pglanes_objective_activations_total", &[]), Some(1.0));
    let held = [("objective", "evaluation"), ("lane", "compaction")];
    let limit = exposition.value("pglanes_controller_limit", &held);
    assert!(limit.is_some_and(|limit| limit <= 1.0), "{limit:?}");
}

#[test]
fn an_upstream_that_was_not_reached_is_not_up() {
    let scheduler = Scheduler::new(policy());
    for upstream in [
        Reachability::Untried,
        Reachability::Unreachable {
            why: "refused".to_owned(),
        },
    ] {
        let exposition = scrape(&view(&scheduler, 0), &status(upstream));
        assert_eq!(exposition.value("pglanes_upstream_up", &[]), Some(0.0));
    }
}

#[test]
fn a_removed_lane_is_told_of_until_its_last_session_has_gone() {
    let mut scheduler = Scheduler::new(policy());
    let start = Time::from_nanos(0);
    scheduler.handle(start, Input::SessionOpened { lane: LaneId(1) });
    let mut without = policy();
    without.throttles.clear();
    without.lanes[1].retired = true;
    scheduler.handle(start, Input::Reload { policy: without });
    let sessions = |scheduler: &Scheduler| {
        let exposition = scrape(&view(scheduler, 1), &status(Reachability::Reached));
        assert_eq!(exposition.value("pglanes_throttle_active", &[]), None);
        exposition.value("pglanes_sessions", &[("lane", "compaction")])
    };
    assert_eq!(sessions(&scheduler), Some(1.0));
    scheduler.handle(start, Input::SessionClosed { lane: LaneId(1) });
    assert_eq!(sessions(&scheduler), None);
}

#[test]
fn a_distribution_is_cumulated_in_seconds() {
    let mut counts = [0; BUCKET_BOUNDS_US.len() + 1];
    counts[0] = 3;
    counts[4] = 2;
    counts[BUCKET_BOUNDS_US.len()] = 1;
    let distribution = Distribution {
        counts,
        sum: Duration::from_millis(1500),
    };
    let mut families = Families::default();
    families.histograms("statement_seconds", [(vec![("lane", "a")], distribution)]);
    let text = TextEncoder::new()
        .encode_to_string(&families.finish())
        .unwrap();
    let exposition = Exposition::parse(&text).unwrap();
    let bucket = |bound| exposition.value("pglanes_statement_seconds_bucket", &[("le", bound)]);
    assert_eq!(bucket("0.00005"), Some(3.0), "{text}");
    assert_eq!(bucket("0.0005"), Some(3.0));
    assert_eq!(bucket("0.001"), Some(5.0));
    assert_eq!(bucket("300"), Some(5.0));
    assert_eq!(bucket("+Inf"), Some(6.0));
    assert_eq!(
        exposition.value("pglanes_statement_seconds_count", &[]),
        Some(6.0)
    );
    assert_eq!(
        exposition.value("pglanes_statement_seconds_sum", &[]),
        Some(1.5)
    );
}

#[test]
fn what_was_seen_past_the_lanes_is_told_while_it_can_be_seen() {
    let scheduler = Scheduler::new(policy());
    let mut view = view(&scheduler, 1);
    let status = status(Reachability::Reached);
    view.observed.blocked.push(BlockedView {
        blocker: "direct".to_owned(),
        blocked: "a".to_owned(),
        total: Duration::from_millis(2500),
    });
    view.observed.direct.push(DirectView {
        user: "root".to_owned(),
        application_name: "a \"name\"\n".to_owned(),
        lane: "a".to_owned(),
        connections: 3,
        busy: 2,
    });
    let pair = [("blocker", "direct"), ("blocked", "a")];
    let direct = [
        ("user", "root"),
        ("application_name", "a \"name\"\n"),
        ("lane", "a"),
    ];
    let told = scrape(&view, &status);
    assert_eq!(told.value("pglanes_observer_up", &[]), Some(0.0));
    assert_eq!(told.value("pglanes_direct_connections", &direct), None);
    assert_eq!(
        told.value("pglanes_lane_blocked_seconds_total", &pair),
        Some(2.5)
    );
    view.observed.age = Some(Duration::ZERO);
    let told = scrape(&view, &status);
    assert_eq!(told.value("pglanes_observer_up", &[]), Some(1.0));
    assert_eq!(told.value("pglanes_direct_connections", &direct), Some(3.0));
    assert_eq!(
        told.value("pglanes_direct_connections_busy", &[]),
        Some(2.0)
    );
}
