//! The SCRAM verifier: what a server keeps instead of a password (RFC 5803), in the form that
//! PostgreSQL stores in `pg_authid.rolpassword`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::crypto::{self, KEY_BYTES, Key};
use crate::keys::SaltedPassword;
use crate::scram::MAX_SALT_BYTES;
use crate::secret::{Password, Secret};

/// The iteration count PostgreSQL uses unless `scram_iterations` says otherwise.
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// How a stored verifier begins.
pub(crate) const PREFIX: &str = "SCRAM-SHA-256$";

/// PostgreSQL keeps the count in a signed 32-bit integer.
const MAX_STORED_ITERATIONS: u32 = i32::MAX.unsigned_abs();

/// The salt length PostgreSQL writes, and so the one of a made-up verifier.
const MOCK_SALT_BYTES: usize = 16;

/// What a server needs to check a SCRAM-SHA-256 login. Not the password, but enough to guess at one
/// offline and to pass for the server: it prints redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Secret<Key>,
    server_key: Secret<Key>,
}

/// Why a stored verifier was not understood. Says where, never what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VerifierError {
    /// It does not have the five parts of `SCRAM-SHA-256$iterations:salt$stored:server`.
    #[error("not of the form SCRAM-SHA-256$iterations:salt$stored:server")]
    Form,
    /// The iteration count is not a number from 1 to 2147483647.
    #[error("the iteration count of the SCRAM verifier is not a number from 1 to 2147483647")]
    Iterations,
    /// The salt is not base64 of 1 to 1024 bytes.
    #[error("the salt of the SCRAM verifier is not base64 of 1 to {MAX_SALT_BYTES} bytes")]
    Salt,
    /// A key is not base64 of 32 bytes.
    #[error("the {0} key of the SCRAM verifier is not base64 of 32 bytes")]
    Key(&'static str),
}

impl Verifier {
    /// Reads PostgreSQL's form, `SCRAM-SHA-256$iterations:salt$stored:server`.
    ///
    /// # Errors
    /// [`VerifierError`] when it is not of that form, with which part is wrong.
    pub fn parse(stored: &str) -> Result<Self, VerifierError> {
        let rest = stored.strip_prefix(PREFIX).ok_or(VerifierError::Form)?;
        let (parameters, keys) = rest.split_once('$').ok_or(VerifierError::Form)?;
        let (iterations, salt) = parameters.split_once(':').ok_or(VerifierError::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Form)?;
        let iterations = parse_iterations(iterations)
            .filter(|count| *count <= MAX_STORED_ITERATIONS)
            .ok_or(VerifierError::Iterations)?;
        let salt = STANDARD.decode(salt).map_err(|_| VerifierError::Salt)?;
        if salt.is_empty() || salt.len() > MAX_SALT_BYTES {
            return Err(VerifierError::Salt);
        }
        Ok(Self {
            iterations,
            salt,
            stored_key: decode_key(stored_key).ok_or(VerifierError::Key("stored"))?,
            server_key: decode_key(server_key).ok_or(VerifierError::Key("server"))?,
        })
    }

    /// Makes a verifier of a password, as `CREATE ROLE ... PASSWORD` would with this salt. PostgreSQL
    /// takes 16 random bytes and [`DEFAULT_ITERATIONS`]. Zero iterations count as one. Costs what
    /// [`SaltedPassword::derive`] costs: **run it off the event loop**.
    pub fn from_password(password: &Password, salt: &[u8], iterations: u32) -> Self {
        let iterations = iterations.max(1);
        Self::from_salted(
            &SaltedPassword::derive(password, salt, iterations),
            salt,
            iterations,
        )
    }

