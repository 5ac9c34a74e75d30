//! The stream of messages: large, in pieces, cut off, and not the protocol.

use pglanes_tests::{Proxy, Raw, Script, available, connect, invariants, resident, soon, tags};

/// What the whole process, other tests included, may grow by: a third of what passes through it.
const SHARE: u64 = 3;

fn s() -> Script {
    Script::new()
}

/// Runs a query whose result is not kept, and holds the memory taken meanwhile against a [`SHARE`] of it.
async fn passes_through(sql: &str, least: u64) {
    let proxy = Proxy::with_slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    raw.say(&s().query(sql)).await;
    let before = resident();
    let mut most = 0;
    let passed = raw
        .discard_until_ready(|| most = most.max(resident().unwrap_or(0)))
        .await;
    assert!(passed > least, "only {passed} bytes");
    if let Some(before) = before {
        let grown = most.saturating_sub(before);
        assert!(
            (grown as u64) < passed / SHARE,
            "{passed} bytes passed, and {grown} were held"
        );
    }
    assert_eq!(raw.value("SELECT 'still here'").await, "still here");
    drop(raw);
    invariants(&proxy).await;
}

/// One after the other: the memory that is looked at is the whole process's.
#[tokio::test]
async fn large_results_and_large_rows_pass_in_bounded_memory() {
    passes_through(
        "SELECT repeat('x', 100000) FROM generate_series(1, 3000)",
        300_000_000,
    )
    .await;
    passes_through("SELECT repeat('x', 150000000)", 150_000_000).await;
}

/// Near the most that PostgreSQL takes in one field (1 GB less a byte, with the message around it).
const GIGABYTE: usize = 1_000_000_000;
/// What the server takes of the machine for one such field, with room for others.
const SERVER_NEEDS: usize = 8 << 30;

/// A Bind of one parameter in text, up to where its value begins.
fn head_of_bind(value: usize) -> Vec<u8> {
    let value = u32::try_from(value).unwrap();
    // Itself, two empty names, no formats, one parameter and its length, and no result formats behind the value.
    let length = 4 + 2 + 2 + 2 + 4 + value + 2;
    let mut head = vec![b'B'];
    head.extend(length.to_be_bytes());
    head.extend([0, 0, 0, 0, 0, 1]);
    head.extend(value.to_be_bytes());
    head
}

