//! What is found of each run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::baseline::{Quiet, quiet};
use super::delays::{self, Delay};
use super::distribution::Distribution;
use super::history::History;
use super::record::{Happening, LaneSample, Sample};
use super::runs::{self, End, Kind, Span};
use super::timeline::{self, Point};
use super::verdict::{self, Verdict};
use super::words::{counted, moment, times};

/// The format of the report as JSON.
const VERSION: u32 = 1;
/// Happenings of one run that are told.
const MOST_HAPPENINGS: usize = 50;
/// Where there is no objective, a lane may take this many times its quiet latency undisturbed, in thousandths.
const USUAL_TIMES: u32 = 1100;

/// What happened between two moments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The format of this.
    pub version: u32,
    /// From when, in UTC.
    pub since: String,
    /// Until when.
    pub until: String,
    /// The runs, in the order in which they began.
    pub runs: Vec<Run>,
    /// What limits the report.
    pub notes: Vec<String>,
}

/// One evaluation run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its lane.
    pub lane: String,
    /// The lease's holder; for a busy period the lane and the time.
    pub name: String,
    /// What makes it a run.
    pub kind: Kind,
    /// When it began, in UTC.
    pub began: String,
    /// When it ended.
    pub ended: String,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    pub end: End,
    /// What came of it, in a word and a sentence.
    pub verdict: Verdict,
    /// What its transactions took, from the slot to the end.
    pub latency: Figures,
    /// What they waited for their slots.
    pub queue: Figures,
    /// What they take in quiet; none where too little is known.
    pub quiet: Option<Figures>,
    /// How many times longer than in quiet a transaction took, with its wait; none where that is not known.
    pub ratio: Option<f64>,
    /// What the ratio compares: `objective` (by class of statement, a high quantile) or `mean`.
    pub ratio_of: &'static str,
    /// What the ratio may be.
    pub allowed: f64,
    /// Errors that its clients got.
    pub errors: u64,
    /// Transactions that got no slot.
    pub rejected: u64,
    /// Who delayed it by how much, the most first.
    pub delays: Vec<Delay>,
    /// Whether waiting for processors was measured.
    pub cpu_measured: bool,
    /// What the other lanes did meanwhile.
    pub beside: Vec<Beside>,
    /// What held other lanes back for it.
    pub held_back: Vec<HeldBack>,
    /// What else happened.
    pub happenings: Vec<Happening>,
    /// Its course.
    pub timeline: Vec<Point>,
}

/// Durations in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// How many.
    pub count: u64,
    /// All of them together, in seconds.
    pub total_s: f64,
    /// In milliseconds, as the others.
    pub mean_ms: Option<f64>,
    /// The median.
    pub p50_ms: Option<f64>,
    /// The 95th percentile.
    pub p95_ms: Option<f64>,
    /// The 99th percentile.
    pub p99_ms: Option<f64>,
}

impl Figures {
    fn of(distribution: &Distribution) -> Self {
        let ms = |us: f64| (us).round() / 1e3;
        let quantile = |share| distribution.quantile_us(share).map(ms);
        Self {
            count: distribution.count(),
            total_s: distribution.sum().as_secs_f64(),
            mean_ms: distribution.mean_us().map(ms),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
        }
    }
}

/// What another lane did during a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Beside {
    /// Its name.
    pub lane: String,
    /// Transactions that ended.
    pub transactions: u64,
    /// The slots it had at work on average.
    pub slots: f64,
    /// Processor seconds of its backends; none where that was not measured.
    pub cpu_s: Option<f64>,
    /// How long it was held back.
    pub held_s: f64,
    /// How long its transactions waited for slots, together.
    pub waited_s: f64,
    /// Statements that throttles cancelled.
    pub cancels: u64,
    /// Transactions that got no slot.
    pub rejected: u64,
    /// Errors that its clients got.
    pub errors: u64,
}

/// What a throttle or an objective did during a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeldBack {
    /// Its name.
    pub by: String,
    /// It only observed: what follows is what it would have done.
    pub observed: bool,
    /// The lanes that it holds back.
    pub lanes: Vec<String>,
    /// How many times it was active.
    pub times: u64,
    /// Transactions that it kept waiting.
    pub kept: u64,
    /// Statements that it cancelled.
    pub cancels: u64,
}

