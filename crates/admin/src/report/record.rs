//! What is written down: one line of JSON each, names short because there are many.
//!
//! Times are milliseconds since 1970. What nothing happened to is left out, so that a quiet night takes no room.

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "lowercase")]
pub enum Record {
    /// A proxy began: what ran before has ended.
    Begin(Begin),
    /// Which lanes are protected from now on.
    Lanes {
        /// When.
        t: u64,
        /// Those, with what is to be kept of their latency.
        protected: Vec<Protected>,
    },
    /// What changed since the sample before.
    Sample(Sample),
    /// Something happened.
    Event(Happening),
}

impl Record {
    /// When it was written.
    pub const fn at(&self) -> u64 {
        match self {
            Self::Begin(begin) => begin.t,
            Self::Lanes { t, .. } => *t,
            Self::Sample(sample) => sample.t,
            Self::Event(event) => event.t,
        }
    }
}

/// A proxy began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// When.
    pub t: u64,
    /// The format of what follows.
    pub format: u32,
    /// Its version.
    pub version: String,
}

/// A lane that others make room for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protected {
    /// Its name.
    pub lane: String,
    /// How many times its quiet latency it may take, in thousandths; none without an objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What changed between two looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was taken.
    pub t: u64,
    /// How many milliseconds it covers.
    pub d: u64,
    /// Lanes that did something, or could not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneSample>,
    /// Throttles, and objectives as `objective of LANE`, that did something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttles: Vec<ThrottleSample>,
    /// Who holds locks, who waits for them, for how many milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<(String, String, u64)>,
    /// What maintenance ran beside which protected lane, for how many milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<(String, String, u64)>,
    /// Clients past the proxy that are in a transaction.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub direct: u64,
}

impl Sample {
    /// When it began.
    pub const fn began(&self) -> u64 {
        self.t.saturating_sub(self.d)
    }

    /// A lane, if anything is said of it.
    pub fn lane(&self, name: &str) -> Option<&LaneSample> {
        self.lanes.iter().find(|lane| lane.n == name)
    }
}

/// A lane within a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneSample {
    /// Its name.
    pub n: String,
    /// Transactions that ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub x: u64,
    /// Errors that its clients got.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub e: u64,
    /// Waits for a slot.
    #[serde(default, skip_serializing_if = "Distribution::is_empty")]
    pub wait: Distribution,
    /// From the slot to the transaction's end.
    #[serde(default, skip_serializing_if = "Distribution::is_empty")]
    pub run: Distribution,
    /// Slots with a transaction at the end of the sample.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub busy: u64,
    /// Transactions that waited then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: u64,
    /// The slots that it might hold then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: u64,
    /// Milliseconds in which that was less than its maximum.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: u64,
    /// What held it back at the end of the sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// Statements cancelled by throttles.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancels: u64,
    /// Transactions that got no slot.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: u64,
    /// Milliseconds its backends ran, and waited for a processor; none where that cannot be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<(u64, u64)>,
    /// The last ratio to its quiet latency that its objective measured, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<u32>,
}

/// A throttle, or an objective, within a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleSample {
    /// Its name.
    pub n: String,
    /// The lane it protects.
    pub watch: String,
    /// The lane it holds back; empty for an objective, which holds back several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lane: String,
    /// It only observes: nothing is held back by it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub observes: bool,
    /// It is active at the end of the sample.
    #[serde(default, skip_serializing_if = "is_false")]
    pub active: bool,
    /// How often it became active.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times: u64,
    /// Newcomers it kept waiting, or would have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept: u64,
    /// Statements it cancelled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancels: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When.
    pub t: u64,
    /// What, in a word: as SHOW EVENTS has it.
    pub what: String,
    /// The lane it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// The lease's holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// More, in a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(truth: &bool) -> bool {
    !*truth
}
