//! The parameters that say how TLS to the server is done, with libpq's rules on which go together.

use crate::suggest::nearest;
use crate::tls::{BindChannel, ClientIdentity, Negotiation, Roots, TlsMode, UpstreamTls};

/// As they stand in the URL.
#[derive(Default)]
pub(super) struct Written {
    pub(super) mode: Option<String>,
    pub(super) roots: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) negotiation: Option<String>,
    pub(super) channel_binding: Option<String>,
}

const MODES: [(&str, TlsMode); 6] = [
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Allow),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];
const NEGOTIATIONS: [(&str, Negotiation); 2] = [
    ("postgres", Negotiation::Postgres),
    ("direct", Negotiation::Direct),
];
const BINDINGS: [(&str, BindChannel); 3] = [
    ("disable", BindChannel::Disable),
    ("prefer", BindChannel::Prefer),
    ("require", BindChannel::Require),
];

pub(super) fn judged(written: Written) -> Result<UpstreamTls, String> {
    let roots = match written.roots.as_deref() {
        None => Roots::None,
        Some("system") => Roots::System,
        Some(path) => Roots::File(path.into()),
    };
    let mode = chosen("sslmode", written.mode.as_deref(), &MODES)?;
    // Authorities that sign for everybody say nothing without the name.
    let mode = mode.unwrap_or(match roots {
        Roots::System => TlsMode::VerifyFull,
        Roots::None | Roots::File(_) => TlsMode::Prefer,
    });
    if roots == Roots::System && mode != TlsMode::VerifyFull {
        return Err("with sslrootcert=system its sslmode is verify-full".to_owned());
    }
    if mode >= TlsMode::VerifyCa && roots == Roots::None {
        return Err("sslmode verify-ca and verify-full need sslrootcert: a file with the authorities' certificates, or (with verify-full) `system`".to_owned());
    }
    let identity = match (written.certificate, written.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(ClientIdentity {
            certificate: certificate.into(),
            key: key.into(),
        }),
        _ => return Err("sslcert and sslkey go together".to_owned()),
    };
    let negotiation = chosen(
        "sslnegotiation",
        written.negotiation.as_deref(),
        &NEGOTIATIONS,
    )?;
    let negotiation = negotiation.unwrap_or_default();
    if negotiation == Negotiation::Direct && !mode.is_required() {
        return Err(
            "with sslnegotiation=direct its sslmode is require, verify-ca or verify-full"
                .to_owned(),
        );
    }
    let binding = chosen(
        "channel_binding",
        written.channel_binding.as_deref(),
        &BINDINGS,
    )?;
    let channel_binding = binding.unwrap_or_default();
    if channel_binding == BindChannel::Require && mode == TlsMode::Disable {
        return Err("channel_binding=require needs TLS, and sslmode=disable is without".to_owned());
    }
    Ok(UpstreamTls {
        mode,
        roots,
        identity,
        negotiation,
        channel_binding,
    })
}

fn chosen<T: Copy>(
    parameter: &str,
    text: Option<&str>,
    choices: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(Some(*value));
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let near = nearest(text, names.iter().copied());
    let near = near.map_or_else(String::new, |near| format!(" (`{near}`?)"));
    Err(format!("its {parameter} may be {}{near}", names.join(", ")))
}
