//! `pglanes serve`: the proxy on its thread, and beside it on one other: signals, reloads, metrics, the admin console, and whether PostgreSQL
//! is there.
//!
//! - `baselines`: what lanes take in quiet, kept over restarts
//! - `control`: what signals and the file ask for, until the proxy has ended
//! - `reload`: another configuration in force, or why not
//! - `credentials`: what the data path asks about passwords
//! - `upstream`: whether PostgreSQL answers
//! - `signals`: what the operating system tells us
//! - `notify`: what systemd is told
//! - `sockets`: what systemd holds open for us

pub(crate) mod baselines;
mod control;
mod credentials;
mod notify;
mod reload;
mod signals;
mod sockets;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use pglanes_admin::access::{Access, Names};
use pglanes_admin::{BindError, Console, Reachability, Status};
use pglanes_auth::Secret;
use pglanes_config::{Config, ListenAddress, StateFolder};
use pglanes_proxy::{ConsoleDoor, Passed, Proxy, StartError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::file_limit;
use crate::history;
use crate::observe;
use crate::source::Source;
use crate::state::{State, StateError};
use baselines::Keeper;
use control::Control;
use credentials::OverControl;
use notify::Told;
use reload::Reloader;
use signals::Signals;
pub use sockets::{SocketError, Sockets};

/// Requests of the console to this process that may wait.
const MOST_OPERATIONS: usize = 8;

/// Why serving did not begin, or did not end as it was asked to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The proxy did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address for metrics could not be bound.
    #[error(transparent)]
    Metrics(#[from] BindError),
    /// A socket that was passed cannot be used.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The state folder that lanes.yaml names cannot be used.
    #[error("{0} (lanes.yaml: state)")]
    State(#[from] StateError),
    /// No signal can be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    /// The data thread ended although nobody asked it to; its panic was reported.
    #[error("the data path ended by itself")]
    Ended,
    /// It was told to end at once and did not. The caller ends the process.
    #[error("the data path does not end; ending without it")]
    Stuck,
}

/// Serves until SIGTERM or SIGINT, on `sockets` where some were passed. The caller has started logging.
///
/// # Errors
/// [`ServeError`]: what could not be bound or started, or that the end was not an orderly one.
pub async fn run(source: Source, config: Config, sockets: Sockets) -> Result<(), ServeError> {
    let started = SystemTime::now();
    let stamp = source.stamp();
    // First, so that a signal during the start is not the end of an unprepared process.
    let signals = Signals::new().map_err(ServeError::Signals)?;
    sockets.check(&config)?;
    let Sockets {
        clients,
        http: passed,
    } = sockets;
    let http = http_listener(passed, config.http).await?;
    if let Some(warning) = file_limit::ensure(config.limits.clients, config.upstream.slots) {
        tracing::warn!("{warning}");
    }
    let (tokens, of_tokens) = watch::channel(config.admin.token.clone());
    let (operations, of_operations) = mpsc::channel(MOST_OPERATIONS);
    let console = Console::new(of_tokens.clone(), operations);
    let door: Arc<dyn ConsoleDoor> = Arc::clone(&console) as _;
    let unix = unix_sockets(&config, &clients);
    let proxy = Proxy::start_on(
        clients,
        config.clone(),
        Some(OverControl::new()),
        Some(door),
    )?;
    let (state, kept) = keeping(&config, &proxy)?;
    announce(&source, &config, &proxy, unix, http.as_ref());
    notify::tell(Told::Ready);
    let (status, of_status) = watch::channel(Status {
        upstream: Reachability::Untried,
        clients_limit: config.limits.clients,
        started,
        configured: started,
    });
    let handle = proxy.handle();
    tokens.send_replace(config.admin.token.clone().or(kept.clone()));
    let metrics = async {
        match http {
            Some(listener) => {
                let names = listener
                    .local_addr()
                    .map_or(Names::OfThisMachine, Names::on);
                let access = Access::new(of_tokens, names);
                pglanes_admin::serve(listener, handle.clone(), of_status.clone(), access).await;
            }
            None => handle.ended().await,
        }
    };
    let folder = state.as_ref().map(|state| state.folder().to_owned());
    let keeper = Keeper::new(state.clone(), config.clone(), handle.clone());
    let watching = upstream::watch(config.upstream.clone(), handle.clone(), status.clone());
    let (configs, of_configs) = watch::channel(config.clone());
    let remembering = Box::pin(history::keep(state, of_configs.clone(), handle.clone()));
    let observing = Box::pin(observe::watch(of_configs, handle.clone()));
    let reloader = Reloader::new(source, stamp, config, handle.clone(), status)
        .with_tokens(tokens, kept)
        .with_observer(configs);
    let control = Control::new(signals, reloader, of_operations, handle.clone(), folder);
    // All of them end with the proxy; when it is stuck the first one does not wait for that.
    let outcome = tokio::select! {
        biased;
        outcome = control.run() => outcome,
        never = async { tokio::join!(metrics, console.serve(handle.clone()), watching, observing, remembering, keeper.run()); std::future::pending::<Never>().await } => match never {},
    };
    keeper.write().await;
    finish(proxy, outcome)
}

/// Makes the state folder, and gives the token that is kept there. A folder that was named and cannot be used is a
/// mistake; without the usual one the proxy does what it can.
fn keeping(
    config: &Config,
    proxy: &Proxy,
) -> Result<(Option<State>, Option<Secret<String>>), ServeError> {
    let port = proxy
        .addresses()
        .first()
        .map_or_else(|| config.first_port(), SocketAddr::port);
    let opened = State::open(&config.state, port).and_then(|state| {
        let token = state.as_ref().map(State::token).transpose()?;
        Ok((state, token))
    });
    match opened {
        Ok((state, token)) => {
            if token.is_none() && config.admin.token.is_none() {
                tracing::info!(
                    "nothing can be changed over HTTP: there is no state folder and no admin.token"
                );
            }
            Ok((state, token))
        }
        Err(error) if matches!(config.state, StateFolder::At(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!("{error}; nothing outlives a restart (lanes.yaml: state)");
            Ok((None, None))
        }
    }
}

/// Has no value.
enum Never {}

fn finish(proxy: Proxy, outcome: Result<(), ServeError>) -> Result<(), ServeError> {
    if let Err(ServeError::Stuck) = outcome {
        // Dropping it would wait for its thread.
        std::mem::forget(proxy);
    }
    outcome
}

/// The socket for metrics: the one that was passed, else the configured address.
async fn http_listener(
    passed: Option<std::net::TcpListener>,
    configured: Option<SocketAddr>,
) -> Result<Option<TcpListener>, ServeError> {
    Ok(match (passed, configured) {
        (Some(listener), _) => Some(TcpListener::from_std(listener).map_err(StartError::from)?),
        (None, Some(address)) => Some(pglanes_admin::bind(address).await?),
        (None, None) => None,
    })
}

/// The paths of unix sockets that are listened on.
fn unix_sockets(config: &Config, passed: &[Passed]) -> Vec<String> {
    let path = |path: &std::path::Path| path.display().to_string();
    if passed.is_empty() {
        let configured = config.listen.iter().filter_map(|address| match address {
            ListenAddress::Unix(socket) => Some(path(socket)),
            ListenAddress::Tcp(_) => None,
        });
        return configured.collect();
    }
    let address = |passed: &Passed| match passed {
        Passed::Unix(listener) => listener.local_addr().ok(),
        Passed::Tcp(_) => None,
    };
    let addresses = passed.iter().filter_map(address);
    addresses
        .map(|address| address.as_pathname().map_or("@".to_owned(), path))
        .collect()
}

/// One line of what is where; one for each doubt about the file.
fn announce(
    source: &Source,
    config: &Config,
    proxy: &Proxy,
    unix: Vec<String>,
    http: Option<&TcpListener>,
) {
    for warning in &config.warnings {
        tracing::warn!("{}", warning.headline());
    }
    let mut clients: Vec<String> = proxy.addresses().iter().map(ToString::to_string).collect();
    clients.extend(unix);
    let http = http.and_then(|listener| listener.local_addr().ok());
    let http = http.map_or_else(|| "off".to_owned(), |address| address.to_string());
    let lanes: Vec<&str> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
    tracing::info!(
        clients = clients.join(" "),
        http,
        upstream = upstream::place(&config.upstream),
        slots = config.upstream.slots,
        lanes = lanes.join(" "),
        config = %source,
        "serving"
    );
    if let Source::BuiltIn { appears } = source {
        tracing::info!(
            "there is no {}: the built-in lanes hold; write one, or name it with --config",
            appears.display()
        );
    }
}
