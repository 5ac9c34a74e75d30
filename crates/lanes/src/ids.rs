//! The names by which the owner and the scheduler speak of things.

use std::time::Duration;

use crate::time::nanos;

/// A lane, by its place in [`Policy::lanes`](crate::Policy). Stable over reloads: lanes are appended and retired, never moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u16);

impl LaneId {
    /// The lane's place in the policy's list.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One transaction's request for a slot. Chosen by the owner; unique among the requests that still wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u64);

/// A server connection. Chosen by the scheduler: the low half is its place in a table, the high half counts the uses of
/// that place, so that an answer about a connection that is gone never meets its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u64);

impl ServerId {
    /// The place in a table: small, dense, and used again after the connection is gone. Good for indexing by the owner,
    /// which must compare the whole id.
    #[must_use]
    pub const fn place(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    pub(crate) const fn new(place: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | place as u64)
    }

    pub(crate) const fn parts(self) -> (u32, u32) {
        ((self.0 & 0xffff_ffff) as u32, (self.0 >> 32) as u32)
    }
}

/// Who asks, for lanes with caps: the user and the application, as numbers that are the same for the same name. The owner
/// makes them so that nobody can choose them; zero is nobody, whom no cap holds back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey {
    /// The user.
    pub user: u64,
    /// The application.
    pub application: u64,
}

/// When it is a session's turn in a lane that is ordered by service, in virtual nanoseconds; zero elsewhere. See
/// [`QueueOrder::Service`](crate::QueueOrder::Service).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(pub u64);

impl Turn {
    /// The turn behind a transaction that held its slot for so long.
    #[must_use]
    pub fn after(self, held: Duration) -> Self {
        Self(self.0.saturating_add(nanos(held)))
    }
}

/// A combination of user, database and startup parameters, interned by the owner. A server connection serves one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);
