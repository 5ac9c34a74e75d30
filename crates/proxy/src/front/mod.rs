//! From an accepted socket to a session: the first packets, the client's login, and the
//! welcome, all under one deadline and with bounded buffers.
//!
//! - `listener`: accepting, and the limits on that
//! - `client`: the task of one client
//! - `encrypt`: TLS
//! - `first`: SSLRequest, GSSENCRequest, CancelRequest, startup
//! - `console`: clients of the admin console, who are handed on
//! - `login`: who the client is, and what is asked of it
//! - `prove`, `peer`, `relay`: how it is checked
//! - `verifiers`: what a password is held against
//! - `welcome`: what it is told before its first query
//! - `replication`: a server connection of its own, for a client that asks for replication

mod client;
mod console;
mod encrypt;
mod first;
pub(crate) mod listener;
mod login;
pub(crate) mod peer;
mod prove;
mod relay;
mod replication;
mod verifiers;
mod welcome;

use std::rc::Rc;

use bytes::BytesMut;
use pglanes_auth::ChannelBinding;
use pglanes_wire::message::{self, ErrorBody, Severity};
use pglanes_wire::startup::Startup;

use crate::choice::LANE_SETTING;
use crate::hub::{Hub, Phase};
use crate::replication::Replication;
use crate::session::Session;
use crate::stream::Stream;

pub(crate) use verifiers::Verifiers;

use peer::Peer;

/// Bytes taken from a client before it has logged in, at most: a startup packet and a
/// password message (PostgreSQL allows 10,000 and 65,535; ours are SCRAM's, which are short).
const MOST_BEFORE_LOGIN: usize = 16 * 1024;

/// A client on its way in.
pub(crate) struct Arrival {
    pub(crate) hub: Rc<Hub>,
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    /// The lane that its startup packet chooses.
    chosen: Option<String>,
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

/// A client that has logged in.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are sessions, and a box would cost each of them an allocation"
)]
pub(crate) enum Client {
    Session(Session),
    /// Boxed: there are few, and sessions should not be larger for them.
    Replication(Box<Replication>),
}

/// Takes the client in: what it is once it is logged in, or nothing.
pub(crate) async fn take_in(hub: Rc<Hub>, stream: Stream, peer: Peer) -> Option<Client> {
    let limit = hub.live().config.limits.login_timeout;
    let mut arrival = Arrival {
        hub,
        stream,
        peer,
        inbox: Vec::new(),
        channel_binding: None,
        chosen: None,
    };
    let logged_in = tokio::time::timeout(limit, arrival.log_in()).await;
    let turned = match logged_in {
        Ok(Ok(LoggedIn::Session(session))) => {
            return Some(Client::Session(session.into_session(arrival)));
        }
        Ok(Ok(LoggedIn::Replication(link))) => {
            return Some(Client::Replication(Box::new(link.start(arrival))));
        }
        Ok(Ok(LoggedIn::Console(admitted))) => {
            admitted.hand_on(arrival);
            return None;
        }
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

/// A client whose login is over, without what it arrived with.
enum LoggedIn {
    Session(welcome::Welcomed),
    Replication(replication::Link),
    Console(console::Admitted),
}

/// Takes the choice of a lane out of the startup packet: it is not for PostgreSQL to know when it opens a connection, or each
/// choice would have a pool of its own.
fn take_choice(startup: &mut Startup) -> Option<String> {
    let is_choice = |(name, _): &(String, String)| name.eq_ignore_ascii_case(LANE_SETTING);
    let place = startup.parameters.iter().position(is_choice)?;
    Some(startup.parameters.remove(place).1)
}

impl Arrival {
    async fn log_in(&mut self) -> Result<LoggedIn, Turned> {
        let mut startup = self.first().await?;
        self.chosen = take_choice(&mut startup);
        if self.hub.phase.get() == Phase::Draining {
            return Err(Turned::away("57P03", "pglanes is shutting down"));
        }
        // Before the limit on sessions: who looks why there is no room needs none.
        if let Some(door) = self.door(&startup) {
            return self.visit(startup, door).await.map(LoggedIn::Console);
        }
        self.refuse_if_full()?;
        let known = self.authenticate(&startup).await?;
        if startup.replication.is_some() {
            return self
                .replicate(startup, known)
                .await
                .map(LoggedIn::Replication);
        }
        self.welcome(startup, known).await.map(LoggedIn::Session)
    }

    /// Sessions are bounded. Looked at before the login, which costs something, and again
    /// after it, as others may have come in meanwhile.
    fn refuse_if_full(&self) -> Result<(), Turned> {
        let most = self.hub.live().config.limits.clients;
        if self.hub.sessions.borrow().len() < most as usize {
            return Ok(());
        }
        self.hub.metrics.refused.increment();
        let text = format!("sorry, too many clients already (limits: clients {most})");
        Err(Turned::away("53300", text))
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
