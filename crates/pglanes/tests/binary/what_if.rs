//! `pglanes record` and `pglanes simulate`: what runs, written down and run again with another file.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::time::Duration;

use pglanes_testbed::Postgres;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::{Folder, PATIENCE, Serving, eventually, pglanes, run, text};

/// Transactions of each session.
const TRANSACTIONS: u64 = 20;
/// How often something is looked at.
const STEP: Duration = Duration::from_millis(50);

/// The command finds the proxy by the file, so that ports are chosen before.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn lanes(postgres: &Postgres, ports: [SocketAddr; 2], background: &str) -> String {
    let [listen, http] = ports;
    format!(
        "listen: {listen}\nhttp: {http}\nlogging: {{ format: json }}\n\
         upstream: {{ url: \"{}\", unix_socket: \"{}\" }}\n\
         lanes:\n  evaluation: {{ match: [{{ application_name: 'ragchecker*' }}], priority: 100 }}\n  \
         background: {{ {background}, queue: {{ length: 1 }}, match: [{{ application_name: 'ltst*' }}] }}\n",
        postgres.url("postgres"),
        postgres.socket_dir().display()
    )
}

/// A session of the evaluation and one of the background, one transaction after the other; a third meets a full queue.
async fn work(serving: &Serving) {
    let evaluation = serving.connect("ragchecker").await;
    let background = serving.connect("ltst").await;
    let both = async |client: &Client, what: &str| {
        for _ in 0..TRANSACTIONS {
            client
                .batch_execute(&format!("BEGIN; SELECT {what}, pg_sleep(0.005); COMMIT"))
                .await
                .unwrap();
        }
    };
    tokio::join!(
        both(&evaluation, "'a secret'"),
        both(&background, "'another'")
    );
    background.batch_execute("BEGIN").await.unwrap();
    let second = serving.connect("ltst-second").await;
    let waiting = tokio::spawn(async move { second.batch_execute("SELECT 1").await });
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        // What was asked for goes out meanwhile.
        tokio::time::sleep(STEP).await;
        if serving.metric("pglanes_waiting_clients", &[("lane", "background")]) == 1.0 {
            break;
        }
    }
    let third = serving.connect("ltst-third").await;
    assert!(third.batch_execute("SELECT 1").await.is_err());
    background.batch_execute("COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
}

fn record(folder: &Folder) -> Child {
    pglanes(folder)
        .args(["record", "trace"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn simulated(folder: &Folder, new: &str) -> Value {
    let arguments = [
        "simulate",
        "trace",
        "--config",
        new,
        "--was",
        "lanes.yaml",
        "--json",
    ];
    let said = run(folder, &arguments);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

#[test]
fn what_a_live_proxy_ran_is_recorded_without_a_text_and_run_again_with_another_file() {
    let postgres = Postgres::start().unwrap();
    let folder = Folder::new();
    let ports = [free(), free()];
    folder.write("lanes.yaml", &lanes(&postgres, ports, "slots: { max: 1 }"));
    let serving = Serving::start(&folder);
    eventually("PostgreSQL is reached", || serving.get("/readyz").0 == 200);
    let recorder = record(&folder);
    // The file is made once the proxy has begun.
    let trace = folder.path().join("trace");
    eventually("it is recorded", || trace.exists());
    let second = run(&folder, &["record", "second", "--for", "1ms"]);
    assert_eq!(second.status.code(), Some(1));
    let why = text(&second.stderr);
    assert!(why.contains("another recording goes on"), "{why}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work(&serving));
    // What was written down is in the file once a second.
    let all = 2 * TRANSACTIONS + 3;
    eventually("all is written down", || {
        let written = std::fs::read_to_string(&trace).unwrap();
        let transactions = written.lines().filter(|line| line.starts_with("tx "));
        transactions.count() as u64 == all
    });
    let pid = Pid::from_child(&recorder);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let said = recorder.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    let said = text(&said.stdout).to_owned();
    assert!(
        said.starts_with(&format!("trace: {all} transactions in ")),
        "{said}"
    );
    let written = std::fs::read_to_string(trace).unwrap();
    for secret in ["secret", "another", "ragchecker", "ltst", "SELECT"] {
        assert!(!written.contains(secret), "{secret}: {written}");
    }
    assert_eq!(
        written
            .lines()
            .filter(|line| line.ends_with(" rejected"))
            .count(),
        1
    );

    is_simulated(&folder, &lanes(&postgres, ports, "slots: { max: 4 }"));
    drop(serving);
}

fn is_simulated(folder: &Folder, open: &str) {
    folder.write("open.yaml", open);
    let prediction = simulated(folder, "open.yaml");
    assert_eq!(prediction["protected"], "evaluation");
    for outcome in ["measured", "as_it_was", "new"] {
        let evaluation = &prediction[outcome]["lanes"]["evaluation"];
        assert_eq!(
            evaluation["finished"], TRANSACTIONS,
            "{outcome}: {prediction:#}"
        );
    }
    assert_eq!(prediction["measured"]["lanes"]["background"]["rejected"], 1);
    let said = run(folder, &["simulate", "trace", "--config", "open.yaml"]);
    assert!(
        text(&said.stdout).contains("evaluation: time"),
        "{}",
        text(&said.stdout)
    );

    folder.write(
        "without.yaml",
        "lanes: { evaluation: { match: [{ user: nobody }] }, default: {} }\n",
    );
    let said = run(folder, &["simulate", "trace", "--config", "without.yaml"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        text(&said.stderr).contains("--lane background=ANOTHER"),
        "{}",
        text(&said.stderr)
    );
}
