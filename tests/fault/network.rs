//! Networks: single bytes, latency, a cut after each byte of a login and of an exchange, silence, resets; between client and
//! proxy and between proxy and server.

use std::time::Duration;

use pglanes_tests::{
    Direction, Pg, Proxy, Raw, Relay, Script, Target, Toxic, eventually, invariants, nothing_left,
    soon, startup_packet, tags,
};

/// A login's startup packet.
fn packet(proxy: &Proxy, more: &[(&str, &str)]) -> Vec<u8> {
    let who = [("user", "postgres"), ("database", proxy.database())];
    startup_packet(&[&who, more].concat()).to_vec()
}

async fn log_in(address: std::net::SocketAddr, packet: &[u8]) -> Raw {
    let mut raw = Raw::connect(address).await;
    raw.send(packet).await;
    raw.welcome().await;
    raw
}

/// Three statements and a Sync.
fn exchange() -> Script {
    Script::new()
        .run("SELECT 'first'", &[])
        .parse("named", "SELECT $1 || 'second'")
        .run_prepared("named", &["the "])
        .run("SELECT 'third'", &[])
        .sync()
}

const EXCHANGED: &str = "12DC12DC12DCZ";

async fn check_exchange(raw: &mut Raw) {
    let answers = raw.ask(&exchange().close_statement("named").sync()).await;
    assert_eq!(tags(&answers), EXCHANGED);
    assert_eq!(tags(&raw.until_ready().await), "3Z");
    let rows = answers.iter().filter(|answer| answer.tag == b'D');
    let rows: Vec<String> = rows.map(pglanes_tests::Answer::value).collect();
    assert_eq!(rows, ["first", "the second", "third"]);
}

async fn check_conversation(raw: &mut Raw) {
    check_exchange(raw).await;
    assert_eq!(
        tags(&raw.query("SELECT 1; SELECT 2; SELECT 1/0; SELECT 3").await),
        "TDCTDCEZ"
    );
    raw.query("CREATE TEMP TABLE sink (line text)").await;
    raw.say(
        &Script::new()
            .query("COPY sink FROM STDIN")
            .copy_data(b"one\ntwo\n")
            .copy_done(),
    )
    .await;
    assert_eq!(tags(&raw.until_ready().await), "GCZ");
    assert_eq!(tags(&raw.query("COPY sink TO STDOUT").await), "HddcCZ");
    assert_eq!(tags(&raw.query("DISCARD ALL").await), "CZ");
    check_exchange(raw).await;
}

#[tokio::test]
async fn single_bytes_and_latency_on_both_sides_change_nothing() {
    let pg = Pg::fresh().await;
    for toxic in [Toxic::Slicer, Toxic::Latency(Duration::from_millis(5))] {
        let behind = Relay::to(pg.address()).await;
        let proxy = Proxy::with_slots(1)
            .over(&pg)
            .upstream_port(behind.address().port())
            .run()
            .await;
        let before = Relay::to(proxy.address()).await;
        before.set(toxic);
        behind.set(toxic);
        let mut raw = log_in(before.address(), &packet(&proxy, &[])).await;
        check_conversation(&mut raw).await;
        drop(raw);
        invariants(&proxy).await;
    }
}

/// Cuts between client and proxy after each byte of a login and of an exchange.
async fn check_cuts_before(direction: Direction, longest: usize) {
    let proxy = Proxy::with_slots(2).run().await;
    drop(Raw::ready(&proxy).await);
    let relay = Relay::to(proxy.address()).await;
    let packet = packet(&proxy, &[]);
    let script = [packet.as_slice(), exchange().bytes()].concat();
    let mut whole = 0;
    for at in 0..longest {
        relay.set(Toxic::Cut(direction, at));
        let mut raw = Raw::connect(relay.address()).await;
        raw.send_anyway(&script).await;
        whole += usize::from(ends_whole(&mut raw).await);
    }
    assert!(
        (1..longest).contains(&whole),
        "{whole} of {longest} came through: the cuts reach from the start to the end"
    );
    relay.set(Toxic::None);
    let mut raw = log_in(relay.address(), &packet).await;
    check_exchange(&mut raw).await;
    drop(raw);
    invariants(&proxy).await;
}

/// Reads to the end of the stream or of the exchange; whether it was the exchange's. What comes is right as far as it comes.
async fn ends_whole(raw: &mut Raw) -> bool {
    let mut seen = String::new();
    let mut logged_in = false;
    while let Some(answer) = raw.next_or_cut().await {
        match (logged_in, answer.tag) {
            (false, b'Z') => logged_in = true,
            (false, _) => {}
            (true, tag) => seen.push(char::from(tag)),
        }
        if seen == EXCHANGED {
            return true;
        }
        assert!(!logged_in || EXCHANGED.starts_with(&seen), "{seen}");
    }
    false
}

#[tokio::test]
async fn a_client_cut_off_after_any_byte_it_said_leaves_nothing_behind() {
    let script = exchange().bytes().len();
    check_cuts_before(Direction::Forth, 60 + script + 20).await;
}

#[tokio::test]
async fn a_client_cut_off_after_any_byte_it_was_told_leaves_nothing_behind() {
    check_cuts_before(Direction::Back, 800).await;
}

