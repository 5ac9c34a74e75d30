//! What the data path asks about users' passwords (`auth_query`), answered by the control plane on the runtime beside it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pglanes_auth::Secret;
use pglanes_config::{Config, UpstreamAddress};
use pglanes_control::{Control, Host, ServerAddress};
use pglanes_proxy::{CredentialSource, Lookup};
use tokio::runtime::Handle;

/// Asks over control connections of its own, which know nothing of any client.
#[derive(Debug)]
pub(super) struct OverControl {
    runtime: Handle,
    /// The connections, and whom they are to: a reload may change that. Taken for the moment of a comparison, by whoever asks.
    control: Mutex<Option<(ServerAddress, Control)>>,
}

impl OverControl {
    /// To be made inside the runtime that is to do the work.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            runtime: Handle::current(),
            control: Mutex::new(None),
        })
    }

    fn control(&self, address: ServerAddress) -> Control {
        // Nothing can panic while it is held, and a whole value is always in it.
        let mut known = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, control)) if *of == address => control.clone(),
            _ => {
                let control = Control::new(&address);
                *known = Some((address, control.clone()));
                control
            }
        }
    }
}

impl CredentialSource for OverControl {
    fn look_up(&self, config: &Config, user: &str) -> Lookup {
        let control = {
            let _inside = self.runtime.enter();
            self.control(address(config))
        };
        let query = config.auth_query.as_ref();
        let query = query.and_then(|asked| asked.query.clone());
        let user = user.to_owned();
        // The login of a control connection takes CPU (PBKDF2), which the data thread does not have.
        let answering = self.runtime.spawn(async move {
            let found = control.credential(query.as_deref(), &user).await;
            found.map_err(|error| error.to_string())
        });
        Box::pin(async move {
            let answer = answering.await;
            answer.unwrap_or_else(|_| Err("the control plane has ended".to_owned()))
        })
    }
}

/// The server as `auth_query` is to meet it: over TCP where a password is known (through the socket PostgreSQL may ask for
/// the operating system user instead), else through the socket where there is one.
fn address(config: &Config) -> ServerAddress {
    let upstream = &config.upstream;
    let asked = config.auth_query.clone().unwrap_or_default();
    let user = asked.user.or_else(|| upstream.user.clone());
    let user = user.unwrap_or_else(|| "postgres".to_owned());
    let database = asked.database.or_else(|| upstream.database.clone());
    let password = config
        .upstream_password(&user)
        .map(|password| Secret::new(password.expose().clone()));
    let sockets = upstream.unix_sockets();
    let socket = sockets.iter().find(|socket| socket.exists());
    let folder = socket
        .and_then(|socket| socket.parent())
        .map(Path::to_path_buf);
    let (host, port) = match &upstream.address {
        UpstreamAddress::Unix { directory, port } => (Host::Unix(directory.clone()), *port),
        UpstreamAddress::Tcp { host, port } => {
            let over_tcp = Host::Tcp(host.clone());
            let folder = folder.filter(|_| password.is_none());
            (folder.map_or(over_tcp, Host::Unix), *port)
        }
    };
    ServerAddress {
        host,
        port,
        user,
        database: database.unwrap_or_else(|| "postgres".to_owned()),
        password,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_nothing_said_the_urls_user_asks_in_the_urls_database() {
        let text =
            "upstream: { url: 'postgresql://asker:pencil@db.example:5433/app' }\nauth_query: {}";
        let config = pglanes_config::parse("lanes.yaml", text, &pglanes_config::Process::default());
        let address = address(&config.unwrap());
        assert_eq!(address.to_string(), "asker@db.example:5433/app");
        assert!(address.password.is_some());
        assert!(!format!("{address:?}").contains("pencil"));
    }

    #[test]
    fn what_auth_query_says_goes_before() {
        let text = "upstream: { url: 'postgresql://app@db.example/app' }\nauth_query: { user: asker, database: users }";
        let config = pglanes_config::parse("lanes.yaml", text, &pglanes_config::Process::default());
        let address = address(&config.unwrap());
        assert_eq!(address.to_string(), "asker@db.example:5432/users");
    }
}
