//! `method: cert`: the client is whom its certificate names.

use pglanes_tests::{
    Begin, Certificates, Proxy, Raw, Target, connect, invariants, raw_over, soon, startup_packet,
    tls_connect,
};
use rustls::ClientConfig;

/// What a login as `user` comes to: a connection that is in, or the error.
async fn log_in(proxy: &Proxy, config: ClientConfig, user: &str) -> Result<Raw, (String, String)> {
    let stream = tls_connect(proxy.address(), config, Begin::Request).await;
    let mut raw = raw_over(stream.unwrap()).await;
    let startup = [("user", user), ("database", proxy.database())];
    raw.send(&startup_packet(&startup)).await;
    let first = raw.read().await;
    match first.tag {
        b'R' => {
            raw.until_ready().await;
            Ok(raw)
        }
        _ => Err((first.sqlstate(), first.text())),
    }
}

fn fragment(certificates: &Certificates, rules: &str) -> String {
    let authority = certificates.path("ca.crt");
    let more = format!(
        ", client_ca: {}, client_certificates: request",
        authority.display()
    );
    certificates.section(&more) + rules
}

#[tokio::test]
async fn a_certificate_names_the_user_and_no_other() {
    let certificates = Certificates::new();
    certificates.sign("daniel", "Daniel Jacobs", &[]);
    let rules = "access:
  - { user: pg_monitor, method: cert, map: [{ system_user: Daniel Jacobs, user: 'pg_*' }] }
  - { method: cert }\n";
    let proxy = Proxy::with(&fragment(&certificates, rules)).run().await;
    let own = log_in(&proxy, certificates.client_as("client"), "postgres").await;
    let mut own = own.unwrap();
    assert_eq!(own.value("SELECT current_user").await, "postgres");
    let failed = |user: &str| {
        let text = format!("certificate authentication failed for user \"{user}\"");
        ("28000".to_owned(), text)
    };
    // The map lets one in under another name, and says nothing of everybody else.
    let other = log_in(&proxy, certificates.client_as("daniel"), "postgres").await;
    assert_eq!(other.unwrap_err(), failed("postgres"));
    let other = log_in(&proxy, certificates.client_as("client"), "pg_monitor").await;
    assert_eq!(other.unwrap_err(), failed("pg_monitor"));
    let without = log_in(&proxy, certificates.client("ca.crt"), "postgres").await;
    let needed = "connection requires a valid client certificate";
    assert_eq!(without.unwrap_err(), ("28000".into(), needed.into()));
    assert_eq!(proxy.metrics().login_failures.get(), 3);
    drop(own);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_map_lets_a_certificate_be_another_user() {
    let certificates = Certificates::new();
    certificates.sign("daniel", "Daniel Jacobs", &[]);
    let pg = pglanes_tests::Pg::fresh().await;
    let role = format!("cert_{}", pg.database());
    let direct = pg.direct().await;
    soon(direct.batch_execute(&format!("CREATE ROLE {role} LOGIN")))
        .await
        .unwrap();
    let rules =
        "access: [{ method: cert, map: [{ system_user: Daniel Jacobs, user: 'cert_*' }] }]\n";
    let proxy = Proxy::with(&fragment(&certificates, rules))
        .over(&pg)
        .run()
        .await;
    let mut mapped = log_in(&proxy, certificates.client_as("daniel"), &role)
        .await
        .unwrap();
    assert_eq!(mapped.value("SELECT current_user").await, role);
    // A name that the map does not give is not one's own, either.
    let own = log_in(&proxy, certificates.client_as("client"), "postgres").await;
    assert_eq!(own.unwrap_err().0, "28000");
    // Over plain TCP there is no certificate.
    let plain = pglanes_tests::try_connect(&proxy, "").await.unwrap_err();
    assert_eq!(plain.code().unwrap().code(), "28000");
    drop(mapped);
    invariants(&proxy).await;
    drop(proxy);
    let again = connect(&pg, "").await;
    soon(again.batch_execute(&format!("DROP ROLE {role}")))
        .await
        .unwrap();
}
