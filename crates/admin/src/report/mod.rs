//! What happened, written down and told: which evaluations ran, how they fared against their quiet selves, what ran beside
//! them, who delayed them, and what was held back.
//!
//! The proxy writes a [`Record`] every few seconds ([`Sampler`] makes them, the binary keeps them); a [`Report`] is a pure
//! function of those, so that the same history always tells the same.
//!
//! - `record`: what is written down, a line of JSON each
//! - `distribution`: durations as the data path counts them
//! - `sampler`: from counters that only grow to what changed
//! - `history`: records in order, and what can be asked of them
//! - `runs`: where evaluations began and ended
//! - `baseline`: what a lane takes in quiet
//! - `findings`: what is found of each run; `delays`: who delayed it; `timeline`: its course, for plots
//! - `verdict`: one sentence
//! - `words`: durations, times and numbers for people
//! - `text`, `html`: the report for a terminal and for a browser

mod baseline;
mod delays;
mod distribution;
mod findings;
mod history;
mod html;
mod record;
mod runs;
mod sampler;
#[cfg(test)]
mod tests;
mod text;
mod timeline;
mod verdict;
mod words;

pub use delays::{Cause, Delay};
pub use distribution::Distribution;
pub use findings::{Beside, Figures, HeldBack, Report, Run};
pub use history::History;
pub use html::page;
pub use record::{Begin, Happening, LaneSample, Protected, Record, Sample, ThrottleSample};
pub use runs::{End, Kind};
pub use sampler::{LaneCpu, Sampler, happening, protected};
pub use text::text;
pub use timeline::Point;
pub use verdict::{Verdict, Word};
pub use words::{moment, parse_moment};

/// The format of records. Others are left out when they are read.
pub const FORMAT: u32 = 1;
