//! What the lanes did, written down beside the data path for `pglanes report`: a look every few seconds, and at once when an
//! evaluation begins or ends.
//!
//! - `files`: where the lines are kept, within their bounds
//! - `cpu`: what the backends had of the processors, where PostgreSQL is on this host

mod cpu;
mod files;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pglanes_admin::report::{
    Begin, FORMAT, LaneCpu, Protected, Record, Sampler, happening, protected,
};
use pglanes_config::{Config, History};
use pglanes_proxy::{EventKind, Handle};
use tokio::sync::watch;

use crate::state::State;
use cpu::Cpu;
pub(crate) use files::read;
use files::{Bounds, Files};

/// However often leases come and go, so long passes between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// Lines of one look at most: the rest is left out. Far above what lanes, throttles and thinned events make in a minute.
const MOST_LINES: usize = 4096;

/// Writes until the proxy has ended. Follows `history` of each configuration that comes.
pub(crate) async fn keep(
    state: Option<State>,
    mut configs: watch::Receiver<Config>,
    handle: Handle,
) {
    let Some(state) = state else {
        return handle.ended().await;
    };
    let mut keeper = Keeper::new(&state, handle.clone());
    let keeping = async {
        loop {
            let config = configs.borrow_and_update().clone();
            tokio::select! {
                changed = configs.changed() => if changed.is_err() {
                    // Nobody is left who could send another one.
                    std::future::pending::<()>().await;
                },
                () = keeper.keep(&config) => {}
            }
        }
    };
    tokio::select! {
        () = handle.ended() => {}
        () = keeping => {}
    }
}

/// One proxy's keeper. What it waits for may be dropped between two looks; within one, a look is lost at most.
struct Keeper {
    handle: Handle,
    /// The proxy's in the state folder.
    folder: PathBuf,
    /// Taken out while it writes; none before the first line.
    files: Option<Files>,
    sampler: Sampler,
    cpu: Cpu,
    /// The number of the last event that was written.
    event: u64,
    protected: Option<Vec<Protected>>,
    begun: bool,
    told: bool,
}

impl Keeper {
    fn new(state: &State, handle: Handle) -> Self {
        Self {
            handle,
            folder: state.folder().to_owned(),
            files: None,
            sampler: Sampler::default(),
            cpu: Cpu::default(),
            event: 0,
            protected: None,
            begun: false,
            told: false,
        }
    }

    /// Under one configuration, for ever.
    async fn keep(&mut self, config: &Config) {
        let Some(history) = config.history else {
            return std::future::pending().await;
        };
        self.cpu.is_here(config);
        let mut events = self.handle.events().follow();
        loop {
            if self.look(config, history).await.is_none() {
                return std::future::pending().await;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let next = tokio::time::sleep(history.interval.saturating_sub(BETWEEN_LOOKS));
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = &mut next => break,
                    changed = events.changed() => {
                        if changed.is_err() {
                            next.as_mut().await;
                            break;
                        }
                        let last = *events.borrow_and_update();
                        if self.is_worth_a_look(last) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Whether an evaluation began or ended among the events since the last look, or the proxy is ending.
    fn is_worth_a_look(&self, last: u64) -> bool {
        let page = self
            .handle
            .events()
            .since(self.event.max(last.saturating_sub(64)));
        page.events.iter().any(|event| {
            matches!(
                event.kind,
                EventKind::LeaseTaken { .. }
                    | EventKind::LeaseEnded { .. }
                    | EventKind::LeaseExpired { .. }
                    | EventKind::Ending { .. }
            )
        })
    }

    /// One look, written; `None` once the proxy has ended.
    async fn look(&mut self, config: &Config, history: History) -> Option<()> {
        let cpu = self.look_at_processors().await;
        let view = self.handle.view().await?;
        let now = now();
        let mut records = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            let begin = Begin {
                t: now,
                format: FORMAT,
                version,
            };
            records.push(Record::Begin(begin));
        }
        let lanes = protected(config);
        if self.protected.as_ref() != Some(&lanes) {
            records.push(Record::Lanes {
                t: now,
                protected: lanes.clone(),
            });
            self.protected = Some(lanes);
        }
        let metrics = self.handle.metrics();
        let sample = self.sampler.look(now, &view, metrics, cpu.as_deref());
        records.extend(sample.map(Record::Sample));
        self.take_events(&mut records);
        self.write(records, history).await;
        Some(())
    }

    /// Events that came since. Those from before the first look are of this proxy too.
    fn take_events(&mut self, records: &mut Vec<Record>) {
        while records.len() < MOST_LINES {
            let page = self.handle.events().since(self.event);
            let Some(last) = page.events.last() else {
                return;
            };
            self.event = last.number;
            let told = page.events.iter().filter_map(happening);
            records.extend(told.map(Record::Event));
        }
    }

    async fn look_at_processors(&mut self) -> Option<Vec<LaneCpu>> {
        if !self.cpu.can_be_known() {
            return None;
        }
        let servers = self.handle.servers().await?;
        // /proc may make wait.
        let mut cpu = std::mem::take(&mut self.cpu);
        let looked = tokio::task::spawn_blocking(move || {
            let lanes = cpu.look(&servers);
            (cpu, lanes)
        });
        // The runtime is ending, if not.
        let (cpu, lanes) = looked.await.ok()?;
        self.cpu = cpu;
        lanes
    }

    async fn write(&mut self, records: Vec<Record>, history: History) {
        // One that was lost is opened anew.
        let files = self.files.take();
        let mut files = files.unwrap_or_else(|| Files::new(&self.folder));
        let lines = records
            .iter()
            .filter_map(|record| serde_json::to_string(record).ok());
        let mut text = String::new();
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        let bounds = Bounds {
            keep: history.keep,
            size: history.size,
        };
        // A disk may be slow.
        let written = tokio::task::spawn_blocking(move || {
            let written = files.append(&text, &bounds);
            (files, written)
        });
        let Ok((files, written)) = written.await else {
            return;
        };
        self.files = Some(files);
        match written {
            Ok(()) => self.told = false,
            Err(error) if !std::mem::replace(&mut self.told, true) => {
                tracing::warn!("what the lanes do is not written down: {error}");
            }
            Err(_) => {}
        }
    }
}

/// Milliseconds since 1970; zero for a clock that stands before.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
