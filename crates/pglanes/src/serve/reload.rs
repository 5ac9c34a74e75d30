//! Another configuration in force, or why not. A file that does not hold changes nothing.

use std::time::{Duration, SystemTime};

use pglanes_admin::Status;
use pglanes_auth::Secret;
use pglanes_config::{Authentication, Config, Difference, Reload, RemoteClients};
use pglanes_proxy::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::file_limit;
use crate::source::{Source, Stamp};

/// How long the data path may take to put a configuration in force. It takes milliseconds, or it is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the file when it is asked to, or when it has changed.
pub(super) struct Reloader {
    source: Source,
    /// The file as it was when it was last read.
    read: Stamp,
    /// The file as it was at the last look.
    seen: Stamp,
    /// What is in force: the file's, with what needs a restart as it was at the start.
    running: Config,
    handle: Handle,
    status: watch::Sender<Status>,
    /// The token in force, for whoever checks it.
    tokens: watch::Sender<Option<Secret<String>>>,
    /// The one of the state folder, for a file that names none.
    kept: Option<Secret<String>>,
    /// The configuration in force, for whoever looks at the server.
    configs: Option<watch::Sender<Config>>,
}

impl Reloader {
    /// `stamp` is the file's from before it was read: what changed since then is a change.
    pub(super) fn new(
        source: Source,
        stamp: Stamp,
        running: Config,
        handle: Handle,
        status: watch::Sender<Status>,
    ) -> Self {
        Self {
            source,
            read: stamp,
            seen: stamp,
            running,
            handle,
            status,
            tokens: watch::channel(None).0,
            kept: None,
            configs: None,
        }
    }

    /// Tells this channel the token in force; `kept` holds where the file names none.
    #[must_use]
    pub(super) fn with_tokens(
        mut self,
        tokens: watch::Sender<Option<Secret<String>>>,
        kept: Option<Secret<String>>,
    ) -> Self {
        self.tokens = tokens;
        self.kept = kept;
        self
    }

    /// Tells this channel the configuration in force.
    #[must_use]
    pub(super) fn with_observer(mut self, configs: watch::Sender<Config>) -> Self {
        self.configs = Some(configs);
        self
    }

    /// `shutdown.grace` as it is in force.
    pub(super) fn shutdown_grace(&self) -> Duration {
        self.running.shutdown_grace
    }

    /// Reads the file if it has changed and is watched. A change counts when a second look finds the file as the first
    /// one did: one that is being written may hold for a moment and mean nothing.
    pub(super) async fn look(&mut self) {
        if self.running.reload == Reload::OnSignal {
            return;
        }
        let stamp = self.source.stamp();
        let settled = stamp == std::mem::replace(&mut self.seen, stamp);
        if settled && stamp != self.read {
            // Why not is in the log.
            let _ = self.reload().await;
        }
    }

    /// Reads the file and puts it in force, or says why not, in the log and to whoever asked.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        self.source = self.source.clone().if_it_appeared();
        // Before reading: what changes meanwhile is another change.
        self.read = self.source.stamp();
        let config = match self.source.load() {
            Ok(config) => config,
            Err(mistakes) => {
                for mistake in &mistakes.diagnostics {
                    tracing::error!("{}", mistake.headline());
                }
                let first = mistakes.diagnostics.first();
                let first = first.map(|mistake| mistake.headline().to_string());
                self.refused("the file does not hold").await;
                return Err(first.unwrap_or_else(|| "the file does not hold".to_owned()));
            }
        };
        if let Some(why) = unsafe_until_restart(&self.running, &config) {
            self.refused(why).await;
            return Err(why.to_owned());
        }
        let difference = Difference::between(&self.running, &config);
        for warning in &config.warnings {
            tracing::warn!("{}", warning.headline());
        }
        let config = with_what_needs_a_restart(config, &self.running);
        match timeout(ANSWER_TIMEOUT, self.handle.reload(config.clone())).await {
            Ok(Ok(())) => {
                self.in_force(config, &difference);
                Ok(())
            }
            Ok(Err(why)) => {
                tracing::error!("{} changes nothing: {why}", self.source);
                Err(why)
            }
            Err(_) => {
                let why = "the data path does not answer; nothing was reloaded";
                tracing::error!("{why}");
                Err(why.to_owned())
            }
        }
    }

    async fn refused(&self, why: &str) {
        tracing::error!("{} changes nothing: {why}", self.source);
        if timeout(ANSWER_TIMEOUT, self.handle.reload_refused(why))
            .await
            .is_err()
        {
            tracing::error!("the data path does not answer");
        }
    }

    fn in_force(&mut self, config: Config, difference: &Difference) {
        for change in difference.live() {
            tracing::info!("changed: {change}");
        }
        for change in difference.restart() {
            tracing::warn!("needs a restart: {change}");
        }
        if difference.is_empty() {
            tracing::info!("{} was read again: it means the same", self.source);
        } else {
            tracing::info!("{} was read again and is in force", self.source);
        }
        if let Some(warning) = file_limit::ensure(config.limits.clients, config.upstream.slots) {
            tracing::warn!("{warning}");
        }
        self.status.send_modify(|status| {
            status.clients_limit = config.limits.clients;
            status.configured = SystemTime::now();
        });
        let token = config.admin.token.clone().or_else(|| self.kept.clone());
        self.tokens.send_replace(token);
        if let (Some(configs), false) = (&self.configs, difference.is_empty()) {
            configs.send_replace(config.clone());
        }
        self.running = config;
    }
}

