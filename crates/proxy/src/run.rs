//! Starting and ending the data path: one thread, which owns every session and every
//! server connection, and a handle by which the rest of the process talks to it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pglanes_config::{Config, ListenAddress, TlsError};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};

use crate::credentials::CredentialSource;
use crate::events::Events;
use crate::front::listener::Listener;
use crate::hub::{AskedOfSession, Baselines, Hub, Live, Phase};
use crate::leases::{LeaseAnswer, LeaseCommand};
use crate::metrics::Metrics;
use crate::observed::{Attention, Observed, ObservedView};
use crate::tls::{Material, follow_files};

/// How often idle server connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How often an ending proxy looks whether its sessions have finished.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// Requests from the rest of the process that may wait.
const MOST_REQUESTS: usize = 64;

/// Why the proxy did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {cause}{}", hint(.cause))]
    Bind {
        /// As configured.
        address: String,
        /// The operating system's words.
        cause: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("TLS cannot be offered or used: {0}")]
    Tls(#[from] TlsError),
    /// The policy contradicts itself.
    #[error("the lanes do not hold together: {0}")]
    Policy(String),
    /// The system gave no thread, reactor or randomness.
    #[error("the data path cannot start: {0}")]
    System(#[from] io::Error),
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => " (is pglanes running already? lanes.yaml: listen)",
        _ => "",
    }
}

/// What the data path looks like at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The scheduler's state.
    pub scheduler: pglanes_lanes::Snapshot,
    /// Sessions logged in.
    pub sessions: usize,
    /// Logins in progress.
    pub logins: u32,
    /// Server connections being opened, idle, and in use.
    pub servers: (usize, usize, usize),
    /// What was seen of the server past the lanes.
    pub observed: ObservedView,
    /// The proxy is ending.
    pub draining: bool,
}

pub(crate) enum Request {
    View(oneshot::Sender<View>),
    Baselines(oneshot::Sender<Baselines>),
    Restore(Box<Baselines>, oneshot::Sender<Result<(), String>>),
    Reload(Box<Config>, oneshot::Sender<Result<(), String>>),
    ReloadRefused,
    Blockers(Vec<i32>),
    Lease(LeaseCommand, oneshot::Sender<LeaseAnswer>),
    Observed(Box<Observed>, oneshot::Sender<Attention>),
    Shutdown { grace: Duration },
}

/// Talks to a running proxy; cheap to clone. Reads go aside of the traffic.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    metrics: Arc<Metrics>,
    events: Events,
    ended: watch::Receiver<bool>,
}

