//! What the owner tells the scheduler.

use crate::objective::Sample;
use crate::{ClientKey, LaneId, Policy, PoolId, ServerId, TicketId, Turn};

/// Something that happened. Inputs about unknown tickets or servers change nothing: the owner's news may cross with the
/// scheduler's decision on the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A transaction asks for a slot. Ends in exactly one of `Grant`, `Reject`, or the owner's `Withdraw`.
    Request {
        /// The request's name, unique among those that wait.
        ticket: TicketId,
        /// The lane it was classified into.
        lane: LaneId,
        /// The user, database and startup parameters it needs.
        pool: PoolId,
        /// When it is its session's turn, as [`Scheduler::turn`](crate::Scheduler::turn) said.
        turn: Turn,
        /// Who asks; [`ClientKey::default`] where the lane has no caps.
        client: ClientKey,
    },
    /// A waiting transaction's client left or cancelled. A ticket that was granted already is the owner's to release.
    Withdraw {
        /// The request that no longer wants a slot.
        ticket: TicketId,
    },
    /// A granted connection is clean and idle again.
    Release {
        /// The connection.
        server: ServerId,
    },
    /// A connection asked for by `Output::Open` is ready.
    Opened {
        /// The connection.
        server: ServerId,
    },
    /// A connection asked for by `Output::Open` could not be made.
    OpenFailed {
        /// The connection that never was.
        server: ServerId,
        /// What to do with those who wait for it.
        verdict: OpenVerdict,
    },
    /// A connection is gone, in whatever state it was. A busy one's transaction is lost, and its slot is free.
    Closed {
        /// The connection.
        server: ServerId,
    },
    /// A client session was classified into a lane.
    SessionOpened {
        /// The lane.
        lane: LaneId,
    },
    /// A client session of a lane ended, or moved to another lane.
    SessionClosed {
        /// The lane.
        lane: LaneId,
    },
    /// A lease on a lane was taken: "an evaluation is running".
    LeaseTaken {
        /// The lane.
        lane: LaneId,
    },
    /// A lease ended or expired. The owner keeps the leases' times.
    LeaseEnded {
        /// The lane.
        lane: LaneId,
    },
    /// What was seen of a lane past the owner: clients that connect to the server directly. It holds until the next.
    Direct {
        /// The lane that they would be in.
        lane: LaneId,
        /// How many are connected.
        sessions: u32,
        /// How many of them are in a transaction.
        busy: u32,
    },
    /// A new policy. Lanes keep their place; a removed one arrives with `retired`.
    Reload {
        /// The whole new policy.
        policy: Policy,
    },
    /// The owner made a connection itself, with a client's login, and offers it. Ends in `Adopted` or `NotAdopted`.
    Adopt {
        /// The offer's name, unique among the requests and offers that are not answered.
        ticket: TicketId,
        /// The lane whose envelope it was started with.
        lane: LaneId,
        /// The user, database and startup parameters it was started with.
        pool: PoolId,
    },
    /// Who makes the connections of a pool from now on, in every lane.
    Supply {
        /// The pool.
        pool: PoolId,
        /// Who.
        supply: Supply,
    },
    /// A transaction of a lane with an objective was measured. Said before its `Release`.
    Measured {
        /// The lane it ran in.
        lane: LaneId,
        /// What was measured.
        sample: Sample,
    },
    /// A granted connection's transaction is over, and the connection stays with its session. Its slot stays taken.
    Kept {
        /// The connection.
        server: ServerId,
    },
    /// The session of a kept connection begins another transaction.
    Resumed {
        /// The connection.
        server: ServerId,
    },
    /// A running transaction met a rule that the owner watches.
    Met {
        /// Its connection.
        server: ServerId,
        /// The rule, by its place in the lane's policy.
        rule: u16,
    },
    /// What was to be cancelled by `Output::Preempt` was not, and runs on.
    Spared {
        /// The connection.
        server: ServerId,
    },
    /// Close the idle connections of a pool, in every lane.
    FlushPool {
        /// The pool.
        pool: PoolId,
    },
}

/// Who makes the connections of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// The scheduler asks for them as they are needed. So it is where nothing else was said.
    Opened,
    /// Nobody can make one but a client that logs in: they come by `Adopt` alone. They are kept, past the idle timeout
    /// and the lifetime, since none can follow; others' idle connections are closed before one of them is. Who waits where
    /// none is left is rejected at once. May be said of as many pools as the owner has.
    Adopted,
}

/// What a failed open means for those who wait for the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenVerdict {
    /// Waiting will not help: the login was refused, there is no such database, nothing listens. With no live connection
    /// of the pool left, its waiters are rejected at once.
    RejectWaiters,
    /// It may pass: too many connections (53300), or the server is starting up (57P03).
    KeepWaiting,
}
