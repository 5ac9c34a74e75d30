//! A PostgreSQL that has TLS, reached by each of libpq's modes.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use pglanes_auth::Password;
use pglanes_config::{BindChannel, Roots, TlsMode, UpstreamTls};
use pglanes_control::{Control, Host, ServerAddress};
use pglanes_testbed::{Auth, Postgres, StopMode, Version};
use pglanes_tests::{
    Builder, Certificates, Pg, Proxy, Raw, Script, cancel, connect, eventually, invariants,
    try_connect, value,
};

const PASSWORD: &str = "s3cret";
/// Whether the backend that answers is spoken to over TLS.
const IS_ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// A server of this version with TLS on, which asks for SCRAM.
async fn start(version: Version, certificates: &Certificates) -> Pg {
    let auth = Auth::Scram {
        password: PASSWORD.to_owned(),
    };
    let pg = Pg::own(Postgres::builder().version(version).auth(auth)).await;
    let data = pg.server().data_dir();
    let owner = std::fs::metadata(data).unwrap();
    for name in ["server.crt", "server.key", "ca.crt"] {
        let to = data.join(name);
        std::fs::copy(certificates.path(name), &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let direct = connect(&pg, &format!("password={PASSWORD}")).await;
    for setting in ["ssl_ca_file = 'ca.crt'", "ssl = on"] {
        direct
            .batch_execute(&format!("ALTER SYSTEM SET {setting}"))
            .await
            .unwrap();
    }
    direct
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    eventually("the server has TLS", async || {
        let look = connect(&pg, &format!("password={PASSWORD}")).await;
        value(&look, "SHOW ssl").await == "on"
    })
    .await;
    pg
}

fn before(pg: &Pg, parameters: &str) -> Builder {
    Proxy::with("auth: { method: trust }")
        .over(pg)
        .upstream("password: { env: PASSWORD }")
        .secret("PASSWORD", PASSWORD)
        .parameters(parameters)
}

/// Whether the proxy's own connection is encrypted with these parameters, or why there is none.
async fn encrypted(pg: &Pg, parameters: &str) -> Result<String, String> {
    let proxy = before(pg, parameters).run().await;
    let outcome = match try_connect(&proxy, "").await {
        Ok(client) => Ok(value(&client, IS_ENCRYPTED).await),
        Err(error) => Err(match error.as_db_error() {
            Some(error) => format!("{} {}", error.code().code(), error.message()),
            None => error.to_string(),
        }),
    };
    invariants(&proxy).await;
    outcome
}

#[tokio::test]
async fn the_six_modes_before_a_server_with_tls() {
    let certificates = Certificates::new();
    let pg = start(Version::V17, &certificates).await;
    let roots = format!("&sslrootcert={}", certificates.path("ca.crt").display());
    let others = format!("&sslrootcert={}", certificates.path("other.crt").display());
    let yes = |mode: &str| (mode.to_owned(), Ok("t".to_owned()));
    let no = |mode: &str| (mode.to_owned(), Ok("f".to_owned()));
    for (parameters, expected) in [
        no("sslmode=disable"),
        no("sslmode=allow"),
        yes(""),
        yes("sslmode=prefer"),
        yes("sslmode=require"),
        yes("sslmode=require&sslnegotiation=direct"),
        yes(&format!("sslmode=require{roots}")),
        yes(&format!("sslmode=verify-ca{roots}")),
        yes(&format!("sslmode=verify-full{roots}")),
        yes(&format!(
            "sslmode=verify-full&channel_binding=require{roots}"
        )),
        yes("sslmode=require&channel_binding=disable"),
    ] {
        assert_eq!(encrypted(&pg, &parameters).await, expected, "{parameters}");
    }
    for (parameters, expected) in [
        (format!("sslmode=require{others}"), "UnknownIssuer"),
        (format!("sslmode=verify-full{others}"), "UnknownIssuer"),
        (
            "sslmode=verify-full&sslrootcert=system".to_owned(),
            "UnknownIssuer",
        ),
    ] {
        let error = encrypted(&pg, &parameters).await.unwrap_err();
        assert!(error.contains(expected), "{parameters}: {error}");
    }
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn a_name_that_is_not_the_certificates_is_refused_by_verify_full_alone() {
    let certificates = Certificates::new();
    certificates.sign("server", "pglanes", &["db.example.org"]);
    let pg = start(Version::V17, &certificates).await;
    let roots = format!("&sslrootcert={}", certificates.path("ca.crt").display());
    let full = encrypted(&pg, &format!("sslmode=verify-full{roots}")).await;
    let error = full.unwrap_err();
    assert!(error.contains("db.example.org"), "{error}");
    let authority = encrypted(&pg, &format!("sslmode=verify-ca{roots}")).await;
    assert_eq!(authority, Ok("t".to_owned()));
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn a_server_that_wants_the_other_way_is_asked_that_way() {
    let certificates = Certificates::new();
    // Without TLS it takes nobody: `allow` comes back with it.
    let pg = start(Version::V17, &certificates).await;
    let rules = |first: &str| {
        let hba = pg.server().data_dir().join("pg_hba.conf");
        std::fs::write(hba, format!("{first} all all 127.0.0.1/32 scram-sha-256\n")).unwrap();
        pg.server().restart(StopMode::Fast).unwrap();
    };
    rules("hostssl");
    assert_eq!(encrypted(&pg, "sslmode=allow").await, Ok("t".to_owned()));
    let error = encrypted(&pg, "sslmode=disable").await.unwrap_err();
    assert!(
        error.contains("28000") && error.contains("no encryption"),
        "{error}"
    );
    // With TLS it takes nobody: `prefer` comes back without.
    rules("hostnossl");
    assert_eq!(encrypted(&pg, "sslmode=prefer").await, Ok("f".to_owned()));
    let error = encrypted(&pg, "sslmode=require").await.unwrap_err();
    assert!(
        error.contains("28000") && error.contains("SSL encryption"),
        "{error}"
    );
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn cancel_requests_and_large_results_pass_through_tls() {
    let certificates = Certificates::new();
    let pg = start(Version::V17, &certificates).await;
    let proxy = before(&pg, "sslmode=require").run().await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    assert_eq!(
        raw.value("SELECT repeat('y', 5000000)").await.len(),
        5_000_000
    );
    let large = "x".repeat(3_000_000);
    assert_eq!(
        raw.value(&format!("SELECT length('{large}')")).await,
        "3000000"
    );
    raw.send(Script::new().query("SELECT pg_sleep(600)").bytes())
        .await;
    let direct = connect(&pg, &format!("password={PASSWORD}")).await;
    eventually("the statement runs", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'";
        value(&direct, sql).await == "1"
    })
    .await;
    cancel(&proxy, &welcome).await;
    let answers = raw.until_ready().await;
    let error = answers.iter().find(|answer| answer.tag == b'E').unwrap();
    assert_eq!(error.sqlstate(), "57014");
    drop(raw);
    invariants(&proxy).await;
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn a_certificate_of_the_proxy_is_shown_to_a_server_that_asks() {
    let certificates = Certificates::new();
    let pg = start(Version::V17, &certificates).await;
    let hba = pg.server().data_dir().join("pg_hba.conf");
    std::fs::write(hba, "hostssl all all 127.0.0.1/32 cert\n").unwrap();
    pg.server().restart(StopMode::Fast).unwrap();
    let (certificate, key) = (
        certificates.path("client.crt"),
        certificates.path("client.key"),
    );
    let identity = format!(
        "&sslcert={}&sslkey={}",
        certificate.display(),
        key.display()
    );
    assert_eq!(
        encrypted(&pg, &format!("sslmode=require{identity}")).await,
        Ok("t".to_owned())
    );
    let error = encrypted(&pg, "sslmode=require").await.unwrap_err();
    assert!(
        error.contains("28000") && error.contains("certificate"),
        "{error}"
    );
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn an_old_server_without_alpn_is_reached_by_asking() {
    let certificates = Certificates::new();
    let pg = start(Version::V14, &certificates).await;
    let roots = format!("&sslrootcert={}", certificates.path("ca.crt").display());
    let asked = encrypted(
        &pg,
        &format!("sslmode=verify-full&channel_binding=require{roots}"),
    )
    .await;
    assert_eq!(asked, Ok("t".to_owned()));
    let direct = encrypted(&pg, "sslmode=require&sslnegotiation=direct").await;
    assert!(direct.is_err(), "PostgreSQL 14 knows no direct TLS");
    pg.stop(StopMode::Immediate).await;
}

#[tokio::test]
async fn the_proxys_own_questions_go_over_tls_too() {
    let certificates = Certificates::new();
    let pg = start(Version::V17, &certificates).await;
    let hba = pg.server().data_dir().join("pg_hba.conf");
    std::fs::write(hba, "hostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    pg.server().restart(StopMode::Fast).unwrap();
    let address = ServerAddress {
        host: Host::Tcp("127.0.0.1".to_owned()),
        port: pg.server().port(),
        user: "postgres".to_owned(),
        database: "postgres".to_owned(),
        password: Some(Password::from(PASSWORD.to_owned())),
    };
    let by = |authority: &str| UpstreamTls {
        mode: TlsMode::VerifyFull,
        roots: Roots::File(certificates.path(authority)),
        channel_binding: BindChannel::Require,
        ..UpstreamTls::default()
    };
    let control = Control::with_tls(&address, &by("ca.crt")).unwrap();
    control.health().await.unwrap();
    let believed = Control::with_tls(&address, &by("other.crt")).unwrap();
    assert!(believed.health().await.is_err());
    let without = Control::new(&address).health().await;
    assert!(without.is_err(), "this server takes nobody without TLS");
    pg.stop(StopMode::Immediate).await;
}
