//! The HTTP server: few connections at a time, each of bounded age, each request's header of bounded size and time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pglanes_proxy::Handle;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Status;
use crate::access::Access;
use crate::answers::{self, Source};
use crate::recording::Stay;

/// Connections held at once. A scraper needs one; further ones wait in the kernel's queue.
pub const MAXIMUM_CONNECTIONS: usize = 32;
/// How long a request's header may take, and how long a connection may be silent between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lives, whatever it does: somebody who reads slowly gives its place back.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(120);
/// How long a connection lives on which somebody records what runs.
const LONGEST_RECORDING: Duration = Duration::from_secs(24 * 60 * 60);
/// What a request's header may take, in bytes.
const MAXIMUM_HEADER: usize = 16 * 1024;
/// What a request may have of headers.
const MAXIMUM_HEADERS: usize = 64;
/// How long to wait after the system refused a connection: out of descriptors, usually.
const AFTER_A_FAILURE: Duration = Duration::from_millis(200);

/// The address could not be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for metrics: {cause} (lanes.yaml: http)")]
pub struct BindError {
    /// As configured.
    pub address: SocketAddr,
    /// The operating system's words.
    pub cause: io::Error,
}

/// Binds the address for [`serve`].
///
/// # Errors
/// The operating system's, with the address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|cause| BindError { address, cause })
}

/// Answers until the proxy has ended, also while it drains: its end is worth watching.
///
/// Dropping the future closes every connection; nothing is lost by that.
pub async fn serve(
    listener: TcpListener,
    handle: Handle,
    status: watch::Receiver<Status>,
    access: Access,
) {
    let ended = handle.clone();
    let source = Source::new(handle, status, access);
    // Boxed: whoever serves keeps this future within its own.
    let watching = Box::pin(source.warnings.clone().keep_watching(source.clone()));
    let router = answers::router(source);
    tokio::select! {
        () = ended.ended() => {}
        never = accept_all(listener, router) => match never {},
        () = watching => {}
    }
}

async fn accept_all(listener: TcpListener, router: Router) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MAXIMUM_CONNECTIONS {
            // What a connection ended with concerns its client alone.
            let _ = connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(answer_one(stream, router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for metrics was not accepted");
                    tokio::time::sleep(AFTER_A_FAILURE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer_one(stream: TcpStream, router: Router) {
    let stay = Stay::default();
    let router = router.layer(Extension(stay.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAXIMUM_HEADER)
        .max_headers(MAXIMUM_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let mut ended = tokio::time::timeout(CONNECTION_LIFETIME, connection.as_mut()).await;
    if ended.is_err() && stay.is_asked() {
        ended = tokio::time::timeout(LONGEST_RECORDING, connection).await;
    }
    match ended {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics ended early"),
    }
}