    /// The same from a password already stretched with this very salt and count.
    fn from_salted(salted: &SaltedPassword, salt: &[u8], iterations: u32) -> Self {
        let keys = salted.keys();
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Secret::new(crypto::hash(keys.client_key())),
            server_key: Secret::new(*keys.server_key()),
        }
    }

    /// A verifier for a user nobody knows: the same for the same name and `mock_secret`, so that asking
    /// twice does not tell that it was made up. No password fits it. A verifier made of a plain password
    /// takes this one's salt, so that it cannot be told from a mock either.
    pub fn mock(mock_secret: &[u8; 32], user: &str) -> Self {
        let derive = |purpose: &[u8]| crypto::hmac(mock_secret, &[purpose, &[0], user.as_bytes()]);
        Self {
            iterations: DEFAULT_ITERATIONS,
            salt: derive(b"salt")[..MOCK_SALT_BYTES].to_vec(),
            stored_key: Secret::new(derive(b"stored key")),
            server_key: Secret::new(derive(b"server key")),
        }
    }

    /// PostgreSQL's form, as [`Verifier::parse`] reads it. A secret, since a password can be guessed
    /// from it; that is why there is no `Display`.
    pub fn to_stored_form(&self) -> Secret<String> {
        Secret::new(format!(
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key.expose()),
            STANDARD.encode(self.server_key.expose()),
        ))
    }

    /// Whether this is the verifier of that password. Costs what [`Verifier::from_password`] costs.
    pub fn matches(&self, password: &Password) -> bool {
        let candidate = Self::from_password(password, &self.salt, self.iterations);
        self.stored_key
            .expose()
            .ct_eq(candidate.stored_key.expose())
            .into()
    }

    /// How many rounds of HMAC the password goes through.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The salt, which the server tells every client that asks.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// `StoredKey`, the hash of the client's key: what a proof is checked against.
    pub fn stored_key(&self) -> &Secret<[u8; 32]> {
        &self.stored_key
    }

    /// `ServerKey`, what the server proves itself with.
    pub fn server_key(&self) -> &Secret<[u8; 32]> {
        &self.server_key
    }
}

