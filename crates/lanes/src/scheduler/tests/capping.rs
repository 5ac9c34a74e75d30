//! Caps: one client does not take its lane. And what those are told who wait.

use super::*;
use crate::{Cap, CapPolicy, ClientKey, Mode};

/// A lane of three slots of which a user may have two, and an application one where it says so.
fn capped(per_user: Option<u32>, per_application: Option<u32>) -> World {
    let mut policy = policy(9, &[("a", 3)]);
    policy.lanes[0].caps = CapPolicy {
        per_user,
        per_application,
    };
    World::new(policy)
}

fn ask(world: &mut World, ticket: u64, user: u64, application: u64) -> Vec<Output> {
    world.tell(Input::Request {
        ticket: TicketId(ticket),
        lane: LaneId(0),
        pool: PoolId(0),
        client: ClientKey { user, application },
        turn: Turn::default(),
    })
}

fn start(world: &mut World, ticket: u64, user: u64, application: u64) -> ServerId {
    let outputs = ask(world, ticket, user, application);
    if let [Output::Grant { server, .. }] = outputs[..] {
        return server;
    }
    let server = opened_in(&outputs);
    assert_eq!(world.open(server), [grant(ticket, server)]);
    server
}

#[test]
fn one_client_waits_behind_its_cap_and_in_nobodys_way() {
    let mut world = capped(Some(2), None);
    let first = start(&mut world, 1, 7, 0);
    start(&mut world, 2, 7, 0);
    assert_eq!(ask(&mut world, 3, 7, 0), [], "two are what one may have");
    let other = start(&mut world, 4, 8, 0);
    assert_eq!(world.release(other), [], "the third slot is not for it");
    assert_eq!(world.release(first), [grant(3, first)]);
    let lane = &world.scheduler.snapshot(world.now).lanes[0];
    assert_eq!((lane.capped, lane.held_by_user_cap), (0, 1));
}

#[test]
fn who_comes_from_behind_a_cap_joins_the_queue_last() {
    let mut world = capped(Some(1), None);
    let first = start(&mut world, 1, 7, 0);
    let second = start(&mut world, 2, 8, 0);
    let third = start(&mut world, 3, 9, 0);
    assert_eq!(ask(&mut world, 4, 7, 0), []);
    assert_eq!(ask(&mut world, 5, 5, 0), []);
    assert_eq!(ask(&mut world, 6, 6, 0), []);
    // Its client's slot goes to those who contended before it did.
    assert_eq!(world.release(first), [grant(5, first)]);
    assert_eq!(world.release(second), [grant(6, second)]);
    assert_eq!(world.release(third), [grant(4, third)]);
}

#[test]
fn both_caps_hold_at_once() {
    let mut world = capped(Some(2), Some(1));
    let first = start(&mut world, 1, 7, 1);
    assert_eq!(
        ask(&mut world, 2, 8, 1),
        [],
        "another user, the same application"
    );
    let second = start(&mut world, 3, 7, 2);
    assert_eq!(
        ask(&mut world, 4, 7, 3),
        [],
        "the same user, another application"
    );
    assert_eq!(world.release(second), [grant(4, second)]);
    assert_eq!(world.release(first), [grant(2, first)]);
}

#[test]
fn a_client_fills_its_own_line_and_not_the_queue() {
    let mut policy = policy(9, &[("a", 3)]);
    policy.lanes[0].caps.per_user = Some(1);
    policy.lanes[0].queue_length = 1;
    let mut world = World::new(policy);
    start(&mut world, 1, 7, 0);
    assert_eq!(ask(&mut world, 2, 7, 0), []);
    let reason = Rejection::Capped {
        cap: Cap::User,
        slots: 1,
        length: 1,
    };
    assert_eq!(ask(&mut world, 3, 7, 0), [reject(3, 0, reason)]);
    start(&mut world, 4, 8, 0);
    start(&mut world, 5, 9, 0);
    assert_eq!(
        ask(&mut world, 6, 5, 0),
        [],
        "the lane's own queue is empty"
    );
}

