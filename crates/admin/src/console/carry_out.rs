//! The commands that change something.

use std::time::Duration;

use pglanes_proxy::events::EventKind;
use pglanes_proxy::{Action, Ending, Handle, LeaseRequest, Scope};
use tokio::sync::oneshot;

use super::command::{Command, Waits};
use super::{Console, Operation};

/// How often a command that waits looks whether its time has come.
const LOOK: Duration = Duration::from_millis(20);
/// How long SHUTDOWN WAIT_FOR_SERVERS lets transactions run.
const SERVERS_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) sqlstate: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
        }
    }
}

/// Why there is no SUSPEND.
const NO_SUSPEND: &str = "SUSPEND is not supported: it prepares PgBouncer's takeover by a second process, which pglanes has no use for; PAUSE holds new transactions back";

/// Who carries out what.
pub(super) struct Operator<'o> {
    pub(super) handle: &'o Handle,
    pub(super) console: &'o Console,
    pub(super) user: &'o str,
    pub(super) cancelled: &'o tokio::sync::Notify,
}

impl Operator<'_> {
    /// Carries out a command that its user may say, and says so in the log. Returns a notice for the client.
    pub(super) async fn carry_out(&self, command: &Command) -> Result<Option<String>, Refusal> {
        let shown = command.shown();
        let done = self.attempt(command).await;
        match &done {
            Ok(_) => tracing::info!(user = self.user, command = shown, "console"),
            Err(refusal) => tracing::warn!(
                user = self.user,
                command = shown,
                refused = refusal.message,
                "console"
            ),
        }
        if done.is_ok() {
            self.handle.events().push(EventKind::Command {
                user: self.user.to_owned(),
                command: shown,
            });
        }
        done
    }

    async fn attempt(&self, command: &Command) -> Result<Option<String>, Refusal> {
        match command {
            Command::Reload => self.reload().await,
            Command::Pause(scope) => {
                self.act(Action::Pause(scope.clone())).await?;
                self.until_quiet(scope).await?;
                Ok(None)
            }
            Command::WaitClose(scope) => {
                self.until_quiet(scope).await?;
                Ok(None)
            }
            Command::Resume(scope) => self.act(Action::Resume(scope.clone())).await,
            Command::Reconnect(scope) => self.act(Action::Reconnect(scope.clone())).await,
            Command::Kill(database) => self.act(Action::KillDatabase(database.clone())).await,
            Command::KillClient(id) => self.act(Action::KillSession(*id)).await,
            Command::Cancel(id) => self.act(Action::CancelSession(*id)).await,
            Command::Enable(database) => self.act(Action::Enable(database.clone())).await,
            Command::Disable(database) => self.act(Action::Disable(database.clone())).await,
            Command::Suspend => Err(Refusal::new("0A000", NO_SUSPEND)),
            Command::Set { key, value } => {
                let (key, value) = (key.clone(), value.clone());
                self.act(Action::Set { key, value }).await?;
                Ok(Some("it holds until the next reload".to_owned()))
            }
            Command::Lease { lane, seconds } => self.lease(lane, *seconds).await,
            Command::Release(which) => self.release(which).await,
            Command::Shutdown(waits) => self.end(*waits).await,
            // They change nothing, and never get here.
            Command::Show(_)
            | Command::Probe { .. }
            | Command::Ignored(_)
            | Command::Begin
            | Command::End(_) => Ok(None),
        }
    }

    async fn act(&self, action: Action) -> Result<Option<String>, Refusal> {
        let done = self.handle.act(action).await;
        done.map(|_| None)
            .map_err(|error| Refusal::new(error.sqlstate(), error.to_string()))
    }

    /// Waits until no session has a server connection there. A cancel request ends the wait, and a pause stays.
    async fn until_quiet(&self, scope: &Scope) -> Result<(), Refusal> {
        let quiet = async {
            while self.handle.in_use(scope.clone()).await.unwrap_or(0) > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = quiet => Ok(()),
            () = self.cancelled.notified() => {
                Err(Refusal::new("57014", "canceling the wait due to user request"))
            }
        }
    }

    async fn reload(&self) -> Result<Option<String>, Refusal> {
        let (reply, done) = oneshot::channel();
        let gone = || Refusal::new("57P01", "the proxy is ending");
        let asked = self.console.operations.send(Operation::Reload(reply)).await;
        asked.map_err(|_| gone())?;
        let done = done.await.map_err(|_| gone())?;
        done.map(|()| None)
            .map_err(|why| Refusal::new("F0000", format!("RELOAD failed: {why}")))
    }

    async fn end(&self, waits: Waits) -> Result<Option<String>, Refusal> {
        let ending = match waits {
            Waits::Nothing => Ending::Transactions(Duration::ZERO),
            Waits::Servers => Ending::Transactions(SERVERS_GRACE),
            Waits::Clients => Ending::Clients,
        };
        let asked = self.console.operations.send(Operation::End(ending)).await;
        asked
            .map(|()| None)
            .map_err(|_| Refusal::new("57P01", "the proxy is ending"))
    }

    async fn lease(&self, lane: &str, seconds: u64) -> Result<Option<String>, Refusal> {
        let request = LeaseRequest {
            lane: lane.to_owned(),
            holder: format!("console: {}", self.user),
            time_to_live: Duration::from_secs(seconds),
        };
        let taken = self.handle.take_lease(request).await;
        let lease = taken.map_err(|error| Refusal::new("22023", error.to_string()))?;
        Ok(Some(format!(
            "lease {} on {} for {seconds} s; RELEASE {} ends it",
            lease.id, lease.lane, lease.id
        )))
    }

    /// One lease by its id, or those on a lane that this user took at the console.
    async fn release(&self, which: &str) -> Result<Option<String>, Refusal> {
        let failed = |error: pglanes_proxy::LeaseError| Refusal::new("42704", error.to_string());
        let leases = self.handle.leases().await.map_err(failed)?;
        let holder = format!("console: {}", self.user);
        let meant: Vec<_> = leases
            .into_iter()
            .filter(|lease| {
                lease.id.to_string() == which || (lease.lane == which && lease.holder == holder)
            })
            .collect();
        if meant.is_empty() {
            return Err(Refusal::new("42704", format!("no such lease: {which}")));
        }
        for lease in meant {
            self.handle.end_lease(lease.id).await.map_err(failed)?;
        }
        Ok(None)
    }
}
