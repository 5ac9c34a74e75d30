//! Logins that PostgreSQL itself decided: which user needs none, and the connections that
//! came of the others.
//!
//! A pool without a known password cannot be opened by the proxy alone. While sessions of
//! such a pool live, its connections come with their logins and are kept; when the last
//! session has gone the pool is like any other.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use pglanes_lanes::{Input, LaneId, PoolId, ServerId, Supply, TicketId, Time};
use tokio::sync::Semaphore;

use super::{Hub, ServerPlace};
use crate::stream::Stream;
use crate::upstream::LoggedIn;

/// How long it holds that PostgreSQL takes a user without a proof.
const TRUST_HOLDS: Duration = Duration::from_secs(30);
/// How long it holds when PostgreSQL cannot be asked: it is full, or restarts.
const TRUST_HOLDS_UNASKED: Duration = Duration::from_secs(300);
/// Users and databases that this is remembered of.
const MOST_TRUSTED: usize = 4096;
/// Logins carried out with PostgreSQL at once. Each takes a connection there beside the
/// slots for as long as its client takes to answer, which the login timeout bounds.
const MOST_RELAYED_LOGINS: usize = 16;

/// What the hub remembers of them.
pub(crate) struct Relays {
    /// When PostgreSQL last took this user into this database without a proof.
    trusted: RefCell<HashMap<(String, String), Time>>,
    pub(crate) logins: Semaphore,
    /// Sessions of each pool that came in by a login of their own.
    sessions: RefCell<HashMap<PoolId, u32>>,
    /// The connection that is being offered to the scheduler.
    offered: RefCell<Option<Offer>>,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            trusted: RefCell::default(),
            logins: Semaphore::new(MOST_RELAYED_LOGINS),
            sessions: RefCell::default(),
            offered: RefCell::default(),
        }
    }
}

struct Offer {
    ticket: TicketId,
    lane: LaneId,
    pool: PoolId,
    connection: Connection,
}

/// A connection that a client's login made.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) welcome: LoggedIn,
}

impl Connection {
    /// Ends it in good order.
    pub(crate) fn close(&mut self) {
        self.stream.last_words(super::slots::TERMINATE);
    }
}

/// What became of an offer.
pub(crate) enum Offered {
    Adopted,
    NoRoom(Connection),
}

impl Relays {
    /// Whether PostgreSQL took this user without a proof, not long ago.
    pub(crate) fn is_trusted(&self, user: &str, database: &str, now: Time) -> bool {
        self.was_trusted_within(user, database, now, TRUST_HOLDS)
    }

    /// The same, for when PostgreSQL cannot be asked again.
    pub(crate) fn was_trusted(&self, user: &str, database: &str, now: Time) -> bool {
        self.was_trusted_within(user, database, now, TRUST_HOLDS_UNASKED)
    }

    fn was_trusted_within(&self, user: &str, database: &str, now: Time, limit: Duration) -> bool {
        let key = (user.to_owned(), database.to_owned());
        let known = self.trusted.borrow().get(&key).copied();
        known.is_some_and(|since| now.since(since) < limit)
    }

    /// PostgreSQL took this user without a proof.
    pub(crate) fn trust(&self, user: &str, database: &str, now: Time) {
        let mut trusted = self.trusted.borrow_mut();
        if trusted.len() >= MOST_TRUSTED {
            trusted.retain(|_, since| now.since(*since) < TRUST_HOLDS);
        }
        if trusted.len() >= MOST_TRUSTED {
            trusted.clear();
        }
        trusted.insert((user.to_owned(), database.to_owned()), now);
    }

    /// PostgreSQL asked for one.
    pub(crate) fn distrust(&self, user: &str, database: &str) {
        let key = (user.to_owned(), database.to_owned());
        self.trusted.borrow_mut().remove(&key);
    }

    /// Passwords and addresses may have changed.
    pub(super) fn forget_trust(&self) {
        self.trusted.borrow_mut().clear();
    }

    /// Sessions that a pool's connections came with.
    pub(super) fn sessions_of(&self, pool: PoolId) -> u32 {
        self.sessions.borrow().get(&pool).copied().unwrap_or(0)
    }
}

/// A session that came in by a login of its own at PostgreSQL. Counted while it lives.
pub(crate) struct RelayedSession {
    hub: Rc<Hub>,
    pool: PoolId,
    /// Where its pool's connections are: another lane has none, and none can be opened.
    pub(crate) lane: LaneId,
}

