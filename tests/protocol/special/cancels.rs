//! A cancel reaches the query it was meant for, or nothing (design rule 6): the moments in which it could go wrong, each
//! held still by a gate before the server.

use std::time::Duration;

use pglanes_tests::{
    Pg, Proxy, Raw, Script, Target, Welcome, cancel, eventually, invariants, send_cancel, soon,
    tags, value,
};

use super::gate::{CANCEL, Gate};
use super::waits;

/// A proxy of so many slots behind whose gate is a database of its own.
async fn gated(marker: &'static [u8], slots: u32) -> (Proxy, Gate) {
    let pg = Pg::fresh().await;
    let gate = Gate::before(pg.address(), marker).await;
    let proxy = Proxy::with_slots(slots)
        .over(&pg)
        .upstream_port(gate.port())
        .run()
        .await;
    (proxy, gate)
}

/// Two sessions on one server connection, whose settings differ from each other's.
async fn two(proxy: &Proxy, setting: &str) -> (Raw, Welcome, Raw) {
    let (mut one, welcome) = Raw::login(proxy, &[]).await;
    let mut other = Raw::ready(proxy).await;
    one.query(&format!("SET {setting} = '5MB'")).await;
    assert_eq!(other.value("SELECT 'mine now'").await, "mine now");
    (one, welcome, other)
}

const LOCK: &str = "SELECT pg_advisory_lock(7)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(7)";
/// A function, so that nothing of it pins.
const UNTIL_TOLD: &str = "CREATE FUNCTION until_told() RETURNS text LANGUAGE plpgsql \
    AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN ''done''; END'";

async fn is_blocked(direct: &tokio_postgres::Client) -> bool {
    // Other databases of the server are other tests'.
    let sql = "SELECT count(*) FROM pg_locks JOIN pg_database ON database = pg_database.oid \
               WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";
    value(direct, sql).await == "1"
}

/// A query that ended by itself while its cancel, which the gate holds, is on its way; the next of its kind waits for the lock
/// again.
async fn ends_before_its_cancel(
    proxy: &Proxy,
    gate: &Gate,
    direct: &tokio_postgres::Client,
    (one, welcome): (&mut Raw, Welcome),
    ask: &Script,
) -> tokio::task::JoinHandle<()> {
    direct.batch_execute(LOCK).await.unwrap();
    gate.shut();
    one.say(ask).await;
    eventually("the query waits for the lock", || is_blocked(direct)).await;
    let address = proxy.address();
    let cancelling = tokio::spawn(async move { cancel(&At(address), &welcome).await });
    gate.holds().await;
    direct.batch_execute(UNLOCK).await.unwrap();
    assert_eq!(tags(&one.until_ready().await), "TDCZ");
    direct.batch_execute(LOCK).await.unwrap();
    cancelling
}

