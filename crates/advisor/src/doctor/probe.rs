//! Which connections work: each distinct one is tried once, few at a time, with a bound on how long.

use std::collections::BTreeMap;
use std::sync::Arc;

use pglanes_config::UpstreamTls;
use pglanes_control::{Host, ServerAddress};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::found::{Found, Part};
use super::rewrite::is_loopback;
use crate::server::{self, ServerError};

/// How many are tried at once: a login is a process at the server.
const AT_ONCE: usize = 4;
/// The most that are tried.
pub const MAXIMUM_PROBES: usize = 500;

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Logged in.
    Works,
    /// The server is there, the database is not.
    MissingDatabase(String),
    /// The user is not there, or the password is not right.
    WrongCredentials(String),
    /// The server refuses for another reason.
    Refused(String),
    /// Nobody is there.
    Unreachable(String),
    /// Nobody tried, and why.
    NotTried(&'static str),
}

/// What is tried: the password is part of it and is shown nowhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Login {
    host: String,
    port: u16,
    user: String,
    password: Option<String>,
    database: String,
}

impl Login {
    /// A connection with libpq's defaults where it says nothing; `None` where it has no number for a port.
    pub fn of(found: &Found, own_user: &str) -> Option<Self> {
        let value = |part: &Option<Part>| {
            part.as_ref()
                .map(|part| part.value.clone())
                .filter(|value| !value.is_empty())
        };
        let parts = &found.parts;
        let user = value(&parts.user).unwrap_or_else(|| own_user.to_owned());
        Some(Self {
            host: value(&parts.host).unwrap_or_else(|| "localhost".to_owned()),
            port: value(&parts.port).map_or(Some(5432), |port| port.parse().ok())?,
            database: value(&parts.database).unwrap_or_else(|| user.clone()),
            password: value(&parts.password),
            user,
        })
    }

    /// The host and the port.
    pub fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    async fn try_it(&self) -> Outcome {
        let host = self.host.trim_matches(['[', ']']);
        let address = ServerAddress {
            host: match host.starts_with('/') {
                true => Host::Unix(host.into()),
                false => Host::Tcp(host.to_owned()),
            },
            port: self.port,
            user: self.user.clone(),
            database: self.database.clone(),
            password: self.password.as_deref().map(Into::into),
        };
        // With TLS where the server has it, as libpq does unasked.
        match server::connect(&address, &UpstreamTls::default()).await {
            Ok(_) => Outcome::Works,
            Err(ServerError::Refused { state, message }) if server::is_missing_database(&state) => {
                Outcome::MissingDatabase(message)
            }
            Err(ServerError::Refused { state, message }) if server::is_wrong_credential(&state) => {
                Outcome::WrongCredentials(message)
            }
            Err(ServerError::Refused { message, .. }) => Outcome::Refused(message),
            // The driver's own words when the server asks for a password and there is none.
            Err(ServerError::Unreachable(message)) if message.contains("password missing") => {
                Outcome::WrongCredentials(
                    "the server asks for a password, and there is none".to_owned(),
                )
            }
            Err(error) => Outcome::Unreachable(error.to_string()),
        }
    }
}

/// Which hosts are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine alone: a password in a file is not sent to strangers unasked.
    Loopback,
    /// All.
    Anywhere,
}

/// Tries them; the outcomes are in the order of what was found.
pub async fn probe(found: &[&Found], own_user: &str, reach: Reach) -> Vec<Outcome> {
    let logins: Vec<Result<Login, &'static str>> = found
        .iter()
        .map(|found| wanted(found, own_user, reach))
        .collect();
    let distinct: Vec<Login> = {
        let mut distinct: Vec<Login> = logins.iter().flatten().cloned().collect();
        distinct.sort();
        distinct.dedup();
        distinct.truncate(MAXIMUM_PROBES);
        distinct
    };
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for login in distinct {
        let gate = Arc::clone(&gate);
        tasks.spawn(async move {
            // The gate is never closed; without a place nothing is tried.
            let _place = gate.acquire_owned().await.ok();
            let outcome = login.try_it().await;
            (login, outcome)
        });
    }
    let outcomes: BTreeMap<Login, Outcome> = tasks.join_all().await.into_iter().collect();
    let outcome = |login: Result<Login, &'static str>| match login {
        Ok(login) => outcomes
            .get(&login)
            .cloned()
            .unwrap_or(Outcome::NotTried("there are too many")),
        Err(why) => Outcome::NotTried(why),
    };
    logins.into_iter().map(outcome).collect()
}

fn wanted(found: &Found, own_user: &str, reach: Reach) -> Result<Login, &'static str> {
    if found.dynamic {
        return Err("a part of it is only known when the program runs");
    }
    let login = Login::of(found, own_user).ok_or("its port is no number")?;
    if reach == Reach::Loopback && !is_loopback(&login.host) {
        return Err("another machine; --remote tries it");
    }
    Ok(login)
}
