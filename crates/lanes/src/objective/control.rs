//! When an objective acts, when it listens in quiet, and what the other lanes may have meanwhile.

use std::time::Duration;

use super::baseline::{Baseline, ONE, Quotients};
use super::histogram::LogHistogram;
use super::law::Evidence;
use super::present::Present;
use super::{
    LEAST_SLOT_THOUSANDTHS, MAX_TARGETS, ObjectivePolicy, ObjectiveSnapshot, Phase, Sample, Target,
};
use crate::Time;
use crate::time::{earliest, nanos};
use crate::{LaneId, Mode};

/// What all others together begin with while nothing is known: one transaction at a time.
const START: f64 = 1.0;
/// The most they are ever limited to; more is no limit.
const MOST: f64 = 10_000.0;
/// A window closes with so many samples, but not before [`SHORTEST`], or with a few after [`LONGEST`].
const FULL: u32 = 48;
const FEW: u32 = 8;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(500);
/// What is kept of a window's weight in the next, of four: less after a move, because it speaks of another limit.
const KEPT: u32 = 3;
const KEPT_AFTER_MOVE: u32 = 2;
/// A sample's weight, so that keeping three in four of it is exact for a while.
const WEIGHT: u32 = 256;
/// Others must have been quiet for so long before a transaction whose time counts as quiet. It also keeps out gaps between
/// two statements of others, in which only transactions that happen to be short would count.
const SETTLED: Duration = Duration::from_millis(20);
/// In a moment of quiet that was made there are no such gaps.
const SETTLED_IN_PROBE: Duration = Duration::from_millis(3);
/// Of so many transactions, decayed, the share with a known class is taken.
const COVERAGE: u32 = 64;
/// Learning ends above the one share and begins again below the other, in thousandths.
const COVERED: u32 = 700;
const UNCOVERED: u32 = 400;
/// How often quiet is made while learning; twice as long after each [`LEARNING_TRIES`].
const LEARNING_EVERY: Duration = Duration::from_millis(1500);
const LEARNING_TRIES: u32 = 8;
/// After so many of them the loop is closed with what is known.
const LEARNING_GIVES_UP: u32 = 3 * LEARNING_TRIES;
/// While learning, a moment of quiet is so many times as long.
const LEARNING_LENGTH: u32 = 2;
/// What runs when the lane wakes runs to its end; for so long the limit is not judged by what that does.
const WAKING: Duration = Duration::from_millis(100);
/// The limit has been at its least and the objective missed for so many windows: perhaps it is nobody's doing, and a moment of
/// quiet tells. Not more often than this.
const HOPELESS: u32 = 5;
const HOPELESS_EVERY: Duration = Duration::from_secs(5);
/// Quiet samples that make a moment of quiet needless for a while.
const REFRESHED: u32 = 40;

/// What is left to the other lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hold {
    /// Everything.
    Free,
    /// Nothing, for a moment.
    All,
    /// This many slots, all of them together.
    To(f64),
}

/// What the other lanes did at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Slots they hold.
    pub(crate) held: u32,
    /// Those, and transactions that wait for one.
    pub(crate) wanted: u32,
}

/// A moment of quiet that is being made.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// When it ends if it did not become quiet.
    give_up: Time,
    /// When it became quiet, and when it ends then.
    quiet_until: Option<Time>,
    learned: u32,
}

/// Transactions since the limit was looked at last.
struct Window {
    /// Quotients by target.
    quotients: [LogHistogram; MAX_TARGETS],
    opened: Time,
    samples: u32,
    peak: u32,
    starved: bool,
}

/// The loop of one objective.
pub(crate) struct Control {
    pub(super) policy: ObjectivePolicy,
    pub(super) baseline: Baseline,
    present: Present,
    woke: Time,
    /// How long it was awake before that.
    awake_before: Duration,
    /// Windows in a row in which the limit was at its least and the objective missed.
    hopeless: u32,
    window: Window,
    /// Transactions whose class is known, and those whose is not.
    known: u32,
    unknown: u32,
    pub(super) ratios: [Option<f64>; MAX_TARGETS],
    limit: f64,
    pub(super) phase: Phase,
    probe: Option<Probe>,
    next_probe: Option<Time>,
    last_probe: Time,
    learned: u32,
    tries: u32,
    pub(super) probes: u64,
    pub(super) failed_probes: u64,
    pub(super) activations: u64,
    pub(super) lowered: u64,
    pub(super) raised: u64,
}

