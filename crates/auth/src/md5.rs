//! PostgreSQL's md5 method: `md5(md5(password || user) || salt)`, all in hexadecimal. Weak, and kept
//! only for servers and stored passwords that know nothing better.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::{Password, Secret};

/// Hexadecimal digits of an md5 sum.
const HEX_DIGITS: usize = 32;

/// What PostgreSQL stores for an md5 user: `md5` and 32 hexadecimal digits over password and user name.
/// Whoever holds it can log in with it, so it prints redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Md5Hash(Secret<String>);

impl Md5Hash {
    /// Reads the stored form: `md5` and 32 lower-case hexadecimal digits, as PostgreSQL tells one from
    /// a password. `None` when it is anything else.
    pub fn parse(stored: &str) -> Option<Self> {
        let digits = stored.strip_prefix("md5")?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (digits.len() == HEX_DIGITS && digits.bytes().all(hexadecimal))
            .then(|| Self(Secret::new(digits.to_owned())))
    }

    /// The hash PostgreSQL would store for that user.
    pub fn of(user: &str, password: &Password) -> Self {
        Self(Secret::new(hexadecimal(&[
            password.expose().as_bytes(),
            user.as_bytes(),
        ])))
    }

    /// The answer to the server's challenge with that salt: `md5` and 32 digits, to be sent with a
    /// terminating zero.
    pub fn response(&self, salt: [u8; 4]) -> String {
        format!("md5{}", hexadecimal(&[self.0.expose().as_bytes(), &salt]))
    }

    /// The stored form, as [`Md5Hash::parse`] reads it.
    pub fn to_stored_form(&self) -> Secret<String> {
        Secret::new(format!("md5{}", self.0.expose()))
    }
}

/// The answer a client gives to an md5 challenge, without the terminating zero.
pub fn md5_response(user: &str, password: &Password, salt: [u8; 4]) -> String {
    Md5Hash::of(user, password).response(salt)
}

/// Whether a client's answer (without its terminating zero) fits the stored hash and the salt it was
/// challenged with. Compared in constant time. The salt must be fresh and random for every challenge.
pub fn md5_verify(stored: &Md5Hash, salt: [u8; 4], response: &[u8]) -> bool {
    stored.response(salt).as_bytes().ct_eq(response).into()
}

/// The md5 sum of the parts, as if they were one string, in lower-case hexadecimal.
fn hexadecimal(parts: &[&[u8]]) -> String {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    let sum = Zeroizing::new(<[u8; 16]>::from(digest.finalize()));
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    let mut text = String::with_capacity(HEX_DIGITS);
    for byte in sum.iter() {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0xf));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::md5_hash;
    use proptest::prelude::*;

    #[test]
    fn the_stored_form_is_what_postgresql_writes() {
        // Written by PostgreSQL 15: CREATE ROLE m1 PASSWORD 'pencil' with password_encryption = md5.
        let written = "md57474753e4b2f9e23953d5977773aabb0";
        let hash = Md5Hash::parse(written).unwrap();
        assert_eq!(hash, Md5Hash::of("m1", &Password::from("pencil")));
        assert_eq!(hash.to_stored_form().expose(), written);
        assert_ne!(hash, Md5Hash::of("m2", &Password::from("pencil")));
        assert_eq!(format!("{hash:?}"), "Md5Hash(***)");
    }

    #[test]
    fn only_the_exact_form_is_a_hash() {
        for not_a_hash in [
            "",
            "md5",
            "md57474753e4b2f9e23953d5977773aabb",
            "md57474753e4b2f9e23953d5977773aabb01",
            "md57474753E4B2F9E23953D5977773AABB0",
            "MD57474753e4b2f9e23953d5977773aabb0",
            "md5g474753e4b2f9e23953d5977773aabb0",
        ] {
            assert_eq!(Md5Hash::parse(not_a_hash), None, "{not_a_hash:?}");
        }
    }

    #[test]
    fn verification_wants_the_whole_answer() {
        let stored = Md5Hash::of("alice", &Password::from("pencil"));
        let answer = md5_response("alice", &Password::from("pencil"), [1, 2, 3, 4]);
        assert!(md5_verify(&stored, [1, 2, 3, 4], answer.as_bytes()));
        assert!(!md5_verify(&stored, [1, 2, 3, 5], answer.as_bytes()));
        assert!(!md5_verify(&stored, [1, 2, 3, 4], &answer.as_bytes()[..34]));
        assert!(!md5_verify(
            &stored,
            [1, 2, 3, 4],
            format!("{answer}\0").as_bytes()
        ));
        assert!(!md5_verify(&stored, [1, 2, 3, 4], b""));
        let other = md5_response("alice", &Password::from("pencils"), [1, 2, 3, 4]);
        assert!(!md5_verify(&stored, [1, 2, 3, 4], other.as_bytes()));
    }

    proptest! {
        #[test]
        fn answers_are_those_of_postgres_protocol(user in ".*", password in ".*", salt: [u8; 4]) {
            let expected = md5_hash(user.as_bytes(), password.as_bytes(), salt);
            prop_assert_eq!(md5_response(&user, &Password::from(password), salt), expected);
        }
    }
}
