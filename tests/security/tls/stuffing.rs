//! What somebody between the two sides puts before the handshake, where no one can tell yet who speaks.

use bytes::BytesMut;
use pglanes_tests::{
    Begin, Certificates, Fake, Proxy, Step, Target, connect, invariants, raw_over, startup_packet,
    tls_connect, try_connect, value,
};
use pglanes_wire::startup::write_ssl_request;

fn ssl_request() -> Vec<u8> {
    let mut request = BytesMut::new();
    write_ssl_request(&mut request);
    request.to_vec()
}

#[tokio::test]
async fn bytes_behind_a_request_for_tls_are_refused_cve_2021_3935() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section("")).run().await;
    let mut raw = proxy.raw().await;
    let stuffed = startup_packet(&[("user", "postgres"), ("database", "postgres")]);
    raw.send(&[&ssl_request(), stuffed.as_ref()].concat()).await;
    let answers = raw.until_end().await;
    assert_eq!(answers[0].sqlstate(), "08P01", "{answers:?}");
    assert!(answers[0].text().contains("unencrypted data"));
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_request_for_tls_inside_tls_is_refused() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section("")).run().await;
    let config = certificates.client("ca.crt");
    let stream = tls_connect(proxy.address(), config, Begin::Request).await;
    let mut raw = raw_over(stream.unwrap()).await;
    raw.send(&ssl_request()).await;
    let answers = raw.until_end().await;
    assert_eq!(answers[0].sqlstate(), "0A000", "{answers:?}");
    invariants(&proxy).await;
}

/// A server that answers a request for TLS so. With `sslmode=require`.
async fn refused(says: &[u8]) -> String {
    let script = vec![Step::Request, Step::Say(says.to_vec()), Step::UntilClosed];
    let fake = Fake::plays(vec![script]).await;
    let proxy = Proxy::with("auth: { method: trust }")
        .upstream_port(fake.port())
        .parameters("sslmode=require");
    let proxy = proxy.run().await;
    let error = try_connect(&proxy, "").await.err().unwrap();
    let error = error.as_db_error().unwrap().clone();
    assert_eq!(error.code().code(), "08006");
    fake.used_up().await;
    invariants(&proxy).await;
    error.message().to_owned()
}

#[tokio::test]
async fn what_a_server_stuffs_before_the_handshake_is_refused_cve_2021_23222() {
    let text = refused(b"SZ\0\0\0\x05I").await;
    assert!(text.contains("unencrypted data"), "{text}");
}

#[tokio::test]
async fn an_error_before_the_handshake_is_not_believed_cve_2024_10977() {
    let error = b"E\0\0\0\x20SFATAL\0C28000\0Mtrust me, use http\0\0";
    let text = refused(error).await;
    assert!(text.contains("answered SSLRequest with an error"), "{text}");
    assert!(!text.contains("trust me"), "{text}");
}

#[tokio::test]
async fn a_server_without_tls_is_not_good_enough_where_it_is_required() {
    let text = refused(b"N").await;
    assert!(
        text.contains("has no TLS, and sslmode asks for it"),
        "{text}"
    );
}

#[tokio::test]
async fn where_tls_is_preferred_a_server_without_it_will_do() {
    for answer in [b"N".to_vec(), b"E\0\0\0\x0bSFATAL\0".to_vec()] {
        let asked = vec![Step::Request, Step::Say(answer.clone())];
        let mut scripts = vec![asked];
        let mut login = Step::login();
        login.push(Step::UntilClosed);
        if answer == b"N" {
            scripts[0].extend(login);
        } else {
            // An error there may be an old server's: it is tried again without.
            scripts[0].push(Step::UntilClosed);
            scripts.push(login);
        }
        let fake = Fake::plays(scripts).await;
        let proxy = Proxy::with("auth: { method: trust }")
            .upstream_port(fake.port())
            .parameters("")
            .run()
            .await;
        let client = connect(&proxy, "").await;
        drop(client);
        invariants(&proxy).await;
        drop(proxy);
        fake.used_up().await;
    }
}

#[tokio::test]
async fn a_client_in_the_clear_before_a_server_in_the_clear_costs_no_handshake() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section("")).run().await;
    let client = connect(&proxy, "").await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    assert_eq!(proxy.metrics().tls_handshakes.get(), 0);
    drop(client);
    invariants(&proxy).await;
}
