//! Each method, right and wrong, and the order of rules.

use std::path::Path;

use pglanes_tests::{Pg, Proxy, Target, invariants, run, soon, try_connect, value};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use crate::{refusal, user, wrong_password};

/// The trusting server all of these have behind them; what is asked is the proxy's.
async fn before_trust(fragment: &str) -> Proxy {
    let list = "\"postgres\" \"pencil\"\n\"hashed\" \"md5d09cff82ae9e4eccaf55ef9ad6ec93ef\"\n";
    Proxy::with(fragment).users_file(list).run().await
}

#[tokio::test]
async fn md5_takes_the_right_password_and_no_other() {
    let proxy = before_trust("users_file: userlist.txt\naccess: [{ method: md5 }]").await;
    let client = try_connect(&proxy, "password=pencil").await.unwrap();
    assert_eq!(value(&client, "SELECT 1").await, "1");
    for (name, password) in [("postgres", "pencils"), ("nobody", "pencil")] {
        let refused = refusal(try_connect(&proxy, &user(name, password)).await);
        assert_eq!(refused, wrong_password(name));
    }
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn scram_takes_the_right_password_and_no_other() {
    let proxy = before_trust("users_file: userlist.txt\naccess: [{ method: scram-sha-256 }]").await;
    for _ in 0..3 {
        let client = try_connect(&proxy, "password=pencil").await.unwrap();
        assert_eq!(value(&client, "SELECT 1").await, "1");
    }
    for (name, password) in [
        ("postgres", "pencils"),
        ("nobody", "pencil"),
        ("hashed", "pencil"),
    ] {
        let refused = refusal(try_connect(&proxy, &user(name, password)).await);
        assert_eq!(refused, wrong_password(name));
    }
    assert_eq!(proxy.metrics().login_failures.get(), 3);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_password_in_clear_is_not_asked_for_over_plain_tcp() {
    let proxy = before_trust("users_file: userlist.txt\naccess: [{ method: password }]").await;
    let (code, text) = refusal(try_connect(&proxy, "password=pencil").await);
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert!(text.contains("in clear"), "{text}");
    invariants(&proxy).await;
}

/// Connects through the socket in a folder.
async fn through_socket(
    proxy: &Proxy,
    folder: &Path,
    name: &str,
    password: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host_path(folder)
        .port(6433)
        .user(name)
        .password(password)
        .dbname(proxy.database());
    let (client, connection) = soon(config.connect(NoTls)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// A folder of this test's own, removed with the value.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgl-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_password_in_clear_is_taken_through_a_unix_socket() {
    let folder = Folder::new("password");
    let proxy =
        Proxy::with("users_file: userlist.txt\naccess: [{ address: local, method: password }]")
            .users_file("\"postgres\" \"pencil\"\n")
            .socket(&folder.0)
            .run()
            .await;
    let client = through_socket(&proxy, &folder.0, "postgres", "pencil")
        .await
        .unwrap();
    assert_eq!(value(&client, "SELECT 1").await, "1");
    for (name, password) in [("postgres", "pencils"), ("nobody", "pencil")] {
        let refused = refusal(through_socket(&proxy, &folder.0, name, password).await);
        assert_eq!(refused, wrong_password(name));
    }
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_peer_is_the_user_that_the_map_says_and_no_other() {
    let mut who = std::process::Command::new("id");
    who.arg("-un");
    let own = run(who, pglanes_tests::LIMIT).await.stdout;
    let folder = Folder::new("peer");
    let fragment = format!(
        "access:\n  - {{ address: local, user: postgres, method: peer, map: [{{ system_user: {own}, user: 'post*' }}] }}\n  - {{ address: local, method: peer }}\n"
    );
    let proxy = Proxy::with(&fragment).socket(&folder.0).run().await;
    let client = through_socket(&proxy, &folder.0, "postgres", "")
        .await
        .unwrap();
    assert_eq!(value(&client, "SELECT current_user").await, "postgres");
    let (code, text) = refusal(through_socket(&proxy, &folder.0, "somebody_else", "").await);
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert_eq!(
        text,
        "Peer authentication failed for user \"somebody_else\""
    );
    let (_, text) = refusal(try_connect(&proxy, "").await);
    assert!(
        text.starts_with("no access rule for host \"127.0.0.1\""),
        "{text}"
    );
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_first_rule_that_fits_decides() {
    let pg = Pg::fresh().await;
    let fragment = format!(
        "access:\n  - {{ database: postgres, method: reject }}\n  - {{ address: 127.0.0.1, database: {}, user: 'post*', method: trust }}\n",
        pg.database()
    );
    let proxy = Proxy::with(&fragment).over(&pg).run().await;
    let client = try_connect(&proxy, "").await.unwrap();
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let (code, text) = refusal(try_connect(&proxy, "dbname=postgres").await);
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert!(text.starts_with("an access rule rejects"), "{text}");
    let (code, text) = refusal(try_connect(&proxy, "user=other").await);
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert!(text.starts_with("no access rule"), "{text}");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_reload_puts_other_rules_in_force_and_drops_nobody() {
    let proxy = before_trust("users_file: userlist.txt\naccess: [{ method: scram-sha-256 }]").await;
    let client = try_connect(&proxy, "password=pencil").await.unwrap();
    proxy.reload("access: [{ method: reject }]").await.unwrap();
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let (_, text) = refusal(try_connect(&proxy, "password=pencil").await);
    assert!(text.starts_with("an access rule rejects"), "{text}");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn every_listener_serves_and_a_sockets_file_goes_with_its_proxy() {
    let folder = Folder::new("listeners");
    let file = folder.0.join(".s.PGSQL.6433");
    // One that a process left behind which is no more.
    drop(std::os::unix::net::UnixListener::bind(&file).unwrap());
    let proxy = Proxy::with(
        "access: [{ address: local, method: trust }, { address: 127.0.0.1, method: trust }]",
    )
    .socket(&folder.0)
    .run()
    .await;
    for _ in 0..3 {
        let local = through_socket(&proxy, &folder.0, "postgres", "")
            .await
            .unwrap();
        let tcp = try_connect(&proxy, "").await.unwrap();
        assert_eq!(value(&local, "SELECT 1").await, "1");
        assert_eq!(value(&tcp, "SELECT 1").await, "1");
    }
    invariants(&proxy).await;
    assert!(file.exists());
    drop(proxy);
    assert!(!file.exists());
}