#[tokio::test]
async fn a_login_at_the_server_cut_after_any_byte_is_an_error_and_not_a_hang() {
    let pg = Pg::fresh().await;
    let relay = Relay::to(pg.address()).await;
    let proxy = Proxy::with_slots(2)
        .over(&pg)
        .upstream_port(relay.address().port())
        .run()
        .await;
    drop(Raw::ready(&proxy).await);
    for (direction, longest) in [(Direction::Forth, 140), (Direction::Back, 600)] {
        let mut whole = 0;
        for at in 0..longest {
            relay.set(Toxic::Cut(direction, at));
            // Parameters of its own make a pool of its own, so that no attempt waits for another's back-off.
            let own = format!("{direction:?}{at}");
            let mut raw = proxy.raw().await;
            raw.send(&packet(&proxy, &[("search_path", &own)])).await;
            let answers = raw.until_ready().await;
            match answers.last() {
                Some(ready) if ready.tag == b'Z' => whole += 1,
                Some(error) => assert_eq!(error.sqlstate(), "08006", "{at}: {error:?}"),
                None => panic!("{direction:?}, cut at {at}: no answer at all"),
            }
        }
        assert!(
            (1..longest).contains(&whole),
            "{direction:?}: {whole} of {longest} came through"
        );
    }
    relay.set(Toxic::None);
    assert_eq!(
        Raw::ready(&proxy).await.value("SELECT 'fine'").await,
        "fine"
    );
    nothing_left(&proxy).await;
    assert_eq!(proxy.metrics().out_of_sync.get(), 0);
}

#[tokio::test]
async fn an_exchange_with_the_server_cut_after_any_byte_ends_its_session_alone() {
    let pg = Pg::fresh().await;
    let relay = Relay::to(pg.address()).await;
    let proxy = Proxy::with_slots(2)
        .over(&pg)
        .upstream_port(relay.address().port())
        .run()
        .await;
    let mut bystander = Raw::ready(&proxy).await;
    for (direction, longest) in [(Direction::Forth, 220), (Direction::Back, 260)] {
        let mut whole = 0;
        for at in 0..longest {
            relay.set(Toxic::None);
            let mut raw = Raw::ready(&proxy).await;
            raw.query("BEGIN").await;
            relay.set(Toxic::Cut(direction, at));
            raw.send_anyway(exchange().bytes()).await;
            let answers = raw.until_ready_or_cut().await;
            let seen = tags(&answers);
            match answers.last() {
                Some(last) if last.tag == b'Z' => {
                    assert_eq!(seen, EXCHANGED);
                    whole += 1;
                }
                Some(last) if last.tag == b'E' => assert_eq!(last.sqlstate(), "08006", "{at}"),
                // A row was cut: all that can be done is to end.
                _ => assert!(EXCHANGED.starts_with(&seen), "{at}: {seen}"),
            }
        }
        assert!(
            (1..longest).contains(&whole),
            "{direction:?}: {whole} of {longest} came through"
        );
        relay.set(Toxic::None);
        assert_eq!(bystander.value("SELECT 'fine'").await, "fine");
    }
    drop(bystander);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_nobody_hangs() {
    let pg = Pg::fresh().await;
    let relay = Relay::to(pg.address()).await;
    let builder = Proxy::with_slots(1)
        .upstream("connect_timeout: 300ms")
        .over(&pg);
    let proxy = builder.upstream_port(relay.address().port()).run().await;
    let mut client = Raw::ready(&proxy).await;
    // The one idle connection goes, and what comes in its place meets silence.
    relay.reset_all().await;
    relay.set(Toxic::Blackhole);
    let answers = client.query("SELECT 1").await;
    assert_eq!(tags(&answers), "EZ", "{answers:?}");
    assert_eq!(answers[0].sqlstate(), "08006");
    relay.set(Toxic::None);
    let served = || async { Raw::connect(proxy.address()).await };
    drop(served().await);
    eventually("clients are served again", || async {
        let mut raw = Raw::ready(&proxy).await;
        tags(&raw.query("SELECT 1").await) == "TDCZ"
    })
    .await;
    assert_eq!(client.value("SELECT 'alive'").await, "alive");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_reset_of_idle_server_connections_is_not_noticed_and_one_in_use_ends_its_session() {
    let pg = Pg::fresh().await;
    let relay = Relay::to(pg.address()).await;
    let proxy = Proxy::with_slots(2)
        .over(&pg)
        .upstream_port(relay.address().port())
        .run()
        .await;
    let mut idle = Raw::ready(&proxy).await;
    let mut running = Raw::ready(&proxy).await;
    assert_eq!(idle.value("SELECT 1").await, "1");
    running.query("BEGIN").await;
    relay.reset_all().await;
    let last = soon(running.until_end()).await;
    assert_eq!(tags(&last), "E");
    assert_eq!(last[0].sqlstate(), "08006");
    for round in 0..3 {
        assert_eq!(idle.value("SELECT 'alive'").await, "alive", "{round}");
        relay.reset_all().await;
    }
    drop((idle, running));
    invariants(&proxy).await;
}