impl Handle {
    /// Where requests go.
    pub(crate) fn requests(&self) -> &mpsc::Sender<Request> {
        &self.requests
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What happened.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Tells what was seen of the server, and hears how closely to look on; `None` once the proxy has ended.
    pub async fn observed(&self, observed: Observed) -> Option<Attention> {
        let (reply, attention) = oneshot::channel();
        let request = Request::Observed(Box::new(observed), reply);
        self.requests.send(request).await.ok()?;
        attention.await.ok()
    }

    /// The state at this moment; `None` once the proxy has ended.
    pub async fn view(&self) -> Option<View> {
        let (reply, view) = oneshot::channel();
        self.requests.send(Request::View(reply)).await.ok()?;
        view.await.ok()
    }

    /// What the lanes with an objective take in quiet, to be kept over a restart; `None` once the proxy has ended.
    pub async fn baselines(&self) -> Option<Baselines> {
        let (reply, baselines) = oneshot::channel();
        self.requests.send(Request::Baselines(reply)).await.ok()?;
        baselines.await.ok()
    }

    /// Takes in what was kept of lanes that are still there.
    ///
    /// # Errors
    /// What does not hold in it. The loop then learns by itself.
    pub async fn restore_baselines(&self, kept: Baselines) -> Result<(), String> {
        let (reply, done) = oneshot::channel();
        let gone = || "the proxy has ended".to_owned();
        let request = Request::Restore(Box::new(kept), reply);
        self.requests.send(request).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }

    /// Puts another configuration in force without dropping a session.
    ///
    /// # Errors
    /// Why it was refused; the old one then stays in force.
    pub async fn reload(&self, config: Config) -> Result<(), String> {
        let (reply, done) = oneshot::channel();
        let gone = || "the proxy has ended".to_owned();
        let request = Request::Reload(Box::new(config), reply);
        self.requests.send(request).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }

    /// Counts a configuration that did not get as far as [`Self::reload`]: a file that
    /// does not hold. The old one stays in force.
    pub async fn reload_refused(&self) {
        // The data thread alone writes the counters. It has ended if nobody listens.
        let _ = self.requests.send(Request::ReloadRefused).await;
    }

    /// Says which backends (by process id) keep others waiting for a lock at this moment: for rules that go by that. Holds
    /// until it is said anew; at most [`MOST_BLOCKERS`](crate::MOST_BLOCKERS) are remembered.
    pub async fn note_blockers(&self, backends: Vec<i32>) {
        // It has ended if nobody listens.
        let _ = self.requests.send(Request::Blockers(backends)).await;
    }

    /// Finishes what runs, refuses what is new, and ends; what still runs after `grace`
    /// is cut off. Asked a second time it ends at once if `grace` is zero.
    pub async fn shutdown(&self, grace: Duration) {
        // It has ended already if nobody listens.
        let _ = self.requests.send(Request::Shutdown { grace }).await;
    }

    /// Waits until the proxy has ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the thread is gone, which is the same.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// A proxy that runs. Dropping it ends it at once.
#[derive(Debug)]
pub struct Proxy {
    handle: Handle,
    addresses: Vec<SocketAddr>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Binds the configured addresses and starts serving on a thread of its own.
    ///
    /// # Errors
    /// An address that cannot be bound, lanes that contradict each other, or no thread.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, None)
    }

    /// The same, with somebody to ask what `auth_query` of the configuration says.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_with(
        config: Config,
        credentials: Option<Arc<dyn CredentialSource>>,
    ) -> Result<Self, StartError> {
        // Before a port is bound: what cannot serve does not listen.
        let material = Material::load(&config)?;
        let listeners = bind_all(&config.listen)?;
        let addresses = listeners.iter().filter_map(Bound::address).collect();
        let metrics = Arc::new(Metrics::default());
        let events = Events::default();
        let (requests, receiver) = mpsc::channel(MOST_REQUESTS);
        let (ended_sender, ended) = watch::channel(false);
        let mut mock_secret = [0; 32];
        getrandom::fill(&mut mock_secret).map_err(|error| io::Error::other(error.to_string()))?;
        let handle = Handle {
            requests,
            metrics: Arc::clone(&metrics),
            events: events.clone(),
            ended,
        };
        let live = Live::new(config, None);
        live.policy
            .validate()
            .map_err(|error| StartError::Policy(error.to_string()))?;
        let config = live.config.clone();
        let thread = std::thread::Builder::new()
            .name("pglanes-data".to_owned())
            .spawn(move || {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        let live = Live::new(config, None);
                        let hub =
                            Hub::new(live, material, metrics, mock_secret, credentials, events);
                        runtime.block_on(serve(hub, listeners, receiver));
                    }
                    Err(error) => tracing::error!(%error, "the data path has no reactor"),
                }
                ended_sender.send_replace(true);
            })?;
        Ok(Self {
            handle,
            addresses,
            thread: Some(thread),
        })
    }

    /// By which to talk to it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The TCP addresses it listens on, with the ports that were found for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let grace = Duration::ZERO;
        // If the queue of requests is full the thread is busy ending, or will find it empty.
        let _ = self.handle.requests.try_send(Request::Shutdown { grace });
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its hook.
            let _ = thread.join();
        }
    }
}

/// A bound socket which no reactor knows yet.
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

impl Bound {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

fn bind_all(addresses: &[ListenAddress]) -> Result<Vec<Bound>, StartError> {
    addresses.iter().map(bind).collect()
}

fn bind(address: &ListenAddress) -> Result<Bound, StartError> {
    let failed = |address: String| move |cause| StartError::Bind { address, cause };
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address).map_err(failed(address.to_string())),
        ListenAddress::Unix(path) => {
            bind_unix(path.clone()).map_err(failed(path.display().to_string()))
        }
    }
}

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Bound::Tcp(socket.into()))
}

/// A socket file left by a process that is gone is replaced; a living one's is not.
fn bind_unix(path: PathBuf) -> io::Result<Bound> {
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    Ok(Bound::Unix(listener, path))
}

/// Removes a socket's file when the proxy ends.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn serve(hub: Rc<Hub>, bound: Vec<Bound>, mut requests: mpsc::Receiver<Request>) {
    let (stop, stopped) = watch::channel(false);
    let mut files = Vec::new();
    for bound in bound {
        let listener = match bound {
            Bound::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
            Bound::Unix(listener, path) => {
                files.push(SocketFile(path));
                UnixListener::from_std(listener).map(Listener::Unix)
            }
        };
        match listener {
            Ok(listener) => {
                let mut stopped = stopped.clone();
                let stop = async move {
                    // An error means that the proxy has ended.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                };
                tokio::task::spawn_local(listener.serve(Rc::clone(&hub), stop));
            }
            Err(error) => tracing::error!(%error, "a listener was lost"),
        }
    }
    tokio::task::spawn_local(Rc::clone(&hub).run_timer());
    tokio::task::spawn_local(follow_files(Rc::clone(&hub)));
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(Request::Shutdown { grace }) => {
                    stop.send_replace(true);
                    drain(&hub, grace, &mut requests).await;
                    return;
                }
                Some(request) => answer(&hub, request),
                None => return,
            },
            () = pause(hub.idle_rules_pause()) => hub.sweep_idle_rules(),
            _ = sweep.tick() => {
                hub.sweep_idle_rules();
                hub.sweep_idle();
                hub.sweep_stalled();
                hub.expire_leases();
                hub.forget_old_observations();
            }
        }
    }
}

