//! Connections that cannot be opened, and connections that are lost.

use super::*;
use crate::BACKOFF_FIRST;
use OpenVerdict::{KeepWaiting, RejectWaiters};

#[test]
fn with_nothing_alive_all_waiters_of_the_pool_are_rejected_in_every_lane() {
    let mut world = World::new(policy(9, &[("a", 1), ("b", 1)]));
    let server = opened_in(&world.ask_pool(1, 0, 5));
    let other = opened_in(&world.ask_pool(2, 1, 5));
    world.ask_pool(3, 0, 5);
    world.ask_pool(4, 0, 6);
    let reason = Rejection::OpenFailed { server };
    let outputs = world.fail(server, RejectWaiters);
    let rejected = [
        reject(1, 0, reason),
        reject(3, 0, reason),
        reject(2, 1, reason),
    ];
    assert_eq!(outputs[..3], rejected);
    // The next in line needs another pool, and finds room.
    let next = opened_in(&outputs);
    assert_eq!(world.scheduler.pool_of(next), Some(PoolId(6)));
    assert_eq!(world.open(other), []);
}

#[test]
fn a_live_connection_of_the_pool_lets_its_waiters_wait() {
    let mut world = World::new(policy(9, &[("a", 2)]));
    let alive = world.start(1, 0);
    let server = opened_in(&world.ask(2, 0));
    assert_eq!(world.fail(server, RejectWaiters), []);
    assert_eq!(world.release(alive), [grant(2, alive)]);
}

#[test]
fn after_a_failure_one_attempt_is_made_when_the_rest_is_over() {
    let mut world = World::new(policy(9, &[("a", 9)]));
    let server = opened_in(&world.ask(1, 0));
    assert_eq!(world.fail(server, KeepWaiting), []);
    for ticket in 2..5 {
        assert_eq!(world.ask(ticket, 0), []);
    }
    assert_eq!(world.until_timeout(), Some(BACKOFF_FIRST));
    let attempt = opened_in(&world.pass(BACKOFF_FIRST));
    assert_eq!(world.fail(attempt, KeepWaiting), []);
    assert_eq!(world.until_timeout(), Some(BACKOFF_FIRST * 2));
    let attempt = opened_in(&world.pass(BACKOFF_FIRST * 2));
    // A success serves the first and opens for the rest.
    let outputs = world.open(attempt);
    assert_eq!(outputs[0], grant(1, attempt));
    assert_eq!(outputs.len(), 4, "{outputs:?}");
}

#[test]
fn a_pool_that_fails_does_not_hold_up_the_lane() {
    let mut world = World::new(policy(9, &[("a", 1)]));
    let server = opened_in(&world.ask_pool(1, 0, 5));
    let outputs = world.ask_pool(2, 0, 6);
    assert_eq!(outputs, []);
    let other = opened_in(&world.fail(server, KeepWaiting));
    assert_eq!(world.open(other), [grant(2, other)]);
}

#[test]
fn losing_a_connection_loses_no_waiter() {
    let mut world = World::new(policy(1, &[("a", 1)]));
    let server = world.start(1, 0);
    world.ask(2, 0);
    let next = opened_in(&world.tell(Input::Closed { server }));
    // Also one that was still opening: it counts as an attempt that failed.
    assert_eq!(world.tell(Input::Closed { server: next }), []);
    let next = opened_in(&world.pass(BACKOFF_FIRST));
    assert_eq!(world.open(next), [grant(2, next)]);
}

#[test]
fn news_of_earlier_connections_changes_nothing() {
    let mut world = World::new(policy(1, &[("a", 1)]));
    let server = world.start(1, 0);
    world.tell(Input::Closed { server });
    let next = world.start(2, 0);
    assert_eq!(next.place(), server.place());
    assert_ne!(next, server);
    for input in [
        Input::Release { server },
        Input::Opened { server },
        Input::Closed { server },
        Input::Opened { server: next },
    ] {
        assert_eq!(world.tell(input), []);
    }
    assert_eq!(world.scheduler.snapshot(world.now).lanes[0].busy, 1);
}
