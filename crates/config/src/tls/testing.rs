//! Certificates for tests, made when they are asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use pglanes_auth::Secret;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::secrets::Surroundings;

/// Files by their name: `ca.crt`; `server.crt` and `server.key`, signed by it for db.example.org; `other.key`, which
/// belongs to nothing; `self.crt` and `self.key`, its own authority, with a common name alone.
pub(crate) static FILES: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
    let key = || KeyPair::generate().unwrap();
    let named = |common_name: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        let name = &mut parameters.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        name.push(DnType::CommonName, common_name);
        parameters
    };
    let authority = |common_name: &str| {
        let mut parameters = named(common_name, &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters
    };
    let (ca_key, server_key, self_key) = (key(), key(), key());
    let ca = authority("tests' authority").self_signed(&ca_key).unwrap();
    let own = authority("db.example.org").self_signed(&self_key).unwrap();
    let issuer = Issuer::new(authority("tests' authority"), ca_key);
    let server = named("postgres", &["db.example.org"])
        .signed_by(&server_key, &issuer)
        .unwrap();
    BTreeMap::from([
        ("ca.crt", ca.pem()),
        ("server.crt", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("other.key", key().serialize_pem()),
        ("self.crt", own.pem()),
        ("self.key", self_key.serialize_pem()),
        ("text.crt", "no certificate\n".to_owned()),
        (
            "encrypted.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
                .to_owned(),
        ),
    ])
});

/// A world in which only these files exist.
pub(crate) struct Certificates;

impl Surroundings for Certificates {
    fn variable(&self, _: &str) -> Option<Secret<String>> {
        None
    }

    fn secret_file(&self, path: &Path) -> Result<Secret<String>, String> {
        file(path).map(|text| Secret::new(text.to_owned()))
    }

    fn certificate_file(&self, path: &Path) -> Result<Vec<u8>, String> {
        file(path).map(|text| text.as_bytes().to_vec())
    }
}

fn file(path: &Path) -> Result<&'static str, String> {
    let found = path.to_str().and_then(|name| FILES.get(name));
    let missing = || format!("{} cannot be read: no such file", path.display());
    found.map(String::as_str).ok_or_else(missing)
}
