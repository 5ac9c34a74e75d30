//! Connections that clients' logins brought.

use super::*;
use crate::policy::Mode;
use crate::{Condition, Effect, Running, Supply, ThrottlePolicy};

fn adopt(world: &mut World, ticket: u64, lane: u16, pool: u32) -> Vec<Output> {
    world.tell(Input::Adopt {
        ticket: TicketId(ticket),
        lane: LaneId(lane),
        pool: PoolId(pool),
    })
}

fn adopted(outputs: &[Output]) -> ServerId {
    let found = outputs.iter().find_map(|output| match output {
        Output::Adopted { server, .. } => Some(*server),
        _ => None,
    });
    found.expect("an adoption")
}

fn supply(world: &mut World, pool: u32, supply: Supply) -> Vec<Output> {
    let pool = PoolId(pool);
    world.tell(Input::Supply { pool, supply })
}

#[test]
fn an_adopted_connection_serves_who_waits_and_counts_against_the_slots() {
    let mut world = World::new(policy(2, &[("a", 2)]));
    supply(&mut world, 5, Supply::Adopted);
    let first = adopted(&adopt(&mut world, 1, 0, 5));
    assert_eq!(world.ask_pool(2, 0, 5), [grant(2, first)]);
    assert_eq!(
        world.ask_pool(3, 0, 5),
        [],
        "it waits, and nothing is opened"
    );
    let outputs = adopt(&mut world, 4, 0, 5);
    let second = adopted(&outputs);
    assert_eq!(outputs[1], grant(3, second));
    let ticket = TicketId(5);
    assert_eq!(adopt(&mut world, 5, 0, 5), [Output::NotAdopted { ticket }]);
    assert_eq!(world.ask_pool(6, 0, 5), []);
    assert_eq!(world.release(first), [grant(6, first)]);
}

#[test]
fn with_none_left_waiters_are_rejected_at_once() {
    let mut world = World::new(policy(2, &[("a", 2), ("b", 2)]));
    supply(&mut world, 5, Supply::Adopted);
    let none = |ticket, lane| reject(ticket, lane, Rejection::NoneLeft);
    assert_eq!(world.ask_pool(1, 0, 5), [none(1, 0)]);
    let server = adopted(&adopt(&mut world, 2, 0, 5));
    world.ask_pool(3, 0, 5);
    assert_eq!(world.ask_pool(4, 0, 5), []);
    assert_eq!(world.ask_pool(5, 1, 5), [none(5, 1)], "none in its lane");
    assert_eq!(world.tell(Input::Closed { server }), [none(4, 0)]);
}

#[test]
fn who_waits_for_an_adopted_connection_holds_nobody_up() {
    let mut world = World::new(policy(2, &[("a", 2)]));
    supply(&mut world, 5, Supply::Adopted);
    let server = adopted(&adopt(&mut world, 1, 0, 5));
    world.ask_pool(2, 0, 5);
    assert_eq!(world.ask_pool(3, 0, 5), []);
    let other = opened_in(&world.ask_pool(4, 0, 6));
    assert_eq!(world.open(other), [grant(4, other)]);
    assert_eq!(world.release(server), [grant(3, server)]);
}

#[test]
fn one_that_none_can_follow_outlives_its_time_and_gives_way_last() {
    let mut policy = policy(3, &[("a", 3)]);
    policy.lanes[0].idle_timeout = MS * 10;
    policy.lanes[0].server_lifetime = MS * 50;
    let mut world = World::new(policy);
    supply(&mut world, 5, Supply::Adopted);
    let kept = adopted(&adopt(&mut world, 1, 0, 5));
    assert_eq!(world.pass(MS * 500), []);
    // Both of the others idle longer by less, and go before it.
    let replaceable = world.start(2, 0);
    world.release(replaceable);
    let opened = opened_in(&world.ask_pool(3, 0, 6));
    world.open(opened);
    let outputs = world.ask_pool(4, 0, 7);
    assert_eq!(
        outputs[0],
        Output::Close {
            server: replaceable
        }
    );
    world.open(opened_in(&outputs));
    // Nothing else is idle: a transaction that has the right to a slot gets this one's.
    let ticket = TicketId(9);
    assert_eq!(adopt(&mut world, 9, 0, 8), [Output::NotAdopted { ticket }]);
    assert_eq!(world.ask_pool(5, 0, 8)[0], Output::Close { server: kept });
}

#[test]
fn once_another_can_follow_what_was_kept_past_its_time_goes() {
    let mut policy = policy(3, &[("a", 3)]);
    policy.lanes[0].server_lifetime = MS * 50;
    let mut world = World::new(policy);
    supply(&mut world, 5, Supply::Adopted);
    let kept = adopted(&adopt(&mut world, 1, 0, 5));
    assert_eq!(world.pass(MS * 500), []);
    assert_eq!(
        supply(&mut world, 5, Supply::Opened),
        [Output::Close { server: kept }]
    );
}

/// Lane 0 has the one connection that its pool can have, with a transaction, and one that waits for it; while it is busy
/// lane 1 yields. Lane 2 is not concerned.
fn yielding_to_the_last_of_its_kind() -> (World, ServerId) {
    let mut policy = policy(2, &[("adopting", 2), ("kept", 2), ("borrower", 2)]);
    policy.lanes[1].min = 1;
    policy.throttles = vec![ThrottlePolicy {
        name: "kept yields".into(),
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
    let mut world = World::new(policy);
    supply(&mut world, 5, Supply::Adopted);
    let last = adopted(&adopt(&mut world, 1, 0, 5));
    assert_eq!(world.ask_pool(2, 0, 5), [grant(2, last)]);
    assert_eq!(world.ask_pool(3, 0, 5), []);
    (world, last)
}

#[test]
fn the_end_of_those_who_cannot_be_served_ends_the_throttle_that_watched_them_in_the_same_step() {
    let (mut world, last) = yielding_to_the_last_of_its_kind();
    assert_eq!(world.ask(4, 1), []);
    let outputs = world.tell(Input::Closed { server: last });
    assert_eq!(outputs[0], reject(3, 0, Rejection::NoneLeft));
    let server = opened_in(&outputs);
    assert_eq!(world.open(server), [grant(4, server)]);
}

#[test]
fn a_slot_is_not_lent_past_a_minimum_that_the_same_step_brings_back() {
    let (mut world, last) = yielding_to_the_last_of_its_kind();
    world.start(4, 2);
    assert_eq!(world.ask(5, 2), [], "there is no room");
    let outputs = world.tell(Input::Closed { server: last });
    assert_eq!(outputs, [reject(3, 0, Rejection::NoneLeft)]);
    world.start(6, 1);
}
