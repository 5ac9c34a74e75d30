//! libpq itself, through psycopg, where this machine's Python has it: the modes, channel binding, direct TLS.

use std::process::Command;

use pglanes_tests::{Certificates, LIMIT, Output, Proxy, Target, invariants, run};

const PASSWORD: &str = "s3cret";

/// Connects with these parameters and says one value, or the error.
const SCRIPT: &str = "
import sys, psycopg
try:
    with psycopg.connect(sys.argv[1]) as connection:
        print(connection.execute('SELECT current_user').fetchone()[0])
except psycopg.OperationalError as error:
    print(str(error))
    sys.exit(1)
";

/// Whether psycopg is there, with a libpq that knows direct TLS.
async fn is_there() -> bool {
    let mut command = Command::new("python3");
    command.args([
        "-c",
        "import psycopg, sys; sys.exit(psycopg.pq.version() < 170000)",
    ]);
    let there = command.output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: python3 has no psycopg with libpq 17 or newer");
    }
    there
}

async fn login(proxy: &Proxy, parameters: &str) -> Output {
    let mut command = Command::new("python3");
    let port = proxy.port();
    let database = proxy.database();
    command.args(["-c", SCRIPT]).arg(format!(
        "host=localhost hostaddr=127.0.0.1 port={port} dbname={database} user=postgres password={PASSWORD} {parameters}"
    ));
    run(command, LIMIT).await
}

#[tokio::test]
async fn libpq_in_each_of_its_modes() {
    if !is_there().await {
        return;
    }
    let certificates = Certificates::new();
    let section = |more: &str| {
        let auth = "auth: { method: scram-sha-256 }\nusers: { postgres: { password: { env: PASSWORD } } }\n";
        format!("{}{auth}", certificates.section(more))
    };
    let proxy = Proxy::with(&section(""))
        .secret("PASSWORD", PASSWORD)
        .run()
        .await;
    let ca = format!("sslrootcert={}", certificates.path("ca.crt").display());
    let other = format!("sslrootcert={}", certificates.path("other.crt").display());
    for parameters in [
        "sslmode=disable",
        "sslmode=allow",
        "sslmode=prefer",
        "sslmode=require",
        "sslmode=require sslnegotiation=direct",
        "sslmode=require channel_binding=require",
        "sslmode=require channel_binding=disable",
        &format!("sslmode=verify-ca {ca}"),
        &format!("sslmode=verify-full {ca}"),
        &format!("sslmode=verify-full sslnegotiation=direct channel_binding=require {ca}"),
    ] {
        let output = login(&proxy, parameters).await;
        assert!(
            output.succeeded && output.stdout == "postgres",
            "{parameters}: {output:?}"
        );
    }
    for (parameters, expected) in [
        (
            format!("sslmode=verify-full {other}"),
            "certificate verify failed",
        ),
        (
            format!("sslmode=verify-full {ca} password=wrong"),
            "password authentication failed",
        ),
        (
            "sslmode=disable channel_binding=require".to_owned(),
            "channel binding",
        ),
    ] {
        let output = login(&proxy, &parameters).await;
        assert!(
            !output.succeeded && output.stdout.contains(expected),
            "{parameters}: {output:?}"
        );
    }
    proxy.reload(&section(", mode: require")).await.unwrap();
    let output = login(&proxy, "sslmode=disable").await;
    assert!(output.stdout.contains("over TLS only"), "{output:?}");
    // It begins without, is refused, and comes back with.
    assert!(login(&proxy, "sslmode=allow").await.succeeded);
    invariants(&proxy).await;
}

#[tokio::test]
async fn libpq_shows_its_certificate() {
    if !is_there().await {
        return;
    }
    let certificates = Certificates::new();
    let ca = certificates.path("ca.crt");
    let proxy = Proxy::with(&certificates.section(&format!(", client_ca: {}", ca.display())));
    let proxy = proxy.run().await;
    let (certificate, key) = (
        certificates.path("client.crt"),
        certificates.path("client.key"),
    );
    let identity = format!(
        "sslmode=require sslcert={} sslkey={}",
        certificate.display(),
        key.display()
    );
    let output = login(&proxy, &identity).await;
    assert!(output.succeeded, "{output:?}");
    let output = login(&proxy, "sslmode=require sslcert=/nowhere").await;
    assert!(!output.succeeded, "{output:?}");
    invariants(&proxy).await;
}
