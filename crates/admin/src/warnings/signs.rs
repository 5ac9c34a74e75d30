//! The signs by which it shows early that something gets worse, and what to do about each. Each is an alert of
//! `deploy/prometheus/rules` by the same name, with the same threshold, patience and advice: a test holds the two together.

use std::time::Duration;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nobody is served.
    Critical,
    /// Somebody is served worse than meant.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// In a word, as the alert's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sign {
    /// The alert's name.
    pub alert: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What the alert's expression compares with.
    pub threshold: f64,
    /// How long it has to be so.
    pub holds: Duration,
    /// What to do about it.
    pub action: &'static str,
}

/// The sign that is the alert of this name.
pub(super) fn find(alert: &str) -> Option<&'static Sign> {
    SIGNS.iter().find(|sign| sign.alert == alert)
}

/// All of them.
pub const SIGNS: &[Sign] = &[
    Sign {
        alert: "EvaluationDisturbed",
        severity: Severity::Warning,
        threshold: 1.0,
        holds: Duration::from_secs(60),
        action: "See who works beside it (SHOW LANES; pglanes report), and lower what the throttles leave those lanes.",
    },
    Sign {
        alert: "EvaluationWaitsForSlots",
        severity: Severity::Warning,
        threshold: 0.05,
        holds: Duration::from_secs(60),
        action: "Raise slots.min and slots.max of the lane; no other lever helps against its own clients.",
    },
    Sign {
        alert: "EvaluationBlockedByLane",
        severity: Severity::Warning,
        threshold: 0.05,
        holds: Duration::from_secs(0),
        action: "SELECT * FROM pglanes.contention. Give the blocking lane a lock_timeout and smaller transactions.",
    },
    Sign {
        alert: "LaneSaturated",
        severity: Severity::Warning,
        threshold: 0.0,
        holds: Duration::from_secs(300),
        action: "Raise slots.max, or find what holds them (SHOW PINNED, SHOW SERVERS).",
    },
    Sign {
        alert: "QueueTimeOverObjective",
        severity: Severity::Warning,
        threshold: 1.0,
        holds: Duration::from_secs(300),
        action: "Raise slots.max, or lengthen what a throttle leaves the lane.",
    },
    Sign {
        alert: "TransactionsTurnedAway",
        severity: Severity::Warning,
        threshold: 0.0,
        holds: Duration::from_secs(0),
        action: "Raise queue.length or queue.timeout of the lane, or its slots. Clients see the SQLSTATE and may retry.",
    },
    Sign {
        alert: "ThrottledTooLong",
        severity: Severity::Warning,
        threshold: 1.0,
        holds: Duration::from_secs(3600),
        action: "An evaluation that never ends, or a lease that is renewed by nobody's work (SHOW LEASES).",
    },
    Sign {
        alert: "LeaseEnding",
        severity: Severity::Info,
        threshold: 0.2,
        holds: Duration::from_secs(0),
        action: "Its holder is gone or slow, or did not mean to renew it. What it holds back goes on when it ends.",
    },
    Sign {
        alert: "LeaseExpired",
        severity: Severity::Info,
        threshold: 0.0,
        holds: Duration::from_secs(0),
        action: "Its holder crashed or was cut off; see how the evaluation ended.",
    },
    Sign {
        alert: "PinsTakeSlots",
        severity: Severity::Warning,
        threshold: 0.5,
        holds: Duration::from_secs(300),
        action: "SHOW PINNED names them and why. Undo that state, use listen shared, or give the lane more slots.",
    },
    Sign {
        alert: "PinnedTooLong",
        severity: Severity::Info,
        threshold: 0.0,
        holds: Duration::from_secs(1800),
        action: "SHOW PINNED names them. Undo the state (UNLISTEN, DISCARD ALL), or give them slots to hold.",
    },
    Sign {
        alert: "PoolExhausted",
        severity: Severity::Warning,
        threshold: 0.0,
        holds: Duration::from_secs(60),
        action: "Raise upstream.slots (below max_connections), or lower what pins and idles.",
    },
    Sign {
        alert: "ConnectionsPastTheProxy",
        severity: Severity::Info,
        threshold: 0.0,
        holds: Duration::from_secs(300),
        action: "pglanes doctor finds its connection string; what connects past the proxy is isolated from nobody.",
    },
    Sign {
        alert: "UpstreamDown",
        severity: Severity::Critical,
        threshold: 0.0,
        holds: Duration::from_secs(15),
        action: "The log of pglanes has its words; clients get them too.",
    },
    Sign {
        alert: "ConfigReloadFailed",
        severity: Severity::Warning,
        threshold: 0.0,
        holds: Duration::from_secs(0),
        action: "pglanes check says file, line and what would be right.",
    },
    Sign {
        alert: "OutOfSync",
        severity: Severity::Critical,
        threshold: 0.0,
        holds: Duration::from_secs(0),
        action: "A defect of pglanes, please report it with the log. Nobody got anybody else's rows.",
    },
    Sign {
        alert: "ClientsNearLimit",
        severity: Severity::Warning,
        threshold: 0.9,
        holds: Duration::from_secs(300),
        action: "Raise limits.clients, or find who opens so many (SHOW CLIENTS).",
    },
    Sign {
        alert: "LongTransactionHoldsVacuum",
        severity: Severity::Warning,
        threshold: 1800.0,
        holds: Duration::from_secs(60),
        action: "Dead rows cannot be removed before it ends: SELECT * FROM pglanes.vacuum_holders ORDER BY transactions_held DESC.",
    },
];
