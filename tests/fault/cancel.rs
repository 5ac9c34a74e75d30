//! A cancel reaches the query it was meant for, or nothing (design rule 6).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pglanes_tests::{Proxy, Raw, Script, cancel, eventually, invariants, send_cancel, soon, tags};

use super::{nothing_runs, something_runs, waits};

#[tokio::test]
async fn a_running_query_is_cancelled_in_the_servers_words() {
    let proxy = Proxy::with_slots(1).run().await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
    something_runs(&proxy).await;
    cancel(&proxy, &welcome).await;
    let answers = raw.until_ready().await;
    let error = answers.iter().find(|answer| answer.tag == b'E').unwrap();
    assert_eq!(error.sqlstate(), "57014");
    assert_eq!(error.text(), "canceling statement due to user request");
    assert_eq!(raw.value("SELECT 'alive'").await, "alive");
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 1);
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_waiting_transaction_leaves_the_queue_with_57014() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut holding = Raw::ready(&proxy).await;
    holding.query("BEGIN").await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    for script in [
        Script::new().query("CREATE TABLE never ()"),
        Script::new().run("CREATE TABLE never ()", &[]).sync(),
    ] {
        raw.say(&script).await;
        waits(&proxy, 1).await;
        cancel(&proxy, &welcome).await;
        let answers = raw.until_ready().await;
        assert_eq!(tags(&answers), "EZ", "{answers:?}");
        assert_eq!(answers[0].sqlstate(), "57014");
        waits(&proxy, 0).await;
    }
    // The one that holds the only connection was not meant.
    assert_eq!(holding.value("SELECT 'untouched'").await, "untouched");
    holding.query("COMMIT").await;
    let there = raw
        .value("SELECT count(*) FROM pg_class WHERE relname = 'never'")
        .await;
    assert_eq!(there, "0");
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 0);
    drop((holding, raw));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_wrong_key_does_nothing() {
    let proxy = Proxy::with_slots(1).run().await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    raw.say(&Script::new().query("SELECT pg_sleep(0.5), 'finished'"))
        .await;
    something_runs(&proxy).await;
    let mut wrong = welcome.key.to_vec();
    for place in 0..wrong.len() {
        wrong[place] ^= 1;
        send_cancel(&proxy, welcome.pid, &wrong).await;
        wrong[place] ^= 1;
    }
    send_cancel(&proxy, welcome.pid.wrapping_add(1), &wrong).await;
    send_cancel(&proxy, welcome.pid, b"").await;
    assert_eq!(tags(&raw.until_ready().await), "TDCZ");
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 0);
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_cancel_of_an_idle_session_does_nothing_to_its_next_query() {
    let proxy = Proxy::with_slots(1).run().await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    for round in 0..50 {
        cancel(&proxy, &welcome).await;
        assert_eq!(
            raw.value(&format!("SELECT {round}")).await,
            round.to_string()
        );
    }
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 0);
    drop(raw);
    // Nor when the session is gone and its key with it.
    eventually("it is gone", || async { proxy.view().await.sessions == 0 }).await;
    let mut next = Raw::ready(&proxy).await;
    next.query("BEGIN").await;
    cancel(&proxy, &welcome).await;
    assert_eq!(next.value("SELECT 'untouched'").await, "untouched");
    drop(next);
    invariants(&proxy).await;
}

/// The cancel has arrived, and PostgreSQL had nothing to cancel: what is sent after that is not what was meant.
#[tokio::test]
async fn a_cancel_of_an_idle_transaction_does_nothing_to_its_next_query() {
    let proxy = Proxy::with_slots(1).run().await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    for round in 0..5 {
        raw.query("BEGIN").await;
        cancel(&proxy, &welcome).await;
        // For longer than a cancel is repeated.
        let sql = format!("SELECT '{round}' FROM pg_sleep(0.3)");
        assert_eq!(raw.value(&sql).await, round.to_string());
        assert_eq!(tags(&raw.query("COMMIT").await), "CZ");
    }
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 5);
    drop(raw);
    invariants(&proxy).await;
}

/// One client's queries end while their cancels are under way; another's, on the same server connection, never feel it.
#[tokio::test]
async fn a_cancel_that_comes_as_the_query_ends_never_hits_the_next_client() {
    let proxy = Arc::new(Proxy::with_slots(1).run().await);
    let over = Arc::new(AtomicBool::new(false));
    let (other, other_over) = (Raw::ready(&*proxy).await, Arc::clone(&over));
    let other = tokio::spawn(async move {
        let mut other = other;
        let mut rounds: u32 = 0;
        while !other_over.load(Ordering::Relaxed) {
            let answers = other.query(&format!("SELECT {rounds}")).await;
            assert_eq!(tags(&answers), "TDCZ", "round {rounds}: {answers:?}");
            assert_eq!(answers[1].value(), rounds.to_string());
            rounds += 1;
        }
        rounds
    });
    let (mut raw, welcome) = Raw::login(&*proxy, &[]).await;
    let welcome = Arc::new(welcome);
    let (mut cancelled, mut finished) = (0, 0);
    for round in 0..300_u64 {
        // The query takes about as long as the cancel needs.
        raw.say(&Script::new().query("SELECT pg_sleep(0.002), 'mine'"))
            .await;
        let canceller = {
            let (proxy, welcome) = (Arc::clone(&proxy), Arc::clone(&welcome));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(round % 30 * 100)).await;
                cancel(&*proxy, &welcome).await;
            })
        };
        let answers = raw.until_ready().await;
        match answers.iter().find(|answer| answer.tag == b'E') {
            Some(error) => {
                assert_eq!(error.sqlstate(), "57014");
                cancelled += 1;
            }
            None => finished += 1,
        }
        soon(canceller).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let rounds = soon(other).await.unwrap();
    assert!(rounds > 100, "{rounds} rounds of the other");
    eprintln!("{cancelled} cancelled, {finished} finished, {rounds} of the other untouched");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_cancel_that_comes_as_the_slot_does_is_not_lost() {
    let proxy = Proxy::with_slots(2).run().await;
    let sessions = (0..10).map(|_| async {
        let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
        for _ in 0..6 {
            raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
            // Each cancel frees the slot that another session waits for, whose own cancel is on its way then.
            tokio::time::sleep(Duration::from_millis(30)).await;
            cancel(&proxy, &welcome).await;
            let answers = raw.until_ready().await;
            let error = answers.iter().find(|answer| answer.tag == b'E').unwrap();
            assert_eq!(error.sqlstate(), "57014");
        }
    });
    futures_util::future::join_all(sessions).await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_storm_of_cancels_is_bounded_and_ends_the_query_once() {
    let proxy = Arc::new(Proxy::with("limits: { cancels: 4 }").run().await);
    let (mut raw, welcome) = Raw::login(&*proxy, &[]).await;
    let welcome = Arc::new(welcome);
    raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
    something_runs(&proxy).await;
    let mut storm = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (proxy, welcome) = (Arc::clone(&proxy), Arc::clone(&welcome));
        storm.spawn(async move { cancel(&*proxy, &welcome).await });
    }
    let answers = raw.until_ready().await;
    assert!(
        answers
            .iter()
            .any(|answer| answer.tag == b'E' && answer.sqlstate() == "57014")
    );
    while let Some(ended) = storm.join_next().await {
        ended.unwrap();
    }
    assert_eq!(raw.value("SELECT 'alive'").await, "alive");
    assert_eq!(proxy.metrics().cancel_requests.get(), 100);
    nothing_runs(&proxy).await;
    drop(raw);
    invariants(&proxy).await;
}
