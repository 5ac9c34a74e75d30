//! The trace's text: a line for each thing, words separated by blanks, times in microseconds since the recording began.
//!
//! ```text
//! pglanes-trace 1 cores 2
//! lane NUMBER CPU-CLASS NAME
//! lease AT LANE taken|ended
//! tx ASKED WAITED HELD SESSION LANE POOL USER APPLICATION BYTES-IN BYTES-OUT CLASS ok|rejected
//! at NOW LOST
//! ```
//!
//! CLASS is `-`, or the kind of the first statement and a hash of what the transaction looks like, `SELECT:9a1f...`. USER and
//! APPLICATION are numbers that tell clients apart; no text of a query and no client's name is in a trace.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use pglanes_config::Cpu;
use pglanes_lanes::classify::StatementKind;
use pglanes_lanes::objective::ClassKey;
use thiserror::Error;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The first.
    Header {
        /// Cores of the machine that the proxy runs on.
        cores: u32,
    },
    /// A lane, before anything in it.
    Lane {
        /// By which other lines name it.
        number: u16,
        /// The CPU class of its server processes.
        cpu: Cpu,
        /// Its name.
        name: String,
    },
    /// A lease was taken or ended.
    Lease {
        /// On this lane.
        lane: u16,
        /// Taken, else ended.
        taken: bool,
        /// When.
        at: Duration,
    },
    /// A transaction.
    Transaction(TransactionLine),
    /// The recording has come so far.
    At {
        /// When.
        at: Duration,
        /// Transactions that were not written down, so far.
        lost: u64,
    },
}

/// A transaction that ended, or got no slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransactionLine {
    /// Its session.
    pub session: i32,
    /// Its lane.
    pub lane: u16,
    /// Its user, database and startup parameters.
    pub pool: u32,
    /// Its user.
    pub user: u32,
    /// Its application.
    pub application: u32,
    /// When it asked for its slot.
    pub asked: Duration,
    /// How long it waited for it.
    pub waited: Duration,
    /// How long it held it.
    pub held: Duration,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// What it looks like, in a lane with an objective.
    pub class: Option<ClassKey>,
    /// It got no slot.
    pub rejected: bool,
}

/// A line that is none of a trace's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LineError {
    /// The first word is unknown.
    #[error("`{0}` begins no line of a trace; pglanes-trace, lane, lease, tx and at do")]
    Unknown(String),
    /// Another version of the format.
    #[error("a trace of version {0}; this pglanes reads version {VERSION}")]
    Version(String),
    /// A word is missing, or is not what it should be.
    #[error("{what}: {found}")]
    Word {
        /// What should be there.
        what: &'static str,
        /// What is there.
        found: String,
    },
}

const fn cpu_name(cpu: Cpu) -> &'static str {
    match cpu {
        Cpu::Normal => "normal",
        Cpu::Low => "low",
        Cpu::Background => "background",
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { cores } => write!(formatter, "pglanes-trace {VERSION} cores {cores}"),
            Self::Lane { number, cpu, name } => {
                write!(formatter, "lane {number} {} {name}", cpu_name(*cpu))
            }
            Self::Lease { lane, taken, at } => {
                let what = if *taken { "taken" } else { "ended" };
                write!(formatter, "lease {} {lane} {what}", at.as_micros())
            }
            Self::Transaction(ran) => ran.fmt(formatter),
            Self::At { at, lost } => write!(formatter, "at {} {lost}", at.as_micros()),
        }
    }
}

impl fmt::Display for TransactionLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "tx {} {} {} {} {} {} {} {} {} {} ",
            self.asked.as_micros(),
            self.waited.as_micros(),
            self.held.as_micros(),
            self.session,
            self.lane,
            self.pool,
            self.user,
            self.application,
            self.bytes_in,
            self.bytes_out,
        )?;
        match self.class {
            // Kinds are named by one word or two.
            Some(class) => {
                let kind = class.kind.name().replace(' ', "_");
                write!(formatter, "{kind}:{:016x}", class.shape)?;
            }
            None => formatter.write_str("-")?,
        }
        formatter.write_str(if self.rejected { " rejected" } else { " ok" })
    }
}

struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn word(&mut self, what: &'static str) -> Result<&'a str, LineError> {
        let found = "the line ends before it".to_owned();
        self.0.next().ok_or(LineError::Word { what, found })
    }

    fn number<T: FromStr>(&mut self, what: &'static str) -> Result<T, LineError> {
        let word = self.word(what)?;
        word.parse().map_err(|_| wrong(what, word))
    }

    fn span(&mut self, what: &'static str) -> Result<Duration, LineError> {
        self.number(what).map(Duration::from_micros)
    }

    fn either(&mut self, what: &'static str, yes: &str, no: &str) -> Result<bool, LineError> {
        match self.word(what)? {
            word if word == yes => Ok(true),
            word if word == no => Ok(false),
            word => Err(wrong(what, word)),
        }
    }
}

