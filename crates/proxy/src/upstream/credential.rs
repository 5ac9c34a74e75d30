//! What the proxy proves itself with at PostgreSQL, for one user.

use pglanes_auth::scram_client::Challenge;
use pglanes_auth::{Md5Hash, Password, ScramKeys, md5_response};

/// The keys of one verifier: they log in where PostgreSQL stores that very one.
#[derive(Debug, Clone)]
pub(crate) struct KeysOfVerifier {
    /// The verifier's salt and count.
    pub(crate) challenge: Challenge,
    pub(crate) keys: ScramKeys,
}

/// Everything that is known of a user's password; which of it is of use, the server's
/// question decides.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpstreamCredential {
    pub(crate) password: Option<Password>,
    pub(crate) md5: Option<Md5Hash>,
    pub(crate) keys: Option<KeysOfVerifier>,
}

/// What answers a SCRAM challenge.
pub(super) enum ScramAnswer<'a> {
    Keys(&'a ScramKeys),
    /// To be stretched first.
    Password(&'a Password),
}

impl UpstreamCredential {
    /// Nothing is known: a server that asks for anything cannot be logged in to.
    pub(crate) fn is_empty(&self) -> bool {
        self.password.is_none() && self.md5.is_none() && self.keys.is_none()
    }

    /// Whether a SCRAM exchange can be begun.
    pub(super) fn knows_scram(&self) -> bool {
        self.password.is_some() || self.keys.is_some()
    }

    /// Keys fit only the verifier they are of; a password fits any.
    pub(super) fn scram(&self, challenge: &Challenge) -> Option<ScramAnswer<'_>> {
        let fitting = self.keys.as_ref();
        let fitting = fitting.filter(|known| known.challenge == *challenge);
        fitting
            .map(|known| ScramAnswer::Keys(&known.keys))
            .or(self.password.as_ref().map(ScramAnswer::Password))
    }

    pub(super) fn md5_response(&self, user: &str, salt: [u8; 4]) -> Option<String> {
        let password = self.password.as_ref();
        password
            .map(|password| md5_response(user, password, salt))
            .or_else(|| Some(self.md5.as_ref()?.response(salt)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pglanes_auth::SaltedPassword;

    fn challenge(salt: &[u8]) -> Challenge {
        Challenge {
            salt: salt.to_vec(),
            iterations: 4096,
        }
    }

    #[test]
    fn keys_answer_only_the_verifier_they_are_of() {
        let password = Password::from("pencil");
        let keys = KeysOfVerifier {
            challenge: challenge(b"one"),
            keys: SaltedPassword::derive(&password, b"one", 1).keys(),
        };
        let mut known = UpstreamCredential {
            keys: Some(keys),
            ..UpstreamCredential::default()
        };
        let fits = |known: &UpstreamCredential, salt: &[u8]| match known.scram(&challenge(salt)) {
            Some(ScramAnswer::Keys(_)) => "keys",
            Some(ScramAnswer::Password(_)) => "password",
            None => "nothing",
        };
        assert_eq!(fits(&known, b"one"), "keys");
        assert_eq!(fits(&known, b"two"), "nothing");
        known.password = Some(password);
        assert_eq!(fits(&known, b"two"), "password");
        assert!(!format!("{known:?}").contains("pencil"));
    }
}
