//! The client's login: who it says it is, under which aliases, what is asked of it, and
//! by what it is checked.

use std::rc::Rc;

use bytes::BytesMut;
use pglanes_auth::StoredCredential;
use pglanes_config::{AccessMethod, Admission, NameUsed, ResolvedUser};
use pglanes_lanes::classify::{Classified, SessionFacts};
use pglanes_wire::message;
use pglanes_wire::startup::Startup;

use super::prove::Proof;
use super::relay::Relayed;
use super::{Arrival, Turned};
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
        let user = live.config.real_user(&startup.user);
        let facts = SessionFacts {
            application_name: startup.parameter("application_name").unwrap_or(""),
            user: user.name,
            database,
            origin: self.peer.address.into(),
        };
        let (class, denied) = live.class_of(&facts, self.chosen.as_deref());
        let mut known = Known {
            user: user.name.to_owned(),
            database: database.to_owned(),
            class,
            relayed: None,
        };
        if let Err(turned) = self.admit(&live, startup, &user, &mut known).await {
            if !matches!(turned, Turned::Gone) {
                self.hub.metrics.login_failures.increment();
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
            self.hub.log_alias(startup, &known.user, &known.database);
        }
        Ok(known)
    }

    /// Asks of the client what the rules say, and checks it.
    async fn admit(
        &mut self,
        live: &Live,
        startup: &Startup,
        user: &ResolvedUser<'_>,
        known: &mut Known,
    ) -> Result<(), Turned> {
        let from = self.peer.address;
        let method = match live.config.admission(from, &known.database, &known.user) {
            Admission::By(method) => method,
            Admission::Peer(map) => return self.is_peer(map, &startup.user, user.name).await,
            Admission::Cert(map) => return self.is_certified(map, &startup.user, user.name),
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
                Ok(())
            }
            // Rules of these kinds come with their map, and were answered above.
            AccessMethod::Cert | AccessMethod::Peer => {
                Err(Turned::away("28000", "the access rule has no map"))
            }
            AccessMethod::Relay => {
                let credential = self.credential(live, user).await?;
                match credential.stored() {
                    None => {
                        known.relayed = self.relay(startup, known).await?;
                        Ok(())
                    }
                    Some(StoredCredential::Md5(_)) => {
                        self.prove(AccessMethod::Md5, startup, user, credential)
                            .await
                    }
                    Some(_) => {
                        self.prove(AccessMethod::ScramSha256, startup, user, credential)
                            .await
                    }
                }
            }
            AccessMethod::Trust
            | AccessMethod::Password
            | AccessMethod::Md5
            | AccessMethod::ScramSha256 => {
                let credential = self.credential(live, user).await?;
                self.prove(method, startup, user, credential).await
            }
        }
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
