//! Credentials from elsewhere: `userlist.txt`, `auth_query`, and the key that a client's
//! own proof gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pglanes_auth::Password;
use pglanes_config::Config;
use pglanes_control::{Control, Host, ServerAddress};
use pglanes_proxy::{CredentialSource, Lookup};
use pglanes_tests::{Pg, Proxy, connect, eventually, invariants, try_connect, value};

use crate::{SUPERUSER, refusal, role, scram_server, stored, superuser, user, wrong_password};

/// The control plane, as the binary puts it before the data path.
#[derive(Debug)]
struct OverControl {
    control: Control,
    asked: AtomicU32,
}

impl OverControl {
    fn new(pg: &Pg) -> Arc<Self> {
        let control = Control::new(&ServerAddress {
            host: Host::Tcp("127.0.0.1".to_owned()),
            port: pg.server().port(),
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            password: Some(Password::from(SUPERUSER)),
        });
        let asked = AtomicU32::new(0);
        Arc::new(Self { control, asked })
    }
}

impl CredentialSource for OverControl {
    fn look_up(&self, config: &Config, user: &str) -> Lookup {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let query = config.auth_query.clone().and_then(|asked| asked.query);
        let (control, user) = (self.control.clone(), user.to_owned());
        Box::pin(async move {
            let found = control.credential(query.as_deref(), &user).await;
            found.map_err(|error| error.to_string())
        })
    }
}

const SCRAM: &str = "auth: { method: scram-sha-256 }\n";

async fn with_query(query: &str) -> (Proxy, Arc<OverControl>) {
    let pg = scram_server().await;
    let source = OverControl::new(&pg);
    let proxy = Proxy::with(&format!("{SCRAM}{query}"))
        .over(&pg)
        .credentials(source.clone())
        .run()
        .await;
    (proxy, source)
}

