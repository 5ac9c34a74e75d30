//! The model's rules: what becomes of a lane's transactions that go too far.

use std::fmt;
use std::time::Duration;

use crate::units::{shown_duration, shown_size};

/// What becomes of a transaction that does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How messages, logs and metrics call it.
    pub name: String,
    /// What it goes by.
    pub when: When,
    /// What becomes of the transaction.
    pub then: Then,
}

/// What a rule goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The transaction has its slot for so long.
    Running(Duration),
    /// It waits for its slot for so long.
    Queued(Duration),
    /// It has returned more rows.
    Rows(u64),
    /// It has returned more bytes.
    Bytes(u64),
    /// Its client is silent inside of it for so long.
    Idle {
        /// For how long.
        after: Duration,
        /// Only while somebody waits for one of its locks.
        blocking: bool,
    },
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Writes it in the log.
    Log,
    /// Tells the client.
    Notice,
    /// Cancels the transaction.
    Cancel,
    /// Gives it no slot.
    Reject,
    /// Lets the session's next transactions run in another lane.
    Move(String),
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |after: &Duration| shown_duration(*after);
        let when = match &self.when {
            When::Running(time) => format!("it runs for {}", after(time)),
            When::Queued(time) => format!("it waits for {}", after(time)),
            When::Rows(rows) => format!("it returns more than {rows} rows"),
            When::Bytes(bytes) => format!("it returns more than {}", shown_size(*bytes)),
            When::Idle {
                after: time,
                blocking,
            } => {
                let others = if *blocking {
                    " while somebody waits for it"
                } else {
                    ""
                };
                format!("it is idle for {}{others}", after(time))
            }
        };
        let then = match &self.then {
            Then::Log => "it is logged".to_owned(),
            Then::Notice => "its client is told".to_owned(),
            Then::Cancel => "it is cancelled".to_owned(),
            Then::Reject => "it is rejected".to_owned(),
            Then::Move(lane) => format!("what follows runs in {lane}"),
        };
        write!(formatter, "{}: when {when}, {then}", self.name)
    }
}