fn wrong(what: &'static str, found: &str) -> LineError {
    let found = format!("`{}`", found.chars().take(40).collect::<String>());
    LineError::Word { what, found }
}

impl FromStr for Line {
    type Err = LineError;

    fn from_str(line: &str) -> Result<Self, LineError> {
        let mut words = Words(line.split_ascii_whitespace());
        match words.word("a line")? {
            "pglanes-trace" => {
                let version = words.word("a version")?;
                if version != VERSION.to_string() {
                    return Err(LineError::Version(version.to_owned()));
                }
                words.either("cores", "cores", "cores")?;
                let cores = words.number("a number of cores")?;
                Ok(Self::Header { cores })
            }
            "lane" => {
                let number = words.number("a lane's number")?;
                let cpu = match words.word("a CPU class")? {
                    "normal" => Cpu::Normal,
                    "low" => Cpu::Low,
                    "background" => Cpu::Background,
                    other => return Err(wrong("a CPU class", other)),
                };
                let name = words.word("a lane's name")?.to_owned();
                Ok(Self::Lane { number, cpu, name })
            }
            "lease" => Ok(Self::Lease {
                at: words.span("a time in microseconds")?,
                lane: words.number("a lane's number")?,
                taken: words.either("taken or ended", "taken", "ended")?,
            }),
            "tx" => transaction(&mut words).map(Self::Transaction),
            "at" => Ok(Self::At {
                at: words.span("a time in microseconds")?,
                lost: words.number("a number of lost transactions")?,
            }),
            other => Err(LineError::Unknown(other.chars().take(40).collect())),
        }
    }
}

fn transaction(words: &mut Words<'_>) -> Result<TransactionLine, LineError> {
    Ok(TransactionLine {
        asked: words.span("when it asked, in microseconds")?,
        waited: words.span("how long it waited, in microseconds")?,
        held: words.span("how long it held its slot, in microseconds")?,
        session: words.number("a session's number")?,
        lane: words.number("a lane's number")?,
        pool: words.number("a pool's number")?,
        user: words.number("a user's number")?,
        application: words.number("an application's number")?,
        bytes_in: words.number("bytes from the client")?,
        bytes_out: words.number("bytes to the client")?,
        class: class(words.word("a class")?)?,
        rejected: words.either("ok or rejected", "rejected", "ok")?,
    })
}

fn class(word: &str) -> Result<Option<ClassKey>, LineError> {
    if word == "-" {
        return Ok(None);
    }
    let parsed = word.split_once(':').and_then(|(kind, shape)| {
        let kind = StatementKind::from_name(&kind.replace('_', " "))?;
        let shape = u64::from_str_radix(shape, 16).ok()?;
        Some(ClassKey { kind, shape })
    });
    parsed.map(Some).ok_or_else(|| wrong("a class", word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> TransactionLine {
        TransactionLine {
            session: 7,
            lane: 2,
            pool: 0,
            user: 1,
            application: 3,
            asked: Duration::from_micros(1_000_000),
            waited: Duration::from_micros(12),
            held: Duration::from_micros(3456),
            bytes_in: 100,
            bytes_out: 1 << 40,
            class: None,
            rejected: false,
        }
    }

    #[test]
    fn every_line_is_read_back_as_it_was_written() {
        let mut lines = vec![
            Line::Header { cores: 10 },
            Line::Lane {
                number: 3,
                cpu: Cpu::Background,
                name: "ltst".to_owned(),
            },
            Line::Lease {
                lane: 0,
                taken: false,
                at: Duration::from_micros(5),
            },
            Line::At {
                at: Duration::from_secs(1),
                lost: 2,
            },
            Line::Transaction(transaction()),
            Line::Transaction(TransactionLine {
                rejected: true,
                ..transaction()
            }),
        ];
        for kind in ["SELECT", "CREATE INDEX", "VACUUM"] {
            let kind = StatementKind::from_name(kind).unwrap();
            let shape = 0x9a1f;
            lines.push(Line::Transaction(TransactionLine {
                class: Some(ClassKey { kind, shape }),
                ..transaction()
            }));
        }
        for line in lines {
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
    }

    #[test]
    fn what_is_no_line_is_refused_in_words() {
        for (line, expected) in [
            ("", "a line"),
            ("SELECT 1", "`SELECT` begins no line"),
            ("pglanes-trace 2 cores 1", "version 2"),
            ("lane x normal a", "a lane's number: `x`"),
            ("lane 1 hot a", "a CPU class: `hot`"),
            ("lease 1 1 lost", "taken or ended"),
            ("at 5", "the line ends before it"),
            ("tx 1 2 3 4 5 6 7 8 9 10 SELECT ok", "a class: `SELECT`"),
            ("tx -1 2 3 4 5 6 7 8 9 10 - ok", "when it asked"),
        ] {
            let error = line.parse::<Line>().unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
