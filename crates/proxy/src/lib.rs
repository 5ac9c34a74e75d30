//! The data path: listeners, handshakes, sessions, server connections, relay.
//!
//! One thread owns all of it ([`Proxy`]); sessions are hand-written futures on a
//! current-thread runtime, so that no lock, no wake-up of another thread and no
//! allocation is spent on a transaction. What it decides by is in `pglanes-lanes`, what
//! it says and understands in `pglanes-wire`; this crate carries it out.
//!
//! It never: parses a row, retries a statement, hands on a connection that owes
//! anything, or talks to PostgreSQL through a driver.
//!
//! The types that matter: [`Proxy`] starts it, [`Handle`] talks to it, [`Metrics`] is
//! what it counts.

mod cancel;
mod choice;
mod clock;
mod console;
mod credentials;
pub mod events;
mod front;
mod hub;
mod kinds;
mod leases;
mod listen;
mod meter;
mod metrics;
mod naming;
mod observed;
mod operate;
mod priority;
mod recording;
mod replication;
mod run;
mod server;
mod session;
mod settings;
mod splice;
mod stream;
mod tls;
mod upstream;
pub mod view;

pub use console::{
    CONSOLE_DATABASES, ConsoleConnection, ConsoleDoor, ConsoleStream, Proof, Role, Visitor,
};
pub use credentials::{CredentialSource, Lookup};
pub use events::{Event, EventKind, Events, MOST_EVENTS, MOST_EVENTS_AT_ONCE, Page};
pub use hub::{Baselines, LaneBaseline, MOST_BLOCKERS};
pub use kinds::{for_rules, kind_of};
pub use leases::{LeaseError, LeaseRequest, LeaseView, MAXIMUM_HOLDER};
pub use metrics::{
    BUCKET_BOUNDS_US, Counter, Flag, Gauge, Histogram, LaneMetrics, Metrics, PriorityMetrics,
    Refused, ServerEnd,
};
pub use observed::{
    Attention, BlockedView, DirectView, MaintenanceView, Observed, ObservedView, Seen, SeenBackend,
    SeenKind, SeenWork,
};
pub use operate::{Action, ActionError, Done, Scope};
pub use priority::Refusal;
pub use recording::{Entry, MOST_PENDING_ENTRIES, RecordedTransaction, Recording};
pub use run::{Ending, Handle, MOST_SESSIONS_SHOWN, Passed, Proxy, StartError};
pub use view::View;
