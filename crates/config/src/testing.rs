//! What the tests of this crate share: a world of secrets that needs no environment, and a file with every key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pglanes_auth::Secret;

use crate::diagnostic::{ConfigError, Text};
use crate::model::Config;
use crate::reader::Reading;
use crate::secrets::Surroundings;

/// What every secret of the tests holds; it must never be seen.
pub(crate) const CANARY: &str = "canary-Zx81";

/// Variables `CANARY*` are set, the file `canary.secret` is there; nothing else is.
pub(crate) struct World {
    variables: BTreeMap<&'static str, String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let canary = |number: u8| format!("{CANARY}-{number}");
        Self {
            variables: BTreeMap::from([
                ("CANARY_1", canary(1)),
                ("CANARY_2", canary(2)),
                ("CANARY_3", canary(3)),
                ("CANARY_TOKEN", format!("{CANARY}-token-0123456789abcdef")),
                ("MD5", format!("md5{}", "0".repeat(32))),
                ("EMPTY", String::new()),
            ]),
        }
    }
}

impl Surroundings for World {
    fn users_file(&self, path: &Path) -> Result<Secret<String>, String> {
        match path.to_str() {
            Some("userlist.txt") => Ok(Secret::new(format!("\"listed\" \"{CANARY}-listed\"\n"))),
            Some("broken.txt") => Ok(Secret::new(format!("\"listed\" {CANARY}\n"))),
            _ => Err(format!("{} cannot be read: no such file", path.display())),
        }
    }

    fn variable(&self, name: &str) -> Option<Secret<String>> {
        self.variables
            .get(name)
            .map(|value| Secret::new(value.clone()))
    }

    fn secret_file(&self, path: &Path) -> Result<Secret<String>, String> {
        match path.to_str() {
            Some("canary.secret") => Ok(Secret::new(format!("{CANARY}-file\n"))),
            _ => crate::tls::testing::Certificates.secret_file(path),
        }
    }

    fn certificate_file(&self, path: &Path) -> Result<Vec<u8>, String> {
        crate::tls::testing::Certificates.certificate_file(path)
    }
}

/// Reads a text as `lanes.yaml` in the tests' world.
pub(crate) fn read(source: &str) -> Result<Config, ConfigError> {
    crate::parse("lanes.yaml", source, &World::new())
}

/// The reference paths that reading this text asks for.
pub(crate) fn asked_by(source: &str) -> BTreeSet<String> {
    let text = Text {
        file: "lanes.yaml",
        source,
    };
    let tree = crate::yaml::parse(&text).unwrap();
    let world = World::new();
    let mut reading = Reading::new(text, &world);
    crate::read::config(&mut reading, &tree, None).unwrap();
    assert_eq!(reading.problems, []);
    reading.asked
}

/// Every section and every form, so that a reading of it asks for every key.
pub(crate) const MAXIMAL: &str = "
listen: [127.0.0.1:6433, /tmp]
http: off
allow_remote: false
admin: { users: [me], stats_users: [grafana], token: { env: CANARY_TOKEN } }
state: /var/lib/pglanes
upstream:
  url: postgresql://app@localhost:5432/db
  slots: 20
  connect_timeout: 2s
  password: { env: CANARY_1 }
  unix_socket: off
  application_name: both
tls: { certificate: server.crt, key: server.key, client_ca: ca.crt, client_certificates: request, mode: require }
auth: { method: scram-sha-256 }
access:
  - { address: local, database: 'a*', user: me, method: peer, map: [{ system_user: root, user: me }] }
  - { method: relay }
users_file: userlist.txt
auth_query: { query: 'SELECT 1', user: asker, database: postgres }
databases:
  real: { aliases: [old, older] }
users:
  me:
    password: { env: CANARY_2 }
    upstream_password: { file: canary.secret }
    aliases:
      - plain
      - { name: named, password: { env: CANARY_3 } }
limits: { clients: 10, login_timeout: 1s, message_before_slot: 64kB, client_idle_in_transaction: 5m, half_sent_message: 30s, slow_reader: 1m, cancels: 2 }
shutdown: { grace: 0 }
reload: { watch: off }
logging: { format: json, level: debug }
observe: { mode: on, interval: 2s }
history: { mode: on, interval: 1s, keep: 7d, size: 16MB }
lanes:
  default: { mode: observe }
  first:
    match:
      - { application_name: 'a*', user: u, database: d, address: [10.0.0.0/8, local] }
      - { lane: second, statement: [delete, create  index, bulk update], tag: { job: x }, table: [archive.*, t], text: '^vacuum' }
    chosen_by: [{ application_name: x, user: u, database: d, address: ::1 }]
    slots: { min: 1, max: 2 }
    pooling: session
    lazy_begin: true
    reuse_plans: true
    listen: shared
    priority: -5
    weight: 3
    rules: [{ name: r, when: { idle_in_transaction: 1s, blocking: true }, then: { move: second } }]
    preemptible: { grace: 1s }
    queue: { length: 0, timeout: 1m }
    settings: { jit: on, statement_timeout: 0, work_mem: 64MB, x.empty: '', x.hex: 0x10, x.quoted: 'yes' }
    cpu: low
    io: background
    mode: off
    idle_timeout: 0
    server_lifetime: off
    objective: { p50: 1.1x, p95: 1.25x, p99: 1.5x, linger: 1s, probe: { every: 30s, length: 100ms }, exempt: [second], mode: observe }
  second: { match: [{ user: s }] }
throttles:
  - { name: t, while: { lane: first, is: leased, linger: 1s, direct: false }, lane: second, slots: 25%, cpu: low, running: { cancel_after: 5s }, mode: observe }
";
