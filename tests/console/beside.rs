//! Beside a real PgBouncer, where one is installed: the same commands, and its columns by name and order.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pglanes_tests::{Proxy, invariants};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{LISTED, stats, with_console};

/// Where one may be.
const PLACES: [&str; 4] = [
    "pgbouncer",
    "/usr/sbin/pgbouncer",
    "/usr/local/sbin/pgbouncer",
    "/opt/homebrew/bin/pgbouncer",
];
/// Versions whose columns are ours; others add and drop some.
const VERSIONS: [&str; 2] = ["1.24.", "1.25."];
/// How often another free port is tried.
const ATTEMPTS: usize = 5;
/// What each of its commands shows. FDS hands over sockets to a successor, which pglanes does not do; HELP is a notice.
const SHOWS: [&str; 19] = [
    "ACTIVE_SOCKETS",
    "CLIENTS",
    "CONFIG",
    "DATABASES",
    "DNS_HOSTS",
    "DNS_ZONES",
    "LISTS",
    "MEM",
    "PEERS",
    "PEER_POOLS",
    "POOLS",
    "SERVERS",
    "SOCKETS",
    "STATE",
    "STATS",
    "STATS_AVERAGES",
    "STATS_TOTALS",
    "TOTALS",
    "USERS",
];

/// A PgBouncer of its own, gone with the value.
struct PgBouncer {
    child: Child,
    file: PathBuf,
    port: u16,
}

impl PgBouncer {
    /// `None`, and a word about it, where there is none of these versions.
    async fn start() -> Option<(Self, Client)> {
        let version = |program: &&str| {
            let output = Command::new(program).arg("--version").output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let found = PLACES
            .iter()
            .find_map(|place| Some((place, version(place)?)));
        let Some((program, version)) = found else {
            eprintln!("SKIPPED: there is no pgbouncer");
            return None;
        };
        if !VERSIONS.iter().any(|known| version.contains(known)) {
            eprintln!("SKIPPED: {}", version.lines().next().unwrap_or_default());
            return None;
        }
        for attempt in 0..ATTEMPTS {
            let pgbouncer = Self::on_a_free_port(program, attempt);
            let parameters = format!(
                "host=127.0.0.1 port={} user=postgres dbname=pgbouncer",
                pgbouncer.port
            );
            for _ in 0..100 {
                if let Ok((client, connection)) = tokio_postgres::connect(&parameters, NoTls).await
                {
                    tokio::spawn(connection);
                    return Some((pgbouncer, client));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        panic!("{program} does not serve");
    }

    fn on_a_free_port(program: &str, attempt: usize) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let name = format!("pglanes-pgbouncer-{}-{attempt}.ini", std::process::id());
        let file = std::env::temp_dir().join(name);
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port=1\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\nadmin_users = postgres\nunix_socket_dir =\n"
        );
        std::fs::write(&file, text).unwrap();
        drop(free);
        let mut command = Command::new(program);
        if nix::unistd::geteuid().is_root() {
            // It does not run as root.
            command.args(["-u", "nobody"]);
        }
        let child = command
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, file, port }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// The names of what a command shows.
async fn columns(client: &Client, show: &str) -> Result<Vec<String>, String> {
    let answer = client.simple_query(&format!("SHOW {show}")).await;
    let messages = answer.map_err(|error| error.to_string())?;
    let described = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::RowDescription(columns) => {
            let names = columns.iter().map(|column| column.name().to_owned());
            Some(names.collect())
        }
        _ => None,
    });
    described.ok_or_else(|| "no columns".to_owned())
}

#[tokio::test]
async fn a_real_pgbouncer_has_these_columns_in_this_order() {
    let Some((_pgbouncer, theirs)) = PgBouncer::start().await else {
        return;
    };
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let ours = stats(&proxy).await;
    let mut different = Vec::new();
    for show in SHOWS {
        let expected = columns(&theirs, show).await.unwrap();
        let found = columns(&ours, show).await;
        if !found
            .as_ref()
            .is_ok_and(|found| found.starts_with(&expected))
        {
            different.push(format!("{show}: {expected:?}, and here {found:?}"));
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    drop(ours);
    invariants(&proxy).await;
}
