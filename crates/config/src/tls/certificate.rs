//! What is read out of a certificate beyond what rustls reads: how it was signed, and whom it names. Just enough DER
//! for that (X.690; RFC 5280, section 4.1); what is not as expected gives nothing.

use pglanes_auth::ChannelBinding;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The arcs before the last one of RSA's signatures (1.2.840.113549.1.1).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// ecdsa-with-SHA1 (1.2.840.10045.4.1).
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
/// The arcs before the last one of ecdsa-with-SHA2 (1.2.840.10045.4.3).
const ECDSA_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// The arcs before the last one of the SHA-2 family (2.16.840.1.101.3.4.2).
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
/// commonName (2.5.4.3).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// subjectAltName (2.5.29.17).
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// DER values, one after the other.
#[derive(Clone, Copy)]
struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// The next value: its tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().try_fold(0_usize, |sum, digit| {
                    sum.checked_mul(256)?.checked_add(usize::from(*digit))
                })?;
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }
}

#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of_signature(algorithm: &[u8]) -> Option<Self> {
        let mut values = Values(algorithm);
        let identifier = values.expect(OBJECT_IDENTIFIER)?;
        if identifier == ECDSA_SHA1 {
            return Some(Self::Sha256);
        }
        let (&last, arcs) = identifier.split_last()?;
        match (arcs, last) {
            // MD5 and SHA-1 are replaced by SHA-256 (RFC 5929, section 4.1).
            (RSA, 4 | 5) => Some(Self::Sha256),
            (RSA, 10) => Self::of_pss(values),
            (RSA, 11) | (ECDSA_SHA2, 2) => Some(Self::Sha256),
            (RSA, 12) | (ECDSA_SHA2, 3) => Some(Self::Sha384),
            (RSA, 13) | (ECDSA_SHA2, 4) => Some(Self::Sha512),
            (RSA, 14) | (ECDSA_SHA2, 1) => Some(Self::Sha224),
            _ => None,
        }
    }

    /// RSASSA-PSS names its hash in its parameters; without a word it is SHA-1 (RFC 4055, section 3.1).
    fn of_pss(mut values: Values<'_>) -> Option<Self> {
        let mut parameters = Values(values.expect(SEQUENCE)?);
        let Some((0xa0, named)) = parameters.next() else {
            return Some(Self::Sha256);
        };
        let identifier = Values(Values(named).expect(SEQUENCE)?).expect(OBJECT_IDENTIFIER)?;
        let (&last, arcs) = identifier.split_last()?;
        match (arcs, last) {
            (SHA2, 1) => Some(Self::Sha256),
            (SHA2, 2) => Some(Self::Sha384),
            (SHA2, 3) => Some(Self::Sha512),
            (SHA2, 4) => Some(Self::Sha224),
            _ => None,
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The channel binding data of a server's certificate (RFC 5929, section 4.1): its hash, by the hash of its own
/// signature. `None` where that signature has none (Ed25519), for which no binding is defined.
pub fn certificate_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut parts = Values(Values(certificate).expect(SEQUENCE)?);
    parts.expect(SEQUENCE)?;
    let hash = Hash::of_signature(parts.expect(SEQUENCE)?)?;
    Some(hash.digest(certificate))
}

/// The same, as SCRAM-SHA-256-PLUS takes it.
pub fn tls_server_end_point(certificate: &[u8]) -> Option<ChannelBinding> {
    certificate_hash(certificate).map(ChannelBinding::tls_server_end_point)
}

/// The parts of a certificate behind its validity: subject, key, extensions.
fn behind_validity(certificate: &[u8]) -> Option<Values<'_>> {
    let mut parts = Values(Values(certificate).expect(SEQUENCE)?);
    let mut parts = Values(parts.expect(SEQUENCE)?);
    let mut after_version = parts;
    if let Some((0xa0, _)) = after_version.next() {
        parts = after_version;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        parts.next()?;
    }
    Some(parts)
}

/// The common name of a certificate's subject: who a client is by its certificate. `None` where there is none, or it
/// is no text, or holds a NUL (CVE-2009-4034).
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let mut subject = Values(behind_validity(certificate)?.expect(SEQUENCE)?);
    while let Some((_, set)) = subject.next() {
        let mut attribute = Values(Values(set).expect(SEQUENCE)?);
        if attribute.expect(OBJECT_IDENTIFIER)? != COMMON_NAME {
            continue;
        }
        let (tag, text) = attribute.next()?;
        // UTF8String, PrintableString, TeletexString, IA5String.
        let is_text = matches!(tag, 0x0c | 0x13 | 0x14 | 0x16);
        let text = std::str::from_utf8(text).ok()?;
        return (is_text && !text.is_empty() && !text.contains('\0')).then(|| text.to_owned());
    }
    None
}

/// Whether a certificate has subject alternative names, which then are its only names.
pub(super) fn has_alternative_names(certificate: &[u8]) -> bool {
    let found = || {
        let mut parts = behind_validity(certificate)?;
        while let Some((tag, content)) = parts.next() {
            if tag != 0xa3 {
                continue;
            }
            let mut extensions = Values(Values(content).expect(SEQUENCE)?);
            while let Some((_, extension)) = extensions.next() {
                if Values(extension).expect(OBJECT_IDENTIFIER)? == SUBJECT_ALTERNATIVE_NAME {
                    return Some(true);
                }
            }
        }
        Some(false)
    };
    // What cannot be read has no name to fall back on.
    found().unwrap_or(true)
}
