//! Clients that begin with TLS, in either way, and those that should.

use pglanes_tests::{
    Begin, Certificates, Proxy, Raw, Target, cancel, connect, invariants, raw_over, soon,
    startup_packet, tags, tls_connect, try_connect, value,
};
use pglanes_wire::startup::write_cancel_request;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DIRECT: Begin = Begin::Direct(Some("postgresql"));

async fn login(proxy: &Proxy, config: ClientConfig, begin: Begin) -> (Raw, pglanes_tests::Welcome) {
    let stream = tls_connect(proxy.address(), config, begin).await.unwrap();
    let mut raw = raw_over(stream).await;
    raw.send(&startup_packet(&[
        ("user", "postgres"),
        ("database", proxy.database()),
    ]))
    .await;
    let welcome = raw.welcome().await;
    (raw, welcome)
}

#[tokio::test]
async fn a_session_over_tls_is_like_any_other() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section("")).run().await;
    for begin in [Begin::Request, DIRECT] {
        let (mut raw, _) = login(&proxy, certificates.client("ca.crt"), begin).await;
        assert_eq!(raw.value("SELECT 42").await, "42", "{begin:?}");
        // Many records in both directions, more than the socket takes at once.
        let large = "x".repeat(3_000_000);
        let length = raw.value(&format!("SELECT length('{large}')")).await;
        assert_eq!(length, "3000000");
        assert_eq!(
            raw.value("SELECT repeat('y', 5000000)").await.len(),
            5_000_000
        );
        assert_eq!(tags(&raw.query("SELECT 1/0").await), "EZ");
        assert_eq!(raw.value("SELECT 1").await, "1");
    }
    assert_eq!(proxy.metrics().tls_handshakes.get(), 2);
    // Beside them, those without.
    let plain = connect(&proxy, "").await;
    assert_eq!(value(&plain, "SELECT 1").await, "1");
    drop(plain);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_cancel_request_comes_over_tls_too_and_without_it() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section(", mode: require"))
        .run()
        .await;
    let (mut raw, welcome) = login(&proxy, certificates.client("ca.crt"), Begin::Request).await;
    for begin in [Some(Begin::Request), Some(DIRECT), None] {
        raw.send(
            pglanes_tests::Script::new()
                .query("SELECT pg_sleep(600)")
                .bytes(),
        )
        .await;
        let running = pglanes_tests::eventually("the statement runs", async || {
            let direct = proxy.pg().direct().await;
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%' AND state = 'active'";
            value(&direct, sql).await == "1"
        });
        running.await;
        match begin {
            // libpq before 17 sends it in the clear, whatever its connection is.
            None => cancel(&proxy, &welcome).await,
            Some(begin) => {
                let config = certificates.client("ca.crt");
                let mut stream = tls_connect(proxy.address(), config, begin).await.unwrap();
                let mut packet = bytes::BytesMut::new();
                write_cancel_request(&mut packet, welcome.pid, &welcome.key);
                soon(stream.write_all(&packet)).await.unwrap();
                let mut answer = Vec::new();
                soon(stream.read_to_end(&mut answer)).await.unwrap();
                assert!(answer.is_empty());
            }
        }
        let answers = raw.until_ready().await;
        assert_eq!(
            answers
                .iter()
                .find(|answer| answer.tag == b'E')
                .unwrap()
                .sqlstate(),
            "57014"
        );
    }
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn direct_tls_needs_alpn_and_the_right_one() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section("")).run().await;
    let config = || certificates.client("ca.crt");
    // The handshake succeeds, and then the connection is closed without a word, as PostgreSQL does.
    let stream = tls_connect(proxy.address(), config(), Begin::Direct(None)).await;
    let mut raw = raw_over(stream.unwrap()).await;
    raw.send_anyway(&startup_packet(&[("user", "postgres")]))
        .await;
    assert_eq!(tags(&raw.until_end().await), "");
    // Another protocol's client is told so inside the handshake.
    let refused = tls_connect(proxy.address(), config(), Begin::Direct(Some("h2"))).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    invariants(&proxy).await;
}

#[tokio::test]
async fn without_a_certificate_there_is_no_tls() {
    let certificates = Certificates::new();
    let proxy = Proxy::with("").run().await;
    let mut raw = proxy.raw().await;
    let mut request = bytes::BytesMut::new();
    pglanes_wire::startup::write_ssl_request(&mut request);
    raw.send(&request).await;
    assert_eq!(raw.byte().await, Some(b'N'));
    drop(raw);
    let refused = tls_connect(proxy.address(), certificates.client("ca.crt"), DIRECT).await;
    assert!(refused.is_err());
    invariants(&proxy).await;
}

#[tokio::test]
async fn who_must_use_tls_and_does_not_is_told() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section(", mode: require"))
        .run()
        .await;
    let error = try_connect(&proxy, "").await.err().unwrap();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "28000");
    assert!(error.message().contains("over TLS only"), "{error}");
    let (mut raw, _) = login(&proxy, certificates.client("ca.crt"), Begin::Request).await;
    assert_eq!(raw.value("SELECT 1").await, "1");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_certificate_is_asked_of_clients_and_verified() {
    let certificates = Certificates::new();
    let section = |authority: &str, more: &str| {
        let path = certificates.path(authority);
        certificates.section(&format!(", client_ca: {}{more}", path.display()))
    };
    let proxy = Proxy::with(&section("ca.crt", "")).run().await;
    let (mut raw, _) = login(
        &proxy,
        certificates.client_with_certificate(),
        Begin::Request,
    )
    .await;
    assert_eq!(raw.value("SELECT 1").await, "1");
    drop(raw);
    let refused = |config| async {
        // In TLS 1.3 a client learns of it with the first thing it reads.
        match tls_connect(proxy.address(), config, Begin::Request).await {
            Err(_) => true,
            Ok(mut stream) => {
                let _ = soon(stream.write_all(&startup_packet(&[("user", "postgres")]))).await;
                soon(stream.read_u8()).await.is_err()
            }
        }
    };
    assert!(
        refused(certificates.client("ca.crt")).await,
        "one without is refused"
    );
    // Requested only, clients may do without; a stranger's is refused all the same.
    proxy
        .reload(&section("ca.crt", ", client_certificates: request"))
        .await
        .unwrap();
    let (raw, _) = login(&proxy, certificates.client("ca.crt"), Begin::Request).await;
    drop(raw);
    proxy
        .reload(&section("other.crt", ", client_certificates: request"))
        .await
        .unwrap();
    assert!(
        refused(certificates.client_with_certificate()).await,
        "a stranger's is refused"
    );
    invariants(&proxy).await;
}
