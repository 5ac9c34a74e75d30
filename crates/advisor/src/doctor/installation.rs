//! The installation: the server against the lanes, and what is known to go wrong.

use pglanes_config::{Config, Cpu};

use crate::server::ServerState;
use crate::size;
use crate::tune::LaneDemand;

/// The first pgvector whose HNSW vacuum has no known fault.
const PGVECTOR_FLOOR: (u32, u32, u32) = (0, 8, 6);
/// The control plane's own connections.
const OWN_CONNECTIONS: u32 = pglanes_control::MAX_CONNECTIONS as u32;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Costs speed or sight.
    Advice,
    /// Will hurt.
    Warning,
    /// Broken, or data is at risk.
    Error,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Advice => "advice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A word for programs.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why it matters, and whose word that is.
    pub why: &'static str,
    /// What would be right.
    pub remedy: String,
    /// How that is taken back.
    pub undo: String,
}

/// What this machine allows, and how much it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Bytes of memory, where the server is on this machine.
    pub memory: Option<u64>,
    /// Whether this process may set another user's priority; `None` where that is not known.
    pub may_prioritise: Option<bool>,
    /// Whether it runs on macOS.
    pub macos: bool,
}

/// Everything that can be said.
pub fn examine(config: &Config, server: &ServerState, here: Here) -> Vec<Finding> {
    let mut findings = vec![
        connections(config, server),
        pgvector(server),
        direct(server),
    ];
    findings.extend(memory(config, server, here));
    findings.extend(priority(config, here));
    findings.extend(switches(server));
    findings.extend(waiting(server));
    if here.macos {
        findings.extend(flushing(server));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn number(server: &ServerState, name: &str) -> u32 {
    server
        .value(name)
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

fn connections(config: &Config, server: &ServerState) -> Finding {
    let reserved =
        number(server, "superuser_reserved_connections") + number(server, "reserved_connections");
    let usable = number(server, "max_connections").saturating_sub(reserved);
    let needed = config.upstream.slots.saturating_add(OWN_CONNECTIONS);
    Finding {
        code: "connections",
        severity: if needed > usable {
            Severity::Error
        } else {
            Severity::Good
        },
        what: format!(
            "{needed} connections for slots and pglanes itself, {usable} for ordinary users at the server"
        ),
        why: "a slot that cannot be opened is a transaction that fails [PostgreSQL manual, max_connections]",
        remedy: format!(
            "upstream.slots at most {}, or max_connections at least {}",
            usable.saturating_sub(OWN_CONNECTIONS),
            needed + reserved
        ),
        undo: "set the old value again (max_connections takes a restart)".to_owned(),
    }
}

/// `0.8.5` in numbers; what is missing is zero.
fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

fn pgvector(server: &ServerState) -> Finding {
    let found = server.extensions.get("vector");
    let (severity, what) = match found {
        Some(text) if version(text) >= PGVECTOR_FLOOR => {
            (Severity::Good, format!("pgvector {text}"))
        }
        Some(text) if version(text) < (0, 8, 3) => (
            Severity::Error,
            format!("pgvector {text}: HNSW vacuuming may corrupt the index before 0.8.3"),
        ),
        Some(text) => (
            Severity::Warning,
            format!("pgvector {text}: known HNSW vacuum faults before 0.8.6"),
        ),
        None => (Severity::Good, "no pgvector in this database".to_owned()),
    };
    Finding {
        code: "pgvector",
        severity,
        what,
        why: "0.8.3 mended possible index corruption by HNSW vacuuming, 0.8.4 graphs left unrepaired [pgvector CHANGELOG]",
        remedy: "install 0.8.6 or newer, ALTER EXTENSION vector UPDATE, then REINDEX INDEX CONCURRENTLY the HNSW indexes".to_owned(),
        undo: "the old library installed again; the indexes stay usable".to_owned(),
    }
}

fn direct(server: &ServerState) -> Finding {
    let past: Vec<String> = server
        .sessions
        .iter()
        .filter(|session| !session.application.starts_with("pglanes"))
        .take(5)
        .map(|session| {
            format!(
                "{} x {:?} as {}",
                session.count, session.application, session.user
            )
        })
        .collect();
    let without = server
        .sessions
        .iter()
        .filter(|session| session.application.is_empty())
        .count();
    Finding {
        code: "sessions",
        severity: if without > 0 {
            Severity::Advice
        } else {
            Severity::Good
        },
        what: if past.is_empty() {
            "no other client sessions".to_owned()
        } else {
            format!(
                "sessions at the server (the proxy's own carry their client's name): {}",
                past.join(", ")
            )
        },
        why: "work that goes past the proxy is in no lane, and a session without a name in the default one",
        remedy: "pglanes doctor PATH finds the connection strings; --fix brings them to the proxy"
            .to_owned(),
        undo: "the backups that --fix leaves".to_owned(),
    }
}

fn memory(config: &Config, server: &ServerState, here: Here) -> Option<Finding> {
    let memory = here.memory?;
    let bytes = |name| server.value(name).and_then(size::parse).unwrap_or(0);
    let hash = if server.major() >= 15 { 2 } else { 1 };
    let lanes = LaneDemand::of(config).bytes(bytes("work_mem"), hash);
    let cache = bytes("shared_buffers");
    let total = lanes.saturating_add(cache);
    let (severity, what) = if total > memory {
        (Severity::Error, "more than the machine has")
    } else if cache < memory / 20 && cache < 1 << 30 {
        (
            Severity::Advice,
            "shared_buffers is far below what the machine could give",
        )
    } else {
        (Severity::Good, "within the machine")
    };
    Some(Finding {
        code: "memory",
        severity,
        what: format!(
            "lanes at most {}, shared_buffers {}, machine {}: {what}",
            size::rounded(lanes),
            size::rounded(cache),
            size::rounded(memory)
        ),
        why: "a hot HNSW graph must stay cached, and what does not fit is swapped or killed [pgvector README, PostgreSQL manual]",
        remedy: "pglanes tune".to_owned(),
        undo: "pglanes tune --undo FILE".to_owned(),
    })
}

fn priority(config: &Config, here: Here) -> Option<Finding> {
    let lowered = config
        .lanes
        .iter()
        .filter(|lane| lane.cpu != Cpu::Normal)
        .map(|lane| lane.name.as_str());
    let lowered: Vec<&str> = lowered.collect();
    let may = here.may_prioritise.filter(|_| !lowered.is_empty())?;
    Some(Finding {
        code: "cpu-priority",
        severity: if may {
            Severity::Good
        } else {
            Severity::Warning
        },
        what: format!(
            "lanes with lowered CPU priority: {}; this user {} set it for the server's processes",
            lowered.join(", "),
            if may { "may" } else { "may not" }
        ),
        why: "the strongest lever on the same host: the kernel lets a process change only its own user's without a capability",
        remedy: "run pglanes as the server's user, or give it CAP_SYS_NICE".to_owned(),
        undo: "cpu: normal in lanes.yaml".to_owned(),
    })
}

/// Switches that should be on or off.
fn switches(server: &ServerState) -> Vec<Finding> {
    const SWITCHES: &[(&str, &str, Severity, &str)] = &[
        (
            "autovacuum",
            "on",
            Severity::Error,
            "dead rows of bulk deletes are never cleared away [PostgreSQL manual]",
        ),
        (
            "fsync",
            "on",
            Severity::Error,
            "a crash may lose everything [PostgreSQL manual]",
        ),
        (
            "full_page_writes",
            "on",
            Severity::Error,
            "a power cut may tear pages [PostgreSQL manual]",
        ),
        (
            "track_io_timing",
            "on",
            Severity::Advice,
            "without it nobody sees who waits for the disk [PostgreSQL manual]",
        ),
        (
            "log_lock_waits",
            "on",
            Severity::Advice,
            "without it nobody sees who waits for whom [PostgreSQL manual]",
        ),
        (
            "jit",
            "off",
            Severity::Advice,
            "compiling costs more than it brings for short statements [pgtune]",
        ),
    ];
    let finding = |(name, right, severity, why): &(&'static str, &str, Severity, &'static str)| {
        let value = server.value(name)?;
        let holds = value == *right;
        Some(Finding {
            code: name,
            severity: if holds { Severity::Good } else { *severity },
            what: format!("{name} is {value}"),
            why,
            remedy: format!("ALTER SYSTEM SET {name} = '{right}'; SELECT pg_reload_conf();"),
            undo: format!("ALTER SYSTEM RESET {name}; SELECT pg_reload_conf();"),
        })
    };
    SWITCHES.iter().filter_map(finding).collect()
}

fn waiting(server: &ServerState) -> Option<Finding> {
    let waiting = server
        .settings
        .iter()
        .filter(|(_, setting)| setting.pending_restart);
    let names: Vec<&str> = waiting.map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| Finding {
        code: "pending-restart",
        severity: Severity::Warning,
        what: format!(
            "changed, but not in force before a restart: {}",
            names.join(", ")
        ),
        why: "the file says one thing, the server does another [pg_settings.pending_restart]",
        remedy: "restart PostgreSQL when nobody minds".to_owned(),
        undo: "pglanes tune --undo FILE, before the restart".to_owned(),
    })
}

fn flushing(server: &ServerState) -> Option<Finding> {
    let method = server.value("wal_sync_method")?;
    Some(Finding {
        code: "wal_sync_method",
        severity: if method == "fsync_writethrough" { Severity::Good } else { Severity::Advice },
        what: format!("wal_sync_method is {method}"),
        why: "on macOS only fsync_writethrough empties the drive's own cache; the others may lose commits in a power cut",
        remedy: "fsync_writethrough if the data matters; it is slower by orders of magnitude (pg_test_fsync)".to_owned(),
        undo: "ALTER SYSTEM RESET wal_sync_method; SELECT pg_reload_conf();".to_owned(),
    })
}