/// The new configuration with the running one's values where those hold until a restart.
fn with_what_needs_a_restart(mut config: Config, running: &Config) -> Config {
    config.listen.clone_from(&running.listen);
    config.http = running.http;
    config.remote = running.remote;
    config.logging = running.logging;
    config.state = running.state.clone();
    let before = &running.upstream;
    config.upstream.address = before.address.clone();
    config.upstream.unix_socket = before.unix_socket.clone();
    config.upstream.tls.clone_from(&before.tls);
    config.upstream.user.clone_from(&before.user);
    config.upstream.database.clone_from(&before.database);
    config
}

/// A file that holds by itself may not hold with the addresses that are bound: `trust` is for loopback, and what is
/// listened on stays until the restart.
fn unsafe_until_restart(running: &Config, new: &Config) -> Option<&'static str> {
    let remote = running.remote == RemoteClients::Allowed;
    (remote && new.authentication == Authentication::Trust).then_some(
        "auth.method `trust` takes every client at its word, and other machines can connect until pglanes is restarted",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_waits_for_the_restart_that_leaves_other_machines_out() {
        let mut running = Config::default();
        let file = Config {
            authentication: Authentication::Trust,
            ..Config::default()
        };
        assert_eq!(unsafe_until_restart(&running, &file), None);
        running.remote = RemoteClients::Allowed;
        running.authentication = Authentication::ScramSha256;
        assert!(unsafe_until_restart(&running, &file).is_some());
        let mut scram = file;
        scram.authentication = Authentication::ScramSha256;
        assert_eq!(unsafe_until_restart(&running, &scram), None);
    }

    #[test]
    fn what_needs_a_restart_is_told_each_time_until_it_happens() {
        let running = Config::default();
        let mut file = Config {
            http: None,
            ..Config::default()
        };
        file.upstream.slots = 39;
        let first = Difference::between(&running, &file);
        assert_eq!((first.restart().count(), first.live().count()), (1, 1));
        let running = with_what_needs_a_restart(file.clone(), &running);
        let second = Difference::between(&running, &file);
        assert_eq!((second.restart().count(), second.live().count()), (1, 0));
    }

    #[test]
    fn all_that_needs_a_restart_is_kept() {
        use pglanes_config::{LogFormat, TlsMode, UnixSocket, UpstreamAddress};
        let running = Config::default();
        let mut file = Config::default();
        file.listen.clear();
        file.http = None;
        file.remote = RemoteClients::Allowed;
        file.state = pglanes_config::StateFolder::Off;
        file.logging.format = LogFormat::Json;
        file.upstream.address = UpstreamAddress::Unix {
            directory: "/elsewhere".into(),
            port: 1,
        };
        file.upstream.unix_socket = UnixSocket::Off;
        file.upstream.tls.mode = match file.upstream.tls.mode {
            TlsMode::Disable => TlsMode::Prefer,
            _ => TlsMode::Disable,
        };
        file.upstream.user = Some("other".to_owned());
        file.upstream.database = Some("other".to_owned());
        assert!(Difference::between(&running, &file).restart().count() >= 8);
        let kept = with_what_needs_a_restart(file, &running);
        assert_eq!(Difference::between(&running, &kept).restart().count(), 0);
    }
}
