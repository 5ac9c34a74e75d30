//! The primitives that SCRAM is made of (RFC 5802, section 2.2), over SHA-256.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The size in bytes of a SHA-256 digest, and so of every SCRAM-SHA-256 key, proof and signature.
pub(crate) const KEY_BYTES: usize = 32;

/// A key, proof or signature as plain bytes.
pub(crate) type Key = [u8; KEY_BYTES];

/// HMAC-SHA-256 over the parts, as if they were one string.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    // An HMAC takes a key of any length (RFC 2104), so `new_from_slice` has no failing case here.
    #[allow(clippy::expect_used)]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// SHA-256, `H()` of the RFC.
pub(crate) fn hash(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}

/// Exclusive or, byte by byte.
pub(crate) fn xor(left: &Key, right: &Key) -> Key {
    std::array::from_fn(|index| left[index] ^ right[index])
}

/// `Hi()` of the RFC: PBKDF2 with HMAC-SHA-256 and one block of output. Zero iterations count as one.
pub(crate) fn stretch(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mut output = [0; KEY_BYTES];
    // Its only error is a key length that the HMAC refuses, and HMAC refuses none.
    #[allow(clippy::expect_used)]
    pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, iterations.max(1), &mut output)
        .expect("HMAC takes any key length");
    output
}

/// A password as PostgreSQL feeds it to PBKDF2: SASLprep (RFC 4013) where that succeeds, and the bytes
/// as they are where it does not. PostgreSQL also refuses a preparation that leaves nothing.
pub(crate) fn prepared(password: &str) -> Zeroizing<Vec<u8>> {
    let bytes = match stringprep::saslprep(password) {
        Ok(Cow::Owned(text)) => {
            let text = Zeroizing::new(text);
            let chosen = if text.is_empty() {
                password
            } else {
                text.as_str()
            };
            chosen.as_bytes().to_vec()
        }
        Ok(Cow::Borrowed(_)) | Err(_) => password.as_bytes().to_vec(),
    };
    Zeroizing::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_preparation(password: &str, expected: &str) {
        assert_eq!(
            prepared(password).as_slice(),
            expected.as_bytes(),
            "{password:?}"
        );
    }

    #[test]
    fn passwords_are_prepared_as_rfc_4013_and_postgresql_do() {
        check_preparation("pencil", "pencil");
        // The examples of RFC 4013, section 3.
        check_preparation("I\u{AD}X", "IX");
        check_preparation("user", "user");
        check_preparation("USER", "USER");
        check_preparation("\u{AA}", "a");
        check_preparation("\u{2168}", "IX");
        // The RFC forbids these two; PostgreSQL then uses the bytes as they came.
        check_preparation("\u{7}", "\u{7}");
        check_preparation("\u{627}1", "\u{627}1");
        // A space that is not ASCII becomes one; U+200B is such a space before it is "nothing".
        check_preparation("a\u{A0}b\u{200B}c", "a b c");
        // Nothing would be left.
        check_preparation("\u{AD}", "\u{AD}");
        check_preparation("", "");
        // Unassigned in Unicode 3.2, which the RFC is written for.
        check_preparation("\u{1F600}\u{AA}", "\u{1F600}\u{AA}");
    }

    #[test]
    fn pbkdf2_matches_a_published_vector() {
        // RFC 7914, section 11: PBKDF2-HMAC-SHA-256 ("passwd", "salt", 1), its first 32 bytes.
        let expected = [
            0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f, 0xec, 0x16, 0x91, 0xc2, 0x25, 0x44,
            0xb6, 0x05, 0xf9, 0x41, 0x85, 0x21, 0x6d, 0xde, 0x04, 0x65, 0xe6, 0x8b, 0x9d, 0x57,
            0xc2, 0x0d, 0xac, 0xbc,
        ];
        assert_eq!(stretch(b"passwd", b"salt", 1), expected);
        assert_eq!(stretch(b"passwd", b"salt", 0), expected);
        assert_ne!(stretch(b"passwd", b"salt", 2), expected);
    }
}
