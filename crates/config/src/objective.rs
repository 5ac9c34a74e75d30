//! The model's objectives: what is to be kept of a lane's latency.

use std::fmt;
use std::time::Duration;

use pglanes_lanes::objective::{ObjectivePolicy, Target};
use pglanes_lanes::{LaneId, Mode as Binding};

use crate::lane::Mode;

/// A latency target, relative to the lane's own quiet baseline. At least one quantile has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objective {
    /// How many times the quiet median, in thousandths: 1100 is `1.1x`.
    pub p50: Option<u32>,
    /// How many times the quiet 95th percentile.
    pub p95: Option<u32>,
    /// How many times the quiet 99th percentile.
    pub p99: Option<u32>,
    /// How long the others stay held back after the lane's last transaction.
    pub linger: Duration,
    /// How often a moment of quiet is made to measure, where none comes by itself; `None` is never.
    pub probe_every: Option<Duration>,
    /// How long such a moment is.
    pub probe_length: Duration,
    /// Lanes of lower priority that are not held back.
    pub exempt: Vec<String>,
    /// How far it is carried out.
    pub mode: Mode,
}

impl Default for Objective {
    /// What holds where the file is silent, without a target.
    fn default() -> Self {
        let policy = ObjectivePolicy::new(Target {
            quantile: 950,
            times: 1200,
        });
        Self {
            p50: None,
            p95: None,
            p99: None,
            linger: policy.linger,
            probe_every: Some(policy.probe_every),
            probe_length: policy.probe_length,
            exempt: Vec::new(),
            mode: Mode::Enforce,
        }
    }
}

/// As lanes.yaml would say it, with what differs from the defaults.
impl fmt::Display for Objective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let times = |times: u32| f64::from(times) / 1000.0;
        let mut parts: Vec<String> = self
            .targets()
            .map(|(name, target)| format!("{name}: {}x", times(target.times)))
            .collect();
        if self.linger != usual.linger {
            parts.push(format!("linger: {:?}", self.linger));
        }
        let probe = (self.probe_every, self.probe_length);
        if probe != (usual.probe_every, usual.probe_length) {
            let every = self
                .probe_every
                .map_or_else(|| "off".to_owned(), |every| format!("{every:?}"));
            parts.push(format!(
                "probe: {{ every: {every}, length: {:?} }}",
                self.probe_length
            ));
        }
        if !self.exempt.is_empty() {
            parts.push(format!("exempt: [{}]", self.exempt.join(", ")));
        }
        if self.mode != usual.mode {
            parts.push(format!("mode: {:?}", self.mode).to_lowercase());
        }
        formatter.write_str(&parts.join(", "))
    }
}

impl Objective {
    /// The targets there are, as name, thousandths of the quantile, and thousandths of the quiet value.
    pub fn targets(&self) -> impl Iterator<Item = (&'static str, Target)> {
        let all = [
            ("p50", 500, self.p50),
            ("p95", 950, self.p95),
            ("p99", 990, self.p99),
        ];
        all.into_iter().filter_map(|(name, quantile, times)| {
            Some((
                name,
                Target {
                    quantile,
                    times: times?,
                },
            ))
        })
    }

    /// What the scheduler keeps of it; `lane` finds a lane that is there.
    pub(crate) fn policy(&self, lane: impl Fn(&str) -> Option<LaneId>) -> Option<ObjectivePolicy> {
        let mut targets = self.targets().map(|(_, target)| target);
        let mut policy = ObjectivePolicy::new(targets.next()?);
        policy.targets.extend(targets);
        policy.linger = self.linger;
        // The scheduler's zero is "never".
        policy.probe_every = self.probe_every.unwrap_or(Duration::ZERO);
        policy.probe_length = self.probe_length;
        policy.exempt = self.exempt.iter().filter_map(|name| lane(name)).collect();
        policy.mode = match self.mode {
            Mode::Enforce => Binding::Enforce,
            Mode::Observe => Binding::Observe,
            Mode::Off => Binding::Off,
        };
        Some(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_as_it_would_be_written() {
        let objective = Objective {
            p50: Some(1100),
            p95: Some(1250),
            linger: Duration::from_secs(1),
            probe_every: None,
            exempt: vec!["readonly".to_owned()],
            mode: Mode::Observe,
            ..Objective::default()
        };
        assert_eq!(
            objective.to_string(),
            "p50: 1.1x, p95: 1.25x, linger: 1s, probe: { every: off, length: 200ms }, exempt: [readonly], mode: observe"
        );
    }
}
