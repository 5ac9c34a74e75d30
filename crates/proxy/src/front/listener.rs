//! Accepting connections.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use pglanes_wire::message::{self, ErrorBody, Severity};
use tokio::net::{TcpListener, UnixListener};

use super::client::Task;
use super::peer::Peer;
use super::take_in;
use crate::hub::Hub;
use crate::stream::Stream;

/// A pause after an accept that failed for want of descriptors: trying again at once
/// would spin (and the fault passes when a client leaves).
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Clients that have not logged in yet, at most. They cost a small buffer and a timer
/// each, and leave by the login timeout.
const MOST_LOGINS: u32 = 1000;

/// A bound socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Both are for latency and for noticing dead peers, not for correctness.
                let _ = stream.set_nodelay(true);
                let _ = socket2::SockRef::from(&stream).set_keepalive(true);
                Ok((stream.into(), Peer::over_tcp(address)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::over_unix(&stream);
                Ok((stream.into(), peer))
            }
        }
    }

    /// Accepts until told to stop, each client in a task of its own.
    pub(crate) async fn serve(self, hub: Rc<Hub>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut stop => return,
            };
            match accepted {
                Ok((stream, peer)) => admit(&hub, stream, peer),
                Err(error) => {
                    hub.metrics.accept_failures.increment();
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                }
            }
        }
    }
}

/// Counts a login in progress.
struct LoggingIn(Rc<Hub>);

impl LoggingIn {
    fn begin(hub: &Rc<Hub>) -> Self {
        hub.logins_in_flight.set(hub.logins_in_flight.get() + 1);
        Self(Rc::clone(hub))
    }
}

impl Drop for LoggingIn {
    fn drop(&mut self) {
        self.0
            .logins_in_flight
            .set(self.0.logins_in_flight.get() - 1);
    }
}

fn admit(hub: &Rc<Hub>, mut stream: Stream, peer: Peer) {
    hub.metrics.accepted.increment();
    // The limit on clients is looked at when it is known that this is one: a cancel request
    // has to be taken when the house is full.
    if hub.logins_in_flight.get() >= MOST_LOGINS {
        hub.metrics.refused.increment();
        let mut out = BytesMut::new();
        let text = format!("sorry, too many clients already: {MOST_LOGINS} are logging in");
        message::error(&mut out, &ErrorBody::new(Severity::Fatal, "53300", &text));
        stream.last_words(&out);
        return;
    }
    let hub = Rc::clone(hub);
    // Counted now: many are accepted before the first of their tasks runs.
    let logging_in = LoggingIn::begin(&hub);
    let login = async move {
        let client = take_in(hub, stream, peer).await;
        drop(logging_in);
        client
    };
    tokio::task::spawn_local(Task::LoggingIn(Box::pin(login)));
}
