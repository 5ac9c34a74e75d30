//! `pglanes check`: lanes.yaml as understood, and what is allowed but probably not meant.
//!
//! - `lanes`: the lanes as a table
//! - `server`: what PostgreSQL says to the file, when it can be asked
//! - `memory`: slots times work_mem against this machine's memory
//! - `explain`: which lane a client would be in, and why

mod explain;
mod lanes;
mod memory;
mod server;

use std::fmt;

use pglanes_config::Config;

use crate::source::Source;

pub use explain::{ExplainError, explain};

/// Who is asked beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The server, if it can be reached.
    Server,
    /// Nobody.
    Nobody,
}

/// What was found. Displayed as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The lanes, as a table.
    lanes: String,
    /// What was asked of whom, and what was left out.
    pub notes: Vec<String>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

/// Looks at a configuration from all sides.
pub async fn report(source: &Source, config: &Config, asking: Asking) -> Report {
    let mut report = Report {
        lanes: lanes::shown(source, config),
        notes: Vec::new(),
        warnings: config.warnings.iter().map(ToString::to_string).collect(),
    };
    let facts = match asking {
        Asking::Server => server::ask(config, &mut report).await,
        Asking::Nobody => {
            report
                .notes
                .push(format!("the server was not asked: {}", server::LEFT_OUT));
            None
        }
    };
    memory::check(
        config,
        facts.as_ref(),
        crate::machine::memory(),
        &mut report,
    );
    report
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.lanes)?;
        for note in &self.notes {
            writeln!(formatter, "note: {note}")?;
        }
        for warning in &self.warnings {
            writeln!(formatter, "warning: {warning}")?;
        }
        match self.warnings.len() {
            0 => writeln!(formatter, "no warnings"),
            1 => writeln!(formatter, "1 warning"),
            count => writeln!(formatter, "{count} warnings"),
        }
    }
}
