//! Replication: dedicated server connections, bytes both ways as they come.

use std::path::{Path, PathBuf};
use std::process::Command;

use pglanes_tests::{
    Answer, LIMIT, Output, Pg, Proxy, Raw, Script, cancel, ended, eventually, invariants, run,
    soon, tags, value,
};

/// A server of the test's own, as all of its sessions' changes are to be read.
async fn logical() -> Pg {
    let builder = pglanes_testbed::Postgres::builder();
    let settings = [
        ("wal_level", "logical"),
        ("max_wal_senders", "8"),
        ("max_replication_slots", "8"),
    ];
    let add = |builder: pglanes_testbed::Builder, (name, value)| builder.setting(name, value);
    Pg::own(settings.into_iter().fold(builder, add)).await
}

async fn stop(pg: &Pg) {
    pg.stop(pglanes_testbed::StopMode::Immediate).await;
}

/// A folder that is gone at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("pglanes-{name}-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        // What a killed run left behind.
        let _ = std::fs::remove_dir_all(&folder.0);
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn program(proxy: &Proxy, name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(proxy.pg().server().bin_dir().join(name));
    command
        .args(["-h", "127.0.0.1", "-U", "postgres", "-w"])
        .args(["-p", &proxy.port().to_string()])
        .args(arguments);
    let output = run(command, LIMIT).await;
    assert!(output.succeeded, "{name}: {output:?}");
    output
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

async fn login(proxy: &Proxy, replication: &str) -> (Raw, pglanes_tests::Welcome) {
    Raw::login(proxy, &[("replication", replication)]).await
}

#[tokio::test]
async fn pg_basebackup_takes_a_backup_with_its_wal() {
    let pg = logical().await;
    let proxy = Proxy::with("").over(&pg).run().await;
    let folder = Folder::new("basebackup");
    let backup = folder.path("backup");
    let arguments = ["-X", "stream", "-c", "fast", "-D", &text(&backup)];
    program(&proxy, "pg_basebackup", &arguments).await;
    assert!(backup.join("PG_VERSION").exists() && backup.join("global/pg_control").exists());
    assert!(backup.join("backup_manifest").exists());
    invariants(&proxy).await;
    stop(&pg).await;
}

#[tokio::test]
async fn pg_receivewal_streams_up_to_where_it_is_told() {
    let pg = logical().await;
    let proxy = Proxy::with("").over(&pg).run().await;
    let direct = pg.direct().await;
    let folder = Folder::new("receivewal");
    program(&proxy, "pg_receivewal", &["-S", "walslot", "--create-slot"]).await;
    direct
        .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000); SELECT pg_switch_wal()")
        .await
        .unwrap();
    let end = value(&direct, "SELECT pg_current_wal_lsn()").await;
    let arguments = ["-S", "walslot", "-D", &text(&folder.0), "-E", &end, "-n"];
    program(&proxy, "pg_receivewal", &arguments).await;
    let files = std::fs::read_dir(&folder.0).unwrap().count();
    assert!(files > 0, "no WAL was received");
    invariants(&proxy).await;
    stop(&pg).await;
}

#[tokio::test]
async fn pg_recvlogical_sees_what_sessions_change() {
    let pg = logical().await;
    let proxy = Proxy::with("").over(&pg).run().await;
    let direct = pg.direct().await;
    direct
        .batch_execute("CREATE TABLE t (a text); CREATE PUBLICATION all_of_it FOR ALL TABLES")
        .await
        .unwrap();
    let slot = ["-d", "postgres", "-S", "changes"];
    let create = [&slot[..], &["--create-slot", "-P", "pgoutput"]].concat();
    program(&proxy, "pg_recvlogical", &create).await;
    let mut raw = Raw::ready(&proxy).await;
    raw.query("INSERT INTO t VALUES ('the canary')").await;
    // Commits of the test bed are written a little later than they are confirmed.
    let end = value(&direct, "SELECT pg_current_wal_insert_lsn()").await;
    let folder = Folder::new("recvlogical");
    let file = text(&folder.path("changes"));
    let options = ["-o", "proto_version=1", "-o", "publication_names=all_of_it"];
    let start = ["--start", "-n", "-f", &file, "-E", &end];
    program(
        &proxy,
        "pg_recvlogical",
        &[&slot[..], &options, &start].concat(),
    )
    .await;
    let changes = std::fs::read(&file).unwrap();
    let canary = b"the canary";
    assert!(changes.windows(canary.len()).any(|window| window == canary));
    drop(raw);
    invariants(&proxy).await;
    stop(&pg).await;
}

