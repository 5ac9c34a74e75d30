//! A protected lane's latency moves what others may run.

use std::time::Duration;

use pglanes_lanes::Mode;
use pglanes_lanes::objective::{ObjectiveSnapshot, Phase};
use pglanes_tests::{Proxy, connect, eventually, invariants, soon, value};

use super::{holder, lane, waits};

/// An evaluation with an objective, and compaction below it.
fn with(objective: &str) -> String {
    format!(
        "lanes:
  evaluation: {{ match: [{{ application_name: 'eval*' }}], priority: 10, objective: {{ p95: 1.2x, {objective} }} }}
  compaction: {{ match: [{{ application_name: 'compact*' }}], slots: {{ max: 3 }} }}
  default: {{}}
"
    )
}

/// Longer than any test.
const FOR_GOOD: &str = "linger: 1h, probe: { every: off }";

async fn objective(proxy: &Proxy) -> ObjectiveSnapshot {
    proxy.view().await.scheduler.objectives.remove(0)
}

#[tokio::test]
async fn quiet_latency_is_learned_by_class_and_only_while_nothing_else_runs() {
    let proxy = Proxy::with(&with(FOR_GOOD)).run().await;
    let evaluation = connect(&proxy, "application_name=eval").await;
    evaluation
        .batch_execute("CREATE TABLE noted (number int)")
        .await
        .unwrap();
    // Others have to be quiet for a moment before.
    eventually("something is learned", || async {
        value(&evaluation, "SELECT 'a'").await;
        !objective(&proxy)
            .await
            .classes
            .iter()
            .all(|class| class.samples == 0)
    })
    .await;
    for number in 0..45 {
        let insert = format!("INSERT INTO noted VALUES ({number})");
        evaluation.batch_execute(&insert).await.unwrap();
        value(&evaluation, "SELECT 'b'").await;
        let both = format!("BEGIN; {insert}; COMMIT");
        evaluation.batch_execute(&both).await.unwrap();
    }
    let seen = objective(&proxy).await;
    let known: Vec<(&str, u32)> = seen
        .classes
        .iter()
        .filter(|class| class.quiet.is_some_and(|quiet| quiet > Duration::ZERO))
        .map(|class| (class.class.kind.name(), class.samples))
        .collect();
    assert!(known.iter().any(|(kind, _)| *kind == "SELECT"), "{seen:?}");
    assert!(known.iter().any(|(kind, _)| *kind == "INSERT"), "{seen:?}");
    let before: u32 = seen.classes.iter().map(|class| class.samples).sum();
    let compaction = holder(&proxy, "compact").await;
    for _ in 0..10 {
        value(&evaluation, "SELECT 'c'").await;
    }
    let after: u32 = objective(&proxy)
        .await
        .classes
        .iter()
        .map(|class| class.samples)
        .sum();
    assert_eq!(before, after, "compaction ran meanwhile");
    compaction.batch_execute("COMMIT").await.unwrap();
    drop((evaluation, compaction));
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_others_have_one_slot_until_the_quiet_latency_is_known_and_all_when_the_lane_rests() {
    let proxy = Proxy::with(&with(FOR_GOOD)).run().await;
    let evaluation = connect(&proxy, "application_name=eval").await;
    value(&evaluation, "SELECT 'a'").await;
    let first = holder(&proxy, "compact").await;
    let second = connect(&proxy, "application_name=compact").await;
    let second = tokio::spawn(async move { value(&second, "SELECT 'second'").await });
    waits(&proxy, "compaction", 1).await;
    let seen = objective(&proxy).await;
    assert_eq!((seen.phase, seen.mode), (Phase::Learning, Mode::Enforce));
    assert_eq!(seen.limit_thousandths, Some(1000));
    assert_eq!(lane(&proxy, "compaction").await.effective, 1);
    assert!(!second.is_finished() && seen.held_back > 0);
    // The evaluation itself has all of its slots meanwhile.
    value(&evaluation, "SELECT 'b'").await;
    proxy
        .reload(&with("linger: 10ms, probe: { every: off }"))
        .await
        .unwrap();
    assert_eq!(soon(second).await.unwrap(), "second");
    eventually("it rests", || async {
        let seen = objective(&proxy).await;
        (seen.phase, seen.limit_thousandths) == (Phase::Resting, None)
    })
    .await;
    assert_eq!(lane(&proxy, "compaction").await.effective, 3);
    first.batch_execute("COMMIT").await.unwrap();
    drop((evaluation, first));
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_exempt_lane_is_not_held_back_and_neither_is_anyone_by_one_that_observes() {
    for free in ["exempt: [compaction]", "mode: observe"] {
        let proxy = Proxy::with(&with(&format!("{FOR_GOOD}, {free}")))
            .run()
            .await;
        let evaluation = connect(&proxy, "application_name=eval").await;
        value(&evaluation, "SELECT 'a'").await;
        let first = holder(&proxy, "compact").await;
        let second = holder(&proxy, "compact").await;
        assert_eq!(lane(&proxy, "compaction").await.busy, 2, "{free}");
        let seen = objective(&proxy).await;
        assert_eq!(seen.limit_thousandths, Some(1000), "{free}");
        assert_eq!(seen.held_back > 0, free.starts_with("mode"), "{free}");
        drop((evaluation, first, second));
        invariants(&proxy).await;
    }
}

#[tokio::test]
async fn where_no_quiet_moment_comes_one_is_made_and_given_up_when_it_does_not_become_quiet() {
    let made = "linger: 1h, probe: { every: 1s, length: 50ms }";
    let proxy = Proxy::with(&with(made)).run().await;
    let compaction = holder(&proxy, "compact").await;
    let evaluation = connect(&proxy, "application_name=eval").await;
    // Compaction holds its slot all the while: there is nothing to learn.
    eventually("a moment is given up", || async {
        value(&evaluation, "SELECT 'a'").await;
        objective(&proxy).await.failed_probes > 0
    })
    .await;
    compaction.batch_execute("COMMIT").await.unwrap();
    eventually("the quiet latency is learned", || async {
        value(&evaluation, "SELECT 'a'").await;
        objective(&proxy).await.phase == Phase::Keeping
    })
    .await;
    drop((evaluation, compaction));
    invariants(&proxy).await;
}
