//! [`Session`]: a connection for the commands that change something when a person asks: views, schema scripts, settings. Not
//! for `pglanes serve`.

use std::fmt;
use std::time::Duration;

use pglanes_config::{TlsError, UpstreamTls};
use thiserror::Error;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row};

use crate::address::ServerAddress;
use crate::error::ControlError;
use crate::tls::{self, Connector};

/// How long logging in may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Names mean PostgreSQL's own, and a lock is not waited for so long that others queue up behind.
const STARTUP_OPTIONS: &str =
    "-c search_path=pg_catalog -c lock_timeout=5s -c client_min_messages=warning";
/// What `pg_stat_activity` shows it as.
const APPLICATION_NAME: &str = "pglanes-admin";

/// Why there is no session.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A file of the URL's TLS parameters cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server cannot be reached, or refused.
    #[error(transparent)]
    Server(#[from] ControlError),
}

/// A connection as any client's, under a name of its own: for the advisor's questions, and for trying whether a login works.
/// Dropping the client closes it.
///
/// # Errors
/// [`SessionError`]: TLS material, the network's or the server's words, or that it took longer than `limit`.
pub async fn connect(
    upstream: &ServerAddress,
    tls: &UpstreamTls,
    application_name: &str,
    limit: Duration,
) -> Result<Client, SessionError> {
    let mut config = upstream.driver_config(limit);
    config.options("").application_name(application_name);
    open(config, upstream, tls, limit).await
}

/// Logs in, and sees to the connection until the client is dropped.
async fn open(
    mut config: tokio_postgres::Config,
    upstream: &ServerAddress,
    tls: &UpstreamTls,
    limit: Duration,
) -> Result<Client, SessionError> {
    tls::configure(&mut config, &upstream.host, tls);
    let material = tls.load()?.map(|loaded| loaded.config);
    let server = upstream.to_string();
    let connecting = tokio::time::timeout(limit, config.connect(Connector { material }));
    let Ok(connected) = connecting.await else {
        return Err(ControlError::TimedOut {
            server,
            after: limit,
        }
        .into());
    };
    let (client, connection) =
        connected.map_err(|error| ControlError::from_driver(&server, &error))?;
    tokio::spawn(async move {
        // How it ended is told to whoever has asked something.
        let _ = connection.await;
    });
    Ok(client)
}

/// One connection of one's own. `search_path` is `pg_catalog`; statements take as long as they take. Dropping it closes it;
/// what runs then is the server's to finish.
pub struct Session {
    client: Client,
    server: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Logs in. To be used inside a tokio runtime with time and I/O, which also drives the connection.
    ///
    /// # Errors
    /// [`SessionError`]: TLS material, the network's or the server's words.
    pub async fn connect(
        upstream: &ServerAddress,
        tls: &UpstreamTls,
    ) -> Result<Self, SessionError> {
        let mut config = upstream.driver_config(CONNECT_TIMEOUT);
        config
            .options(STARTUP_OPTIONS)
            .application_name(APPLICATION_NAME);
        let client = open(config, upstream, tls, CONNECT_TIMEOUT).await?;
        let server = upstream.to_string();
        Ok(Self { client, server })
    }

    /// Who is asked: `user@host:port/database`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Carries out a script of one or more statements, without parameters.
    ///
    /// # Errors
    /// The server's first; what came before it stands unless the script has a transaction.
    pub async fn run(&self, script: &str) -> Result<(), ControlError> {
        let done = self.client.batch_execute(script).await;
        done.map_err(|error| ControlError::from_driver(&self.server, &error))
    }

    /// Asks one statement with parameters.
    ///
    /// # Errors
    /// The server's.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ControlError> {
        let answered = self.client.query(statement, parameters).await;
        answered.map_err(|error| ControlError::from_driver(&self.server, &error))
    }

    /// The first row of an answer that has one.
    ///
    /// # Errors
    /// There is none; `what` says what was asked for.
    pub fn only<'r>(&self, rows: &'r [Row], what: &'static str) -> Result<&'r Row, ControlError> {
        rows.first().ok_or_else(|| self.unexpected(what))
    }

    /// A column of a row.
    ///
    /// # Errors
    /// It is not there, or of another type; `what` says what was asked for.
    pub fn column<'r, T: FromSql<'r>>(
        &self,
        row: &'r Row,
        place: usize,
        what: &'static str,
    ) -> Result<T, ControlError> {
        row.try_get(place).map_err(|_| self.unexpected(what))
    }

    fn unexpected(&self, what: &'static str) -> ControlError {
        ControlError::Unexpected {
            server: self.server.clone(),
            what,
        }
    }
}
