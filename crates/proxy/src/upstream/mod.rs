//! Opening server connections: dialling, the startup packet with the lane's envelope,
//! and the proxy's own login at PostgreSQL.

mod credential;
mod dial;
mod login;

use std::rc::Rc;
use std::time::Duration;

use pglanes_lanes::OpenVerdict;
use pglanes_wire::error_fields::ErrorFields;
use pglanes_wire::message::{ErrorBody, Severity};
use thiserror::Error;

pub(crate) use credential::{KeysOfVerifier, UpstreamCredential};
pub(crate) use dial::{Attempt, Route, Target, dial, dial_any};
pub(crate) use login::{LoggedIn, SaltedPasswords, finish, log_in};

/// Why a server connection could not be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// No connection, or it broke.
    #[error("no connection to PostgreSQL at {place}: {cause}")]
    Connect {
        /// Host and port, or the socket.
        place: String,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// It took longer than `upstream.connect_timeout`.
    #[error("PostgreSQL at {place} did not accept a login within {limit:?}")]
    TimedOut {
        /// Host and port, or the socket.
        place: String,
        /// `upstream.connect_timeout`.
        limit: Duration,
    },
    /// There is no TLS, and `sslmode` asks for it.
    #[error("no TLS connection to PostgreSQL at {place}: {reason}")]
    Tls {
        /// Host and port.
        place: String,
        /// What failed; nothing that an unproven server said.
        reason: String,
    },
    /// PostgreSQL refused; the body of its ErrorResponse.
    #[error("PostgreSQL refused the login: {}", said(.0))]
    Refused(Vec<u8>),
    /// PostgreSQL asks for something we do not have or do not trust.
    #[error("login at PostgreSQL failed: {0}")]
    Login(String),
    /// It wants a password, and none that fits is known here.
    #[error("login at PostgreSQL failed: {0}")]
    NoPassword(String),
}

fn said(body: &[u8]) -> String {
    let fields = ErrorFields::parse(body);
    format!(
        "{} {}",
        fields.sqlstate().unwrap_or("?????"),
        fields.message().unwrap_or("(no message)")
    )
}

impl OpenError {
    /// Whether those who wait for this pool should be told, or wait for another attempt.
    pub(crate) fn verdict(&self) -> OpenVerdict {
        match self {
            Self::Refused(body) => match ErrorFields::parse(body).sqlstate() {
                // Full, starting up: it passes by itself.
                Some("53300" | "57P03") => OpenVerdict::KeepWaiting,
                _ => OpenVerdict::RejectWaiters,
            },
            _ => OpenVerdict::RejectWaiters,
        }
    }

    /// Whether what was learned at an earlier login (this role, this database) no longer holds.
    pub(crate) fn refutes_welcome(&self) -> bool {
        match self {
            Self::Refused(body) => ErrorFields::parse(body)
                .sqlstate()
                .is_some_and(|state| state.starts_with("28") || state == "3D000"),
            Self::Login(_) | Self::NoPassword(_) => true,
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Tls { .. } => false,
        }
    }

    /// Whether the login might be taken with TLS where this was without, or the other way
    /// round: `pg_hba.conf` tells the two apart. A wrong password stays wrong, and is not
    /// shown a second time.
    pub(crate) fn may_be_for_the_encryption(&self) -> bool {
        match self {
            Self::Refused(body) => ErrorFields::parse(body).sqlstate() == Some("28000"),
            Self::Tls { .. } => true,
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Login(_) | Self::NoPassword(_) => {
                false
            }
        }
    }

    /// Whether the server may have meant the protocol version, and would take an older one.
    pub(crate) fn refuses_protocol(&self) -> bool {
        match self {
            Self::Refused(body) => {
                matches!(ErrorFields::parse(body).sqlstate(), Some("0A000" | "08P01"))
            }
            _ => false,
        }
    }

    /// Whether PostgreSQL asked for a proof that the proxy could not give.
    pub(crate) fn is_unproven(&self) -> bool {
        match self {
            Self::Refused(body) => ErrorFields::parse(body)
                .sqlstate()
                .is_some_and(|state| state.starts_with("28")),
            Self::NoPassword(_) => true,
            Self::Login(_) | Self::Connect { .. } | Self::TimedOut { .. } | Self::Tls { .. } => {
                false
            }
        }
    }

    /// Whether the server may well take a client whose proof was good before: it is full,
    /// starting up, or not there.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(_) => self.verdict() == OpenVerdict::KeepWaiting,
            Self::Connect { .. } | Self::TimedOut { .. } => true,
            Self::Login(_) | Self::NoPassword(_) | Self::Tls { .. } => false,
        }
    }

    /// The ErrorResponse for a client: the server's own words where it had some.
    pub(crate) fn write_error(&self, out: &mut bytes::BytesMut, severity: Severity) {
        match self {
            Self::Refused(body) => write_refusal(out, body, severity),
            other => {
                let message = other.to_string();
                let body = ErrorBody::new(severity, "08006", &message);
                pglanes_wire::message::error(out, &body);
            }
        }
    }
}

/// The server's refusal with every field it had, its severity as the client should see
/// it: FATAL ends a login, ERROR only a transaction.
fn write_refusal(out: &mut bytes::BytesMut, body: &[u8], severity: Severity) {
    let word = match severity {
        Severity::Fatal => &b"FATAL"[..],
        _ => &b"ERROR"[..],
    };
    let start = out.len();
    out.extend_from_slice(b"E\0\0\0\0");
    let mut rest = body;
    while let Some((&field, after)) = rest.split_first() {
        let Some((value, after)) = frame_field(field, after) else {
            break;
        };
        out.extend_from_slice(&[field]);
        out.extend_from_slice(if matches!(field, b'S' | b'V') {
            word
        } else {
            value
        });
        out.extend_from_slice(&[0]);
        rest = after;
    }
    out.extend_from_slice(&[0]);
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

fn frame_field(field: u8, rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if field == 0 {
        return None;
    }
    pglanes_wire::frame::split_cstr(rest)
}

/// A failed attempt, shared by all who waited for it.
pub(crate) type SharedOpenError = Rc<OpenError>;
