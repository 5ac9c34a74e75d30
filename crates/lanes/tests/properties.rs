//! Any sequence of inputs, against a plain model of what may come out.
//!
//! The model keeps what an owner knows (who waits, which connections there are and in what state) and checks each output
//! as it comes; it shares no code with the scheduler.

mod model;

use std::time::Duration;

use model::{Act, World, millis};
use pglanes_lanes::objective::{ObjectivePolicy, Target};
use pglanes_lanes::{
    Action, CapPolicy, ClientKey, Condition, Effect, LaneId, LanePolicy, Mode, Policy, QueueOrder,
    RulePolicy, Running, Supply, ThrottlePolicy, When,
};
use proptest::prelude::*;

const LANES: u16 = 4;
const POOLS: u32 = 3;

fn objective() -> impl Strategy<Value = ObjectivePolicy> {
    let mode =
        prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Observe), 1 => Just(Mode::Off)];
    (0..300_u64, 0..50_u64, 1..20_u64, mode, 0..LANES).prop_map(
        |(linger, every, length, mode, exempt)| ObjectivePolicy {
            linger: millis(linger),
            probe_every: millis(every * 10),
            probe_length: millis(length),
            exempt: vec![LaneId(exempt)],
            mode,
            ..ObjectivePolicy::new(Target {
                quantile: 500,
                times: 1200,
            })
        },
    )
}

fn lane() -> impl Strategy<Value = LanePolicy> {
    (
        prop::option::weighted(0.3, objective()),
        0..3_u32,
        1..5_u32,
        0..3_i32,
        1..4_u32,
        0..12_usize,
        5..200_u64,
        (0..4_u32, 0..4_u32, 0..40_u64, any::<bool>()),
        (prop::collection::vec(rule(), 0..3), 0..60_u64),
    )
        .prop_map(
            |(
                objective,
                min,
                max,
                priority,
                weight,
                queue_length,
                timeout,
                client,
                (rules, grace),
            )| {
                LanePolicy {
                    objective,
                    rules,
                    preemptible: Some(millis(grace)).filter(|_| grace < 30),
                    caps: CapPolicy {
                        per_user: Some(client.0).filter(|&slots| slots > 0),
                        per_application: Some(client.1).filter(|&slots| slots > 0),
                    },
                    queue_notice: millis(client.2),
                    queue_order: match client.3 {
                        true => QueueOrder::Service,
                        false => QueueOrder::Arrival,
                    },
                    min: min.min(max),
                    priority,
                    weight,
                    queue_length,
                    queue_timeout: millis(timeout),
                    idle_timeout: millis(40 + timeout),
                    server_lifetime: millis(400),
                    ..LanePolicy::new("lane", max)
                }
            },
        )
}

fn rule() -> impl Strategy<Value = RulePolicy> {
    let when = prop_oneof![
        (0..60_u64).prop_map(|after| When::Running(millis(after))),
        (0..60_u64).prop_map(|after| When::Queued(millis(after))),
        Just(When::Rows(1)),
    ];
    let then = prop_oneof![
        Just(Action::Log),
        Just(Action::Cancel),
        Just(Action::Reject),
        Just(Action::Move(LaneId(0))),
    ];
    let name = "rule".to_owned();
    (when, then).prop_map(move |(when, then)| RulePolicy {
        name: name.clone(),
        when,
        then,
    })
}

fn throttle() -> impl Strategy<Value = ThrottlePolicy> {
    let condition = prop_oneof![
        Just(Condition::Busy),
        Just(Condition::Connected),
        Just(Condition::Leased)
    ];
    let effect = prop_oneof![
        (0..3_u32).prop_map(Effect::Slots),
        (0..101_u8).prop_map(Effect::DutyCycle),
        Just(Effect::All)
    ];
    let running = prop_oneof![
        Just(Running::Finish),
        (0..60_u64).prop_map(|after| Running::CancelAfter(millis(after)))
    ];
    let mode =
        prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Observe), 1 => Just(Mode::Off)];
    (
        0..LANES,
        0..LANES,
        condition,
        0..50_u64,
        effect,
        running,
        any::<(bool, bool)>(),
        mode,
    )
        .prop_map(
            |(watch, lane, condition, linger, effect, running, (counts_direct, lowers), mode)| {
                ThrottlePolicy {
                    name: format!("{watch} over {lane}"),
                    watch: LaneId(watch),
                    condition,
                    linger: millis(linger),
                    lane: LaneId(lane),
                    effect,
                    running,
                    counts_direct,
                    lowers,
                    mode,
                }
            },
        )
}

