//! The first packet of a connection, which has a length but no type byte: a startup, a
//! request for encryption, or a cancel (PostgreSQL documentation, "Message Formats", and
//! `ProcessStartupPacket` of its backend, whose rules and error codes are followed here).
//!
//! [`parse_first`] reads one, `write_*` say one to a server. The value of `options` is taken
//! apart by `options`, as the backend takes its command line apart.

mod error;
mod options;
#[cfg(test)]
mod tests;
mod write;

pub use error::StartupError;
pub use write::{write_cancel_request, write_ssl_request, write_startup};

use crate::cancel_key;

/// The largest first packet that is read, in bytes with its length word: PostgreSQL's
/// `MAX_STARTUP_PACKET_LENGTH`. Nothing unauthenticated takes more memory than this.
pub const MAX_STARTUP_PACKET: usize = 10_000;

/// The most settings one startup packet may carry. Drivers send about ten; the bound keeps
/// the search for repeated names from becoming quadratic work for a stranger.
pub const MAX_STARTUP_PARAMETERS: usize = 512;

/// Protocol 3.0 as it stands in a startup packet: major version in the upper 16 bits.
pub const PROTOCOL_3_0: i32 = 3 << 16;
/// Protocol 3.2 (PostgreSQL 18): cancel keys of up to 256 bytes.
pub const PROTOCOL_3_2: i32 = (3 << 16) | 2;

const CANCEL_REQUEST: i32 = (1234 << 16) | 5678;
const SSL_REQUEST: i32 = (1234 << 16) | 5679;
const GSSENC_REQUEST: i32 = (1234 << 16) | 5680;

/// The first byte of a TLS handshake record: a client that skips SSLRequest.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a client may say first on a connection, or again after a request for encryption.
#[derive(Debug, PartialEq, Eq)]
pub enum First<'a> {
    /// SSLRequest: to be answered with one byte, `S` or `N`. Bytes already buffered behind it
    /// must be refused (CVE-2021-3935); `consumed` tells whether there are any.
    Ssl,
    /// GSSENCRequest: answered with `N`; an SSLRequest may still follow.
    GssEnc,
    /// CancelRequest: no answer is expected.
    Cancel(CancelRequest<'a>),
    /// A session is asked for.
    Startup(Startup),
    /// TLS without SSLRequest (`sslnegotiation=direct`). Nothing is consumed: the byte
    /// belongs to the handshake.
    DirectTls,
}

/// A request to cancel what the session with this process id and key is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CancelRequest<'a> {
    /// The process id the client was given in BackendKeyData.
    pub pid: i32,
    /// The key that came with it: 4 bytes in protocol 3.0, up to 256 since 3.2.
    pub key: &'a [u8],
}

// The key is a secret: who has it can stop the session's queries.
impl std::fmt::Debug for CancelRequest<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CancelRequest")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// A protocol version as the client asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion {
    /// 3 in every startup that [`parse_first`] accepts.
    pub major: u16,
    /// Any number: libpq probes with 9999. A newer minor is negotiated down, never refused.
    pub minor: u16,
}

impl ProtocolVersion {
    /// Bytes of secret in the cancel key of a session of this version.
    pub fn cancel_secret(self) -> usize {
        if self.code() >= PROTOCOL_3_2 {
            cancel_key::SECRET_3_2
        } else {
            cancel_key::SECRET_3_0
        }
    }

    /// The version as one number, as it is sent.
    pub fn code(self) -> i32 {
        (i32::from(self.major) << 16) | i32::from(self.minor)
    }
}

/// A startup packet, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The protocol version asked for; the major version is 3.
    pub version: ProtocolVersion,
    /// Who wants to log in; never empty.
    pub user: String,
    /// The database asked for; the user's name where none was given.
    pub database: String,
    /// The value of `replication` when it asks for a replication connection (`true` in any
    /// spelling, or `database`). An explicit "off" is an ordinary session: `None`.
    pub replication: Option<String>,
    /// Every other setting, application_name included, those inside `options` first as the
    /// backend applies them first. One entry a name (compared without case), the last value
    /// given wins.
    pub parameters: Vec<(String, String)>,
    /// Names of the protocol options (`_pq_.*`) asked for, to be listed in
    /// NegotiateProtocolVersion: none are known.
    pub unknown_options: Vec<String>,
}

