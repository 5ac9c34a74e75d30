//! The client's side of one SCRAM exchange: the proxy logging in to PostgreSQL.
//!
//! Two ways through. [`ScramClient::server_first`] does it all, and with a password it stretches that
//! password, which costs milliseconds of CPU: off the event loop, please. Or in pieces:
//! [`ScramClient::challenge`] reads the server's salt and count, [`SaltedPassword::derive`] runs
//! wherever it suits and its result can be kept (a server's salt changes only with the password), and
//! [`ScramClient::client_final`] goes on with it.
//!
//! [`SaltedPassword::derive`]: crate::SaltedPassword::derive

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;

use crate::crypto::{self, Key};
use crate::keys::{SaltedPassword, ScramKeys};
use crate::scram::{
    Attributes, BOUND_HEADER, ChannelBinding, MAX_NONCE_BYTES, MAX_SALT_BYTES, NONCE_RANDOM_BYTES,
    SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, check_nonce, decode_key, text,
};
use crate::secret::{Password, Secret};
use crate::verifier::parse_iterations;

/// The longest message taken from a server, in bytes: the longest nonce and salt, and some room.
pub const MAX_SERVER_MESSAGE_BYTES: usize = 4096;

/// What the client proves itself with. Prints redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCredential {
    /// A password, to be stretched with the server's salt.
    Password(Password),
    /// Keys learnt from a client's own login, for a server that stores the same verifier.
    Keys(ScramKeys),
}

impl From<&Password> for ClientCredential {
    fn from(password: &Password) -> Self {
        Self::Password(password.clone())
    }
}

impl From<Password> for ClientCredential {
    fn from(password: Password) -> Self {
        Self::Password(password)
    }
}

impl From<ScramKeys> for ClientCredential {
    fn from(keys: ScramKeys) -> Self {
        Self::Keys(keys)
    }
}

/// What the server asks the password to be stretched with. Fit to be the key of a cache of
/// [`SaltedPassword`]s, beside user and server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Challenge {
    /// 1 to [`MAX_SALT_BYTES`] bytes.
    pub salt: Vec<u8>,
    /// From 1 to the limit the client was made with.
    pub iterations: u32,
}

/// One exchange with one server. After an error every further call answers [`ScramError::OutOfOrder`].
pub struct ScramClient {
    credential: ClientCredential,
    nonce: String,
    max_iterations: u32,
    binding: Binding,
    state: State,
}

/// What the client says of channel binding.
enum Binding {
    /// It can not.
    Unsupported,
    /// It could, and the server does not offer it.
    NotOffered,
    /// This exchange is bound.
    To(ChannelBinding),
}

