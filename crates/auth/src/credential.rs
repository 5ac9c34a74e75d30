//! What is stored about a user, in any of the forms that `pg_authid` and user lists hold.

use thiserror::Error;

use crate::md5::Md5Hash;
use crate::secret::Password;
use crate::verifier::{PREFIX, Verifier, VerifierError};

/// One user's stored credential. Prints redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredCredential {
    /// The password itself.
    Password(Password),
    /// A SCRAM-SHA-256 verifier: checks a client; logs in to a server only with the keys of
    /// [`crate::ScramKeys`].
    Scram(Verifier),
    /// An md5 hash over password and user name: good for md5 on both sides, of no use for SCRAM.
    Md5(Md5Hash),
}

/// Why a stored credential was not understood. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// It begins like a SCRAM verifier and is none. Taking it for a password would hide the mistake.
    #[error(transparent)]
    Verifier(#[from] VerifierError),
    /// It is empty. PostgreSQL accepts no empty password either.
    #[error("the password is empty")]
    Empty,
}

impl StoredCredential {
    /// Tells the form by how it begins, as PostgreSQL does: `SCRAM-SHA-256$...`, `md5` and 32 lower-case
    /// hexadecimal digits, else a password.
    ///
    /// # Errors
    /// [`CredentialError`] when it is empty, or begins like a verifier and is not one.
    pub fn parse(stored: &str) -> Result<Self, CredentialError> {
        if stored.is_empty() {
            return Err(CredentialError::Empty);
        }
        if stored.starts_with(PREFIX) {
            return Ok(Self::Scram(Verifier::parse(stored)?));
        }
        Ok(match Md5Hash::parse(stored) {
            Some(hash) => Self::Md5(hash),
            None => Self::Password(Password::from(stored)),
        })
    }

    /// The verifier that SCRAM logins are checked against: the stored one, or one made of the password
    /// with this salt and count (dear: see [`Verifier::from_password`]). `None` for an md5 hash.
    pub fn verifier(&self, salt: &[u8], iterations: u32) -> Option<Verifier> {
        match self {
            Self::Password(password) => Some(Verifier::from_password(password, salt, iterations)),
            Self::Scram(verifier) => Some(verifier.clone()),
            Self::Md5(_) => None,
        }
    }

    /// The hash that md5 logins of that user need. `None` for a SCRAM verifier.
    pub fn md5(&self, user: &str) -> Option<Md5Hash> {
        match self {
            Self::Password(password) => Some(Md5Hash::of(user, password)),
            Self::Md5(hash) => Some(hash.clone()),
            Self::Scram(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:45/PKTlXK13G8aBUXrAsug==$wI2JiX6EhcMbUB+w9tNyioOFNgKJnWsx9gV3QTgnpeA=:5catCkQdzWWzQ3s/qzPmmy4Qvtb5Z6cORUah1NDFoJ0=";
    const MD5: &str = "md57474753e4b2f9e23953d5977773aabb0";

    #[test]
    fn each_form_is_told_by_how_it_begins() {
        assert!(matches!(
            StoredCredential::parse(VERIFIER),
            Ok(StoredCredential::Scram(_))
        ));
        assert!(matches!(
            StoredCredential::parse(MD5),
            Ok(StoredCredential::Md5(_))
        ));
        for password in ["pencil", "md5", "md5hash of mine", "SCRAM-SHA-256", " "] {
            let expected = StoredCredential::Password(Password::from(password));
            assert_eq!(StoredCredential::parse(password), Ok(expected));
        }
    }

    #[test]
    fn a_broken_verifier_is_no_password() {
        let broken = CredentialError::Verifier(VerifierError::Form);
        assert_eq!(StoredCredential::parse("SCRAM-SHA-256$4096"), Err(broken));
        assert_eq!(StoredCredential::parse(""), Err(CredentialError::Empty));
    }

    #[test]
    fn each_form_serves_the_methods_it_can() {
        let password = StoredCredential::parse("pencil").unwrap();
        let scram = StoredCredential::parse(VERIFIER).unwrap();
        let md5 = StoredCredential::parse(MD5).unwrap();
        let salt = Verifier::parse(VERIFIER).unwrap().salt().to_vec();
        assert_eq!(
            password.verifier(&salt, 4096),
            scram.verifier(b"ignored", 1)
        );
        assert_eq!(md5.verifier(&salt, 4096), None);
        assert_eq!(password.md5("m1"), md5.md5("ignored"));
        assert_eq!(scram.md5("m1"), None);
    }

    #[test]
    fn debug_and_errors_show_nothing_of_it() {
        for stored in ["canary-pencil", VERIFIER, MD5] {
            let shown = format!("{:?}", StoredCredential::parse(stored).unwrap());
            assert!(shown.contains("***"), "{shown}");
            for secret in ["canary", "wI2J", "5cat", "7474"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        let error = StoredCredential::parse("SCRAM-SHA-256$canary").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