impl Control {
    pub(crate) fn new(policy: ObjectivePolicy) -> Self {
        Self {
            baseline: Baseline::new(&policy.targets),
            policy,
            present: Present::new(),
            woke: Time::ZERO,
            awake_before: Duration::ZERO,
            hopeless: 0,
            window: Window {
                quotients: std::array::from_fn(|_| LogHistogram::new()),
                opened: Time::ZERO,
                samples: 0,
                peak: 0,
                starved: false,
            },
            known: 0,
            unknown: 0,
            ratios: [None; MAX_TARGETS],
            limit: START,
            phase: Phase::Resting,
            probe: None,
            next_probe: None,
            last_probe: Time::ZERO,
            learned: 0,
            tries: 0,
            probes: 0,
            failed_probes: 0,
            activations: 0,
            lowered: 0,
            raised: 0,
        }
    }

    pub(crate) fn policy(&self) -> &ObjectivePolicy {
        &self.policy
    }

    /// Another policy; what was learned stays.
    pub(crate) fn set_policy(&mut self, policy: ObjectivePolicy) {
        if policy.targets != self.policy.targets {
            self.baseline.set_targets(&policy.targets);
            self.forget_window();
        }
        self.policy = policy;
    }

    /// The lane is not what it was: what it takes in quiet has to be learned again.
    pub(crate) fn forget(&mut self) {
        self.baseline.forget();
        self.present.forget();
        self.forget_window();
        (self.known, self.unknown, self.tries, self.learned) = (0, 0, 0, 0);
        self.limit = START;
        self.next_probe = None;
        if self.phase != Phase::Resting {
            self.phase = Phase::Learning;
        }
    }

    fn forget_window(&mut self) {
        for quotients in &mut self.window.quotients {
            quotients.keep(0, 1);
        }
        self.window.samples = 0;
        self.ratios = [None; MAX_TARGETS];
    }

