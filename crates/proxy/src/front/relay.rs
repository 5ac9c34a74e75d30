//! A login carried out with PostgreSQL, end to end: its questions go to the client, the
//! client's answers go to PostgreSQL, and pglanes learns nothing of the password. The
//! connection that comes of it is the client's proof, and then one of its pool's.
//!
//! Each client makes its own: nobody comes in on a connection that another has opened.
//! Only where PostgreSQL takes the user without any proof is that remembered, for a short
//! while.

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use pglanes_auth::{SCRAM_SHA_256, Secret};
use pglanes_lanes::{LaneId, OpenVerdict};
use pglanes_wire::startup::{PROTOCOL_3_0, Startup, write_startup};
use pglanes_wire::{frame, message};

use super::login::Known;
use super::{Arrival, Turned};
use crate::hub::relayed::Connection;
use crate::hub::{PoolKey, startup_parameters};
use crate::stream::Stream;
use crate::upstream::{Attempt, OpenError, Route, dial, finish};

/// The largest message of PostgreSQL before the login is over.
const LARGEST_QUESTION: usize = 64 * 1024;
/// How long PostgreSQL may take to close a connection that is not needed.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Between two attempts at a server that is full or starts up: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A login that PostgreSQL accepted after a proof.
pub(super) struct Relayed {
    pub(super) connection: Connection,
    /// The pool that it was made for.
    pub(super) key: PoolKey,
    pub(super) lane: LaneId,
}

/// What PostgreSQL said next.
enum Said {
    /// AuthenticationOk.
    Welcome,
    /// A question, to which the client has to answer.
    Question,
    /// The end of an exchange, to which it has not.
    Told,
}

/// The connection to PostgreSQL while it asks.
struct Questioner {
    stream: Stream,
    place: String,
    /// How long it may take to say something (`upstream.connect_timeout`).
    limit: Duration,
    /// What was read and not used up.
    held: Vec<u8>,
}

