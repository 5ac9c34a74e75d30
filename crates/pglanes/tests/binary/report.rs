//! `pglanes report`: what a proxy has written down of an evaluation, told after it, over a restart too.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use pglanes_testbed::Postgres;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Folder, PATIENCE, Serving, eventually, pglanes, run, text};

/// Transactions of the evaluation.
const TRANSACTIONS: u64 = 60;

struct World {
    folder: Folder,
}

impl World {
    fn new(postgres: &Postgres) -> Self {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let folder = Folder::new();
        let lanes = format!(
            "listen: {}\nhttp: {}\nlogging: {{ format: json }}\n\
             upstream: {{ url: \"{}\", unix_socket: \"{}\" }}\n\
             observe: {{ interval: 100ms }}\nhistory: {{ interval: 200ms }}\n\
             lanes:\n  evaluation: {{ match: [{{ application_name: 'ragchecker*' }}] }}\n  \
             compaction: {{ match: [{{ application_name: compaction }}] }}\nthrottles:\n  - name: compaction yields\n    \
             while: {{ lane: evaluation, is: leased }}\n    lane: compaction\n    slots: 0\n    running: finish\n",
            free(),
            free(),
            postgres.url("postgres"),
            postgres.socket_dir().display()
        );
        folder.write("lanes.yaml", &lanes);
        Self { folder }
    }

    /// `pglanes run` on the evaluation's lane, until the file `done` is there.
    fn lease(&self) -> Child {
        // It ends with the folder too, so that a test that fails leaves nothing.
        let script = "touch started; while test -e started && ! test -e done; do sleep 0.05; done";
        let child = pglanes(&self.folder)
            .args(["run", "--lane", "evaluation", "--", "sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = self.folder.path().join("started");
        eventually("the lease is taken", || started.exists());
        child
    }

    fn report(&self) -> Value {
        let output = run(
            &self.folder,
            &["report", "--since", "1h", "--format", "json"],
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The run with a lease, once it is known how it ended.
    fn leased(&self) -> Value {
        let mut found = Value::Null;
        eventually("the run is told", || {
            let report = self.report();
            let runs = report["runs"].as_array().unwrap().clone();
            let ended = |run: &Value| run["kind"] == "lease" && run["end"] == "given_back";
            found = runs.into_iter().find(ended).unwrap_or_default();
            found != Value::Null
        });
        found
    }

    fn latest_file(&self) -> PathBuf {
        let mut folders = vec![self.folder.path().join("state")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.extension().is_some_and(|ending| ending == "jsonl") => {
                        files.push(path);
                    }
                    false => {}
                }
            }
        }
        files.sort();
        files.pop().unwrap()
    }
}

/// Waits until something holds, while the clients go on.
async fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let step = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if holds() {
            return;
        }
        tokio::time::sleep(step).await;
    }
    panic!("never: {what}");
}

/// An evaluation that meets a lock of compaction's, while more of compaction waits for it to end.
async fn contend(world: &World, serving: &Serving) {
    let compaction = serving.connect("compaction").await;
    compaction
        .batch_execute("DROP TABLE IF EXISTS cache; CREATE TABLE cache AS SELECT 1 AS i")
        .await
        .unwrap();
    compaction
        .batch_execute("BEGIN; UPDATE cache SET i = 2")
        .await
        .unwrap();
    let mut lease = world.lease();
    // The look that was taken for it is written: what comes now is the run's.
    soon("the run is there", || {
        let runs = world.report()["runs"].clone();
        runs.as_array()
            .is_some_and(|runs| runs.iter().any(|run| run["kind"] == "lease"))
    })
    .await;
    let waiting = serving.connect("compaction").await;
    let waiting = tokio::spawn(async move { waiting.batch_execute("SELECT 'later'").await });
    let evaluation = serving.connect("ragchecker").await;
    for number in 1..TRANSACTIONS {
        let sql = format!("SELECT {number}, pg_sleep(0.005)");
        evaluation.batch_execute(&sql).await.unwrap();
    }
    let blocked = tokio::spawn(async move {
        evaluation
            .batch_execute("UPDATE cache SET i = 3")
            .await
            .unwrap();
    });
    // The observer looks often enough to see it.
    soon("the lock is waited for", || {
        let pair = [("blocker", "compaction"), ("blocked", "evaluation")];
        let seconds = serving
            .metrics()
            .value("pglanes_lane_blocked_seconds_total", &pair);
        seconds > Some(0.2)
    })
    .await;
    compaction.batch_execute("COMMIT").await.unwrap();
    blocked.await.unwrap();
    world.folder.write("done", "");
    assert!(lease.wait().unwrap().success());
    waiting.await.unwrap().unwrap();
    compaction.batch_execute("DROP TABLE cache").await.unwrap();
}

