//! Who goes first.

use super::*;
use crate::{MAX_OTHER_LANES, Turns};

#[test]
fn a_lane_serves_in_order_of_arrival() {
    let mut world = World::new(policy(4, &[("a", 1)]));
    let server = world.start(1, 0);
    for ticket in 2..5 {
        assert_eq!(world.ask(ticket, 0), []);
    }
    for ticket in 2..5 {
        assert_eq!(world.release(server), [grant(ticket, server)]);
    }
    assert_eq!(world.release(server), []);
    assert_eq!(world.ask(5, 0), [grant(5, server)]);
}

#[test]
fn by_service_sessions_share_the_time_and_not_the_turns() {
    let mut lanes = policy(1, &[("a", 1)]);
    lanes.lanes[0].queue_order = QueueOrder::Service;
    let mut world = World::new(lanes);
    // Two sessions that always want a slot: one holds it for 10 ms, the other for 1 ms.
    let held = [MS * 10, MS];
    let (mut own, mut had) = ([Turn::default(); 2], [Duration::ZERO; 2]);
    let request = |session: usize, turn: Turn| Input::Request {
        ticket: TicketId(session as u64),
        lane: LaneId(0),
        pool: PoolId(0),
        client: ClientKey::default(),
        turn,
    };
    let first = world.tell(request(0, Turn::default()));
    let server = opened_in(&first);
    world.tell(request(1, Turn::default()));
    let mut runs = granted_in(&world.open(server));
    for _ in 0..2000 {
        world.pass(held[runs]);
        had[runs] += held[runs];
        own[runs] = own[runs].after(held[runs]);
        // It asks again as it gives its slot back.
        own[runs] = world.scheduler.turn(LaneId(0), own[runs]);
        world.tell(request(runs, own[runs]));
        runs = granted_in(&world.release(server));
    }
    let apart = had[0].abs_diff(had[1]);
    assert!(apart <= held[0] + held[1], "{had:?}");
}

#[test]
fn a_session_that_goes_to_another_lane_after_each_transaction_gets_no_more_than_its_share() {
    let mut lanes = policy(2, &[("a", 1), ("b", 1)]);
    lanes.lanes[0].queue_order = QueueOrder::Service;
    let mut world = World::new(lanes);
    let other = world.start(9, 1);
    world.release(other);
    // One holds a slot of `a` for 10 ms and then one of `b` for 1 ms; two others always want `a`, for 1 ms.
    let mut turns = [0; 3].map(|_| Turns::new(LaneId(0)));
    let mut had = [Duration::ZERO; 3];
    let mut server = None;
    for session in 0..3 {
        let outputs = ask_by_service(&mut world, &mut turns, session, 0);
        server = server.or_else(|| Some(opened_in(&outputs)));
    }
    let server = server.unwrap();
    let mut runs = granted_in(&world.open(server));
    let mut away = false;
    for _ in 0..3000 {
        let held = if runs == 0 { MS * 10 } else { MS };
        world.pass(held);
        had[runs] += held;
        turns[runs].served(held);
        if away {
            // Whatever ran in `a` meanwhile took as long.
            world.release(other);
            turns[0].served(MS);
            ask_by_service(&mut world, &mut turns, 0, 0);
            away = false;
        }
        if runs == 0 {
            let granted = ask_by_service(&mut world, &mut turns, 0, 1);
            assert_eq!(granted, [grant(0, other)]);
            away = true;
        } else {
            ask_by_service(&mut world, &mut turns, runs, 0);
        }
        runs = granted_in(&world.release(server));
    }
    let least = had[1].min(had[2]);
    assert!(had[0] <= least + MS * 22, "{had:?}");
    assert!(
        had[0] * 2 > least,
        "it starves no more than it gains: {had:?}"
    );
}

fn ask_by_service(
    world: &mut World,
    turns: &mut [Turns],
    session: usize,
    lane: u16,
) -> Vec<Output> {
    let turn = turns[session].ask(&world.scheduler, LaneId(lane));
    world.tell(Input::Request {
        ticket: TicketId(session as u64),
        lane: LaneId(lane),
        pool: PoolId(0),
        client: ClientKey::default(),
        turn,
    })
}

