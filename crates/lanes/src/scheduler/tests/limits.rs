//! Maxima, minima, the total, queues, reaping and reload.

use super::*;
use crate::Mode;

#[test]
fn an_unfilled_minimum_is_left_to_its_lane() {
    let mut lanes = policy(3, &[("guarded", 3), ("greedy", 3)]);
    lanes.lanes[0].min = 1;
    let mut world = World::new(lanes);
    world.start(1, 1);
    let second = world.start(2, 1);
    assert_eq!(world.ask(3, 1), []);
    world.start(4, 0);
    // Within its minimum it was served at once; above it, it waits like others.
    assert_eq!(world.ask(5, 0), []);
    assert_eq!(world.release(second), [grant(3, second)]);
}

#[test]
fn idle_connections_of_others_never_stand_in_the_way() {
    let mut world = World::new(policy(2, &[("a", 2), ("b", 2)]));
    let (first, second) = (world.start(1, 0), world.start(2, 0));
    world.pass(MS);
    world.release(second);
    world.pass(MS);
    world.release(first);
    // The least recently used goes.
    let outputs = world.ask(3, 1);
    assert_eq!(outputs[0], Output::Close { server: second });
    opened_in(&outputs);
    let closings = world.scheduler.snapshot(world.now).closings;
    assert_eq!(closings.map(|(_, count)| count), [0, 0, 1, 0]);
    assert_eq!(closings[2].0.label(), "room");
    // What was closed is forgotten at once.
    assert_eq!(world.scheduler.lane_of(second), None);
    assert_eq!(world.tell(Input::Closed { server: second }), []);
}

#[test]
fn a_full_queue_answers_at_once_and_connections_on_their_way_do_not_count() {
    let mut lanes = policy(2, &[("a", 1)]);
    lanes.lanes[0].queue_length = 1;
    let mut world = World::new(lanes);
    let server = opened_in(&world.ask(1, 0));
    assert_eq!(world.ask(2, 0), []);
    let full = Rejection::QueueFull { length: 1 };
    assert_eq!(world.ask(3, 0), [reject(3, 0, full)]);
    assert_eq!(world.open(server), [grant(1, server)]);
}

#[test]
fn the_bound_over_all_lanes_holds_where_a_lane_has_none() {
    let mut lanes = policy(1, &[("a", 1)]);
    lanes.lanes[0].mode = Mode::Off;
    lanes.max_waiting = 2;
    let mut world = World::new(lanes);
    world.start(1, 0);
    world.ask(2, 0);
    world.ask(3, 0);
    let full = Rejection::QueueFull { length: 2 };
    assert_eq!(world.ask(4, 0), [reject(4, 0, full)]);
}

#[test]
fn a_wait_times_out_at_its_deadline_and_not_before() {
    let mut lanes = policy(1, &[("a", 1)]);
    lanes.lanes[0].queue_timeout = MS * 30;
    lanes.lanes[0].idle_timeout = Duration::ZERO;
    lanes.lanes[0].server_lifetime = Duration::ZERO;
    let mut world = World::new(lanes);
    let server = world.start(1, 0);
    world.ask(2, 0);
    assert_eq!(world.until_timeout(), Some(MS * 30));
    assert_eq!(world.pass(MS * 30 - Duration::from_nanos(1)), []);
    let timed_out = Rejection::TimedOut {
        waited: MS * 30,
        limit: MS * 30,
    };
    // A release at the same moment comes too late; there is one answer.
    world.now = world.now + Duration::from_nanos(1);
    assert_eq!(world.release(server), [reject(2, 0, timed_out)]);
    assert_eq!(world.until_timeout(), None);
}

#[test]
fn an_observed_lane_is_counted_and_not_held() {
    let mut lanes = policy(3, &[("a", 1)]);
    lanes.lanes[0].mode = Mode::Observe;
    lanes.lanes[0].queue_length = 0;
    lanes.lanes[0].queue_timeout = MS;
    let mut world = World::new(lanes);
    let server = world.start(1, 0);
    world.start(2, 0);
    world.start(3, 0);
    assert_eq!(world.ask(4, 0), []);
    assert_eq!(world.pass(MS * 5), []);
    assert_eq!(world.release(server), [grant(4, server)]);
    let lane = &world.scheduler.snapshot(world.now).lanes[0];
    assert_eq!(
        (lane.would_hold, lane.would_reject, lane.would_time_out),
        (3, 1, 1)
    );
}

#[test]
fn reaping_keeps_the_minimum_and_takes_the_coldest() {
    let mut lanes = policy(9, &[("a", 3), ("b", 1)]);
    lanes.lanes[0].min = 1;
    lanes.lanes[0].idle_timeout = MS * 10;
    let mut world = World::new(lanes);
    let servers = [world.start(1, 0), world.start(2, 0), world.start(3, 0)];
    for server in servers {
        world.release(server);
        world.pass(MS);
    }
    assert_eq!(world.until_timeout(), Some(MS * 7));
    assert_eq!(world.pass(MS * 7), [Output::Close { server: servers[0] }]);
    assert_eq!(
        world.pass(MS * 1000),
        [Output::Close { server: servers[1] }]
    );
    assert_eq!(world.ask(4, 0), [grant(4, servers[2])]);
}

