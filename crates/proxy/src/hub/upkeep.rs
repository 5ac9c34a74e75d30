//! What the hub does besides the traffic: idle connections that died, databases about
//! to be dropped, aliases that were used.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use pglanes_config::{MAXIMUM_NAMES, NameUsed};
use pglanes_lanes::Input;
use pglanes_wire::startup::Startup;

use super::happenings::short;
use super::{AskedOfSession, Hub, ServerPlace, Stall};
use crate::events::EventKind;
use crate::metrics::ServerEnd;
use crate::server::Health;
use crate::view::AliasView;

/// Alias uses remembered as logged; beyond that each is logged.
const MOST_ALIASES_REMEMBERED: usize = 1000;

/// How often failed plans make statements be prepared anew.
const PLANS_DOUBTED_AGAIN: Duration = Duration::from_secs(1);

/// How long a session that has ended waits for its client to take the last words.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(10);

/// Which alias uses have been logged.
#[derive(Debug, Default)]
pub(crate) struct AliasLog {
    seen: HashSet<(String, String, String)>,
    /// By kind and alias: configured names alone get here.
    uses: BTreeMap<(&'static str, String), AliasUse>,
}

/// How often an alias was used.
#[derive(Debug)]
struct AliasUse {
    count: u64,
    last: SystemTime,
    client: String,
}

impl AliasLog {
    fn is_new(&mut self, entry: (String, String, String)) -> bool {
        self.seen.len() >= MOST_ALIASES_REMEMBERED || self.seen.insert(entry)
    }

    pub(super) fn view(&self, kind: &'static str, alias: &str, name: &str) -> AliasView {
        let used = self.uses.get(&(kind, alias.to_owned()));
        AliasView {
            kind,
            alias: alias.to_owned(),
            name: name.to_owned(),
            used: used.map_or(0, |used| used.count),
            last: used.map(|used| used.last),
            last_client: used.map_or_else(String::new, |used| used.client.clone()),
        }
    }
}

impl Hub {
    /// Something was altered: what is prepared from now on is prepared anew. Names that were given before keep their plans,
    /// and PostgreSQL says itself when those no longer hold.
    pub(crate) fn change_plans(&self) {
        self.statements.borrow_mut().renew();
    }

    /// A role or a database was altered: what its sessions start with is another from now on, for
    /// whoever comes. Idle connections close, others when they are given back; those that logins
    /// brought stay, for nobody could make them anew.
    pub(crate) fn change_defaults(self: &Rc<Self>) {
        self.defaults.set(self.defaults.get().wrapping_add(1));
        let pools = self.pools.borrow_mut().forget_welcomes();
        for pool in pools {
            self.tell(Input::FlushPool { pool });
        }
    }

    /// A plan has failed for want of the rows it was made for: something was altered that was not
    /// seen here, and other connections may have such plans too. Clients whose search_path
    /// leads them to tables of other kinds fail so again and again; that is nobody else's matter.
    pub(crate) fn doubt_plans(&self) {
        let now = self.clock.now();
        let last = self.plans_doubted.get();
        if last.is_none_or(|last| now.since(last) >= PLANS_DOUBTED_AGAIN) {
            self.plans_doubted.set(Some(now));
            self.change_plans();
        }
    }

    /// Closes idle connections whose server has gone, so that their slots are free and
    /// nobody is handed one.
    pub(crate) fn sweep_idle(self: &Rc<Self>) {
        let mut dead = Vec::new();
        self.servers.borrow_mut().retain(|id, place| {
            let gone = match place {
                ServerPlace::Idle(server) => server.check_idle() == Health::Dead,
                ServerPlace::Opening { .. } | ServerPlace::Linked(_) => false,
            };
            if gone {
                dead.push(*id);
            }
            !gone
        });
        for server in dead {
            self.metrics.server_ended(ServerEnd::FoundDead);
            self.tell(Input::Closed { server });
        }
    }

    /// Ends sessions whose client keeps a server connection waiting beyond its limit.
    pub(crate) fn sweep_stalled(&self) {
        let now = self.clock.now();
        let live = self.live();
        let limits = &live.config.limits;
        for session in self.sessions.borrow().iter() {
            let (stall, since) = session.stall.get();
            let limit = match stall {
                Stall::None => None,
                Stall::IdleInTransaction => limits.client_idle_in_transaction,
                Stall::HalfSent => limits.half_sent_message,
                Stall::SlowReader => limits.slow_reader,
                Stall::LastWords => Some(LAST_WORDS_LIMIT),
            };
            if limit.is_some_and(|limit| now.since(since) > limit) {
                session.ask(AskedOfSession::EndStalled(stall));
            }
        }
    }

    /// Closes idle connections to a database, which is about to be dropped or copied:
    /// PostgreSQL refuses that while anybody is connected.
    pub(crate) fn close_idle_of(self: &Rc<Self>, database: &str) {
        let pools = self.pools.borrow().of_database(database);
        for pool in pools {
            self.tell(Input::FlushPool { pool });
        }
    }

    /// Counts which names of a login were aliases.
    pub(crate) fn count_aliases(
        &self,
        startup: &Startup,
        names: [(&'static str, NameUsed, &str); 2],
    ) {
        let client = short(startup.parameter("application_name").unwrap_or(""));
        let mut log = self.aliases.borrow_mut();
        for (kind, used, name) in names {
            if used == NameUsed::Real {
                continue;
            }
            let entry = log.uses.entry((kind, name.to_owned()));
            let used = entry.or_insert_with(|| AliasUse {
                count: 0,
                last: SystemTime::UNIX_EPOCH,
                client: String::new(),
            });
            used.count += 1;
            used.last = SystemTime::now();
            used.client.clone_from(&client);
        }
        // Names that a reload took away are forgotten when there are too many.
        if log.uses.len() > 2 * MAXIMUM_NAMES {
            log.uses.clear();
        }
    }

    /// Logs the use of an alias, once per client name.
    pub(crate) fn log_alias(&self, startup: &Startup, user: &str, database: &str) {
        let client = startup.parameter("application_name").unwrap_or("");
        let entry = (
            client.to_owned(),
            startup.user.clone(),
            startup.database.clone(),
        );
        if self.aliases.borrow_mut().is_new(entry) {
            tracing::info!(
                client,
                asked_user = startup.user,
                asked_database = startup.database,
                user,
                database,
                "an alias was used"
            );
            self.events.push(EventKind::AliasUsed {
                client: short(client),
                asked: (short(&startup.user), short(&startup.database)),
                real: (short(user), short(database)),
            });
        }
    }
}
