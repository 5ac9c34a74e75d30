//! TLS on the side of the clients.

use std::path::PathBuf;
use std::sync::Arc;

use pglanes_auth::ChannelBinding;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use super::{ALPN, Paths, TlsError, TlsFile, files, provider, tls_server_end_point};
use crate::secrets::{Process, Surroundings};

/// `tls` of a lanes.yaml. Without the section clients are answered that there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who may sign clients' certificates; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether a client may do without a certificate; means nothing without `client_ca`.
    pub client_certificates: ClientCertificates,
    /// Whether a client may do without TLS.
    pub demand: TlsDemand,
}

/// Whether clients must use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsDemand {
    /// They may.
    Allow,
    /// A login over TCP without it is refused. Unix sockets never have TLS and need none.
    Require,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// One that is shown is verified.
    Request,
    /// A handshake without one fails.
    Require,
}

/// What a listener works with, until its files change.
#[derive(Clone, Debug)]
pub struct LoadedListenTls {
    /// For each handshake.
    pub config: Arc<ServerConfig>,
    /// What SCRAM-SHA-256-PLUS is bound to; `None` where the certificate's signature has no hash of its own (Ed25519).
    pub channel_binding: Option<ChannelBinding>,
}

impl ListenTls {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(&self) -> Result<LoadedListenTls, TlsError> {
        self.load_from(&Process::default())
    }

    pub(crate) fn load_from(
        &self,
        surroundings: &dyn Surroundings,
    ) -> Result<LoadedListenTls, TlsError> {
        let identity = files::identity(surroundings, &self.certificate, &self.key)?;
        let unusable =
            |file| move |error: rustls::Error| TlsError::new(file, format!("TLS: {error}"));
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable(TlsFile::Certificate))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let (roots, _) = files::authorities(surroundings, path)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = match self.client_certificates {
                    ClientCertificates::Require => verifier,
                    ClientCertificates::Request => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| {
                    TlsError::new(TlsFile::Authorities, format!("TLS: {error}"))
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let channel_binding = identity
            .end_entity_cert()
            .ok()
            .and_then(|certificate| tls_server_end_point(certificate));
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // As PostgreSQL: no resumption, which would pass by a changed certificate authority, and which
        // pays only where connections are short.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(LoadedListenTls {
            config: Arc::new(config),
            channel_binding,
        })
    }

    /// The files that [`Self::load`] reads.
    pub fn files(&self) -> Paths {
        let mut files = vec![self.certificate.clone(), self.key.clone()];
        files.extend(self.client_ca.clone());
        files
    }
}
