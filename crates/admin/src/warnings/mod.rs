//! Early warnings: what the alerts of `deploy/prometheus/rules` say, for who has no Prometheus and looks at the dashboard or at
//! `pglanes top`.
//!
//! - `signs`: what is watched, and what to do about each
//! - `sample`: the state at one moment
//! - `judge`: which signs show in it, held against the samples before
//!
//! A sign is told as one that is watched when it has shown for half as long as its alert asks, and as a warning when it has
//! shown for as long.

mod judge;
mod sample;
mod signs;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pglanes_proxy::View;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::answers::Source;
use judge::findings;
use sample::Sample;
pub(crate) use sample::share_left;
pub use signs::{SIGNS, Severity, Sign};

/// How often a sample is kept, and taken where nobody looks.
const EVERY: Duration = Duration::from_secs(10);
/// Samples that are kept: the longest that a sign looks back, ten minutes.
const MOST_SAMPLES: usize = 61;
/// Warnings that are told at most, the worst first.
const MOST_WARNINGS: usize = 30;

/// A sign that shows.
#[derive(Clone, Debug, PartialEq)]
struct Warning {
    sign: &'static Sign,
    /// The lane, throttle or client that it shows in.
    about: String,
    says: String,
    shown_for: Duration,
}

impl Warning {
    /// It has shown for as long as its alert asks.
    fn fires(&self) -> bool {
        self.shown_for >= self.sign.holds
    }

    /// It has shown for half as long.
    fn is_worth_telling(&self) -> bool {
        self.shown_for * 2 >= self.sign.holds
    }
}

/// What was seen so far. A sample of a lane is some two hundred bytes.
#[derive(Debug, Default)]
struct Watch {
    samples: VecDeque<Sample>,
    /// Since when each sign shows.
    since: BTreeMap<(&'static str, String), Duration>,
}

impl Watch {
    fn look(&mut self, now: Sample) -> Vec<Warning> {
        if self.samples.is_empty() {
            // All counts began at zero, and so did the time.
            self.samples.push_back(now.at_the_start());
        }
        let mut warnings = Vec::new();
        let mut since = BTreeMap::new();
        for found in findings(&self.samples, &now) {
            let key = (found.sign.alert, found.about.clone());
            let began = self.since.get(&key).copied().unwrap_or(now.at);
            since.insert(key, began);
            warnings.push(Warning {
                sign: found.sign,
                about: found.about,
                says: found.says,
                shown_for: now.at.saturating_sub(began),
            });
        }
        self.since = since;
        // What shows only for a moment is nobody's trouble yet.
        warnings.retain(Warning::is_worth_telling);
        warnings.sort_by_key(|warning| (!warning.fires(), warning.sign.severity));
        warnings.truncate(MOST_WARNINGS);
        let last = self.samples.back().map(|sample| sample.at);
        if last.is_none_or(|last| now.at >= last + EVERY) {
            self.samples.push_back(now);
            if self.samples.len() > MOST_SAMPLES {
                self.samples.pop_front();
            }
        }
        warnings
    }
}

/// The watch of one proxy, shared by whoever looks. Locked for one look, and never across a wait.
#[derive(Clone, Debug)]
pub(crate) struct Warnings {
    started: Instant,
    watch: Arc<Mutex<Watch>>,
}

impl Warnings {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            watch: Arc::default(),
        }
    }

    /// What shows at this moment.
    pub(crate) async fn told(&self, source: &Source, view: &View) -> Vec<Value> {
        let leases = source.handle.leases().await.unwrap_or_default();
        let metrics = source.handle.metrics();
        let at = self.started.elapsed();
        let sample = Sample::of(at, view, metrics, &source.status(), &leases);
        // A watch whose holder panicked is as good as before: each look replaces what it says.
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.look(sample).iter().map(shown).collect()
    }

    /// Looks again and again, so that who opens the dashboard sees what has been so for a while. Dropped, nothing is lost.
    pub(crate) async fn keep_watching(self, source: Source) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Some(view) = source.view().await {
                self.told(&source, &view).await;
            }
        }
    }
}

fn shown(warning: &Warning) -> Value {
    json!({
        "name": warning.sign.alert,
        "severity": warning.sign.severity.label(),
        "fires": warning.fires(),
        "about": warning.about,
        "says": warning.says,
        "for_s": warning.shown_for.as_secs_f64(),
        "do": warning.sign.action,
    })
}
