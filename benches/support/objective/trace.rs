//! What was seen of a loop, moment by moment.

use std::fmt::Write as _;
use std::time::Duration;

use pglanes_lanes::Snapshot;
use pglanes_lanes::objective::Phase;

/// One moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Seconds since the beginning.
    pub at: f64,
    /// What all others may run, in slots.
    pub limit: Option<f64>,
    /// The ratio of the first target.
    pub ratio: Option<f64>,
    /// What the loop does.
    pub phase: Phase,
    /// What ran in other lanes.
    pub running: f64,
}

/// A loop from beginning to end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace(pub Vec<Moment>);

impl Trace {
    /// Adds what a snapshot shows, if there is an objective in it.
    pub fn note(&mut self, at: Duration, snapshot: &Snapshot) {
        let Some(seen) = snapshot.objectives.first() else {
            return;
        };
        let thousandths = |value: u32| f64::from(value) / 1000.0;
        let others = snapshot.lanes.iter().enumerate();
        let running = others
            .filter(|(lane, _)| *lane != seen.lane.index())
            .map(|(_, lane)| lane.busy);
        self.0.push(Moment {
            at: at.as_secs_f64(),
            limit: seen.limit_thousandths.map(thousandths),
            ratio: seen
                .ratios
                .first()
                .and_then(|ratio| ratio.1)
                .map(thousandths),
            phase: seen.phase,
            running: f64::from(running.sum::<u32>()),
        });
    }

    /// With a line for each moment.
    pub fn csv(&self) -> String {
        let mut text = "seconds,limit,ratio,phase,running\n".to_owned();
        let shown =
            |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
        for moment in &self.0 {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{:.2},{},{},{},{:.2}",
                moment.at,
                shown(moment.limit),
                shown(moment.ratio),
                moment.phase.name(),
                moment.running
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_line() {
        let moment = Moment {
            at: 1.25,
            limit: None,
            ratio: Some(1.2),
            phase: Phase::Resting,
            running: 3.0,
        };
        let csv = Trace(vec![moment]).csv();
        assert_eq!(
            csv,
            "seconds,limit,ratio,phase,running\n1.25,,1.200,resting,3.00\n"
        );
    }
}
