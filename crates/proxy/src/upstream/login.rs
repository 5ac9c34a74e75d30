//! The proxy's own login at PostgreSQL, up to the first ReadyForQuery.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::BytesMut;
use pglanes_auth::scram_client::{Challenge, ScramClient};
use pglanes_auth::{ChannelBinding, Password, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, SaltedPassword};
use pglanes_config::BindChannel;
use pglanes_config::tls::tls_server_end_point;
use pglanes_wire::cancel_key::CancelKey;
use pglanes_wire::parameters::{ParameterSet, parse_parameter_status};
use pglanes_wire::startup::{PROTOCOL_3_0, write_startup};
use pglanes_wire::{frame, message};

use super::credential::ScramAnswer;
use super::{OpenError, Target, UpstreamCredential};
use crate::stream::Stream;

/// PBKDF2 rounds a server may ask of us: PostgreSQL's default is 4,096, and the limit
/// keeps a hostile server from burning our time (RUSTSEC-2026-0178).
const MOST_ITERATIONS: u32 = 1_000_000;
/// The largest message believed before the login is over.
const LARGEST_LOGIN_MESSAGE: usize = 64 * 1024;
/// Salted passwords remembered; more users than this compute theirs again.
const MOST_SALTED: usize = 1024;

/// Salted passwords, remembered so that PBKDF2 runs once per user and not per connection.
#[derive(Debug, Default)]
pub(crate) struct SaltedPasswords {
    known: RefCell<HashMap<(String, Challenge), SaltedPassword>>,
    /// Raised when passwords may have changed: what was begun before is not kept.
    epoch: Cell<u64>,
}

impl SaltedPasswords {
    async fn get(&self, user: &str, password: &Password, challenge: Challenge) -> SaltedPassword {
        let key = (user.to_owned(), challenge);
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        let epoch = self.epoch.get();
        let (secret, asked) = (password.clone(), key.1.clone());
        let derive = move || SaltedPassword::derive(&secret, &asked.salt, asked.iterations);
        let salted = match tokio::task::spawn_blocking(derive).await {
            Ok(salted) => salted,
            // The runtime is ending; the result no longer matters.
            Err(_) => SaltedPassword::derive(password, &key.1.salt, key.1.iterations),
        };
        if self.epoch.get() != epoch {
            return salted;
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST_SALTED {
            known.clear();
        }
        known.insert(key, salted.clone());
        salted
    }

    /// Passwords may have changed.
    pub(crate) fn forget(&self) {
        self.epoch.set(self.epoch.get() + 1);
        self.known.borrow_mut().clear();
    }
}

/// A connection that has been welcomed.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    pub(crate) key: CancelKey,
    pub(crate) parameters: ParameterSet,
}

/// Sends the startup packet with `parameters` (user and database among them) and
/// carries the login through.
///
/// # Errors
/// PostgreSQL's refusal, a broken connection, or a method we do not answer.
pub(crate) async fn log_in(
    stream: &mut Stream,
    target: &Target,
    parameters: &[(String, String)],
    user: &str,
    credential: &UpstreamCredential,
    salted: &Rc<SaltedPasswords>,
) -> Result<LoggedIn, OpenError> {
    let mut out = BytesMut::new();
    write_startup(
        &mut out,
        target.protocol.get(),
        parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let certificate = stream.tls().and_then(|channel| channel.peer_certificate());
    let binding = match target.channel_binding {
        BindChannel::Disable => None,
        BindChannel::Prefer | BindChannel::Require => {
            certificate.and_then(|certificate| tls_server_end_point(certificate))
        }
    };
    let mut login = Login {
        stream,
        place: &target.place(),
        protocol: &target.protocol,
        bind: target.channel_binding,
        binding,
        user,
        credential,
        salted,
        scram: None,
    };
    login.send(&out).await?;
    login.carry_through(Vec::new()).await
}

/// Carries a login to its end from AuthenticationOk on. `held` is what was read behind that.
///
/// # Errors
/// As for [`log_in`].
pub(crate) async fn finish(
    stream: &mut Stream,
    target: &Target,
    held: Vec<u8>,
) -> Result<LoggedIn, OpenError> {
    let nothing = UpstreamCredential::default();
    let mut login = Login {
        stream,
        place: &target.place(),
        protocol: &Cell::new(PROTOCOL_3_0),
        bind: BindChannel::Disable,
        binding: None,
        user: "",
        credential: &nothing,
        salted: &Rc::default(),
        scram: None,
    };
    login.carry_through(held).await
}

struct Login<'a> {
    stream: &'a mut Stream,
    place: &'a str,
    protocol: &'a Cell<i32>,
    bind: BindChannel,
    /// What a login can be bound to: there is TLS, with a certificate fit for that.
    binding: Option<ChannelBinding>,
    user: &'a str,
    credential: &'a UpstreamCredential,
    salted: &'a Rc<SaltedPasswords>,
    scram: Option<ScramClient>,
}

