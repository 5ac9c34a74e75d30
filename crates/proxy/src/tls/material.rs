//! What handshakes work with, made of files; and how it follows those while the proxy runs.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use pglanes_config::{Config, LoadedListenTls, LoadedUpstreamTls, Reload, TlsError};

use crate::hub::Hub;

/// How often the files are looked at: a few calls of stat, away from the data thread.
const LOOK: Duration = Duration::from_secs(2);

/// What tells one state of a file from another; `None` for one that is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

/// The material of both sides, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Material {
    /// For clients; `None` where TLS is off.
    pub(crate) listen: Option<LoadedListenTls>,
    /// For PostgreSQL; `None` where `sslmode` is `disable`.
    pub(crate) upstream: Option<LoadedUpstreamTls>,
    /// The files as they were before they were read.
    stamps: Vec<Stamp>,
}

impl Material {
    /// Reads the files: not for the data thread.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub(crate) fn load(config: &Config) -> Result<Self, TlsError> {
        // First the stamps: what changes during the reading is then read again.
        let stamps = stamps(&files(config));
        let listen = config.tls.as_ref().map(|tls| tls.load()).transpose()?;
        let upstream = config.upstream.tls.load()?;
        Ok(Self {
            listen,
            upstream,
            stamps,
        })
    }
}

fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = config.tls.as_ref().map_or_else(Vec::new, |tls| tls.files());
    files.extend(config.upstream.tls.files());
    files
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.modified().ok()?, facts.len(), facts.ino()))
    };
    files.iter().map(stamp).collect()
}

/// What a look at the files came to.
enum Look {
    Unchanged,
    Changed(Material),
    Bad(Vec<Stamp>, TlsError),
}

/// Puts changed certificates and keys in force for the handshakes that follow. Files that
/// cannot be used change nothing; the log says why, once for each state of them (a key is
/// often replaced a moment after its certificate).
pub(crate) async fn follow_files(hub: Rc<Hub>) {
    let mut known_bad = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let live = hub.live();
        if live.config.reload != Reload::Watch || files(&live.config).is_empty() {
            continue;
        }
        let (config, bad) = (live.config.clone(), known_bad.clone());
        let in_force = hub.tls().stamps.clone();
        let look = tokio::task::spawn_blocking(move || look(&config, &in_force, &bad)).await;
        if hub.live().generation != live.generation {
            // Another lanes.yaml has come into force meanwhile, with files of its own.
            continue;
        }
        match look {
            Ok(Look::Changed(material)) => {
                hub.set_tls(material);
                hub.metrics.certificate_reloads.increment();
                tracing::info!("changed certificates are in force for new connections");
            }
            Ok(Look::Bad(stamps, error)) => {
                known_bad = stamps;
                hub.metrics.certificate_reload_failures.increment();
                tracing::warn!(%error, "changed certificates cannot be used; the old ones stay in force");
            }
            // The second: the runtime is ending.
            Ok(Look::Unchanged) | Err(_) => {}
        }
    }
}

fn look(config: &Config, in_force: &[Stamp], known_bad: &[Stamp]) -> Look {
    let now = stamps(&files(config));
    if now == in_force || now == known_bad {
        return Look::Unchanged;
    }
    match Material::load(config) {
        Ok(material) => Look::Changed(material),
        Err(error) => Look::Bad(now, error),
    }
}