#[tokio::test]
async fn every_spelling_of_true_is_replication_and_of_false_is_none() {
    let proxy = Proxy::with("").run().await;
    for spelling in ["true", "on", "yes", "1", "t", "database"] {
        let (mut raw, _) = login(&proxy, spelling).await;
        let answers = raw.query("IDENTIFY_SYSTEM").await;
        assert_eq!(tags(&answers), "TDCZ", "{spelling}: {answers:?}");
        assert_eq!(proxy.pinned("replication"), 1);
        drop(raw);
        eventually("it is gone", || async { proxy.view().await.sessions == 0 }).await;
    }
    for spelling in ["false", "off", "no", "0"] {
        let (mut raw, _) = login(&proxy, spelling).await;
        assert_eq!(tags(&raw.query("SELECT 1").await), "TDCZ");
        assert_eq!(tags(&raw.query("IDENTIFY_SYSTEM").await), "EZ");
    }
    let mut raw = proxy.raw().await;
    let packet = pglanes_tests::startup_packet(&[("user", "postgres"), ("replication", "maybe")]);
    raw.send(&packet).await;
    assert_eq!(raw.read().await.sqlstate(), "22023");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn each_has_a_server_connection_of_its_own_that_nobody_gets_after_it() {
    let proxy = Proxy::with("").run().await;
    let direct = proxy.pg().direct().await;
    let of_replication = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = current_database()";
    let parameters = [
        ("replication", "database"),
        ("application_name", "a standby"),
        ("options", "-c work_mem=5MB"),
    ];
    let (mut one, _) = Raw::login(&proxy, &parameters).await;
    let (mut two, _) = login(&proxy, "database").await;
    let pids = [
        one.value("SELECT pg_backend_pid()").await,
        two.value("SELECT pg_backend_pid()").await,
    ];
    assert_ne!(pids[0], pids[1]);
    assert_eq!(one.value("SHOW application_name").await, "a standby");
    assert_eq!(one.value("SHOW work_mem").await, "5MB");
    assert_eq!(two.value("SHOW work_mem").await, "4MB");
    assert_eq!(value(&direct, of_replication).await, "2");
    let view = proxy.view().await;
    assert_eq!((view.sessions, view.servers.2), (2, 2));
    assert_eq!(proxy.pinned("replication"), 2);
    drop((one, two));
    let closed = || async { value(&direct, of_replication).await == "0" };
    eventually("both are closed at the server", closed).await;
    let (mut next, _) = login(&proxy, "database").await;
    let pid = next.value("SELECT pg_backend_pid()").await;
    assert!(!pids.contains(&pid), "a used connection came back");
    drop(next);
    invariants(&proxy).await;
}

#[tokio::test]
async fn it_takes_a_slot_of_its_lane() {
    let fragment = "lanes: { default: { slots: { max: 1 }, queue: { timeout: 300ms } } }";
    let proxy = Proxy::with(fragment).run().await;
    // Asked before: a login needs the server only the first time.
    drop(Raw::ready(&proxy).await);
    let (replicating, _) = login(&proxy, "true").await;
    let mut ordinary = Raw::ready(&proxy).await;
    let answers = ordinary.query("SELECT 1").await;
    assert_eq!(answers[0].sqlstate(), "57014", "{answers:?}");
    let packet = pglanes_tests::startup_packet(&[("user", "postgres"), ("replication", "true")]);
    let mut second = proxy.raw().await;
    second.send(&packet).await;
    assert_eq!(tags(&second.until_end().await), "RE");
    drop(replicating);
    eventually("the slot is back", || async {
        proxy.view().await.servers.2 == 0
    })
    .await;
    assert_eq!(tags(&ordinary.query("SELECT 1").await), "TDCZ");
    drop((ordinary, second));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_cancel_reaches_it() {
    let proxy = Proxy::with("").run().await;
    let (mut raw, welcome) = login(&proxy, "database").await;
    raw.say(&Script::new().query("SELECT pg_sleep(600)")).await;
    let direct = proxy.pg().direct().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("it runs", || async { value(&direct, sql).await == "1" }).await;
    cancel(&proxy, &welcome).await;
    let answers = raw.until_ready().await;
    let is_error = |answer: &&Answer| answer.tag == b'E';
    let error = answers.iter().find(is_error).unwrap();
    assert_eq!(error.sqlstate(), "57014", "{answers:?}");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_the_server_refuses_is_said_in_its_words() {
    let pg = Pg::own(pglanes_testbed::Postgres::builder().setting("max_wal_senders", "0")).await;
    let proxy = Proxy::with("").over(&pg).run().await;
    let mut raw = proxy.raw().await;
    let packet = pglanes_tests::startup_packet(&[("user", "postgres"), ("replication", "true")]);
    raw.send(&packet).await;
    let answers = raw.until_end().await;
    let last = answers.last().unwrap();
    assert_eq!((last.tag, last.fields()[&'S'].as_str()), (b'E', "FATAL"));
    assert!(last.text().contains("max_wal_senders"), "{}", last.text());
    drop(raw);
    invariants(&proxy).await;
    stop(&pg).await;
}

#[tokio::test]
async fn the_end_of_its_server_ends_it_and_the_servers_last_words_arrive() {
    let proxy = Proxy::with("").run().await;
    let (mut raw, _) = login(&proxy, "database").await;
    let pid = raw.value("SELECT pg_backend_pid()").await;
    let direct = proxy.pg().direct().await;
    value(&direct, &format!("SELECT pg_terminate_backend({pid})")).await;
    let answers = raw.until_end().await;
    assert_eq!(answers[0].sqlstate(), "57P01", "{answers:?}");
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_ending_proxy_ends_it_and_does_not_wait() {
    let proxy = Proxy::with("").run().await;
    let (mut raw, _) = login(&proxy, "true").await;
    assert_eq!(tags(&raw.query("IDENTIFY_SYSTEM").await), "TDCZ");
    // Longer than anything in a test may take.
    proxy.handle().shutdown(LIMIT * 2).await;
    assert_eq!(tags(&raw.until_end().await), "");
    soon(proxy.handle().ended()).await;
    ended(&proxy).await;
}