impl Login<'_> {
    async fn carry_through(&mut self, mut held: Vec<u8>) -> Result<LoggedIn, OpenError> {
        let mut parameters = ParameterSet::default();
        let mut key = None;
        loop {
            let frame = self.next(&mut held).await?;
            let body = &held[frame::HEADER..frame.total];
            match frame.tag {
                b'R' => {
                    if let Some(answer) = self.authenticate(body).await? {
                        self.send(&answer).await?;
                    }
                }
                b'S' => {
                    if let Some((name, value)) = parse_parameter_status(body) {
                        parameters.set(name, value);
                    }
                }
                b'K' => key = CancelKey::parse_backend_key_data(body),
                b'E' => return Err(OpenError::Refused(body.to_vec())),
                b'v' => self.negotiated(body)?,
                b'N' => {}
                b'Z' => {
                    let key = key.unwrap_or_else(CancelKey::none);
                    return Ok(LoggedIn { key, parameters });
                }
                other => {
                    return Err(OpenError::Login(format!(
                        "unexpected message {:?} from {}",
                        char::from(other),
                        self.place
                    )));
                }
            }
            held.drain(..frame.total);
        }
    }

    /// NegotiateProtocolVersion, from servers before PostgreSQL 18: the connection goes on with
    /// their version, and the next one asks for no more.
    fn negotiated(&self, body: &[u8]) -> Result<(), OpenError> {
        let newest = body.first_chunk().map(|newest| i32::from_be_bytes(*newest));
        match newest {
            Some(newest) if (PROTOCOL_3_0..=self.protocol.get()).contains(&newest) => {
                self.protocol.set(newest);
                Ok(())
            }
            _ => Err(OpenError::Login(
                "the server offers a protocol version that was not asked for".into(),
            )),
        }
    }

    /// The answer to an authentication request; `None` when none is due.
    async fn authenticate(&mut self, body: &[u8]) -> Result<Option<BytesMut>, OpenError> {
        let Some((kind, data)) = body.split_first_chunk::<4>() else {
            return Err(OpenError::Login(
                "a truncated authentication request".into(),
            ));
        };
        let mut out = BytesMut::new();
        match (u32::from_be_bytes(*kind), data) {
            (0, _) => {
                if self
                    .scram
                    .as_ref()
                    .is_some_and(|scram| !scram.is_complete())
                {
                    return Err(OpenError::Login(
                        "the server accepted without proving that it knows the password".into(),
                    ));
                }
                let is_bound = |scram: &ScramClient| scram.mechanism() == SCRAM_SHA_256_PLUS;
                if !self.scram.as_ref().is_some_and(is_bound) {
                    self.do_without_binding()?;
                }
                return Ok(None);
            }
            (3, _) => {
                self.do_without_binding()?;
                let password = self.credential.password.as_ref();
                let password = password.ok_or_else(|| self.unknown())?;
                message::password_message(&mut out, password.expose().as_bytes());
            }
            (5, &[a, b, c, d, ..]) => {
                self.do_without_binding()?;
                let answer = self.credential.md5_response(self.user, [a, b, c, d]);
                let answer = answer.ok_or_else(|| self.unknown())?;
                message::password_message(&mut out, answer.as_bytes());
            }
            (10, mechanisms) => {
                let scram = self.begin_scram(mechanisms)?;
                let first = scram.client_first();
                message::sasl_initial_response(&mut out, scram.mechanism(), &first);
                self.scram = Some(scram);
            }
            (11, data) => {
                let answer = self.scram_final(data).await?;
                message::sasl_response(&mut out, &answer);
            }
            (12, data) => {
                let scram = self.scram.as_mut().ok_or_else(no_exchange)?;
                scram
                    .server_final(data)
                    .map_err(|error| OpenError::Login(error.to_string()))?;
                return Ok(None);
            }
            (other, _) => {
                return Err(OpenError::Login(format!(
                    "the server asks for authentication method {other}; trust, password, md5 and \
                     scram-sha-256 are supported"
                )));
            }
        }
        Ok(Some(out))
    }

    /// The mechanism, as libpq chooses it, and the exchange's start.
    fn begin_scram(&self, mechanisms: &[u8]) -> Result<ScramClient, OpenError> {
        let offers = |name: &str| {
            let mut offered = mechanisms.split(|byte| *byte == 0);
            offered.any(|offered| offered == name.as_bytes())
        };
        let plus = offers(SCRAM_SHA_256_PLUS);
        if plus && self.stream.tls().is_none() {
            // Somebody between us and the server has TLS with it.
            return Err(OpenError::Login(
                "the server offers SCRAM-SHA-256-PLUS over a connection without TLS".into(),
            ));
        }
        if !self.credential.knows_scram() {
            return Err(self.unknown());
        }
        // What it proves itself with is chosen by the challenge.
        let scram = ScramClient::new(Password::from(""), random_nonce()?, MOST_ITERATIONS);
        match &self.binding {
            Some(binding) if plus => return Ok(scram.with_channel_binding(binding.clone())),
            _ => self.do_without_binding()?,
        }
        if !offers(SCRAM_SHA_256) {
            return Err(OpenError::Login("no SASL mechanism in common".into()));
        }
        Ok(match self.binding {
            Some(_) => scram.without_offered_channel_binding(),
            None => scram,
        })
    }

    /// Refuses to, where channel binding is required; before a password is shown.
    fn do_without_binding(&self) -> Result<(), OpenError> {
        if self.bind == BindChannel::Require {
            return Err(OpenError::Login(
                "channel_binding=require, and the server does not bind this login to its TLS connection".into(),
            ));
        }
        Ok(())
    }

    async fn scram_final(&mut self, data: &[u8]) -> Result<Vec<u8>, OpenError> {
        let refused = |error: pglanes_auth::ScramError| OpenError::Login(error.to_string());
        let challenge = {
            let scram = self.scram.as_mut().ok_or_else(no_exchange)?;
            scram.challenge(data).map_err(refused)?
        };
        let keys = match self.credential.scram(&challenge) {
            Some(ScramAnswer::Keys(keys)) => keys.clone(),
            Some(ScramAnswer::Password(password)) => {
                let salted = self.salted.get(self.user, password, challenge).await;
                salted.keys()
            }
            None => return Err(self.unknown()),
        };
        let scram = self.scram.as_mut().ok_or_else(no_exchange)?;
        scram.client_final(keys).map_err(refused)
    }

    /// PostgreSQL asks for something that nothing known of this user answers.
    fn unknown(&self) -> OpenError {
        let (place, user) = (self.place, self.user);
        OpenError::NoPassword(format!(
            "PostgreSQL at {place} wants a password for user {user:?}, and none that fits is known \
             (users: {user}: upstream_password, or upstream: password)"
        ))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        let result = self.stream.write_all(bytes).await;
        result.map_err(|cause| self.broken(cause))
    }

    async fn next(&mut self, held: &mut Vec<u8>) -> Result<frame::Frame, OpenError> {
        loop {
            if let Some(frame) =
                frame::peek(held).map_err(|error| OpenError::Login(error.to_string()))?
            {
                if frame.total > LARGEST_LOGIN_MESSAGE {
                    return Err(OpenError::Login(format!(
                        "a message of {} bytes before the login was over",
                        frame.total
                    )));
                }
                if held.len() >= frame.total {
                    return Ok(frame);
                }
            }
            match self.stream.read_some(held, 2048).await {
                Ok(0) => return Err(self.broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(cause) => return Err(self.broken(cause)),
            }
        }
    }

    fn broken(&self, cause: std::io::Error) -> OpenError {
        OpenError::Connect {
            place: self.place.to_owned(),
            cause,
        }
    }
}

fn no_exchange() -> OpenError {
    OpenError::Login("a SASL message outside an exchange".into())
}

fn random_nonce() -> Result<[u8; 18], OpenError> {
    let mut nonce = [0; 18];
    getrandom::fill(&mut nonce)
        .map_err(|error| OpenError::Login(format!("no randomness for the login: {error}")))?;
    Ok(nonce)
}
