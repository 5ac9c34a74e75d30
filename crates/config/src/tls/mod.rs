//! TLS: what a lanes.yaml says of it, and what rustls needs for it, made out of the files that are named there.
//!
//! - `files`: certificates and keys in PEM
//! - `listen`: the side of the clients ([`ListenTls`])
//! - `upstream`: the side of PostgreSQL, by libpq's parameters ([`UpstreamTls`])
//! - `verifier`: whether PostgreSQL's certificate is believed, by libpq's modes
//! - `certificate`: what is read out of a certificate: channel binding data, names
//!
//! A model holds paths only. `load` reads the files, whenever it is called: that is how certificates change without a
//! restart. The cryptography is ring's.

mod certificate;
mod files;
mod listen;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod upstream;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use thiserror::Error;

pub use certificate::{certificate_hash, common_name, tls_server_end_point};
pub use listen::{ClientCertificates, ListenTls, LoadedListenTls, TlsDemand};
pub use upstream::{
    BindChannel, ClientIdentity, LoadedUpstreamTls, Negotiation, Roots, TlsMode, UpstreamTls,
};

/// The protocol's name in ALPN, as PostgreSQL 17 and its clients know it.
pub const ALPN: &[u8] = b"postgresql";

/// Which part of a TLS section a file stands for: with it the mistake's place in lanes.yaml is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// `certificate`, or `sslcert` of a URL.
    Certificate,
    /// `key`, or `sslkey`.
    Key,
    /// `client_ca`, or `sslrootcert`.
    Authorities,
}

/// Why TLS material cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TlsError {
    /// The file that is to blame.
    pub file: TlsFile,
    /// What is wrong and what would be right; repeats nothing of a key.
    pub message: String,
}

impl TlsError {
    fn new(file: TlsFile, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { file, message }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Paths in a fixed order, for whoever watches them.
type Paths = Vec<PathBuf>;
