//! Addresses, the upstream, and the proxy's own bounds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{
    ApplicationName, Limits, ListenAddress, LogFormat, LogLevel, Logging, Reload, RemoteClients,
    UnixSocket, Upstream, UpstreamAddress,
};
use crate::reader::{Reading, Section};
use crate::tls::UpstreamTls;
use crate::url;
use crate::yaml::Place;

/// The most addresses to listen on.
const MAXIMUM_ADDRESSES: usize = 16;
/// Server connections at most: beyond it PostgreSQL itself would not hold.
const MAXIMUM_SLOTS: u32 = 10_000;
/// Clients at most: what one machine has file descriptors for.
const MAXIMUM_CLIENTS: u32 = 1_000_000;

const DEFAULT_PORT: u16 = 6433;

pub(super) fn remote(reading: &mut Reading<'_>, root: &Section<'_>) -> RemoteClients {
    match reading.truth(root, "allow_remote") {
        Some(true) => RemoteClients::Allowed,
        Some(false) | None => RemoteClients::Refused,
    }
}

pub(super) fn listen(
    reading: &mut Reading<'_>,
    root: &Section<'_>,
    remote: RemoteClients,
) -> Vec<ListenAddress> {
    let mut addresses = Vec::new();
    let mut written = false;
    for node in reading
        .list(root, "listen", MAXIMUM_ADDRESSES)
        .unwrap_or_default()
    {
        written = true;
        let Some(word) = reading.word_of(node, "an address of `listen`") else {
            continue;
        };
        match listen_address(word.text) {
            Ok(address) => {
                if let ListenAddress::Tcp(socket) = &address {
                    refuse_remote(reading, *socket, remote, word.place, "listen");
                }
                if addresses.contains(&address) {
                    reading.problem(
                        word.place,
                        format!("`{}` stands twice in `listen`", word.text),
                    );
                } else {
                    addresses.push(address);
                }
            }
            Err(right) => {
                reading.problem(word.place, format!("`listen` is `{}`: {right}", word.text));
            }
        }
    }
    if addresses.is_empty() {
        if !written && reading.value(root, "listen").is_some() {
            let place = reading.place_of("listen");
            reading.problem(place, "`listen` names no address");
        }
        addresses.push(ListenAddress::Tcp(
            (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into(),
        ));
    }
    addresses
}

/// `host:port`, or a path that begins with `/`: a directory gets the socket's name for the default port.
fn listen_address(text: &str) -> Result<ListenAddress, String> {
    if text.starts_with('/') {
        let path = PathBuf::from(text);
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let is_socket = name.is_some_and(|name| name.starts_with(".s.PGSQL."));
        let path = if is_socket {
            path
        } else {
            path.join(crate::model::socket_name(DEFAULT_PORT))
        };
        // sun_path holds 104 bytes on macOS and 108 on Linux, with its NUL.
        if path.as_os_str().len() > 103 {
            return Err("the path of a unix socket has at most 103 bytes".to_owned());
        }
        return Ok(ListenAddress::Unix(path));
    }
    socket_address(text).map(ListenAddress::Tcp)
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let right =
        "an address is `host:port` with an IP address or `localhost`, such as `127.0.0.1:6433`";
    // Port 0 is the system's choice; tests use it.
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(right)?;
    let port: u16 = port.parse().map_err(|_| right)?;
    let host = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        other => other.parse().map_err(|_| right)?,
    };
    Ok((host, port).into())
}

fn refuse_remote(
    reading: &mut Reading<'_>,
    address: SocketAddr,
    remote: RemoteClients,
    place: Place,
    key: &str,
) {
    if !address.ip().is_loopback() && remote == RemoteClients::Refused {
        let message = format!(
            "`{key}` is `{address}`, which other machines can reach; use 127.0.0.1, or say `allow_remote: true`"
        );
        reading.problem(place, message);
    }
}

pub(super) fn http(
    reading: &mut Reading<'_>,
    root: &Section<'_>,
    remote: RemoteClients,
) -> Option<SocketAddr> {
    let default = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9433)));
    let address = reading.parsed(root, "http", |text| match text {
        "off" => Ok(None),
        _ => socket_address(text)
            .map(Some)
            .map_err(|right| format!("{right}, or `off`")),
    });
    if let Some(Some(address)) = address {
        let place = reading.place_of("http");
        refuse_remote(reading, address, remote, place, "http");
    }
    address.unwrap_or(default)
}

