//! LISTEN without a pin: `listen: shared`.

use pglanes_tests::{Answer, Proxy, Raw, Script, connect, eventually, invariants, soon, value};

const SHARED: &str = "lanes: { default: { listen: shared } }";

/// The channel and the payload of a notification.
fn heard(answer: &Answer) -> (String, String) {
    assert_eq!(answer.tag, b'A', "{answer:?}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut parts = answer.body[4..].split(|byte| *byte == 0);
    let mut part = || text(parts.next().unwrap());
    (part(), part())
}

fn said(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}

async fn notify(proxy: &Proxy, channel: &str, payload: &str) {
    let client = connect(proxy, "").await;
    let sql = format!("NOTIFY \"{channel}\", '{payload}'");
    soon(client.batch_execute(&sql)).await.unwrap();
}

#[tokio::test]
async fn many_listen_through_one_connection_and_hold_no_slot() {
    let proxy = Proxy::with(SHARED).slots(1).run().await;
    let mut listeners = Vec::new();
    for number in 0..10 {
        let mut raw = Raw::ready(&proxy).await;
        let own = format!("own {number}");
        for channel in ["all", own.as_str()] {
            let answers = raw.query(&format!("LISTEN \"{channel}\"")).await;
            assert_eq!(answers[0].cstr(), "LISTEN");
        }
        listeners.push(raw);
    }
    assert_eq!(proxy.pinned("listen"), 0);
    notify(&proxy, "all", "hello").await;
    notify(&proxy, "nobody's", "lost").await;
    notify(&proxy, "own 3", "you").await;
    for (number, raw) in listeners.iter_mut().enumerate() {
        assert_eq!(heard(&raw.read().await), said("all", "hello"));
        if number == 3 {
            assert_eq!(heard(&raw.read().await), said("own 3", "you"));
        }
        // It works on as it did, on the one connection that there is.
        assert_eq!(raw.value("SELECT 1").await, "1");
    }
    let direct = proxy.pg().direct().await;
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(value(&direct, connections).await, "2");
    // Nothing is left where the sessions themselves run.
    let client = connect(&proxy, "").await;
    let left = "SELECT count(*) FROM pg_listening_channels()";
    assert_eq!(value(&client, left).await, "0");
    drop((listeners, client));
    // With the last one the connection goes.
    eventually("nobody listens", || async {
        value(&direct, connections).await == "1"
    })
    .await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn nothing_said_after_the_answer_is_missed_and_nothing_is_heard_twice() {
    let proxy = Proxy::with(SHARED).slots(2).run().await;
    let direct = proxy.pg().direct().await;
    for round in 0..40 {
        let channel = format!("round{round}");
        let mut raw = Raw::ready(&proxy).await;
        // In both protocols.
        let answers = match round % 2 {
            0 => raw.query(&format!("LISTEN {channel}")).await,
            _ => {
                let listen = Script::new().run(&format!("LISTEN {channel}"), &[]).sync();
                raw.ask(&listen).await
            }
        };
        assert!(
            answers.iter().all(|answer| answer.tag != b'E'),
            "{answers:?}"
        );
        for number in 0..3 {
            let notify = format!("NOTIFY {channel}, '{number}'");
            soon(direct.batch_execute(&notify)).await.unwrap();
        }
        for number in 0..3 {
            let expected = said(&channel, &number.to_string());
            assert_eq!(heard(&raw.read().await), expected);
        }
        assert_eq!(raw.query("SELECT 1").await.len(), 4, "and nothing more");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_one_who_says_it_hears_it_once_and_between_transactions() {
    let proxy = Proxy::with(SHARED).slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    raw.query("LISTEN here").await;
    raw.say(&Script::new().query("NOTIFY here, 'mine'")).await;
    let mut answers = raw.expect("CZ").await;
    answers.push(raw.read().await);
    assert_eq!(heard(&answers[2]), said("here", "mine"));
    // In a transaction it waits for the end.
    raw.query("BEGIN").await;
    let direct = proxy.pg().direct().await;
    soon(direct.batch_execute("NOTIFY here, 'meanwhile'"))
        .await
        .unwrap();
    for _ in 0..5 {
        let inside = raw.query("SELECT 1").await;
        assert!(inside.iter().all(|answer| answer.tag != b'A'));
    }
    let end = raw.query("COMMIT").await;
    assert_eq!(end.last().unwrap().tag, b'Z');
    assert_eq!(heard(&raw.read().await), said("here", "meanwhile"));
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn unlisten_ends_it_and_a_rollback_brings_it_back() {
    let proxy = Proxy::with(SHARED).slots(1).run().await;
    let direct = proxy.pg().direct().await;
    let mut raw = Raw::ready(&proxy).await;
    for unlisten in ["UNLISTEN here", "UNLISTEN *", "DISCARD ALL"] {
        raw.query("LISTEN here").await;
        raw.query("LISTEN there").await;
        raw.query("BEGIN").await;
        if unlisten != "DISCARD ALL" {
            raw.query(unlisten).await;
        }
        raw.query("ROLLBACK").await;
        soon(direct.batch_execute("NOTIFY here, 'still'"))
            .await
            .unwrap();
        assert_eq!(heard(&raw.read().await), said("here", "still"));
        raw.query(unlisten).await;
        soon(direct.batch_execute("NOTIFY here, 'no more'"))
            .await
            .unwrap();
        raw.query("LISTEN last").await;
        soon(direct.batch_execute("NOTIFY last, 'marker'"))
            .await
            .unwrap();
        assert_eq!(
            heard(&raw.read().await),
            said("last", "marker"),
            "{unlisten}"
        );
    }
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_cannot_be_shared_pins_as_everywhere() {
    let proxy = Proxy::with(SHARED).slots(2).run().await;
    let direct = proxy.pg().direct().await;
    let mut raw = Raw::ready(&proxy).await;
    for (listen, name) in [
        ("BEGIN; LISTEN inside; COMMIT", "inside"),
        ("LISTEN one; LISTEN other", "other"),
    ] {
        raw.query(listen).await;
        assert_eq!(proxy.pinned("listen"), 1, "{listen}");
        let notify = format!("NOTIFY {name}, 'heard'");
        soon(direct.batch_execute(&notify)).await.unwrap();
        assert_eq!(heard(&raw.read().await), said(name, "heard"));
        raw.query("UNLISTEN *").await;
        assert_eq!(proxy.pinned("listen"), 0);
    }
    // A LISTEN that fails is an error.
    let failed = raw.query("LISTEN 1").await;
    assert_eq!(failed[0].sqlstate(), "42601");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn when_the_listening_connection_ends_its_sessions_do_and_others_do_not() {
    let proxy = Proxy::with(SHARED).slots(1).run().await;
    let direct = proxy.pg().direct().await;
    let (mut raw, mut other) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
    raw.query("LISTEN here").await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pglanes-listener' AND datname = current_database()";
    assert_eq!(value(&direct, kill).await, "1");
    let last = raw.until_end().await;
    assert_eq!(last[0].sqlstate(), "57P01");
    assert_eq!(other.value("SELECT 1").await, "1");
    // Who comes next has another.
    other.query("LISTEN here").await;
    soon(direct.batch_execute("NOTIFY here, 'again'"))
        .await
        .unwrap();
    assert_eq!(heard(&other.read().await), said("here", "again"));
    drop((raw, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_what_it_listens_to_is_let_go() {
    let proxy = Proxy::with(SHARED).slots(2).run().await;
    let mut raw = Raw::ready(&proxy).await;
    raw.query("LISTEN here").await;
    // Inside a transaction nothing is delivered: what comes waits, up to a limit.
    raw.query("BEGIN").await;
    let direct = proxy.pg().direct().await;
    let flood =
        "SELECT count(pg_notify('here', repeat('x', 7000) || n)) FROM generate_series(1, 300) n";
    assert_eq!(value(&direct, flood).await, "300");
    eventually("it is full", || async {
        let waits = "SELECT pg_notification_queue_usage() = 0";
        value(&direct, waits).await == "t"
    })
    .await;
    soon(direct.batch_execute("NOTIFY here, 'last'"))
        .await
        .unwrap();
    raw.say(&Script::new().query("COMMIT")).await;
    let last = raw.until_end().await;
    assert_eq!(last.last().unwrap().sqlstate(), "53400");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_is_rolled_back_goes_on_being_heard() {
    let proxy = Proxy::with(SHARED).slots(1).run().await;
    let direct = proxy.pg().direct().await;
    let extended = Script::new()
        .run("UNLISTEN here", &[])
        .run("ROLLBACK", &[])
        .sync();
    for (script, hears) in [
        (Script::new().query("UNLISTEN here; ROLLBACK"), true),
        (Script::new().query("UNLISTEN *; ABORT; SELECT 1"), true),
        (extended, true),
        (
            Script::new().query("BEGIN; SAVEPOINT a; UNLISTEN here; ROLLBACK TO a; COMMIT"),
            true,
        ),
        (
            Script::new()
                .query("BEGIN")
                .query("SAVEPOINT a")
                .query("UNLISTEN here")
                .query("SAVEPOINT b")
                .query("SELECT 1/0")
                .query("ROLLBACK TO a")
                .query("COMMIT"),
            true,
        ),
        (
            Script::new().query("UNLISTEN here; COMMIT; ROLLBACK"),
            false,
        ),
        (
            Script::new().query("UNLISTEN here").query("SELECT 1/0"),
            false,
        ),
        (
            Script::new().query("UNLISTEN here").query("ROLLBACK"),
            false,
        ),
        (
            Script::new()
                .query("BEGIN; UNLISTEN here; SAVEPOINT a")
                .query("SELECT 1")
                .query("ROLLBACK TO a; COMMIT"),
            false,
        ),
    ] {
        let mut raw = Raw::ready(&proxy).await;
        raw.query("LISTEN here").await;
        raw.query("LISTEN last").await;
        raw.say(&script.query("SELECT 'the end'")).await;
        loop {
            let answer = raw.read().await;
            if answer.tag == b'D' && answer.value() == "the end" {
                break;
            }
        }
        raw.until_ready().await;
        let notify = "NOTIFY here, 'still'; NOTIFY last, 'marker'";
        soon(direct.batch_execute(notify)).await.unwrap();
        if hears {
            assert_eq!(heard(&raw.read().await), said("here", "still"));
        }
        assert_eq!(heard(&raw.read().await), said("last", "marker"));
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_fails_behind_a_listen_has_no_part_in_it() {
    let proxy = Proxy::with(SHARED).slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    let script = Script::new()
        .query("LISTEN here")
        .query("SELECT 1/0")
        .query("SELECT 1");
    raw.say(&script).await;
    raw.expect("CZEZ").await;
    raw.until_ready().await;
    notify(&proxy, "here", "heard").await;
    assert_eq!(heard(&raw.read().await), said("here", "heard"));
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_listen_behind_a_shared_one_in_the_same_flight_holds() {
    let proxy = Proxy::with(SHARED).slots(1).run().await;
    let direct = proxy.pg().direct().await;
    for again in ["UNLISTEN here; LISTEN here", "LISTEN here"] {
        let mut raw = Raw::ready(&proxy).await;
        let script = Script::new().query("LISTEN here").query(again);
        raw.say(&script).await;
        raw.until_ready().await;
        raw.until_ready().await;
        assert_eq!(raw.value("SELECT 1").await, "1");
        soon(direct.batch_execute("NOTIFY here, 'heard'"))
            .await
            .unwrap();
        assert_eq!(heard(&raw.read().await), said("here", "heard"));
    }
    invariants(&proxy).await;
}
