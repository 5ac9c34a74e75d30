//! Certificates and keys in PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{TlsError, TlsFile, provider};
use crate::secrets::Surroundings;

/// Reads the certificates of a file, in its order.
pub(super) fn certificates(
    surroundings: &dyn Surroundings,
    path: &Path,
    file: TlsFile,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let shown = path.display();
    let wrong = |message: String| TlsError::new(file, message);
    let bytes = surroundings.certificate_file(path).map_err(wrong)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(format!(
            "{shown} holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)"
        ))),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(format!(
            "{shown} is not a certificate in PEM: {error}"
        ))),
    }
}

/// Reads certificate authorities; each must be usable as one.
pub(super) fn authorities(
    surroundings: &dyn Surroundings,
    path: &Path,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let given = certificates(surroundings, path, TlsFile::Authorities)?;
    let mut store = RootCertStore::empty();
    for certificate in &given {
        let added = store.add(certificate.clone());
        added.map_err(|error| {
            let shown = path.display();
            TlsError::new(
                TlsFile::Authorities,
                format!("{shown} holds a certificate that cannot be used: {error}"),
            )
        })?;
    }
    Ok((store, given))
}

/// Reads a certificate with its chain, and the key that belongs to it.
pub(super) fn identity(
    surroundings: &dyn Surroundings,
    certificate: &Path,
    key: &Path,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(surroundings, certificate, TlsFile::Certificate)?;
    let wrong_key = |message: String| TlsError::new(TlsFile::Key, message);
    let text = surroundings.secret_file(key).map_err(wrong_key)?;
    let shown = key.display();
    let der = PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|error| {
        wrong_key(match error {
            pem::Error::NoItemsFound if text.expose().contains("ENCRYPTED") => format!(
                "{shown} is an encrypted key; decrypt it (openssl pkey -in {shown}) and keep it to its owner"
            ),
            pem::Error::NoItemsFound => {
                format!("{shown} holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`)")
            }
            // The parser's words may hold a part of what it read.
            _ => format!("{shown} is not a private key in PEM"),
        })
    })?;
    match CertifiedKey::from_der(chain, der, &provider()) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(wrong_key(format!(
            "{shown} is not the key of the certificate {}",
            certificate.display()
        ))),
        Err(rustls::Error::InvalidCertificate(error)) => Err(TlsError::new(
            TlsFile::Certificate,
            format!("{} cannot be used: {error}", certificate.display()),
        )),
        Err(error) => Err(wrong_key(format!("{shown} cannot be used: {error}"))),
    }
}