impl Arrival {
    /// Lets PostgreSQL decide. `None` is a user that it takes without a proof.
    ///
    /// Not cancel-safe, and need not be: a login that is cut short closes both connections.
    pub(super) async fn relay(
        &mut self,
        startup: &Startup,
        known: &Known,
    ) -> Result<Option<Box<Relayed>>, Turned> {
        let (user, database) = (&known.user, &known.database);
        let now = self.hub.clock.now();
        if self.peer.address.is_this_machine() && self.hub.relays.is_trusted(user, database, now) {
            return Ok(None);
        }
        let hub = Rc::clone(&self.hub);
        let permit = hub.relays.logins.acquire().await;
        let _one_of_few = permit.map_err(|_| Turned::Gone)?;
        let key = self.key_of(startup, known);
        let mut pause = FIRST_PAUSE;
        let (mut way, mut other_way) = self.hub.live().target.attempts();
        loop {
            match self.attempt(&key, known, way).await {
                Ok(relayed) => return Ok(relayed),
                Err(Heard::Turned(turned)) => return Err(turned),
                Err(Heard::Refused(error)) => return Err(by_server(&error)),
                Err(Heard::Failed(error))
                    if other_way.is_some() && error.may_be_for_the_encryption() =>
                {
                    // pg_hba.conf tells TLS and its absence apart.
                    way = other_way.take().unwrap_or(way);
                    continue;
                }
                Err(Heard::Failed(error)) => {
                    self.hub.metrics.open_failures.increment();
                    if self.is_taken_unasked(known, &error) {
                        return Ok(None);
                    }
                    // Nobody else's connection will do for a replication client.
                    let waits = startup.replication.is_none();
                    if !waits || error.verdict() == OpenVerdict::RejectWaiters {
                        return Err(by_server(&error));
                    }
                }
            }
            // It is full, or starts up: that passes, and the login timeout bounds the wait.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One login, from the connection to its end.
    async fn attempt(
        &mut self,
        key: &PoolKey,
        known: &Known,
        way: Attempt,
    ) -> Result<Option<Box<Relayed>>, Heard> {
        let mut questioner = self.call(key, known.class.lane, way).await?;
        let mut asked = false;
        loop {
            let said = match self.hear(&mut questioner).await {
                // The client has answered once, and cannot be asked again.
                Err(Heard::Failed(error)) if asked => return Err(Heard::Refused(error)),
                said => said?,
            };
            match said {
                Said::Welcome if asked => break,
                Said::Welcome => {
                    let taken = self.take_at_its_word(questioner, known).await;
                    return taken.map_err(Heard::Turned);
                }
                Said::Question => {
                    asked = true;
                    let (user, database) = (&known.user, &known.database);
                    self.hub.relays.distrust(user, database);
                    let answer = self.password_message().await;
                    questioner.tell(&answer.map_err(Heard::Turned)?).await;
                }
                Said::Told => {}
            }
        }
        let Questioner {
            mut stream,
            place,
            limit,
            held,
        } = questioner;
        let live = self.hub.live();
        let finishing = finish(&mut stream, &live.target, held);
        let welcome = match tokio::time::timeout(limit, finishing).await {
            Ok(welcome) => welcome.map_err(Heard::Refused)?,
            Err(_) => return Err(Heard::Refused(OpenError::TimedOut { place, limit })),
        };
        Ok(Some(Box::new(Relayed {
            connection: Connection { stream, welcome },
            key: key.clone(),
            lane: known.class.lane,
        })))
    }

    /// The pool that the login's connection will be of.
    fn key_of(&self, startup: &Startup, known: &Known) -> PoolKey {
        if startup.replication.is_some() {
            return known.key_of_replication(startup);
        }
        let mut key = PoolKey {
            user: known.user.clone(),
            database: known.database.clone(),
            startup: Vec::new(),
            replication: None,
        };
        let plain = self.hub.pools.borrow_mut().id(key.clone());
        let reported = plain.and_then(|plain| self.hub.pools.borrow().welcome(plain));
        key.startup = super::welcome::asked_beyond(startup, reported.as_deref());
        key
    }

    /// Connects as the client would: over TCP, so that PostgreSQL's rules for clients of
    /// its network hold and not those for the operating system user that pglanes runs as.
    async fn call(
        &self,
        key: &PoolKey,
        lane: LaneId,
        way: Attempt,
    ) -> Result<Questioner, OpenError> {
        let live = self.hub.live();
        let material = self.hub.tls();
        let place = live.target.place();
        let limit = live.config.upstream.connect_timeout;
        let parameters = startup_parameters(key, live.envelope(lane));
        let calling = async {
            let mut stream = dial(&live.target, &material, Route::Tcp, way).await?;
            let mut out = BytesMut::new();
            let parameters = parameters.iter();
            write_startup(
                &mut out,
                PROTOCOL_3_0,
                parameters.map(|(name, value)| (name.as_str(), value.as_str())),
            );
            let sent = stream.write_all(&out).await;
            sent.map_err(|cause| OpenError::Connect {
                place: place.clone(),
                cause,
            })?;
            Ok(stream)
        };
        let stream = match tokio::time::timeout(limit, calling).await {
            Ok(result) => result?,
            Err(_) => return Err(OpenError::TimedOut { place, limit }),
        };
        Ok(Questioner {
            stream,
            place,
            limit,
            held: Vec::new(),
        })
    }

    /// PostgreSQL could not be asked. A user that it took without a proof a while ago is
    /// taken still, so that it may restart, or be full, without being felt.
    fn is_taken_unasked(&self, known: &Known, error: &OpenError) -> bool {
        let now = self.hub.clock.now();
        let (user, database) = (&known.user, &known.database);
        error.is_passing()
            && self.peer.address.is_this_machine()
            && self.hub.relays.was_trusted(user, database, now)
    }

    /// PostgreSQL let pglanes in without a proof. What that says of the client depends on
    /// why: it may be meant for this machine, or for the user that pglanes runs as.
    async fn take_at_its_word(
        &self,
        mut questioner: Questioner,
        known: &Known,
    ) -> Result<Option<Box<Relayed>>, Turned> {
        let tls = &self.hub.live().config.upstream.tls;
        let certified = questioner.stream.tls().is_some() && tls.identity.is_some();
        let through_socket = matches!(questioner.stream, Stream::Unix(_));
        questioner.hang_up().await;
        if !self.peer.address.is_this_machine() {
            return Err(Turned::Away {
                sqlstate: "28000",
                message: "PostgreSQL trusts the machine that pglanes runs on, which does not hold for others"
                    .into(),
                hint: Some(
                    "Let PostgreSQL ask for a password (pg_hba.conf), or give the user one in lanes.yaml (users, users_file).",
                ),
            });
        }
        if certified {
            return Err(Turned::away(
                "28000",
                "PostgreSQL may have let pglanes in by its own certificate (sslcert), which says nothing of this client",
            ));
        }
        if through_socket && !self.peer.is_own_user() {
            let own = super::peer::own_name().await;
            if own.is_none_or(|own| own == known.user) {
                return Err(Turned::Away {
                    sqlstate: "28000",
                    message: "PostgreSQL may have let pglanes in as its own operating system user (peer), which says nothing of this client"
                        .into(),
                    hint: Some(
                        "Give upstream.url a host, so that PostgreSQL is asked over TCP, or say `auth: { method: trust }`.",
                    ),
                });
            }
        }
        let now = self.hub.clock.now();
        self.hub.relays.trust(&known.user, &known.database, now);
        Ok(None)
    }

    /// Takes PostgreSQL's next message, and passes it on to the client if it is for it.
    async fn hear(&mut self, questioner: &mut Questioner) -> Result<Said, Heard> {
        loop {
            let (tag, body) = questioner.next().await?;
            match tag {
                b'R' => return self.pass_on(&body).await,
                b'E' => return Err(OpenError::Refused(body).into()),
                // Notices before the login, and the protocol's version: ours is old enough.
                b'N' | b'v' => {}
                other => {
                    let text = format!(
                        "unexpected message {:?} from {} during a login",
                        char::from(other),
                        questioner.place
                    );
                    return Err(OpenError::Login(text).into());
                }
            }
        }
    }

    /// Passes an authentication request on to the client.
    async fn pass_on(&mut self, body: &[u8]) -> Result<Said, Heard> {
        let truncated = || OpenError::Login("a truncated authentication request".into());
        let (kind, data) = body.split_first_chunk::<4>().ok_or_else(truncated)?;
        let mut out = BytesMut::new();
        let said = match (u32::from_be_bytes(*kind), data) {
            (0, _) => return Ok(Said::Welcome),
            (3, _) => {
                self.must_be_private()?;
                message::auth_cleartext(&mut out);
                Said::Question
            }
            (5, &[a, b, c, d, ..]) => {
                message::auth_md5(&mut out, [a, b, c, d]);
                Said::Question
            }
            (10, mechanisms) => {
                // Channel binding would bind the client to a TLS connection that is not its own.
                let mut offered = mechanisms.split(|byte| *byte == 0);
                if !offered.any(|name| name == SCRAM_SHA_256.as_bytes()) {
                    return Err(OpenError::Login("no SASL mechanism in common".into()).into());
                }
                message::auth_sasl(&mut out, &[SCRAM_SHA_256]);
                Said::Question
            }
            (11, data) => {
                message::auth_sasl_continue(&mut out, data);
                Said::Question
            }
            (12, data) => {
                message::auth_sasl_final(&mut out, data);
                Said::Told
            }
            (other, _) => {
                let text = format!(
                    "PostgreSQL asks for authentication method {other}, which cannot be relayed"
                );
                return Err(OpenError::Login(text).into());
            }
        };
        let sent = self.stream.write_all(&out).await;
        sent.map_err(|error| Heard::Turned(error.into()))?;
        Ok(said)
    }

    /// A password in clear is asked for only where nobody else can hear it.
    fn must_be_private(&self) -> Result<(), Heard> {
        if self.is_private() || self.peer.address.is_this_machine() {
            return Ok(());
        }
        Err(Heard::Turned(Turned::Away {
            sqlstate: "28000",
            message:
                "PostgreSQL asks for the password in clear, and this connection is not encrypted"
                    .into(),
            hint: Some("Connect with TLS, or let PostgreSQL use scram-sha-256 (pg_hba.conf)."),
        }))
    }
}

/// Why there is no next message.
enum Heard {
    /// On PostgreSQL's side, before it asked anything.
    Failed(OpenError),
    /// On PostgreSQL's side, after the client had answered.
    Refused(OpenError),
    /// On the client's.
    Turned(Turned),
}

impl From<OpenError> for Heard {
    fn from(error: OpenError) -> Self {
        Self::Failed(error)
    }
}

impl Questioner {
    /// The next message's type and body.
    async fn next(&mut self) -> Result<(u8, Vec<u8>), OpenError> {
        let (place, limit) = (self.place.clone(), self.limit);
        let next = tokio::time::timeout(limit, self.read());
        next.await
            .unwrap_or(Err(OpenError::TimedOut { place, limit }))
    }

    async fn read(&mut self) -> Result<(u8, Vec<u8>), OpenError> {
        loop {
            let header = frame::peek(&self.held);
            let header = header.map_err(|error| OpenError::Login(error.to_string()))?;
            if let Some(header) = header {
                if header.total > LARGEST_QUESTION {
                    let text = format!(
                        "a message of {} bytes before the login was over",
                        header.total
                    );
                    return Err(OpenError::Login(text));
                }
                if self.held.len() >= header.total {
                    let body = self.held[frame::HEADER..header.total].to_vec();
                    self.held.drain(..header.total);
                    return Ok((header.tag, body));
                }
            }
            let read = self.stream.read_some(&mut self.held, 2048).await;
            let ended = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            let cause = match read {
                Ok(0) => ended(),
                Ok(_) => continue,
                Err(cause) => cause,
            };
            return Err(OpenError::Connect {
                place: self.place.clone(),
                cause,
            });
        }
    }

    /// Passes the client's answer on.
    async fn tell(&mut self, answer: &Secret<Vec<u8>>) {
        let mut out = BytesMut::new();
        message::sasl_response(&mut out, answer.expose());
        let sent = self.stream.write_all(&out).await;
        // It may hold a password in clear.
        out.fill(0);
        // What PostgreSQL had to say before it closed is still to be read.
        drop(sent);
    }

    /// Ends a connection that is not needed, and waits for its end: its backend counts
    /// among PostgreSQL's connections until then.
    async fn hang_up(&mut self) {
        let mut out = BytesMut::new();
        message::terminate(&mut out);
        let ending = async {
            self.stream.write_all(&out).await.ok()?;
            loop {
                self.held.clear();
                if self.stream.read_some(&mut self.held, 2048).await.ok()? == 0 {
                    return Some(());
                }
            }
        };
        // A server that does not close loses its connection when this is dropped.
        let _ = tokio::time::timeout(CLOSE_LIMIT, ending).await;
    }
}

/// The refusal in PostgreSQL's own words, where it had some.
fn by_server(error: &OpenError) -> Turned {
    let mut out = BytesMut::new();
    error.write_error(&mut out, message::Severity::Fatal);
    Turned::ByServer(out)
}
