//! TLS in a lanes.yaml: what is taken, and how mistakes are answered.

use std::path::PathBuf;

use pglanes_auth::ChannelBinding;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use super::testing::{Certificates, FILES};
use super::verifier::{Names, Verifier};
use super::*;
use crate::testing::read;
use crate::{Config, Takes};

fn der(file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(FILES[file].as_bytes()).unwrap()
}

fn upstream(parameters: &str) -> Result<Config, String> {
    let text = format!("upstream: {{ url: 'postgresql://db.example.org/?{parameters}' }}");
    read(&text).map_err(|error| error.to_string())
}

#[test]
fn a_section_with_files_that_hold() {
    let config = read("tls: { certificate: server.crt, key: server.key }").unwrap();
    let tls = config.tls.unwrap();
    assert_eq!(tls.certificate, PathBuf::from("server.crt"));
    assert_eq!(tls.demand, TlsDemand::Allow);
    assert_eq!(tls.client_certificates, ClientCertificates::Require);
    let loaded = tls.load_from(&Certificates).unwrap();
    // rcgen signs with ECDSA and SHA-256 unless told otherwise.
    let expected = ChannelBinding::tls_server_end_point(Sha256::digest(der("server.crt")).to_vec());
    assert_eq!(loaded.channel_binding, Some(expected));
    assert_eq!(loaded.config.alpn_protocols, [ALPN]);
    assert_eq!(Config::default().tls, None);
}

