//! pglanes as a process: this program itself, started again to run the data path alone, or
//! a given binary with everything else around it.

use std::env;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use pglanes_proxy::Proxy;

use crate::path::{Bench, Leg};
use pglanes_benches::process::{Running, free_port};

/// Is pglanes, until standard input ends: with the bench, however that ends.
pub(crate) fn serve(config: &Path) -> Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let proxy = Proxy::start(pglanes_config::load(config)?)?;
    let mut nothing = [0];
    // Nothing is ever written: this ends when the pipe is closed.
    let _ = std::io::stdin().read(&mut nothing);
    drop(proxy);
    Ok(())
}

/// Starts it with lanes as a user has them, so that what they cost is measured too.
pub(crate) fn start(bench: &Bench<'_>, leg: Leg) -> Result<Running> {
    let port = free_port()?;
    let file = bench.workplace.file(&format!("lanes-{port}.yaml"));
    fs::write(&file, configuration(bench, leg, port))?;
    let mut command = match &bench.pglanes {
        Some(binary) => {
            let mut command = Command::new(binary);
            command.arg("serve").arg("--config").arg(&file);
            command
        }
        None => {
            let mut command = Command::new(env::current_exe()?);
            command.arg("--serve").arg(&file);
            command
        }
    };
    command.stdin(Stdio::piped());
    Running::start(command, port).context("pglanes")
}

fn configuration(bench: &Bench<'_>, leg: Leg, port: u16) -> String {
    let server_port = bench.postgres.port();
    let socket = match leg {
        Leg::Tcp => "off".to_owned(),
        Leg::Unix => format!(
            "{}/.s.PGSQL.{server_port}",
            bench.postgres.socket_dir().display()
        ),
    };
    let slots = crate::path::SLOTS;
    format!(
        r#"listen: 127.0.0.1:{port}
http: off
state: off
upstream:
  url: postgresql://127.0.0.1:{server_port}
  unix_socket: {socket}
  slots: {slots}
logging: {{ level: warn }}
lanes:
  evaluation:
    match: [{{ application_name: "ragchecker*" }}, {{ user: ragchecker }}]
    slots: {{ max: 10 }}
    priority: 100
    settings: {{ statement_timeout: 60s, work_mem: 64MB }}
  compaction:
    match:
      - application_name: "ltst-compaction*"
      - {{ lane: ltst, statement: [DELETE, VACUUM, REINDEX, CREATE INDEX, CLUSTER] }}
    slots: {{ max: 2 }}
  ltst:
    match: [{{ application_name: "ltst*" }}, {{ user: ltst }}]
    slots: {{ max: 12 }}
    settings: {{ statement_timeout: 30s, work_mem: 32MB }}
  default:
    slots: {{ max: {slots} }}
    queue: {{ length: 1000 }}
throttles:
  - name: compaction yields to evaluation
    while: {{ lane: evaluation, is: busy, linger: 2s }}
    lane: compaction
    slots: 0
"#
    )
}