pub(super) fn upstream(reading: &mut Reading<'_>, root: &Section<'_>) -> Upstream {
    let mut upstream = Upstream {
        address: UpstreamAddress::Tcp {
            host: "localhost".to_owned(),
            port: 5432,
        },
        unix_socket: UnixSocket::Auto,
        tls: UpstreamTls::default(),
        slots: 40,
        connect_timeout: Duration::from_secs(5),
        user: None,
        database: None,
        password: None,
        application_name: ApplicationName::Keep,
    };
    let Some(section) = reading.subsection(root, "upstream") else {
        return upstream;
    };
    if let Some(word) = reading.word(&section, "url") {
        match url::parse(word.text) {
            Ok(url) => {
                upstream.address = url.address;
                upstream.tls = super::tls::of_url(reading, url.tls, word.place);
                upstream.user = url.user;
                upstream.database = url.database;
                upstream.password = url.password;
            }
            // The text is not repeated: a URL may hold a password.
            Err(right) => reading.problem(word.place, format!("`url` of `upstream`: {right}")),
        }
    }
    if let Some(slots) = reading.count(&section, "slots", 1..=MAXIMUM_SLOTS) {
        upstream.slots = slots;
    }
    if let Some(timeout) = positive_duration(reading, &section, "connect_timeout") {
        upstream.connect_timeout = timeout;
    }
    if let Some(password) = reading.password(&section, "password") {
        if upstream.password.is_some() {
            let place = reading.place_of("upstream.password");
            reading.problem(
                place,
                "`upstream` has a password in its url and another here; keep this one",
            );
        }
        upstream.password = Some(password);
    }
    let socket = reading.parsed(&section, "unix_socket", |text| match text {
        "auto" => Ok(UnixSocket::Auto),
        "off" => Ok(UnixSocket::Off),
        path if path.starts_with('/') => Ok(UnixSocket::Path(path.into())),
        _ => Err("it may be `auto`, `off`, or a path that begins with `/`".to_owned()),
    });
    upstream.unix_socket = socket.unwrap_or(UnixSocket::Auto);
    let names = [
        ("keep", ApplicationName::Keep),
        ("lane", ApplicationName::Lane),
        ("both", ApplicationName::Both),
    ];
    let name = reading.choice(&section, "application_name", &names);
    upstream.application_name = name.unwrap_or_default();
    upstream
}

pub(super) fn limits(reading: &mut Reading<'_>, root: &Section<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(section) = reading.subsection(root, "limits") else {
        return limits;
    };
    if let Some(clients) = reading.count(&section, "clients", 1..=MAXIMUM_CLIENTS) {
        limits.clients = clients;
    }
    if let Some(timeout) = positive_duration(reading, &section, "login_timeout") {
        limits.login_timeout = timeout;
    }
    let size = reading.parsed(&section, "message_before_slot", |text| {
        let bytes = crate::units::size(text)?;
        // Below it a startup's first statement would not fit; above it clients could exhaust the memory.
        let range = 1024..=1024 * 1024 * 1024;
        if range.contains(&bytes) {
            Ok(bytes)
        } else {
            Err("it may be from 1kB to 1GB".to_owned())
        }
    });
    if let Some(bytes) = size {
        limits.message_before_slot = bytes;
    }
    if let Some(timeout) = reading.duration_or_off(&section, "client_idle_in_transaction") {
        limits.client_idle_in_transaction = timeout;
    }
    if let Some(timeout) = reading.duration_or_off(&section, "half_sent_message") {
        limits.half_sent_message = timeout;
    }
    if let Some(timeout) = reading.duration_or_off(&section, "slow_reader") {
        limits.slow_reader = timeout;
    }
    if let Some(cancels) = reading.count(&section, "cancels", 1..=10_000) {
        limits.cancels = cancels;
    }
    limits
}

pub(super) fn shutdown(reading: &mut Reading<'_>, root: &Section<'_>) -> Duration {
    let section = reading.subsection(root, "shutdown");
    let grace = section.and_then(|section| reading.duration(&section, "grace"));
    grace.unwrap_or(Duration::from_secs(30))
}

pub(super) fn reload(reading: &mut Reading<'_>, root: &Section<'_>) -> Reload {
    let section = reading.subsection(root, "reload");
    match section.and_then(|section| reading.truth(&section, "watch")) {
        Some(false) => Reload::OnSignal,
        Some(true) | None => Reload::Watch,
    }
}

pub(super) fn logging(reading: &mut Reading<'_>, root: &Section<'_>) -> Logging {
    let mut logging = Logging {
        format: LogFormat::Human,
        level: LogLevel::Info,
    };
    let Some(section) = reading.subsection(root, "logging") else {
        return logging;
    };
    let formats = [("human", LogFormat::Human), ("json", LogFormat::Json)];
    if let Some(format) = reading.choice(&section, "format", &formats) {
        logging.format = format;
    }
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    if let Some(level) = reading.choice(&section, "level", &levels) {
        logging.level = level;
    }
    logging
}

/// A duration that must not be zero.
pub(super) fn positive_duration(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    key: &str,
) -> Option<Duration> {
    reading.parsed(section, key, |text| {
        let duration = crate::units::duration(text)?;
        if duration.is_zero() {
            Err("it is longer than 0".to_owned())
        } else {
            Ok(duration)
        }
    })
}
