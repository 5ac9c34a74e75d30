//! A proxy in the test's own process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pglanes_auth::Secret;
use pglanes_config::{Config, Surroundings};
use pglanes_lanes::LaneId;
use pglanes_proxy::{ConsoleDoor, CredentialSource, Handle, LaneMetrics, Metrics, View};
use tokio::task::JoinHandle;

use crate::{Pg, Raw, Target};

/// After so long a proxy ends itself: whoever still waits for an answer then fails instead of hanging.
const LONGEST_TEST: Duration = Duration::from_secs(100);

/// A proxy to be: a fragment of lanes.yaml, and what a test may want to say besides.
#[derive(Debug, Clone)]
pub struct Builder {
    fragment: String,
    upstream: String,
    parameters: String,
    secrets: HashMap<String, String>,
    pg: Option<Pg>,
    port: Option<u16>,
    host: String,
    lives: Duration,
    source: Option<Arc<dyn CredentialSource>>,
    console: Option<Arc<dyn ConsoleDoor>>,
    socket: Option<PathBuf>,
}

impl Builder {
    /// For a test that may take longer than others: its proxy lives so long.
    #[must_use]
    pub fn lives(mut self, limit: Duration) -> Self {
        self.lives = limit;
        self
    }

    /// With its server connections to this port of this machine: a relay before its database, or a fake.
    #[must_use]
    pub fn upstream_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With its server connections to a host of this name.
    #[must_use]
    pub fn upstream_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Over this database instead of a fresh one.
    #[must_use]
    pub fn over(mut self, pg: &Pg) -> Self {
        self.pg = Some(pg.clone());
        self
    }

    /// Server connections of all lanes together (10 if nothing is said).
    #[must_use]
    pub fn slots(self, slots: u32) -> Self {
        self.upstream(&format!("slots: {slots}"))
    }

    /// Another entry of lanes.yaml's `upstream`, such as `connect_timeout: 1s`.
    #[must_use]
    pub fn upstream(mut self, entry: &str) -> Self {
        self.upstream.push_str(&format!("  {entry}\n"));
        self
    }

    /// Parameters of the upstream's URL, such as `sslmode=require`. Unless they are said there is no TLS, so that what
    /// stands between counts no bytes but the protocol's.
    #[must_use]
    pub fn parameters(mut self, parameters: &str) -> Self {
        parameters.clone_into(&mut self.parameters);
        self
    }

    /// A variable that `{ env: NAME }` finds; the process's own environment is not looked at.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A `userlist.txt`, for a fragment that says `users_file: userlist.txt`.
    #[must_use]
    pub fn users_file(self, text: &str) -> Self {
        self.secret("userlist.txt", text)
    }

    /// Who answers `auth_query`.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn CredentialSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// Who serves the admin console.
    #[must_use]
    pub fn console(mut self, door: Arc<dyn ConsoleDoor>) -> Self {
        self.console = Some(door);
        self
    }

    /// Listens on a unix socket in this folder too.
    #[must_use]
    pub fn socket(mut self, folder: &Path) -> Self {
        self.socket = Some(folder.to_owned());
        self
    }

    /// Another fragment in the first one's place.
    #[must_use]
    pub fn fragment(mut self, fragment: &str) -> Self {
        self.fragment = fragment.to_owned();
        self
    }

    /// The configuration, for a server on this port of this machine.
    ///
    /// # Panics
    /// If it does not hold, with all that is wrong.
    pub fn config(&self, port: u16) -> Config {
        let slots = match self.upstream.contains("slots:") {
            true => "",
            false => "  slots: 10\n",
        };
        let listen = match &self.socket {
            Some(folder) => format!("[127.0.0.1:0, {}]", folder.display()),
            None => "127.0.0.1:0".to_owned(),
        };
        let text = format!(
            "listen: {listen}\nhttp: off\nupstream:\n  url: postgresql://{}:{port}/?{}\n{slots}{}{}\n",
            self.host, self.parameters, self.upstream, self.fragment
        );
        match pglanes_config::parse("lanes.yaml", &text, &Known(&self.secrets)) {
            Ok(config) => config,
            Err(error) => panic!("{error}\n{text}"),
        }
    }

