//! The client's login: who it says it is, under which aliases, what is asked of it, and
//! by what it is checked.

use std::rc::Rc;

use bytes::BytesMut;
use pglanes_auth::StoredCredential;
use pglanes_config::{AccessMethod, Admission, NameUsed, ResolvedUser};
use pglanes_lanes::classify::{Classified, Origin, SessionFacts};
use pglanes_wire::message;
use pglanes_wire::startup::Startup;

use super::prove::Proof;
use super::relay::Relayed;
use super::{Arrival, Turned};
use crate::console;
use crate::events::EventKind;
use crate::hub::{Live, PoolKey};

/// A client whose login has succeeded.
pub(super) struct Known {
    /// The role at PostgreSQL.
    pub(super) user: String,
    /// The database at PostgreSQL.
    pub(super) database: String,
    pub(super) class: Classified,
    /// The connection that the login made, where PostgreSQL itself checked it.
    pub(super) relayed: Option<Box<Relayed>>,
}

impl Known {
    /// A replication connection starts with its client's parameters alone.
    pub(super) fn key_of_replication(&self, startup: &Startup) -> PoolKey {
        PoolKey {
            user: self.user.clone(),
            database: self.database.clone(),
            startup: startup.parameters.clone(),
            replication: startup.replication.clone(),
        }
    }
}

/// What the rules know of a client before it has said anything.
pub(super) fn facts<'f>(
    startup: &'f Startup,
    user: &'f str,
    database: &'f str,
    origin: Origin,
) -> SessionFacts<'f> {
    SessionFacts {
        application_name: startup.parameter("application_name").unwrap_or(""),
        user,
        database,
        origin,
    }
}

/// What is known of a user's password.
enum Credential {
    /// No file names the user, and nobody could be asked, or knew.
    Unknown,
    InFile(Rc<StoredCredential>, NameUsed),
    /// By `auth_query`.
    Asked(Rc<StoredCredential>),
}

impl Credential {
    fn stored(&self) -> Option<&StoredCredential> {
        match self {
            Self::Unknown => None,
            Self::InFile(stored, _) | Self::Asked(stored) => Some(stored),
        }
    }
}

impl Arrival {
    /// Carries out the authentication that the configuration asks for.
    pub(super) async fn authenticate(&mut self, startup: &Startup) -> Result<Known, Turned> {
        let live = self.hub.live();
        let (database, database_used) = live.config.real_database(&startup.database);
        if self.hub.holds.is_disabled(database) {
            let text = format!("database \"{}\" is disabled", startup.database);
            return Err(Turned::away("3D000", text));
        }
        let user = live.config.real_user(&startup.user);
        let facts = facts(startup, user.name, database, self.peer.address.into());
        let (class, denied) = live.class_of(&facts, self.chosen.as_deref());
        let mut known = Known {
            user: user.name.to_owned(),
            database: database.to_owned(),
            class,
            relayed: None,
        };
        let admitted = self.admit(&live, startup, &user, &mut known, database);
        if let Err(turned) = admitted.await {
            if !matches!(turned, Turned::Gone) {
                self.hub.metrics.login_failures.increment();
                self.hub.events.push(EventKind::LoginFailed {
                    user: crate::hub::short(&known.user),
                    database: crate::hub::short(&known.database),
                });
            }
            return Err(turned);
        }
        // Said to those alone who have proven who they are.
        if let Some(denied) = denied {
            return Err(Turned::Away {
                sqlstate: denied.sqlstate,
                message: denied.message,
                hint: Some("lanes.yaml says which lanes may be chosen by whom: chosen_by"),
            });
        }
        let mut out = BytesMut::new();
        message::auth_ok(&mut out);
        self.stream.write_all(&out).await?;
        self.hub.metrics.logins.increment();
        if user.used == NameUsed::Alias || database_used == NameUsed::Alias {
            self.hub.metrics.aliases_used.increment();
            let used = [
                ("user", user.used, startup.user.as_str()),
                ("database", database_used, startup.database.as_str()),
            ];
            self.hub.count_aliases(startup, used);
            self.hub.log_alias(startup, &known.user, &known.database);
        }
        Ok(known)
    }