fn policy() -> impl Strategy<Value = Policy> {
    let lanes = prop::collection::vec(lane(), LANES as usize);
    let throttles = prop::collection::vec(throttle(), 0..3);
    (2..9_u32, lanes, throttles, 0..30_u64).prop_map(|(total_slots, lanes, throttles, ageing)| {
        let mut policy = Policy {
            lanes,
            throttles,
            ageing: millis(ageing),
            ..Policy::new(total_slots)
        };
        // What a configuration may say: a slot is left to lanes without a minimum.
        while policy.lanes.iter().map(|lane| lane.min).sum::<u32>() >= total_slots {
            for lane in &mut policy.lanes {
                lane.min = lane.min.saturating_sub(1);
            }
        }
        policy
    })
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..64_usize;
    prop_oneof![
        10 => (0..LANES, 0..POOLS, 0..4_u64, 0..4_u64).prop_map(|(lane, pool, user, application)| {
            let client = ClientKey { user, application };
            Act::Request { lane, pool, client }
        }),
        1 => which.clone().prop_map(Act::Withdraw),
        8 => which.clone().prop_map(Act::Release),
        8 => which.clone().prop_map(Act::Opened),
        1 => (which.clone(), any::<bool>()).prop_map(|(which, reject)| Act::OpenFailed { which, reject }),
        2 => which.clone().prop_map(Act::Keep),
        2 => which.clone().prop_map(Act::Resume),
        2 => which.clone().prop_map(Act::Spare),
        2 => (which.clone(), 0..4_u16).prop_map(|(which, rule)| Act::Met { which, rule }),
        1 => which.prop_map(Act::Closed),
        1 => (0..LANES, any::<bool>()).prop_map(|(lane, opens)| Act::Session { lane, opens }),
        1 => (0..LANES, any::<bool>()).prop_map(|(lane, taken)| Act::Lease { lane, taken }),
        1 => (0..POOLS).prop_map(Act::Flush),
        3 => (0..LANES, 0..POOLS).prop_map(|(lane, pool)| Act::Adopt { lane, pool }),
        1 => (0..POOLS, any::<bool>()).prop_map(|(pool, adopted)| Act::Supply {
            pool,
            supply: if adopted { Supply::Adopted } else { Supply::Opened },
        }),
        4 => (0..60_u64).prop_map(Act::Pass),
    ]
}

/// What a run may do when nothing ever fails to open, and every pool can be opened.
fn calm(act: &Act) -> bool {
    !matches!(
        act,
        Act::OpenFailed { .. } | Act::Closed(_) | Act::Supply { .. }
    )
}

/// 300 cases of each property, or as many as `PROPTEST_CASES` says: a hunt takes a hundred thousand.
fn config() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = ProptestConfig::default();
    let cases = if asked { config.cases } else { 300 };
    // Acts that are left out of a calm run add up over the cases.
    let max_local_rejects = u32::MAX;
    ProptestConfig {
        cases,
        max_local_rejects,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_output_is_allowed_and_every_ticket_is_answered_once(
        policy in policy(),
        acts in prop::collection::vec(act(), 0..150),
    ) {
        let mut world = World::new(policy);
        for act in acts {
            world.act(act);
        }
        world.drain();
    }

    #[test]
    fn a_lane_is_served_in_order_of_arrival_over_its_pools(
        policy in policy(),
        acts in prop::collection::vec(act().prop_filter("calm", calm), 0..150),
    ) {
        let mut world = World::new(policy);
        world.check_lane_order = true;
        for act in acts {
            world.act(act);
        }
        world.drain();
    }

    #[test]
    fn with_patience_nobody_is_left_and_nobody_is_rejected(
        mut policy in policy(),
        acts in prop::collection::vec(act().prop_filter("calm", calm), 0..120),
    ) {
        for lane in &mut policy.lanes {
            lane.queue_timeout = Duration::ZERO;
            lane.queue_length = usize::MAX;
            lane.rules.clear();
        }
        let mut world = World::new(policy);
        for act in acts {
            world.act(act);
        }
        world.drain();
        prop_assert_eq!(world.rejected, 0);
    }

    #[test]
    fn a_reload_at_any_moment_keeps_every_promise(
        policies in prop::collection::vec(policy(), 1..4),
        acts in prop::collection::vec(act(), 30..120),
    ) {
        let mut world = World::new(policies[0].clone());
        let every = acts.len() / policies.len() + 1;
        for (count, act) in acts.into_iter().enumerate() {
            if count % every == 0 {
                let mut policy = policies[count / every].clone();
                for lane in &mut policy.lanes {
                    lane.epoch = (count % 3) as u64;
                }
                world.reload(policy);
            }
            world.act(act);
        }
        world.drain();
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(
        policy in policy(),
        acts in prop::collection::vec(act(), 0..100),
    ) {
        let mut worlds = [World::new(policy.clone()), World::new(policy)];
        for act in acts {
            worlds.iter_mut().for_each(|world| world.act(act));
        }
        let [first, second] = worlds;
        prop_assert_eq!(first.trace, second.trace);
    }
}