#[tokio::test]
async fn a_field_of_a_gigabyte_passes_both_ways_in_bounded_memory() {
    if available().is_some_and(|available| available < SERVER_NEEDS) {
        eprintln!("SKIPPED: a field of 1 GB; the server would need {SERVER_NEEDS} bytes");
        return;
    }
    passes_through(&format!("SELECT repeat('x', {GIGABYTE})"), GIGABYTE as u64).await;

    let proxy = Proxy::with_slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    let before = resident();
    let mut most = 0;
    raw.say(&s().parse("", "SELECT octet_length($1)")).await;
    raw.send(&head_of_bind(GIGABYTE)).await;
    let piece = vec![b'x'; 1_000_000];
    for _ in 0..GIGABYTE / piece.len() {
        raw.send(&piece).await;
        most = most.max(resident().unwrap_or(0));
    }
    raw.send(&[0, 0]).await;
    raw.say(&s().execute("", 0).sync()).await;
    let answers = raw.until_ready().await;
    assert_eq!(tags(&answers), "12DCZ");
    assert_eq!(answers[2].value(), GIGABYTE.to_string());
    if let Some(before) = before {
        let grown = most.saturating_sub(before);
        assert!(grown < GIGABYTE / SHARE as usize, "{grown} were held");
    }
    assert_eq!(raw.value("SELECT 'still here'").await, "still here");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_parameter_of_12_megabytes_arrives() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    let large = "x".repeat(12_000_000);
    let answers = raw
        .ask(&s().run("SELECT length($1)", &[&large]).sync())
        .await;
    assert_eq!(tags(&answers), "12DCZ");
    assert_eq!(answers[2].value(), "12000000");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_is_no_message_ends_the_session_as_the_server_would() {
    let proxy = Proxy::with_slots(1).run().await;
    for bytes in [&b"y\0\0\0\x04"[..], b"\0\0\0\0\x04", b"2\0\0\0\x04"] {
        let mut codes = Vec::new();
        for (mut raw, what) in [
            (Raw::ready(proxy.pg()).await, "the server"),
            (Raw::ready(&proxy).await, "the proxy"),
        ] {
            raw.query("SELECT 1").await;
            raw.send(bytes).await;
            let answers = raw.until_end().await;
            assert_eq!(tags(&answers), "E", "{what}: {bytes:?}");
            codes.push((answers[0].sqlstate(), answers[0].fields().remove(&'V')));
        }
        assert_eq!(codes[1], codes[0], "{bytes:?}");
    }
    // An impossible length: the server hangs up without a word, and so may the proxy.
    for bytes in [&b"Q\0\0\0\x03"[..], b"Q\xff\xff\xff\xff"] {
        let mut raw = Raw::ready(&proxy).await;
        raw.send(bytes).await;
        let answers = raw.until_end().await;
        assert!(
            answers.iter().all(|answer| answer.tag == b'E'),
            "{answers:?}"
        );
    }
    // Inside a transaction too, and nobody finds it open.
    let mut raw = Raw::ready(&proxy).await;
    raw.query("BEGIN; CREATE TABLE never (a int)").await;
    raw.send(b"y\0\0\0\x04").await;
    assert_eq!(tags(&raw.until_end().await), "E");
    let mut next = Raw::ready(&proxy).await;
    let found = next
        .value("SELECT count(*) FROM pg_class WHERE relname = 'never'")
        .await;
    assert_eq!(found, "0");
    drop((raw, next));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_pipeline_of_ten_thousand_statements_is_answered_in_order() {
    let proxy = Proxy::with_slots(1).run().await;
    let client = connect(&proxy, "").await;
    let statement = soon(client.prepare("SELECT $1::int")).await.unwrap();
    let queries = (0..10_000).map(|n: i32| {
        let (client, statement) = (&client, &statement);
        async move {
            (
                n,
                client
                    .query_one(statement, &[&n])
                    .await
                    .unwrap()
                    .get::<_, i32>(0),
            )
        }
    });
    let answers = soon(futures_util::future::join_all(queries)).await;
    assert!(answers.iter().all(|(asked, got)| asked == got));
    drop((client, statement));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_session_that_flushes_and_waits_keeps_its_connection() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut one = Raw::ready(&proxy).await;
    let mut two = Raw::ready(&proxy).await;
    one.query("CREATE TABLE t (a int)").await;
    one.say(&s().run("INSERT INTO t VALUES (1)", &[]).flush())
        .await;
    one.expect("12C").await;
    // Not over before its Sync: nobody else runs in the transaction it has implicitly begun.
    two.say(&s().query("SELECT count(*) FROM t")).await;
    assert!(two.is_silent().await);
    let ended = one.ask(&s().run("SELECT 1/0", &[]).sync()).await;
    assert!(tags(&ended).contains('E'));
    let answers = two.until_ready().await;
    assert_eq!(answers[1].value(), "0", "the failed batch left something");
    drop((one, two));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_suspended_portal_keeps_its_connection() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut one = Raw::ready(&proxy).await;
    let mut two = Raw::ready(&proxy).await;
    let open = s()
        .parse("", "SELECT generate_series(1, 5)")
        .bind("p", "", &[]);
    one.say(&open.execute("p", 2).flush()).await;
    one.expect("12DDs").await;
    two.say(&s().query("SELECT 'two'")).await;
    assert!(two.is_silent().await);
    one.say(&s().execute("p", 0).sync()).await;
    one.expect("DDDCZ").await;
    assert_eq!(tags(&two.until_ready().await), "TDCZ");
    drop((one, two));
    invariants(&proxy).await;
}