#[test]
fn of_more_lanes_than_are_remembered_those_are_forgotten_where_a_session_is_least_ahead() {
    let names: Vec<String> = (0..MAX_OTHER_LANES + 3)
        .map(|lane| lane.to_string())
        .collect();
    let named: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut lanes = policy(4, &named);
    for lane in &mut lanes.lanes {
        lane.queue_order = QueueOrder::Service;
    }
    let scheduler = Scheduler::new(lanes);
    let mut turns = Turns::new(LaneId(0));
    // The most service in the first lane, and the least in the last.
    let all = names.len() as u16;
    for lane in 0..all {
        turns.ask(&scheduler, LaneId(lane));
        turns.served(MS * u32::from(all - lane));
    }
    let left = |lane: u16| Turn::default().after(MS * u32::from(all - lane));
    assert_eq!(turns.ask(&scheduler, LaneId(0)), left(0));
    assert_eq!(turns.ask(&scheduler, LaneId(all - 2)), Turn::default());
    assert_eq!(turns.ask(&scheduler, LaneId(1)), left(1));
}

#[test]
fn time_in_which_a_session_wanted_nothing_earns_it_nothing() {
    let mut lanes = policy(1, &[("a", 1)]);
    lanes.lanes[0].queue_order = QueueOrder::Service;
    let mut world = World::new(lanes);
    let lane = LaneId(0);
    let busy = Turn::default().after(MS * 500);
    world.tell(Input::Request {
        ticket: TicketId(1),
        lane,
        pool: PoolId(0),
        client: ClientKey::default(),
        turn: world.scheduler.turn(lane, busy),
    });
    let server = ServerId::new(0, 0);
    world.open(server);
    assert_eq!(
        world.scheduler.turn(lane, Turn::default()),
        busy,
        "a newcomer is level with the rest"
    );
}

#[test]
fn who_comes_when_a_lane_is_no_longer_ordered_by_service_goes_behind_who_waits() {
    let mut lanes = policy(1, &[("a", 1)]);
    lanes.lanes[0].queue_order = QueueOrder::Service;
    let mut world = World::new(lanes.clone());
    let server = world.start(1, 0);
    let late = |ticket: u64, turn: Turn| Input::Request {
        ticket: TicketId(ticket),
        lane: LaneId(0),
        pool: PoolId(0),
        client: ClientKey::default(),
        turn,
    };
    world.tell(late(2, Turn(1)));
    world.tell(late(3, Turn(9)));
    assert_eq!(world.release(server), [grant(2, server)]);
    lanes.lanes[0].queue_order = QueueOrder::Arrival;
    world.tell(Input::Reload { policy: lanes });
    let turn = world.scheduler.turn(LaneId(0), Turn::default());
    world.tell(late(4, turn));
    assert_eq!(world.release(server), [grant(3, server)]);
    assert_eq!(world.release(server), [grant(4, server)]);
}

#[test]
fn whose_turn_is_sooner_takes_the_connection_that_is_opening_for_nobody() {
    let mut lanes = policy(2, &[("a", 2)]);
    lanes.lanes[0].queue_order = QueueOrder::Service;
    let mut world = World::new(lanes);
    let request = |ticket: u64, pool: u32, turn: Turn| Input::Request {
        ticket: TicketId(ticket),
        lane: LaneId(0),
        pool: PoolId(pool),
        client: ClientKey::default(),
        turn,
    };
    let opening = opened_in(&world.ask(1, 0));
    world.ask_pool(2, 0, 1);
    world.tell(Input::Withdraw {
        ticket: TicketId(1),
    });
    // There is no room for a third pool's.
    assert_eq!(world.tell(request(3, 2, Turn(5))), []);
    assert_eq!(world.tell(request(4, 0, Turn::default())), []);
    assert_eq!(world.open(opening), [grant(4, opening)]);
}

#[test]
fn the_hottest_idle_connection_is_used_first() {
    let mut world = World::new(policy(4, &[("a", 4)]));
    let (first, second) = (world.start(1, 0), world.start(2, 0));
    world.release(second);
    world.release(first);
    assert_eq!(world.ask(3, 0), [grant(3, first)]);
    assert_eq!(world.ask(4, 0), [grant(4, second)]);
}