impl HeldBack {
    /// What it did, in words.
    pub(super) fn words(&self) -> String {
        let (observed, kept, cancelled) = match self.observed {
            true => ("only observed: ", "would have kept", "would have cancelled"),
            false => ("", "kept", "cancelled"),
        };
        format!(
            "{observed}active {}, {kept} {} waiting, {cancelled} {}",
            times(self.times),
            counted(self.kept, "transaction"),
            counted(self.cancels, "statement"),
        )
    }
}

impl Report {
    /// What the history tells of the time between two moments, in milliseconds since 1970.
    pub fn of(history: &History, since: u64, until: u64) -> Self {
        let spans = runs::find(history, since, until);
        Self {
            version: VERSION,
            since: moment(since),
            until: moment(until),
            runs: spans.iter().map(|span| Run::of(history, span)).collect(),
            notes: notes(history, since),
        }
    }
}

fn notes(history: &History, since: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if history.is_empty() {
        notes.push(
            "nothing is written down: the proxy has not run, keeps no state, or history is off"
                .to_owned(),
        );
        return notes;
    }
    let first = history.begins.first().copied().unwrap_or(history.last);
    if first > since {
        notes.push(format!(
            "nothing is known of the time before {}",
            moment(first)
        ));
    }
    if history.unreadable > 0 {
        notes.push(format!(
            "{} lines of the history cannot be read (the proxy was killed, or is of another version) and are left out",
            history.unreadable
        ));
    }
    if history.protected.iter().all(|(_, lanes)| lanes.is_empty()) {
        notes.push(
            "no lane is protected: only leases are runs (lanes.yaml: a throttle that watches the lane, or an objective)"
                .to_owned(),
        );
    }
    notes
}

impl Run {
    fn of(history: &History, span: &Span) -> Self {
        let samples: Vec<&Sample> = history.within(span.began, span.ended).collect();
        let lane = span.lane.as_str();
        let own = Own::of(&samples, lane);
        let quiet = quiet(history, lane, span.ended);
        let protected = history.protected_at(span.ended).iter();
        let times = protected
            .filter(|one| one.lane == lane)
            .find_map(|one| one.times);
        let (ratio, ratio_of) = own.ratio(quiet.as_ref());
        let took = own.run.sum() + own.wait.sum();
        let mut run = Self {
            lane: lane.to_owned(),
            name: name(span),
            kind: span.kind,
            began: moment(span.began),
            ended: moment(span.ended),
            seconds: span.ended.saturating_sub(span.began) as f64 / 1e3,
            end: span.end,
            verdict: Verdict::default(),
            latency: Figures::of(&own.run),
            queue: Figures::of(&own.wait),
            quiet: quiet.as_ref().map(|quiet| Figures::of(&quiet.run)),
            ratio: ratio.map(|ratio| (ratio * 1e3).round() / 1e3),
            ratio_of,
            allowed: f64::from(times.unwrap_or(USUAL_TIMES)) / 1e3,
            errors: own.errors,
            rejected: own.rejected,
            delays: delays::of(&samples, lane, quiet.as_ref(), took, own.run.count()),
            cpu_measured: own.cpu_measured,
            beside: beside(&samples, lane),
            held_back: Vec::new(),
            happenings: happenings(history, span),
            timeline: timeline::of(&samples, lane, span.began, span.ended),
        };
        run.held_back = held_back(&samples, lane, &run.beside);
        run.verdict = verdict::of(&run);
        run
    }
}

fn name(span: &Span) -> String {
    span.holder
        .clone()
        .unwrap_or_else(|| format!("{} at {}", span.lane, moment(span.began)))
}

/// What the run's own lane did.
#[derive(Default)]
struct Own {
    run: Distribution,
    wait: Distribution,
    errors: u64,
    rejected: u64,
    cpu_measured: bool,
    /// The ratios that its objective measured, each with the transactions it speaks of.
    ratios: Vec<(f64, u64)>,
}

impl Own {
    fn of(samples: &[&Sample], lane: &str) -> Self {
        let mut own = Self::default();
        for seen in samples.iter().filter_map(|sample| sample.lane(lane)) {
            own.run.add(&seen.run);
            own.wait.add(&seen.wait);
            own.errors += seen.e;
            own.rejected += seen.rejected;
            own.cpu_measured |= seen.cpu.is_some();
            if let Some(ratio) = seen.ratio {
                own.ratios.push((f64::from(ratio) / 1e3, seen.x));
            }
        }
        own
    }