#[tokio::test]
async fn a_late_cancel_is_waited_for_before_the_connection_is_handed_on() {
    let (proxy, gate) = gated(CANCEL, 1).await;
    let direct = proxy.pg().direct().await;
    direct.batch_execute(UNTIL_TOLD).await.unwrap();
    let blocked = || is_blocked(&direct);
    let (mut one, welcome) = Raw::login(&proxy, &[]).await;
    let mut other = Raw::ready(&proxy).await;
    let ask = Script::new().query("SELECT until_told()");
    let cancelling =
        ends_before_its_cancel(&proxy, &gate, &direct, (&mut one, welcome), &ask).await;
    other.say(&ask).await;
    // It must wait; if it did not, its query would now wait for the lock, and the cancel would hit it.
    let placed = || async { proxy.view().await.scheduler.waiting == 1 || blocked().await };
    eventually("the other is somewhere", placed).await;
    gate.open();
    soon(cancelling).await.unwrap();
    eventually("the other's query waits for the lock", blocked).await;
    direct.batch_execute(UNLOCK).await.unwrap();
    let answers = other.until_ready().await;
    assert_eq!(tags(&answers), "TDCZ", "{answers:?}");
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 1);
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_late_cancel_is_waited_for_before_a_session_that_keeps_its_connection_goes_on() {
    let (proxy, gate) = gated(CANCEL, 2).await;
    let direct = proxy.pg().direct().await;
    direct.batch_execute(UNTIL_TOLD).await.unwrap();
    // In a transaction the lock would be kept.
    let (mut one, welcome) = Raw::login(&proxy, &[]).await;
    one.query("CREATE TEMP TABLE pins (a int)").await;
    let mut other = Raw::ready(&proxy).await;
    let ask = Script::new().query("SELECT until_told()");
    let cancelling =
        ends_before_its_cancel(&proxy, &gate, &direct, (&mut one, welcome), &ask).await;
    one.say(&ask).await;
    // The one thread of the proxy has had to do with it before it answers so many others.
    for _ in 0..20 {
        assert_eq!(other.value("SELECT 'meanwhile'").await, "meanwhile");
    }
    assert!(!is_blocked(&direct).await, "it runs into its cancel");
    gate.open();
    soon(cancelling).await.unwrap();
    eventually("the next query waits for the lock", || is_blocked(&direct)).await;
    direct.batch_execute(UNLOCK).await.unwrap();
    let answers = one.until_ready().await;
    assert_eq!(tags(&answers), "TDCZ", "{answers:?}");
    drop((one, other));
    invariants(&proxy).await;
}

/// The proxy by its address alone, for a task of its own.
struct At(std::net::SocketAddr);

impl Target for At {
    fn address(&self) -> std::net::SocketAddr {
        self.0
    }

    fn database(&self) -> &str {
        ""
    }
}

#[tokio::test]
async fn one_that_comes_while_the_settings_are_made_cancels_the_query_that_follows() {
    let (proxy, gate) = gated(b"SET \"work_mem\"", 1).await;
    let (mut one, welcome, other) = two(&proxy, "work_mem").await;
    gate.shut();
    one.say(&Script::new().query("CREATE TABLE never ()")).await;
    gate.holds().await;
    cancel(&proxy, &welcome).await;
    gate.open();
    let answers = one.until_ready().await;
    assert_eq!(tags(&answers), "EZ", "{answers:?}");
    assert_eq!(answers[0].sqlstate(), "57014");
    // Our own query was not cancelled, and the client's never sent.
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 0);
    assert_eq!(one.value("SHOW work_mem").await, "5MB");
    let sql = "SELECT count(*) FROM pg_class WHERE relname = 'never'";
    assert_eq!(one.value(sql).await, "0");
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_query_sent_behind_our_own_is_cancelled_once_our_own_is_over() {
    let (proxy, gate) = gated(b"SET \"application_name\"", 1).await;
    let (mut one, welcome) = Raw::login(&proxy, &[("application_name", "one")]).await;
    let (mut other, _) = Raw::login(&proxy, &[("application_name", "other")]).await;
    other.query("SELECT 1").await;
    gate.shut();
    one.say(&Script::new().query("SELECT pg_sleep(600)")).await;
    gate.holds().await;
    cancel(&proxy, &welcome).await;
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 0);
    gate.open();
    let answers = one.until_ready().await;
    let error = answers.iter().find(|answer| answer.tag == b'E');
    assert_eq!(error.unwrap().sqlstate(), "57014", "{answers:?}");
    assert_eq!(one.value("SHOW application_name").await, "one");
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn one_that_comes_while_we_ask_for_the_settings_comes_too_late() {
    let (proxy, gate) = gated(b"current_setting(name)", 1).await;
    let (mut one, welcome) = Raw::login(&proxy, &[]).await;
    gate.shut();
    assert_eq!(tags(&one.query("SET work_mem = '5MB'").await), "CZ");
    gate.holds().await;
    for _ in 0..10 {
        cancel(&proxy, &welcome).await;
    }
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 0);
    gate.open();
    assert_eq!(one.value("SHOW work_mem").await, "5MB");
    drop(one);
    invariants(&proxy).await;
}