#[test]
fn higher_priority_goes_first_until_ageing_lifts_the_lower() {
    let mut lanes = policy(1, &[("high", 1), ("low", 1)]);
    lanes.lanes[0].priority = 2;
    lanes.ageing = MS * 10;
    let mut world = World::new(lanes);
    let server = world.start(1, 0);
    world.ask(2, 1);
    world.pass(MS * 20);
    world.ask(3, 0);
    // Two steps make them equal; then the lane's own priority decides.
    assert_eq!(world.release(server), [grant(3, server)]);
    world.pass(MS * 10);
    world.ask(4, 0);
    // Three steps against a newcomer's two: the low lane gets its turn, in a connection of its own.
    let outputs = world.release(server);
    assert_eq!(outputs[0], Output::Close { server });
    let low = opened_in(&outputs);
    assert_eq!(world.open(low), [grant(2, low)]);
}

#[test]
fn a_head_of_another_pool_takes_the_place_of_a_connection_it_cannot_use() {
    let mut world = World::new(policy(9, &[("a", 1)]));
    let server = world.start_pool(1, 0, 0);
    assert_eq!(world.ask_pool(2, 0, 7), []);
    assert_eq!(world.ask_pool(3, 0, 0), []);
    let outputs = world.release(server);
    assert_eq!(outputs[0], Output::Close { server });
    let other = opened_in(&outputs);
    assert_eq!(world.open(other), [grant(2, other)]);
}

#[test]
fn no_connection_is_closed_for_another_pool_while_there_is_room() {
    let mut world = World::new(policy(9, &[("a", 2)]));
    let server = world.start_pool(1, 0, 0);
    world.release(server);
    assert!(matches!(world.ask_pool(2, 0, 7)[..], [Output::Open { .. }]));
    assert_eq!(world.ask_pool(3, 0, 0), [grant(3, server)]);
}

#[test]
fn as_many_connections_open_as_transactions_wait_for() {
    let mut world = World::new(policy(9, &[("a", 9)]));
    let first = opened_in(&world.ask(1, 0));
    let second = opened_in(&world.ask(2, 0));
    // Whichever is ready first serves who came first.
    assert_eq!(world.open(second), [grant(1, second)]);
    // Its release serves the next, and the other connection is nobody's.
    assert_eq!(world.release(second), [grant(2, second)]);
    // So a third transaction waits for that one instead of opening another.
    assert_eq!(world.ask(3, 0), []);
    assert_eq!(world.open(first), [grant(3, first)]);
}

#[test]
fn a_withdrawn_ticket_is_never_granted_and_its_connection_becomes_idle() {
    let mut world = World::new(policy(9, &[("a", 9)]));
    let server = opened_in(&world.ask(1, 0));
    let ticket = TicketId(1);
    assert_eq!(world.tell(Input::Withdraw { ticket }), []);
    assert_eq!(world.tell(Input::Withdraw { ticket }), []);
    assert_eq!(world.open(server), []);
    assert_eq!(world.ask(2, 0), [grant(2, server)]);
    assert_eq!(world.scheduler.snapshot(world.now).lanes[0].withdrawn, 1);
}

#[test]
fn an_idle_lane_hoards_no_credit() {
    let mut lanes = policy(1, &[("a", 1), ("b", 1)]);
    lanes.ageing = Duration::ZERO;
    let mut world = World::new(lanes);
    let mut server = world.start(0, 0);
    // A hundred grants to one lane while the other wants nothing.
    for ticket in 1..100 {
        world.ask(ticket, 0);
        assert_eq!(world.release(server), [grant(ticket, server)]);
    }
    // From then on they take turns, within the lag that spares reopening.
    let mut turns = [0_i32; 2];
    let mut next = 1000;
    for lane in [0_u16, 1] {
        for _ in 0..200 {
            world.ask(next + 1000 * u64::from(lane), lane);
            next += 1;
        }
    }
    for _ in 0..200 {
        let outputs = world.release(server);
        server = match outputs[..] {
            [Output::Grant { server, .. }] => server,
            _ => {
                let server = opened_in(&outputs);
                world.open(server);
                server
            }
        };
        turns[world.scheduler.lane_of(server).unwrap().index()] += 1;
    }
    assert!((turns[0] - turns[1]).abs() <= 40, "{turns:?}");
}
