//! [`Control`]: the pool of control connections and the questions asked over them.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use pglanes_auth::Secret;

use deadpool_postgres::{
    Client, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use pglanes_config::{TlsError, UpstreamTls};

use crate::activity;
use crate::address::ServerAddress;
use crate::credential::{self, DEFAULT_AUTH_QUERY};
use crate::error::ControlError;
use crate::facts::{FACTS, ServerFacts};
use crate::settings::{
    CURRENT_SETTING, Context, KnownSettings, PGVECTOR_SCHEMA, SETTINGS, SettingContext, Standing,
    UnknownSetting,
};
use crate::tls::{self, Connector};

/// The most connections the control plane holds. They count towards the server's `max_connections`, so
/// `check` leaves room for them beside the slots.
pub const MAX_CONNECTIONS: usize = 2;

/// Connections of an [`Observer`](crate::Observer).
pub const OBSERVING_CONNECTIONS: usize = 1;

/// How long logging in, or waiting for a free connection, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement may take before its connection is given up. Above the server's own
/// `statement_timeout` of five seconds, whose error says more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);

/// Asks the upstream server. Connects at the first question, not before; cheap to clone.
///
/// Every question can be dropped at any time: a connection whose answer was not read is not used again
/// before the driver has read it to its end.
#[derive(Clone)]
pub struct Control {
    pool: Pool,
    /// `user@host:port/database`, for errors.
    server: String,
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Control")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Makes the pool, for connections without TLS; opens nothing. To be used inside a tokio runtime with time and I/O.
    pub fn new(upstream: &ServerAddress) -> Self {
        let config = upstream.driver_config(CONNECT_TIMEOUT);
        Self::with(
            upstream,
            config,
            Connector { material: None },
            MAX_CONNECTIONS,
        )
    }

    /// As [`Control::new`], with TLS as the URL's parameters have it. The certificates are read now.
    ///
    /// # Errors
    /// [`TlsError`]: a file that cannot be used.
    pub fn with_tls(upstream: &ServerAddress, tls: &UpstreamTls) -> Result<Self, TlsError> {
        let mut config = upstream.driver_config(CONNECT_TIMEOUT);
        tls::configure(&mut config, &upstream.host, tls);
        let material = tls.load()?.map(|loaded| loaded.config);
        let connector = Connector { material };
        Ok(Self::with(upstream, config, connector, MAX_CONNECTIONS))
    }

    /// For [`Observer`](crate::Observer): a connection of another name, which gives up sooner.
    pub(crate) fn observing(upstream: &ServerAddress, tls: &UpstreamTls) -> Result<Self, TlsError> {
        let mut config = upstream.driver_config(CONNECT_TIMEOUT);
        tls::configure(&mut config, &upstream.host, tls);
        config
            .application_name(activity::APPLICATION_NAME)
            .options(activity::STARTUP_OPTIONS);
        let material = tls.load()?.map(|loaded| loaded.config);
        let connector = Connector { material };
        Ok(Self::with(
            upstream,
            config,
            connector,
            OBSERVING_CONNECTIONS,
        ))
    }

    /// The rows of one question.
    pub(crate) async fn rows(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ControlError> {
        let client = self.client().await?;
        let asked = async {
            let statement = client.prepare_cached(query).await?;
            client.query(&statement, parameters).await
        };
        let outcome = self.answer(asked).await;
        self.give_back(client, outcome)
    }

    fn with(
        upstream: &ServerAddress,
        config: tokio_postgres::Config,
        connector: Connector,
        connections: usize,
    ) -> Self {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config, connector, recycling);
        // Building fails only where timeouts are set without a runtime; one is set here.
        #[allow(clippy::expect_used)]
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .expect("the pool has a runtime");
        Self {
            pool,
            server: upstream.to_string(),
        }
    }

    /// Who is asked: `user@host:port/database`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether the server takes a login and answers.
    ///
    /// # Errors
    /// [`ControlError`] when it does not.
    pub async fn health(&self) -> Result<(), ControlError> {
        let client = self.client().await?;
        let asked = client.simple_query("select 1");
        let outcome = self.answer(asked).await.map(drop);
        self.give_back(client, outcome)
    }

    /// The facts of [`ServerFacts`], in one statement.
    ///
    /// # Errors
    /// [`ControlError`] when the server cannot be asked, or answers nonsense.
    pub async fn facts(&self) -> Result<ServerFacts, ControlError> {
        let client = self.client().await?;
        let outcome = self.answer(client.query_one(FACTS, &[])).await;
        let row = self.give_back(client, outcome)?;
        ServerFacts::read(&row).map_err(|what| self.unexpected(what))
    }

    /// Those of the names that are no settings of this server, in the order given, each with the name
    /// that may have been meant. `prefix.name` passes as long as no extension with that prefix is
    /// loaded: PostgreSQL takes those too. pgvector is loaded for this, where the database has it.
    ///
    /// # Errors
    /// [`ControlError`] when the server cannot be asked.
    pub async fn unknown_settings(
        &self,
        names: &[String],
    ) -> Result<Vec<UnknownSetting>, ControlError> {
        let client = self.client().await?;
        let outcome = self.find_unknown(&client, names).await;
        self.give_back(client, outcome)
    }

    /// When and by whom each of the names can be set, in the order given. Names the server does not
    /// show to this user are left out; [`Control::unknown_settings`] tells whether they exist.
    ///
    /// # Errors
    /// [`ControlError`] when the server cannot be asked.
    pub async fn settings_contexts(
        &self,
        names: &[String],
    ) -> Result<Vec<SettingContext>, ControlError> {
        let client = self.client().await?;
        let outcome = self.known_settings(&client).await;
        let known = self.give_back(client, outcome)?;
        let found = names.iter().filter_map(|name| match known.standing(name) {
            Standing::Known(context) => Some(SettingContext {
                name: name.clone(),
                context,
            }),
            Standing::Placeholder | Standing::Missing => None,
        });
        Ok(found.collect())
    }

    /// What is stored of a user's password, by [`DEFAULT_AUTH_QUERY`] or one of the configuration's. `None` when the user is
    /// not there, may not log in, or has no password.
    ///
    /// # Errors
    /// [`ControlError`] when the server cannot be asked, refuses, or answers with anything but one such row.
    pub async fn credential(
        &self,
        query: Option<&str>,
        user: &str,
    ) -> Result<Option<Secret<String>>, ControlError> {
        let client = self.client().await?;
        let query = query.unwrap_or(DEFAULT_AUTH_QUERY);
        let outcome = self.answer(client.query(query, &[&user])).await;
        let rows = self.give_back(client, outcome)?;
        credential::read(&rows, user).map_err(|what| self.unexpected(what))
    }

    async fn find_unknown(
        &self,
        client: &Client,
        names: &[String],
    ) -> Result<Vec<UnknownSetting>, ControlError> {
        let known = self.known_settings(client).await?;
        let mut unknown = Vec::new();
        for name in names {
            let exists = match known.standing(name) {
                Standing::Known(_) | Standing::Placeholder => true,
                // pg_settings hides some from ordinary users, and some (role, for one) from all.
                Standing::Missing => self.exists_unlisted(client, name).await?,
            };
            if !exists {
                unknown.push(UnknownSetting {
                    name: name.clone(),
                    nearest: known.nearest(name),
                });
            }
        }
        Ok(unknown)
    }

    /// Whether the server knows a setting that it does not list. One that may not be read exists.
    async fn exists_unlisted(&self, client: &Client, name: &str) -> Result<bool, ControlError> {
        match self
            .answer(client.query_one(CURRENT_SETTING, &[&name]))
            .await
        {
            Ok(row) => Ok(matches!(row.try_get::<_, Option<String>>(0), Ok(Some(_)))),
            Err(error) if error.sqlstate() == Some(SqlState::INSUFFICIENT_PRIVILEGE.code()) => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Every setting the server shows on this connection, pgvector's included.
    async fn known_settings(&self, client: &Client) -> Result<KnownSettings, ControlError> {
        if let Some(row) = self.answer(client.query_opt(PGVECTOR_SCHEMA, &[])).await? {
            let schema: String = row
                .try_get(0)
                .map_err(|_| self.unexpected("pgvector's schema"))?;
            // An extension's settings exist once its library is loaded, and using its type loads it. A
            // user without rights on the schema cannot: then they stay placeholders, which pass.
            let load = format!("select '[1]'::{schema}.vector is null");
            match self.answer(client.simple_query(&load)).await {
                Ok(_) | Err(ControlError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let rows = self.answer(client.query(SETTINGS, &[])).await?;
        let mut settings = Vec::with_capacity(rows.len());
        for row in &rows {
            let unexpected = |_| self.unexpected("pg_settings");
            let context = row.try_get::<_, &str>("context").map_err(unexpected)?;
            let context = Context::parse(context).ok_or_else(|| self.unexpected("pg_settings"))?;
            settings.push((row.try_get("name").map_err(unexpected)?, context));
        }
        Ok(KnownSettings::new(settings))
    }

    /// A connection out of the pool, or a new one.
    async fn client(&self) -> Result<Client, ControlError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => ControlError::from_driver(&self.server, &error),
            PoolError::Timeout(_) => self.timed_out(CONNECT_TIMEOUT),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                let reason = "the control connections are closed".to_owned();
                ControlError::Unreachable {
                    server: self.server.clone(),
                    reason,
                }
            }
        })
    }

    /// Waits for an answer, but not for ever: a server can be gone without saying so.
    async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ControlError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(answer) => answer.map_err(|error| ControlError::from_driver(&self.server, &error)),
            Err(_) => Err(self.timed_out(ANSWER_TIMEOUT)),
        }
    }

    /// Gives a connection back to the pool, or closes it when it left a question unanswered.
    fn give_back<T>(
        &self,
        client: Client,
        outcome: Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        if matches!(
            outcome,
            Err(ControlError::TimedOut { .. } | ControlError::Unreachable { .. })
        ) {
            drop(Object::take(client));
        }
        outcome
    }

    fn timed_out(&self, after: Duration) -> ControlError {
        ControlError::TimedOut {
            server: self.server.clone(),
            after,
        }
    }

    pub(crate) fn unexpected(&self, what: &'static str) -> ControlError {
        ControlError::Unexpected {
            server: self.server.clone(),
            what,
        }
    }
}
