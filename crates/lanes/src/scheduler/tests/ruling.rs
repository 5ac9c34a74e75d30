//! Rules and preemption.

use super::*;
use crate::{Action, Mode, RulePolicy, When, Whom};

fn rule(name: &str, when: When, then: Action) -> RulePolicy {
    let name = name.to_owned();
    RulePolicy { name, when, then }
}

fn with_rules(rules: &[RulePolicy]) -> Policy {
    let mut policy = policy(2, &[("a", 2), ("b", 2)]);
    policy.lanes[0].rules = rules.to_vec();
    policy
}

fn met(rule: u16, action: Action, whom: Whom) -> Output {
    Output::Rule {
        lane: LaneId(0),
        rule,
        action,
        whom,
    }
}

#[test]
fn a_transaction_meets_each_rule_of_its_running_time_once_and_in_their_order() {
    let rules = [
        rule("ends", When::Running(MS * 30), Action::Cancel),
        rule("moves", When::Running(MS * 10), Action::Move(LaneId(1))),
    ];
    let mut world = World::new(with_rules(&rules));
    let server = world.start(1, 0);
    let whom = Whom::Server(server);
    assert_eq!(world.until_timeout(), Some(MS * 10));
    assert_eq!(world.pass(MS * 10), [met(1, Action::Move(LaneId(1)), whom)]);
    assert_eq!(world.until_timeout(), Some(MS * 20));
    assert_eq!(world.pass(MS * 20), [met(0, Action::Cancel, whom)]);
    assert_eq!(world.pass(MS * 100), []);
    world.release(server);
    // The next begins anew.
    assert_eq!(world.ask(2, 0), [grant(2, server)]);
    assert_eq!(world.pass(MS * 9), []);
    world.release(server);
    assert_eq!(world.pass(MS * 9), []);
    let shown = &world.scheduler.snapshot(world.now).lanes[0].rules;
    assert_eq!((shown[0].met, shown[0].action), (1, "cancel"));
    assert_eq!((shown[1].met, shown[1].action), (1, "move"));
}

#[test]
fn who_waits_meets_rules_too_and_may_be_rejected() {
    let rules = [
        rule("told", When::Queued(MS * 5), Action::Notice),
        rule("turned away", When::Queued(MS * 8), Action::Reject),
    ];
    let mut world = World::new(with_rules(&rules));
    world.start(1, 0);
    world.start(2, 0);
    world.ask(3, 0);
    let whom = Whom::Ticket(TicketId(3));
    assert_eq!(world.pass(MS * 5), [met(0, Action::Notice, whom)]);
    let waited = MS * 8;
    let reason = Rejection::Rule { rule: 1, waited };
    assert_eq!(world.pass(MS * 3), [reject(3, 0, reason)]);
}

#[test]
fn what_the_owner_sees_is_decided_here_once() {
    let rules = [rule("rows", When::Rows(9), Action::Log)];
    let mut world = World::new(with_rules(&rules));
    let server = world.start(1, 0);
    let seen = Input::Met { server, rule: 0 };
    let logged = met(0, Action::Log, Whom::Server(server));
    assert_eq!(world.tell(seen.clone()), [logged]);
    assert_eq!(world.tell(seen.clone()), []);
    assert_eq!(
        world.tell(Input::Met { server, rule: 1 }),
        [],
        "no such rule"
    );
    world.release(server);
    assert_eq!(world.tell(seen), [], "nothing runs");
}

#[test]
fn an_observed_rule_counts_and_does_nothing() {
    let rules = [rule("ends", When::Running(MS * 10), Action::Cancel)];
    let mut policy = with_rules(&rules);
    policy.lanes[0].mode = Mode::Observe;
    let mut world = World::new(policy.clone());
    world.start(1, 0);
    assert_eq!(world.pass(MS * 10), []);
    let shown = world.scheduler.snapshot(world.now).lanes[0].rules[0].clone();
    assert_eq!((shown.met, shown.acted), (1, 0));
    policy.lanes[0].mode = Mode::Off;
    let mut world = World::new(policy);
    world.start(1, 0);
    world.pass(MS * 10);
    assert_eq!(world.scheduler.snapshot(world.now).lanes[0].rules, []);
}

#[test]
fn a_session_between_its_transactions_runs_nothing() {
    let rules = [rule("ends", When::Running(MS * 10), Action::Cancel)];
    let mut world = World::new(with_rules(&rules));
    let server = world.start(1, 0);
    assert_eq!(world.tell(Input::Kept { server }), []);
    assert_eq!(world.pass(MS * 50), []);
    let lane = &world.scheduler.snapshot(world.now).lanes[0];
    assert_eq!((lane.busy, lane.kept), (1, 1), "its slot stays taken");
    world.tell(Input::Resumed { server });
    assert_eq!(world.pass(MS * 9), []);
    let cancelled = met(0, Action::Cancel, Whom::Server(server));
    assert_eq!(world.pass(MS), [cancelled]);
}