    /// How many times as long as in quiet, and by what measure. The objective's knows the mix of statements.
    fn ratio(&self, quiet: Option<&Quiet>) -> (Option<f64>, &'static str) {
        let spoken_of: u64 = self.ratios.iter().map(|(_, count)| count).sum();
        if spoken_of > 0 && spoken_of.saturating_mul(2) >= self.run.count() {
            let all: f64 = self
                .ratios
                .iter()
                .map(|(ratio, count)| ratio * *count as f64)
                .sum();
            return (Some(all / spoken_of as f64), "objective");
        }
        let mean = self
            .run
            .mean_us()
            .map(|run| run + self.wait.mean_us().unwrap_or(0.0));
        let quiet = quiet.and_then(Quiet::mean_us).filter(|quiet| *quiet > 0.0);
        let ratio = mean.zip(quiet).map(|(mean, quiet)| mean / quiet);
        (ratio, "mean")
    }
}

fn beside(samples: &[&Sample], lane: &str) -> Vec<Beside> {
    let mut lanes: BTreeMap<&str, Other> = BTreeMap::new();
    let covered: u64 = samples.iter().map(|sample| sample.d).sum();
    for sample in samples {
        for seen in sample.lanes.iter().filter(|seen| seen.n != lane) {
            lanes.entry(&seen.n).or_default().take(sample, seen);
        }
    }
    let lanes = lanes.into_iter().filter(|(_, other)| other.did_or_would);
    let lanes = lanes.map(|(name, other)| Beside {
        lane: name.to_owned(),
        slots: other.worked.as_secs_f64() * 1e3 / covered.max(1) as f64,
        ..other.found
    });
    lanes.collect()
}

/// Another lane, so far.
#[derive(Default)]
struct Other {
    found: Beside,
    /// Slot time.
    worked: Duration,
    /// It did something, or waited to.
    did_or_would: bool,
}

impl Other {
    fn take(&mut self, sample: &Sample, seen: &LaneSample) {
        let found = &mut self.found;
        found.transactions += seen.x;
        found.held_s += seen.held as f64 / 1e3;
        found.waited_s += seen.wait.sum().as_secs_f64();
        found.cancels += seen.cancels;
        found.rejected += seen.rejected;
        found.errors += seen.e;
        if let Some((ran, _)) = seen.cpu {
            *found.cpu_s.get_or_insert_default() += ran as f64 / 1e3;
        }
        // What has not ended is not in the sums yet: it had its slot all the time.
        let open = Duration::from_millis(sample.d) * u32::try_from(seen.busy).unwrap_or(0);
        self.worked += seen.run.sum().max(open);
        self.did_or_would |= seen.x + seen.busy + seen.waiting + seen.rejected > 0;
    }
}

/// What throttles and objectives did to lanes that had something to do.
fn held_back(samples: &[&Sample], lane: &str, beside: &[Beside]) -> Vec<HeldBack> {
    let mut all: BTreeMap<&str, HeldBack> = BTreeMap::new();
    for sample in samples {
        for throttle in sample.throttles.iter().filter(|one| one.watch == lane) {
            let held = all.entry(&throttle.n).or_insert_with(|| HeldBack {
                // It became active with the run, or was already.
                times: u64::from(throttle.active && throttle.times == 0),
                observed: throttle.observes,
                ..HeldBack::default()
            });
            held.times += throttle.times;
            held.kept += throttle.kept;
            held.cancels += throttle.cancels;
            let by_name = sample
                .lanes
                .iter()
                .filter(|seen| seen.by.contains(&throttle.n));
            let lanes = by_name.map(|seen| seen.n.as_str());
            for lane in lanes.chain([throttle.lane.as_str()]) {
                let is_new = !held.lanes.iter().any(|known| known == lane);
                if is_new && beside.iter().any(|other| other.lane == lane) {
                    held.lanes.push(lane.to_owned());
                }
            }
        }
    }
    let all = all.into_iter().map(|(by, held)| HeldBack {
        by: by.to_owned(),
        ..held
    });
    all.filter(|held| !held.lanes.is_empty()).collect()
}

/// What an operator would want to know of, leases and the beginning apart.
fn happenings(history: &History, span: &Span) -> Vec<Happening> {
    let events = history.events_within(span.began, span.ended);
    let told = events.filter(|event| event.who.is_none());
    told.take(MOST_HAPPENINGS).cloned().collect()
}
