use super::*;
use crate::LanePolicy;

const MS: Duration = Duration::from_millis(1);

fn machine() -> Machine {
    Machine {
        cores: 2.0,
        interference: 0.0,
        weights: Vec::new(),
    }
}

fn policy(slots: [u32; 2]) -> Policy {
    let mut policy = Policy::new(16);
    policy.lanes = vec![
        LanePolicy::new("evaluation", slots[0]),
        LanePolicy::new("background", slots[1]),
    ];
    policy.lanes[0].priority = 100;
    policy
}

fn recorded(session: u32, lane: u16, asked: Duration, held: Duration) -> Recorded {
    Recorded {
        session,
        lane: LaneId(lane),
        pool: PoolId(u32::from(lane)),
        client: ClientKey::default(),
        asked,
        waited: Duration::ZERO,
        held,
        class: None,
        bytes: (0, 0),
        rejected: false,
    }
}

/// One session of the evaluation and four of the background, one transaction after the other on two cores: each takes 10 ms
/// alone, and five share two cores.
fn contended() -> Trace {
    let held = MS * 25;
    let mut transactions = Vec::new();
    for number in 0..100 {
        transactions.push(recorded(0, 0, held * number, held));
        for session in 1..5 {
            transactions.push(recorded(session, 1, held * number, held));
        }
    }
    Trace {
        transactions,
        leases: Vec::new(),
        length: held * 100,
    }
}

fn close(span: Duration, to: Duration) -> bool {
    span.abs_diff(to) <= to.mul_f64(0.05)
}

fn replay(trace: &Trace, policy: Policy, on: Machine) -> Outcome {
    let works = trace.works(&machine());
    let replay = Replay {
        trace,
        works: &works,
        policy,
        machine: on,
        measured: LaneId(0),
    };
    replay.run()
}

#[test]
fn what_a_transaction_takes_alone_is_told_from_what_ran_beside_it() {
    let trace = contended();
    for work in trace.works(&machine()) {
        let alone = Duration::from_nanos((work.fixed + work.shared) as u64);
        assert!(close(alone, MS * 10), "{work:?}");
    }
}

/// As [`contended`], but the evaluation waits 2 ms of its time for what needs no core, which its shortest transactions show.
fn contended_and_waking() -> Trace {
    let mut trace = contended();
    for (number, one) in trace
        .transactions
        .iter_mut()
        .filter(|one| one.lane == LaneId(0))
        .enumerate()
    {
        if number % 10 == 0 {
            one.held = MS * 2;
        }
    }
    trace
}

#[test]
fn what_the_shortest_of_a_kind_took_beside_others_they_take_alone() {
    let trace = contended_and_waking();
    let works = trace.works(&machine());
    for (recorded, work) in trace.transactions.iter().zip(works) {
        let fixed = if recorded.lane == LaneId(0) {
            MS * 2
        } else {
            Duration::ZERO
        };
        assert_eq!(
            Duration::from_nanos(work.fixed as u64),
            fixed,
            "{recorded:?}"
        );
    }
    let (was, is) = (
        measured(&trace, 2, LaneId(0)),
        replay(&trace, policy([4, 4]), machine()),
    );
    assert!(
        close(is.lanes[0].time_p50, was.lanes[0].time_p50),
        "{is:?} {was:?}"
    );
    let alone = replay(&trace, policy([4, 1]), machine());
    // 2 ms, and of 23 ms what two of five jobs had of two cores.
    let expected = MS * 2 + (MS * 23).mul_f64(0.4);
    assert!(close(alone.lanes[0].time_p50, expected), "{alone:?}");
}

#[test]
fn what_looks_different_is_of_another_kind() {
    let mut trace = contended_and_waking();
    for one in &mut trace.transactions {
        one.bytes = if one.held == MS * 2 {
            (100, 20)
        } else {
            (100, 70_000)
        };
    }
    for (recorded, work) in trace.transactions.iter().zip(trace.works(&machine())) {
        let is_short = recorded.held == MS * 2;
        assert_eq!(work.fixed > 0.0, is_short, "{recorded:?}");
    }
}

