//! Where the configuration comes from: the file that was named, `./lanes.yaml` where there is one, or what is built in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use pglanes_config::{Config, ConfigError, UnixSocket, UpstreamAddress, UpstreamTls};

/// The file that is looked for when none is named.
const USUAL_FILE: &str = "lanes.yaml";

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This file.
    File(PathBuf),
    /// config/lanes.yaml as it was when the program was built; `appears` is the file that takes its place once it is there.
    BuiltIn {
        /// The usual file.
        appears: PathBuf,
    },
    /// One of the others, before a PostgreSQL of pglanes' own.
    Embedded {
        /// The file, or what is built in.
        lanes: Box<Source>,
        /// Where that PostgreSQL is, in the place of `upstream.url`.
        place: Place,
    },
}

/// Where a PostgreSQL of pglanes' own is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder of its unix socket.
    pub directory: PathBuf,
    /// Its port, which names the socket too.
    pub port: u16,
}

impl Source {
    /// The file that was named; else the usual one, if it is there.
    pub fn find(named: Option<PathBuf>) -> Self {
        match named {
            Some(path) => Self::File(path),
            None => Self::BuiltIn {
                appears: PathBuf::from(USUAL_FILE),
            }
            .if_it_appeared(),
        }
    }

    /// The usual file in the place of what is built in, if it is there by now. A file that was in use stays: one that
    /// was removed is a mistake to be told, not a wish for the defaults.
    #[must_use]
    pub fn if_it_appeared(self) -> Self {
        match self {
            // What cannot be looked at is there: reading it will say why.
            Self::BuiltIn { appears } if appears.try_exists().unwrap_or(true) => {
                Self::File(appears)
            }
            Self::Embedded { lanes, place } => Self::Embedded {
                lanes: Box::new(lanes.if_it_appeared()),
                place,
            },
            other => other,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Every mistake in the file.
    pub fn load(&self) -> Result<Config, ConfigError> {
        match self {
            Self::File(path) => pglanes_config::load(path),
            Self::BuiltIn { .. } => Ok(Config::default()),
            Self::Embedded { lanes, place } => {
                let mut config = lanes.load()?;
                // Logins are asked for over TCP, where no operating system user is taken for a client; work goes by the socket.
                config.upstream.address = UpstreamAddress::Tcp {
                    host: "127.0.0.1".to_owned(),
                    port: place.port,
                };
                config.upstream.unix_socket = UnixSocket::Path(place.directory.clone());
                config.upstream.tls = UpstreamTls::default();
                Ok(config)
            }
        }
    }

    /// The file to watch.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::BuiltIn { appears: path } => path,
            Self::Embedded { lanes, .. } => lanes.path(),
        }
    }

    /// By what a change of the file is noticed.
    pub fn stamp(&self) -> Stamp {
        Stamp::of(self.path())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::BuiltIn { .. } => formatter.write_str("the built-in lanes.yaml"),
            Self::Embedded { lanes, .. } => lanes.fmt(formatter),
        }
    }
}

/// What differs when a file was written anew, or another one was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// It is not there, or cannot be looked at.
    Missing(io::ErrorKind),
    /// It is there.
    Present {
        /// Seconds and nanoseconds.
        modified: (i64, i64),
        /// Bytes.
        size: u64,
        /// Device and number: editors write a new file and rename it.
        identity: (u64, u64),
    },
}

impl Stamp {
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        match std::fs::metadata(path) {
            Ok(facts) => Self::Present {
                modified: (facts.mtime(), facts.mtime_nsec()),
                size: facts.size(),
                identity: (facts.dev(), facts.ino()),
            },
            Err(error) => Self::Missing(error.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_is_used_whether_it_is_there_or_not() {
        let path = PathBuf::from("/nonexistent/lanes.yaml");
        let source = Source::find(Some(path.clone()));
        assert_eq!(source, Source::File(path));
        assert!(source.load().is_err());
        assert!(matches!(source.stamp(), Stamp::Missing(_)));
    }

    #[test]
    fn the_built_in_file_gives_way_to_one_that_appears() {
        let appears = PathBuf::from("/nonexistent/lanes.yaml");
        let source = Source::BuiltIn { appears };
        assert_eq!(source.clone().if_it_appeared(), source);
        assert_eq!(source.load().unwrap(), Config::default());
        let appears = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let source = Source::BuiltIn {
            appears: appears.clone(),
        };
        assert_eq!(source.if_it_appeared(), Source::File(appears));
    }
}
