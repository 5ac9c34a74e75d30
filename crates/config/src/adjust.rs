//! One value of a running configuration, set by an operator: read by the reader of the file and held to the file's rules.

use thiserror::Error;

use crate::diagnostic::{Text, quoted};
use crate::lane::Lane;
use crate::model::Config;
use crate::objective::Objective;
use crate::reader::Reading;
use crate::suggest::nearest;
use crate::{Nowhere, read, validate, yaml};

/// The longest value, in bytes.
const LONGEST_VALUE: usize = 200;

/// Takes over one value of a lane that was read.
type OfLane = fn(&mut Lane, &Lane);
/// Takes over one value of the rest.
type OfRest = fn(&mut Config, &Config);

/// What can be set of a lane. Rules and settings are for the file: who is where, and what a connection starts with, should
/// not differ from what stands there.
const LANE_KEYS: &[(&str, OfLane)] = &[
    ("slots.min", |to, from| to.minimum = from.minimum),
    ("slots.max", |to, from| to.maximum = from.maximum),
    ("priority", |to, from| to.priority = from.priority),
    ("weight", |to, from| to.weight = from.weight),
    ("queue.length", |to, from| {
        to.queue_length = from.queue_length
    }),
    ("queue.timeout", |to, from| {
        to.queue_timeout = from.queue_timeout;
    }),
    ("queue.order", |to, from| {
        to.queue_order = from.queue_order;
    }),
    ("mode", |to, from| to.mode = from.mode),
    ("cpu", |to, from| to.cpu = from.cpu),
    ("lazy_begin", |to, from| to.lazy_begin = from.lazy_begin),
    ("reuse_plans", |to, from| to.reuse_plans = from.reuse_plans),
    ("idle_timeout", |to, from| {
        to.idle_timeout = from.idle_timeout
    }),
    ("server_lifetime", |to, from| {
        to.server_lifetime = from.server_lifetime;
    }),
    ("objective.p50", |to, from| {
        percentile(to, from, |of| &mut of.p50)
    }),
    ("objective.p95", |to, from| {
        percentile(to, from, |of| &mut of.p95)
    }),
    ("objective.p99", |to, from| {
        percentile(to, from, |of| &mut of.p99)
    }),
];

/// Takes over one percentile of an objective; what else the lane's own says stays.
fn percentile(to: &mut Lane, from: &Lane, of: fn(&mut Objective) -> &mut Option<u32>) {
    match (&mut to.objective, from.objective.clone()) {
        (Some(to), Some(mut from)) => *of(to) = *of(&mut from),
        (to, from) => *to = from,
    }
}

/// What can be set beside lanes: what a reload changes at once, and is a number.
const KEYS: &[(&str, OfRest)] = &[
    ("upstream.slots", |to, from| {
        to.upstream.slots = from.upstream.slots;
    }),
    ("upstream.connect_timeout", |to, from| {
        to.upstream.connect_timeout = from.upstream.connect_timeout;
    }),
    ("limits.clients", |to, from| {
        to.limits.clients = from.limits.clients;
    }),
    ("limits.login_timeout", |to, from| {
        to.limits.login_timeout = from.limits.login_timeout;
    }),
    ("limits.message_before_slot", |to, from| {
        to.limits.message_before_slot = from.limits.message_before_slot;
    }),
    ("limits.client_idle_in_transaction", |to, from| {
        to.limits.client_idle_in_transaction = from.limits.client_idle_in_transaction;
    }),
    ("limits.half_sent_message", |to, from| {
        to.limits.half_sent_message = from.limits.half_sent_message;
    }),
    ("limits.slow_reader", |to, from| {
        to.limits.slow_reader = from.limits.slow_reader;
    }),
    ("limits.cancels", |to, from| {
        to.limits.cancels = from.limits.cancels;
    }),
];

/// Why a value was not set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdjustError {
    /// There is no such lane.
    #[error("no such lane: {0}")]
    NoSuchLane(String),
    /// It cannot be set while the proxy runs, or does not exist.
    #[error("{key} cannot be set at run time{}", suggestion(.nearest))]
    NoSuchKey {
        /// As it was given.
        key: String,
        /// The nearest one that can.
        nearest: Option<&'static str>,
    },
    /// The value does not hold, in the words that the file would get.
    #[error("{0}")]
    Refused(String),
}

fn suggestion(nearest: &Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}

/// The keys of a lane that [`Config::adjusted`] knows.
pub fn adjustable_lane_keys() -> impl Iterator<Item = &'static str> {
    LANE_KEYS.iter().map(|(key, _)| *key)
}

/// The other keys that [`Config::adjusted`] knows.
pub fn adjustable_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

impl Config {
    /// This configuration with one value set, such as `lanes.evaluation.slots.max` to `8`.
    ///
    /// # Errors
    /// [`AdjustError`]; nothing else is changed by an attempt.
    pub fn adjusted(&self, key: &str, value: &str) -> Result<Self, AdjustError> {
        if value.len() > LONGEST_VALUE || !value.chars().all(is_plain) {
            let message = "a value has letters, digits and `._%+-`, and at most 200 of them";
            return Err(AdjustError::Refused(message.to_owned()));
        }
        let of_lane = key.strip_prefix("lanes.").map(|rest| {
            // A lane's name has no dot.
            rest.split_once('.').unwrap_or((rest, ""))
        });
        let Some((lane, key)) = of_lane else {
            let take_over = find(KEYS, key)?;
            let fragment = nested(key.split('.'), value);
            return self.with(&fragment, take_over);
        };
        let take_over = find(LANE_KEYS, key)?;
        if self.lane(lane).is_none() {
            return Err(AdjustError::NoSuchLane(lane.to_owned()));
        }
        let path = ["lanes", lane].into_iter().chain(key.split('.'));
        let fragment = format!(
            "upstream: {{ slots: {} }}\n{}",
            self.upstream.slots,
            nested(path, value)
        );
        self.with(&fragment, |to, from| {
            let read = from.lane(lane).cloned();
            let target = to.lanes.iter_mut().find(|other| other.name == lane);
            if let (Some(target), Some(read)) = (target, read) {
                take_over(target, &read);
            }
        })
    }