/// How far the exchange is.
enum State {
    /// The server has not answered yet.
    Start,
    /// The server's challenge is known.
    Challenged { server_first: String, nonce: String },
    /// client-final was given out; the server has to answer with this signature.
    Proved { server_signature: Secret<Key> },
    /// The server proved itself.
    Complete,
    /// Something was wrong.
    Failed,
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Start => "start",
            State::Challenged { .. } => "challenged",
            State::Proved { .. } => "proved",
            State::Complete => "complete",
            State::Failed => "failed",
        };
        formatter
            .debug_struct("ScramClient")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl ScramClient {
    /// Begins an exchange without channel binding. `nonce_random` is fresh randomness;
    /// `max_iterations` is the most rounds the server may ask for, since a hostile one could ask for
    /// hours.
    pub fn new(
        credential: impl Into<ClientCredential>,
        nonce_random: [u8; NONCE_RANDOM_BYTES],
        max_iterations: u32,
    ) -> Self {
        Self {
            credential: credential.into(),
            nonce: STANDARD.encode(nonce_random),
            max_iterations,
            binding: Binding::Unsupported,
            state: State::Start,
        }
    }

    /// Binds the exchange to its TLS connection. Only when the server offered
    /// [`SCRAM_SHA_256_PLUS`].
    #[must_use]
    pub fn with_channel_binding(mut self, channel_binding: ChannelBinding) -> Self {
        self.binding = Binding::To(channel_binding);
        self
    }

    /// Says that the exchange would have been bound to its TLS connection, had the server offered
    /// [`SCRAM_SHA_256_PLUS`]: a server that did offer it then knows that somebody took the offer away.
    #[must_use]
    pub fn without_offered_channel_binding(mut self) -> Self {
        self.binding = Binding::NotOffered;
        self
    }

    /// The mechanism to name in SASLInitialResponse.
    pub fn mechanism(&self) -> &'static str {
        match self.binding {
            Binding::To(_) => SCRAM_SHA_256_PLUS,
            Binding::Unsupported | Binding::NotOffered => SCRAM_SHA_256,
        }
    }

    /// The payload of SASLInitialResponse. It names no user, as libpq does: PostgreSQL takes the name
    /// from the startup packet.
    pub fn client_first(&self) -> Vec<u8> {
        format!("{}{}", self.gs2_header(), self.client_first_bare()).into_bytes()
    }

    fn gs2_header(&self) -> &'static str {
        match self.binding {
            Binding::To(_) => BOUND_HEADER,
            Binding::NotOffered => "y,,",
            Binding::Unsupported => "n,,",
        }
    }

    fn client_first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Takes the payload of AuthenticationSASLContinue and gives that of SASLResponse, in one step.
    /// With a password this runs PBKDF2, up to `max_iterations` rounds: **run it off the event loop**.
    ///
    /// # Errors
    /// As [`ScramClient::challenge`].
    pub fn server_first(&mut self, data: &[u8]) -> Result<Vec<u8>, ScramError> {
        let challenge = self.challenge(data)?;
        let keys = match &self.credential {
            ClientCredential::Password(password) => {
                SaltedPassword::derive(password, &challenge.salt, challenge.iterations).keys()
            }
            ClientCredential::Keys(keys) => keys.clone(),
        };
        self.client_final(keys)
    }

    /// Takes the payload of AuthenticationSASLContinue and gives what the password has to be stretched
    /// with. Cheap.
    ///
    /// # Errors
    /// [`ScramError`]: a nonce that does not continue ours, an iteration count or a length out of
    /// bounds, a bad form.
    pub fn challenge(&mut self, data: &[u8]) -> Result<Challenge, ScramError> {
        let State::Start = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(ScramError::OutOfOrder);
        };
        let message = text(data, MAX_SERVER_MESSAGE_BYTES)?;
        let mut attributes = Attributes::of(message);
        let nonce = attributes.expect('r')?;
        let salt = attributes.expect('s')?;
        let iterations = attributes.expect('i')?;
        attributes.skip_extensions()?;

        check_nonce(nonce)?;
        // The server has to add something of its own, or an old exchange could be played again.
        if nonce
            .strip_prefix(self.nonce.as_str())
            .is_none_or(str::is_empty)
        {
            return Err(ScramError::Nonce);
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| ScramError::Malformed("the salt is not base64"))?;
        if salt.is_empty() {
            return Err(ScramError::Malformed("the salt is empty"));
        }
        if salt.len() > MAX_SALT_BYTES {
            return Err(ScramError::TooLong {
                what: "salt",
                limit: MAX_SALT_BYTES,
            });
        }
        let iterations = parse_iterations(iterations).ok_or(ScramError::Malformed(
            "the iteration count is not a positive number",
        ))?;
        if iterations > self.max_iterations {
            let limit = self.max_iterations;
            return Err(ScramError::Iterations {
                found: iterations,
                limit,
            });
        }
        self.state = State::Challenged {
            server_first: message.to_owned(),
            nonce: nonce.to_owned(),
        };
        Ok(Challenge { salt, iterations })
    }

    /// Goes on after [`ScramClient::challenge`], with a `&SaltedPassword` stretched as it asked, or with
    /// keys; gives the payload of SASLResponse. Cheap.
    ///
    /// # Errors
    /// [`ScramError::OutOfOrder`] when no challenge was read.
    pub fn client_final(&mut self, keys: impl Into<ScramKeys>) -> Result<Vec<u8>, ScramError> {
        let State::Challenged {
            server_first,
            nonce,
        } = std::mem::replace(&mut self.state, State::Failed)
        else {
            return Err(ScramError::OutOfOrder);
        };
        let keys = keys.into();
        let binding = match &self.binding {
            Binding::To(channel_binding) => channel_binding.encoded(),
            Binding::Unsupported | Binding::NotOffered => STANDARD.encode(self.gs2_header()),
        };
        let without_proof = format!("c={binding},r={nonce}");
        let signed = [
            &self.client_first_bare(),
            ",",
            &server_first,
            ",",
            &without_proof,
        ]
        .concat();
        let stored_key = Secret::new(crypto::hash(keys.client_key()));
        let signature = crypto::hmac(stored_key.expose(), &[signed.as_bytes()]);
        let proof = crypto::xor(keys.client_key(), &signature);
        let server_signature = crypto::hmac(keys.server_key(), &[signed.as_bytes()]);
        self.state = State::Proved {
            server_signature: Secret::new(server_signature),
        };
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }

    /// Takes the payload of AuthenticationSASLFinal and checks that the server knows the verifier.
    ///
    /// # Errors
    /// [`ScramError::ServerSignature`] when it does not, [`ScramError::Refused`] when it sent an error
    /// (`e=`), [`ScramError::Malformed`] and [`ScramError::TooLong`] for a bad form.
    pub fn server_final(&mut self, data: &[u8]) -> Result<(), ScramError> {
        let State::Proved { server_signature } = std::mem::replace(&mut self.state, State::Failed)
        else {
            return Err(ScramError::OutOfOrder);
        };
        let message = text(data, MAX_SERVER_MESSAGE_BYTES)?;
        let mut attributes = Attributes::of(message);
        let signature = match attributes.next()? {
            Some(('v', signature)) => decode_key(signature)?,
            Some(('e', _)) => return Err(ScramError::Refused),
            Some(_) | None => {
                return Err(ScramError::Malformed("the server's signature is missing"));
            }
        };
        attributes.skip_extensions()?;
        if !bool::from(signature.ct_eq(server_signature.expose())) {
            return Err(ScramError::ServerSignature);
        }
        self.state = State::Complete;
        Ok(())
    }

    /// Whether the server has proved itself. An AuthenticationOk that comes before that is to be
    /// refused: a server that skips its proof may be anybody.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }
}

// The nonce of an exchange of ours is far below what we take from others.
const _: () = assert!(NONCE_RANDOM_BYTES * 4 / 3 < MAX_NONCE_BYTES);
