//! What an operator may ask of a running proxy, beside looking.

use std::fmt;

use thiserror::Error;

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// One database, by its real name or an alias.
    Database(String),
    /// One lane.
    Lane(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Database(name) => write!(formatter, "database {name}"),
            Self::Lane(name) => write!(formatter, "lane {name}"),
        }
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// New transactions wait until [`Self::Resume`]; what runs goes on. Idle server connections of a database are closed,
    /// those of a lane are kept. [`crate::Handle::in_use`] tells when nothing runs any more.
    Pause(Scope),
    /// Those who wait go on.
    Resume(Scope),
    /// Server connections are replaced between transactions.
    Reconnect(Scope),
    /// Ends one session now: what it runs is cancelled and rolled back.
    KillSession(i32),
    /// Pauses a database, or all, and ends its sessions now.
    KillDatabase(Option<String>),
    /// Cancels what a session runs or waits for; the session lives on.
    CancelSession(i32),
    /// New clients of this database are refused; those inside stay.
    Disable(String),
    /// They are taken again.
    Enable(String),
    /// Sets one value of lanes.yaml until the next reload, such as `lanes.evaluation.slots.max`.
    Set {
        /// The key, with dots.
        key: String,
        /// As it would stand in the file.
        value: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Done,
    /// So many sessions were told.
    Sessions(usize),
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ActionError {
    /// The configuration has no such lane.
    #[error("no such lane: {0}")]
    NoSuchLane(String),
    /// Nobody goes by this process id.
    #[error("no such client: {0}")]
    NoSuchSession(i32),
    /// It neither runs nor waits for anything.
    #[error("client {0} runs nothing")]
    NothingRuns(i32),
    /// It is paused already.
    #[error("already paused: {0}")]
    AlreadyPaused(Scope),
    /// It is not paused.
    #[error("not paused: {0}")]
    NotPaused(Scope),
    /// Too many names are paused or disabled.
    #[error("too many databases are paused or disabled by name")]
    TooMany,
    /// The value does not hold, with the words that a file would get.
    #[error("{0}")]
    Refused(String),
    /// The proxy has ended.
    #[error("the proxy has ended")]
    Ended,
}

impl ActionError {
    /// What a client of the console is told it is.
    pub const fn sqlstate(&self) -> &'static str {
        match self {
            Self::NoSuchLane(_) | Self::NoSuchSession(_) => "42704",
            Self::NothingRuns(_) | Self::AlreadyPaused(_) | Self::NotPaused(_) => "55000",
            Self::TooMany => "54000",
            Self::Refused(_) => "22023",
            Self::Ended => "57P01",
        }
    }
}