#[test]
fn replayed_as_it_was_recorded_a_trace_gives_what_was_measured() {
    let trace = contended();
    let was = measured(&trace, 2, LaneId(0));
    let is = replay(&trace, policy([4, 4]), machine());
    assert!(is.complete && was.complete);
    assert!(close(is.time, was.time), "{is:?} {was:?}");
    for (is, was) in is.lanes.iter().zip(&was.lanes) {
        assert!(
            (is.per_second / was.per_second - 1.0).abs() < 0.05,
            "{is:?} {was:?}"
        );
        assert!(close(is.time_p50, was.time_p50), "{is:?} {was:?}");
    }
}

#[test]
fn fewer_slots_for_the_others_give_the_evaluation_its_time_back() {
    let outcome = replay(&contended(), policy([4, 1]), machine());
    // Two jobs on two cores: nobody takes anything from anybody.
    assert!(close(outcome.time, MS * 1000), "{outcome:?}");
    let background = outcome.lanes[1];
    assert!(
        (background.per_second - 100.0).abs() < 5.0,
        "{background:?}"
    );
    // Four sessions take turns.
    assert!(close(background.wait_p50, MS * 30), "{background:?}");
}

#[test]
fn background_weight_takes_almost_nothing_from_normal_work() {
    let machine = Machine {
        cores: 1.0,
        weights: vec![Weight::Normal, Weight::Background],
        ..machine()
    };
    let outcome = replay(&contended(), policy([4, 4]), machine);
    assert!(outcome.time < MS * 1030, "{outcome:?}");
    assert!(outcome.time > MS * 1000, "{outcome:?}");
}

#[test]
fn a_session_of_another_lane_begins_again_and_the_measured_one_does_not() {
    let mut trace = contended();
    trace
        .transactions
        .retain(|one| one.lane == LaneId(0) || one.asked < MS * 25);
    let outcome = replay(&trace, policy([4, 4]), machine());
    assert_eq!(outcome.lanes[0].finished, 100);
    assert!(outcome.lanes[1].finished > 100, "{outcome:?}");
}

#[test]
fn a_throttle_holds_the_others_while_the_measured_lane_has_its_lease() {
    let mut trace = contended();
    trace.leases.push(RecordedLease {
        lane: LaneId(0),
        taken: Duration::ZERO,
        ended: trace.length,
    });
    let mut policy = policy([4, 4]);
    policy.throttles = vec![crate::ThrottlePolicy {
        name: "yields".to_owned(),
        watch: LaneId(0),
        condition: crate::Condition::Leased,
        linger: Duration::ZERO,
        lane: LaneId(1),
        effect: crate::Effect::Slots(0),
        running: crate::Running::Finish,
        mode: crate::Mode::Enforce,
        counts_direct: false,
        lowers: false,
    }];
    let outcome = replay(&trace, policy, machine());
    assert!(close(outcome.time, MS * 1000), "{outcome:?}");
    assert!(outcome.lanes[1].finished <= 4, "{outcome:?}");
}

#[test]
fn nothing_recorded_gives_nothing_and_ends() {
    let trace = Trace::default();
    let outcome = replay(&trace, policy([4, 4]), machine());
    assert_eq!(outcome.lanes, vec![LaneOutcome::default(); 2]);
}

#[test]
fn a_session_that_is_rejected_tries_again_and_goes_on() {
    let mut policy = policy([1, 4]);
    policy.lanes[0].queue_length = 0;
    let mut trace = contended();
    // Two sessions of the lane that always want its one slot.
    let other: Vec<Recorded> = trace
        .transactions
        .iter()
        .filter(|one| one.lane == LaneId(0))
        .map(|one| Recorded {
            session: 9,
            ..one.clone()
        })
        .collect();
    trace.transactions.extend(other);
    let outcome = replay(&trace, policy, machine());
    assert!(outcome.complete);
    assert!(outcome.lanes[0].rejected > 0, "{outcome:?}");
}
