//! What signals, the file and the console ask for, until the proxy has ended.

use std::path::PathBuf;
use std::time::Duration;

use pglanes_admin::Operation;
use pglanes_proxy::{Ending, Handle};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::report;

use super::ServeError;
use super::notify::{self, Told};
use super::reload::Reloader;
use super::signals::{Asked, Signals};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long the data path may take to end when nothing is to be waited for.
const END_AT_ONCE: Duration = Duration::from_secs(5);

/// How far the process is with ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Nobody new comes in, and it ends when the last has left.
    Leaving,
    /// Transactions finish, nothing new begins.
    Draining,
}

pub(super) struct Control {
    signals: Signals,
    reloader: Reloader,
    operations: mpsc::Receiver<Operation>,
    handle: Handle,
    /// The folder of what outlives a restart, if there is one.
    state: Option<PathBuf>,
    phase: Phase,
}

impl Control {
    pub(super) fn new(
        signals: Signals,
        reloader: Reloader,
        operations: mpsc::Receiver<Operation>,
        handle: Handle,
        state: Option<PathBuf>,
    ) -> Self {
        Self {
            signals,
            reloader,
            operations,
            handle,
            state,
            phase: Phase::Serving,
        }
    }

    /// Runs until the proxy has ended.
    ///
    /// # Errors
    /// [`ServeError::Ended`] when nobody asked for the end, [`ServeError::Stuck`] when it does not come.
    pub(super) async fn run(mut self) -> Result<(), ServeError> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                asked = self.signals.next() => match (asked, self.phase) {
                    (Asked::Reload, Phase::Serving | Phase::Leaving) => {
                        // Why not is in the log.
                        let _ = self.reloader.reload().await;
                    }
                    (Asked::Reload, Phase::Draining) => {
                        tracing::info!("SIGHUP changes nothing: the proxy is ending");
                    }
                    (Asked::End, Phase::Serving | Phase::Leaving) => self.drain().await?,
                    (Asked::End, Phase::Draining) => return self.end_at_once().await,
                },
                Some(operation) = self.operations.recv() => self.carry_out(operation).await?,
                _ = look.tick(), if self.phase != Phase::Draining => self.reloader.look().await,
                () = self.handle.ended() => return match self.phase {
                    Phase::Serving => Err(ServeError::Ended),
                    Phase::Leaving | Phase::Draining => {
                        tracing::info!("ended");
                        Ok(())
                    }
                },
            }
        }
    }

    /// What an admin asks for at the console.
    async fn carry_out(&mut self, operation: Operation) -> Result<(), ServeError> {
        match operation {
            Operation::Reload(reply) => {
                let done = match self.phase {
                    Phase::Serving | Phase::Leaving => self.reloader.reload().await,
                    Phase::Draining => Err("the proxy is ending".to_owned()),
                };
                // Whoever asked may have gone.
                drop(reply.send(done));
                Ok(())
            }
            Operation::Runs(reply) => {
                let folder = self.state.clone();
                // A disk may be slow, and a history long.
                drop(tokio::task::spawn_blocking(move || {
                    // Whoever asked may have gone.
                    drop(reply.send(report::last_day(folder.as_deref())));
                }));
                Ok(())
            }
            Operation::End(ending) => {
                tracing::info!(?ending, "ending, as the console asked");
                self.phase = match ending {
                    Ending::Clients if self.phase != Phase::Draining => Phase::Leaving,
                    Ending::Clients | Ending::Transactions(_) => Phase::Draining,
                };
                let told = timeout(END_AT_ONCE, self.handle.end(ending)).await;
                told.map_err(|_| ServeError::Stuck)
            }
        }
    }

    /// Tells the proxy to end when its transactions have.
    async fn drain(&mut self) -> Result<(), ServeError> {
        let grace = self.reloader.shutdown_grace();
        tracing::info!(?grace, "ending: transactions finish, nothing new begins");
        self.phase = Phase::Draining;
        notify::tell(Told::Stopping);
        let told = timeout(END_AT_ONCE, self.handle.shutdown(grace)).await;
        told.map_err(|_| ServeError::Stuck)
    }

    async fn end_at_once(&self) -> Result<(), ServeError> {
        tracing::warn!("ending at once: what still runs is cut off");
        let end = async {
            self.handle.shutdown(Duration::ZERO).await;
            self.handle.ended().await;
        };
        timeout(END_AT_ONCE, end)
            .await
            .map_err(|_| ServeError::Stuck)?;
        tracing::info!("ended");
        Ok(())
    }
}