    /// What is left to the others now.
    pub(crate) fn hold(&self) -> Hold {
        match (self.phase, self.probe) {
            (Phase::Resting, _) => Hold::Free,
            (_, Some(_)) => Hold::All,
            (_, None) => Hold::To(self.limit),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.probe {
            Some(_) => Phase::Probing,
            None => self.phase,
        }
    }

    /// Looks at the lanes again: whether the protected one has work (or since when it has none), and since when all others
    /// are quiet. Returns when it must look again though nothing happens.
    pub(crate) fn refresh(
        &mut self,
        now: Time,
        idle_since: Option<Time>,
        others_quiet_since: Option<Time>,
    ) -> Option<Time> {
        let ends = idle_since.map(|since| since + self.policy.linger);
        if ends.is_some_and(|end| end <= now) {
            self.awake_before = self.awake_total(now);
            self.phase = Phase::Resting;
            self.probe = None;
            return None;
        }
        if self.phase == Phase::Resting {
            self.activations += 1;
            self.woke = now;
            self.window.opened = now;
            self.window.samples = 0;
            self.phase = match self.knows_enough() {
                true => Phase::Keeping,
                false => Phase::Learning,
            };
        }
        // A moment of quiet is of use only while there is something to measure.
        if self.probe.is_none() && idle_since.is_some() {
            return ends;
        }
        earliest(ends, self.follow_probe(now, others_quiet_since))
    }

    /// How long it has not been at rest, all told.
    fn awake_total(&self, now: Time) -> Duration {
        match self.phase {
            Phase::Resting => self.awake_before,
            _ => self.awake_before + now.since(self.woke),
        }
    }

    /// Whether the loop can be closed. A baseline that was kept over a restart is as good as one that was just learned.
    fn knows_enough(&self) -> bool {
        let kept = || self.baseline.is_believed();
        self.covered().unwrap_or_else(kept)
    }

    fn follow_probe(&mut self, now: Time, others_quiet_since: Option<Time>) -> Option<Time> {
        let length = match self.phase {
            Phase::Learning => self.policy.probe_length * LEARNING_LENGTH,
            _ => self.policy.probe_length,
        };
        if self.policy.probe_every.is_zero() {
            self.probe = None;
            return None;
        }
        let Some(mut probe) = self.probe else {
            let due = match self.next_probe {
                Some(due) => due,
                None if self.phase == Phase::Learning => now,
                None => now + self.jittered(self.policy.probe_every),
            };
            self.next_probe = Some(due);
            if due > now {
                return Some(due);
            }
            self.probes += 1;
            let begun = Probe {
                give_up: now + length,
                quiet_until: None,
                learned: 0,
            };
            self.probe = Some(begun);
            return self.follow_probe(now, others_quiet_since);
        };
        if probe.quiet_until.is_none() && others_quiet_since.is_some() {
            probe.quiet_until = Some(now + length);
        }
        self.probe = Some(probe);
        let end = probe.quiet_until.unwrap_or(probe.give_up);
        if end > now {
            return Some(end);
        }
        self.failed_probes += u64::from(probe.learned == 0);
        self.probe = None;
        self.last_probe = now;
        self.window.opened = now;
        let pause = match self.phase {
            Phase::Learning => {
                self.tries = self.tries.saturating_add(1);
                if self.tries >= LEARNING_GIVES_UP && self.known > 0 {
                    // Statements that come once are never known: what is known has to do.
                    self.phase = Phase::Keeping;
                }
                let doublings = (self.tries / LEARNING_TRIES).min(10);
                let pause = LEARNING_EVERY * (1 << doublings);
                pause.min(self.policy.probe_every)
            }
            _ => self.policy.probe_every,
        };
        self.next_probe = Some(now + self.jittered(pause));
        self.next_probe
    }

    /// Up to a tenth more or less, so that it does not keep step with anything periodic. The same count gives the same.
    fn jittered(&self, pause: Duration) -> Duration {
        let mixed = (self.probes + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        let part = nanos(pause) / 5 / 1024 * mixed;
        pause - pause / 10 + Duration::from_nanos(part)
    }

    /// Takes note of a transaction of the protected lane. `true` when the limit, or what is done, changed.
    pub(crate) fn sample(
        &mut self,
        now: Time,
        sample: Sample,
        others_quiet_since: Option<Time>,
        usage: Usage,
    ) -> bool {
        let settled = match self.probe {
            Some(_) => SETTLED_IN_PROBE,
            None => SETTLED,
        };
        let quiet = others_quiet_since.is_some_and(|since| since + settled <= sample.began);
        if quiet {
            let before = self.baseline.quotients(sample.class, sample.served, now);
            if let Some(quotient) = before[0] {
                self.present.note(now, quotient);
            }
            self.baseline.learn(sample.class, sample.served, now);
            self.note_learned(now);
        }
        let latency = sample.served.saturating_add(sample.waited);
        let quotients = self.baseline.quotients(sample.class, latency, now);
        self.note_coverage(quotients[0].is_some());
        let before = self.phase;
        match (self.phase, self.covered()) {
            (Phase::Learning, Some(true)) => self.begin_keeping(now),
            (Phase::Keeping, Some(false)) if self.tries < LEARNING_TRIES => {
                self.phase = Phase::Learning;
                self.next_probe = None;
            }
            _ => {}
        }
        // What is measured while all others stand still says nothing of the limit.
        if self.probe.is_some() || self.woke + WAKING > now {
            return self.phase != before;
        }
        self.record(quotients, usage);
        self.close_window(now) || self.phase != before
    }

    fn note_learned(&mut self, now: Time) {
        self.learned += 1;
        if let Some(probe) = &mut self.probe {
            probe.learned += 1;
        }
        if self.learned >= REFRESHED && self.phase == Phase::Keeping && self.probe.is_none() {
            self.learned = 0;
            self.next_probe = Some(now + self.jittered(self.policy.probe_every));
        }
    }

    fn note_coverage(&mut self, is_known: bool) {
        self.known += u32::from(is_known);
        self.unknown += u32::from(!is_known);
        if self.known + self.unknown > COVERAGE {
            self.known /= 2;
            self.unknown /= 2;
        }
    }

    /// The share of transactions whose class is known, in thousandths.
    pub(super) fn coverage(&self) -> u32 {
        self.known * 1000 / (self.known + self.unknown).max(1)
    }

    /// Whether enough of what runs is known, if that can be said.
    fn covered(&self) -> Option<bool> {
        if self.known + self.unknown < COVERAGE / 4 {
            return None;
        }
        match self.coverage() {
            COVERED.. => Some(true),
            ..UNCOVERED => Some(false),
            _ => None,
        }
    }

    fn begin_keeping(&mut self, now: Time) {
        self.phase = Phase::Keeping;
        self.tries = 0;
        self.forget_window();
        self.window.opened = now;
        self.next_probe = None;
        if let Some(probe) = &mut self.probe {
            // Enough is known.
            probe.quiet_until = Some(now);
        }
    }

    fn record(&mut self, quotients: Quotients, usage: Usage) {
        let window = &mut self.window;
        window.samples += u32::from(quotients[0].is_some());
        for (seen, quotient) in window.quotients.iter_mut().zip(quotients) {
            if let Some(quotient) = quotient {
                // Buckets begin at 2^10, a 64th of one: less is no news.
                seen.record(quotient, WEIGHT);
            }
        }
        window.peak = window.peak.max(usage.held);
        window.starved |= f64::from(usage.wanted) > self.limit;
    }

    fn close_window(&mut self, now: Time) -> bool {
        let age = now.since(self.window.opened);
        let full = self.window.samples >= FULL && age >= SHORTEST;
        let late = self.window.samples >= FEW && age >= LONGEST;
        if !full && !late {
            return false;
        }
        let drift = self.drift(now);
        let mut excess: Option<f64> = None;
        for (place, target) in self.policy.targets.iter().enumerate().take(MAX_TARGETS) {
            let quotient = self.window.quotients[place].quantile(target.quantile);
            self.ratios[place] = quotient.map(|quotient| quotient as f64 / ONE as f64);
            if let Some(ratio) = self.ratios[place] {
                let missed = excess_of(ratio / drift, *target);
                excess = Some(excess.map_or(missed, |most| most.max(missed)));
            }
        }
        let before = self.limit;
        if let (Some(excess), Phase::Keeping) = (excess, self.phase) {
            let evidence = Evidence {
                excess,
                peak: f64::from(self.window.peak),
                starved: self.window.starved,
            };
            let least = f64::from(LEAST_SLOT_THOUSANDTHS) / 1000.0;
            self.limit = self.policy.law.next(before, evidence).clamp(least, MOST);
            self.note_hope(now, excess > 1.0 && self.limit <= least * 2.0);
        }
        let moved = self.limit != before;
        self.lowered += u64::from(self.limit < before);
        self.raised += u64::from(self.limit > before);
        let kept = if moved { KEPT_AFTER_MOVE } else { KEPT };
        for quotients in &mut self.window.quotients {
            quotients.keep(kept, 4);
        }
        self.window.opened = now;
        self.window.samples = 0;
        self.window.peak = 0;
        self.window.starved = false;
        moved
    }
}

impl Control {
    /// What can be seen of it; the lanes are the scheduler's to add.
    pub(crate) fn snapshot(&self, now: Time) -> ObjectiveSnapshot {
        let ratio = |ratio: Option<f64>| {
            // Within the range of a u32 after the clamp.
            ratio.map(|ratio| (ratio * 1000.0).clamp(0.0, 1e9) as u32)
        };
        let targets = self.policy.targets.iter().zip(self.ratios);
        ObjectiveSnapshot {
            lane: LaneId(0),
            mode: Mode::Enforce,
            phase: self.phase(),
            ratios: targets
                .map(|(target, found)| (*target, ratio(found)))
                .collect(),
            drift_thousandths: ratio(Some(self.drift(now))).unwrap_or(1000),
            limit_thousandths: None,
            lanes: Vec::new(),
            known_thousandths: self.coverage(),
            classes: self.baseline.snapshot(now),
            class_count: self.baseline.classes().len(),
            probes: self.probes,
            failed_probes: self.failed_probes,
            activations: self.activations,
            active_total: self.awake_total(now),
            held_back: 0,
            moves: (self.lowered, self.raised),
        }
    }
}

impl Control {
    /// How many times slower quiet is now than it was learned to be.
    pub(super) fn drift(&self, now: Time) -> f64 {
        let first = self.policy.targets.first();
        first.map_or(1.0, |target| self.present.drift(now, target.quantile))
    }

    /// Listens earlier where holding back does not help.
    fn note_hope(&mut self, now: Time, hopeless: bool) {
        self.hopeless = if hopeless { self.hopeless + 1 } else { 0 };
        if self.hopeless >= HOPELESS {
            self.hopeless = 0;
            let rested = self.last_probe + HOPELESS_EVERY;
            let due = self.next_probe.map_or(rested, |next| next.min(rested));
            self.next_probe = Some(due.max(now));
        }
    }
}

/// What is above the quiet value, relative to what may be.
fn excess_of(ratio: f64, target: Target) -> f64 {
    let allowed = (f64::from(target.times) / 1000.0 - 1.0).max(0.001);
    (ratio - 1.0) / allowed
}
