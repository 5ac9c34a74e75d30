//! What those who have not logged in can do: little, and not for long.

use std::time::Duration;

use pglanes_tests::{
    Proxy, Raw, eventually, invariants, may_open_many_files, soon, startup_packet, tags,
};

#[tokio::test]
async fn a_startup_packet_that_is_too_long_is_refused_before_it_has_come() {
    let proxy = Proxy::with("").run().await;
    for length in [10_001_u32, 1 << 20, u32::MAX, 7, 0] {
        let mut raw = proxy.raw().await;
        raw.send(&[length.to_be_bytes(), 196_608_u32.to_be_bytes()].concat())
            .await;
        let end = raw.until_ready_or_cut().await;
        assert!(!tags(&end).contains('R'), "{length}: {end:?}");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn who_says_nothing_is_shown_out_after_the_login_timeout() {
    let proxy = Proxy::with("limits: { login_timeout: 200ms }").run().await;
    let mut silent = proxy.raw().await;
    let mut slow = proxy.raw().await;
    slow.send(&startup_packet(&[("user", "postgres")])[..9])
        .await;
    for raw in [&mut silent, &mut slow] {
        let end = raw.until_end().await;
        assert_eq!(tags(&end), "E");
        assert_eq!(end[0].sqlstate(), "08006");
        assert!(end[0].text().contains("login_timeout"), "{end:?}");
    }
    eventually("nobody is at the door", || async {
        proxy.view().await.logins == 0
    })
    .await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn who_is_slow_to_prove_a_password_is_shown_out_as_well() {
    let lanes = "limits: { login_timeout: 300ms }
auth: { method: scram-sha-256 }
users: { postgres: { password: { env: PASSWORD } } }";
    let proxy = Proxy::with(lanes).secret("PASSWORD", "right").run().await;
    let mut raw = proxy.raw().await;
    raw.send(&startup_packet(&[
        ("user", "postgres"),
        ("database", "postgres"),
    ]))
    .await;
    let end = raw.until_end().await;
    // On a busy machine the time may be over before the challenge is there.
    assert!(matches!(tags(&end).as_str(), "RE" | "E"), "{end:?}");
    assert_eq!(end[end.len() - 1].sqlstate(), "08006");
    invariants(&proxy).await;
}

#[tokio::test]
async fn half_open_logins_are_bounded_and_those_inside_do_not_feel_them() {
    if !may_open_many_files() {
        eprintln!(
            "SKIPPED: more than a thousand connections at once; the system does not allow so many open files"
        );
        return;
    }
    let proxy = Proxy::with("limits: { clients: 10000, login_timeout: 60s }")
        .run()
        .await;
    let mut inside = Raw::ready(&proxy).await;
    let mut half_open = Vec::new();
    for _ in 0..1_050 {
        half_open.push(
            soon(tokio::net::TcpStream::connect(("127.0.0.1", proxy.port())))
                .await
                .unwrap(),
        );
    }
    eventually("all were looked at", || async {
        proxy.metrics().accepted.get() >= 1_051
    })
    .await;
    assert_eq!(
        proxy.view().await.logins,
        1_000,
        "as many as may, and no more"
    );
    assert_eq!(proxy.metrics().refused.get(), 50);
    for round in 0..20 {
        let served = tokio::time::timeout(Duration::from_secs(20), inside.value("SELECT 'fine'"));
        assert_eq!(
            served.await.expect("those inside are served"),
            "fine",
            "{round}"
        );
    }
    // One that is refused is told so.
    let mut late = proxy.raw().await;
    let end = late.until_end().await;
    assert_eq!(end[0].sqlstate(), "53300");
    drop((half_open, late));
    eventually("nobody is at the door", || async {
        proxy.view().await.logins == 0
    })
    .await;
    assert_eq!(
        Raw::ready(&proxy).await.value("SELECT 'let in'").await,
        "let in"
    );
    drop(inside);
    invariants(&proxy).await;
}

#[tokio::test]
async fn clients_are_bounded_as_configured() {
    let proxy = Proxy::with("limits: { clients: 3 }").run().await;
    let inside = [
        Raw::ready(&proxy).await,
        Raw::ready(&proxy).await,
        Raw::ready(&proxy).await,
    ];
    // It may have come to cancel: what it wants is heard before it is refused.
    let mut fourth = proxy.raw().await;
    fourth.send(&startup_packet(&[("user", "postgres")])).await;
    let end = fourth.until_end().await;
    assert_eq!(end[0].sqlstate(), "53300");
    assert_eq!(end[0].fields()[&'S'], "FATAL");
    drop(inside);
    eventually("they have left", || async {
        proxy.view().await.sessions == 0
    })
    .await;
    drop(Raw::ready(&proxy).await);
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_is_said_before_the_login_is_over_is_not_run() {
    let users =
        "auth: { method: scram-sha-256 }\nusers: { postgres: { password: { env: PASSWORD } } }";
    let proxy = Proxy::with(users).secret("PASSWORD", "right").run().await;
    let mut raw = proxy.raw().await;
    let who = [("user", "postgres"), ("database", "postgres")];
    let mut bytes = startup_packet(&who).to_vec();
    bytes.extend_from_slice(
        pglanes_tests::Script::new()
            .query("CREATE TABLE never ()")
            .bytes(),
    );
    raw.send(&bytes).await;
    let end = raw.until_ready_or_cut().await;
    assert_eq!(tags(&end), "RE", "{end:?}");
    assert_eq!(
        proxy.metrics().servers_opened.get(),
        0,
        "nobody outside makes the server work"
    );
    invariants(&proxy).await;
}
