//! A client vanishes, in each state it can be in: its slot is free and what it ran is cancelled. Each with a clean end of its
//! connection and with a reset, through a relay that can do either.

use pglanes_tests::{
    Proxy, Raw, Relay, Script, Target, eventually, invariants, soon, startup_packet,
};

use super::{nothing_runs, something_runs, waits};

/// How a client goes.
#[derive(Debug, Clone, Copy)]
enum Going {
    Closing,
    Resetting,
}

/// A proxy with one slot, and a client of it behind a relay.
struct Scene {
    proxy: Proxy,
    relay: Relay,
    client: Raw,
}

impl Scene {
    async fn set() -> Self {
        let proxy = Proxy::with_slots(1).run().await;
        let relay = Relay::to(proxy.address()).await;
        let mut client = Raw::connect(relay.address()).await;
        let who = [("user", "postgres"), ("database", proxy.database())];
        client.send(&startup_packet(&who)).await;
        client.welcome().await;
        Self {
            proxy,
            relay,
            client,
        }
    }

    /// The client goes; then another gets its slot and nothing of the first runs on.
    async fn ends(self, going: Going) {
        match going {
            Going::Closing => drop(self.client),
            Going::Resetting => self.relay.reset_all().await,
        }
        let mut next = Raw::ready(&self.proxy).await;
        assert_eq!(next.value("SELECT 'next'").await, "next", "{going:?}");
        nothing_runs(&self.proxy).await;
        drop(next);
        invariants(&self.proxy).await;
    }
}

/// A client that says this, is then in a transaction or a statement, and goes.
async fn check(first: Script, then: Script) {
    for going in [Going::Closing, Going::Resetting] {
        let mut scene = Scene::set().await;
        if !first.bytes().is_empty() {
            scene.client.ask(&first).await;
        }
        scene.client.say(&then).await;
        something_runs(&scene.proxy).await;
        scene.ends(going).await;
    }
}

#[tokio::test]
async fn idle_in_a_transaction() {
    check(
        Script::new().query("CREATE TABLE kept ()"),
        Script::new().query("BEGIN; DROP TABLE kept"),
    )
    .await;
}

#[tokio::test]
async fn in_a_query() {
    check(Script::new(), Script::new().query("SELECT pg_sleep(600)")).await;
}

#[tokio::test]
async fn in_a_pipeline_before_its_sync() {
    let pipeline = Script::new()
        .run("SELECT 1", &[])
        .run("SELECT pg_sleep(600)", &[])
        .flush();
    check(Script::new(), pipeline).await;
}

#[tokio::test]
async fn in_a_failed_transaction() {
    check(
        Script::new(),
        Script::new().query("BEGIN").query("SELECT 1/0"),
    )
    .await;
}

#[tokio::test]
async fn in_copy_from_it() {
    let first = Script::new().query("CREATE TABLE sink (line text)");
    check(
        first,
        Script::new()
            .query("COPY sink FROM STDIN")
            .copy_data(b"one\n"),
    )
    .await;
}

#[tokio::test]
async fn in_copy_to_it_unread() {
    let rows = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT";
    check(Script::new(), Script::new().query(rows)).await;
}

#[tokio::test]
async fn in_a_half_sent_message() {
    let half = &Script::new()
        .query("SELECT 'this is never said to its end'")
        .bytes()[..20]
        .to_vec();
    check(Script::new(), Script::new().query("BEGIN").raw(half)).await;
}

#[tokio::test]
async fn in_half_sent_copy_data() {
    let first = Script::new().query("CREATE TABLE sink (line text)");
    let half = &Script::new().copy_data(&[b'x'; 100_000]).bytes()[..50_000].to_vec();
    check(first, Script::new().query("COPY sink FROM STDIN").raw(half)).await;
}

#[tokio::test]
async fn pinned_and_idle() {
    for going in [Going::Closing, Going::Resetting] {
        let mut scene = Scene::set().await;
        scene.client.query("CREATE TEMP TABLE mine ()").await;
        assert_eq!(scene.proxy.pinned("temporary_table"), 1);
        scene.ends(going).await;
    }
}

#[tokio::test]
async fn waiting_for_a_slot() {
    for going in [Going::Closing, Going::Resetting] {
        let mut scene = Scene::set().await;
        let mut holding = Raw::ready(&scene.proxy).await;
        holding.query("BEGIN").await;
        scene
            .client
            .say(&Script::new().query("CREATE TABLE never ()"))
            .await;
        waits(&scene.proxy, 1).await;
        match going {
            Going::Closing => drop(std::mem::replace(
                &mut scene.client,
                Raw::ready(&scene.proxy).await,
            )),
            Going::Resetting => scene.relay.reset_all().await,
        }
        waits(&scene.proxy, 0).await;
        holding.query("COMMIT").await;
        let there = holding
            .value("SELECT count(*) FROM pg_class WHERE relname = 'never'")
            .await;
        assert_eq!(there, "0", "{going:?}: what waited never ran");
        drop(holding);
        scene.ends(going).await;
    }
}

#[tokio::test]
async fn in_a_half_sent_first_message() {
    for going in [Going::Closing, Going::Resetting] {
        let mut scene = Scene::set().await;
        let whole = Script::new().query("SELECT 'this is never said to its end'");
        scene.client.send(&whole.bytes()[..20]).await;
        // It holds no slot meanwhile: a message is whole, or large, before one is asked for.
        let mut other = Raw::ready(&scene.proxy).await;
        assert_eq!(other.value("SELECT 'other'").await, "other");
        drop(other);
        scene.ends(going).await;
    }
}

#[tokio::test]
async fn in_a_half_sent_startup() {
    let proxy = Proxy::with_slots(1).run().await;
    let packet = startup_packet(&[("user", "postgres"), ("database", proxy.database())]);
    for count in [0, 1, 4, 7, 8, packet.len() - 1] {
        let mut raw = proxy.raw().await;
        raw.send(&packet[..count]).await;
        eventually("it is at the door", || async {
            proxy.view().await.logins == 1
        })
        .await;
        drop(raw);
        eventually("it is gone", || async { proxy.view().await.logins == 0 }).await;
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn half_closed_behind_a_query() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
    something_runs(&proxy).await;
    raw.half_close().await;
    // Nothing more can come from it: as PostgreSQL's own clients, it is taken to have left.
    nothing_runs(&proxy).await;
    soon(raw.until_end()).await;
    invariants(&proxy).await;
}

/// A cancel that arrives before PostgreSQL has read the statement does nothing: one is not enough.
#[tokio::test]
async fn what_is_said_and_left_at_once_is_cancelled_all_the_same() {
    let proxy = Proxy::with_slots(4).run().await;
    for _ in 0..40 {
        let mut raw = Raw::ready(&proxy).await;
        raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
        raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
    }
    invariants(&proxy).await;
    nothing_runs(&proxy).await;
}
