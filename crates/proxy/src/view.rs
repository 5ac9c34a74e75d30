//! What a look at the data path shows. Made on demand, in pages, by copying: nothing here is
//! kept up to date for anybody.

use std::time::{Duration, SystemTime};

use pglanes_config::ClientAddress;
use pglanes_lanes::{LaneId, PoolId, ServerId};

use crate::observed::ObservedView;

/// Sessions, server connections or pools of one page: so long does a look hold the traffic up at most (a few hundred
/// microseconds). Ask again from the last one's id for more.
pub const MOST_LISTED: usize = 500;

/// What the data path looks like at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The scheduler's state.
    pub scheduler: pglanes_lanes::Snapshot,
    /// Sessions logged in.
    pub sessions: usize,
    /// Logins in progress.
    pub logins: u32,
    /// Server connections being opened, idle, and in use.
    pub servers: (usize, usize, usize),
    /// What was seen of the server past the lanes.
    pub observed: ObservedView,
    /// Prepared statements, over all pools.
    pub prepared: PreparedView,
    /// The proxy is ending.
    pub draining: bool,
    /// What operators have changed since the start or the last reload.
    pub operated: Operated,
}

/// Prepared statements: what clients prepare, and what of it reaches the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PreparedView {
    /// Texts that are known.
    pub texts: usize,
    /// Statements that are prepared on server connections now.
    pub on_servers: u64,
    /// Parse messages of clients.
    pub client_parses: u64,
    /// Statements that were prepared on a connection.
    pub server_parses: u64,
    /// Bind messages of clients.
    pub binds: u64,
}

/// What operators have paused, disabled and set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operated {
    /// Everything is paused.
    pub paused: bool,
    /// Databases that are paused by name.
    pub paused_databases: Vec<String>,
    /// Lanes that are paused.
    pub paused_lanes: Vec<LaneId>,
    /// Databases that take no new client.
    pub disabled_databases: Vec<String>,
    /// Transactions that wait for the end of a pause.
    pub held: usize,
    /// Values set over those of the file, by key.
    pub set: Vec<(String, String)>,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Between transactions, without a server connection.
    Idle,
    /// Its transaction waits for a slot, or for the end of a pause.
    Waiting,
    /// It has a server connection, which works for it.
    Active,
    /// It is silent inside a transaction.
    IdleInTransaction,
    /// It has not sent the rest of a message.
    HalfSent,
    /// It does not read its result.
    SlowReader,
    /// Nothing runs, and it keeps its server connection.
    Pinned,
}

impl SessionState {
    /// In a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::IdleInTransaction => "idle_in_transaction",
            Self::HalfSent => "half_sent",
            Self::SlowReader => "slow_reader",
            Self::Pinned => "pinned",
        }
    }

    /// In PgBouncer's words, which knows three.
    pub const fn in_pgbouncers_words(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Active
            | Self::IdleInTransaction
            | Self::HalfSent
            | Self::SlowReader
            | Self::Pinned => "active",
        }
    }
}

/// One client that has logged in. Times are how long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The process id that the client was given.
    pub id: i32,
    /// The real database.
    pub database: String,
    /// The real user.
    pub user: String,
    /// What the client calls itself now.
    pub application_name: String,
    /// Where it comes from.
    pub address: ClientAddress,
    /// Its port; 0 over a unix socket.
    pub port: u16,
    /// Over TLS.
    pub encrypted: bool,
    /// It replicates.
    pub replication: bool,
    /// What it does.
    pub state: SessionState,
    /// Its lane.
    pub lane: LaneId,
    /// The lane's name.
    pub lane_name: String,
    /// The rule that put it there, by its place in the file; none for the default lane.
    pub rule: Option<usize>,
    /// Why it keeps its server connection.
    pub pins: Vec<&'static str>,
    /// Since when.
    pub pinned_for: Option<Duration>,
    /// Since its login.
    pub connected_for: Duration,
    /// Since its last transaction asked for its slot.
    pub asked_ago: Duration,
    /// How long it has been waiting, if it waits.
    pub waiting_for: Option<Duration>,
    /// How long its transaction has been running, or its pinned connection been quiet.
    pub in_state_for: Option<Duration>,
    /// Transactions so far.
    pub transactions: u64,
    /// Bytes it sent to the server.
    pub bytes_in: u64,
    /// Bytes it was sent.
    pub bytes_out: u64,
    /// Statements it has named.
    pub prepared: u32,
    /// The server connection it has.
    pub server: Option<ServerId>,
}

/// What a server connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// It is being opened.
    Login,
    /// It waits for a transaction.
    Idle,
    /// A session has it.
    Active,
    /// Nobody gets it before a cancel request has arrived.
    BeingCancelled,
}

impl ServerState {
    /// In PgBouncer's words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Login => "new",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::BeingCancelled => "being_canceled",
        }
    }
}

/// One connection to PostgreSQL. Times are how long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// Its number.
    pub id: ServerId,
    /// The user it is logged in as.
    pub user: String,
    /// Its database.
    pub database: String,
    /// Its lane.
    pub lane: LaneId,
    /// The lane's name.
    pub lane_name: String,
    /// Its pool.
    pub pool: PoolId,
    /// What it does.
    pub state: ServerState,
    /// The process at PostgreSQL; 0 while it is being opened.
    pub backend: i32,
    /// Since it was opened.
    pub age: Duration,
    /// Since its transaction began, or the last one ended.
    pub in_state_for: Duration,
    /// Transactions so far.
    pub transactions: u64,
    /// Statements prepared on it.
    pub prepared: u32,
    /// It is closed when it comes back.
    pub retired: bool,
    /// The session that has it.
    pub session: Option<i32>,
}

/// What one combination of user, database and startup parameters has done. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolView {
    /// Its number.
    pub id: u32,
    /// The real user.
    pub user: String,
    /// The real database.
    pub database: String,
    /// Server connections given to a transaction.
    pub assignments: u64,
    /// Transactions.
    pub transactions: u64,
    /// Simple queries and executions.
    pub queries: u64,
    /// Bytes from clients.
    pub bytes_received: u64,
    /// Bytes to clients.
    pub bytes_sent: u64,
    /// Time in transactions.
    pub transaction_us: u64,
    /// The part of it in which the server worked.
    pub query_us: u64,
    /// Time that transactions waited for their slot.
    pub wait_us: u64,
    /// Parse messages of clients.
    pub client_parses: u64,
    /// Parse messages to PostgreSQL.
    pub server_parses: u64,
    /// Bind messages.
    pub binds: u64,
}

/// How often a name was used that is not the real one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasView {
    /// `user` or `database`.
    pub kind: &'static str,
    /// The name that clients use.
    pub alias: String,
    /// The real one.
    pub name: String,
    /// Logins under it.
    pub used: u64,
    /// The last one.
    pub last: Option<SystemTime>,
    /// What that client called itself.
    pub last_client: String,
}
