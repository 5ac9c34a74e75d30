//! What lanes with an objective take in quiet, kept over restarts: a file in the state folder, written from time to time and
//! at the end, read at the start.
//!
//! The file is of one PostgreSQL and of lanes as they were. Where the address is another, nothing of it counts; where the
//! version or a lane's settings are, the data path leaves it out. A file
//! that is damaged, too large, or of another version of this format counts for nothing, and says so.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pglanes_config::{Config, Process};
use pglanes_lanes::objective::{BaselineExport, ClassExport};
use pglanes_proxy::{Baselines, Handle, LaneBaseline};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::upstream;
use crate::state::State;

/// The file's name in the state folder.
const FILE: &str = "baselines.json";
/// The format's version.
const VERSION: u32 = 1;
/// The largest file that is read: far above what the bounds on lanes, classes and buckets allow in use.
const LARGEST: u64 = 8 << 20;
/// How often it is written.
const EVERY: Duration = Duration::from_secs(60);
/// How often what was learned is fetched, so that the end has something to write.
const FETCH: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// Seconds since 1970.
    saved: u64,
    upstream: String,
    server_version: Option<String>,
    lanes: Vec<KeptLane>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptLane {
    name: String,
    /// A hash of its settings.
    settings: u64,
    classes: Vec<KeptClass>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptClass {
    kind: String,
    shape: u64,
    buckets: Vec<(u32, u32)>,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Age {
    /// How old it is.
    pub age: Duration,
    /// Its lanes, with the number of classes of each.
    pub lanes: Vec<(String, usize)>,
}

/// Keeps what the lanes of one proxy learn.
pub(super) struct Keeper {
    state: Option<State>,
    config: Config,
    handle: Handle,
    latest: Mutex<Baselines>,
    written: Mutex<Baselines>,
}

impl Keeper {
    pub(super) fn new(state: Option<State>, config: Config, handle: Handle) -> Self {
        Self {
            state,
            config,
            handle,
            latest: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// Takes in what was kept, then keeps what is learned for as long as it is polled.
    pub(super) async fn run(&self) {
        let Some(state) = &self.state else {
            return;
        };
        self.restore(state).await;
        let mut passed = Duration::ZERO;
        loop {
            tokio::time::sleep(FETCH).await;
            passed += FETCH;
            if let Some(learned) = self.handle.baselines().await {
                *self.latest.lock().await = learned;
            }
            if passed >= EVERY {
                passed = Duration::ZERO;
                self.write().await;
            }
        }
    }

    async fn restore(&self, state: &State) {
        let path = state.folder().join(FILE);
        let left_out = |error: &str| tracing::warn!("{}: {error}; it is left out", path.display());
        match read(&path, &self.config) {
            Ok(Some((kept, age))) if !kept.lanes.is_empty() => {
                match self.handle.restore_baselines(kept).await {
                    Ok(()) => {
                        let age = in_one_unit(age.age);
                        tracing::info!(age, "quiet latencies of before are known");
                    }
                    Err(error) => left_out(&error),
                }
            }
            Ok(_) => {}
            Err(error) => left_out(&error),
        }
    }

    /// Writes what was learned last, if it is not written yet.
    pub(super) async fn write(&self) {
        let Some(state) = self.state.clone() else {
            return;
        };
        let learned = self.latest.lock().await.clone();
        let has_any = |lane: &LaneBaseline| !lane.learned.classes.is_empty();
        let mut written = self.written.lock().await;
        if learned == *written || !learned.lanes.iter().any(has_any) {
            return;
        }
        let (config, kept) = (self.config.clone(), learned.clone());
        // Written aside: a disk may be slow.
        let wrote = tokio::task::spawn_blocking(move || write(&state, &config, &kept)).await;
        match wrote {
            Ok(Ok(())) => *written = learned,
            Ok(Err(error)) => tracing::warn!("quiet latencies are not kept: {error}"),
            // The runtime is ending.
            Err(_) => {}
        }
    }
}

/// How old what is kept is, and of which lanes; `None` where there is none.
pub(crate) fn age(config: &Config) -> Option<Age> {
    let folder = config
        .state
        .for_port(config.first_port(), &Process::default())?;
    let (_, age) = read(&folder.join(FILE), config).ok()??;
    Some(age)
}

fn write(state: &State, config: &Config, learned: &Baselines) -> Result<(), String> {
    let lanes = learned.lanes.iter().map(|lane| KeptLane {
        name: lane.learned.lane.clone(),
        settings: lane.settings,
        classes: lane
            .learned
            .classes
            .iter()
            .map(|class| KeptClass {
                kind: class.kind.clone(),
                shape: class.shape,
                buckets: class.buckets.clone(),
            })
            .collect(),
    });
    let kept = Kept {
        version: VERSION,
        saved: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        upstream: upstream::place(&config.upstream),
        server_version: learned.server_version.clone(),
        lanes: lanes.collect(),
    };
    let text = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
    state.write(FILE, &text).map_err(|error| error.to_string())
}

/// What of a file still counts for this configuration.
fn read(path: &Path, config: &Config) -> Result<Option<(Baselines, Age)>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    let limited = file.take(LARGEST + 1).read_to_end(&mut text);
    limited.map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    let kept: Kept = serde_json::from_slice(&text)
        .map_err(|error| format!("it is damaged at line {}", error.line()))?;
    if kept.version != VERSION {
        return Err(format!(
            "it is of version {}; this pglanes keeps version {VERSION}",
            kept.version
        ));
    }
    let saved = UNIX_EPOCH + Duration::from_secs(kept.saved.min(u64::from(u32::MAX)));
    let age = SystemTime::now().duration_since(saved).unwrap_or_default();
    let same_place = kept.upstream == upstream::place(&config.upstream);
    let counting = kept.lanes.into_iter().filter(|_| same_place);
    let lanes: Vec<LaneBaseline> = counting
        .map(|lane| LaneBaseline {
            settings: lane.settings,
            learned: BaselineExport {
                lane: lane.name,
                classes: lane
                    .classes
                    .into_iter()
                    .map(|class| ClassExport {
                        kind: class.kind,
                        shape: class.shape,
                        buckets: class.buckets,
                    })
                    .collect(),
            },
        })
        .collect();
    let named = lanes
        .iter()
        .map(|lane| (lane.learned.lane.clone(), lane.learned.classes.len()));
    let age = Age {
        age,
        lanes: named.collect(),
    };
    let server_version = kept.server_version;
    Ok(Some((
        Baselines {
            server_version,
            lanes,
        },
        age,
    )))
}

/// An age in the largest unit that is not zero.
pub(crate) fn in_one_unit(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use pglanes_config::StateFolder;

    use super::*;

    fn learned() -> Baselines {
        Baselines {
            server_version: Some("16".to_owned()),
            lanes: vec![LaneBaseline {
                settings: 5,
                learned: BaselineExport {
                    lane: "evaluation".to_owned(),
                    classes: vec![ClassExport {
                        kind: "SELECT".to_owned(),
                        shape: u64::MAX,
                        buckets: vec![(3, 40), (17, 2)],
                    }],
                },
            }],
        }
    }

    /// Removed when it is dropped.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> (Folder, State) {
        let name = format!("pglanes-baselines-{}-{name}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        let wanted = StateFolder::At(folder.0.clone());
        let state = State::open(&wanted, 6433).unwrap().unwrap();
        (folder, state)
    }

    #[test]
    fn what_is_written_is_read_again_and_another_place_forgets_it() {
        let (_folder, state) = folder("kept");
        let path = state.folder().join(FILE);
        let mut config = Config::default();
        config.upstream.unix_socket = pglanes_config::UnixSocket::Off;
        assert_eq!(read(&path, &config).unwrap(), None);
        write(&state, &config, &learned()).unwrap();
        let (kept, age) = read(&path, &config).unwrap().unwrap();
        assert_eq!(kept, learned());
        assert_eq!(age.lanes, [("evaluation".to_owned(), 1)]);
        assert!(age.age < Duration::from_secs(60));
        config.upstream.address = pglanes_config::UpstreamAddress::Tcp {
            host: "elsewhere".to_owned(),
            port: 1,
        };
        assert_eq!(read(&path, &config).unwrap().unwrap().0.lanes, []);
    }

    #[test]
    fn a_damaged_file_counts_for_nothing_and_says_so() {
        let (_folder, state) = folder("damaged");
        let path = state.folder().join(FILE);
        let config = Config::default();
        write(&state, &config, &learned()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path, &config).unwrap_err().contains("damaged"));
        }
        let text = String::from_utf8(whole).unwrap();
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":9")).unwrap();
        assert!(read(&path, &config).unwrap_err().contains("version 9"));
        std::fs::write(&path, vec![b' '; LARGEST as usize + 1]).unwrap();
        assert!(read(&path, &config).unwrap_err().contains("bytes"));
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let told = |seconds| in_one_unit(Duration::from_secs(seconds));
        assert_eq!(
            [told(5), told(600), told(10_000), told(1_000_000)],
            ["5s", "10m", "2h", "11d"]
        );
    }
}
