//! PostgreSQL connection URLs, as libpq reads them ("Connection URIs" in its documentation): the parts that a proxy
//! can use. What it cannot honour is refused rather than ignored.

mod tls_parameters;

use pglanes_auth::Secret;

use crate::model::UpstreamAddress;
use crate::suggest::nearest;
use crate::tls::UpstreamTls;

/// A connection URL's parts. No secret shows in its `Debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionUrl {
    /// Where; without a host it is `localhost`.
    pub address: UpstreamAddress,
    /// As whom.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<Secret<String>>,
    /// To which database.
    pub database: Option<String>,
    /// How TLS is done.
    pub tls: UpstreamTls,
}

impl ConnectionUrl {
    /// Reads a URL as `upstream.url` is read.
    ///
    /// # Errors
    /// What would be right; nothing in it may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse(text)
    }
}

const PARAMETERS: [&str; 11] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "channel_binding",
];

/// What was gathered before it is judged.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<Secret<String>>,
    database: Option<String>,
    tls: tls_parameters::Written,
}

/// Reads a URL; the error says what would be right and repeats nothing that may be a password.
pub(crate) fn parse(text: &str) -> Result<ConnectionUrl, String> {
    let rest = text
        .strip_prefix("postgresql://")
        .or_else(|| text.strip_prefix("postgres://"))
        .ok_or("it begins with `postgresql://`, such as `postgresql://localhost:5432`")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // The last `@` ends the credentials: a password with an `@` in it should be encoded and seldom is.
    let (credentials, place) = match rest.rfind('@') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => ("", rest),
    };
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let mut parts = Parts::default();
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    parts.user = filled(decoded(user)?);
    parts.password = password
        .map(decoded)
        .transpose()?
        .and_then(filled)
        .map(Secret::new);
    parts.database = filled(decoded(database)?);
    let (host, port) = host_and_port(authority)?;
    parts.host = filled(decoded(host)?);
    parts.port = filled(port.to_owned());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parameter(&mut parts, pair)?;
    }
    judged(parts)
}

fn parameter(parts: &mut Parts, pair: &str) -> Result<(), String> {
    let (key, value) = pair
        .split_once('=')
        .ok_or("its parameters are written `key=value`")?;
    let value = decoded(value)?;
    let slot = match key {
        "host" => &mut parts.host,
        "port" => &mut parts.port,
        "user" => &mut parts.user,
        "dbname" => &mut parts.database,
        "sslmode" => &mut parts.tls.mode,
        "sslrootcert" => &mut parts.tls.roots,
        "sslcert" => &mut parts.tls.certificate,
        "sslkey" => &mut parts.tls.key,
        "sslnegotiation" => &mut parts.tls.negotiation,
        "channel_binding" => &mut parts.tls.channel_binding,
        "password" => {
            parts.password = filled(value).map(Secret::new);
            return Ok(());
        }
        _ => {
            let near = nearest(key, PARAMETERS).map(|near| format!(" (`{near}`?)"));
            return Err(format!(
                "the parameter `{}` is not understood{}; it may have: {}",
                key.chars()
                    .filter(|letter| !letter.is_control())
                    .take(40)
                    .collect::<String>(),
                near.unwrap_or_default(),
                PARAMETERS.join(", ")
            ));
        }
    };
    *slot = filled(value);
    Ok(())
}

fn judged(parts: Parts) -> Result<ConnectionUrl, String> {
    let port = match parts.port.as_deref() {
        None => 5432,
        Some(port) => port
            .parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("its port is a number from 1 to 65535")?,
    };
    let host = parts.host.unwrap_or_else(|| "localhost".to_owned());
    if host.contains(',') {
        return Err("it names several hosts; pglanes stands before one server".to_owned());
    }
    if host.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err("its host holds a space".to_owned());
    }
    let address = if host.starts_with('/') {
        UpstreamAddress::Unix {
            directory: host.into(),
            port,
        }
    } else {
        UpstreamAddress::Tcp { host, port }
    };
    let tls = tls_parameters::judged(parts.tls)?;
    let Parts {
        user,
        password,
        database,
        ..
    } = parts;
    Ok(ConnectionUrl {
        address,
        user,
        password,
        database,
        tls,
    })
}

fn host_and_port(authority: &str) -> Result<(&str, &str), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or("its IPv6 address lacks the closing `]`")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err("after the `]` of its IPv6 address comes `:port` or nothing".to_owned()),
        };
    }
    Ok(authority.rsplit_once(':').unwrap_or((authority, "")))
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Percent-decoding, to UTF-8 without NUL.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || {
        "a `%` in it is followed by two hexadecimal digits; write `%25` for the sign itself"
            .to_owned()
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (
            digit(rest.next()).ok_or_else(wrong)?,
            digit(rest.next()).ok_or_else(wrong)?,
        );
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    if bytes.contains(&0) {
        return Err("it holds a NUL byte".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "what it encodes is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> UpstreamAddress {
        UpstreamAddress::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    fn unix(directory: &str, port: u16) -> UpstreamAddress {
        UpstreamAddress::Unix {
            directory: directory.into(),
            port,
        }
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("postgresql://localhost:5432", tcp("localhost", 5432)),
            ("postgres://db.example", tcp("db.example", 5432)),
            ("postgresql://", tcp("localhost", 5432)),
            ("postgresql://[::1]:5433/db", tcp("::1", 5433)),
            ("postgresql://[::1]", tcp("::1", 5432)),
            ("postgresql:///?host=/tmp", unix("/tmp", 5432)),
            ("postgresql:///db?host=/tmp&port=5433", unix("/tmp", 5433)),
            (
                "postgresql://%2Fvar%2Frun%2Fpostgresql/db",
                unix("/var/run/postgresql", 5432),
            ),
            ("postgresql://%2Ftmp:5434/db", unix("/tmp", 5434)),
        ] {
            assert_eq!(parse(text).map(|url| url.address), Ok(expected), "{text}");
        }
    }

    #[test]
    fn credentials_and_databases() {
        let url =
            parse("postgresql://da%20niel:p%40ss:word@host/ai_agency?sslmode=disable").unwrap();
        assert_eq!(url.user.as_deref(), Some("da niel"));
        assert_eq!(url.password, Some(Secret::from("p@ss:word")));
        assert_eq!(url.database.as_deref(), Some("ai_agency"));
        assert_eq!(url.tls.mode, crate::tls::TlsMode::Disable);
        assert!(!format!("{url:?}").contains("p@ss"));
        let url = parse("postgresql://me:raw@sign@host").unwrap();
        assert_eq!(
            (url.address, url.password),
            (tcp("host", 5432), Some(Secret::from("raw@sign")))
        );
        assert_eq!(parse("postgresql://me@host").unwrap().password, None);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_without_repeating_the_password() {
        for (text, expected) in [
            ("localhost:5432", "begins with `postgresql://`"),
            ("postgresql://me:canary@a,b/db", "several hosts"),
            ("postgresql://me:canary@a:x/db", "port is a number"),
            ("postgresql://me:canary@a:0/db", "port is a number"),
            ("postgresql://me:canary%zz@a/db", "hexadecimal"),
            (
                "postgresql://me:canary@a/db?sslmode=requires",
                "(`require`?)",
            ),
            ("postgresql://me:canary@a/db?sslmod=disable", "(`sslmode`?)"),
            ("postgresql://me:canary%00@a/db", "NUL"),
            ("postgresql://me:canary@[::1/db", "closing `]`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
