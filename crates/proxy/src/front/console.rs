//! Clients of the admin console: who they are is checked here as for any database, before a byte of theirs reaches
//! another decoder. What they may do is decided by the lists of lanes.yaml (`admin`), or by the token.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use pglanes_auth::{DEFAULT_ITERATIONS, Password, Secret, StoredCredential, Verifier};
use pglanes_config::{ADMIN_USER, Config};
use pglanes_wire::message::{self, TransactionStatus};
use pglanes_wire::startup::Startup;

use super::login::{Known, facts};
use super::{Arrival, Turned};
use crate::console::{CONSOLE_DATABASES, ConsoleDoor, ConsoleStream, Proof, Role, Visitor};
use crate::hub::short;

/// What the console says it is: the PgBouncer whose columns it has.
const SERVER_VERSION: &str = concat!("1.25.0/pglanes ", env!("CARGO_PKG_VERSION"));
/// PostgreSQL's own database, for a login that it decides and where the URL names none.
const SOME_DATABASE: &str = "postgres";

/// A visitor without its socket.
pub(super) struct Admitted {
    door: Arc<dyn ConsoleDoor>,
    user: String,
    role: Role,
    proof: Proof,
    database: String,
    application_name: String,
    cancelled: Arc<tokio::sync::Notify>,
}

impl Admitted {
    /// Hands the visitor on.
    pub(super) fn hand_on(self, arrival: Arrival) {
        let Arrival {
            stream,
            inbox,
            peer,
            ..
        } = arrival;
        // A socket that cannot be moved is closed; there is nothing more to be said on it.
        let Ok(stream) = ConsoleStream::new(stream, inbox) else {
            return;
        };
        self.door.open(Visitor {
            user: self.user,
            role: self.role,
            proof: self.proof,
            database: self.database,
            application_name: self.application_name,
            address: peer.address,
            port: peer.port,
            cancelled: self.cancelled,
            stream,
        });
    }
}

/// What the lists let a user do, once it is known to be that user.
fn listed(config: &Config, user: &str) -> Option<Role> {
    let is_in = |names: &[String]| names.iter().any(|name| name == user);
    if is_in(&config.admin.users) {
        Some(Role::Admin)
    } else if is_in(&config.admin.stats_users) {
        Some(Role::Stats)
    } else {
        None
    }
}

impl Arrival {
    /// The door, if this client asks for the console and somebody serves one.
    pub(super) fn door(&self, startup: &Startup) -> Option<Arc<dyn ConsoleDoor>> {
        if !CONSOLE_DATABASES.contains(&startup.database.as_str()) {
            return None;
        }
        self.hub.console.as_ref().map(Arc::clone)
    }