/// A positive decimal number without sign or leading zero (`posit-number` of RFC 5802).
pub(crate) fn parse_iterations(text: &str) -> Option<u32> {
    if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn decode_key(text: &str) -> Option<Secret<Key>> {
    let bytes = zeroize::Zeroizing::new(STANDARD.decode(text).ok()?);
    let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    Some(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by PostgreSQL 15 for `CREATE ROLE ... PASSWORD`, with SASLprep at work in most of them.
    const WRITTEN_BY_POSTGRESQL: &[(&str, &str)] = &[
        (
            "pencil",
            "SCRAM-SHA-256$4096:45/PKTlXK13G8aBUXrAsug==$wI2JiX6EhcMbUB+w9tNyioOFNgKJnWsx9gV3QTgnpeA=:5catCkQdzWWzQ3s/qzPmmy4Qvtb5Z6cORUah1NDFoJ0=",
        ),
        (
            "I\u{AD}X",
            "SCRAM-SHA-256$4096:YSDN0ojPUn+EuQy/aK8J6Q==$zfeX/PN6UEXiXOuOGzW2OsKptrNwBcS4GzHdBxSqXto=:xaMzoIVuOLyFujHKhTRXmdxMh7rcfb6SVnrD50Wn1qY=",
        ),
        (
            "\u{AA}\u{2168}",
            "SCRAM-SHA-256$4096:bTMjtX9XwDu6qYWZXm7H1g==$9WqUCimdUKQzz2QCY2m4Z4arbWSh+f84RD7KggxeoJU=:PdsQjZRIalxAKIEbiz+VVMiCCrfe0lKsaEvBxYQm7V0=",
        ),
        (
            "a\u{A0}b\u{200B}c",
            "SCRAM-SHA-256$4096:XwhDVnwsP9SYPI/V3rEItg==$fMX83xKRNJ+dIUN9LqS9DqrXzogq4EvNYLL6iQXW0Cw=:7Id09AS/3sh98EhWnz7PSoT5ActqopS0tGqqeN3T+fg=",
        ),
        (
            "\u{627}1",
            "SCRAM-SHA-256$4096:KmuQ6/5cSLiN+loLCUtOuA==$oQfHvp8tUQs57guUxvYD1TALiPybEN7iBwh+4yLkIV8=:i/OdPq+mjz6QE+QT73eSzgdCeTpqF4ATCVc3OA/utng=",
        ),
        (
            "\u{AD}",
            "SCRAM-SHA-256$4096:JrnauUUhtmqwwqIlX7W6bg==$VMB1L97v2k9kspejlb/Zrws8T6aMJP/GuQSVEpS6zKQ=:68y5GpgqvoW7j/6PJBqCoOnpiXT0I0GlJOtopj5lung=",
        ),
        (
            "tab\tx",
            "SCRAM-SHA-256$4096:LreA7mE02tjcV08kUIIL3w==$xAiU8DU1WRQNLkd2f9oVEBEVCjmWrfme97MmQAQBhYc=:CnjxjOC5MdGFWRfKRYVOgSIJuhQsqqpjhI/8HI224XU=",
        ),
        (
            "pass\u{1F600}word",
            "SCRAM-SHA-256$4096:p8QTcJdA+3xhBavyFcyl0g==$13etGNSQP3Ley4msz+c6pDjnkLPTrYaymkEsYIEEWKU=:QQpJpWfqWX0I9PyaJ/woC8+/92CO7SDEqyr79VgWrzU=",
        ),
    ];

    #[test]
    fn verifiers_are_those_postgresql_writes() {
        for (password, stored) in WRITTEN_BY_POSTGRESQL {
            let read = Verifier::parse(stored).unwrap();
            let made = Verifier::from_password(&Password::from(*password), read.salt(), 4096);
            assert_eq!(read, made, "{password:?}");
            assert_eq!(made.to_stored_form().expose(), stored);
            assert!(read.matches(&Password::from(*password)));
            assert!(!read.matches(&Password::from("another")));
        }
    }

    #[test]
    fn a_broken_verifier_is_refused_with_the_part_that_is_wrong() {
        let good = WRITTEN_BY_POSTGRESQL[0].1;
        let check = |from: &str, to: &str, expected| {
            let broken = good.replacen(from, to, 1);
            assert_ne!(broken, good);
            assert_eq!(Verifier::parse(&broken), Err(expected), "{broken}");
        };
        check("SCRAM-SHA-256$", "SCRAM-SHA-1$", VerifierError::Form);
        check("4096:", "4096", VerifierError::Form);
        check("==$", "==", VerifierError::Form);
        check("=:", "=", VerifierError::Form);
        check("4096", "0", VerifierError::Iterations);
        check("4096", "-1", VerifierError::Iterations);
        check("4096", "+1", VerifierError::Iterations);
        check("4096", "04096", VerifierError::Iterations);
        check("4096", "", VerifierError::Iterations);
        check("4096", "2147483648", VerifierError::Iterations);
        check("4096", "99999999999", VerifierError::Iterations);
        check("45/PKTlXK13G8aBUXrAsug==", "", VerifierError::Salt);
        check("Asug==", "Asug", VerifierError::Salt);
        check("Asug==", "Asuh==", VerifierError::Salt);
        check("wI2J", "", VerifierError::Key("stored"));
        check("wI2J", "wI2!", VerifierError::Key("stored"));
        check("5cat", "5cat5cat", VerifierError::Key("server"));
        assert_eq!(
            Verifier::parse(&format!("{good}:x")),
            Err(VerifierError::Key("server"))
        );
        assert_eq!(Verifier::parse(""), Err(VerifierError::Form));
    }

    #[test]
    fn a_salt_past_the_limit_is_refused() {
        let with_salt = |bytes: usize| {
            let salt = STANDARD.encode(vec![7; bytes]);
            WRITTEN_BY_POSTGRESQL[0]
                .1
                .replacen("45/PKTlXK13G8aBUXrAsug==", &salt, 1)
        };
        assert!(Verifier::parse(&with_salt(MAX_SALT_BYTES)).is_ok());
        assert_eq!(
            Verifier::parse(&with_salt(MAX_SALT_BYTES + 1)),
            Err(VerifierError::Salt)
        );
    }

    #[test]
    fn a_mock_is_stable_per_user_and_differs_between_users() {
        assert_eq!(
            Verifier::mock(&[1; 32], "alice"),
            Verifier::mock(&[1; 32], "alice")
        );
        assert_ne!(
            Verifier::mock(&[1; 32], "alice").salt(),
            Verifier::mock(&[1; 32], "bob").salt()
        );
        assert_ne!(
            Verifier::mock(&[1; 32], "alice").salt(),
            Verifier::mock(&[2; 32], "alice").salt()
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let verifier = Verifier::parse(WRITTEN_BY_POSTGRESQL[0].1).unwrap();
        let shown = format!("{verifier:?}");
        assert!(
            shown.contains("stored_key: ***") && shown.contains("server_key: ***"),
            "{shown}"
        );
    }
}
