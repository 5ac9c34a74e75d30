//! Throttles: begin, hold, cancel, end.

use super::*;
use crate::{Condition, Effect, Mode, Running, ThrottlePolicy};

fn throttled(change: impl FnOnce(&mut ThrottlePolicy)) -> World {
    let mut lanes = policy(9, &[("evaluation", 4), ("compaction", 4)]);
    for lane in &mut lanes.lanes {
        lane.queue_timeout = Duration::ZERO;
        lane.idle_timeout = Duration::ZERO;
        lane.server_lifetime = Duration::ZERO;
    }
    let mut throttle = ThrottlePolicy {
        name: "yields".into(),
        watch: LaneId(0),
        condition: Condition::Busy,
        linger: MS * 20,
        lane: LaneId(1),
        effect: Effect::Slots(0),
        running: Running::Finish,
        counts_direct: false,
        lowers: false,
        mode: Mode::Enforce,
    };
    change(&mut throttle);
    lanes.throttles = vec![throttle];
    World::new(lanes)
}

#[test]
fn work_is_held_while_the_lane_is_busy_and_lingers_and_resumes_then() {
    let mut world = throttled(|_| {});
    let evaluation = world.start(1, 0);
    assert_eq!(world.ask(2, 1), []);
    let lane = &world.scheduler.snapshot(world.now).lanes[1];
    assert_eq!((lane.effective, lane.throttled_by.len()), (0, 1));
    world.pass(MS * 5);
    world.release(evaluation);
    assert_eq!(world.until_timeout(), Some(MS * 20));
    assert_eq!(world.pass(MS * 19), []);
    let server = opened_in(&world.pass(MS));
    assert_eq!(world.open(server), [grant(2, server)]);
    let snapshot = world.scheduler.snapshot(world.now);
    assert_eq!(snapshot.lanes[1].throttled_total, MS * 25);
    assert_eq!(snapshot.throttles[0].held_back, 1);
}

#[test]
fn a_connection_that_opens_under_a_throttle_waits_with_its_transaction() {
    let mut world = throttled(|throttle| throttle.linger = Duration::ZERO);
    let server = opened_in(&world.ask(1, 1));
    let evaluation = world.start(2, 0);
    assert_eq!(world.open(server), []);
    assert_eq!(world.release(evaluation), [grant(1, server)]);
}

#[test]
fn a_waiting_transaction_of_the_watched_lane_counts() {
    let mut world = throttled(|throttle| throttle.linger = Duration::ZERO);
    let opening = opened_in(&world.ask(1, 0));
    assert_eq!(world.ask(2, 1), []);
    let ticket = TicketId(1);
    opened_in(&world.tell(Input::Withdraw { ticket }));
    assert_eq!(world.open(opening), []);
}

#[test]
fn sessions_and_leases_make_a_lane_active() {
    let lane = LaneId(0);
    let mut world = throttled(|throttle| throttle.condition = Condition::Connected);
    world.tell(Input::SessionOpened { lane });
    assert_eq!(world.ask(1, 1), []);
    assert_eq!(world.tell(Input::SessionClosed { lane }), []);
    opened_in(&world.pass(MS * 20));

    let mut world = throttled(|throttle| throttle.condition = Condition::Leased);
    world.tell(Input::LeaseTaken { lane });
    world.tell(Input::LeaseTaken { lane });
    assert_eq!(world.ask(1, 1), []);
    assert_eq!(world.tell(Input::LeaseEnded { lane }), []);
    assert_eq!(world.tell(Input::LeaseEnded { lane }), []);
    opened_in(&world.pass(MS * 20));
}

#[test]
fn running_work_is_cancelled_once_and_only_above_the_slots_left() {
    let mut world = throttled(|throttle| {
        throttle.effect = Effect::Slots(1);
        throttle.running = Running::CancelAfter(MS * 50);
    });
    let first = world.start(1, 1);
    world.pass(MS * 30);
    world.start(2, 1);
    world.start(3, 0);
    assert_eq!(world.until_timeout(), Some(MS * 50));
    let cancel = Output::CancelRunning {
        server: first,
        throttle: 0,
    };
    assert_eq!(world.pass(MS * 50), [cancel]);
    assert_eq!(world.until_timeout(), None);
    assert_eq!(world.pass(MS * 500), []);
    assert_eq!(world.scheduler.snapshot(world.now).lanes[1].busy, 2);
    assert_eq!(world.release(first), []);
}

#[test]
fn a_duty_cycle_opens_for_its_share() {
    let mut world = throttled(|throttle| throttle.effect = Effect::DutyCycle(25));
    world.start(1, 0);
    assert_eq!(world.ask(2, 1), []);
    assert_eq!(world.until_timeout(), Some(MS * 750));
    let server = opened_in(&world.pass(MS * 750));
    world.open(server);
    world.pass(MS * 250);
    // Closed again: what runs finishes, nothing new begins.
    assert_eq!(world.ask(3, 1), []);
    assert_eq!(world.release(server), []);
    assert_eq!(world.pass(MS * 750), [grant(3, server)]);
}

