//! The server's side of one SCRAM exchange: the proxy checking a client.
//!
//! A user that does not exist is answered from a made-up verifier, with the same messages, lengths and
//! work, and fails where a wrong password fails. Nothing here is dear; it may run on an event loop.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::{Choice, ConstantTimeEq};

use crate::crypto;
use crate::scram::{
    Attributes, BOUND_HEADER, ChannelBinding, NONCE_RANDOM_BYTES, SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS, ScramError, check_nonce, decode_key, text,
};
use crate::secret::Secret;
use crate::verifier::Verifier;

/// The longest message taken from a client, in bytes: PostgreSQL's own limit.
pub const MAX_CLIENT_MESSAGE_BYTES: usize = 1024;

/// The mechanisms to offer, in order of preference: PLUS only where TLS ends here, and its certificate
/// gave channel binding data.
pub fn mechanisms(channel_binding: Option<&ChannelBinding>) -> &'static [&'static str] {
    match channel_binding {
        Some(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
        None => &[SCRAM_SHA_256],
    }
}

/// One exchange with one client: [`ScramServer::client_first`], then [`ScramServer::client_final`],
/// each once. After an error every further call answers [`ScramError::OutOfOrder`]; a client gets one
/// attempt for a connection.
pub struct ScramServer {
    verifier: Verifier,
    /// False for a made-up verifier: then no proof is right.
    user_exists: Choice,
    nonce: String,
    channel_binding: Option<ChannelBinding>,
    state: State,
}

/// How far the exchange is.
enum State {
    /// Nothing has come yet.
    Start,
    /// server-first was given out.
    Challenged(Challenged),
    /// Over, well or badly.
    Ended,
}

/// What the second message is checked against.
struct Challenged {
    /// `c=` as the client must send it, fixed by its gs2 header and the channel.
    binding: String,
    /// The client's nonce and ours.
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

/// A client that proved its password.
#[derive(Debug)]
pub struct ScramOk {
    /// The payload of AuthenticationSASLFinal.
    pub server_final: Vec<u8>,
    /// `ClientKey`, recovered from the proof. With the verifier's server key it makes
    /// [`crate::ScramKeys`], which log in to a server that stores this very verifier.
    pub client_key: Secret<[u8; 32]>,
}

impl fmt::Debug for ScramServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Start => "start",
            State::Challenged(_) => "challenged",
            State::Ended => "ended",
        };
        formatter
            .debug_struct("ScramServer")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl ScramServer {
    /// Begins an exchange.
    ///
    /// `credential` is the user's verifier, `None` for a user that does not exist or has no password
    /// fit for SCRAM. `mock_secret` is random and stays the same for the life of the process, so that an
    /// unknown user is shown the same salt each time. `user` is the name from the startup packet; the
    /// one inside the SCRAM message is ignored, as PostgreSQL does. `nonce_random` is fresh randomness.
    /// `channel_binding` is present when PLUS is offered.
    pub fn new(
        credential: Option<&Verifier>,
        mock_secret: &[u8; 32],
        user: &str,
        nonce_random: [u8; NONCE_RANDOM_BYTES],
        channel_binding: Option<ChannelBinding>,
    ) -> Self {
        // Made for known users too: the same work, whoever asks.
        let mock = Verifier::mock(mock_secret, user);
        Self {
            user_exists: Choice::from(u8::from(credential.is_some())),
            verifier: credential.cloned().unwrap_or(mock),
            nonce: STANDARD.encode(nonce_random),
            channel_binding,
            state: State::Start,
        }
    }

    /// The mechanisms to put into AuthenticationSASL, in order of preference.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        mechanisms(self.channel_binding.as_ref())
    }

    /// Takes the client's choice of mechanism and its first message (SASLInitialResponse), and gives the
    /// payload of AuthenticationSASLContinue.
    ///
    /// # Errors
    /// [`ScramError`]: a mechanism not offered, a gs2 header that does not fit it, a downgrade (`y` where
    /// PLUS was offered), an authorization identity, a mandatory extension, a bad nonce, a bad form.
    pub fn client_first(&mut self, mechanism: &str, data: &[u8]) -> Result<Vec<u8>, ScramError> {
        let State::Start = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(ScramError::OutOfOrder);
        };
        let bound = match mechanism {
            SCRAM_SHA_256 => None,
            SCRAM_SHA_256_PLUS => Some(self.channel_binding.as_ref().ok_or(ScramError::Mechanism)?),
            _ => return Err(ScramError::Mechanism),
        };
        let message = text(data, MAX_CLIENT_MESSAGE_BYTES)?;
        let (binding, client_first_bare) = self.gs2_header(bound, message)?;

        let mut attributes = Attributes::of(client_first_bare);
        attributes.expect('n')?;
        let client_nonce = attributes.expect('r')?;
        check_nonce(client_nonce)?;
        attributes.skip_extensions()?;

        let nonce = format!("{client_nonce}{}", self.nonce);
        let salt = STANDARD.encode(self.verifier.salt());
        let server_first = format!("r={nonce},s={salt},i={}", self.verifier.iterations());
        self.state = State::Challenged(Challenged {
            binding,
            nonce,
            client_first_bare: client_first_bare.to_owned(),
            server_first: server_first.clone(),
        });
        Ok(server_first.into_bytes())
    }

    /// Splits off the gs2 header and checks it against the mechanism; gives the `c=` that has to follow
    /// in the second message, and the rest of the first.
    fn gs2_header<'a>(
        &self,
        bound: Option<&ChannelBinding>,
        message: &'a str,
    ) -> Result<(String, &'a str), ScramError> {
        let malformed = ScramError::Malformed("the gs2 header is not n, y or p=");
        let (flag, rest) = message.split_once(',').ok_or(malformed)?;
        let (identity, bare) = rest.split_once(',').ok_or(malformed)?;
        let binding = match (flag, bound) {
            ("n", None) => STANDARD.encode("n,,"),
            ("y", None) if self.channel_binding.is_some() => return Err(ScramError::Downgrade),
            ("y", None) => STANDARD.encode("y,,"),
            (flag, Some(bound)) if BOUND_HEADER.strip_suffix(",,") == Some(flag) => bound.encoded(),
            ("n" | "y", Some(_)) => return Err(ScramError::BindingMismatch),
            (flag, _) if flag.starts_with("p=") => return Err(ScramError::BindingMismatch),
            _ => return Err(malformed),
        };
        match identity {
            "" => Ok((binding, bare)),
            identity if identity.starts_with("a=") => Err(ScramError::AuthorizationIdentity),
            _ => Err(malformed),
        }
    }

    /// Takes the client's second message (SASLResponse). On success the client is who it says, and gets
    /// [`ScramOk::server_final`] and AuthenticationOk.
    ///
    /// # Errors
    /// [`ScramError::Proof`] for a wrong password and for an unknown user alike; [`ScramError`] otherwise
    /// for a nonce or channel binding that does not match, or a bad form.
    pub fn client_final(&mut self, data: &[u8]) -> Result<ScramOk, ScramError> {
        let State::Challenged(challenged) = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(ScramError::OutOfOrder);
        };
        let message = text(data, MAX_CLIENT_MESSAGE_BYTES)?;
        let mut attributes = Attributes::of(message);
        let binding = attributes.expect('c')?;
        let nonce = attributes.expect('r')?;
        // Extensions may follow; the proof is the last attribute, and signs all that stands before it.
        let (without_proof, proof) = loop {
            let before = attributes.position().saturating_sub(1);
            match attributes.next()? {
                Some(('p', proof)) => break (&message[..before], proof),
                Some(_) => {}
                None => return Err(ScramError::Malformed("the proof is missing")),
            }
        };
        if attributes.next()?.is_some() {
            return Err(ScramError::Malformed("something follows the proof"));
        }
        let proof = decode_key(proof)?;
        if binding != challenged.binding {
            return Err(ScramError::BindingCheck);
        }
        if nonce != challenged.nonce {
            return Err(ScramError::Nonce);
        }

        let Challenged {
            client_first_bare,
            server_first,
            ..
        } = &challenged;
        let signed = [
            client_first_bare.as_str(),
            ",",
            server_first,
            ",",
            without_proof,
        ]
        .concat();
        let stored_key = self.verifier.stored_key().expose();
        let signature = crypto::hmac(stored_key, &[signed.as_bytes()]);
        let client_key = Secret::new(crypto::xor(&proof, &signature));
        let server_signature =
            crypto::hmac(self.verifier.server_key().expose(), &[signed.as_bytes()]);
        let proved = crypto::hash(client_key.expose()).ct_eq(stored_key) & self.user_exists;
        if !bool::from(proved) {
            return Err(ScramError::Proof);
        }
        let server_final = format!("v={}", STANDARD.encode(server_signature)).into_bytes();
        Ok(ScramOk {
            server_final,
            client_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Password;

    #[test]
    fn the_exchange_of_rfc_7677_goes_as_printed() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::from_password(&Password::from("pencil"), &salt, 4096);
        let mut server = ScramServer::new(Some(&verifier), &[0; 32], "user", [0; 18], None);
        // The RFC's nonce is not base64, so it is put in place of ours.
        server.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        let server_first = server
            .client_first(SCRAM_SHA_256, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
            .unwrap();
        assert_eq!(
            String::from_utf8(server_first).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let accepted = server
            .client_final(
                b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                  p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            )
            .unwrap();
        assert_eq!(
            String::from_utf8(accepted.server_final).unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert_eq!(
            &crypto::hash(accepted.client_key.expose()),
            verifier.stored_key().expose()
        );
    }
}
