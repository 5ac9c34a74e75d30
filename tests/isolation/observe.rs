//! Seeing round the proxy: an observer looks at the real server, and the proxy draws its conclusions.

use pglanes_proxy::{Handle, ObservedView};
use pglanes_tests::{Pg, Proxy, connect, eventually, invariants, soon, value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cpu::{may_be_lowered, scheduled};
use super::{holder, lane, throttle, waits};

/// The lanes; what `more` says stands behind them.
fn lanes(more: &str) -> String {
    format!(
        "observe: {{ interval: 100ms }}
lanes:
  evaluation: {{ match: [{{ application_name: 'eval*' }}] }}
  slow: {{ match: [{{ application_name: 'slow*' }}], cpu: background }}
  default: {{}}
{more}"
    )
}

/// An observer that looks for as long as this lives.
struct Looking {
    task: JoinHandle<()>,
    configs: watch::Sender<pglanes_config::Config>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A proxy over a server of its own (the shared one's other clients are others' tests), and its observer.
async fn observed(more: &str) -> (Proxy, Looking) {
    let pg = Pg::own(pglanes_testbed::Postgres::builder()).await;
    let builder = Proxy::with(&lanes(more)).over(&pg);
    let mut config = builder.config(pg.server().port());
    config.upstream.user = Some("postgres".to_owned());
    let proxy = builder.run().await;
    let (configs, of_configs) = watch::channel(config);
    let handle: Handle = proxy.handle().clone();
    let task = tokio::spawn(pglanes::observe::watch(of_configs, handle));
    (proxy, Looking { task, configs })
}

async fn view(proxy: &Proxy) -> ObservedView {
    proxy.view().await.observed
}

fn happened(proxy: &Proxy, label: &str) -> bool {
    let events = proxy.handle().events().since(0).events;
    events.iter().any(|event| event.kind.label() == label)
}

async fn end(proxy: Proxy, looking: Looking) {
    invariants(&proxy).await;
    drop(looking);
    let pg = proxy.pg().clone();
    drop(proxy);
    pg.stop(pglanes_testbed::StopMode::Immediate).await;
}

#[tokio::test]
async fn a_client_past_the_proxy_is_seen_and_ours_are_not_taken_for_one() {
    let (proxy, looking) = observed("").await;
    let ours = holder(&proxy, "eval").await;
    eventually("it was looked", || async {
        view(&proxy).await.age.is_some()
    })
    .await;
    let past = connect(proxy.pg(), "application_name=eval-direct").await;
    past.batch_execute("BEGIN").await.unwrap();
    eventually("it is seen", || async {
        !view(&proxy).await.direct.is_empty()
    })
    .await;
    let direct = view(&proxy).await.direct;
    assert_eq!(direct.len(), 1, "{direct:?}");
    let one = &direct[0];
    assert_eq!(
        (
            one.application_name.as_str(),
            one.lane.as_str(),
            one.connections,
            one.busy
        ),
        ("eval-direct", "evaluation", 1, 1)
    );
    assert!(happened(&proxy, "direct_seen"));
    drop(past);
    eventually("it is gone", || async {
        view(&proxy).await.direct.is_empty()
    })
    .await;
    assert!(happened(&proxy, "direct_gone"));
    drop(ours);
    end(proxy, looking).await;
}

#[tokio::test]
async fn a_direct_evaluation_throttles_where_that_is_configured() {
    let throttles = |direct: bool| {
        format!(
            "throttles: [{{ name: yields, while: {{ lane: evaluation, direct: {direct} }}, lane: slow, slots: 0 }}]"
        )
    };
    let (proxy, looking) = observed(&throttles(true)).await;
    let past = connect(proxy.pg(), "application_name=eval-direct").await;
    past.batch_execute("BEGIN").await.unwrap();
    eventually("the throttle is active", || async {
        throttle(&proxy).await.active_since.is_some()
    })
    .await;
    let slow = connect(&proxy, "application_name=slow").await;
    let held = tokio::spawn(async move { value(&slow, "SELECT 'done'").await });
    waits(&proxy, "slow", 1).await;
    past.batch_execute("COMMIT").await.unwrap();
    assert_eq!(soon(held).await.unwrap(), "done");
    // Where nobody asked for it, it is seen and no more.
    proxy.reload(&lanes(&throttles(false))).await.unwrap();
    past.batch_execute("BEGIN").await.unwrap();
    eventually("it is seen at work", || async {
        view(&proxy)
            .await
            .direct
            .iter()
            .any(|direct| direct.busy == 1)
    })
    .await;
    assert_eq!(throttle(&proxy).await.active_since, None);
    drop(past);
    end(proxy, looking).await;
}

#[tokio::test]
async fn an_observer_that_is_switched_off_leaves_no_throttle_behind() {
    let throttles = "throttles: [{ name: yields, while: { lane: evaluation, is: connected, direct: true }, lane: slow }]";
    let (proxy, looking) = observed(throttles).await;
    let past = connect(proxy.pg(), "application_name=eval-direct").await;
    eventually("the throttle is active", || async {
        throttle(&proxy).await.active_since.is_some()
    })
    .await;
    looking.configs.send_modify(|config| config.observe = None);
    eventually("the throttle is over", || async {
        throttle(&proxy).await.active_since.is_none()
    })
    .await;
    assert!(happened(&proxy, "observer_lost"));
    assert_eq!(view(&proxy).await.age, None);
    drop(past);
    end(proxy, looking).await;
}

#[tokio::test]
async fn a_lane_that_waits_for_another_is_counted_and_the_slow_one_is_lifted() {
    let (proxy, looking) = observed("").await;
    let slow = connect(&proxy, "application_name=slow").await;
    for statement in [
        "CREATE TABLE t AS SELECT 1 AS id",
        "BEGIN; UPDATE t SET id = 1",
    ] {
        slow.batch_execute(statement).await.unwrap();
    }
    let pid = value(&slow, "SELECT pg_backend_pid()").await;
    let evaluation = connect(&proxy, "application_name=eval").await;
    let update = tokio::spawn(async move {
        evaluation
            .batch_execute("UPDATE t SET id = 2")
            .await
            .unwrap();
        evaluation
    });
    let waited = |view: ObservedView| {
        let pair = view.blocked.into_iter();
        pair.filter(|pair| (pair.blocker.as_str(), pair.blocked.as_str()) == ("slow", "evaluation"))
            .any(|pair| !pair.total.is_zero())
    };
    eventually("the wait is counted", || async {
        waited(view(&proxy).await)
    })
    .await;
    assert!(happened(&proxy, "blocked") && happened(&proxy, "lifted"));
    assert_eq!(view(&proxy).await.lifted, 1);
    let counters = &proxy.lane_metrics("slow").priority;
    let may_be_lowered = may_be_lowered(&proxy).await;
    if may_be_lowered {
        eventually("it is lifted", || async { counters.lifts.get() == 1 }).await;
        eventually("the kernel says so", || async {
            scheduled(&pid).is_none_or(|found| found.session.unwrap_or(found.nice) < 19)
        })
        .await;
    }
    slow.batch_execute("COMMIT").await.unwrap();
    let evaluation = soon(update).await.unwrap();
    eventually("nobody waits", || async { view(&proxy).await.lifted == 0 }).await;
    if may_be_lowered {
        eventually("it is back where it was", || async {
            scheduled(&pid)
                .is_none_or(|found| found.nice == 19 && found.session.is_none_or(|nice| nice == 19))
        })
        .await;
    }
    assert_eq!(lane(&proxy, "slow").await.busy, 0);
    drop((slow, evaluation));
    end(proxy, looking).await;
}

#[tokio::test]
async fn parallel_workers_of_a_lowered_backend_are_lowered() {
    let (proxy, looking) = observed("").await;
    let slow = connect(&proxy, "application_name=slow").await;
    slow.batch_execute(
        "CREATE TABLE big AS SELECT generate_series(1, 4000) AS id;
         SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         SET max_parallel_workers_per_gather = 2",
    )
    .await
    .unwrap();
    if !may_be_lowered(&proxy).await {
        eprintln!("SKIPPED: this machine does not permit another priority");
    } else {
        let canceller = slow.cancel_token();
        let query = tokio::spawn(async move {
            // It ends by being cancelled: an error.
            let _ = slow
                .batch_execute("SELECT count(*) FROM big WHERE pg_sleep(0.05) IS NOT NULL")
                .await;
            slow
        });
        let counters = &proxy.lane_metrics("slow").priority;
        eventually("a worker was lowered", || async {
            counters.workers.get() > 0
        })
        .await;
        let direct = proxy.pg().direct().await;
        let worker = value(
            &direct,
            "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity WHERE leader_pid IS NOT NULL",
        )
        .await;
        let lowered = worker
            .split(' ')
            .filter_map(scheduled)
            .any(|found| found.nice == 19);
        assert!(lowered, "workers {worker}");
        canceller.cancel_query(tokio_postgres::NoTls).await.unwrap();
        drop(soon(query).await.unwrap());
    }
    end(proxy, looking).await;
}

#[tokio::test]
async fn who_may_not_see_others_is_told_so_and_nothing_is_made_up() {
    let (proxy, looking) = observed("").await;
    let admin = proxy.pg().direct().await;
    admin
        .batch_execute("CREATE ROLE blind LOGIN")
        .await
        .unwrap();
    looking
        .configs
        .send_modify(|config| config.upstream.user = Some("blind".to_owned()));
    eventually("it looks as the other user", || async {
        view(&proxy).await.hidden > 0
    })
    .await;
    let direct = view(&proxy).await.direct;
    assert!(direct.iter().all(|one| one.busy == 0), "{direct:?}");
    drop(admin);
    end(proxy, looking).await;
}

#[tokio::test]
async fn a_long_transaction_is_seen_by_lane() {
    let (proxy, looking) = observed("").await;
    let evaluation = holder(&proxy, "eval").await;
    eventually("it is seen", || async {
        let oldest = view(&proxy).await.oldest;
        oldest
            .iter()
            .any(|(lane, open)| lane == "evaluation" && !open.is_zero())
    })
    .await;
    // A minute makes it an event.
    assert!(!happened(&proxy, "long_transaction"));
    drop(evaluation);
    end(proxy, looking).await;
}
