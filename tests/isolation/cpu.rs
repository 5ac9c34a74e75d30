//! The CPU and I/O priority of the server's processes, as the kernel tells it. What a machine does not permit is skipped,
//! and said.

use pglanes_proxy::Refusal;
use pglanes_tests::{Pg, Proxy, Relay, Target as _, connect, eventually, invariants, value};

const LANES: &str = "lanes:
  slow: { match: [{ application_name: 'slow*' }], cpu: background, io: background }
  lower: { match: [{ application_name: 'lower*' }], cpu: low }
  default: {}";

/// What the kernel tells of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scheduled {
    pub(super) nice: i32,
    policy: i32,
    /// The nice value of its session, where the kernel schedules by sessions.
    pub(super) session: Option<i32>,
}

/// Nothing where there is no /proc.
pub(super) fn scheduled(pid: &str) -> Option<Scheduled> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The 19th and the 41st field, counted behind the name, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // "/autogroup-13 nice 0"
    let session = std::fs::read_to_string(format!("/proc/{pid}/autogroup")).ok();
    let session = session.and_then(|text| text.split_whitespace().last()?.parse().ok());
    Some(Scheduled {
        nice: fields.get(16)?.parse().ok()?,
        policy: fields.get(38)?.parse().ok()?,
        session,
    })
}

/// Whether the first backend that was to be lowered was.
pub(super) async fn may_be_lowered(proxy: &Proxy) -> bool {
    eventually("it was lowered, or refused", || async {
        proxy.metrics().priorities() != (0, 0)
    })
    .await;
    proxy.metrics().priorities().1 == 0
}

/// `SCHED_OTHER`, `SCHED_BATCH`.
const OTHER: i32 = 0;
const BATCH: i32 = 3;

/// The backends of a client of each lane are where the file has them, or it was refused.
async fn are_where_they_should_be(proxy: &Proxy) {
    let mut clients = Vec::new();
    let mut found = Vec::new();
    for name in ["usual", "slow", "lower"] {
        let client = connect(proxy, &format!("application_name={name}")).await;
        found.push(value(&client, "SELECT pg_backend_pid()").await);
        clients.push(client);
    }
    eventually("both were lowered, or refused", || async {
        let (set, refused) = proxy.metrics().priorities();
        set + refused >= 2
    })
    .await;
    let scheduled: Option<Vec<Scheduled>> = found.iter().map(|pid| scheduled(pid)).collect();
    match (proxy.metrics().priorities(), scheduled) {
        ((2, 0), Some(scheduled)) => {
            // Backends begin as the postmaster was started, each in a session of its own.
            let started = proxy.pg().server().pid().unwrap().to_string();
            let started = self::scheduled(&started).unwrap().nice;
            let session = scheduled[0].session.is_some();
            let should_be = |nice, of_session, policy| Scheduled {
                nice,
                policy,
                session: session.then_some(of_session),
            };
            let [usual, background, low] = [
                should_be(started, 0, OTHER),
                should_be(19, 19, BATCH),
                should_be((started + 5).min(19), 5, BATCH),
            ];
            assert_eq!(scheduled, [usual, background, low]);
        }
        ((_, refused), Some(_)) => {
            assert!(refused > 0);
            let counters = &proxy.lane_metrics("slow").priority;
            let reasons: Vec<_> = counters
                .refusals()
                .filter(|(_, count)| *count > 0)
                .collect();
            eprintln!("SKIPPED: this machine does not permit another priority: {reasons:?}");
            assert_eq!(counters.refused(Refusal::NotTheBackend).get(), 0);
        }
        (_, None) => eprintln!("SKIPPED: there is no /proc here"),
    }
    drop(clients);
    invariants(proxy).await;
}

#[tokio::test]
async fn a_background_lanes_processes_run_at_low_priority_and_others_do_not() {
    let proxy = Proxy::with(LANES).run().await;
    are_where_they_should_be(&proxy).await;
}