    fn with(
        &self,
        fragment: &str,
        take_over: impl FnOnce(&mut Self, &Self),
    ) -> Result<Self, AdjustError> {
        let refused = |reading: &Reading<'_>| {
            let problem = reading.problems.first();
            problem.map(|problem| AdjustError::Refused(problem.message.clone()))
        };
        let text = Text {
            file: "SET",
            source: fragment,
        };
        let tree = yaml::parse(&text).map_err(|error| AdjustError::Refused(error.message))?;
        let mut reading = Reading::new(text, &Nowhere);
        let read = read::config(&mut reading, &tree, None);
        if let Some(error) = refused(&reading) {
            return Err(error);
        }
        let Some(read) = read else {
            return Err(AdjustError::Refused("the value cannot be read".to_owned()));
        };
        let mut config = self.clone();
        take_over(&mut config, &read);
        validate::validate(&mut reading, &config);
        match refused(&reading) {
            Some(error) => Err(error),
            None => Ok(config),
        }
    }
}

/// What needs no quotes, ends nothing and begins nothing in YAML.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._%+-".contains(letter)
}

fn find<T: Copy>(keys: &'static [(&'static str, T)], key: &str) -> Result<T, AdjustError> {
    let found = keys.iter().find(|(known, _)| *known == key);
    found
        .map(|(_, take_over)| *take_over)
        .ok_or_else(|| AdjustError::NoSuchKey {
            key: quoted(key),
            nearest: nearest(key, keys.iter().map(|(known, _)| *known)),
        })
}

/// `a: { b: value }` for the path a, b.
fn nested<'p>(path: impl Iterator<Item = &'p str>, value: &str) -> String {
    let path: Vec<&str> = path.collect();
    let mut text = value.to_owned();
    for (depth, part) in path.iter().enumerate().rev() {
        // A name may be a word that means something else in YAML.
        text = match depth {
            0 => format!("{part}: {text}\n"),
            _ => format!("{{ '{part}': {text} }}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_key_takes_over_its_value_and_nothing_else() {
        let before = Config::default();
        let values = [
            ("slots.min", "3"),
            ("slots.max", "13"),
            ("priority", "-7"),
            ("weight", "5"),
            ("queue.length", "17"),
            ("queue.timeout", "17s"),
            ("queue.order", "service"),
            ("mode", "observe"),
            ("cpu", "low"),
            ("lazy_begin", "true"),
            ("reuse_plans", "true"),
            ("idle_timeout", "off"),
            ("server_lifetime", "17m"),
            ("objective.p50", "1.7x"),
            ("objective.p95", "1.7x"),
            ("objective.p99", "1.7x"),
        ];
        let known: Vec<&str> = adjustable_lane_keys().collect();
        assert_eq!(known, values.map(|(key, _)| key));
        for (key, value) in values {
            let after = before.adjusted(&format!("lanes.readonly.{key}"), value);
            let after = after.unwrap_or_else(|error| panic!("{key}: {error}"));
            let difference = crate::Difference::between(&before, &after);
            let changes: Vec<_> = difference.changes.iter().collect();
            assert_eq!(changes.len(), 1, "{key}: {changes:?}");
            let said = key.split_once(".p").map_or(key, |(objective, _)| objective);
            assert!(changes[0].what.contains(said), "{key}: {changes:?}");
        }
    }

    #[test]
    fn what_is_set_is_what_is_read() {
        let config = Config::default();
        let set = config.adjusted("lanes.evaluation.queue.timeout", "90s");
        let lane = set.unwrap().lane("evaluation").cloned().unwrap();
        assert_eq!(lane.queue_timeout, Duration::from_secs(90));
        let set = config.adjusted("limits.clients", "77").unwrap();
        assert_eq!(set.limits.clients, 77);
        let set = config.adjusted("limits.slow_reader", "off").unwrap();
        assert_eq!(set.limits.slow_reader, None);
        for key in adjustable_keys() {
            // Each is found, though not each takes this value.
            let error = config.adjusted(key, "nonsense").unwrap_err();
            assert!(matches!(error, AdjustError::Refused(_)), "{key}: {error}");
        }
    }

    #[test]
    fn what_does_not_hold_is_refused_in_the_files_words() {
        let config = Config::default();
        let refused = |key: &str, value: &str| config.adjusted(key, value).unwrap_err().to_string();
        let error = refused("lanes.evaluation.slots.max", "41");
        assert!(error.contains("above the 40 `slots`"), "{error}");
        let error = refused("lanes.evaluation.slots.max", "many");
        assert!(error.contains("many"), "{error}");
        let error = refused("lanes.evaluation.slot.max", "1");
        assert!(error.contains("did you mean slots.max?"), "{error}");
        assert_eq!(refused("lanes.nobody.weight", "1"), "no such lane: nobody");
        let error = refused("listen", "127.0.0.1");
        assert!(error.contains("cannot be set at run time"), "{error}");
        for value in ["1 }, x: { y: 2", "1\nlimits: {}", "'1'", "1 # 2", "&a"] {
            let error = refused("lanes.evaluation.weight", value);
            assert!(error.contains("a value has letters"), "{value}: {error}");
        }
    }
}
