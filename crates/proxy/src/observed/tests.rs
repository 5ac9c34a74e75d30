//! Looks as an observer would have them, beside connections that we know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pglanes_lanes::{LaneId, Time};

use super::look::needed_by_others;
use super::*;
use crate::events::EventKind;

const EVALUATION: LaneId = LaneId(0);
const SLOW: LaneId = LaneId(1);
/// Backends of ours: 1 to 9 of the evaluation, 10 to 19 of the lowered lane.
const OURS: std::ops::Range<i32> = 1..20;

fn known() -> Known {
    let lane = |pid: i32| if pid < 10 { EVALUATION } else { SLOW };
    Known {
        backends: OURS.map(|pid| (pid, lane(pid))).collect(),
        lowered: BTreeSet::from([SLOW]),
        protected_and_busy: BTreeSet::from([EVALUATION]),
    }
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn name(who: Who) -> String {
    match who {
        Who::Lane(EVALUATION) => "evaluation".to_owned(),
        Who::Lane(_) => "slow".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn client(pid: i32) -> SeenBackend {
    SeenBackend {
        pid,
        leader: None,
        kind: SeenKind::Client,
        user: "somebody".to_owned(),
        application_name: "psql".to_owned(),
        database: "d".to_owned(),
        work: SeenWork::Running,
        transaction: None,
        blocked_by: Vec::new(),
    }
}

fn waits(pid: i32, blocked_by: &[i32]) -> SeenBackend {
    SeenBackend {
        blocked_by: blocked_by.to_vec(),
        ..client(pid)
    }
}

fn look(record: &mut Record, seconds: u64, backends: &[SeenBackend]) -> Findings {
    let seen = Seen {
        backends: backends.to_vec(),
        ..Seen::default()
    };
    record.all(at(seconds), &seen, &known(), |_| EVALUATION, &name)
}

#[test]
fn who_is_seen_twice_and_is_none_of_ours_goes_past_the_proxy() {
    let mut record = Record::default();
    assert_eq!(
        look(&mut record, 1, &[client(1), client(50)]).direct,
        BTreeMap::new()
    );
    let findings = look(&mut record, 2, &[client(1), client(50), client(51)]);
    assert_eq!(findings.direct, BTreeMap::from([(EVALUATION, (1, 1))]));
    assert_eq!(
        findings.events,
        [EventKind::DirectSeen {
            user: "somebody".to_owned(),
            client: "psql".to_owned(),
            lane: "evaluation".to_owned(),
        }]
    );
    let view = record.view(at(2), &name);
    assert_eq!((view.direct.len(), view.direct[0].connections), (1, 1));
    // That nobody is left is told once.
    let findings = look(&mut record, 3, &[client(1)]);
    assert_eq!(findings.direct, BTreeMap::from([(EVALUATION, (0, 0))]));
    assert_eq!(findings.events.len(), 1);
    assert_eq!(look(&mut record, 4, &[client(1)]).direct, BTreeMap::new());
}

#[test]
fn behind_a_pooler_whose_numbers_are_its_own_nobody_is_called_direct() {
    let mut record = Record::default();
    for seconds in 1..4 {
        let findings = look(&mut record, seconds, &[client(50), client(51)]);
        assert_eq!(
            (findings.direct, findings.events),
            (BTreeMap::new(), Vec::new())
        );
    }
}

#[test]
fn names_past_the_proxy_are_bounded() {
    let mut record = Record::default();
    let mut backends: Vec<SeenBackend> = (100..300)
        .map(|pid| SeenBackend {
            application_name: format!("{pid}{}", "x".repeat(200)),
            ..client(pid)
        })
        .collect();
    backends.push(client(1));
    look(&mut record, 1, &backends);
    look(&mut record, 2, &backends);
    let view = record.view(at(2), &name);
    assert_eq!(view.direct.len(), 51);
    assert_eq!(
        view.direct
            .iter()
            .map(|group| group.connections)
            .sum::<u32>(),
        200
    );
    assert!(
        view.direct
            .iter()
            .all(|group| group.application_name.chars().count() <= 63)
    );
}

#[test]
fn waiting_is_accounted_for_between_the_lanes() {
    let mut record = Record::default();
    look(&mut record, 10, &[client(1), client(10)]);
    let findings = look(
        &mut record,
        11,
        &[waits(1, &[10, 11]), waits(2, &[50]), client(50)],
    );
    assert_eq!(findings.needed, [10, 11]);
    record.waiting(at(13), vec![(1, vec![10])], &known(), &name);
    let view = record.view(at(13), &name);
    let blocked: Vec<_> = view
        .blocked
        .iter()
        .map(|pair| {
            (
                pair.blocker.as_str(),
                pair.blocked.as_str(),
                pair.total.as_secs(),
            )
        })
        .collect();
    assert_eq!(
        blocked,
        [("slow", "evaluation", 3), ("direct", "evaluation", 1)]
    );
    // A pair that goes on is no news; one that begins again is.
    let events = |findings: Findings| findings.events.len();
    assert_eq!(
        events(record.waiting(at(14), vec![(1, vec![10])], &known(), &name)),
        0
    );
    record.waiting(at(15), Vec::new(), &known(), &name);
    assert_eq!(
        events(record.waiting(at(16), vec![(1, vec![10])], &known(), &name)),
        2
    );
}

#[test]
fn time_that_nobody_saw_is_not_accounted_for() {
    let mut record = Record::default();
    look(&mut record, 0, &[client(1)]);
    look(&mut record, 1000, &[waits(1, &[10])]);
    assert_eq!(
        record.view(at(1000), &name).blocked[0].total,
        Duration::from_secs(10)
    );
}

#[test]
fn a_lowered_backend_is_needed_at_any_remove_and_in_a_circle() {
    let needed = |waiting: &[(i32, &[i32])]| {
        let waiting: Vec<(i32, Vec<i32>)> = waiting
            .iter()
            .map(|(pid, blockers)| (*pid, blockers.to_vec()))
            .collect();
        needed_by_others(&waiting, &known())
    };
    assert_eq!(needed(&[(1, &[10])]), [10]);
    // By way of another lowered one, of one of its own lane, and of somebody past the proxy.
    assert_eq!(needed(&[(1, &[10]), (10, &[11])]), [10, 11]);
    assert_eq!(needed(&[(1, &[2]), (2, &[12])]), [12]);
    assert_eq!(needed(&[(50, &[13])]), [13]);
    // Among themselves they may wait.
    assert_eq!(needed(&[(10, &[11]), (12, &[11])]), []);
    assert_eq!(needed(&[(1, &[2]), (2, &[1])]), []);
    assert_eq!(needed(&[(1, &[10]), (10, &[1])]), [10]);
}

#[test]
fn long_transactions_and_maintenance_are_told_once() {
    let mut record = Record::default();
    let long = SeenBackend {
        transaction: Some(Duration::from_secs(61)),
        work: SeenWork::InTransaction,
        ..client(1)
    };
    let vacuum = SeenBackend {
        kind: SeenKind::Autovacuum,
        ..client(70)
    };
    let backends = [long, vacuum];
    let findings = look(&mut record, 1, &backends);
    assert_eq!(
        findings.events,
        [
            EventKind::LongTransaction {
                lane: "evaluation".to_owned(),
                backend: 1,
                open: Duration::from_secs(61),
                idle: true,
            },
            EventKind::MaintenanceBegan {
                what: "autovacuum",
                lane: "evaluation".to_owned(),
            }
        ]
    );
    assert_eq!(look(&mut record, 3, &backends).events, []);
    let view = record.view(at(3), &name);
    assert_eq!(view.autovacuum, 1);
    assert_eq!(view.maintenance[0].total, Duration::from_secs(2));
    assert_eq!(
        view.oldest,
        [("evaluation".to_owned(), Duration::from_secs(61))]
    );
}

#[test]
fn when_the_server_cannot_be_seen_nothing_but_the_counts_is_kept() {
    let mut record = Record::default();
    look(&mut record, 1, &[client(1), client(50)]);
    look(&mut record, 2, &[waits(1, &[10]), client(50)]);
    assert_eq!(record.lost(), (BTreeSet::from([EVALUATION]), true));
    let view = record.view(at(3), &name);
    assert_eq!((view.age, view.waiting, view.direct.len()), (None, 0, 0));
    assert_eq!(view.blocked.len(), 1);
    assert_eq!(record.lost(), (BTreeSet::new(), false));
}

#[test]
fn workers_are_told_with_their_leaders_and_wait_as_those() {
    let mut record = Record::default();
    let worker = SeenBackend {
        kind: SeenKind::Worker,
        leader: Some(10),
        ..waits(80, &[1])
    };
    look(&mut record, 1, &[client(10), worker.clone()]);
    let findings = look(&mut record, 2, &[client(10), worker]);
    assert_eq!(findings.workers, Some(vec![(80, 10)]));
    let view = record.view(at(2), &name);
    assert_eq!(
        (
            view.blocked[0].blocker.as_str(),
            view.blocked[0].blocked.as_str()
        ),
        ("evaluation", "slow")
    );
}
