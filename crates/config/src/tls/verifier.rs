//! Whether PostgreSQL's certificate is believed, by libpq's modes ("SSL Client Usage", section "Protection Provided in
//! Different Modes").

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::{common_name, has_alternative_names};
use super::{TlsError, TlsFile, provider};

/// How far a certificate is looked at.
#[derive(Debug)]
enum Belief {
    /// Not at all (`require` and below): against those who only listen.
    Anyone,
    /// Signed by an authority (`verify-ca`), and for the host where `names` says so (`verify-full`).
    Signed {
        by: Arc<WebPkiServerVerifier>,
        /// The authorities as given: a self-signed certificate may be given as its own.
        given: Vec<CertificateDer<'static>>,
        names: Names,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Any.
    Any,
    /// The certificate must be the host's.
    Host,
}

/// rustls' question, answered as libpq would.
#[derive(Debug)]
pub(super) struct Verifier {
    belief: Belief,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn of_anyone() -> Self {
        Self::new(Belief::Anyone)
    }

    pub(super) fn of_signed(
        roots: RootCertStore,
        given: Vec<CertificateDer<'static>>,
        names: Names,
    ) -> Result<Self, TlsError> {
        let by = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let by = by
            .build()
            .map_err(|error| TlsError::new(TlsFile::Authorities, format!("TLS: {error}")))?;
        Ok(Self::new(Belief::Signed { by, given, names }))
    }

    fn new(belief: Belief) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { belief, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Belief::Signed { by, given, names } = &self.belief else {
            return Ok(ServerCertVerified::assertion());
        };
        let chain =
            by.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let error = match chain {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        // The chain is looked at before the names: who fails by name is signed.
        let signed = is_name_error(&error)
            || (is_own_authority(&error) && given.iter().any(|root| root == end_entity));
        if !signed {
            return Err(error);
        }
        match names {
            Names::Any => Ok(ServerCertVerified::assertion()),
            Names::Host if is_named(end_entity, server_name) => Ok(ServerCertVerified::assertion()),
            // The first error tells the names that would have been right.
            Names::Host if is_name_error(&error) => Err(error),
            Names::Host => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_name_error(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

/// The certificate is an authority's: what `openssl req -x509`, the quick start of PostgreSQL's manual, makes. Its
/// validity in time has been looked at before this error.
fn is_own_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error else {
        return false;
    };
    matches!(
        other.downcast_ref::<webpki::Error>(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

/// The host by the alternative names, or by the common name where there are none, as libpq has it.
fn is_named(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
    if has_alternative_names(certificate) {
        let parsed = webpki::EndEntityCert::try_from(certificate);
        return parsed.is_ok_and(|parsed| parsed.verify_is_valid_for_subject_name(host).is_ok());
    }
    let Some(name) = common_name(certificate) else {
        return false;
    };
    match host {
        ServerName::DnsName(host) => is_pattern_of(&name, host.as_ref()),
        ServerName::IpAddress(host) => name.parse() == Ok(IpAddr::from(*host)),
        _ => false,
    }
}

/// As `wildcard_certificate_match` of libpq: `*.` stands for one label.
fn is_pattern_of(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(domain) = pattern.strip_prefix("*.") else {
        return false;
    };
    host.split_once('.').is_some_and(|(label, rest)| {
        !label.is_empty() && rest.contains('.') && rest.eq_ignore_ascii_case(domain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (pattern, host, expected) in [
            ("db.example.org", "DB.example.org", true),
            ("*.example.org", "db.example.org", true),
            ("*.example.org", "a.db.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.org", "example.org", false),
            ("d*.example.org", "db.example.org", false),
            ("*", "db", false),
        ] {
            assert_eq!(is_pattern_of(pattern, host), expected, "{pattern} {host}");
        }
    }
}
