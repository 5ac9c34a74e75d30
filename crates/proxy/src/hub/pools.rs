//! Pools: the combinations of user, database and startup parameters that server
//! connections are opened with, and what PostgreSQL says at their login.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use pglanes_lanes::{PoolId, Supply};
use pglanes_wire::parameters::ParameterSet;

/// What server connections must share to be interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PoolKey {
    pub(crate) user: String,
    pub(crate) database: String,
    /// What the client's startup packet asked for beyond the lane's envelope, sorted by
    /// name: server connections start with it, so that RESET brings it back.
    pub(crate) startup: Vec<(String, String)>,
    /// The value of `replication`, for connections of that kind: those start with the client's
    /// parameters alone and are never given back, so nobody finds one here that was used.
    pub(crate) replication: Option<String>,
}

#[derive(Debug)]
struct Pool {
    key: Rc<PoolKey>,
    /// What the server reports at login, once it has been seen.
    welcome: Option<Rc<ParameterSet>>,
    /// Who makes its connections.
    supply: Supply,
    counts: Rc<PoolCounts>,
}

/// What was done in a pool, as PgBouncer counts it. The data thread alone writes; times are in microseconds.
#[derive(Debug, Default)]
pub(crate) struct PoolCounts {
    /// Server connections given to a transaction.
    pub(crate) assignments: Cell<u64>,
    pub(crate) transactions: Cell<u64>,
    /// Simple queries and executions.
    pub(crate) queries: Cell<u64>,
    /// Of clients.
    pub(crate) bytes_received: Cell<u64>,
    /// To clients.
    pub(crate) bytes_sent: Cell<u64>,
    pub(crate) transaction_us: Cell<u64>,
    /// The part of that in which the server waited for the client's next statement.
    pub(crate) idle_in_transaction_us: Cell<u64>,
    pub(crate) wait_us: Cell<u64>,
    pub(crate) client_parses: Cell<u64>,
    pub(crate) server_parses: Cell<u64>,
    pub(crate) binds: Cell<u64>,
}

/// Adds to a count.
pub(crate) fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().wrapping_add(more));
}

/// The most combinations that are kept: startup parameters are the clients' choice.
pub(crate) const MOST_POOLS: usize = 4096;

/// All pools, numbered.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_key: HashMap<Rc<PoolKey>, PoolId>,
    pools: Vec<Pool>,
}

impl Pools {
    /// The number of this combination; `None` when there are too many.
    pub(crate) fn id(&mut self, key: PoolKey) -> Option<PoolId> {
        if let Some(&known) = self.by_key.get(&key) {
            return Some(known);
        }
        if self.pools.len() >= MOST_POOLS {
            return None;
        }
        let id = PoolId(self.pools.len() as u32);
        let key = Rc::new(key);
        self.by_key.insert(Rc::clone(&key), id);
        self.pools.push(Pool {
            key,
            welcome: None,
            supply: Supply::Opened,
            counts: Rc::default(),
        });
        Some(id)
    }

    pub(crate) fn key(&self, id: PoolId) -> Rc<PoolKey> {
        Rc::clone(&self.pools[id.0 as usize].key)
    }

    pub(crate) fn counts(&self, id: PoolId) -> Rc<PoolCounts> {
        Rc::clone(&self.pools[id.0 as usize].counts)
    }

    /// Every pool behind this one, by number.
    pub(crate) fn after(
        &self,
        id: Option<PoolId>,
    ) -> impl Iterator<Item = (PoolId, &PoolKey, &PoolCounts)> {
        let first = id.map_or(0, |id| id.0 as usize + 1);
        let pools = self.pools.iter().enumerate().skip(first);
        pools.map(|(index, pool)| (PoolId(index as u32), &*pool.key, &*pool.counts))
    }

    pub(crate) fn welcome(&self, id: PoolId) -> Option<Rc<ParameterSet>> {
        self.pools[id.0 as usize].welcome.clone()
    }

    pub(crate) fn set_welcome(&mut self, id: PoolId, welcome: Option<Rc<ParameterSet>>) {
        self.pools[id.0 as usize].welcome = welcome;
    }

    pub(crate) fn supply(&self, id: PoolId) -> Supply {
        self.pools[id.0 as usize].supply
    }

    /// Notes who makes a pool's connections; returns who did.
    pub(super) fn set_supply(&mut self, id: PoolId, supply: Supply) -> Supply {
        std::mem::replace(&mut self.pools[id.0 as usize].supply, supply)
    }

    /// The pools of a user and a database whose connections come with logins.
    pub(crate) fn adopting(&self, user: &str, database: &str) -> Vec<PoolId> {
        let ids = self.pools.iter().enumerate();
        ids.filter(|(_, pool)| {
            pool.supply == Supply::Adopted && pool.key.user == user && pool.key.database == database
        })
        .map(|(index, _)| PoolId(index as u32))
        .collect()
    }

    /// The pools whose connections can be made anew, which from now on ask again what PostgreSQL
    /// says at a login.
    pub(super) fn forget_welcomes(&mut self) -> Vec<PoolId> {
        let pools = self.pools.iter_mut().enumerate();
        pools
            .filter(|(_, pool)| pool.supply == Supply::Opened)
            .map(|(index, pool)| {
                pool.welcome = None;
                PoolId(index as u32)
            })
            .collect()
    }

    /// The pools of one database.
    pub(crate) fn of_database(&self, database: &str) -> Vec<PoolId> {
        let ids = self.pools.iter().enumerate();
        ids.filter(|(_, pool)| pool.key.database == database)
            .map(|(index, _)| PoolId(index as u32))
            .collect()
    }
}