#[test]
fn an_observed_throttle_counts_and_holds_nothing() {
    let mut world = throttled(|throttle| throttle.mode = Mode::Observe);
    world.start(1, 0);
    world.start(2, 1);
    let snapshot = world.scheduler.snapshot(world.now);
    assert_eq!(snapshot.throttles[0].held_back, 1);
    assert_eq!(snapshot.lanes[1].throttled_total, Duration::ZERO);
    let mut world = throttled(|throttle| throttle.mode = Mode::Off);
    world.start(1, 0);
    world.start(2, 1);
    assert_eq!(
        world.scheduler.snapshot(world.now).throttles[0].held_back,
        0
    );
}

#[test]
fn a_throttle_wins_over_the_minimum_and_what_it_takes_is_others_to_use() {
    let mut lanes = policy(2, &[("evaluation", 2), ("compaction", 1)]);
    lanes.lanes[1].min = 1;
    lanes.throttles = vec![ThrottlePolicy {
        name: "yields".into(),
        watch: LaneId(0),
        condition: Condition::Busy,
        linger: Duration::ZERO,
        lane: LaneId(1),
        effect: Effect::Slots(0),
        running: Running::Finish,
        counts_direct: false,
        lowers: false,
        mode: Mode::Enforce,
    }];
    let mut world = World::new(lanes);
    let first = world.start(1, 0);
    let second = world.start(2, 0);
    assert_eq!(world.ask(3, 1), []);
    world.release(first);
    let outputs = world.release(second);
    assert_eq!(outputs[0], Output::Close { server: first });
    opened_in(&outputs);
}

#[test]
fn how_long_a_throttle_was_active_is_told_while_it_is_and_afterwards() {
    let mut world = throttled(|throttle| throttle.linger = Duration::ZERO);
    let active = |world: &World| world.scheduler.snapshot(world.now).throttles[0].active_total;
    world.pass(MS * 5);
    assert_eq!(active(&world), Duration::ZERO);
    let server = world.start(1, 0);
    world.pass(MS * 3);
    assert_eq!(active(&world), MS * 3);
    world.release(server);
    world.pass(MS * 9);
    assert_eq!(active(&world), MS * 3);
    world.ask(2, 0);
    world.pass(MS * 4);
    assert_eq!(active(&world), MS * 7);
}

#[test]
fn a_reload_that_removes_a_throttle_leaves_nobody_stranded() {
    let mut lanes = policy(9, &[("evaluation", 4), ("compaction", 4)]);
    let mut world = throttled(|_| {});
    world.start(1, 0);
    assert_eq!(world.ask(2, 1), []);
    lanes.throttles.clear();
    opened_in(&world.tell(Input::Reload { policy: lanes }));
}

#[test]
fn lanes_that_throttle_each_other_do_not_lock() {
    let mut lanes = policy(9, &[("a", 4), ("b", 4)]);
    let throttle = |watch, lane| ThrottlePolicy {
        name: format!("{watch} over {lane}"),
        watch: LaneId(watch),
        condition: Condition::Busy,
        linger: Duration::ZERO,
        lane: LaneId(lane),
        effect: Effect::Slots(0),
        running: Running::Finish,
        counts_direct: false,
        lowers: false,
        mode: Mode::Enforce,
    };
    lanes.throttles = vec![throttle(0, 1), throttle(1, 0)];
    let mut world = World::new(lanes);
    let first = world.start(1, 0);
    assert_eq!(world.ask(2, 1), []);
    world.start(3, 0);
    let snapshot = world.scheduler.snapshot(world.now);
    assert_eq!(snapshot.throttles[1].mode, Mode::Observe);
    world.release(first);
}

#[test]
fn who_goes_past_counts_where_the_throttle_says_so() {
    let see = |busy| Input::Direct {
        lane: LaneId(0),
        sessions: 1,
        busy,
    };
    let mut world = throttled(|throttle| throttle.counts_direct = true);
    world.tell(see(1));
    assert_eq!(world.ask(1, 1), []);
    world.tell(see(0));
    assert_eq!(world.until_timeout(), Some(MS * 20));
    assert_eq!(world.pass(MS * 19), []);
    opened_in(&world.pass(MS));
    let mut world = throttled(|_| {});
    world.tell(see(1));
    opened_in(&world.ask(1, 1));
    let mut world = throttled(|throttle| {
        throttle.counts_direct = true;
        throttle.condition = Condition::Connected;
    });
    world.tell(see(0));
    assert_eq!(world.ask(1, 1), []);
}

#[test]
fn lowering_is_told_when_it_begins_and_when_it_ends() {
    let told = [Output::Lowering { throttle: 0 }];
    let mut world = throttled(|throttle| {
        throttle.lowers = true;
        throttle.effect = Effect::All;
    });
    assert!(!world.scheduler.lowers(0));
    world.tell(Input::LeaseTaken { lane: LaneId(0) });
    let server = opened_in(&world.ask(1, 1));
    assert_eq!(world.open(server), [grant(1, server)]);
    let see = |busy| Input::Direct {
        lane: LaneId(0),
        sessions: 1,
        busy,
    };
    assert_eq!(world.tell(see(1)), []);
    let mut world = throttled(|throttle| {
        throttle.lowers = true;
        throttle.effect = Effect::All;
        throttle.counts_direct = true;
    });
    assert_eq!(world.tell(see(1)), told);
    assert!(world.scheduler.lowers(0));
    // It takes no slot.
    opened_in(&world.ask(1, 1));
    assert_eq!(world.tell(see(0)), []);
    assert_eq!(world.pass(MS * 20), told);
    assert!(!world.scheduler.lowers(0) && !world.scheduler.lowers(7));
}
