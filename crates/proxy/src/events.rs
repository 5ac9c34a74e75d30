//! What happened, for people: the last few thousand events, numbered, with their time, and a
//! notification for those who follow them live.
//!
//! The data thread writes; whoever else does something an operator should see later (a lease
//! taken over HTTP) may write too. The lock is held for the length of one push or of one page
//! of clones, and only ever about something rare: what may come by the thousand is thinned out
//! by kind, and says how many were left out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

/// Events that are kept; older ones make room.
pub const MOST_EVENTS: usize = 4096;
/// Events of one answer of [`Events::since`].
pub const MOST_EVENTS_AT_ONCE: usize = 512;
/// Events of one kind within [`THINNING`]; further ones are counted in the next of the kind.
const MOST_OF_A_KIND: u32 = 20;
/// The time in which they are counted.
const THINNING: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A throttle became active: its lane is held back.
    ThrottleBegan {
        /// Its name.
        throttle: String,
        /// The lane that is held back.
        lane: String,
        /// The lane that is protected.
        watched: String,
    },
    /// A throttle is over.
    ThrottleEnded {
        /// Its name.
        throttle: String,
        /// The lane that was held back.
        lane: String,
        /// How long it was.
        after: Duration,
    },
    /// A protected lane's objective began to do something.
    Objective {
        /// The lane.
        lane: String,
        /// What it does.
        does: &'static str,
    },
    /// A running statement was cancelled in the proxy's own name.
    Cancelled {
        /// The lane it ran in.
        lane: String,
        /// By what: a throttle's name, a rule's, `console`.
        by: String,
    },
    /// A transaction got no slot.
    Rejected {
        /// Its lane.
        lane: String,
        /// Why, in a word.
        reason: &'static str,
        /// What its client was told.
        sqlstate: &'static str,
    },
    /// "An evaluation is running": somebody says so.
    LeaseTaken {
        /// The lane.
        lane: String,
        /// Who.
        holder: String,
        /// For how long at most.
        limit: Duration,
    },
    /// Its holder gave it back.
    LeaseEnded {
        /// The lane.
        lane: String,
        /// Who.
        holder: String,
    },
    /// Its time was up, or its holder went without giving it back.
    LeaseExpired {
        /// The lane.
        lane: String,
        /// Who.
        holder: String,
    },
    /// Another configuration is in force.
    Reloaded {
        /// What operators had set meanwhile and is forgotten by that.
        forgotten: Vec<String>,
    },
    /// A configuration was refused; the old one stays in force.
    ReloadRefused {
        /// Why.
        why: String,
    },
    /// An operator changed something of the configuration until the next reload.
    Adjusted {
        /// The key, such as `lanes.evaluation.slots.max`.
        key: String,
        /// What it is now.
        value: String,
    },
    /// A session keeps its server connection from now on.
    Pinned {
        /// The session.
        session: i32,
        /// Its lane.
        lane: String,
        /// Why.
        reason: &'static str,
    },
    /// A client came in by another name than the real one, for the first time as that client.
    AliasUsed {
        /// What the client calls itself.
        client: String,
        /// The user and the database it asked for.
        asked: (String, String),
        /// The real ones.
        real: (String, String),
    },
    /// A login failed.
    LoginFailed {
        /// The user.
        user: String,
        /// The database.
        database: String,
    },
    /// PostgreSQL cannot be reached.
    UpstreamDown {
        /// Why.
        why: String,
    },
    /// It can be again.
    UpstreamUp,
    /// Nobody could say what a server connection still owed: it was closed.
    OutOfSync {
        /// The connection.
        server: u64,
    },
    /// New transactions wait.
    Paused {
        /// Whose: `all`, a database, a lane.
        scope: String,
    },
    /// They wait no longer.
    Resumed {
        /// Whose.
        scope: String,
    },
    /// Server connections are being replaced.
    Reconnecting {
        /// Whose.
        scope: String,
    },
    /// Sessions were ended by an operator.
    Killed {
        /// How many.
        sessions: usize,
    },
    /// A database takes no new client.
    DatabaseDisabled {
        /// Its name.
        database: String,
    },
    /// It does again.
    DatabaseEnabled {
        /// Its name.
        database: String,
    },
    /// The proxy is ending.
    Ending {
        /// What it waits for.
        mode: &'static str,
    },
    /// Somebody connects to PostgreSQL past the proxy.
    DirectSeen {
        /// The role.
        user: String,
        /// What the client calls itself.
        client: String,
        /// The lane that it would be in.
        lane: String,
    },
    /// Nobody of these does any more.
    DirectGone {
        /// The role.
        user: String,
        /// What the client called itself.
        client: String,
    },
    /// Transactions of one lane began to wait for locks of another.
    Blocked {
        /// Who holds the locks: a lane, or `direct` and the like.
        blocker: String,
        /// Who waits.
        lane: String,
    },
    /// A lowered backend is back at normal priority while somebody waits for it.
    Lifted {
        /// Its lane.
        lane: String,
        /// Its process at the server.
        backend: i32,
    },
    /// A transaction has been open for long.
    LongTransaction {
        /// Its lane, or `direct`.
        lane: String,
        /// Its process at the server.
        backend: i32,
        /// For how long.
        open: Duration,
        /// No statement runs in it.
        idle: bool,
    },
    /// Maintenance of the server's own began while a protected lane was busy.
    MaintenanceBegan {
        /// `autovacuum` or `checkpoint`.
        what: &'static str,
        /// The protected lane.
        lane: String,
    },
    /// The server's activity cannot be looked at any more.
    ObserverLost,
    /// An operator did something at the console or the dashboard.
    Command {
        /// Who.
        user: String,
        /// What, without values that could be secret.
        command: String,
    },
}

