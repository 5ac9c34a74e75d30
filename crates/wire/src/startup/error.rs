//! Why a first packet was refused.

use thiserror::Error;

use super::{MAX_STARTUP_PACKET, MAX_STARTUP_PARAMETERS};

/// A first packet that cannot be served, in the words PostgreSQL has for it. All are fatal to
/// the connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartupError {
    /// A length below the 8 bytes of the smallest packet or above the limit: most often a
    /// client that speaks another protocol, such as HTTP.
    #[error(
        "invalid length of startup packet: {length} bytes, 8 to {MAX_STARTUP_PACKET} are possible"
    )]
    Length {
        /// The length word as it was read.
        length: u32,
    },
    /// A cancel request without a whole process id and a key of 4 to 256 bytes.
    #[error("invalid length of cancel request packet: {length} bytes of process id and key")]
    CancelLength {
        /// Bytes behind the request code.
        length: usize,
    },
    /// A protocol other than 3, such as the one of PostgreSQL 7.3.
    #[error("unsupported frontend protocol {major}.{minor}: protocol 3.0 and later 3.x are served")]
    Version {
        /// The major version asked for.
        major: u16,
        /// The minor version asked for.
        minor: u16,
    },
    /// Texts that do not end, or bytes behind the terminator.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    /// No user, or an empty one.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// A name or value that is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\" in startup packet")]
    NotUtf8,
    /// `replication` that is neither a boolean nor "database".
    #[error(
        "invalid value for parameter \"replication\": \"{0}\" (valid are \"false\", 0, \"true\", 1, \"database\")"
    )]
    Replication(String),
    /// Something in `options` that is not a setting.
    #[error("invalid command-line argument for server process: {0}")]
    Argument(String),
    /// A setting in `options` without `=value`.
    #[error("{0} requires a value")]
    ValueMissing(String),
    /// A setting with a name that means something else at startup, such as `USER` or
    /// `options=-cuser=...`: no PostgreSQL has a setting of that name.
    #[error("unrecognized configuration parameter \"{0}\"")]
    NotASetting(String),
    /// More settings than any client has use for.
    #[error("startup packet with more than {MAX_STARTUP_PARAMETERS} settings")]
    TooManyParameters,
}

impl StartupError {
    /// The SQLSTATE the client is told.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::CancelLength { .. } | Self::Layout => "08P01",
            Self::Version { .. } => "0A000",
            Self::NoUser => "28000",
            Self::NotUtf8 => "22021",
            Self::Replication(_) => "22023",
            Self::NotASetting(_) => "42704",
            Self::Argument(_) | Self::ValueMissing(_) => "42601",
            Self::TooManyParameters => "54000",
        }
    }
}