impl Startup {
    /// The value of a setting, its name compared without case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the first packet at the start of `bytes`, and how many bytes it took: `None` while
/// it is incomplete.
///
/// # Errors
/// A length out of bounds (refused before the rest arrives), another protocol than 3, or a
/// packet PostgreSQL would refuse. [`StartupError::sqlstate`] is what the client is told.
pub fn parse_first(bytes: &[u8]) -> Result<Option<(First<'_>, usize)>, StartupError> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Some((First::DirectTls, 0)));
    }
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    let total = usize::try_from(length).unwrap_or(usize::MAX);
    if !(8..=MAX_STARTUP_PACKET).contains(&total) {
        return Err(StartupError::Length { length });
    }
    let Some((code, body)) = rest
        .get(..total - 4)
        .and_then(|it| it.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let first = match i32::from_be_bytes(*code) {
        CANCEL_REQUEST => First::Cancel(parse_cancel(body)?),
        SSL_REQUEST if body.is_empty() => First::Ssl,
        GSSENC_REQUEST if body.is_empty() => First::GssEnc,
        SSL_REQUEST | GSSENC_REQUEST => return Err(StartupError::Length { length }),
        code => First::Startup(parse_startup(code, body)?),
    };
    Ok(Some((first, total)))
}

fn parse_cancel(body: &[u8]) -> Result<CancelRequest<'_>, StartupError> {
    let invalid = StartupError::CancelLength { length: body.len() };
    let Some((pid, key)) = body.split_first_chunk::<4>() else {
        return Err(invalid);
    };
    if !(cancel_key::MIN_SECRET..=cancel_key::MAX_SECRET).contains(&key.len()) {
        return Err(invalid);
    }
    Ok(CancelRequest {
        pid: i32::from_be_bytes(*pid),
        key,
    })
}

fn parse_startup(code: i32, body: &[u8]) -> Result<Startup, StartupError> {
    let [a, b, c, d] = code.to_be_bytes();
    let version = ProtocolVersion {
        major: u16::from_be_bytes([a, b]),
        minor: u16::from_be_bytes([c, d]),
    };
    if version.major != 3 {
        return Err(StartupError::Version {
            major: version.major,
            minor: version.minor,
        });
    }
    let mut given = Given::default();
    let mut rest = body;
    loop {
        // The empty name that ends the list has to be the last byte of the packet.
        let (name, after) = text(rest)?;
        if name.is_empty() {
            return if after.is_empty() {
                given.finish(version)
            } else {
                Err(StartupError::Layout)
            };
        }
        let (value, after) = text(after)?;
        given.take(name, value)?;
        rest = after;
    }
}

/// One zero-terminated text and what follows it.
fn text(bytes: &[u8]) -> Result<(&str, &[u8]), StartupError> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(StartupError::Layout)?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| StartupError::NotUtf8)?;
    Ok((text, &bytes[end + 1..]))
}

/// What has been read of a startup packet. Of a name given twice the last value counts.
#[derive(Default)]
struct Given<'a> {
    user: &'a str,
    database: &'a str,
    options: &'a str,
    replication: Option<String>,
    settings: Vec<(&'a str, &'a str)>,
    unknown_options: Vec<String>,
}

impl<'a> Given<'a> {
    fn take(&mut self, name: &'a str, value: &'a str) -> Result<(), StartupError> {
        match name {
            "user" => self.user = value,
            "database" => self.database = value,
            "options" => self.options = value,
            "replication" => self.replication = replication(value)?,
            _ if name.starts_with("_pq_.") => self.unknown_options.push(name.to_owned()),
            _ => self.settings.push((name, value)),
        }
        Ok(())
    }

    fn finish(self, version: ProtocolVersion) -> Result<Startup, StartupError> {
        if self.user.is_empty() {
            return Err(StartupError::NoUser);
        }
        let mut parameters = options::expand(self.options)?;
        if parameters.len() + self.settings.len() > MAX_STARTUP_PARAMETERS {
            return Err(StartupError::TooManyParameters);
        }
        for (name, value) in self.settings {
            set(&mut parameters, name, value);
        }
        if let Some((name, _)) = parameters.iter().find(|(name, _)| is_reserved(name)) {
            return Err(StartupError::NotASetting(name.clone()));
        }
        let database = if self.database.is_empty() {
            self.user
        } else {
            self.database
        };
        Ok(Startup {
            version,
            user: self.user.to_owned(),
            database: database.to_owned(),
            replication: self.replication,
            parameters,
            unknown_options: self.unknown_options,
        })
    }
}

/// Whether a name means something else in a startup packet. As a setting it would be passed on
/// as that: a client let in as one user could be another one at the server.
fn is_reserved(name: &str) -> bool {
    let exact = ["user", "database", "options", "replication"];
    let option = name
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("_pq_."));
    option
        || exact
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// Sets a value, over an earlier one of the same name.
fn set(parameters: &mut Vec<(String, String)>, name: &str, value: &str) {
    let known = parameters
        .iter_mut()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    match known {
        Some((_, old)) => value.clone_into(old),
        None => parameters.push((name.to_owned(), value.to_owned())),
    }
}

/// PostgreSQL's reading of `replication`: "database", or a boolean in any unique prefix.
fn replication(value: &str) -> Result<Option<String>, StartupError> {
    if value == "database" {
        return Ok(Some(value.to_owned()));
    }
    let lower = value.to_ascii_lowercase();
    let is_prefix = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    if is_prefix("true", 1) || is_prefix("yes", 1) || lower == "on" || lower == "1" {
        Ok(Some("true".to_owned()))
    } else if is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) || lower == "0" {
        Ok(None)
    } else {
        Err(StartupError::Replication(value.to_owned()))
    }
}
