//! The throw-away server: it starts, takes passwords, restarts, and leaves nothing behind, however its owner ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pglanes_testbed::{Auth, Postgres, StopMode, TestbedError, shared};

/// Whether a path is gone within ten seconds: the supervisor works on its own time.
fn is_gone_soon(path: &Path) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        !path.exists()
    })
}

async fn number(client: &tokio_postgres::Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn it_answers_over_tcp_and_over_the_socket_and_has_pgvector() {
    let postgres = Postgres::builder().max_connections(17).start().unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    assert_eq!(
        number(&client, "SELECT current_setting('max_connections')::bigint").await,
        17
    );
    let distance: f64 = client
        .query_one("SELECT '[1,0]'::vector <=> '[0,1]'::vector", &[])
        .await
        .unwrap()
        .get(0);
    assert!((distance - 1.0).abs() < 1e-9);

    let (over_socket, connection) = tokio_postgres::Config::new()
        .host_path(postgres.socket_dir())
        .port(postgres.port())
        .user("postgres")
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    assert_eq!(number(&over_socket, "SELECT 1::bigint").await, 1);
}

#[tokio::test]
async fn three_started_at_once_are_three_servers() {
    let starts: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(Postgres::start))
        .collect();
    let servers: Vec<Postgres> = starts
        .into_iter()
        .map(|start| start.join().unwrap().unwrap())
        .collect();
    for (index, postgres) in servers.iter().enumerate() {
        let client = postgres.connect("postgres").await.unwrap();
        client
            .batch_execute(&format!("CREATE TABLE only_{index} ()"))
            .await
            .unwrap();
        assert_eq!(
            number(
                &client,
                "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'only_%'"
            )
            .await,
            1
        );
    }
}

#[tokio::test]
async fn each_kind_of_password_is_asked_for() {
    let password = || "it's a \"secret\" @:/%".to_owned();
    let kinds = [
        Auth::Scram {
            password: password(),
        },
        Auth::Md5 {
            password: password(),
        },
        Auth::Cleartext {
            password: password(),
        },
    ];
    for auth in kinds {
        let postgres = Postgres::builder().auth(auth.clone()).start().unwrap();
        let client = postgres.connect("postgres").await.unwrap();
        assert_eq!(number(&client, "SELECT 1::bigint").await, 1);
        let wrong = postgres.url("postgres").replace("secret", "guess");
        let refused = tokio_postgres::connect(&wrong, tokio_postgres::NoTls)
            .await
            .err()
            .unwrap();
        assert_eq!(refused.code().unwrap().code(), "28P01", "{auth:?}");
    }
}

#[tokio::test]
async fn a_restart_keeps_the_port_and_the_data() {
    let postgres = Postgres::start().unwrap();
    let (port, pid) = (postgres.port(), postgres.pid());
    let client = postgres.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE kept (); CHECKPOINT")
        .await
        .unwrap();
    for mode in [StopMode::Fast, StopMode::Immediate] {
        postgres.restart(mode).unwrap();
        let client = postgres.connect("postgres").await.unwrap();
        assert_eq!(
            number(
                &client,
                "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'"
            )
            .await,
            1
        );
    }
    assert_eq!(postgres.port(), port);
    assert_ne!(postgres.pid(), pid);
    postgres.stop(StopMode::Fast).unwrap();
    assert_eq!(postgres.pid(), None);
    assert!(postgres.connect("postgres").await.is_err());
}

#[tokio::test]
async fn a_killed_backend_is_survived() {
    let postgres = Postgres::start().unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    let pid: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    postgres.kill9_backend(pid).unwrap();
    while !client.is_closed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    postgres
        .wait_until_ready(Duration::from_secs(20))
        .await
        .unwrap();
    assert!(postgres.log_tail(50).contains("terminated by signal 9"));
}

#[test]
fn a_refused_setting_is_told_with_the_servers_log() {
    let refused = Postgres::builder()
        .setting("shared_buffers", "a lot")
        .start();
    let Err(TestbedError::Start { log, .. }) = refused else {
        panic!("it started")
    };
    assert!(log.contains("shared_buffers"), "{log}");
}

#[test]
fn dropping_it_ends_the_server_and_removes_its_folder() {
    let postgres = Postgres::start().unwrap();
    let (data, port) = (postgres.data_dir().to_owned(), postgres.port());
    let root = data.parent().unwrap().to_owned();
    assert!(data.join("postmaster.pid").exists());
    drop(postgres);
    assert!(!root.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_panic_of_its_owner_removes_it_too() {
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let owner = std::thread::spawn(move || {
        let postgres = Postgres::start().unwrap();
        send.send(postgres.data_dir().to_owned()).unwrap();
        panic!("as a failing test does");
    });
    let data: PathBuf = receive.recv().unwrap();
    assert!(owner.join().is_err());
    assert!(!data.exists());
}

#[test]
fn a_killed_owner_leaves_no_server_and_no_folder() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_pg"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let socket = lines.next().unwrap().unwrap();
    let root = Path::new(socket.split(' ').nth(1).unwrap())
        .parent()
        .unwrap()
        .to_owned();
    let port: u16 = url
        .rsplit_once(':')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(is_gone_soon(&root), "{} is still there", root.display());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn the_shared_server_gives_every_test_a_database_of_its_own() {
    let (one, two) = (shared().unwrap(), shared().unwrap());
    assert_eq!(one.port(), two.port());
    let (first, second) = tokio::join!(one.fresh_database(), two.fresh_database());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first, second);
    let client = one.connect(&first).await.unwrap();
    client
        .batch_execute("CREATE TABLE mine (embedding vector(3))")
        .await
        .unwrap();
    let other = one.connect(&second).await.unwrap();
    assert_eq!(
        number(
            &other,
            "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'"
        )
        .await,
        0
    );
}