/// Until idle transactions are to be looked at; for ever where no rule goes by that.
async fn pause(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

fn answer(hub: &Rc<Hub>, request: Request) {
    match request {
        Request::Blockers(backends) => hub.note_blockers(backends),
        Request::View(reply) => {
            // Whoever asked may have gone.
            let _ = reply.send(hub.view());
        }
        Request::Baselines(reply) => {
            let _ = reply.send(hub.baselines());
        }
        Request::Restore(kept, reply) => {
            let _ = reply.send(
                hub.restore_baselines(&kept)
                    .map_err(|error| error.to_string()),
            );
        }
        Request::Reload(config, reply) => {
            let hub = Rc::clone(hub);
            tokio::task::spawn_local(async move {
                let _ = reply.send(reload(&hub, *config).await);
            });
        }
        Request::Lease(command, reply) => {
            let _ = reply.send(hub.lease_command(command));
        }
        Request::ReloadRefused => count_refused_reload(hub),
        Request::Observed(observed, reply) => {
            // Whoever saw it may have gone.
            let _ = reply.send(hub.observed(*observed));
        }
        Request::Shutdown { .. } => {}
    }
}

/// Certificates and keys are read again with every reload, aside of this thread.
async fn reload(hub: &Rc<Hub>, config: Config) -> Result<(), String> {
    let config = keep_what_needs_a_restart(config, &hub.live().config);
    let wanted = config.clone();
    let material = tokio::task::spawn_blocking(move || Material::load(&wanted)).await;
    let material = match material {
        Ok(Ok(material)) => material,
        Ok(Err(error)) => {
            count_refused_reload(hub);
            return Err(error.to_string());
        }
        Err(_) => return Err("the proxy is ending".to_owned()),
    };
    let running = hub.live();
    let live = Live::new(config, Some(&running));
    if let Err(error) = live.policy.validate() {
        count_refused_reload(hub);
        return Err(error.to_string());
    }
    hub.set_tls(material);
    hub.set_live(live);
    hub.metrics.reloads.increment();
    hub.metrics.last_reload_succeeded.set(true);
    Ok(())
}

fn count_refused_reload(hub: &Hub) {
    hub.metrics.reload_failures.increment();
    hub.metrics.last_reload_succeeded.set(false);
}

/// Where PostgreSQL is does not change under open connections.
fn keep_what_needs_a_restart(mut config: Config, running: &Config) -> Config {
    config.upstream.address = running.upstream.address.clone();
    config.upstream.unix_socket = running.upstream.unix_socket.clone();
    config.upstream.tls = running.upstream.tls.clone();
    config
}

/// Lets what runs finish, for at most `grace`; a second request with no grace ends that.
async fn drain(hub: &Rc<Hub>, grace: Duration, requests: &mut mpsc::Receiver<Request>) {
    hub.phase.set(Phase::Draining);
    let faces: Vec<_> = hub.sessions.borrow().iter().map(Rc::clone).collect();
    for face in faces {
        face.ask(AskedOfSession::End);
    }
    let deadline = tokio::time::sleep(grace);
    tokio::pin!(deadline);
    let mut look = tokio::time::interval(DRAIN_POLL);
    loop {
        tokio::select! {
            () = &mut deadline => break,
            _ = look.tick() => {
                let left = hub.sessions.borrow().len();
                // Connections in use without a session are those whose statement is being cancelled.
                let in_use = hub.connection_counts().2;
                if left == 0 && hub.logins_in_flight.get() == 0 && in_use == 0 {
                    break;
                }
            }
            request = requests.recv() => match request {
                Some(Request::Shutdown { grace }) if grace.is_zero() => break,
                Some(request) => answer(hub, request),
                None => break,
            },
        }
    }
    let left = hub.sessions.borrow().len();
    if left > 0 {
        tracing::warn!(sessions = left, "ended with sessions in a transaction");
    }
}

impl Hub {
    fn view(&self) -> View {
        View {
            scheduler: self.snapshot(),
            sessions: self.sessions.borrow().len(),
            logins: self.logins_in_flight.get(),
            servers: self.connection_counts(),
            observed: self.observed_view(),
            draining: self.phase.get() == Phase::Draining,
        }
    }
}