#[test]
fn old_connections_close_when_idle_and_not_all_at_once() {
    let mut lanes = policy(9, &[("a", 9)]);
    lanes.lanes[0].server_lifetime = MS * 1000;
    lanes.lanes[0].idle_timeout = Duration::ZERO;
    let mut world = World::new(lanes);
    let busy = world.start(0, 0);
    let servers: Vec<ServerId> = (1..5).map(|ticket| world.start(ticket, 0)).collect();
    servers
        .iter()
        .for_each(|&server| drop(world.release(server)));
    let mut ends = Vec::new();
    while let Some(left) = world.until_timeout() {
        for output in world.pass(left) {
            ends.push((world.now, output));
        }
    }
    let first = ends.first().unwrap().0;
    assert!(first >= Time::ZERO + MS * 900 && world.now <= Time::ZERO + MS * 1000);
    assert!(first < ends.last().unwrap().0, "{ends:?}");
    assert_eq!(ends.len(), 4);
    assert_eq!(world.release(busy), [Output::Close { server: busy }]);
}

#[test]
fn a_reload_drains_shrunk_lanes_and_recycles_old_envelopes() {
    let mut lanes = policy(4, &[("a", 3), ("b", 1)]);
    let mut world = World::new(lanes.clone());
    let servers = [world.start(1, 0), world.start(2, 0), world.start(3, 0)];
    world.release(servers[0]);
    lanes.lanes[0].max = 1;
    let reload = |policy: &Policy| Input::Reload {
        policy: policy.clone(),
    };
    let close = |server| Output::Close { server };
    assert_eq!(world.tell(reload(&lanes)), [close(servers[0])]);
    assert_eq!(world.ask(4, 0), []);
    assert_eq!(world.release(servers[1]), [close(servers[1])]);
    assert_eq!(world.release(servers[2]), [grant(4, servers[2])]);
    lanes.lanes[0].epoch = 1;
    assert_eq!(world.tell(reload(&lanes)), []);
    assert_eq!(world.release(servers[2]), [close(servers[2])]);
}

#[test]
fn a_retired_lane_serves_what_waits_and_keeps_nothing() {
    let mut lanes = policy(4, &[("a", 1), ("b", 1)]);
    let mut world = World::new(lanes.clone());
    let server = world.start(1, 0);
    world.ask(2, 0);
    lanes.lanes[0].retired = true;
    lanes.lanes[0].max = 0;
    world.tell(Input::Reload { policy: lanes });
    assert_eq!(world.release(server), [grant(2, server)]);
    assert_eq!(world.release(server), [Output::Close { server }]);
}

#[test]
fn a_lowered_total_drains_and_a_raised_one_serves_at_once() {
    let mut lanes = policy(3, &[("a", 3), ("b", 3)]);
    let mut world = World::new(lanes.clone());
    let servers = [world.start(1, 0), world.start(2, 0), world.start(3, 0)];
    lanes.total_slots = 1;
    world.tell(Input::Reload {
        policy: lanes.clone(),
    });
    world.ask(4, 1);
    assert_eq!(
        world.release(servers[0]),
        [Output::Close { server: servers[0] }]
    );
    lanes.total_slots = 3;
    let outputs = world.tell(Input::Reload { policy: lanes });
    let server = opened_in(&outputs);
    assert_eq!(world.open(server), [grant(4, server)]);
}

#[test]
fn minima_above_the_total_still_leave_a_slot_to_borrow() {
    let mut lanes = policy(2, &[("a", 2), ("b", 2), ("c", 2)]);
    lanes.lanes[0].min = 2;
    lanes.lanes[1].min = 2;
    assert!(lanes.validate().is_err());
    let mut world = World::new(lanes);
    world.start(1, 2);
}

#[test]
fn a_flushed_pool_keeps_no_idle_connection() {
    let mut world = World::new(policy(4, &[("a", 2), ("b", 2)]));
    let (first, second) = (world.start_pool(1, 0, 5), world.start_pool(2, 1, 5));
    let other = world.start_pool(3, 1, 6);
    world.release(first);
    world.release(other);
    let flush = Input::FlushPool { pool: PoolId(5) };
    assert_eq!(world.tell(flush), [Output::Close { server: first }]);
    assert_eq!(world.release(second), []);
    assert_eq!(world.ask_pool(4, 1, 5), [grant(4, second)]);
}

#[test]
fn an_unknown_lane_is_answered_and_a_ticket_is_asked_for_once() {
    let mut world = World::new(policy(1, &[("a", 1)]));
    let full = Rejection::QueueFull { length: 0 };
    assert_eq!(world.ask(1, 9), [reject(1, 9, full)]);
    world.start(2, 0);
    world.ask(3, 0);
    assert_eq!(world.ask(3, 0), []);
    assert_eq!(world.scheduler.snapshot(world.now).waiting, 1);
}