impl EventKind {
    /// The kind in a word, for SHOW EVENTS, filters and labels.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::ThrottleBegan { .. } => "throttle_began",
            Self::ThrottleEnded { .. } => "throttle_ended",
            Self::Objective { .. } => "objective",
            Self::Cancelled { .. } => "cancelled",
            Self::Rejected { .. } => "rejected",
            Self::LeaseTaken { .. } => "lease_taken",
            Self::LeaseEnded { .. } => "lease_ended",
            Self::LeaseExpired { .. } => "lease_expired",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadRefused { .. } => "reload_refused",
            Self::Adjusted { .. } => "adjusted",
            Self::Pinned { .. } => "pinned",
            Self::AliasUsed { .. } => "alias_used",
            Self::LoginFailed { .. } => "login_failed",
            Self::UpstreamDown { .. } => "upstream_down",
            Self::UpstreamUp => "upstream_up",
            Self::OutOfSync { .. } => "out_of_sync",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Reconnecting { .. } => "reconnecting",
            Self::Killed { .. } => "killed",
            Self::DatabaseDisabled { .. } => "database_disabled",
            Self::DatabaseEnabled { .. } => "database_enabled",
            Self::Ending { .. } => "ending",
            Self::DirectSeen { .. } => "direct_seen",
            Self::DirectGone { .. } => "direct_gone",
            Self::Blocked { .. } => "blocked",
            Self::Lifted { .. } => "lifted",
            Self::LongTransaction { .. } => "long_transaction",
            Self::MaintenanceBegan { .. } => "maintenance_began",
            Self::ObserverLost => "observer_lost",
            Self::Command { .. } => "command",
        }
    }

    /// The lane it is about, if it is about one.
    pub fn lane(&self) -> Option<&str> {
        match self {
            Self::ThrottleBegan { lane, .. }
            | Self::ThrottleEnded { lane, .. }
            | Self::Objective { lane, .. }
            | Self::Cancelled { lane, .. }
            | Self::Rejected { lane, .. }
            | Self::LeaseTaken { lane, .. }
            | Self::LeaseEnded { lane, .. }
            | Self::LeaseExpired { lane, .. }
            | Self::Pinned { lane, .. }
            | Self::DirectSeen { lane, .. }
            | Self::Blocked { lane, .. }
            | Self::Lifted { lane, .. }
            | Self::LongTransaction { lane, .. }
            | Self::MaintenanceBegan { lane, .. } => Some(lane),
            _ => None,
        }
    }

    /// What is worth knowing beside kind and lane, in one line.
    pub fn detail(&self) -> String {
        match self {
            Self::ThrottleBegan {
                throttle, watched, ..
            } => format!("{throttle}: {watched} is active"),
            Self::ThrottleEnded {
                throttle, after, ..
            } => format!("{throttle}: after {:.1} s", after.as_secs_f64()),
            Self::Objective { does, .. } => (*does).to_owned(),
            Self::Cancelled { by, .. } => format!("a statement, by {by}"),
            Self::Rejected {
                reason, sqlstate, ..
            } => format!("{reason} ({sqlstate})"),
            Self::LeaseTaken { holder, limit, .. } => {
                format!("by {holder}, for at most {} s", limit.as_secs())
            }
            Self::LeaseEnded { holder, .. } | Self::LeaseExpired { holder, .. } => {
                format!("of {holder}")
            }
            Self::Reloaded { forgotten } if forgotten.is_empty() => String::new(),
            Self::Reloaded { forgotten } => {
                format!("forgotten with it: {}", forgotten.join(", "))
            }
            Self::ReloadRefused { why } | Self::UpstreamDown { why } => why.clone(),
            Self::Adjusted { key, value } => format!("{key} = {value}, until the next reload"),
            Self::Pinned {
                session, reason, ..
            } => format!("session {session}: {reason}"),
            Self::AliasUsed {
                client,
                asked,
                real,
            } => format!(
                "{client:?} came as {}@{} and is {}@{}",
                asked.0, asked.1, real.0, real.1
            ),
            Self::LoginFailed { user, database } => format!("{user}@{database}"),
            Self::UpstreamUp | Self::ObserverLost => String::new(),
            Self::DirectSeen { user, client, .. } | Self::DirectGone { user, client } => {
                format!("{user} as {client:?}, past the proxy")
            }
            Self::Blocked { blocker, .. } => format!("waits for locks of {blocker}"),
            Self::Lifted { backend, .. } => {
                format!("backend {backend} is at normal priority: others wait for it")
            }
            Self::LongTransaction {
                backend,
                open,
                idle,
                ..
            } => {
                let idle = if *idle { ", idle" } else { "" };
                format!("backend {backend}, open for {} s{idle}", open.as_secs())
            }
            Self::MaintenanceBegan { what, .. } => (*what).to_owned(),
            Self::OutOfSync { server } => format!("server connection {server}"),
            Self::Paused { scope } | Self::Resumed { scope } | Self::Reconnecting { scope } => {
                scope.clone()
            }
            Self::Killed { sessions } => format!("{sessions} sessions"),
            Self::DatabaseDisabled { database } | Self::DatabaseEnabled { database } => {
                database.clone()
            }
            Self::Ending { mode } => (*mode).to_owned(),
            Self::Command { user, command } => format!("{user}: {command}"),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// One more than the event's before it.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// What.
    pub kind: EventKind,
    /// How many of its kind came just before it and are not told: there were too many.
    pub untold: u64,
}

/// Some of the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Oldest first; at most [`MOST_EVENTS_AT_ONCE`].
    pub events: Vec<Event>,
    /// How many between the one asked for and the first of these are no longer kept.
    pub lost: u64,
}

