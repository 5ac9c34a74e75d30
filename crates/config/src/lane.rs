//! The model's lanes and throttles.

use std::time::Duration;

use pglanes_lanes::QueueOrder;
use pglanes_lanes::classify::StatementKind;

use crate::access::AddressMatch;
use crate::objective::Objective;
use crate::rule::Rule;

/// The lane that takes what no rule takes.
pub const DEFAULT_LANE: &str = "default";

/// A class of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// Which work belongs here; one rule is enough.
    pub rules: Vec<MatchRule>,
    /// Which sessions may put themselves here by `SET pglanes.lane`; one rule, about sessions alone, is enough.
    pub chosen_by: Vec<MatchRule>,
    /// Slots that no other lane can take for long.
    pub minimum: u32,
    /// Slots that it never goes beyond.
    pub maximum: u32,
    /// How many of its slots one client may have.
    pub caps: Caps,
    /// What a slot is held for.
    pub pooling: Pooling,
    /// Whether a lone BEGIN takes no slot before the first statement behind it.
    pub lazy_begin: bool,
    /// Whether a repeated unnamed statement is kept prepared, so that its plan is used again.
    pub reuse_plans: bool,
    /// What a LISTEN does to its session.
    pub listen: Listen,
    /// The higher number is served first.
    pub priority: i32,
    /// Its share among lanes of the same priority; at least one.
    pub weight: u32,
    /// How many transactions may wait.
    pub queue_length: u32,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// How long one waits before its client is told so; `None` is never.
    pub queue_notice: Option<Duration>,
    /// Who goes first among those who wait.
    pub queue_order: QueueOrder,
    /// PostgreSQL settings that its connections start with, as written, in the order of the file.
    pub settings: Vec<(String, String)>,
    /// The operating system's priority for its server processes.
    pub cpu: Cpu,
    /// The same for what they read and write.
    pub io: Io,
    /// Whether its bounds hold anything back.
    pub mode: Mode,
    /// When an idle server connection is closed; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// When a server connection is replaced; `None` is never.
    pub server_lifetime: Option<Duration>,
    /// What becomes of its transactions that go too far.
    pub limits: Vec<Rule>,
    /// How long its borrowed slots may be kept from a lane that waits below its right; `None` is for ever.
    pub preemptible: Option<Duration>,
    /// Its latency target.
    pub objective: Option<Objective>,
}

/// What a LISTEN does to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// The session keeps its server connection.
    Pin,
    /// One server connection listens for all sessions of a user and a database.
    Shared,
}

impl Lane {
    /// A lane with every default, below a total of slots.
    pub fn with_defaults(name: impl Into<String>, slots: u32) -> Self {
        Self {
            name: name.into(),
            rules: Vec::new(),
            chosen_by: Vec::new(),
            minimum: 0,
            maximum: slots,
            caps: Caps::default(),
            pooling: Pooling::Transaction,
            lazy_begin: false,
            reuse_plans: false,
            listen: Listen::Pin,
            priority: 0,
            weight: 1,
            queue_length: 200,
            queue_timeout: Duration::from_secs(60),
            queue_notice: None,
            queue_order: QueueOrder::Arrival,
            settings: Vec::new(),
            cpu: Cpu::Normal,
            io: Io::Normal,
            mode: Mode::Enforce,
            idle_timeout: Some(Duration::from_secs(10 * 60)),
            server_lifetime: Some(Duration::from_secs(60 * 60)),
            limits: Vec::new(),
            preemptible: None,
            objective: None,
        }
    }
}

/// Conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRule {
    /// At least one.
    pub conditions: Vec<MatchCondition>,
    /// The line of the file that it begins on; zero where there is none.
    pub line: usize,
}

