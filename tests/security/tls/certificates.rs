//! Certificates that change while the proxy runs.

use pglanes_tests::{
    Begin, Certificates, Proxy, Target, eventually, invariants, raw_over, tls_connect,
};

/// The certificate that a client is shown.
async fn shown(proxy: &Proxy, certificates: &Certificates) -> Vec<u8> {
    let stream = tls_connect(
        proxy.address(),
        certificates.client("ca.crt"),
        Begin::Request,
    )
    .await;
    let stream = stream.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].to_vec()
}

#[tokio::test]
async fn a_changed_certificate_is_shown_without_a_restart() {
    let certificates = Certificates::new();
    let proxy = Proxy::with(&certificates.section("")).run().await;
    let old = certificates.der("server.crt").to_vec();
    assert_eq!(shown(&proxy, &certificates).await, old);
    let stream = tls_connect(
        proxy.address(),
        certificates.client("ca.crt"),
        Begin::Request,
    )
    .await;
    let mut before = raw_over(stream.unwrap()).await;
    let startup = [("user", "postgres"), ("database", proxy.database())];
    before.send(&pglanes_tests::startup_packet(&startup)).await;
    before.welcome().await;

    certificates.renew();
    let new = certificates.der("server.crt").to_vec();
    assert_ne!(new, old);
    eventually("the new certificate is shown", async || {
        shown(&proxy, &certificates).await == new
    })
    .await;
    assert_eq!(proxy.metrics().certificate_reloads.get(), 1);
    // Who was there before stays.
    assert_eq!(before.value("SELECT 1").await, "1");
    drop(before);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_bad_certificate_changes_nothing() {
    let certificates = Certificates::new();
    let section = certificates.section("");
    let proxy = Proxy::with(&section).run().await;
    let old = certificates.der("server.crt").to_vec();
    certificates.write("server.crt", "not a certificate", 0o644);
    eventually("the bad certificate is noticed", async || {
        proxy.metrics().certificate_reload_failures.get() == 1
    })
    .await;
    assert_eq!(shown(&proxy, &certificates).await, old);
    // One that is right but for its key is as bad.
    let pem = std::fs::read_to_string(certificates.path("client.crt")).unwrap();
    certificates.write("server.crt", &pem, 0o644);
    eventually("the wrong certificate is noticed", async || {
        proxy.metrics().certificate_reload_failures.get() == 2
    })
    .await;
    assert_eq!(shown(&proxy, &certificates).await, old);
    assert_eq!(proxy.metrics().certificate_reloads.get(), 0);
    certificates.renew();
    let new = certificates.der("server.crt").to_vec();
    eventually("a good one is taken again", async || {
        shown(&proxy, &certificates).await == new
    })
    .await;
    invariants(&proxy).await;
}
