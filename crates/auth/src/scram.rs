//! What both sides of a SCRAM exchange share: names, limits, errors, channel binding, and the reader of
//! `name=value` attributes (RFC 5802, section 7).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use crate::crypto::Key;

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding, offered on TLS only.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The longest nonce taken from the other side, in bytes.
pub const MAX_NONCE_BYTES: usize = 1024;
/// The longest salt taken from a server or a stored verifier, in bytes.
pub const MAX_SALT_BYTES: usize = 1024;

/// The gs2 header of a client bound to a `tls-server-end-point` (RFC 5929).
pub(crate) const BOUND_HEADER: &str = "p=tls-server-end-point,,";

/// Random bytes in a nonce of ours, as many as PostgreSQL uses: 24 characters.
pub(crate) const NONCE_RANDOM_BYTES: usize = 18;

/// Why an exchange ended. Says which rule was broken and repeats nothing of the messages beyond an
/// iteration count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScramError {
    /// The message does not have the form the protocol asks for at this point.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// A message, nonce or salt is longer than the limit.
    #[error("the SCRAM {what} is longer than {limit} bytes")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The client chose a mechanism that was not offered.
    #[error("the client selected a SASL mechanism that was not offered")]
    Mechanism,
    /// The client demands an extension (`m=`); nobody has defined one.
    #[error("the other side requires a SCRAM extension that is not supported")]
    MandatoryExtension,
    /// The client wants to act as somebody else (`a=`). PostgreSQL refuses that too.
    #[error("the client uses an authorization identity, which is not supported")]
    AuthorizationIdentity,
    /// The client says that the server offers no channel binding, and it does: somebody between them
    /// may have removed the offer.
    #[error(
        "the client supports channel binding but was not told that the server does: possible downgrade"
    )]
    Downgrade,
    /// The mechanism and the message disagree on whether the channel is bound, or the binding is of a
    /// type not offered.
    #[error("the channel binding of the SCRAM message does not fit the selected mechanism")]
    BindingMismatch,
    /// The channel binding data are not those of this connection: somebody sits in between.
    #[error("SCRAM channel binding check failed")]
    BindingCheck,
    /// The nonce is not the one of this exchange.
    #[error("the SCRAM nonce does not match")]
    Nonce,
    /// The server asks for more (or fewer) rounds than the client is willing to compute.
    #[error("the server asks for {found} SCRAM iterations, where 1 to {limit} are allowed")]
    Iterations {
        /// What the server asked for.
        found: u32,
        /// The client's limit.
        limit: u32,
    },
    /// The proof does not fit: a wrong password, or no such user.
    #[error("SCRAM authentication failed")]
    Proof,
    /// The server could not prove that it knows the verifier.
    #[error(
        "the server's SCRAM signature is wrong: it is not the server the password is meant for"
    )]
    ServerSignature,
    /// The server ended the exchange with an error of its own.
    #[error("the server ended the SCRAM exchange with an error")]
    Refused,
    /// The call does not fit the point the exchange has reached; an exchange that failed stays failed.
    #[error("a SCRAM message out of order")]
    OutOfOrder,
}

impl ScramError {
    /// The SQLSTATE PostgreSQL answers a client with: 28P01 where the password is to blame, 28000 where
    /// the channel is, 0A000 for what is not supported, else 08P01, a breach of protocol.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Proof => "28P01",
            Self::Downgrade | Self::BindingCheck => "28000",
            Self::MandatoryExtension | Self::AuthorizationIdentity => "0A000",
            Self::Malformed(_)
            | Self::TooLong { .. }
            | Self::Mechanism
            | Self::BindingMismatch
            | Self::Nonce
            | Self::Iterations { .. }
            | Self::ServerSignature
            | Self::Refused
            | Self::OutOfOrder => "08P01",
        }
    }
}

/// What ties an exchange to its TLS connection: the `tls-server-end-point` data, the hash of the
/// server's certificate (RFC 5929, section 4).
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBinding(Vec<u8>);

impl ChannelBinding {
    /// From the hash of the server's certificate, taken with the hash of its signature algorithm, or
    /// SHA-256 where that is MD5 or SHA-1.
    pub fn tls_server_end_point(certificate_hash: Vec<u8>) -> Self {
        Self(certificate_hash)
    }

    /// The value of `c=` on a channel so bound.
    pub(crate) fn encoded(&self) -> String {
        STANDARD.encode([BOUND_HEADER.as_bytes(), &self.0].concat())
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChannelBinding({} bytes)", self.0.len())
    }
}