#[test]
fn an_observed_cap_counts_and_holds_nothing_and_one_that_is_off_does_neither() {
    for (mode, counted) in [(Mode::Observe, 1), (Mode::Off, 0)] {
        let mut policy = policy(9, &[("a", 3)]);
        policy.lanes[0].caps.per_user = Some(1);
        policy.lanes[0].mode = mode;
        let mut world = World::new(policy);
        start(&mut world, 1, 7, 0);
        start(&mut world, 2, 7, 0);
        let lane = &world.scheduler.snapshot(world.now).lanes[0];
        assert_eq!(lane.held_by_user_cap, counted);
    }
}

#[test]
fn a_reload_lets_through_whom_the_cap_no_longer_holds() {
    let mut world = capped(Some(1), None);
    start(&mut world, 1, 7, 0);
    assert_eq!(ask(&mut world, 2, 7, 0), []);
    assert_eq!(ask(&mut world, 3, 7, 0), []);
    let mut policy = policy(9, &[("a", 3)]);
    policy.lanes[0].caps.per_user = Some(2);
    let outputs = world.tell(Input::Reload { policy });
    let second = opened_in(&outputs);
    assert_eq!(world.open(second), [grant(2, second)]);
    let policy = super::policy(9, &[("a", 3)]);
    let third = opened_in(&world.tell(Input::Reload { policy }));
    assert_eq!(world.open(third), [grant(3, third)]);
}

#[test]
fn a_client_that_loses_its_connection_has_room_again() {
    let mut world = capped(Some(1), None);
    let server = start(&mut world, 1, 7, 0);
    assert_eq!(ask(&mut world, 2, 7, 0), []);
    let opened = opened_in(&world.tell(Input::Closed { server }));
    assert_eq!(world.open(opened), [grant(2, opened)]);
}

fn notice(ticket: u64, place: u32, waiting: u32, waited: Duration) -> Output {
    Output::Notice {
        ticket: TicketId(ticket),
        lane: LaneId(0),
        place,
        waiting,
        waited,
    }
}

#[test]
fn who_waits_long_is_told_its_place_once() {
    let mut policy = policy(1, &[("a", 1)]);
    policy.lanes[0].queue_notice = MS * 10;
    let mut world = World::new(policy.clone());
    let server = world.start(1, 0);
    world.ask(2, 0);
    world.pass(MS * 4);
    world.ask(3, 0);
    world.ask(4, 0);
    assert_eq!(world.until_timeout(), Some(MS * 6));
    assert_eq!(world.pass(MS * 6), [notice(2, 1, 3, MS * 10)]);
    assert_eq!(world.release(server), [grant(2, server)]);
    let told = [notice(3, 1, 2, MS * 10), notice(4, 2, 2, MS * 10)];
    assert_eq!(world.pass(MS * 4), told);
    assert_eq!(world.pass(MS * 20), [], "once");
    // A lane that only observes counts.
    policy.lanes[0].mode = Mode::Observe;
    world.tell(Input::Reload { policy });
    world.ask(5, 0);
    assert_eq!(world.pass(MS * 10), []);
    assert_eq!(world.scheduler.snapshot(world.now).lanes[0].notices, 4);
}

#[test]
fn a_reload_begins_and_ends_what_waiters_are_told() {
    let quiet = policy(1, &[("a", 1)]);
    let mut telling = quiet.clone();
    telling.lanes[0].queue_notice = MS * 10;
    let mut world = World::new(quiet.clone());
    world.start(1, 0);
    world.ask(2, 0);
    world.pass(MS * 4);
    let policy = telling.clone();
    assert_eq!(world.tell(Input::Reload { policy }), []);
    assert_eq!(world.until_timeout(), Some(MS * 6));
    world.tell(Input::Reload { policy: quiet });
    assert_eq!(world.pass(MS * 20), []);
    let told = world.tell(Input::Reload { policy: telling });
    assert_eq!(told, [notice(2, 1, 1, MS * 24)]);
}