/// Takes the timeout back, which on a busy machine may itself meet it a few times.
async fn without_timeout(raw: &mut Raw) {
    for _ in 0..1000 {
        let answers = raw.query("SET statement_timeout = 0").await;
        match answers[0].tag {
            b'C' => return,
            _ => assert_eq!(answers[0].sqlstate(), "57014", "{answers:?}"),
        }
    }
    panic!("a thousand times in a row it took longer than 1 ms");
}

#[tokio::test]
async fn a_session_whose_own_timeout_stops_our_question_keeps_its_connection_and_lives() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    for _ in 0..20 {
        let answers = raw.query("SET statement_timeout = '1ms'").await;
        assert_eq!(tags(&answers), "CZ", "{answers:?}");
        without_timeout(&mut raw).await;
    }
    raw.query("SET statement_timeout = '1ms'").await;
    let answers = raw.query("SELECT pg_sleep(10)").await;
    let error = answers.iter().find(|answer| answer.tag == b'E');
    assert_eq!(error.unwrap().sqlstate(), "57014", "{answers:?}");
    without_timeout(&mut raw).await;
    assert_eq!(raw.value("SHOW statement_timeout").await, "0");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_cancel_is_taken_when_the_house_is_full() {
    let proxy = Proxy::with("limits: { clients: 1 }").run().await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    let mut late = proxy.raw().await;
    late.send(&pglanes_tests::startup_packet(&[("user", "postgres")]))
        .await;
    assert_eq!(late.read().await.sqlstate(), "53300");
    raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
    let direct = proxy.pg().direct().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("it runs", || async { value(&direct, sql).await == "1" }).await;
    cancel(&proxy, &welcome).await;
    let answers = raw.until_ready().await;
    let error = answers.iter().find(|answer| answer.tag == b'E');
    assert_eq!(error.unwrap().sqlstate(), "57014", "{answers:?}");
    assert_eq!(proxy.metrics().refused.get(), 1);
    drop(raw);
    invariants(&proxy).await;
}

/// Ten thousand cancels, for a session that is idle, for one that waits for its slot again and again, and with wrong keys;
/// while others work. Nobody but the waiting one gets an error.
#[tokio::test]
async fn ten_thousand_cancels_harm_nobody() {
    const AT_ONCE: usize = 100;
    const EACH: usize = 100;
    let proxy = Proxy::with_slots(1).run().await;
    let (idle, idle_key) = Raw::login(&proxy, &[]).await;
    let (mut waiting, waiting_key) = Raw::login(&proxy, &[]).await;
    let mut holding = Raw::ready(&proxy).await;
    holding.query("BEGIN").await;
    waiting.say(&Script::new().query("SELECT 'mine'")).await;
    waits(&proxy, 1).await;
    let mut wrong = idle_key.key.to_vec();
    wrong[0] ^= 1;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let (pid, key) = match number % 3 {
            0 => (idle_key.pid, idle_key.key.to_vec()),
            1 => (waiting_key.pid, waiting_key.key.to_vec()),
            _ => (idle_key.pid, wrong.clone()),
        };
        let address = proxy.address();
        tasks.spawn(async move {
            for _ in 0..EACH {
                send_cancel(&At(address), pid, &key).await;
            }
        });
    }
    // Whoever holds the slot works on meanwhile, and new clients come in.
    let mut rounds = 0;
    while !tasks.is_empty() {
        let answers = holding.query("SELECT 1").await;
        assert_eq!(tags(&answers), "TDCZ", "{answers:?}");
        rounds += 1;
        tokio::time::timeout(Duration::from_millis(20), tasks.join_next())
            .await
            .ok();
        if rounds == 3 {
            drop(Raw::ready(&proxy).await);
        }
    }
    let answers = waiting.until_ready().await;
    assert_eq!(tags(&answers), "EZ", "{answers:?}");
    assert_eq!(answers[0].sqlstate(), "57014");
    assert_eq!(proxy.metrics().cancel_requests.get(), 10_000);
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 0);
    assert_eq!(tags(&holding.query("COMMIT").await), "CZ");
    assert_eq!(waiting.value("SELECT 'mine'").await, "mine");
    drop((idle, waiting, holding));
    invariants(&proxy).await;
}
