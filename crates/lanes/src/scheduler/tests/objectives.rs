//! What an objective leaves other lanes: beside throttles, over reloads, by priority.

use super::*;
use crate::objective::{ObjectivePolicy, Phase, Target};
use crate::{Condition, Effect, Mode, Running, ThrottlePolicy};

/// An evaluation with an objective above compaction; nothing is known, so that compaction has one slot.
fn guarded() -> Policy {
    let mut lanes = policy(9, &[("evaluation", 4), ("compaction", 4)]);
    lanes.lanes[0].priority = 10;
    lanes.lanes[0].objective = Some(ObjectivePolicy {
        probe_every: Duration::ZERO,
        ..ObjectivePolicy::new(Target {
            quantile: 950,
            times: 1200,
        })
    });
    lanes
}

fn effective(world: &World) -> u32 {
    world.scheduler.snapshot(world.now).lanes[1].effective
}

#[test]
fn a_reload_that_takes_the_objective_away_holds_nobody_back() {
    let mut world = World::new(guarded());
    assert_eq!(effective(&world), 4, "the evaluation rests");
    let _evaluation = world.start(1, 0);
    let _first = world.start(2, 1);
    assert_eq!(world.ask(3, 1), []);
    assert_eq!(effective(&world), 1);
    let snapshot = world.scheduler.snapshot(world.now);
    assert_eq!(snapshot.objectives[0].phase, Phase::Learning);
    assert_eq!(
        snapshot.lanes[1].throttled_by,
        ["objective of evaluation".to_owned()]
    );
    let mut without = guarded();
    without.lanes[0].objective = None;
    let outputs = world.tell(Input::Reload { policy: without });
    assert!(
        matches!(outputs[..], [Output::Open { .. }]),
        "who waited is served: {outputs:?}"
    );
    assert_eq!(effective(&world), 4);
    assert!(
        world.scheduler.snapshot(world.now).lanes[1]
            .throttled_by
            .is_empty()
    );
}

#[test]
fn of_a_throttle_and_an_objective_the_strictest_holds() {
    for (slots, expected) in [(0, 0), (3, 1)] {
        let mut lanes = guarded();
        lanes.throttles = vec![ThrottlePolicy {
            name: "yields".into(),
            watch: LaneId(0),
            condition: Condition::Busy,
            linger: Duration::ZERO,
            lane: LaneId(1),
            effect: Effect::Slots(slots),
            running: Running::Finish,
            counts_direct: false,
            lowers: false,
            mode: Mode::Enforce,
        }];
        let mut world = World::new(lanes);
        let _evaluation = world.start(1, 0);
        assert_eq!(effective(&world), expected);
    }
}

#[test]
fn a_lane_of_the_same_priority_is_not_held_back() {
    let mut lanes = guarded();
    lanes.lanes[1].priority = 10;
    let mut world = World::new(lanes);
    let _evaluation = world.start(1, 0);
    assert_eq!(effective(&world), 4);
    assert_eq!(world.scheduler.snapshot(world.now).objectives[0].lanes, []);
}