#[test]
fn mistakes_are_answered_with_their_place_and_what_would_be_right() {
    for (section, expected) in [
        (
            "certificate: server.crt, key: other.key",
            "1:38: `key` of `tls`: other.key is not the key of the certificate server.crt",
        ),
        (
            "certificate: none.crt, key: server.key",
            "1:21: `certificate` of `tls`: none.crt cannot be read: no such file",
        ),
        (
            "certificate: text.crt, key: server.key",
            "text.crt holds no certificate in PEM",
        ),
        (
            "certificate: server.crt, key: server.crt",
            "server.crt holds no private key in PEM",
        ),
        (
            "certificate: server.crt, key: encrypted.key",
            "encrypted.key is an encrypted key; decrypt it",
        ),
        (
            "certificate: server.crt",
            "`tls` needs a `certificate` and its `key`; it has no `key`",
        ),
        (
            "certificate: server.crt, key: server.key, client_ca: text.crt",
            "`client_ca` of `tls`: text.crt holds no certificate",
        ),
        (
            "certificate: server.crt, key: server.key, client_certificates: request",
            "means nothing without `client_ca`",
        ),
        (
            "certificate: server.crt, key: server.key, mode: requires",
            "may be `allow`, `require`",
        ),
        ("certificate: '', key: server.key", "names no file"),
    ] {
        let error = read(&format!("tls: {{ {section} }}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{section}: {error}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("pglanes-config-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["server.crt", "server.key"] {
        std::fs::write(folder.join(name), &FILES[name]).unwrap();
    }
    let key = folder.join("server.key");
    let file = folder.join("lanes.yaml");
    std::fs::write(&file, "tls: { certificate: server.crt, key: server.key }").unwrap();
    let load = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        crate::load(&file)
    };
    let open = load(0o604);
    let closed = load(0o600);
    let _ = std::fs::remove_dir_all(&folder);
    let error = open.unwrap_err().to_string();
    assert!(
        error.contains("open to every user of this machine; run: chmod 600"),
        "{error}"
    );
    // Relative to lanes.yaml, and so known to who reads it later.
    assert_eq!(closed.unwrap().tls.unwrap().key, key);
}

#[test]
fn the_parameters_of_libpq_and_which_go_together() {
    let tls = |parameters| upstream(parameters).unwrap().upstream.tls;
    assert_eq!(tls(""), UpstreamTls::default());
    assert_eq!(tls("sslmode=allow").mode, TlsMode::Allow);
    let full = tls(
        "sslmode=verify-full&sslrootcert=ca.crt&sslnegotiation=direct&channel_binding=require&sslcert=server.crt&sslkey=server.key",
    );
    assert_eq!(full.roots, Roots::File("ca.crt".into()));
    assert_eq!(full.negotiation, Negotiation::Direct);
    assert_eq!(full.channel_binding, BindChannel::Require);
    assert_eq!(
        full.identity.as_ref().unwrap().key,
        PathBuf::from("server.key")
    );
    assert!(full.load_from(&Certificates).unwrap().is_some());
    assert!(
        tls("sslmode=disable")
            .load_from(&Certificates)
            .unwrap()
            .is_none()
    );
    for (parameters, expected) in [
        ("sslmode=verify-full", "need sslrootcert"),
        ("sslmode=require&sslrootcert=system", "is verify-full"),
        (
            "sslnegotiation=direct",
            "is require, verify-ca or verify-full",
        ),
        ("sslmode=require&sslcert=server.crt", "go together"),
        ("sslmode=disable&channel_binding=require", "needs TLS"),
        ("sslmode=verify-ful&sslrootcert=ca.crt", "(`verify-full`?)"),
        (
            "sslmode=require&sslrootcert=none.crt",
            "its `sslrootcert`: none.crt cannot be read",
        ),
        (
            "sslmode=require&sslcert=server.crt&sslkey=other.key",
            "its `sslkey`: other.key is not the key",
        ),
    ] {
        let error = upstream(parameters).unwrap_err();
        assert!(error.contains(expected), "{parameters}: {error}");
    }
}

#[test]
fn who_insists_on_tls_is_not_given_a_socket_that_was_found() {
    let sockets = |parameters: &str| {
        let text = format!("upstream: {{ url: 'postgresql://localhost/?{parameters}' }}");
        read(&text).unwrap().upstream.unix_sockets().len()
    };
    assert_eq!(sockets("sslmode=prefer"), 2);
    assert_eq!(sockets("sslmode=require"), 0);
}

#[test]
fn certificates_are_believed_as_the_mode_says() {
    let verifier = |file: &str, names| {
        let (roots, given) = files::authorities(&Certificates, file.as_ref()).unwrap();
        Verifier::of_signed(roots, given, names).unwrap()
    };
    let believes = |verifier: &Verifier, certificate: &str, host: &str| {
        use rustls::client::danger::ServerCertVerifier;
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let now = UnixTime::now();
        verifier
            .verify_server_cert(&der(certificate), &[], &host, &[], now)
            .is_ok()
    };
    let full = verifier("ca.crt", Names::Host);
    assert!(believes(&full, "server.crt", "db.example.org"));
    assert!(!believes(&full, "server.crt", "other.example.org"));
    // The common name counts only where there are no alternative names.
    assert!(!believes(&full, "server.crt", "postgres"));
    assert!(!believes(&full, "self.crt", "db.example.org"));
    let authority = verifier("ca.crt", Names::Any);
    assert!(believes(&authority, "server.crt", "other.example.org"));
    assert!(!believes(&authority, "self.crt", "db.example.org"));
    // What `openssl req -x509` makes is its own authority and has a common name alone.
    let own = verifier("self.crt", Names::Host);
    assert!(believes(&own, "self.crt", "db.example.org"));
    assert!(!believes(&own, "self.crt", "other.example.org"));
    assert!(!believes(&own, "server.crt", "db.example.org"));
    assert!(believes(&Verifier::of_anyone(), "self.crt", "anything"));
}

#[test]
fn who_a_certificate_names() {
    assert_eq!(common_name(&der("server.crt")).as_deref(), Some("postgres"));
    for length in 0..der("server.crt").len() {
        // Cut short it gives nothing, and harms nobody.
        let cut = &der("server.crt")[..length];
        assert_eq!((common_name(cut), tls_server_end_point(cut)), (None, None));
    }
}

#[test]
fn a_changed_section_takes_effect_at_once() {
    let new = read("tls: { certificate: server.crt, key: server.key, mode: require }").unwrap();
    let difference = crate::Difference::between(&Config::default(), &new);
    let takes: Vec<Takes> = difference
        .changes
        .iter()
        .map(|change| change.takes)
        .collect();
    assert_eq!(takes, [Takes::Live]);
}

#[test]
fn remote_clients_without_encryption_are_warned_of() {
    let warned = |tls: &str| {
        let text = format!(
            "listen: 0.0.0.0:6433\nallow_remote: true\nauth: {{ method: scram-sha-256 }}\nusers: {{ me: {{ password: {{ env: CANARY_1 }} }} }}\n{tls}"
        );
        let warnings = read(&text).unwrap().warnings;
        warnings
            .iter()
            .any(|warning| warning.to_string().contains("without encryption"))
    };
    assert!(warned(""));
    assert!(!warned(
        "tls: { certificate: server.crt, key: server.key, mode: require }"
    ));
}
