//! What the scheduler does over many transactions.

use super::*;
use crate::{Condition, Effect, LanePolicy, Mode, Running as Fate, ThrottlePolicy};

const MS: Duration = Duration::from_millis(1);

fn closed(lane: u16, clients: u32, think: Duration, service: Duration) -> Load {
    Load {
        lane: LaneId(lane),
        pool: PoolId(0),
        client: ClientKey::default(),
        arrivals: Arrivals::Closed {
            clients,
            think: Span::Exponential(think),
        },
        service: Span::Exponential(service),
    }
}

fn simulation(policy: Policy, loads: Vec<Load>, seconds: u64) -> Simulation {
    Simulation {
        policy,
        loads,
        open: Span::Constant(MS * 3),
        seed: 7,
        length: Duration::from_secs(seconds),
    }
}

/// The house of the design: a protected lane, a searching one and a compacting one.
fn house() -> Simulation {
    let mut policy = Policy::new(12);
    policy.lanes = vec![
        LanePolicy {
            min: 4,
            priority: 100,
            ..LanePolicy::new("evaluation", 10)
        },
        LanePolicy {
            min: 1,
            ..LanePolicy::new("ltst", 8)
        },
        LanePolicy::new("compaction", 2),
    ];
    policy.throttles = vec![ThrottlePolicy {
        name: "compaction yields".into(),
        watch: LaneId(0),
        condition: Condition::Busy,
        linger: MS * 20,
        lane: LaneId(2),
        effect: Effect::Slots(0),
        running: Fate::CancelAfter(MS * 200),
        counts_direct: false,
        lowers: false,
        mode: Mode::Enforce,
    }];
    let loads = vec![
        closed(0, 3, MS * 60, MS),
        closed(1, 30, MS, MS * 4),
        closed(2, 3, MS * 5, MS * 30),
    ];
    simulation(policy, loads, 20)
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_does_not() {
    let first = house().run();
    assert_eq!(first, house().run());
    let other = Simulation { seed: 8, ..house() };
    assert_ne!(first.trace, other.run().trace);
}

#[test]
fn the_protected_lane_waits_little_and_the_others_still_work() {
    let report = house().run();
    let [evaluation, ltst, compaction] = &report.loads[..] else {
        panic!("three loads");
    };
    assert!(evaluation.wait_p95 < MS * 4, "{evaluation:?}");
    assert!(
        ltst.finished > 10_000 && compaction.finished > 20,
        "{report:?}"
    );
    assert!(report.loads.iter().all(|load| load.rejected == 0));
}

#[test]
fn two_hundred_thousand_transactions_end_as_they_should() {
    let report = Simulation {
        length: Duration::from_secs(130),
        ..house()
    }
    .run();
    let ended: u64 = report
        .loads
        .iter()
        .map(|load| load.finished + load.rejected + load.cancelled)
        .sum();
    assert!(ended > 200_000, "{ended}");
    // Connections are kept, not reopened for every transaction.
    assert!(
        report.opens < ended / 20,
        "{} opens for {ended}",
        report.opens
    );
}

#[test]
fn equals_share_by_weight_without_reopening_for_each() {
    let mut policy = Policy::new(8);
    policy.ageing = Duration::from_secs(60);
    policy.lanes = vec![
        LanePolicy {
            weight: 3,
            ..LanePolicy::new("heavy", 8)
        },
        LanePolicy::new("light", 8),
    ];
    let loads = vec![closed(0, 40, MS, MS * 2), closed(1, 40, MS, MS * 2)];
    let report = simulation(policy, loads, 20).run();
    let ratio = report.loads[0].finished as f64 / report.loads[1].finished as f64;
    assert!((2.7..3.3).contains(&ratio), "{ratio}");
    let ended = report.loads[0].finished + report.loads[1].finished;
    assert!(
        report.opens < ended / 8,
        "{} opens for {ended}",
        report.opens
    );
}

#[test]
fn ageing_bounds_the_wait_of_the_lowest() {
    let mut policy = Policy::new(2);
    policy.ageing = MS * 20;
    policy.lanes = vec![
        LanePolicy {
            priority: 10,
            queue_timeout: Duration::ZERO,
            ..LanePolicy::new("high", 2)
        },
        LanePolicy {
            queue_timeout: Duration::ZERO,
            ..LanePolicy::new("low", 2)
        },
    ];
    // The high lane alone would keep both slots busy for ever.
    let loads = vec![closed(0, 8, MS, MS * 2), closed(1, 1, MS, MS * 2)];
    let report = simulation(policy, loads, 30).run();
    let low = &report.loads[1];
    assert!(low.finished > 50, "{low:?}");
    // (10 - 0 + 1) steps, and the few that waited longer or were running.
    assert!(low.wait_max <= MS * 20 * 11 + MS * 60, "{low:?}");
}

#[test]
fn who_is_not_capped_waits_for_no_more_than_the_cap_of_each_greedy_client() {
    let mut policy = Policy::new(4);
    policy.lanes = vec![LanePolicy::new("shared", 4)];
    policy.lanes[0].caps.per_user = Some(2);
    let service = MS * 2;
    let load = |user, clients, think| Load {
        lane: LaneId(0),
        pool: PoolId(0),
        client: ClientKey {
            user,
            application: 0,
        },
        arrivals: Arrivals::Closed {
            clients,
            think: Span::Exponential(think),
        },
        service: Span::Constant(service),
    };
    let loads = vec![load(1, 50, MS), load(2, 50, MS), load(3, 1, MS * 5)];
    let report = simulation(policy, loads, 20).run();
    let modest = &report.loads[2];
    assert!(modest.finished > 1000, "{modest:?}");
    // Two of each greedy client run before it, and no more of them come first.
    assert!(modest.wait_max <= service, "{modest:?}");
    let shares = report.loads[0].finished as f64 / report.loads[1].finished as f64;
    assert!((0.95..1.05).contains(&shares), "{shares}");
}
