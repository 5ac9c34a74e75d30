//! TLS on the side of PostgreSQL, by the parameters of libpq ("Database Connection Control Functions").

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};

use super::verifier::{Names, Verifier};
use super::{ALPN, Paths, TlsError, TlsFile, files, provider};
use crate::secrets::{Process, Surroundings};

/// The TLS parameters of `upstream.url`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// `sslmode`.
    pub mode: TlsMode,
    /// `sslrootcert`.
    pub roots: Roots,
    /// `sslcert` and `sslkey`.
    pub identity: Option<ClientIdentity>,
    /// `sslnegotiation`.
    pub negotiation: Negotiation,
    /// `channel_binding`.
    pub channel_binding: BindChannel,
}

/// libpq's modes, from trusting to careful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Where the server refuses a login without.
    Allow,
    /// Where the server has it.
    #[default]
    Prefer,
    /// Always, with any certificate.
    Require,
    /// Always, with a certificate of a known authority.
    VerifyCa,
    /// Always, with a certificate of a known authority for this host.
    VerifyFull,
}

/// Who may sign the server's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Nobody was named.
    #[default]
    None,
    /// Those the operating system trusts.
    System,
    /// Those of a file.
    File(PathBuf),
}

/// What the proxy shows of itself to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Negotiation {
    /// The server is asked first, as all versions understand.
    #[default]
    Postgres,
    /// At once: one round trip less, since PostgreSQL 17.
    Direct,
}

/// Whether the login is bound to the TLS connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindChannel {
    /// Never.
    Disable,
    /// Where the server offers it.
    #[default]
    Prefer,
    /// A login without is given up.
    Require,
}

/// What connections to the server are opened with, until files change.
#[derive(Clone, Debug)]
pub struct LoadedUpstreamTls {
    /// For each handshake.
    pub config: Arc<ClientConfig>,
}

impl TlsMode {
    /// Whether a connection without TLS is out of the question.
    pub fn is_required(self) -> bool {
        self >= Self::Require
    }
}

impl UpstreamTls {
    /// What connections to the server need; `None` where TLS is never used.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(&self) -> Result<Option<LoadedUpstreamTls>, TlsError> {
        self.load_from(&Process::default())
    }

    pub(crate) fn load_from(
        &self,
        surroundings: &dyn Surroundings,
    ) -> Result<Option<LoadedUpstreamTls>, TlsError> {
        if self.mode == TlsMode::Disable {
            return Ok(None);
        }
        let unusable =
            |error: rustls::Error| TlsError::new(TlsFile::Certificate, format!("TLS: {error}"));
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(surroundings)?));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(ClientIdentity { certificate, key }) => {
                let identity = files::identity(surroundings, certificate, key)?;
                let resolver = rustls::sign::SingleCertAndKey::from(identity);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // PostgreSQL resumes no session.
        config.resumption = Resumption::disabled();
        Ok(Some(LoadedUpstreamTls {
            config: Arc::new(config),
        }))
    }

    fn verifier(&self, surroundings: &dyn Surroundings) -> Result<Verifier, TlsError> {
        let (roots, given) = match &self.roots {
            Roots::None => return Ok(Verifier::of_anyone()),
            Roots::System => (system_roots()?, Vec::new()),
            Roots::File(path) => files::authorities(surroundings, path)?,
        };
        match self.mode {
            // With authorities at hand `require` is `verify-ca`, as in libpq.
            TlsMode::Require | TlsMode::VerifyCa => Verifier::of_signed(roots, given, Names::Any),
            TlsMode::VerifyFull => Verifier::of_signed(roots, given, Names::Host),
            TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer => Ok(Verifier::of_anyone()),
        }
    }

    /// The files that [`Self::load`] reads.
    pub fn files(&self) -> Paths {
        let mut files = Vec::new();
        if let Roots::File(path) = &self.roots {
            files.push(path.clone());
        }
        if let Some(identity) = &self.identity {
            files.extend([identity.certificate.clone(), identity.key.clone()]);
        }
        files
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(loaded.certs);
    if added > 0 {
        return Ok(store);
    }
    let why = loaded
        .errors
        .first()
        .map_or_else(String::new, |error| format!(": {error}"));
    Err(TlsError::new(
        TlsFile::Authorities,
        format!(
            "`sslrootcert=system`: this system has no certificate authorities{why}; install its ca-certificates, or name a file"
        ),
    ))
}
