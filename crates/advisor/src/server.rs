//! The collector: what a running server says of itself. It reads; the one thing it may write is `ALTER SYSTEM`, for
//! [`crate::tune::apply`].

use std::collections::BTreeMap;
use std::time::Duration;

use pglanes_config::UpstreamTls;
use pglanes_control::{ControlError, ServerAddress, SessionError};
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// What `pg_stat_activity` shows these connections as.
pub const APPLICATION_NAME: &str = "pglanes-advisor";
/// How long logging in may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one question may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a server could not be asked. Shows no password: the driver's errors have none.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Nobody answers there, or there is no TLS as it was asked for.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The server refuses the login.
    #[error("{message} (SQLSTATE {state})")]
    Refused {
        /// Its code.
        state: String,
        /// The server's words.
        message: String,
    },
    /// A question failed.
    #[error("the server's answer: {0}")]
    Question(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
}

impl From<tokio_postgres::Error> for ServerError {
    fn from(error: tokio_postgres::Error) -> Self {
        use std::error::Error as _;
        match (error.as_db_error(), error.source()) {
            (Some(refusal), _) => Self::Question(format!(
                "{} (SQLSTATE {})",
                refusal.message(),
                refusal.code().code()
            )),
            (None, Some(source)) => Self::Question(format!("{error}: {source}")),
            (None, None) => Self::Question(error.to_string()),
        }
    }
}

/// What went wrong at a login.
impl From<SessionError> for ServerError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Tls(error) => Self::Unreachable(error.to_string()),
            SessionError::Server(ControlError::Refused {
                sqlstate, message, ..
            }) => Self::Refused {
                state: sqlstate,
                message,
            },
            SessionError::Server(ControlError::Unreachable { reason, .. }) => {
                Self::Unreachable(reason)
            }
            SessionError::Server(ControlError::TimedOut { after, .. }) => Self::Slow(after),
            SessionError::Server(error @ ControlError::Unexpected { .. }) => {
                Self::Question(error.to_string())
            }
        }
    }
}

/// Logs in and sees to the connection until the client is dropped.
///
/// # Errors
/// [`ServerError`]: nobody there, refused, or too slow.
pub async fn connect(address: &ServerAddress, tls: &UpstreamTls) -> Result<Client, ServerError> {
    let connecting = pglanes_control::connect(address, tls, APPLICATION_NAME, CONNECT_TIMEOUT);
    Ok(connecting.await?)
}

/// Whether a refusal means a password that is missing or wrong, or a user who may not log in.
pub fn is_wrong_credential(state: &str) -> bool {
    state == SqlState::INVALID_PASSWORD.code()
        || state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION.code()
}

/// Whether a refusal means that the database does not exist.
pub fn is_missing_database(state: &str) -> bool {
    state == SqlState::INVALID_CATALOG_NAME.code()
}

/// One row of `pg_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value as `SHOW` gives it, with its unit.
    pub value: String,
    /// `postmaster` where a change needs a restart.
    pub context: String,
    /// The words it takes, where it is one of a list.
    pub choices: Vec<String>,
    /// Where its value is from: `default`, `configuration file`, ...
    pub source: String,
    /// The file its value is from; only members of `pg_read_all_settings` see it.
    pub file: Option<String>,
    /// Whether a changed value waits for a restart.
    pub pending_restart: bool,
}

/// A server, as it was when asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerState {
    /// Such as 160004.
    pub version_num: u32,
    /// Such as `16.4 (Debian 16.4-1)`.
    pub version: String,
    /// All of `pg_settings` that this user sees.
    pub settings: BTreeMap<String, Setting>,
    /// Extensions installed in this database, with their version.
    pub extensions: BTreeMap<String, String>,
    /// Databases that take connections.
    pub databases: Vec<String>,
    /// Roles that may log in.
    pub roles: Vec<String>,
    /// Whether the user asking is a superuser.
    pub superuser: bool,
    /// Client sessions by user, database, application name and whether they come from this machine's proxy or not.
    pub sessions: Vec<Session>,
}

/// Client sessions that look alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// `application_name`, empty where there is none.
    pub application: String,
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// How many there are.
    pub count: i64,
}

impl ServerState {
    /// 14 to 18.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// A setting's value, as `SHOW` gives it.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.settings
            .get(name)
            .map(|setting| setting.value.as_str())
    }
}

/// Other client sessions, without the advisor's and pglanes' own questions.
pub(crate) const SESSIONS: &str = "select coalesce(application_name, ''), coalesce(usename::text, ''), \
     coalesce(datname::text, ''), count(*) from pg_catalog.pg_stat_activity \
     where backend_type = 'client backend' and pid <> pg_catalog.pg_backend_pid() \
     and application_name not in ('pglanes-advisor', 'pglanes-control') group by 1, 2, 3 order by 1, 2, 3 limit 1000";

/// Reads everything of [`ServerState`].
///
/// # Errors
/// [`ServerError`] when a question fails or takes too long.
pub async fn read(client: &Client) -> Result<ServerState, ServerError> {
    timeout(ANSWER_TIMEOUT, read_all(client))
        .await
        .map_err(|_| ServerError::Slow(ANSWER_TIMEOUT))?
}

async fn read_all(client: &Client) -> Result<ServerState, ServerError> {
    let mut state = ServerState::default();
    let settings = "select name, pg_catalog.current_setting(name), context, coalesce(enumvals, '{}'), source, sourcefile, \
         pending_restart from pg_catalog.pg_settings";
    for row in client.query(settings, &[]).await? {
        let setting = Setting {
            value: row.get(1),
            context: row.get(2),
            choices: row.get(3),
            source: row.get(4),
            file: row.get(5),
            pending_restart: row.get(6),
        };
        state.settings.insert(row.get(0), setting);
    }
    let about = "select pg_catalog.current_setting('server_version_num')::int4, \
         pg_catalog.current_setting('server_version'), \
         coalesce((select rolsuper from pg_catalog.pg_roles where rolname = current_user), false)";
    let row = client.query_one(about, &[]).await?;
    state.version_num = u32::try_from(row.get::<_, i32>(0)).unwrap_or(0);
    state.version = row.get(1);
    state.superuser = row.get(2);
    let extensions = "select extname::text, extversion from pg_catalog.pg_extension";
    for row in client.query(extensions, &[]).await? {
        state.extensions.insert(row.get(0), row.get(1));
    }
    let databases = "select datname::text from pg_catalog.pg_database where datallowconn and not datistemplate \
         order by 1 limit 1000";
    let rows = client.query(databases, &[]).await?;
    state.databases = rows.iter().map(|row| row.get(0)).collect();
    let roles =
        "select rolname::text from pg_catalog.pg_roles where rolcanlogin order by 1 limit 1000";
    let rows = client.query(roles, &[]).await?;
    state.roles = rows.iter().map(|row| row.get(0)).collect();
    state.sessions = sessions(client).await?;
    Ok(state)
}

/// The other client sessions now.
pub(crate) async fn sessions(client: &Client) -> Result<Vec<Session>, ServerError> {
    let rows = client.query(SESSIONS, &[]).await?;
    let session = |row: &tokio_postgres::Row| Session {
        application: row.get(0),
        user: row.get(1),
        database: row.get(2),
        count: row.get(3),
    };
    Ok(rows.iter().map(session).collect())
}
