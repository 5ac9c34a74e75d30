//! From an accepted socket to a session: the first packets, the client's login, and the
//! welcome, all under one deadline and with bounded buffers.
//!
//! - `listener`: accepting, and the limits on that
//! - `client`: the task of one client
//! - `encrypt`: TLS
//! - `first`: SSLRequest, GSSENCRequest, CancelRequest, startup
//! - `login`: who the client is
//! - `verifiers`: what its password is held against
//! - `welcome`: what it is told before its first query

mod client;
mod encrypt;
mod first;
pub(crate) mod listener;
mod login;
mod verifiers;
mod welcome;

use std::rc::Rc;

use bytes::BytesMut;
use pglanes_auth::ChannelBinding;
use pglanes_wire::message::{self, ErrorBody, Severity};

use crate::hub::{Hub, Phase};
use crate::session::Session;
use crate::stream::Stream;

pub(crate) use verifiers::Verifiers;

/// Bytes taken from a client before it has logged in, at most: a startup packet and a
/// password message (PostgreSQL allows 10,000 and 65,535; ours are SCRAM's, which are short).
const MOST_BEFORE_LOGIN: usize = 16 * 1024;

/// A client on its way in.
pub(crate) struct Arrival {
    pub(crate) hub: Rc<Hub>,
    pub(crate) stream: Stream,
    /// Bytes read and not used up.
    pub(crate) inbox: Vec<u8>,
    /// What a login over this TLS connection can be bound to.
    pub(crate) channel_binding: Option<ChannelBinding>,
}

/// Why an arrival did not become a session.
pub(crate) enum Turned {
    /// It went away, or only came to cancel.
    Gone,
    /// It is told why, and the connection is closed.
    Away {
        sqlstate: &'static str,
        message: String,
        hint: Option<&'static str>,
    },
    /// As above, in PostgreSQL's own words.
    ByServer(BytesMut),
}

impl Turned {
    fn away(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self::Away {
            sqlstate,
            message: message.into(),
            hint: None,
        }
    }
}

impl From<std::io::Error> for Turned {
    fn from(_: std::io::Error) -> Self {
        // A client that leaves before it has logged in is told nothing.
        Self::Gone
    }
}

/// Takes the client in: the session, once it is logged in, or nothing.
pub(crate) async fn take_in(hub: Rc<Hub>, stream: Stream) -> Option<Session> {
    let limit = hub.live().config.limits.login_timeout;
    let mut arrival = Arrival {
        hub,
        stream,
        inbox: Vec::new(),
        channel_binding: None,
    };
    let logged_in = tokio::time::timeout(limit, arrival.log_in()).await;
    let turned = match logged_in {
        Ok(Ok(session)) => return Some(session.into_session(arrival)),
        Ok(Err(turned)) => turned,
        Err(_) => Turned::away(
            "08006",
            format!(
                "the login took longer than {} s (limits: login_timeout)",
                limit.as_secs_f32()
            ),
        ),
    };
    arrival.turn_away(turned);
    None
}

impl Arrival {
    async fn log_in(&mut self) -> Result<welcome::Welcomed, Turned> {
        let startup = self.first().await?;
        if self.hub.phase.get() == Phase::Draining {
            return Err(Turned::away("57P03", "pglanes is shutting down"));
        }
        if startup.replication.is_some() {
            return Err(Turned::Away {
                sqlstate: "0A000",
                message: "replication connections do not go through pglanes yet".into(),
                hint: Some("Connect to PostgreSQL directly for replication."),
            });
        }
        let known = self.authenticate(&startup).await?;
        self.welcome(startup, known).await
    }

    fn turn_away(&mut self, turned: Turned) {
        match turned {
            Turned::Gone => {}
            Turned::Away {
                sqlstate,
                message,
                hint,
            } => {
                let mut out = BytesMut::new();
                let mut body = ErrorBody::new(Severity::Fatal, sqlstate, &message);
                if let Some(hint) = hint {
                    body = body.with_hint(hint);
                }
                message::error(&mut out, &body);
                self.stream.last_words(&out);
            }
            Turned::ByServer(error) => self.stream.last_words(&error),
        }
    }

    /// Reads more of what the client says.
    ///
    /// Cancel-safe: what was read stays in the inbox.
    async fn read_more(&mut self) -> Result<(), Turned> {
        if self.inbox.len() >= MOST_BEFORE_LOGIN {
            return Err(Turned::away(
                "08P01",
                "too much was sent before the login was over",
            ));
        }
        match self.stream.read_some(&mut self.inbox, 1024).await? {
            0 => Err(Turned::Gone),
            _ => Ok(()),
        }
    }
}