#[tokio::test]
async fn so_they_do_behind_a_unix_socket() {
    let pg = Pg::fresh().await;
    let socket = format!("unix_socket: {}", pg.server().socket_dir().display());
    let proxy = Proxy::with(LANES).upstream(&socket).over(&pg).run().await;
    are_where_they_should_be(&proxy).await;
}

#[tokio::test]
async fn a_reload_lowers_what_is_open_and_raises_it_again() {
    let proxy = Proxy::with("lanes: { default: {} }").run().await;
    let client = connect(&proxy, "").await;
    let pid = value(&client, "SELECT pg_backend_pid()").await;
    let counters = &proxy.lane_metrics("default").priority;
    proxy
        .reload("lanes: { default: { cpu: background } }")
        .await
        .unwrap();
    eventually("it was lowered, or refused", || async {
        let (set, refused) = proxy.metrics().priorities();
        set + refused > 0
    })
    .await;
    if counters.set.get() == 0 {
        eprintln!("SKIPPED: this machine does not permit another priority");
    } else {
        assert_eq!(scheduled(&pid).map(|found| found.nice), Some(19));
        proxy.reload("lanes: { default: {} }").await.unwrap();
        eventually("it was raised, or refused", || async {
            counters.raised.get() + counters.refused(Refusal::CannotRaise).get() > 0
        })
        .await;
        let found = scheduled(&pid).unwrap();
        if let Some(session) = found.session.filter(|_| counters.raised.get() > 0) {
            assert_eq!(session, 0, "{found:?}");
        }
    }
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_process_of_a_backend_behind_another_is_not_taken_for_it() {
    let pg = Pg::fresh().await;
    // What stands between has connections of its own: nothing tells that the number is of this machine.
    let relay = Relay::to(pg.address()).await;
    let proxy = Proxy::with(LANES)
        .over(&pg)
        .upstream_port(relay.address().port())
        .run()
        .await;
    let client = connect(&proxy, "application_name=slow").await;
    let pid = value(&client, "SELECT pg_backend_pid()").await;
    let counters = &proxy.lane_metrics("slow").priority;
    eventually("it was refused", || async {
        counters.refusals().map(|(_, count)| count).sum::<u64>() > 0
    })
    .await;
    assert_eq!(counters.set.get(), 0);
    if let Some(found) = scheduled(&pid) {
        assert_eq!(counters.refused(Refusal::NotTheBackend).get(), 1);
        assert!(found.nice < 19, "{found:?}");
    }
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_throttle_lowers_backends_while_it_is_active() {
    let lanes = "lanes:
  evaluation: { match: [{ application_name: 'eval*' }] }
  slow: { match: [{ application_name: 'slow*' }] }
  default: {}
throttles: [{ while: { lane: evaluation, is: busy }, lane: slow, cpu: background }]";
    let proxy = Proxy::with(lanes).run().await;
    let slow = connect(&proxy, "application_name=slow").await;
    let pid = value(&slow, "SELECT pg_backend_pid()").await;
    let before = scheduled(&pid);
    let evaluation = super::holder(&proxy, "eval").await;
    // It keeps its slots.
    assert_eq!(value(&slow, "SELECT 1").await, "1");
    let counters = &proxy.lane_metrics("slow").priority;
    if may_be_lowered(&proxy).await {
        assert_eq!(scheduled(&pid).map(|found| found.nice), Some(19));
    } else {
        eprintln!("SKIPPED: this machine does not permit another priority");
    }
    evaluation.batch_execute("COMMIT").await.unwrap();
    eventually("it is over", || async {
        let over = counters.raised.get() + counters.refused(Refusal::CannotRaise).get();
        over > 0 || counters.set.get() == 0
    })
    .await;
    if counters.raised.get() > 0 {
        let session = |found: Option<Scheduled>| found.map(|found| found.session);
        assert_eq!(session(scheduled(&pid)), session(before));
    }
    drop((slow, evaluation));
    invariants(&proxy).await;
}