    /// Lets a visitor in, and tells it so.
    pub(super) async fn visit(
        &mut self,
        startup: Startup,
        door: Arc<dyn ConsoleDoor>,
    ) -> Result<Admitted, Turned> {
        let (user, role, proof) = match self.who_visits(&startup, &*door).await {
            Ok(admitted) => admitted,
            Err(turned) => {
                if !matches!(turned, Turned::Gone) {
                    self.hub.metrics.login_failures.increment();
                    self.hub.events.push(crate::events::EventKind::LoginFailed {
                        user: short(&startup.user),
                        database: short(&startup.database),
                    });
                }
                return Err(turned);
            }
        };
        let secret = startup.version.cancel_secret();
        let sessions = Rc::clone(&self.hub);
        let taken = move |id| sessions.sessions.borrow().get(id).is_some();
        let registered = self.hub.visitors.register(secret, taken);
        let (key, cancelled) = registered.ok_or_else(|| {
            Turned::away(
                "53300",
                "too many clients of the console, or no randomness for a key",
            )
        })?;
        let application_name = short(startup.parameter("application_name").unwrap_or(""));
        let mut out = BytesMut::new();
        message::auth_ok(&mut out);
        for (name, value) in [
            ("server_version", SERVER_VERSION),
            ("client_encoding", "UTF8"),
            ("server_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "UTC"),
            ("IntervalStyle", "postgres"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "off"),
            ("session_authorization", user.as_str()),
            ("application_name", application_name.as_str()),
        ] {
            message::parameter_status(&mut out, name, value);
        }
        message::backend_key_data(&mut out, key.pid(), key.secret());
        message::ready_for_query(&mut out, TransactionStatus::Idle);
        self.stream.write_all(&out).await?;
        Ok(Admitted {
            door,
            user,
            role,
            proof,
            database: startup.database,
            application_name,
            cancelled,
        })
    }

    async fn who_visits(
        &mut self,
        startup: &Startup,
        door: &dyn ConsoleDoor,
    ) -> Result<(String, Role, Proof), Turned> {
        if startup.replication.is_some() {
            return Err(Turned::away("0A000", "the console does not replicate"));
        }
        if startup.user == ADMIN_USER {
            let admin = || (ADMIN_USER.to_owned(), Role::Admin, Proof::Given);
            // The operating system says that it is the user who runs the proxy, and could read the token anyway.
            if self.peer.is_own_user() {
                return Ok(admin());
            }
            if let Some(token) = door.token() {
                let verifier = self.token_verifier(token).await;
                let stored = verifier.map(StoredCredential::Scram);
                self.prove_scram(&startup.user, stored.as_ref()).await?;
                return Ok(admin());
            }
        }
        let live = self.hub.live();
        let user = live.config.real_user(&startup.user);
        // Where PostgreSQL decides the login it is asked about a database that it has.
        let database = live.config.upstream.database.as_deref();
        let asker = facts(
            startup,
            user.name,
            &startup.database,
            self.peer.address.into(),
        );
        let mut known = Known {
            user: user.name.to_owned(),
            database: database.unwrap_or(SOME_DATABASE).to_owned(),
            class: live.classifier.session(&asker, None),
            relayed: None,
        };
        let rules_for = startup.database.clone();
        let proof = self
            .admit(&live, startup, &user, &mut known, &rules_for)
            .await?;
        if let Some(mut relayed) = known.relayed.take() {
            relayed.connection.close();
        }
        let proof = if self.peer.is_own_user() {
            Proof::Given
        } else {
            proof
        };
        match (listed(&live.config, user.name), proof) {
            (Some(Role::Admin), Proof::Given) => Ok((known.user, Role::Admin, proof)),
            // Nobody changes anything by saying who they are: any program on this machine can.
            (Some(_), _) => Ok((known.user, Role::Stats, proof)),
            (None, _) => {
                let text = format!(
                    "user \"{}\" may not use the console (lanes.yaml: admin.users, admin.stats_users)",
                    startup.user
                );
                Err(Turned::away("42501", text))
            }
        }
    }

    /// What the token is held against: made once for each token, aside of this thread.
    async fn token_verifier(&self, token: Secret<String>) -> Option<Verifier> {
        if let Some((known, verifier)) = self.hub.console_verifier.borrow().as_ref()
            && *known == token
        {
            return Some(verifier.clone());
        }
        let password = Password::from(token.expose().as_str());
        let salt = Verifier::mock(&self.hub.mock_secret, ADMIN_USER)
            .salt()
            .to_vec();
        let derive = move || Verifier::from_password(&password, &salt, DEFAULT_ITERATIONS);
        let verifier = tokio::task::spawn_blocking(derive).await.ok()?;
        self.hub
            .console_verifier
            .replace(Some((token, verifier.clone())));
        Some(verifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_decide_and_the_stronger_one_first() {
        let mut config = Config::default();
        config.admin.users = vec!["a".into()];
        config.admin.stats_users = vec!["s".into()];
        assert_eq!(listed(&config, "a"), Some(Role::Admin));
        assert_eq!(listed(&config, "s"), Some(Role::Stats));
        assert_eq!(listed(&config, "x"), None);
        assert_eq!(listed(&config, ""), None);
    }
}