/// The events of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    ring: Arc<Mutex<Ring>>,
    /// The number of the last event; 0 before the first. Told outside the lock.
    last: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    last: u64,
    kinds: BTreeMap<&'static str, Flow>,
}

/// How much of a kind came lately.
#[derive(Debug)]
struct Flow {
    since: SystemTime,
    count: u32,
    untold: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            ring: Arc::default(),
            last: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Events {
    /// Notes what happened, now.
    pub fn push(&self, kind: EventKind) {
        let number = self.ring().push(kind, SystemTime::now());
        if let Some(number) = number {
            // Two threads may get here in the other order: the number only grows.
            self.last.send_if_modified(|last| {
                let later = number > *last;
                *last = number.max(*last);
                later
            });
        }
    }

    /// The events after this number, oldest first; 0 asks from the start.
    pub fn since(&self, number: u64) -> Page {
        let ring = self.ring();
        let first = ring.events.front().map_or(1, |event| event.number);
        let lost = first.saturating_sub(number + 1);
        let skip = (number + 1).saturating_sub(first);
        let events = ring.events.iter();
        Page {
            events: events
                .skip(usize::try_from(skip).unwrap_or(usize::MAX))
                .take(MOST_EVENTS_AT_ONCE)
                .cloned()
                .collect(),
            lost,
        }
    }

    /// The number of the last event; 0 before the first.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Tells the number of the last event whenever there is another one.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A push that panicked left nothing half done that matters here.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Returns the event's number, if it is told.
    fn push(&mut self, kind: EventKind, at: SystemTime) -> Option<u64> {
        let flow = self.kinds.entry(kind.label()).or_insert(Flow {
            since: at,
            count: 0,
            untold: 0,
        });
        // A clock that was set back begins a new count.
        if at
            .duration_since(flow.since)
            .map_or(true, |age| age > THINNING)
        {
            (flow.since, flow.count) = (at, 0);
        }
        if flow.count >= MOST_OF_A_KIND {
            flow.untold += 1;
            return None;
        }
        flow.count += 1;
        let untold = std::mem::take(&mut flow.untold);
        self.last += 1;
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            number: self.last,
            at,
            kind,
            untold,
        });
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(scope: usize) -> EventKind {
        EventKind::Paused {
            scope: scope.to_string(),
        }
    }

