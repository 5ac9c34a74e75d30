//! The admin console: `psql -p 6433 pglanes`, or database `pgbouncer` for tools that know that one.
//!
//! A client comes here when the data path has authenticated it; from then on pgwire speaks for us, in both query
//! protocols. One task a client, few of them, each message bounded.
//!
//! - `command`: what may be said, and what each command needs
//! - `parse`: from the text to commands
//! - `carry_out`: those that change something
//! - `show`: those that look; `table`: what they answer with; `averages`: PgBouncer's
//! - `session`: a client, for pgwire; `stream`: the limit on its messages

mod averages;
mod carry_out;
mod command;
mod parse;
mod session;
mod show;
mod stream;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pglanes_auth::Secret;
use pglanes_proxy::{ConsoleDoor, Ending, Handle, Visitor};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

use crate::report::Report;
use averages::Averages;

/// Clients of the console at once.
pub const MAXIMUM_CONSOLES: usize = 32;

/// What the console asks of the binary, which reads files and ends the process.
#[derive(Debug)]
pub enum Operation {
    /// Read lanes.yaml anew; answered when it is in force, or with why not.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Tell the evaluation runs of the last day, or why that cannot be told.
    Runs(oneshot::Sender<Result<Report, String>>),
    /// End.
    End(Ending),
}

/// Serves the console. Made before the proxy, which needs the door; told the proxy's handle when that runs.
#[derive(Debug)]
pub struct Console {
    /// Where its tasks run: not on the data thread.
    runtime: tokio::runtime::Handle,
    tokens: watch::Receiver<Option<Secret<String>>>,
    operations: mpsc::Sender<Operation>,
    handle: OnceCell<Handle>,
    averages: Averages,
    clients: AtomicUsize,
    /// For clones that its tasks hold.
    own: std::sync::Weak<Self>,
}

impl Console {
    /// For the runtime that this is called in. `tokens` is the admin token in force; `operations` leads to the binary.
    pub fn new(
        tokens: watch::Receiver<Option<Secret<String>>>,
        operations: mpsc::Sender<Operation>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            runtime: tokio::runtime::Handle::current(),
            tokens,
            operations,
            handle: OnceCell::new(),
            averages: Averages::new(),
            clients: AtomicUsize::new(0),
            own: own.clone(),
        })
    }

    /// Takes the handle of the proxy and keeps what the console shows of the past, until the proxy has ended. Clients
    /// who come before are closed.
    pub async fn serve(&self, handle: Handle) {
        // Only the first proxy is served; there is one.
        let _ = self.handle.set(handle.clone());
        tokio::select! {
            () = handle.ended() => {}
            () = self.averages.keep(&handle) => {}
        }
    }
}

/// Counts a client while it is there.
struct Place(Arc<Console>);

impl Place {
    /// `None` when all are taken.
    fn take(console: &Arc<Console>) -> Option<Self> {
        let before = console.clients.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(console));
        (before < MAXIMUM_CONSOLES).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConsoleDoor for Console {
    fn token(&self) -> Option<Secret<String>> {
        self.tokens.borrow().clone()
    }

    fn open(&self, visitor: Visitor) {
        // Whoever comes when all places are taken, or before the proxy runs, finds the door closed.
        let (Some(own), Some(handle)) = (self.own.upgrade(), self.handle.get().cloned()) else {
            return;
        };
        let Some(place) = Place::take(&own) else {
            tracing::warn!(user = visitor.user, "too many clients of the console");
            return;
        };
        self.runtime.spawn(async move {
            session::serve(visitor, handle, Arc::clone(&place.0)).await;
            drop(place);
        });
    }
}