/// A message as text: within the limit, UTF-8, no zero byte.
pub(crate) fn text(data: &[u8], limit: usize) -> Result<&str, ScramError> {
    if data.len() > limit {
        return Err(ScramError::TooLong {
            what: "message",
            limit,
        });
    }
    if data.contains(&0) {
        return Err(ScramError::Malformed("it contains a zero byte"));
    }
    std::str::from_utf8(data).map_err(|_| ScramError::Malformed("it is not UTF-8"))
}

/// Checks a nonce: not empty, not too long, printable ASCII. (It cannot hold a comma: that ended it.)
pub(crate) fn check_nonce(nonce: &str) -> Result<(), ScramError> {
    if nonce.len() > MAX_NONCE_BYTES {
        return Err(ScramError::TooLong {
            what: "nonce",
            limit: MAX_NONCE_BYTES,
        });
    }
    if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ScramError::Malformed("the nonce is not printable text"));
    }
    Ok(())
}

/// A proof or signature: strict base64 of exactly 32 bytes.
pub(crate) fn decode_key(encoded: &str) -> Result<Key, ScramError> {
    // 32 bytes are 44 characters of base64: nothing else is decoded at all.
    let bytes = (encoded.len() == 44)
        .then(|| STANDARD.decode(encoded).ok())
        .flatten();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(ScramError::Malformed(
            "a proof or signature is not base64 of 32 bytes",
        ))
}

/// Reads the attributes of a message one after the other.
pub(crate) struct Attributes<'a> {
    message: &'a str,
    /// Where the next attribute begins; past the end when none is left.
    position: usize,
}

impl<'a> Attributes<'a> {
    /// The attributes of a whole message.
    pub(crate) fn of(message: &'a str) -> Self {
        Self {
            message,
            position: 0,
        }
    }

    /// Where the next attribute begins.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next attribute, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<(char, &'a str)>, ScramError> {
        let Some(rest) = self.message.get(self.position..) else {
            return Ok(None);
        };
        let attribute = rest.split_once(',').map_or(rest, |(first, _)| first);
        self.position += attribute.len() + 1;
        let mut characters = attribute.chars();
        match (characters.next(), characters.next()) {
            (Some(name), Some('=')) if name.is_ascii_alphabetic() => {
                Ok(Some((name, characters.as_str())))
            }
            _ => Err(ScramError::Malformed(
                "expected an attribute of the form name=value",
            )),
        }
    }

    /// The value of the next attribute, which has to have that name.
    pub(crate) fn expect(&mut self, name: char) -> Result<&'a str, ScramError> {
        match self.next()? {
            Some((found, value)) if found == name => Ok(value),
            Some(('m', _)) => Err(ScramError::MandatoryExtension),
            Some(_) => Err(ScramError::Malformed(
                "an attribute other than the expected one",
            )),
            None => Err(ScramError::Malformed("it ends too early")),
        }
    }

    /// Reads to the end past optional extensions, which RFC 5802 says to ignore.
    pub(crate) fn skip_extensions(&mut self) -> Result<(), ScramError> {
        while self.next()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_in_order_to_the_end() {
        let mut attributes = Attributes::of("r=a=b,x=,c=d");
        assert_eq!(attributes.expect('r'), Ok("a=b"));
        assert_eq!(attributes.position(), 6);
        assert_eq!(attributes.next(), Ok(Some(('x', ""))));
        assert_eq!(attributes.expect('c'), Ok("d"));
        assert_eq!(attributes.next(), Ok(None));
        assert_eq!(attributes.next(), Ok(None));
        assert!(attributes.expect('c').is_err());
    }

    #[test]
    fn what_is_no_attribute_is_refused() {
        for message in ["", ",", "r", "=a", "1=a", "é=a", "rr=a", "r=a,", "r=a,,c=b"] {
            assert!(
                Attributes::of(message).skip_extensions().is_err(),
                "{message:?}"
            );
        }
    }

    #[test]
    fn a_nonce_is_printable_and_bounded() {
        assert_eq!(check_nonce(&"x".repeat(MAX_NONCE_BYTES)), Ok(()));
        assert!(check_nonce(&"x".repeat(MAX_NONCE_BYTES + 1)).is_err());
        for nonce in ["", " ", "a b", "a\u{7f}", "é", "\n"] {
            assert!(check_nonce(nonce).is_err(), "{nonce:?}");
        }
    }

    #[test]
    fn base64_is_strict_and_of_the_exact_length() {
        let good = STANDARD.encode([9; 32]);
        assert_eq!(decode_key(&good), Ok([9; 32]));
        let loose = format!("{}l=", &good[..42]);
        for bad in [
            "",
            &good[..43],
            &good[..40],
            &loose,
            &STANDARD.encode([9; 31]),
            &STANDARD.encode([9; 33]),
        ] {
            assert!(decode_key(bad).is_err(), "{bad}");
        }
    }
}
