//! The control plane: what the proxy asks the upstream server on its own account, over connections of
//! its own, and never on the data path.
//!
//! What it is: a pool of at most [`MAX_CONNECTIONS`] read-only connections, and a few questions: facts
//! for the advisor and for `check`, what the server knows about settings, and over one connection more who
//! works and who waits for whom. What it is not: a way for
//! clients' work, a cache, or a judge; it reports what the server says.
//!
//! The types that matter: [`Control`] asks, [`Observer`] looks, [`ServerAddress`] says where, [`ServerFacts`],
//! [`UnknownSetting`] and [`SettingContext`] are the answers, [`ControlError`] is why there is none.
//! [`Session`] is for the commands by which a person changes something, [`connect`] for the advisor's questions.
#![forbid(unsafe_code)]

mod activity;
mod address;
mod connection;
mod credential;
mod error;
mod facts;
mod session;
mod settings;
mod tls;

pub use activity::{
    Activity, BackendKind, BackendState, MOST_BACKENDS, MOST_WAITING, ObservedBackend, Observer,
    Waiting,
};
pub use address::{Host, ServerAddress};
pub use connection::{Control, MAX_CONNECTIONS, OBSERVING_CONNECTIONS};
pub use credential::DEFAULT_AUTH_QUERY;
pub use error::ControlError;
pub use facts::ServerFacts;
pub use session::{Session, SessionError, connect};
pub use settings::{AtStartup, Context, SettingContext, UnknownSetting};
