//! A trace's file, and the same with the lanes of a configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pglanes_admin::recording::format::{Line, LineError, TransactionLine};
use pglanes_config::{Config, Cpu, LaneIndex};
use pglanes_lanes::sim::replay::{Recorded, RecordedLease, Trace, Weight};
use pglanes_lanes::{ClientKey, LaneId, Policy, PoolId};
use thiserror::Error;

/// Transactions that are read of one trace, at most.
const MOST_TRANSACTIONS: usize = 20_000_000;

/// Why a trace cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {file}: {cause}")]
    File {
        /// Its path.
        file: String,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// A line is none of a trace's.
    #[error("line {number}: {cause}")]
    Line {
        /// Its number.
        number: usize,
        /// What is wrong with it.
        cause: LineError,
    },
    /// It does not begin as a trace does.
    #[error("no trace: it begins with no `pglanes-trace` line; `pglanes record` writes traces")]
    Header,
    /// It is too long.
    #[error("more than {MOST_TRANSACTIONS} transactions: record a shorter time")]
    Long,
    /// A lane was recorded that the configuration does not have.
    #[error(
        "the trace has transactions of lane {lane}, and {file} has no such lane; `--lane {lane}=ANOTHER` says where they go (there are {known})"
    )]
    Lane {
        /// The lane.
        lane: String,
        /// The configuration.
        file: String,
        /// Its lanes.
        known: String,
    },
}

/// A lane as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedLane {
    /// Its name.
    pub name: String,
    /// The CPU class of its server processes.
    pub cpu: Cpu,
}

/// A trace as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TraceFile {
    /// Cores of the machine that the proxy ran on.
    pub cores: u32,
    /// How long was recorded.
    pub length: Duration,
    /// What is missing.
    pub lost: u64,
    /// The lanes by their numbers.
    pub lanes: BTreeMap<u16, RecordedLane>,
    /// What ran.
    pub transactions: Vec<TransactionLine>,
    leases: Vec<(u16, bool, Duration)>,
}

/// A trace with the lanes of a configuration.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) trace: Trace,
    pub(super) policy: Policy,
    pub(super) names: Vec<String>,
    /// The lanes' weights while it was recorded.
    pub(super) was: Vec<Weight>,
    /// Their weights under the configuration.
    pub(super) is: Vec<Weight>,
}

impl TraceFile {
    /// Reads a file. A last line that was cut off is left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ReadError::File {
            file: path.display().to_string(),
            cause,
        })?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn parse(text: &str) -> Result<Self, ReadError> {
        let mut file = Self::default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in whole.lines().enumerate() {
            let number = number + 1;
            let line: Line = line.parse().map_err(|cause| match number {
                1 => ReadError::Header,
                _ => ReadError::Line { number, cause },
            })?;
            if matches!(line, Line::Header { .. }) != (number == 1) {
                return Err(ReadError::Header);
            }
            file.take(line);
            if file.transactions.len() > MOST_TRANSACTIONS {
                return Err(ReadError::Long);
            }
        }
        if file.cores == 0 {
            return Err(ReadError::Header);
        }
        Ok(file)
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Header { cores } => self.cores = cores.max(1),
            Line::Lane { number, cpu, name } => {
                self.lanes.insert(number, RecordedLane { name, cpu });
            }
            Line::Lease { lane, taken, at } => {
                self.length = self.length.max(at);
                self.leases.push((lane, taken, at));
            }
            Line::Transaction(ran) => {
                self.length = self.length.max(ran.asked + ran.waited + ran.held);
                self.transactions.push(ran);
            }
            Line::At { at, lost } => {
                self.length = self.length.max(at);
                self.lost = lost;
            }
        }
    }

    fn lane_name(&self, number: u16) -> String {
        let lane = self.lanes.get(&number);
        lane.map_or_else(|| format!("#{number}"), |lane| lane.name.clone())
    }

    /// With the lanes of a configuration, found by name, or as `moved` says.
    pub(super) fn bind(
        &self,
        config: &Config,
        file: &str,
        moved: &[(String, String)],
    ) -> Result<Bound, ReadError> {
        let (policy, index) = config.policy(None);
        let mut known: BTreeMap<u16, LaneId> = BTreeMap::new();
        let used = self.transactions.iter().map(|ran| ran.lane);
        for number in used.chain(self.leases.iter().map(|lease| lease.0)) {
            if let std::collections::btree_map::Entry::Vacant(vacant) = known.entry(number) {
                vacant.insert(self.find(number, &index, config, file, moved)?);
            }
        }
        let weights = |cpu_of: &dyn Fn(LaneId) -> Cpu| -> Vec<Weight> {
            let lanes = 0..policy.lanes.len();
            lanes
                .map(|lane| weight(cpu_of(LaneId(lane as u16))))
                .collect()
        };
        let was = weights(&|lane| {
            let recorded = known.iter().find(|known| *known.1 == lane);
            let recorded = recorded.and_then(|known| self.lanes.get(known.0));
            recorded.map_or(Cpu::Normal, |recorded| recorded.cpu)
        });
        let is = weights(&|lane| {
            let name = index.name(lane).unwrap_or_default();
            let lane = config.lane(name);
            lane.map_or(Cpu::Normal, |lane| lane.cpu)
        });
        let names = (0..policy.lanes.len()).map(|lane| {
            index
                .name(LaneId(lane as u16))
                .unwrap_or_default()
                .to_owned()
        });
        let transactions = self.transactions.iter().map(|ran| Recorded {
            session: ran.session as u32,
            lane: known[&ran.lane],
            pool: PoolId(ran.pool),
            client: ClientKey {
                user: u64::from(ran.user),
                application: u64::from(ran.application),
            },
            asked: ran.asked,
            waited: ran.waited,
            held: ran.held,
            class: ran.class,
            bytes: (ran.bytes_in, ran.bytes_out),
            rejected: ran.rejected,
        });
        Ok(Bound {
            trace: Trace {
                transactions: transactions.collect(),
                leases: self.bind_leases(&known),
                length: self.length,
            },
            names: names.collect(),
            policy,
            was,
            is,
        })
    }

    fn find(
        &self,
        number: u16,
        index: &LaneIndex,
        config: &Config,
        file: &str,
        moved: &[(String, String)],
    ) -> Result<LaneId, ReadError> {
        let name = self.lane_name(number);
        let moved = moved.iter().find(|moved| moved.0 == name);
        let wanted = moved.map_or(&name, |moved| &moved.1);
        index.id(wanted).ok_or_else(|| {
            let known: Vec<&str> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
            ReadError::Lane {
                lane: name.clone(),
                file: file.to_owned(),
                known: known.join(", "),
            }
        })
    }

    /// Each taken lease with its end: of several on a lane the first that was taken ends first, which makes no difference to
    /// who is held back.
    fn bind_leases(&self, known: &BTreeMap<u16, LaneId>) -> Vec<RecordedLease> {
        let mut leases: Vec<RecordedLease> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for &(number, taken, at) in &self.leases {
            let lane = known[&number];
            if taken {
                open.push(leases.len());
                leases.push(RecordedLease {
                    lane,
                    taken: at,
                    ended: self.length,
                });
            } else if let Some(place) = open.iter().position(|&lease| leases[lease].lane == lane) {
                leases[open.remove(place)].ended = at;
            }
        }
        leases
    }
}

