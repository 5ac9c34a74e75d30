//! What each SHOW answers: its columns, and rows made of what the data path shows at that moment.
//!
//! - `columns`: the columns, PgBouncer's first and in its order, ours behind
//! - `pgbouncer`: the rows of PgBouncer's
//! - `stats`: those that count
//! - `own`: lanes, queues, throttles and what else it does not have

mod columns;
mod own;
mod pgbouncer;
mod stats;

use std::time::SystemTime;

use pglanes_config::Config;
use pglanes_proxy::view::{ServerView, SessionView};
use pglanes_proxy::{Handle, View};
use tokio::sync::mpsc;

use super::Operation;
use super::averages::Averages;
use super::command::Show;
use super::table::Row;

pub(super) use columns::columns;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The proxy has ended.
    Ended,
    /// It is not for anybody, and why.
    Refused(&'static str),
    /// It could not be had, and why.
    Failed(String),
}

/// Where rows come from.
pub(super) struct Source<'s> {
    pub(super) handle: &'s Handle,
    pub(super) averages: &'s Averages,
    pub(super) operations: &'s mpsc::Sender<Operation>,
    pub(super) now: SystemTime,
}

/// Everything that one SHOW may need, asked for once.
struct World {
    view: View,
    config: Box<Config>,
    sessions: Vec<SessionView>,
    servers: Vec<ServerView>,
    now: SystemTime,
}

const NO_FDS: &str = "SHOW FDS is not supported: a file descriptor is another client's authenticated connection, and pglanes hands none out";

impl Source<'_> {
    /// The rows of a SHOW, and whether there would have been more.
    pub(super) async fn rows(&self, show: Show) -> Result<(Vec<Row>, bool), NoAnswer> {
        let whole = |rows| Ok((rows, true));
        match show {
            Show::Fds => Err(NoAnswer::Refused(NO_FDS)),
            // HELP is a notice; nothing is known of hosts, zones and peers.
            Show::Help | Show::DnsHosts | Show::DnsZones | Show::Peers | Show::PeerPools => {
                whole(Vec::new())
            }
            Show::Version => whole(pgbouncer::version()),
            Show::Mem => whole(pgbouncer::memory()),
            Show::Stats => whole(stats::stats(self).await?),
            Show::StatsTotals => whole(stats::totals_by_database(self).await?),
            Show::StatsAverages => whole(stats::averages_by_database(self).await?),
            Show::Totals => whole(stats::totals(self).await?),
            Show::Events => whole(own::events(self.handle)),
            Show::Aliases => whole(own::aliases(self.handle).await?),
            Show::Leases => whole(own::leases(self.handle).await?),
            Show::Runs => whole(own::runs(self.operations).await?),
            Show::Baselines => {
                let config = self.handle.config().await.ok_or(NoAnswer::Ended)?;
                let learned = self.handle.baselines().await.ok_or(NoAnswer::Ended)?;
                whole(own::baselines(&learned, &config))
            }
            Show::Config
            | Show::Clients
            | Show::Servers
            | Show::Pools
            | Show::PoolsExtended
            | Show::Lists
            | Show::Databases
            | Show::Users
            | Show::Sockets
            | Show::ActiveSockets
            | Show::State
            | Show::Lanes
            | Show::Queues
            | Show::Throttles
            | Show::Rules
            | Show::Pinned => self.rows_of_world(show).await,
        }
    }

    async fn rows_of_world(&self, show: Show) -> Result<(Vec<Row>, bool), NoAnswer> {
        let handle = self.handle;
        let (sessions, whole) = handle.sessions().await.ok_or(NoAnswer::Ended)?;
        let world = World {
            view: handle.view().await.ok_or(NoAnswer::Ended)?,
            config: handle.config().await.ok_or(NoAnswer::Ended)?,
            sessions,
            servers: handle.servers().await.ok_or(NoAnswer::Ended)?,
            now: self.now,
        };
        let rows = match show {
            Show::Config => pgbouncer::config(&world),
            Show::Clients => pgbouncer::clients(&world),
            Show::Servers => pgbouncer::servers(&world),
            Show::Pools => pgbouncer::pools(&world),
            Show::PoolsExtended => pgbouncer::pools_extended(&world),
            Show::Lists => pgbouncer::lists(&world),
            Show::Databases => pgbouncer::databases(&world),
            Show::Users => pgbouncer::users(&world),
            Show::Sockets => pgbouncer::sockets(&world, |_| true),
            Show::ActiveSockets => pgbouncer::sockets(&world, |active| active),
            Show::State => pgbouncer::state(&world),
            Show::Lanes => own::lanes(&world, handle.metrics()),
            Show::Queues => own::queues(&world),
            Show::Throttles => own::throttles(&world),
            Show::Rules => own::rules(&world),
            Show::Pinned => own::pinned(&world),
            // The others were answered without the world.
            _ => Vec::new(),
        };
        Ok((rows, whole))
    }
}
