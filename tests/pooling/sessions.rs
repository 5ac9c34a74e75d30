//! Lanes with session pooling: a server connection for as long as the session.

use pglanes_tests::{Proxy, Raw, Script, connect, eventually, invariants, soon, value};

use crate::swap::backend;

const LANES: &str = "
lanes:
  whole:
    match: [{ application_name: \"whole*\" }]
    pooling: session
    slots: { max: 2 }
    settings: { work_mem: 6MB }
  default: { slots: { max: 2 } }
";

#[tokio::test]
async fn a_session_keeps_its_connection_and_all_it_made_there() {
    let proxy = Proxy::with(LANES).run().await;
    let one = connect(&proxy, "application_name=whole1").await;
    let two = connect(&proxy, "application_name=whole2").await;
    let (first, second) = (backend(&one).await, backend(&two).await);
    assert_ne!(first, second);
    soon(one.batch_execute("SET work_mem = '3MB'; SET a.b = 'mine'"))
        .await
        .unwrap();
    soon(one.batch_execute("CREATE TEMP TABLE mine (a int)"))
        .await
        .unwrap();
    for _ in 0..5 {
        assert_eq!(
            (backend(&one).await, backend(&two).await),
            (first.clone(), second.clone())
        );
        assert_eq!(value(&one, "SHOW work_mem").await, "3MB");
        assert_eq!(value(&two, "SHOW work_mem").await, "6MB");
        assert_eq!(value(&one, "SELECT count(*) FROM mine").await, "0");
    }
    assert_eq!(proxy.pinned("session_pooling"), 2);
    drop((one, two));
    eventually("both are gone", || async {
        proxy.pinned("session_pooling") == 0
    })
    .await;
    for _ in 0..2 {
        let next = connect(&proxy, "application_name=whole3").await;
        assert_eq!(value(&next, "SHOW work_mem").await, "6MB");
        assert_eq!(
            value(&next, "SELECT coalesce(current_setting('a.b', true), '')").await,
            ""
        );
        assert_eq!(
            value(
                &next,
                "SELECT count(*) FROM pg_class WHERE relname = 'mine'"
            )
            .await,
            "0"
        );
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_third_session_waits_for_one_of_two_to_end() {
    let proxy = Proxy::with(LANES).run().await;
    let one = connect(&proxy, "application_name=whole").await;
    let two = connect(&proxy, "application_name=whole").await;
    let first = backend(&one).await;
    backend(&two).await;
    let three = connect(&proxy, "application_name=whole").await;
    let waits = tokio::spawn(async move { backend(&three).await });
    eventually("it waits", || async {
        proxy.view().await.scheduler.waiting == 1
    })
    .await;
    assert_eq!(backend(&one).await, first);
    drop(one);
    soon(waits).await.unwrap();
    drop(two);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_reset_brings_back_what_the_session_started_with() {
    let proxy = Proxy::with(LANES).run().await;
    let client = connect(&proxy, "application_name=whole1 options='-c a.b=given'").await;
    for reset in ["RESET ALL", "DISCARD ALL"] {
        soon(client.batch_execute("SET work_mem = '3MB'; SET a.b = 'x'"))
            .await
            .unwrap();
        soon(client.batch_execute("SET application_name = 'whole2'"))
            .await
            .unwrap();
        soon(client.batch_execute(reset)).await.unwrap();
        assert_eq!(value(&client, "SHOW work_mem").await, "6MB", "{reset}");
        assert_eq!(value(&client, "SHOW a.b").await, "given", "{reset}");
        assert_eq!(
            value(&client, "SHOW application_name").await,
            "whole1",
            "{reset}"
        );
    }
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_session_that_keeps_its_connection_from_the_start_is_told_its_backends_number() {
    let proxy = Proxy::with("lanes: { default: { pooling: session } }")
        .slots(2)
        .run()
        .await;
    let backend = "SELECT pg_backend_pid()";
    let (mut one, welcome) = Raw::login(&proxy, &[("application_name", "one")]).await;
    let own = welcome.pid.to_string();
    assert_eq!(one.value(backend).await, own);
    assert_eq!(one.value("SHOW application_name").await, "one");
    one.query("LISTEN here").await;
    let answers = one.query("NOTIFY here").await;
    let heard = answers.iter().find(|answer| answer.tag == b'A').unwrap();
    assert_eq!(heard.body[..4], welcome.pid.to_be_bytes());
    // Who waits for it names it as it names itself.
    one.query("BEGIN; SELECT pg_advisory_xact_lock(4715)").await;
    let (mut other, others) = Raw::login(&proxy, &[]).await;
    other
        .say(&Script::new().query("SELECT pg_advisory_lock(4715)"))
        .await;
    let blocking = format!("SELECT pg_blocking_pids({})", others.pid);
    let expected = format!("{{{own}}}");
    while one.value(&blocking).await != expected {
        tokio::task::yield_now().await;
    }
    // A cancel by that number is for what it runs.
    pglanes_tests::send_cancel(&proxy, others.pid, &others.key).await;
    let cancelled = other.until_ready().await;
    let error = cancelled.iter().find(|answer| answer.tag == b'E');
    assert_eq!(error.unwrap().sqlstate(), "57014");
    // Where no connection is free there is a login all the same, and a number that is no backend's.
    let (mut third, invented) = Raw::login(&proxy, &[]).await;
    assert!(invented.pid >= 1 << 30);
    drop(other);
    assert_ne!(third.value(backend).await, own);
    drop((one, third));
    invariants(&proxy).await;
}
