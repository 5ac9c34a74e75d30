//! The state as the proxy tells it, and what grows between two of them.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

/// States that are kept, one a second.
const MOST_KEPT: usize = 120;
/// What rates and percentiles are taken over, in milliseconds.
const WINDOW: u64 = 10_000;
/// What a lane must have waited for locks within the window to be told.
const LONG_BLOCKED: f64 = 0.05;

/// What the dashboard is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// In milliseconds since 1970.
    pub(super) at: u64,
    pub(super) draining: bool,
    pub(super) upstream: Upstream,
    pub(super) slots: Slots,
    pub(super) sessions: u64,
    pub(super) waiting: u64,
    pub(super) out_of_sync: u64,
    pub(super) bounds_us: Vec<u64>,
    pub(super) lanes: Vec<Lane>,
    pub(super) throttles: Vec<Throttle>,
    pub(super) objectives: Vec<Objective>,
    pub(super) observed: Observed,
    pub(super) clients: Vec<Client>,
    pub(super) events: Vec<Happening>,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Upstream {
    pub(super) state: String,
    pub(super) why: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Slots {
    pub(super) total: u32,
    pub(super) in_use: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) mode: String,
    pub(super) paused: bool,
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) effective: u32,
    pub(super) busy: u32,
    pub(super) idle: u32,
    pub(super) opening: u32,
    pub(super) waiting: u64,
    pub(super) oldest_wait_s: f64,
    pub(super) sessions: u64,
    pub(super) leases: u64,
    pub(super) transactions: u64,
    pub(super) throttled_by: Vec<String>,
    pub(super) pinned: BTreeMap<String, i64>,
    pub(super) buckets: Vec<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Throttle {
    pub(super) name: String,
    pub(super) watch: String,
    pub(super) lane: String,
    pub(super) active: bool,
    pub(super) limit: Option<u32>,
    pub(super) held_back: u64,
    pub(super) cancels: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Objective {
    pub(super) lane: String,
    pub(super) phase: String,
    pub(super) ratios: Vec<Ratio>,
    pub(super) limit: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ratio {
    pub(super) quantile: f64,
    pub(super) target: f64,
    pub(super) ratio: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Observed {
    pub(super) direct: Vec<Direct>,
    pub(super) blocked: Vec<Blocked>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Direct {
    pub(super) application_name: String,
    pub(super) user: String,
    pub(super) connections: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Blocked {
    pub(super) blocker: String,
    pub(super) blocked: String,
    pub(super) seconds: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Client {
    pub(super) application_name: String,
    pub(super) user: String,
    pub(super) lane: String,
    pub(super) rule: Option<String>,
    pub(super) state: String,
    pub(super) for_s: Option<f64>,
    pub(super) pins: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Happening {
    pub(super) at: u64,
    pub(super) kind: String,
    pub(super) lane: Option<String>,
    pub(super) detail: String,
    pub(super) times: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Warning {
    pub(super) severity: String,
    pub(super) fires: bool,
    pub(super) says: String,
    #[serde(rename = "do")]
    pub(super) action: String,
}

impl State {
    fn lane(&self, name: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.name == name)
    }

    /// The lane that others yield to: the one with an objective, else the one that a throttle watches.
    pub(super) fn protected(&self) -> Option<&Lane> {
        let objective = self.objectives.first().map(|one| &one.lane);
        let watched = || self.throttles.first().map(|throttle| &throttle.watch);
        match objective.or_else(watched) {
            Some(name) => self.lane(name),
            None => self.lanes.first(),
        }
    }
}

/// How it stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Wait,
    Bad,
}

/// The latest states, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<State>);

impl History {
    pub(super) fn push(&mut self, state: State) {
        // A proxy that was started anew counts from zero.
        let restarted = self.now().is_some_and(|last| {
            let fell = |lane: &Lane| {
                last.lane(&lane.name)
                    .is_some_and(|old| lane.transactions < old.transactions)
            };
            state.lanes.iter().any(fell)
        });
        if restarted {
            self.0.clear();
        }
        self.0.push_back(state);
        if self.0.len() > MOST_KEPT {
            self.0.pop_front();
        }
    }

    pub(super) fn now(&self) -> Option<&State> {
        self.0.back()
    }

    /// The first state within the window before this place.
    fn then(&self, place: usize) -> Option<&State> {
        let until = self.0.get(place)?.at.saturating_sub(WINDOW);
        self.0
            .iter()
            .take(place + 1)
            .find(|state| state.at >= until)
    }

    fn pair(&self, name: &str, place: usize) -> Option<(&Lane, &Lane, u64)> {
        let (then, now) = (self.then(place)?, self.0.get(place)?);
        let passed = now.at.saturating_sub(then.at);
        Some((then.lane(name)?, now.lane(name)?, passed))
    }

    /// Transactions of a lane in a second.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        let (then, now, passed) = self.pair(name, self.0.len().checked_sub(1)?)?;
        let grown = now.transactions.saturating_sub(then.transactions);
        (passed > 0).then(|| grown as f64 * 1000.0 / passed as f64)
    }

    /// A percentile of what ended within the window, in seconds.
    pub(super) fn percentile(&self, name: &str, share: f64) -> Option<f64> {
        self.percentile_at(name, share, self.0.len().checked_sub(1)?)
    }

    fn percentile_at(&self, name: &str, share: f64, place: usize) -> Option<f64> {
        let (then, now, _) = self.pair(name, place)?;
        let bounds = &self.0.get(place)?.bounds_us;
        let pairs = now.buckets.iter().zip(&then.buckets);
        let grown: Vec<f64> = pairs
            .map(|(now, then)| now.saturating_sub(*then) as f64)
            .collect();
        let all: f64 = grown.iter().sum();
        if all == 0.0 {
            return None;
        }
        let mut passed = 0.0;
        for (place, count) in grown.iter().enumerate() {
            if *count > 0.0 && passed + count >= share * all {
                let low = place.checked_sub(1).and_then(|place| bounds.get(place));
                let low = low.map_or(0.0, |bound| *bound as f64);
                let high = bounds.get(place).map_or(low * 2.0, |bound| *bound as f64);
                return Some((low + (high - low) * (share * all - passed) / count) / 1e6);
            }
            passed += count;
        }
        None
    }

    /// A percentile of a lane at each second that is kept, for a line of it.
    pub(super) fn trace(&self, name: &str, share: f64) -> Vec<Option<f64>> {
        (0..self.0.len())
            .map(|place| self.percentile_at(name, share, place))
            .collect()
    }

    /// Lanes whose locks this one has waited for of late.
    fn blockers(&self, name: &str) -> Vec<&str> {
        let Some((now, place)) = self.now().zip(self.0.len().checked_sub(1)) else {
            return Vec::new();
        };
        let then = self.then(place);
        let pairs = now
            .observed
            .blocked
            .iter()
            .filter(|pair| pair.blocked == name);
        let late = pairs.filter(|pair| {
            let old = then.into_iter().flat_map(|then| &then.observed.blocked);
            let mut old =
                old.filter(|old| (&old.blocker, &old.blocked) == (&pair.blocker, &pair.blocked));
            pair.seconds - old.next().map_or(0.0, |old| old.seconds) > LONG_BLOCKED
        });
        late.map(|pair| pair.blocker.as_str()).collect()
    }

    /// Whether the protected lane is disturbed and by whom, in a sentence.
    pub(super) fn verdict(&self) -> (Tone, String) {
        let Some(now) = self.now() else {
            return (Tone::Wait, "Waiting for the proxy.".to_owned());
        };
        if now.draining {
            return (
                Tone::Wait,
                "The proxy is ending: what runs finishes, nothing new begins.".to_owned(),
            );
        }
        if now.upstream.state == "down" {
            return (
                Tone::Bad,
                format!("PostgreSQL cannot be reached: {}", now.upstream.why),
            );
        }
        if now.out_of_sync > 0 {
            return (
                Tone::Bad,
                "A server connection was closed out of sync: please report it.".to_owned(),
            );
        }
        match now.protected() {
            Some(lane) => self.verdict_of(now, lane),
            None => (Tone::Wait, "There are no lanes.".to_owned()),
        }
    }

    fn verdict_of(&self, now: &State, lane: &Lane) -> (Tone, String) {
        let name = &lane.name;
        let blockers = self.blockers(name);
        if !blockers.is_empty() {
            return (
                Tone::Bad,
                format!("{name} waits for locks of {}.", blockers.join(", ")),
            );
        }
        if lane.waiting > 0 && lane.oldest_wait_s > LONG_BLOCKED {
            let says = format!("{name} waits for slots: {} transactions.", lane.waiting);
            return (Tone::Wait, says);
        }
        if lane.busy == 0 && self.rate(name).unwrap_or(0.0) == 0.0 {
            return (
                Tone::Good,
                format!("{name} is at rest; everybody else has the database."),
            );
        }
        let ratios = now
            .objectives
            .iter()
            .filter(|one| one.lane == *name)
            .flat_map(|one| &one.ratios);
        let missed = ratios
            .filter_map(|one| Some((one.ratio?, one.target)))
            .find(|(ratio, target)| ratio > target);
        if let Some((ratio, target)) = missed {
            let says = format!(
                "{name} is disturbed: {ratio:.2} times its quiet latency (target {target:.2})."
            );
            return (Tone::Wait, says);
        }
        let active = now
            .throttles
            .iter()
            .filter(|one| one.active && one.watch == *name);
        let mut held: Vec<&str> = active.map(|one| one.lane.as_str()).collect();
        held.dedup();
        let yields = match held.is_empty() {
            true => String::new(),
            false => format!("; {} yield", held.join(" and ")),
        };
        (Tone::Good, format!("{name} runs undisturbed{yields}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(at: u64, transactions: u64, buckets: [u64; 3]) -> State {
        let lane = Lane {
            name: "evaluation".to_owned(),
            busy: 1,
            transactions,
            buckets: buckets.into(),
            ..Lane::default()
        };
        State {
            at,
            lanes: vec![lane],
            bounds_us: vec![1000, 2000],
            ..State::default()
        }
    }

    #[test]
    fn rates_and_percentiles_are_those_of_the_last_ten_seconds() {
        let mut history = History::default();
        history.push(state(0, 0, [0, 0, 0]));
        history.push(state(5_000, 1_000, [900, 0, 0]));
        history.push(state(14_000, 1_090, [900, 10, 0]));
        assert_eq!(history.rate("evaluation"), Some(10.0));
        assert_eq!(history.percentile("evaluation", 0.5), Some(0.0015));
        assert_eq!(history.rate("nobody"), None);
        assert_eq!(history.trace("evaluation", 0.5).len(), 3);
    }

    #[test]
    fn a_proxy_that_was_started_anew_is_looked_at_anew() {
        let mut history = History::default();
        history.push(state(0, 10, [10, 0, 0]));
        history.push(state(1_000, 2, [2, 0, 0]));
        assert_eq!(history.rate("evaluation"), None);
        for second in 2..500 {
            history.push(state(second * 1_000, second, [0, 0, 0]));
        }
        assert_eq!(history.0.len(), MOST_KEPT);
    }

    #[test]
    fn the_verdict_names_who_disturbs() {
        let check = |spoil: fn(&mut State), tone, words: &str| {
            let mut history = History::default();
            let mut now = state(1_000, 10, [0, 0, 0]);
            spoil(&mut now);
            history.push(now);
            let verdict = history.verdict();
            assert!(
                verdict.0 == tone && verdict.1.contains(words),
                "{verdict:?}"
            );
        };
        check(|_| {}, Tone::Good, "runs undisturbed");
        check(|now| now.lanes[0].busy = 0, Tone::Good, "at rest");
        check(|now| now.draining = true, Tone::Wait, "is ending");
        check(
            |now| now.upstream.state = "down".to_owned(),
            Tone::Bad,
            "cannot be reached",
        );
        check(|now| now.lanes.clear(), Tone::Wait, "no lanes");
        check(
            |now| (now.lanes[0].waiting, now.lanes[0].oldest_wait_s) = (3, 1.0),
            Tone::Wait,
            "waits for slots",
        );
        check(
            |now| {
                let ratios = vec![Ratio {
                    quantile: 0.95,
                    target: 1.2,
                    ratio: Some(2.0),
                }];
                let lane = "evaluation".to_owned();
                now.objectives.push(Objective {
                    lane,
                    ratios,
                    ..Objective::default()
                });
            },
            Tone::Wait,
            "disturbed: 2.00 times",
        );
        check(
            |now| {
                let (blocker, blocked) = ("ltst".to_owned(), "evaluation".to_owned());
                now.observed.blocked.push(Blocked {
                    blocker,
                    blocked,
                    seconds: 2.0,
                });
            },
            Tone::Good,
            "runs undisturbed",
        );
    }
}
