//! Decides which transaction runs when: classifier, scheduler, throttles, objectives.
//!
//! This is the deterministic half of the proxy. It opens no socket, reads no clock, starts no thread and draws no random
//! number: the owner says what happened and when ([`Input`], [`Time`]), asks what is to be done ([`Output`]) and when to come
//! back ([`Scheduler::poll_timeout`]). The same inputs give the same outputs, which is what lets it be property-tested,
//! simulated by the million (feature `sim`), and replayed.
//!
//! What it is not: it knows nothing of PostgreSQL's protocol, of sessions beyond their number, or of what an error said.
//!
//! Three types matter: [`Policy`] is what to keep, [`Scheduler`] keeps it, and [`classify::Classifier`] says which lane a
//! session, or one transaction of it, belongs to.

pub mod classify;
mod ids;
mod input;
mod lease;
pub mod objective;
mod output;
mod policy;
mod scheduler;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod time;
mod turns;

pub use ids::{ClientKey, LaneId, PoolId, ServerId, TicketId, Turn};
pub use input::{Input, OpenVerdict, Supply};
pub use lease::{LONGEST_LEASE, Lease, LeaseId, LeaseRefusal, Leases, MAX_LEASES, SHORTEST_LEASE};
pub use output::{ObjectiveChange, Output, Rejection, Whom};
pub use policy::{
    Action, Cap, CapPolicy, Condition, DEFAULT_MAX_WAITING, DUTY_PERIOD, Effect, LanePolicy,
    MAX_LANES, MAX_RULES, MAX_THROTTLES, MAX_TOTAL_SLOTS, MAX_WEIGHT, Mode, Policy, PolicyError,
    QueueOrder, RulePolicy, Running, ThrottlePolicy, When,
};
pub use scheduler::{
    BACKOFF_FIRST, BACKOFF_LONGEST, Closing, LaneSnapshot, MAX_BACKOFFS, REOPEN_LAG, RuleSnapshot,
    Scheduler, Snapshot, ThrottleSnapshot,
};
pub use time::Time;
pub use turns::{MAX_OTHER_LANES, Turns};
