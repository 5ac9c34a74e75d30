//! What an operator watches with programs of others: Prometheus, and a browser. Each test says `SKIPPED` and why where its
//! program is not there.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod browser;
mod counts;
mod dashboard;
mod prometheus;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use pglanes_admin::access::{Access, Names};
use pglanes_admin::{Reachability, Status};
use pglanes_tests::{Proxy, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// How long anything may take on a machine that has other things to do. Reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(90);
/// What changes something over HTTP.
const TOKEN: &str = "a-token-of-the-tests";

/// A lane that is protected, and one that yields.
const LANES: &str = "\
lanes:
  evaluation: { match: [{ application_name: evaluation }], slots: { min: 2, max: 4 }, priority: 100, objective: { p95: 1.5x } }
  memory: { match: [{ application_name: memory }], slots: { max: 4 }, queue: { length: 1 } }
  default: { slots: { max: 4 } }
throttles:
  - { name: memory yields, while: { lane: evaluation, is: connected, linger: 0s }, lane: memory, slots: 1 }
";

/// A proxy whose HTTP side is served as the binary does.
struct World {
    proxy: Proxy,
    http: SocketAddr,
    serving: JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        let proxy = Proxy::with(LANES).lives(2 * PATIENCE).run().await;
        let listener = pglanes_admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let listener = listener.unwrap();
        let http = listener.local_addr().unwrap();
        let (_, status) = watch::channel(Status {
            upstream: Reachability::Reached,
            clients_limit: 100,
            started: SystemTime::now(),
            configured: SystemTime::now(),
        });
        let (_, token) = watch::channel(Some(TOKEN.into()));
        let access = Access::new(token, Names::OfThisMachine);
        let handle = proxy.handle().clone();
        let serving = tokio::spawn(pglanes_admin::serve(listener, handle, status, access));
        Self {
            proxy,
            http,
            serving,
        }
    }

    async fn client(&self, application: &str) -> Client {
        connect(&self.proxy, &format!("application_name={application}")).await
    }

    /// Everybody has gone; looks at what is left.
    async fn end(self) {
        pglanes_tests::invariants(&self.proxy).await;
        self.serving.abort();
    }
}

/// The status and the body of an answer.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Version 1.0 is answered in one piece.
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// A folder of one's own, removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pglanes-watch-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether a program is there; says so where it is not.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output();
    if let Err(error) = &found {
        eprintln!("SKIPPED: {program}: {error}");
    }
    found.is_ok()
}