const fn weight(cpu: Cpu) -> Weight {
    match cpu {
        Cpu::Normal => Weight::Normal,
        Cpu::Low => Weight::Low,
        Cpu::Background => Weight::Background,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "pglanes-trace 1 cores 2
lane 0 normal evaluation
lane 1 background ltst
lease 100 0 taken
tx 1000 5 2000 7 0 0 1 1 10 20 - ok
tx 1500 0 9000 8 1 1 1 2 10 20 - ok
lease 5000 0 ended
at 1000000 3
tx 2000 0 1";

    #[test]
    fn a_trace_is_read_without_the_line_that_was_cut_off() {
        let file = TraceFile::parse(TRACE).unwrap();
        assert_eq!((file.cores, file.lost, file.transactions.len()), (2, 3, 2));
        assert_eq!(file.length, Duration::from_secs(1));
        let bound = file.bind(&Config::default(), "lanes.yaml", &[]).unwrap();
        let evaluation = bound.trace.transactions[0].lane;
        assert_eq!(bound.names[evaluation.index()], "evaluation");
        assert_eq!(
            bound.was[bound.trace.transactions[1].lane.index()],
            Weight::Background
        );
        let lease = bound.trace.leases[0];
        assert_eq!(
            (lease.lane, lease.ended),
            (evaluation, Duration::from_millis(5))
        );
    }

    #[test]
    fn what_is_no_trace_or_a_damaged_one_is_told_with_its_line() {
        for (text, expected) in [
            ("", "no trace"),
            ("hello\n", "no trace"),
            ("at 1 1\n", "no trace"),
            ("pglanes-trace 1 cores 2\nlane 0\n", "line 2: a CPU class"),
            (
                "pglanes-trace 1 cores 2\npglanes-trace 1 cores 2\n",
                "no trace",
            ),
        ] {
            let error = TraceFile::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_lane_that_is_gone_is_asked_for_and_can_be_moved() {
        let text = TRACE.replace(" ltst", " memory");
        let file = TraceFile::parse(&text).unwrap();
        let error = file.bind(&Config::default(), "new.yaml", &[]).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("--lane memory=ANOTHER") && error.contains("new.yaml"),
            "{error}"
        );
        let moved = [("memory".to_owned(), "ltst".to_owned())];
        assert!(file.bind(&Config::default(), "new.yaml", &moved).is_ok());
    }
}