fn is_told(run: &Value) {
    assert_eq!(run["lane"], "evaluation");
    assert!(run["name"].as_str().unwrap().ends_with(": sh"), "{run:#}");
    assert!(run["seconds"].as_f64() > Some(0.3), "{run:#}");
    assert_eq!(run["latency"]["count"], TRANSACTIONS, "{run:#}");
    let held = &run["held_back"][0];
    assert_eq!(held["by"], "compaction yields", "{run:#}");
    assert_eq!(held["lanes"], serde_json::json!(["compaction"]));
    assert_eq!((&held["times"], &held["kept"]), (&1.into(), &1.into()));
    let beside = &run["beside"][0];
    assert_eq!(beside["lane"], "compaction");
    let share = beside["held_s"].as_f64().unwrap() / run["seconds"].as_f64().unwrap();
    assert!(
        (0.2..1.2).contains(&share),
        "held back all the time: {share}"
    );
    let locks = run["delays"].as_array().unwrap().iter();
    let locks: Vec<&Value> = locks.filter(|delay| delay["cause"] == "locks").collect();
    assert_eq!(locks.len(), 1, "{run:#}");
    assert_eq!(locks[0]["by"], "compaction");
    assert!(locks[0]["seconds"].as_f64() > Some(0.1), "{run:#}");
    let sentence = run["verdict"]["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("compaction was held back once (") && sentence.ends_with('.'),
        "{sentence}"
    );
}

#[test]
fn a_run_is_told_with_who_delayed_it_and_what_was_held_back_and_outlives_the_proxy() {
    let postgres = Postgres::start().unwrap();
    let world = World::new(&postgres);
    let mut serving = Serving::start(&world.folder);
    eventually("PostgreSQL is reached", || serving.get("/readyz").0 == 200);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(contend(&world, &serving));
    is_told(&world.leased());
    // Killed in the middle of a line.
    serving.signal(Signal::KILL);
    serving.end();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(world.latest_file())
        .unwrap();
    file.write_all(b"{\"k\":\"sample\",\"t\":17").unwrap();
    let serving = Serving::start(&world.folder);
    eventually("it goes on", || {
        let notes = world.report()["notes"].to_string();
        notes.contains("1 lines of the history cannot be read")
    });
    is_told(&world.leased());
    let page = world.folder.path().join("report.html");
    let said = run(&world.folder, &["report", "--out", "report.html"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
    let said = run(&world.folder, &["report"]);
    assert!(
        text(&said.stdout).contains("because of compaction"),
        "{}",
        text(&said.stdout)
    );
    drop(serving);
}

#[test]
fn without_a_history_the_report_says_so() {
    let folder = Folder::new();
    folder.write("lanes.yaml", "history: { mode: off }\n");
    let said = run(&folder, &["report", "--since", "2h"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    let said = text(&said.stdout);
    assert!(
        said.starts_with("0 evaluation runs between ") && said.contains("nothing is written down"),
        "{said}"
    );
    let wrong = run(&folder, &["report", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("`yesterday` is no time"));
}
