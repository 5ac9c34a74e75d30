//! Plain facts in, plain figures out.

use std::time::Duration;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Everything.
    All(Seen),
    /// Only who waits for a lock, and for whom, by the server's process numbers.
    Waiting(Vec<(i32, Vec<i32>)>),
    /// The server cannot be asked: what was seen before holds no more.
    Nothing,
}

impl Observed {
    /// Whom others wait for, some more than once.
    pub(crate) fn blockers(&self) -> Vec<i32> {
        match self {
            Self::All(seen) => {
                let waiting = seen.backends.iter();
                waiting
                    .flat_map(|one| one.blocked_by.iter().copied())
                    .collect()
            }
            Self::Waiting(waiting) => {
                let blockers = waiting.iter();
                blockers
                    .flat_map(|(_, pids)| pids.iter().copied())
                    .collect()
            }
            Self::Nothing => Vec::new(),
        }
    }
}

/// How closely to look from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// At the usual interval.
    Usual,
    /// Somebody lowered may block somebody who is not: looks at who waits should come often.
    Close,
}

/// One look at everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Processes that serve clients, work for those, or are autovacuum's.
    pub backends: Vec<SeenBackend>,
    /// There are more than were looked at.
    pub cut_off: bool,
    /// Backends of which the observer may not see what they do.
    pub hidden: usize,
    /// A checkpoint is being written.
    pub checkpoint: bool,
}

/// One process of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenBackend {
    /// Its number there.
    pub pid: i32,
    /// Whom a parallel worker works for.
    pub leader: Option<i32>,
    /// What it is.
    pub kind: SeenKind,
    /// The role.
    pub user: String,
    /// As the session set it.
    pub application_name: String,
    /// The database.
    pub database: String,
    /// What it does.
    pub work: SeenWork,
    /// How long its transaction has been open.
    pub transaction: Option<Duration>,
    /// Whom it waits for.
    pub blocked_by: Vec<i32>,
}

/// Kinds of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenKind {
    /// Serves a client.
    Client,
    /// Works for another one.
    Worker,
    /// Autovacuum.
    Autovacuum,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenWork {
    /// A statement runs.
    Running,
    /// A transaction is open, and no statement runs.
    InTransaction,
    /// Nothing.
    Idle,
    /// Not to be seen.
    Unknown,
}

/// What is known of the server at this moment from outside the data path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedView {
    /// When it was last looked at; `None` while it cannot be.
    pub age: Option<Duration>,
    /// Clients that connect past the proxy.
    pub direct: Vec<DirectView>,
    /// How long transactions of one lane have waited for locks of another, all told.
    pub blocked: Vec<BlockedView>,
    /// The age of the oldest transaction of each lane, of `direct` and so on.
    pub oldest: Vec<(String, Duration)>,
    /// Processes that wait for a lock.
    pub waiting: usize,
    /// Backends that are at normal priority because others wait for them.
    pub lifted: usize,
    /// Autovacuum's workers.
    pub autovacuum: usize,
    /// A checkpoint is being written.
    pub checkpoint: bool,
    /// How long maintenance ran while a protected lane was busy, all told.
    pub maintenance: Vec<MaintenanceView>,
    /// Backends of which the observer may not see what they do.
    pub hidden: usize,
}

/// Clients of one role and name that connect past the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectView {
    /// The role; `other` for all that are too many to be named.
    pub user: String,
    /// What they call themselves, cut to a bounded length.
    pub application_name: String,
    /// The lane that they would be in.
    pub lane: String,
    /// How many.
    pub connections: u32,
    /// How many of them are in a transaction.
    pub busy: u32,
}

/// Waiting between two lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedView {
    /// Who holds the locks: a lane, `direct`, `autovacuum` or `other`.
    pub blocker: String,
    /// Who waits.
    pub blocked: String,
    /// For how long, over all transactions.
    pub total: Duration,
}

/// Maintenance beside a protected lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceView {
    /// `autovacuum` or `checkpoint`.
    pub what: &'static str,
    /// The lane that was busy.
    pub lane: String,
    /// For how long.
    pub total: Duration,
}
