//! `pglanes check` and `pglanes serve` beside a real PostgreSQL.

use std::path::Path;

use crate::support::{Folder, Serving, eventually, lanes_yaml, run, text};
use pglanes_testbed::{Postgres, StopMode};

/// The server as lanes.yaml names it.
fn upstream(postgres: &Postgres, more: &str) -> String {
    format!(
        "{{ url: \"{}\", unix_socket: {}, {more} }}",
        postgres.url("postgres"),
        shown(postgres.socket_dir())
    )
}

fn shown(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

#[test]
fn the_server_is_asked_what_only_it_can_tell() {
    let postgres = pglanes_testbed::shared().unwrap();
    let folder = Folder::new();
    let lanes = "\
lanes:
  a:
    slots: { max: 4 }
    settings: { work_men: 4MB, statement_timeout: 1s }
  b:
    settings: { log_statement: all, log_duration: on, max_files_per_process: 100 }
";
    folder.write(
        "lanes.yaml",
        &lanes_yaml(&upstream(postgres, "slots: 5000"), lanes),
    );
    let output = run(&folder, &["check", "--strict"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for expected in [
        "note: asked PostgreSQL ",
        "warning: the lanes may take 5000 connections (upstream.slots 5000, ",
        "warning: lane a, setting work_men: PostgreSQL has no such setting; did you mean `work_mem`?\n",
        "warning: lane b, setting log_duration: PostgreSQL refuses a connection that sets it, unless its user is a superuser",
        "warning: lane b, setting max_files_per_process: PostgreSQL refuses a connection that sets it; it is set in postgresql.conf\n",
    ] {
        assert!(shown.contains(expected), "{expected}\nis not in\n{shown}");
    }
    assert!(!shown.contains("statement_timeout: PostgreSQL"), "{shown}");
    // What the file's reader knew or guessed by itself is not said twice.
    let warned_of = |name: &str| {
        let warnings = shown.lines().filter(|line| line.starts_with("warning: "));
        warnings.filter(|line| line.contains(name)).count()
    };
    assert_eq!(
        (warned_of("log_statement"), warned_of("work_men")),
        (1, 1),
        "{shown}"
    );
}

#[test]
fn the_metrics_tell_what_clients_did() {
    let postgres = pglanes_testbed::shared().unwrap();
    let folder = Folder::new();
    folder.write(
        "lanes.yaml",
        &lanes_yaml(
            &upstream(postgres, "slots: 5"),
            "databases: { postgres: { aliases: [old_name] } }\n",
        ),
    );
    let serving = Serving::start(&folder);
    eventually("PostgreSQL is reached", || serving.get("/readyz").0 == 200);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(serving.clients.port())
            .user("postgres")
            .dbname("old_name")
            .application_name("ragchecker-1");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..3 {
            client.simple_query("SELECT 1").await.unwrap();
        }
        client
            .simple_query("CREATE TEMPORARY TABLE t (a int)")
            .await
            .unwrap();
        let evaluation = [("lane", "evaluation")];
        let metrics = serving.metrics();
        let value = |name, labels: &[(&str, &str)]| metrics.value(name, labels).unwrap();
        assert!(value("pglanes_transactions_total", &evaluation) >= 4.0);
        assert!(value("pglanes_transaction_seconds_count", &evaluation) >= 3.0);
        assert!(value("pglanes_transaction_seconds_sum", &evaluation) > 0.0);
        assert!(value("pglanes_queue_wait_seconds_count", &evaluation) >= 3.0);
        assert_eq!(value("pglanes_sessions", &evaluation), 1.0);
        assert_eq!(value("pglanes_clients", &[]), 1.0);
        assert_eq!(value("pglanes_logins_total", &[]), 1.0);
        assert_eq!(value("pglanes_aliases_used_total", &[]), 1.0);
        assert_eq!(value("pglanes_upstream_up", &[]), 1.0);
        assert_eq!(value("pglanes_out_of_sync_total", &[]), 0.0);
        let pinned = [("lane", "evaluation"), ("reason", "temporary_table")];
        assert_eq!(value("pglanes_pinned_sessions", &pinned), 1.0);
        assert_eq!(
            value("pglanes_server_connections", &[("state", "in_use")]),
            1.0
        );
        drop(client);
        let _ = connection.await;
    });
    eventually("the session is gone", || {
        serving.metric("pglanes_clients", &[]) == 0.0
    });
}

#[test]
fn an_upstream_that_comes_and_goes_is_followed() {
    let postgres = Postgres::start().unwrap();
    let folder = Folder::new();
    folder.write(
        "lanes.yaml",
        &lanes_yaml(&upstream(&postgres, "slots: 5"), ""),
    );
    let mut serving = Serving::start(&folder);
    eventually("it is ready", || serving.get("/readyz").0 == 200);
    postgres.stop(StopMode::Fast).unwrap();
    serving.hear("PostgreSQL cannot be reached");
    assert_eq!(serving.get("/readyz").0, 503);
    postgres.start_again().unwrap();
    serving.hear("PostgreSQL is reached again");
    assert_eq!(serving.get("/readyz").0, 200);
}