    /// Asks of the client what the rules say of this database, and checks it.
    pub(super) async fn admit(
        &mut self,
        live: &Live,
        startup: &Startup,
        user: &ResolvedUser<'_>,
        known: &mut Known,
        database: &str,
    ) -> Result<console::Proof, Turned> {
        let given = |()| console::Proof::Given;
        let from = self.peer.address;
        let method = match live.config.admission(from, database, &known.user) {
            Admission::By(method) => method,
            Admission::Peer(map) => {
                let is_peer = self.is_peer(map, &startup.user, user.name).await;
                return is_peer.map(given);
            }
            Admission::Cert(map) => {
                let is_certified = self.is_certified(map, &startup.user, user.name);
                return is_certified.map(given);
            }
            Admission::NoRule => {
                let text = format!(
                    "no access rule for host \"{from}\", user \"{}\", database \"{}\" (lanes.yaml: access)",
                    startup.user, startup.database
                );
                return Err(Turned::away("28000", text));
            }
        };
        match method {
            AccessMethod::Reject => {
                let text = format!(
                    "an access rule rejects connections for host \"{from}\", user \"{}\", database \"{}\"",
                    startup.user, startup.database
                );
                Err(Turned::away("28000", text))
            }
            // A password that stands in the file was put there to be asked for.
            AccessMethod::Trust if user.credential.is_none() || !live.config.access.is_empty() => {
                Ok(console::Proof::None)
            }
            // Rules of these kinds come with their map, and were answered above.
            AccessMethod::Cert | AccessMethod::Peer => {
                Err(Turned::away("28000", "the access rule has no map"))
            }
            AccessMethod::Relay => self.prove_or_relay(live, startup, user, known).await,
            AccessMethod::Trust
            | AccessMethod::Password
            | AccessMethod::Md5
            | AccessMethod::ScramSha256 => {
                let credential = self.credential(live, user).await?;
                let proved = self.prove(method, startup, user, credential).await;
                proved.map(given)
            }
        }
    }

    /// What is known of the user is proved here; of whom nothing is known, PostgreSQL decides.
    async fn prove_or_relay(
        &mut self,
        live: &Live,
        startup: &Startup,
        user: &ResolvedUser<'_>,
        known: &mut Known,
    ) -> Result<console::Proof, Turned> {
        let credential = self.credential(live, user).await?;
        let method = match credential.stored() {
            None => {
                known.relayed = self.relay(startup, known).await?;
                // Without a connection PostgreSQL took the user unasked.
                return Ok(match known.relayed {
                    Some(_) => console::Proof::Given,
                    None => console::Proof::None,
                });
            }
            Some(StoredCredential::Md5(_)) => AccessMethod::Md5,
            Some(_) => AccessMethod::ScramSha256,
        };
        let proved = self.prove(method, startup, user, credential).await;
        proved.map(|()| console::Proof::Given)
    }

    /// What is known of the user: by the files, else by `auth_query`.
    async fn credential(&self, live: &Live, user: &ResolvedUser<'_>) -> Result<Credential, Turned> {
        if let Some(stored) = user.credential {
            return Ok(Credential::InFile(
                Rc::new(stored.clone()),
                user.credential_of,
            ));
        }
        if live.config.auth_query.is_none() {
            return Ok(Credential::Unknown);
        }
        match self.hub.look_up(&live.config, user.name).await {
            Ok(Some(stored)) => Ok(Credential::Asked(stored)),
            Ok(None) => Ok(Credential::Unknown),
            Err(_) => Err(Turned::away(
                "08006",
                "PostgreSQL could not be asked about this login (lanes.yaml: auth_query)",
            )),
        }
    }

    async fn prove(
        &mut self,
        method: AccessMethod,
        startup: &Startup,
        user: &ResolvedUser<'_>,
        credential: Credential,
    ) -> Result<(), Turned> {
        let asked = startup.user.as_str();
        let stored = credential.stored();
        let proved = match method {
            AccessMethod::Md5 => self.prove_md5(asked, stored).await,
            AccessMethod::Password => self.prove_password(asked, stored).await,
            _ => self.prove_scram(asked, stored).await,
        };
        let known = &self.hub.known;
        match proved {
            Err(turned) => {
                if matches!(credential, Credential::Asked(_)) {
                    known.doubt(user.name, self.hub.clock.now());
                }
                Err(turned)
            }
            Ok(proof) => {
                // An alias's own password opens nothing at PostgreSQL.
                if !matches!(credential, Credential::InFile(_, NameUsed::Alias)) {
                    if let Some(stored) = stored {
                        known.learn_stored(user.name, stored);
                    }
                    if let (Some(StoredCredential::Scram(_)), Proof::Key(key, verifier)) =
                        (stored, proof)
                    {
                        known.learn_keys(user.name, &verifier, key);
                    }
                }
                Ok(())
            }
        }
    }
}
