//! Starting and ending the data path: one thread, which owns every session and every
//! server connection, and a handle by which the rest of the process talks to it.
//!
//! - `bind`: the addresses
//! - `handle`: what others may ask, and the answers
//! - `reload`: another configuration

mod bind;
mod handle;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pglanes_config::{Config, TlsError};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

use crate::console::ConsoleDoor;
use crate::credentials::CredentialSource;
use crate::events::{EventKind, Events};
use crate::front::listener::Listener;
use crate::hub::{AskedOfSession, Hub, Live, Phase};
use crate::metrics::Metrics;
use crate::tls::{Material, follow_files};
pub use bind::Passed;
use bind::{Bound, SocketFile, bind_all};
pub(crate) use handle::Request;
use handle::answer;

pub use handle::{Ending, Handle, MOST_SESSIONS_SHOWN};

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
        Self::start_with(config, None, None)
    }

    /// The same, with somebody to ask what `auth_query` of the configuration says, and somebody who serves the admin
    /// console; without, the databases named like it are PostgreSQL's.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_with(
        config: Config,
        credentials: Option<Arc<dyn CredentialSource>>,
        console: Option<Arc<dyn ConsoleDoor>>,
    ) -> Result<Self, StartError> {
        Self::start_on(Vec::new(), config, credentials, console)
    }

    /// The same, on sockets that were passed instead of the configured addresses; on those where none was.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_on(
        passed: Vec<Passed>,
        config: Config,
        credentials: Option<Arc<dyn CredentialSource>>,
        console: Option<Arc<dyn ConsoleDoor>>,
    ) -> Result<Self, StartError> {
        // Before a port is bound: what cannot serve does not listen.
        let material = Material::load(&config)?;
        let listeners = match passed.is_empty() {
            true => bind_all(&config.listen)?,
            false => passed.into_iter().map(Bound::from).collect(),
        };
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
                        let hub = Hub::new(
                            live,
                            material,
                            metrics,
                            mock_secret,
                            credentials,
                            console,
                            events,
                        );
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
        let _ = self
            .handle
            .requests
            .try_send(Request::End(Ending::Transactions(grace)));
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its hook.
            let _ = thread.join();
        }
    }
}

async fn serve(hub: Rc<Hub>, bound: Vec<Bound>, mut requests: mpsc::Receiver<Request>) {
    let (stop, stopped) = watch::channel(false);
    let mut files = Vec::new();
    for bound in bound {
        let listener = match bound {
            Bound::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
            Bound::Unix(listener, path) => {
                files.extend(path.map(SocketFile));
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
    // Nobody new comes in, and the end is when the last has left.
    let mut until_empty = false;
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(Request::End(ending)) => {
                    let mode = handle::mode(ending);
                    hub.events.push(EventKind::Ending { mode });
                    stop.send_replace(true);
                    match ending {
                        Ending::Transactions(grace) => {
                            drain(&hub, grace, &mut requests).await;
                            return;
                        }
                        // Asked for later, the other end comes sooner.
                        Ending::Clients => until_empty = true,
                    }
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
                if until_empty && hub.is_empty() {
                    return;
                }
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
                if hub.is_empty() {
                    break;
                }
            }
            request = requests.recv() => match request {
                Some(Request::End(Ending::Transactions(grace))) if grace.is_zero() => break,
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
    /// Nobody is inside or on the way in. Connections in use without a session are those whose statement is being
    /// cancelled.
    fn is_empty(&self) -> bool {
        self.sessions.borrow().len() == 0
            && self.logins_in_flight.get() == 0
            && self.connection_counts().2 == 0
    }
}