    /// Starts it before its database.
    ///
    /// # Panics
    /// If the configuration does not hold or the proxy does not start.
    pub async fn run(self) -> Proxy {
        // Where it may not, a test that needs many says so.
        let _ = crate::may_open_many_files();
        let pg = match self.pg.clone() {
            Some(pg) => pg,
            None => Pg::fresh().await,
        };
        let config = self.config(self.port.unwrap_or_else(|| pg.server().port()));
        let proxy = pglanes_proxy::Proxy::start_with(
            config.clone(),
            self.source.clone(),
            self.console.clone(),
        );
        let proxy = proxy.expect("the proxy starts");
        let handle = proxy.handle().clone();
        let limit = self.lives;
        let watchdog = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            eprintln!("the test took longer than {limit:?}: its proxy ends");
            handle.shutdown(Duration::ZERO).await;
        });
        Proxy {
            address: proxy.addresses()[0],
            proxy,
            pg,
            config,
            builder: self,
            watchdog,
            checked: AtomicBool::new(false),
        }
    }
}

/// The variables of a test.
struct Known<'a>(&'a HashMap<String, String>);

impl Surroundings for Known<'_> {
    fn variable(&self, name: &str) -> Option<Secret<String>> {
        self.0.get(name).cloned().map(Secret::new)
    }

    fn users_file(&self, path: &Path) -> Result<Secret<String>, String> {
        let name = path.to_string_lossy();
        self.variable(&name)
            .ok_or_else(|| "no such file".to_owned())
    }

    fn secret_file(&self, path: &Path) -> Result<Secret<String>, String> {
        pglanes_config::Process::default().secret_file(path)
    }
}

/// A proxy that runs, on a port of its own, before a database of its own. It ends when it is dropped, which is an error
/// before [`crate::invariants`] has looked at it.
#[derive(Debug)]
pub struct Proxy {
    proxy: pglanes_proxy::Proxy,
    address: SocketAddr,
    pg: Pg,
    config: Config,
    builder: Builder,
    watchdog: JoinHandle<()>,
    checked: AtomicBool,
}

impl Proxy {
    /// A proxy with this fragment of lanes.yaml: all but `listen`, `http` and `upstream`, which the tests say themselves.
    pub fn with(fragment: &str) -> Builder {
        Builder {
            fragment: fragment.to_owned(),
            upstream: String::new(),
            parameters: "sslmode=disable".to_owned(),
            secrets: HashMap::new(),
            pg: None,
            port: None,
            host: "127.0.0.1".to_owned(),
            lives: LONGEST_TEST,
            source: None,
            console: None,
            socket: None,
        }
    }

    /// A proxy in which at most this many server connections exist, in one lane.
    pub fn with_slots(slots: u32) -> Builder {
        let lanes = format!("lanes: {{ default: {{ slots: {{ max: {slots} }} }} }}");
        Self::with(&lanes).slots(slots)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What is behind it.
    pub fn pg(&self) -> &Pg {
        &self.pg
    }

    /// By which the rest of a process talks to it.
    pub fn handle(&self) -> &Handle {
        self.proxy.handle()
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        self.handle().metrics()
    }

    /// Its state at this moment.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn view(&self) -> View {
        let view = crate::soon(self.handle().view()).await;
        view.expect("the proxy runs")
    }

    /// The id of a lane: its place in the file.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn lane(&self, name: &str) -> LaneId {
        let place = self.config.lanes.iter().position(|lane| lane.name == name);
        let place = place.unwrap_or_else(|| panic!("no lane {name}"));
        LaneId(u16::try_from(place).expect("few lanes"))
    }

    /// The counters of a lane.
    pub fn lane_metrics(&self, name: &str) -> &LaneMetrics {
        self.metrics().lane(self.lane(name))
    }

    /// Sessions pinned now for this reason, in any lane.
    pub fn pinned(&self, reason: &str) -> i64 {
        let lanes = self
            .config
            .lanes
            .iter()
            .map(|lane| self.lane_metrics(&lane.name));
        let of_reason = |(label, count): (&str, i64)| (label == reason).then_some(count);
        lanes
            .flat_map(LaneMetrics::pinned)
            .filter_map(of_reason)
            .sum()
    }

    /// The same proxy with another fragment of lanes.yaml, put in force while it runs.
    ///
    /// # Errors
    /// Why the proxy refuses it.
    pub async fn reload(&self, fragment: &str) -> Result<(), String> {
        let builder = self.builder.clone().fragment(fragment);
        let port = builder.port.unwrap_or_else(|| self.pg.server().port());
        let mut config = builder.config(port);
        // A reload that asks for port 0 again does not ask for another one.
        config.listen.clone_from(&self.config.listen);
        crate::soon(self.handle().reload(config)).await
    }

    /// A client of frames; it has said nothing yet.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    pub(crate) fn is_checked(&self) {
        self.checked.store(true, Ordering::Relaxed);
    }
}

impl Target for Proxy {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn database(&self) -> &str {
        self.pg.database()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.watchdog.abort();
        let checked = self.checked.load(Ordering::Relaxed) || std::thread::panicking();
        assert!(checked, "a test ends with invariants(&proxy)");
    }
}
