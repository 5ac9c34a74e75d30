//! TLS: the section of that name, and the parameters of the upstream's URL. The files are read at once, so that a
//! mistake in them is answered with its place.

use std::path::{Path, PathBuf};

use crate::reader::{Reading, Section};
use crate::tls::{
    ClientCertificates, ClientIdentity, ListenTls, Roots, TlsDemand, TlsFile, UpstreamTls,
};
use crate::yaml::Place;

pub(super) fn listen(reading: &mut Reading<'_>, root: &Section<'_>) -> Option<ListenTls> {
    let section = reading.subsection(root, "tls")?;
    let certificate = path(reading, &section, "certificate");
    let key = path(reading, &section, "key");
    let client_ca = path(reading, &section, "client_ca");
    let choices = [
        ("require", ClientCertificates::Require),
        ("request", ClientCertificates::Request),
    ];
    let client_certificates = reading.choice(&section, "client_certificates", &choices);
    let demands = [("allow", TlsDemand::Allow), ("require", TlsDemand::Require)];
    let demand = reading.choice(&section, "mode", &demands);
    if client_certificates.is_some() && client_ca.is_none() {
        let place = reading.place_of("tls.client_certificates");
        reading.problem(
            place,
            "`client_certificates` of `tls` means nothing without `client_ca`, the authorities that may sign them",
        );
    }
    let (Some(certificate), Some(key)) = (certificate, key) else {
        for missing in ["certificate", "key"] {
            if !section.has(missing) {
                let message =
                    format!("`tls` needs a `certificate` and its `key`; it has no `{missing}`");
                reading.problem(section.place, message);
            }
        }
        return None;
    };
    let written = ListenTls {
        certificate,
        key,
        client_ca,
        client_certificates: client_certificates.unwrap_or(ClientCertificates::Require),
        demand: demand.unwrap_or(TlsDemand::Allow),
    };
    if let Err(error) = written.load_from(reading.surroundings) {
        let key = match error.file {
            TlsFile::Certificate => "certificate",
            TlsFile::Key => "key",
            TlsFile::Authorities => "client_ca",
        };
        let place = reading.place_of(&format!("tls.{key}"));
        reading.problem(place, format!("`{key}` of `tls`: {}", error.message));
    }
    let resolved = |path: PathBuf| reading.surroundings.resolved(&path);
    Some(ListenTls {
        certificate: resolved(written.certificate),
        key: resolved(written.key),
        client_ca: written.client_ca.map(resolved),
        ..written
    })
}

fn path(reading: &mut Reading<'_>, section: &Section<'_>, key: &str) -> Option<PathBuf> {
    let word = reading.word(section, key)?;
    if word.text.is_empty() {
        let message = format!("`{key}` of {} names no file", section.title);
        reading.problem(word.place, message);
        return None;
    }
    Some(Path::new(word.text).to_path_buf())
}

/// Reads the files that a URL names. `place` is the URL's.
pub(super) fn of_url(reading: &mut Reading<'_>, written: UpstreamTls, place: Place) -> UpstreamTls {
    if let Err(error) = written.load_from(reading.surroundings) {
        let parameter = match error.file {
            TlsFile::Certificate => "sslcert",
            TlsFile::Key => "sslkey",
            TlsFile::Authorities => "sslrootcert",
        };
        let message = format!("`url` of `upstream`: its `{parameter}`: {}", error.message);
        reading.problem(place, message);
    }
    let resolved = |path: &Path| reading.surroundings.resolved(path);
    UpstreamTls {
        roots: match written.roots {
            Roots::File(path) => Roots::File(resolved(&path)),
            roots => roots,
        },
        identity: written.identity.map(|identity| ClientIdentity {
            certificate: resolved(&identity.certificate),
            key: resolved(&identity.key),
        }),
        ..written
    }
}