#[test]
fn a_reload_puts_other_rules_in_force_for_what_runs() {
    let mut world = World::new(with_rules(&[]));
    let server = world.start(1, 0);
    world.pass(MS * 20);
    let policy = with_rules(&[rule("ends", When::Running(MS * 10), Action::Cancel)]);
    let outputs = world.tell(Input::Reload {
        policy: policy.clone(),
    });
    assert_eq!(outputs, [met(0, Action::Cancel, Whom::Server(server))]);
    assert_eq!(world.tell(Input::Reload { policy }), [], "nothing new");
    assert_eq!(
        world.tell(Input::Reload {
            policy: with_rules(&[])
        }),
        []
    );
}

/// Two slots. The protected lane goes first, and the other gives back what it borrows after 10 ms.
fn preemptible() -> Policy {
    let mut policy = policy(2, &[("protected", 2), ("borrower", 2)]);
    policy.lanes[0].priority = 10;
    policy.lanes[1].preemptible = Some(MS * 10);
    policy
}

fn preempt(server: ServerId) -> Output {
    Output::Preempt {
        server,
        lane: LaneId(1),
        claimant: LaneId(0),
    }
}

#[test]
fn the_youngest_statement_gives_way_after_the_grace() {
    let mut world = World::new(preemptible());
    world.start(1, 1);
    world.pass(MS * 30);
    let younger = world.start(2, 1);
    world.pass(MS * 30);
    world.ask(3, 0);
    assert_eq!(world.until_timeout(), Some(MS * 10));
    assert_eq!(world.pass(MS * 9), []);
    assert_eq!(world.pass(MS), [preempt(younger)]);
    assert_eq!(world.pass(MS * 50), [], "one for the one who waits");
    let outputs = world.release(younger);
    let server = opened_in(&outputs);
    assert_eq!(world.open(server), [grant(3, server)]);
    assert_eq!(world.scheduler.snapshot(world.now).lanes[1].preempted, 1);
}

#[test]
fn a_lane_keeps_its_own_minimum_and_gives_nothing_to_its_equals() {
    let mut kept = preemptible();
    kept.lanes[1].min = 2;
    kept.lanes[0].max = 1;
    kept.total_slots = 3;
    kept.lanes.push(LanePolicy::new("third", 1));
    let mut equal = preemptible();
    equal.lanes[0].priority = 0;
    for policy in [kept, equal] {
        let mut world = World::new(policy);
        world.start(1, 1);
        world.start(2, 1);
        if world.scheduler.snapshot(world.now).lanes.len() > 2 {
            world.start(3, 2);
        }
        world.ask(4, 0);
        assert_eq!(world.pass(MS * 100), []);
    }
}

#[test]
fn a_lane_below_its_minimum_takes_back_from_whoever_borrows() {
    let mut policy = preemptible();
    policy.lanes[0].priority = -10;
    let mut world = World::new(policy.clone());
    world.start(1, 1);
    let younger = world.start(2, 1);
    world.ask(3, 0);
    assert_eq!(world.pass(MS * 50), []);
    policy.lanes[0].min = 1;
    assert_eq!(world.tell(Input::Reload { policy }), [preempt(younger)]);
}

#[test]
fn what_is_spared_runs_on_and_the_next_youngest_gives_way() {
    let mut world = World::new(preemptible());
    let older = world.start(1, 1);
    let younger = world.start(2, 1);
    world.ask(3, 0);
    assert_eq!(world.pass(MS * 10), [preempt(younger)]);
    assert_eq!(
        world.tell(Input::Spared { server: younger }),
        [preempt(older)]
    );
    assert_eq!(world.tell(Input::Spared { server: older }), []);
    assert_eq!(world.pass(MS * 100), []);
    assert_eq!(world.scheduler.snapshot(world.now).lanes[1].preempted, 0);
}

#[test]
fn an_observed_preemption_counts_and_cancels_nothing() {
    for observing in 0..2 {
        let mut policy = preemptible();
        policy.lanes[observing].mode = Mode::Observe;
        let mut world = World::new(policy);
        world.start(1, 1);
        world.start(2, 1);
        world.ask(3, 0);
        assert_eq!(world.pass(MS * 100), []);
        let lane = &world.scheduler.snapshot(world.now).lanes[1];
        assert_eq!((lane.preempted, lane.would_preempt), (0, 2));
    }
}
