//! With nothing known of a user, the login is carried out with PostgreSQL, end to end.

use std::time::Duration;

use futures_util::future::join_all;
use pglanes_tests::{Proxy, Target, connect, eventually, invariants, psql, try_connect, value};
use tokio_postgres::error::SqlState;

use crate::{refusal, role, scram_server, superuser, user, wrong_password};

/// A proxy with nothing configured, before a server that asks for passwords.
async fn bare(slots: u32) -> Proxy {
    let pg = scram_server().await;
    Proxy::with_slots(slots).over(&pg).run().await
}

/// The server's process behind a session.
async fn backend(client: &tokio_postgres::Client) -> String {
    value(client, "SELECT pg_backend_pid()").await
}

#[tokio::test]
async fn the_right_password_gets_in_and_the_wrong_one_hears_the_servers_error() {
    let proxy = bare(4).await;
    let name = role(proxy.pg(), "canary-pencil").await;
    let client = connect(&proxy, &user(&name, "canary-pencil")).await;
    assert_eq!(value(&client, "SELECT current_user").await, name);
    let wrong = user(&name, "canary-pencils");
    let there = refusal(try_connect(proxy.pg(), &wrong).await);
    assert_eq!(refusal(try_connect(&proxy, &wrong).await), there);
    assert_eq!(there, wrong_password(&name));
    let missing = refusal(try_connect(&proxy, &user("role_of_nobody", "x")).await);
    assert_eq!(missing, wrong_password("role_of_nobody"));
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_by_the_server() {
    let proxy = bare(4).await;
    let name = role(proxy.pg(), "pencil").await;
    let asked = format!("{} dbname=missing", user(&name, "pencil"));
    let (code, text) = refusal(try_connect(&proxy, &asked).await);
    assert_eq!(code, SqlState::INVALID_CATALOG_NAME);
    assert_eq!(text, "database \"missing\" does not exist");
    invariants(&proxy).await;
}

#[tokio::test]
async fn many_clients_share_few_of_the_connections_that_their_logins_brought() {
    let proxy = bare(2).await;
    let name = role(proxy.pg(), "pencil").await;
    let asked = user(&name, "pencil");
    let clients = join_all((0..12).map(|_| connect(&proxy, &asked))).await;
    let busy = clients.iter().map(|client| async move {
        for _ in 0..20 {
            assert_eq!(value(client, "SELECT 1").await, "1");
        }
    });
    join_all(busy).await;
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}'");
    let watch = superuser(proxy.pg()).await;
    eventually("two connections are left of twelve logins", || async {
        value(&watch, &count).await == "2"
    })
    .await;
    drop(clients);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_connection_is_used_again_by_its_own_user_alone() {
    let proxy = bare(6).await;
    let (first, second) = (role(proxy.pg(), "one").await, role(proxy.pg(), "two").await);
    let one = connect(&proxy, &user(&first, "one")).await;
    let of_first = backend(&one).await;
    drop(one);
    invariants(&proxy).await;
    // It idles there, and nobody comes in on it who has not proven to be its user.
    let stranger = refusal(try_connect(&proxy, &user(&first, "two")).await);
    assert_eq!(stranger, wrong_password(&first));
    let two = connect(&proxy, &user(&second, "two")).await;
    assert_eq!(value(&two, "SELECT current_user").await, second);
    assert_ne!(backend(&two).await, of_first);
    let again = connect(&proxy, &user(&first, "one")).await;
    assert_eq!(value(&again, "SELECT current_user").await, first);
    assert_eq!(backend(&again).await, of_first);
    drop((two, again));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_changed_password_holds_for_the_next_login_and_disturbs_no_session() {
    let proxy = bare(4).await;
    let name = role(proxy.pg(), "old").await;
    let client = connect(&proxy, &user(&name, "old")).await;
    let admin = superuser(proxy.pg()).await;
    let change = format!("ALTER ROLE {name} PASSWORD 'new'");
    admin.batch_execute(&change).await.unwrap();
    let refused = refusal(try_connect(&proxy, &user(&name, "old")).await);
    assert_eq!(refused, wrong_password(&name));
    let newer = connect(&proxy, &user(&name, "new")).await;
    assert_eq!(value(&newer, "SELECT current_user").await, name);
    assert_eq!(value(&client, "SELECT current_user").await, name);
    drop((client, newer));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_dropped_role_is_refused_as_the_server_does() {
    let proxy = bare(4).await;
    let name = role(proxy.pg(), "pencil").await;
    drop(connect(&proxy, &user(&name, "pencil")).await);
    let admin = superuser(proxy.pg()).await;
    let drop_role = format!("DROP ROLE {name}");
    admin.batch_execute(&drop_role).await.unwrap();
    let refused = refusal(try_connect(&proxy, &user(&name, "pencil")).await);
    assert_eq!(refused, wrong_password(&name));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_session_whose_connections_are_gone_is_told_to_reconnect_and_can() {
    let proxy = bare(4).await;
    let name = role(proxy.pg(), "pencil").await;
    let client = connect(&proxy, &user(&name, "pencil")).await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let admin = superuser(proxy.pg()).await;
    let end = format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{name}'"
    );
    admin.batch_execute(&end).await.unwrap();
    let (code, text) = refusal(client.simple_query("SELECT 1").await);
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert!(text.contains("reconnect"), "{text}");
    let again = connect(&proxy, &user(&name, "pencil")).await;
    assert_eq!(value(&again, "SELECT 1").await, "1");
    drop((client, again));
    invariants(&proxy).await;
}

#[tokio::test]
async fn its_connection_outlives_the_idle_timeout_while_its_session_lives() {
    let pg = scram_server().await;
    let lanes =
        "lanes: { default: { slots: { max: 2 }, idle_timeout: 100ms, server_lifetime: 200ms } }";
    let proxy = Proxy::with(lanes).slots(2).over(&pg).run().await;
    let name = role(&pg, "pencil").await;
    let client = connect(&proxy, &user(&name, "pencil")).await;
    let before = backend(&client).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(backend(&client).await, before);
    drop(client);
    eventually("it is closed when its last session has gone", || async {
        proxy.view().await.servers == (0, 0, 0)
    })
    .await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_statement_rule_of_another_lane_does_not_strand_the_transaction() {
    let pg = scram_server().await;
    let lanes = "lanes: { work: { match: [{ application_name: 'w*' }], slots: { max: 2 } }, clean: { match: [{ lane: work, statement: [VACUUM] }], slots: { max: 1 } }, default: { slots: { max: 2 } } }";
    let proxy = Proxy::with(lanes).over(&pg).run().await;
    let name = role(&pg, "pencil").await;
    let asked = format!("{} application_name=work", user(&name, "pencil"));
    let client = connect(&proxy, &asked).await;
    client
        .batch_execute("VACUUM (PROCESS_MAIN false) pg_catalog.pg_class")
        .await
        .ok();
    assert_eq!(value(&client, "SELECT 1").await, "1");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn startup_parameters_of_a_relayed_login_are_the_sessions_defaults() {
    let proxy = bare(4).await;
    let name = role(proxy.pg(), "pencil").await;
    let asked = format!("{} options='-c work_mem=7MB'", user(&name, "pencil"));
    let client = connect(&proxy, &asked).await;
    client
        .batch_execute("SET work_mem = '9MB'; RESET work_mem")
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW work_mem").await, "7MB");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_server_that_trusts_is_asked_now_and_then_and_not_at_each_login() {
    let proxy = Proxy::with_slots(2).run().await;
    let mut backends = Vec::new();
    for _ in 0..20 {
        let client = connect(&proxy, "").await;
        backends.push(backend(&client).await);
    }
    backends.dedup();
    assert_eq!(backends.len(), 1, "{backends:?}");
    assert_eq!(proxy.metrics().servers_opened.get(), 1);
    let output = psql(&proxy, "mine", &["-c", "SELECT 1"]).await;
    assert_eq!(output.stdout, "1", "{output:?}");
    assert_eq!(proxy.address().ip().to_string(), "127.0.0.1");
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_password_for_postgresql_in_the_file_lets_nobody_in_without_one() {
    let pg = scram_server().await;
    let name = role(&pg, "pencil").await;
    let fragment = format!("users: {{ {name}: {{ upstream_password: {{ env: UP }} }} }}");
    let proxy = Proxy::with(&fragment)
        .secret("UP", "pencil")
        .over(&pg)
        .run()
        .await;
    let refused = refusal(try_connect(&proxy, &user(&name, "guess")).await);
    assert_eq!(refused, wrong_password(&name));
    let client = connect(&proxy, &user(&name, "pencil")).await;
    assert_eq!(value(&client, "SELECT current_user").await, name);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn many_users_beyond_the_slots_get_in_when_there_is_room() {
    let proxy = bare(2).await;
    for round in 0..4 {
        let name = role(proxy.pg(), "pencil").await;
        let client = connect(&proxy, &user(&name, "pencil")).await;
        assert_eq!(value(&client, "SELECT current_user").await, name, "{round}");
    }
    invariants(&proxy).await;
}
