//! A real Prometheus scrapes a proxy that has something to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use pglanes_admin::metrics::METRICS;
use pglanes_admin::text_format::{Exposition, Kind};
use serde_json::Value;

use super::{Folder, PATIENCE, World, get, is_there};

/// A Prometheus on a free port, gone with the value.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Scrapes this address, and watches the rules of `deploy/`.
    fn start(folder: &Folder, scraped: SocketAddr) -> Self {
        let rules = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/prometheus/rules/pglanes.yml"
        );
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{rules}]\n\
             scrape_configs: [{{ job_name: pglanes, static_configs: [{{ targets: ['{scraped}'] }}] }}]\n"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = sync_channel(1000);
        // Reads to the end, so that the log never blocks.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        let mut heard = Vec::new();
        let address = loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                panic!("Prometheus does not listen: {heard:#?}");
            };
            // Versions write it with and without quotes.
            let address = line.split_once("Listening on").and_then(|(_, rest)| {
                let (_, address) = rest.split_once("address=")?;
                address.trim_matches('"').parse().ok()
            });
            heard.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        Self { child, address }
    }

    async fn ask(&self, path: &str) -> Value {
        let (_, body) = get(self.address, &format!("/api/v1/{path}")).await;
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        answer["data"].clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does a little of everything: transactions, a prepared statement, a wait, a refusal, a throttle.
async fn work(world: &World) -> Vec<tokio_postgres::Client> {
    let evaluation = world.client("evaluation").await;
    let memory = world.client("memory").await;
    evaluation.execute("SELECT 1", &[]).await.unwrap();
    memory
        .batch_execute("BEGIN; CREATE TEMPORARY TABLE kept (a int); COMMIT")
        .await
        .unwrap();
    assert!(evaluation.execute("SELECT 1 / 0", &[]).await.is_err());
    vec![evaluation, memory]
}

#[tokio::test]
async fn promtool_and_prometheus_understand_every_metric() {
    let world = World::start().await;
    let clients = work(&world).await;
    let (status, text) = get(world.http, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    if is_there("promtool") {
        lint(&text);
    }
    let told = Exposition::parse(&text).unwrap();
    for name in [
        "pglanes_statement_seconds_count",
        "pglanes_received_bytes_total",
    ] {
        let value = told.value(name, &[("lane", "evaluation")]);
        assert!(value > Some(0.0), "{name}: {value:?}");
    }
    if is_there("prometheus") {
        let folder = Folder::new();
        let prometheus = Prometheus::start(&folder, world.http);
        scraped(&prometheus, world.http).await;
        rules_are_evaluated(&prometheus).await;
    }
    drop(clients);
    world.end().await;
}

/// What promtool has to say of names, types and units.
fn lint(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "promtool: {said}"
    );
}

/// Prometheus has stored every series that is told, and knows each metric by the type and the words of the table.
async fn scraped(prometheus: &Prometheus, http: SocketAddr) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (told, metadata) = loop {
        // Anew each time: what is told only for a moment may have come between two scrapes.
        let told = Exposition::parse(&get(http, "/metrics").await.1).unwrap();
        let names = prometheus.ask("label/__name__/values").await;
        let names = names.as_array().into_iter().flatten();
        let names: Vec<&str> = names.filter_map(Value::as_str).collect();
        let metadata = prometheus.ask("metadata").await;
        let families = told.families.iter();
        let known = families.filter(|family| !metadata[&family.name].is_null());
        let samples = known.clone().flat_map(|family| &family.samples);
        let missing: BTreeSet<&str> = samples
            .map(|sample| sample.name.as_str())
            .filter(|name| !names.contains(name))
            .collect();
        if missing.is_empty() && known.count() == told.families.len() {
            break (told, metadata);
        }
        let now = tokio::time::Instant::now();
        assert!(now < deadline, "not stored: {missing:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let defined: BTreeMap<String, _> = METRICS
        .iter()
        .map(|metric| (metric.name(), metric))
        .collect();
    for family in &told.families {
        let known = &metadata[&family.name][0];
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(known["type"], kind, "{}: {known}", family.name);
        assert_eq!(
            known["help"], defined[&family.name].meaning,
            "{}",
            family.name
        );
    }
}

/// Every rule of `deploy/` has been evaluated, and none has failed.
async fn rules_are_evaluated(prometheus: &Prometheus) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = prometheus.ask("rules").await;
        let groups = answer["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<&Value> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array())
            .flatten()
            .collect();
        let unwell: Vec<&&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        assert!(
            unwell.iter().all(|rule| rule["health"] != "err"),
            "{unwell:#?}"
        );
        if rules.len() > 15 && unwell.is_empty() {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not evaluated: {unwell:#?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
