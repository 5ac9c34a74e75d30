//! What the scheduler decided, for the owner to carry out.

use std::time::Duration;

use crate::policy::{Action, Cap};
use crate::{LaneId, PoolId, ServerId, TicketId};

/// A decision. Every waiting ticket gets exactly one `Grant` or `Reject`, unless it is withdrawn first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The ticket has this idle connection until the owner releases it or reports it closed.
    Grant {
        /// The request that is answered.
        ticket: TicketId,
        /// The connection it gets.
        server: ServerId,
    },
    /// Open a connection. Its slot counts from now on; answer with `Opened` or `OpenFailed`.
    Open {
        /// The new connection's name.
        server: ServerId,
        /// The lane whose envelope it starts with.
        lane: LaneId,
        /// The user, database and startup parameters.
        pool: PoolId,
    },
    /// The connection that was offered with `Adopt` is one of the pool's, and idle. Its slot counts from now on.
    Adopted {
        /// The offer that is answered.
        ticket: TicketId,
        /// The connection's name.
        server: ServerId,
    },
    /// There is no room for the connection that was offered with `Adopt`.
    NotAdopted {
        /// The offer that is answered.
        ticket: TicketId,
    },
    /// Close this idle connection. Its slot is free already; no answer is needed.
    Close {
        /// The connection.
        server: ServerId,
    },
    /// The ticket gets no slot. The session lives on.
    Reject {
        /// The request that is answered.
        ticket: TicketId,
        /// The lane it waited in.
        lane: LaneId,
        /// Why.
        reason: Rejection,
    },
    /// Tell the client that it waits. At most once for each ticket, which goes on waiting.
    Notice {
        /// The request that waits.
        ticket: TicketId,
        /// The lane it waits in.
        lane: LaneId,
        /// Its place among those that wait there, by arrival; the first is 1.
        place: u32,
        /// How many wait there.
        waiting: u32,
        /// How long it has waited.
        waited: Duration,
    },
    /// A transaction met a rule of its lane that has consequences.
    Rule {
        /// The lane.
        lane: LaneId,
        /// The rule, by its place in the lane's policy.
        rule: u16,
        /// What is to be done.
        action: Action,
        /// To whom.
        whom: Whom,
    },
    /// Cancel what this connection runs, for a lane that waits below its right. Answered by `Spared` where that cannot be;
    /// else it stays granted until released.
    Preempt {
        /// The busy connection.
        server: ServerId,
        /// Its lane.
        lane: LaneId,
        /// The lane that waits.
        claimant: LaneId,
    },
    /// Cancel what this connection runs, for a throttle. At most once per transaction; it stays granted until released.
    CancelRunning {
        /// The busy connection.
        server: ServerId,
        /// The throttle, by its place in the policy.
        throttle: usize,
    },
    /// A lane's objective begins to hold others back: worth telling, nothing to do. Said at most once in ten seconds.
    Objective {
        /// The protected lane.
        lane: LaneId,
        /// What it begins.
        change: ObjectiveChange,
    },
    /// A throttle that lowers its lane's processes began to, or ceased: [`Scheduler::lowers`](crate::Scheduler::lowers).
    Lowering {
        /// The throttle, by its place in the policy.
        throttle: usize,
    },
}

/// What an objective begins to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectiveChange {
    /// It holds others back as far as the lane's latency asks for.
    HoldsBack,
    /// It holds others back to learn what the lane takes in quiet.
    Learns,
}

/// Whom a rule concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One who waits, and goes on waiting.
    Ticket(TicketId),
    /// The transaction of a busy connection.
    Server(ServerId),
}

/// Why a ticket got no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// As many transactions wait as may.
    QueueFull {
        /// The limit that was met.
        length: usize,
    },
    /// Its client has as many slots as its cap allows, and as many transactions behind that as may wait.
    Capped {
        /// The cap that is full.
        cap: Cap,
        /// What it allows.
        slots: u32,
        /// How many wait behind it.
        length: usize,
    },
    /// A rule of its lane says so.
    Rule {
        /// The rule, by its place in the lane's policy.
        rule: u16,
        /// How long it waited.
        waited: Duration,
    },
    /// It waited as long as it may.
    TimedOut {
        /// How long it waited.
        waited: Duration,
        /// The limit that was met.
        limit: Duration,
    },
    /// A connection for it could not be made.
    OpenFailed {
        /// The attempt that failed; the owner knows what the server said.
        server: ServerId,
    },
    /// The pool's connections come with clients' logins, and none is left in this lane.
    NoneLeft,
}