impl std::fmt::Display for MatchRule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        formatter.write_str(&conditions.join(", "))
    }
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchCondition {
    /// The session's application_name fits the glob.
    ApplicationName(String),
    /// The session's user fits the glob.
    User(String),
    /// The session's database fits the glob.
    Database(String),
    /// The session comes from one of these places.
    Address(Vec<AddressMatch>),
    /// The session is in this lane by its names.
    Lane(String),
    /// The transaction's first statement is of one of these kinds.
    Statement(Vec<StatementKind>),
    /// The statement carries the comment `/*key='value'*/`.
    Tag {
        /// The comment's key.
        key: String,
        /// The glob that its value fits.
        value: String,
    },
    /// The statement names a table that one of these globs fits, as `name` or `schema.name`.
    Table(Vec<String>),
    /// The statement's text, without its values, matches the regular expression.
    Text(String),
}

impl std::fmt::Display for MatchCondition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ApplicationName(glob) => write!(formatter, "application_name: {glob}"),
            Self::User(glob) => write!(formatter, "user: {glob}"),
            Self::Database(glob) => write!(formatter, "database: {glob}"),
            Self::Address(places) => {
                let places: Vec<String> = places.iter().map(ToString::to_string).collect();
                write!(formatter, "address: [{}]", places.join(", "))
            }
            Self::Table(globs) => write!(formatter, "table: [{}]", globs.join(", ")),
            Self::Text(pattern) => write!(formatter, "text: {pattern}"),
            Self::Lane(lane) => write!(formatter, "lane: {lane}"),
            Self::Statement(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                write!(formatter, "statement: [{}]", names.join(", "))
            }
            Self::Tag { key, value } => write!(formatter, "tag: {{ {key}: {value} }}"),
        }
    }
}

/// How many of a lane's slots one client may have; `None` is as many as there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// All sessions of one user together.
    pub per_user: Option<u32>,
    /// All sessions of one application_name together.
    pub per_application: Option<u32>,
}

impl std::fmt::Display for Caps {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let caps = [
            ("user", self.per_user),
            ("application", self.per_application),
        ];
        let words = caps
            .into_iter()
            .filter_map(|(client, slots)| Some((client, slots?)));
        let words: Vec<String> = words
            .map(|(client, slots)| format!("at most {slots} for one {client}"))
            .collect();
        formatter.write_str(if words.is_empty() { "none" } else { "" })?;
        formatter.write_str(&words.join(", "))
    }
}

/// What a slot is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// A transaction.
    Transaction,
    /// The whole session.
    Session,
}

/// The operating system's CPU priority for server processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cpu {
    /// Left alone.
    Normal,
    /// Below others.
    Low,
    /// Only what others leave.
    Background,
}

/// The operating system's I/O priority for server processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Io {
    /// Left alone.
    Normal,
    /// Behind others.
    Low,
    /// Only while nobody else reads or writes.
    Background,
}

/// How far a decision is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Decided, counted and done.
    Enforce,
    /// Decided and counted.
    Observe,
    /// Not even decided.
    Off,
}

/// While one lane is active, another has fewer slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// How logs and metrics call it.
    pub name: String,
    /// The protected lane.
    pub watched: String,
    /// When it counts as active.
    pub activity: Activity,
    /// How long the throttle holds on after that.
    pub linger: Duration,
    /// The lane that yields.
    pub lane: String,
    /// What it keeps.
    pub keeps: Keeps,
    /// What happens to what it runs.
    pub running: Running,
    /// The CPU priority of its server processes meanwhile, where that is below their own.
    pub cpu: Cpu,
    /// Whether clients that connect to PostgreSQL directly make the protected lane active too.
    pub direct: bool,
    /// How far the throttle is carried out.
    pub mode: Mode,
}

/// When a lane counts as active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// One of its transactions runs or waits.
    Busy,
    /// One of its sessions is connected.
    Connected,
    /// Someone holds a lease on it.
    Leased,
}

/// What a throttled lane keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// So many slots.
    Slots(u32),
    /// Its slots for so many percent of the time, 1 to 99.
    Share(u8),
    /// All its slots: it yields the CPU.
    All,
}

/// What happens to the running statements of a throttled lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// They finish.
    Finish,
    /// They are cancelled when they run on for so long.
    CancelAfter(Duration),
}
