//! Ten million transactions through the real scheduler, in no real time: how fast it decides.
//!
//! `cargo run --release -p pglanes-lanes --features sim --example ten_million [transactions]`
#![allow(
    clippy::disallowed_methods,
    reason = "it measures how long itself takes"
)]

use std::time::{Duration, Instant};

use pglanes_lanes::sim::{Arrivals, Load, Report, Simulation, Span};
use pglanes_lanes::{
    Action, CapPolicy, ClientKey, Condition, Effect, LaneId, LanePolicy, Mode, Policy, PoolId,
    RulePolicy, Running, ThrottlePolicy, When,
};

const MS: Duration = Duration::from_millis(1);
/// What the loads below finish in a second of their time, about.
const PER_SECOND: u64 = 4_600;

fn lane(name: &str, priority: i32, min: u32, max: u32) -> LanePolicy {
    LanePolicy {
        priority,
        min,
        queue_timeout: Duration::from_secs(600),
        ..LanePolicy::new(name, max)
    }
}

/// A protected lane, a searching one of two users, and a compacting one that yields.
fn policy(features: bool) -> Policy {
    let mut policy = Policy::new(16);
    policy.lanes = vec![
        lane("evaluation", 100, 4, 12),
        lane("ltst", 0, 1, 12),
        lane("compaction", -10, 0, 2),
    ];
    policy.throttles = vec![ThrottlePolicy {
        name: "compaction yields".into(),
        watch: LaneId(0),
        condition: Condition::Busy,
        linger: MS * 20,
        lane: LaneId(2),
        effect: Effect::Slots(1),
        running: Running::CancelAfter(MS * 200),
        mode: Mode::Enforce,
        counts_direct: false,
        lowers: false,
    }];
    if features {
        policy.lanes[1].caps = CapPolicy {
            per_user: Some(8),
            per_application: Some(6),
        };
        policy.lanes[1].preemptible = Some(MS * 20);
        policy.lanes[1].rules = vec![RulePolicy {
            name: "long".into(),
            when: When::Running(MS * 60),
            then: Action::Log,
        }];
        policy.lanes[1].queue_notice = Duration::from_secs(1);
    }
    policy
}

fn load(lane: u16, clients: u32, user: u64, think: Duration, service: Duration) -> Load {
    Load {
        lane: LaneId(lane),
        pool: PoolId(user as u32),
        client: ClientKey {
            user,
            application: 1 + user % 2,
        },
        arrivals: Arrivals::Closed {
            clients,
            think: Span::Exponential(think),
        },
        service: Span::Exponential(service),
    }
}

fn run(transactions: u64, features: bool) -> (Report, Duration) {
    let simulation = Simulation {
        policy: policy(features),
        loads: vec![
            load(0, 8, 1, MS * 4, MS),
            load(1, 40, 2, MS * 10, MS * 3),
            load(1, 10, 3, MS * 10, MS * 3),
            load(2, 3, 4, MS, MS * 30),
        ],
        open: Span::Constant(MS * 3),
        seed: 7,
        length: Duration::from_secs(transactions / PER_SECOND),
    };
    let start = Instant::now();
    (simulation.run(), start.elapsed())
}

fn main() {
    let asked = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let transactions = asked.unwrap_or(10_000_000);
    for (features, what) in [
        (false, "lanes and throttles"),
        (true, "caps, rules, notices, preemption too"),
    ] {
        let (report, took) = run(transactions, features);
        let loads = report.loads.iter();
        let done: u64 = loads
            .map(|load| load.finished + load.cancelled + load.rejected)
            .sum();
        let seconds = took.as_secs_f64();
        println!(
            "{what}: {done} transactions in {seconds:.2} s, {:.0} a second, {} steps, {:.0} ns each",
            done as f64 / seconds,
            report.steps,
            seconds * 1e9 / report.steps as f64,
        );
    }
}