#[tokio::test]
async fn with_a_verifier_alone_the_clients_own_proof_logs_in_at_postgresql() {
    let pg = scram_server().await;
    let name = role(&pg, "canary-pencil").await;
    let list = format!("\"{name}\" \"{}\"\n", stored(&pg, &name).await);
    let proxy = Proxy::with(&format!("{SCRAM}users_file: userlist.txt"))
        .users_file(&list)
        .over(&pg)
        .run()
        .await;
    let refused = refusal(try_connect(&proxy, &user(&name, "canary-pencils")).await);
    assert_eq!(refused, wrong_password(&name));
    // One login's key opens as many connections as are needed.
    let asked = user(&name, "canary-pencil");
    let clients = join_all((0..4).map(|_| connect(&proxy, &asked))).await;
    let sleep = |client| value(client, "SELECT current_user FROM pg_sleep(0.2)");
    for found in join_all(clients.iter().map(sleep)).await {
        assert_eq!(found, name);
    }
    assert!(proxy.metrics().servers_opened.get() > 1);
    drop(clients);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_key_that_postgresql_refuses_is_dropped_and_the_next_login_brings_another() {
    let (proxy, _) = with_query("auth_query: {}").await;
    let name = role(proxy.pg(), "old").await;
    let client = connect(&proxy, &user(&name, "old")).await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let admin = superuser(proxy.pg()).await;
    let change = format!(
        "ALTER ROLE {name} PASSWORD 'new'; SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{name}'"
    );
    admin.batch_execute(&change).await.unwrap();
    let failed = client.simple_query("SELECT 1").await;
    assert!(failed.is_err(), "the old key opens nothing");
    eventually("the new password is taken", || async {
        try_connect(&proxy, &user(&name, "new")).await.is_ok()
    })
    .await;
    let refused = refusal(try_connect(&proxy, &user(&name, "old")).await);
    assert_eq!(refused, wrong_password(&name));
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn auth_query_finds_verifiers_and_asks_once_for_many_logins() {
    let (proxy, source) = with_query("auth_query: {}").await;
    let name = role(proxy.pg(), "pencil").await;
    for _ in 0..5 {
        let client = connect(&proxy, &user(&name, "pencil")).await;
        assert_eq!(value(&client, "SELECT current_user").await, name);
    }
    assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        let refused = refusal(try_connect(&proxy, &user("role_of_nobody", "x")).await);
        assert_eq!(refused, wrong_password("role_of_nobody"));
    }
    assert_eq!(source.asked.load(Ordering::Relaxed), 2);
    invariants(&proxy).await;
}

// CVE-2025-2291.
#[tokio::test]
async fn an_expired_password_opens_nothing() {
    let (proxy, _) = with_query("auth_query: {}").await;
    let admin = superuser(proxy.pg()).await;
    let (expired, valid) = (role(proxy.pg(), "p").await, role(proxy.pg(), "p").await);
    let expire = format!(
        "ALTER ROLE {expired} VALID UNTIL '2001-01-01'; ALTER ROLE {valid} VALID UNTIL '2999-01-01'"
    );
    admin.batch_execute(&expire).await.unwrap();
    let refused = refusal(try_connect(&proxy, &user(&expired, "p")).await);
    assert_eq!(refused, wrong_password(&expired));
    let client = connect(&proxy, &user(&valid, "p")).await;
    assert_eq!(value(&client, "SELECT current_user").await, valid);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_name_is_a_parameter_and_never_a_part_of_the_question() {
    let (proxy, _) = with_query("auth_query: {}").await;
    let name = role(proxy.pg(), "pencil").await;
    for attempt in [
        format!("{name}' OR '1'='1"),
        format!("x' UNION SELECT '{name}', 'pencil"),
        "$1".to_owned(),
        format!("{name}\u{0}x").replace('\u{0}', ";"),
        "'; DROP ROLE postgres; --".to_owned(),
        name.to_uppercase(),
        format!("{name} "),
    ] {
        let mut config = pglanes_tests::config(&proxy, "");
        config.user(&attempt).password("pencil");
        let outcome = pglanes_tests::soon(config.connect(tokio_postgres::NoTls)).await;
        assert_eq!(refusal(outcome.map(drop)), wrong_password(&attempt));
    }
    invariants(&proxy).await;
}

// CVE-2025-12819, and what a search_path of anybody's could do.
#[tokio::test]
async fn nothing_in_another_schema_and_no_setting_of_a_client_has_a_part_in_it() {
    let pg = scram_server().await;
    let admin = superuser(&pg).await;
    let name = role(&pg, "pencil").await;
    let attack = format!(
        "CREATE SCHEMA evil_{name};
         CREATE VIEW evil_{name}.pg_authid AS SELECT '{name}'::name AS rolname, 'hacked'::text AS rolpassword, true AS rolcanlogin, NULL::timestamptz AS rolvaliduntil;
         CREATE FUNCTION evil_{name}.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''2001-01-01''::timestamptz';
         CREATE FUNCTION evil_{name}.same(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR evil_{name}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil_{name}.same);
         ALTER ROLE postgres IN DATABASE postgres SET search_path = evil_{name}, pg_catalog, public"
    );
    admin.batch_execute(&attack).await.unwrap();
    let (proxy, _) = with_query("auth_query: {}").await;
    let hacked = format!(
        "{} options='-c search_path=evil_{name},pg_catalog'",
        user(&name, "hacked")
    );
    let refused = refusal(try_connect(&proxy, &hacked).await);
    let right = format!(
        "{} options='-c search_path=evil_{name},pg_catalog'",
        user(&name, "pencil")
    );
    let client = try_connect(&proxy, &right).await;
    let undo = format!(
        "ALTER ROLE postgres IN DATABASE postgres RESET search_path; DROP SCHEMA evil_{name} CASCADE"
    );
    admin.batch_execute(&undo).await.unwrap();
    assert_eq!(refused, wrong_password(&name));
    drop(client.unwrap());
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_question_of_ones_own_lets_in_only_the_user_it_is_asked_of() {
    let pg = scram_server().await;
    let name = role(&pg, "pencil").await;
    let verifier = stored(&pg, &name).await;
    let query =
        format!("auth_query: {{ query: \"SELECT '{name}', '{verifier}' WHERE $1 <> ''\" }}");
    let (proxy, _) = with_query(&query).await;
    let client = connect(&proxy, &user(&name, "pencil")).await;
    assert_eq!(value(&client, "SELECT current_user").await, name);
    let refused = refusal(try_connect(&proxy, &user("postgres", "pencil")).await);
    assert_eq!(refused, wrong_password("postgres"));
    drop(client);
    invariants(&proxy).await;
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl CredentialSource for Silent {
    fn look_up(&self, _: &Config, _: &str) -> Lookup {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_question_that_is_not_answered_ends_the_login_and_not_the_proxy() {
    let proxy = Proxy::with(&format!(
        "{SCRAM}auth_query: {{}}\nusers: {{ postgres: {{ password: {{ env: P }} }} }}"
    ))
    .secret("P", "pencil")
    .credentials(Arc::new(Silent))
    .run()
    .await;
    let unanswered = join_all((0..8).map(|number| {
        let asked = user(&format!("somebody_{number}"), "x");
        let proxy = &proxy;
        async move { refusal(try_connect(proxy, &asked).await).0 }
    }));
    let named = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        connect(&proxy, "password=pencil").await
    };
    let (codes, client) = tokio::join!(unanswered, named);
    assert!(codes.iter().all(|code| code.code() == "08006"), "{codes:?}");
    assert_eq!(value(&client, "SELECT 1").await, "1");
    drop(client);
    invariants(&proxy).await;
}
