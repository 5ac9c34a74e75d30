//! lanes.yaml: as written, validated, and turned into policy.
//!
//! What it is: one file read into a tree that knows where everything stands (`yaml`, `reader`), taken into a model (`read`),
//! checked as a whole (`validate`, with the certificates and keys it names: [`mod@tls`]), and turned into what others keep: a scheduler's policy and a classifier (`policy`), the
//! difference that a reload makes ([`Difference`]), what memory the lanes may take, and the [`mod@reference`] of all keys.
//! What it is not: it opens no socket, asks no server, and watches no file.
//!
//! The types that matter:
//! - [`Config`]: a file that holds, from [`load`], [`parse`], or [`Config::default`] (config/lanes.yaml, embedded);
//! - [`ConfigError`]: every mistake of one that does not, each with line, column, what was found and what would be right;
//! - [`LaneIndex`]: which lane has which id, the same over reloads.
//!
//! Nothing of a broken file is ever applied: there is a whole `Config` or none.
#![forbid(unsafe_code)]

mod access;
mod adjust;
mod admin;
mod diagnostic;
mod explain;
mod lane;
mod memory;
mod model;
mod objective;
mod policy;
mod read;
mod reader;
pub mod reference;
mod reload;
mod rule;
mod secrets;
mod settings;
mod suggest;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod texts;
pub mod tls;
mod units;
mod url;
mod userlist;
mod validate;
mod yaml;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use pglanes_auth::Secret;

pub use access::{
    AccessMethod, AccessRule, AddressMatch, Admission, AuthQuery, ClientAddress, PeerMapping,
    peer_may_be,
};
pub use adjust::{AdjustError, adjustable_keys, adjustable_lane_keys};
pub use admin::{
    ADMIN_USER, Admin, MAXIMUM_ADMIN_USERS, MAXIMUM_TOKEN_BYTES, MINIMUM_TOKEN_BYTES, StateFolder,
};
pub use diagnostic::{ConfigError, Diagnostic, MAXIMUM_DIAGNOSTICS};
pub use explain::{Choice, Explanation, Subject};
pub use lane::{
    Activity, Caps, Cpu, DEFAULT_LANE, Io, Keeps, Lane, Listen, MatchCondition, MatchRule, Mode,
    Pooling, Running, Throttle,
};
pub use memory::LaneMemory;
pub use model::{
    ApplicationName, Authentication, Config, Database, History, Limits, ListenAddress, LogFormat,
    LogLevel, Logging, NameUsed, Observe, Reload, RemoteClients, ResolvedUser, UnixSocket,
    Upstream, UpstreamAddress, User, UserAlias, socket_name,
};
pub use objective::Objective;
pub use policy::LaneIndex;
pub use read::{MAXIMUM_LANES, MAXIMUM_NAMES, MAXIMUM_RULES, MAXIMUM_THROTTLES};
pub use reload::{Change, Difference, Takes, shown_setting};
pub use rule::{Rule, Then, When};
pub use secrets::{Process, Surroundings};
pub use texts::TextPatterns;
pub use tls::{
    BindChannel, ClientCertificates, ClientIdentity, ListenTls, LoadedListenTls, LoadedUpstreamTls,
    Negotiation, Roots, TlsDemand, TlsError, TlsMode, UpstreamTls, common_name,
};
pub use units::{duration as read_duration, shown_duration};
pub use url::ConnectionUrl;
pub use userlist::{MAXIMUM_LISTED_USERS, MAXIMUM_USERLIST_BYTES, Userlist};
pub use yaml::MAXIMUM_FILE_BYTES;

use diagnostic::Text;
use read::DefaultLanes;
use reader::Reading;
use yaml::Place;

/// config/lanes.yaml: what holds where there is no file, and the lanes of a file that names none.
pub const DEFAULT_FILE: &str = include_str!("../../../config/lanes.yaml");

/// Reads a file, with secrets from this process's environment and from files relative to its folder.
///
/// # Errors
/// [`ConfigError`] with every mistake; where the file cannot be read, with that alone.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let unreadable = |message: String| {
        let text = Text {
            file: &name,
            source: "",
        };
        ConfigError::new(vec![text.diagnostic(Place::default(), message)])
    };
    let file = File::open(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let mut bytes = Vec::new();
    // One byte more than is allowed tells a large file from one that just fits.
    let limit = MAXIMUM_FILE_BYTES as u64 + 1;
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let source = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        unreadable(format!("is not text in UTF-8 (line {line})"))
    })?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    parse(&name, &source, &Process { folder })
}

/// Reads a file's text. `name` is how errors call it.
///
/// # Errors
/// [`ConfigError`] with every mistake.
pub fn parse(
    name: &str,
    source: &str,
    surroundings: &dyn Surroundings,
) -> Result<Config, ConfigError> {
    let default = DEFAULT.as_ref().map(|config| DefaultLanes {
        lanes: config.lanes.clone(),
        throttles: config.throttles.clone(),
    });
    parse_over(name, source, surroundings, default)
}

/// Reads a text over the lanes that hold where it names none.
fn parse_over(
    name: &str,
    source: &str,
    surroundings: &dyn Surroundings,
    default: Option<DefaultLanes>,
) -> Result<Config, ConfigError> {
    let text = Text { file: name, source };
    let tree = yaml::parse(&text).map_err(|diagnostic| ConfigError::new(vec![diagnostic]))?;
    let mut reading = Reading::new(text, surroundings);
    let config = read::config(&mut reading, &tree, default);
    if let Some(config) = &config {
        validate::validate(&mut reading, config);
    }
    match config {
        Some(mut config) if reading.problems.is_empty() => {
            config.warnings = reading.warnings;
            Ok(config)
        }
        _ => Err(ConfigError::new(reading.problems)),
    }
}

/// Nothing but the file itself: the default file needs no secret.
struct Nowhere;

impl Surroundings for Nowhere {
    fn variable(&self, _: &str) -> Option<Secret<String>> {
        None
    }

    fn secret_file(&self, _: &Path) -> Result<Secret<String>, String> {
        Err("the default file reads no other".to_owned())
    }
}

/// The default file, read once. Only read, by whoever reads a file.
static DEFAULT: LazyLock<Option<Config>> = LazyLock::new(|| {
    let mut config = parse_over("lanes.yaml", DEFAULT_FILE, &Nowhere, None).ok()?;
    // Its lanes stand in for those of other files, where these lines mean nothing.
    for rule in config.lanes.iter_mut().flat_map(|lane| &mut lane.rules) {
        rule.line = 0;
    }
    Some(config)
});

impl Default for Config {
    /// What holds without any file: PostgreSQL on localhost:5432 and the lanes of config/lanes.yaml.
    fn default() -> Self {
        // The text is part of the program, and the test `both_example_files_hold` reads it.
        DEFAULT.clone().expect("the embedded default file holds")
    }
}
