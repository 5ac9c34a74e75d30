//! Why the server gave no answer: who was asked, and its own words.

use std::error::Error as _;
use std::time::Duration;

use thiserror::Error;

/// A question that got no answer. `server` is `user@host:port/database`; no rendering holds a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// No connection, or it broke.
    #[error("cannot reach PostgreSQL at {server}: {reason}")]
    Unreachable {
        /// Who was asked.
        server: String,
        /// The driver's and the operating system's words.
        reason: String,
    },
    /// The server answered with an error, at login or later.
    #[error("PostgreSQL at {server} refused: {message} (SQLSTATE {sqlstate})")]
    Refused {
        /// Who was asked.
        server: String,
        /// The five characters that classify it.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// No answer in time.
    #[error("PostgreSQL at {server} did not answer within {after:?}")]
    TimedOut {
        /// Who was asked.
        server: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// An answer that makes no sense, such as a negative number of connections.
    #[error("PostgreSQL at {server} gave no usable value for {what}")]
    Unexpected {
        /// Who was asked.
        server: String,
        /// What was asked for.
        what: &'static str,
    },
}

impl ControlError {
    /// Tells a driver's error apart: the server's words where it spoke, else the operating system's.
    pub(crate) fn from_driver(server: &str, error: &tokio_postgres::Error) -> Self {
        let server = server.to_owned();
        match error.as_db_error() {
            Some(refusal) => Self::Refused {
                server,
                sqlstate: refusal.code().code().to_owned(),
                message: refusal.message().to_owned(),
            },
            None => Self::Unreachable {
                server,
                reason: with_causes(error),
            },
        }
    }

    /// The SQLSTATE, where the server gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Refused { sqlstate, .. } => Some(sqlstate),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Unexpected { .. } => None,
        }
    }
}

/// An error and what caused it, each said once: the driver repeats some of its causes itself.
fn with_causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}
