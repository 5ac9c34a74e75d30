//! What lanes with an objective take in quiet: handed out to be kept over a restart, taken in again, and forgotten when
//! PostgreSQL is another.

use std::rc::Rc;

use pglanes_lanes::objective::{BaselineExport, ImportError};

use super::Hub;

/// What was learned, and of which PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baselines {
    /// PostgreSQL's major version, as far as it was seen.
    pub server_version: Option<String>,
    /// By lane.
    pub lanes: Vec<LaneBaseline>,
}

/// What one lane takes in quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneBaseline {
    /// A hash of the settings its sessions started with, the same in every process: other settings make other plans.
    pub settings: u64,
    /// What was learned.
    pub learned: BaselineExport,
}

impl Hub {
    pub(crate) fn baselines(&self) -> Baselines {
        Baselines {
            server_version: self.server_version.borrow().clone(),
            lanes: self
                .scheduler
                .borrow()
                .baselines()
                .into_iter()
                .map(|learned| LaneBaseline {
                    settings: self.settings_of(&learned.lane),
                    learned,
                })
                .collect(),
        }
    }

    /// Takes in what was kept. Where a connection has shown meanwhile that PostgreSQL is another, there is nothing to take in.
    pub(crate) fn restore_baselines(self: &Rc<Self>, kept: &Baselines) -> Result<(), ImportError> {
        let mut known = self.server_version.borrow_mut();
        if known.is_some() && *known != kept.server_version {
            return Ok(());
        }
        known.clone_from(&kept.server_version);
        let same = |lane: &&LaneBaseline| lane.settings == self.settings_of(&lane.learned.lane);
        let lanes = kept.lanes.iter().filter(same);
        let lanes: Vec<BaselineExport> = lanes.map(|lane| lane.learned.clone()).collect();
        self.scheduler.borrow_mut().restore(&lanes)
    }

    fn settings_of(&self, lane: &str) -> u64 {
        let live = self.live();
        let settings = live
            .config
            .lane(lane)
            .map_or(&[][..], |lane| &lane.settings);
        let bytes = settings.iter().flat_map(|(name, value)| {
            let name = name.bytes().chain([0]);
            name.chain(value.bytes()).chain([0])
        });
        // FNV-1a.
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// A connection says which version it is of. Another one plans otherwise: what was learned is learned again.
    pub(super) fn note_server_version(&self, version: &str) {
        let major = version.split(['.', ' ', 'd', 'b', 'r']).next();
        let major = major.unwrap_or_default().to_owned();
        let mut known = self.server_version.borrow_mut();
        if known.as_ref().is_some_and(|known| *known != major) {
            tracing::info!(
                version,
                "PostgreSQL is another: quiet latencies are learned again"
            );
            self.scheduler.borrow_mut().forget_baselines();
        }
        *known = Some(major);
    }
}