impl std::fmt::Debug for RelayedSession {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("RelayedSession");
        shown.field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl RelayedSession {
    /// The lane of a transaction that was classified into `lane`.
    pub(crate) fn lane_for(&self, lane: LaneId) -> LaneId {
        match self.hub.pools.borrow().supply(self.pool) {
            Supply::Opened => lane,
            Supply::Adopted => self.lane,
        }
    }
}

impl Drop for RelayedSession {
    fn drop(&mut self) {
        let last = {
            let mut sessions = self.hub.relays.sessions.borrow_mut();
            let count = sessions.get_mut(&self.pool).map(|count| {
                *count -= 1;
                *count
            });
            if count == Some(0) {
                sessions.remove(&self.pool);
            }
            count == Some(0)
        };
        if last {
            self.hub.set_supply(self.pool, Supply::Opened);
        }
    }
}

impl Hub {
    /// Counts a session that logged in at PostgreSQL itself. Without a password of its
    /// user its pool lives on such logins.
    pub(crate) fn begin_relayed(self: &Rc<Self>, lane: LaneId, pool: PoolId) -> RelayedSession {
        *self.relays.sessions.borrow_mut().entry(pool).or_insert(0) += 1;
        let user = &self.pools.borrow().key(pool).user;
        if self.upstream_credential(user).is_empty() {
            self.set_supply(pool, Supply::Adopted);
        }
        RelayedSession {
            hub: Rc::clone(self),
            pool,
            lane,
        }
    }

    /// What PostgreSQL refused is no way to open connections of this pool.
    pub(super) fn doubt_supply(self: &Rc<Self>, pool: PoolId) {
        if self.relays.sessions_of(pool) > 0 {
            self.set_supply(pool, Supply::Adopted);
        }
    }

    /// PostgreSQL takes the user without a proof, or a password is known by now.
    pub(crate) fn can_open(self: &Rc<Self>, pool: PoolId) {
        self.set_supply(pool, Supply::Opened);
    }

    fn set_supply(self: &Rc<Self>, pool: PoolId, supply: Supply) {
        let before = self.pools.borrow_mut().set_supply(pool, supply);
        if before != supply {
            self.tell(Input::Supply { pool, supply });
        }
    }

    /// Passwords may be known now that were not.
    pub(super) fn review_supplies(self: &Rc<Self>) {
        let pools: Vec<PoolId> = self.relays.sessions.borrow().keys().copied().collect();
        for pool in pools {
            let user = self.pools.borrow().key(pool).user.clone();
            if !self.upstream_credential(&user).is_empty() {
                self.can_open(pool);
            }
        }
    }

    /// Connections that a pool has in a lane, and sessions that they came with.
    pub(crate) fn relayed_counts(&self, lane: LaneId, pool: PoolId) -> (u32, u32) {
        let connections = self.scheduler.borrow().connections_of(lane, pool);
        (connections, self.relays.sessions_of(pool))
    }

    /// Offers a connection to the scheduler, as one of this pool in this lane.
    pub(crate) fn offer(
        self: &Rc<Self>,
        lane: LaneId,
        pool: PoolId,
        connection: Connection,
    ) -> Offered {
        let ticket = self.waiters.borrow_mut().issue(None);
        self.relays.offered.replace(Some(Offer {
            ticket,
            lane,
            pool,
            connection,
        }));
        self.tell(Input::Adopt { ticket, lane, pool });
        self.waiters.borrow_mut().free(ticket);
        // Taken out by the scheduler's answer, which comes before `tell` returns.
        match self.relays.offered.borrow_mut().take() {
            None => Offered::Adopted,
            Some(offer) => Offered::NoRoom(offer.connection),
        }
    }

    /// The scheduler has a place for what was offered.
    pub(super) fn adopted(self: &Rc<Self>, ticket: TicketId, id: ServerId) {
        let offer = {
            let mut offered = self.relays.offered.borrow_mut();
            match offered.take() {
                Some(offer) if offer.ticket == ticket => offer,
                other => {
                    *offered = other;
                    return;
                }
            }
        };
        let Offer {
            lane,
            pool,
            connection: Connection { stream, welcome },
            ..
        } = offer;
        let server = self.new_server(id, lane, pool, stream, welcome);
        let place = ServerPlace::Idle(Box::new(server));
        self.servers.borrow_mut().insert(id, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_asked_for_again_before_long() {
        let relays = Relays::default();
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        relays.trust("u", "d", at(100));
        assert!(relays.is_trusted("u", "d", at(129)));
        assert!(!relays.is_trusted("u", "d", at(130)));
        assert!(relays.was_trusted("u", "d", at(399)));
        assert!(!relays.was_trusted("u", "d", at(400)));
        assert!(!relays.is_trusted("u", "other", at(100)));
        assert!(!relays.is_trusted("other", "d", at(100)));
        relays.distrust("u", "d");
        assert!(!relays.was_trusted("u", "d", at(100)));
    }

    #[test]
    fn trust_is_remembered_of_so_many_and_no_more() {
        let relays = Relays::default();
        for user in 0..MOST_TRUSTED + 10 {
            relays.trust(&user.to_string(), "d", Time::ZERO);
        }
        assert!(relays.trusted.borrow().len() <= MOST_TRUSTED);
    }
}