    #[test]
    fn events_are_numbered_and_found_from_a_number_on() {
        let events = Events::default();
        assert_eq!(events.since(0), Page::default());
        for scope in 0..3 {
            events.push(paused(scope));
        }
        let numbers =
            |page: &Page| -> Vec<u64> { page.events.iter().map(|event| event.number).collect() };
        assert_eq!(numbers(&events.since(0)), [1, 2, 3]);
        assert_eq!(numbers(&events.since(2)), [3]);
        assert_eq!(events.since(3), Page::default());
        assert_eq!(events.since(u64::MAX - 1), Page::default());
        assert_eq!(events.last(), 3);
    }

    #[test]
    fn the_oldest_make_room_and_their_loss_is_told() {
        let mut ring = Ring::default();
        for second in 0..(MOST_EVENTS + 10) as u64 {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second * 2);
            ring.push(paused(0), at);
        }
        assert_eq!(ring.events.len(), MOST_EVENTS);
        let events = Events::default();
        *events.ring() = ring;
        let page = events.since(0);
        assert_eq!(page.lost, 10);
        assert_eq!(page.events.len(), MOST_EVENTS_AT_ONCE);
        assert_eq!(page.events[0].number, 11);
    }

    #[test]
    fn a_flood_of_one_kind_is_thinned_and_says_so() {
        let mut ring = Ring::default();
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        for millis in 0..100 {
            ring.push(paused(0), at(millis));
        }
        // Another kind has room of its own.
        ring.push(EventKind::UpstreamUp, at(100));
        ring.push(paused(0), at(5000));
        assert_eq!(ring.events.len(), MOST_OF_A_KIND as usize + 2);
        let last = ring.events.back().unwrap();
        assert_eq!(last.untold, 100 - u64::from(MOST_OF_A_KIND));
    }

    #[tokio::test]
    async fn who_follows_is_woken() {
        let events = Events::default();
        let mut follower = events.follow();
        events.push(EventKind::UpstreamUp);
        follower.changed().await.unwrap();
        assert_eq!(*follower.borrow_and_update(), 1);
    }
}
