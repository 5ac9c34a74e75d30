//! Facts to proposals. Each says why, and from where; what the version, the system or the server does not have is
//! refused and said.

use super::facts::{Disk, Facts, System};
use super::memory::{Ledger, TooLittle};
use crate::server::ServerState;
use crate::size;

/// The oldest version that is known.
pub const OLDEST: u32 = 14;
/// The newest version that is known.
pub const NEWEST: u32 = 18;

const MANUAL: &str = "PostgreSQL manual";
const PGVECTOR: &str = "pgvector README";
const PGTUNE: &str = "pgtune";
const LANES: &str = "lanes.yaml";

/// A setting's proposed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The setting.
    pub name: &'static str,
    /// Its value, as postgresql.conf has it, without quotes.
    pub value: String,
    /// Why.
    pub why: String,
    /// Whose advice or fact it is.
    pub source: &'static str,
    /// Whether it takes a restart.
    pub restart: bool,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The setting.
    pub name: &'static str,
    /// What stands against it.
    pub why: String,
}

/// What to set, what it comes to, and what was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the file.
    pub proposals: Vec<Proposal>,
    /// What cannot be set here.
    pub refusals: Vec<Refusal>,
    /// What no setting of the server's does.
    pub advice: Vec<String>,
    /// Who takes what memory.
    pub memory: Ledger,
}

/// One row of the rules: the value, why, and whose advice.
type Row = (&'static str, String, String, &'static str);

/// Settings that take a restart, for when no server can say so.
const RESTART: &[&str] = &[
    "shared_buffers",
    "max_connections",
    "huge_pages",
    "max_worker_processes",
    "wal_buffers",
    "io_method",
];
/// In which version a setting came.
const SINCE: &[(&str, u32)] = &[
    ("vacuum_buffer_usage_limit", 16),
    ("io_method", 18),
    ("io_workers", 18),
];

/// Proposes settings. `server` is what runs, if it could be asked: it knows best what it has.
///
/// # Errors
/// [`TooLittle`] when the lanes leave the server too little memory.
pub fn plan(facts: &Facts, server: Option<&ServerState>) -> Result<Plan, TooLittle> {
    let memory = Ledger::fit(facts)?;
    let mut rows = memory_rows(facts, &memory);
    rows.extend(parallel_rows(facts));
    rows.extend(disk_rows(facts));
    rows.extend(log_rows(facts, server));
    rows.extend(upkeep_rows());
    let mut plan = Plan {
        proposals: Vec::new(),
        refusals: Vec::new(),
        advice: advice(facts, server, &memory),
        memory,
    };
    for (name, value, why, source) in rows {
        match obstacle(name, &value, facts, server) {
            Some(why) => plan.refusals.push(Refusal { name, why }),
            None => plan.proposals.push(Proposal {
                name,
                value,
                why,
                source,
                restart: needs_restart(name, server),
            }),
        }
    }
    Ok(plan)
}

fn needs_restart(name: &str, server: Option<&ServerState>) -> bool {
    match server.and_then(|server| server.settings.get(name)) {
        Some(setting) => setting.context == "postmaster",
        None => RESTART.contains(&name),
    }
}

/// What stands against a value: the version, the system, or the words the server takes.
fn obstacle(
    name: &str,
    value: &str,
    facts: &Facts,
    server: Option<&ServerState>,
) -> Option<String> {
    if let Some((_, since)) = SINCE
        .iter()
        .find(|(known, since)| *known == name && facts.major < *since)
    {
        return Some(format!(
            "comes with PostgreSQL {since}, this is {}",
            facts.major
        ));
    }
    if facts.machine.system == System::MacOs
        && facts.major < NEWEST
        && name.ends_with("_io_concurrency")
        && value != "0"
    {
        return Some(
            "macOS has no posix_fadvise: before PostgreSQL 18 anything but 0 is an error"
                .to_owned(),
        );
    }
    let server = server?;
    let Some(setting) = server.settings.get(name) else {
        return Some(format!(
            "PostgreSQL {} does not have it, or hides it from this user",
            server.version
        ));
    };
    if setting.context == "internal" {
        return Some("fixed when the server was built".to_owned());
    }
    let choices = &setting.choices;
    let is_taken = choices.is_empty() || choices.iter().any(|choice| choice == value);
    (!is_taken).then(|| format!("this server takes {}", choices.join(", ")))
}

fn memory_rows(facts: &Facts, memory: &Ledger) -> Vec<Row> {
    let budget = size::rounded(memory.budget);
    let cache = match facts.vectors {
        Some(vectors) => format!(
            "a third of the share of {budget}, more where the HNSW index needs it (about {} here): a search reads pages all \
             over the graph",
            size::rounded(vectors.index_bytes())
        ),
        None => format!("a third of the share of {budget}; a hot HNSW graph must stay in it"),
    };
    let huge_pages = match facts.machine.system {
        System::Linux => (
            "try",
            "fewer page-table misses; `try` starts without them too",
        ),
        System::MacOs => ("off", "PostgreSQL has no huge pages on macOS"),
    };
    let effective = memory.budget / 4 * 3;
    let effective = effective / (1 << 20) * (1 << 20);
    vec![
        (
            "max_connections",
            memory.max_connections.to_string(),
            format!("{} slots of the lanes, and room for pglanes' own, superusers and upkeep", facts.lanes.slots),
            LANES,
        ),
        ("shared_buffers", size::shown(memory.shared_buffers), cache, PGVECTOR),
        ("huge_pages", huge_pages.0.to_owned(), huge_pages.1.to_owned(), MANUAL),
        (
            "effective_cache_size",
            size::shown(effective),
            "what the planner believes is cached, with the system's cache; takes no memory".to_owned(),
            PGTUNE,
        ),
        (
            "work_mem",
            size::shown(memory.work_mem),
            "for sessions that no lane gives another; also bounds hnsw.iterative_scan (times hnsw.scan_mem_multiplier)".to_owned(),
            PGVECTOR,
        ),
        (
            "maintenance_work_mem",
            size::shown(memory.maintenance_work_mem),
            "for one index build or VACUUM by hand; a lane that builds HNSW indexes gets its own".to_owned(),
            PGVECTOR,
        ),
        (
            "autovacuum_work_mem",
            size::shown(memory.autovacuum_work_mem),
            "every autovacuum worker may take it, so it is not left at maintenance_work_mem".to_owned(),
            PGTUNE,
        ),
    ]
}

fn parallel_rows(facts: &Facts) -> Vec<Row> {
    let cores = facts.machine.cores.max(1);
    let mut rows = vec![
        (
            "max_worker_processes",
            cores.max(8).to_string(),
            "parallel workers come out of it, and extensions' workers".to_owned(),
            PGTUNE,
        ),
        (
            "max_parallel_workers",
            cores.to_string(),
            "no more workers than processors".to_owned(),
            PGTUNE,
        ),
        (
            "max_parallel_workers_per_gather",
            (cores / 2).min(2).to_string(),
            "helps exact scans; an HNSW probe gains nothing, so the evaluation's lane sets 0".to_owned(),
            PGVECTOR,
        ),
        (
            "max_parallel_maintenance_workers",
            (cores / 2).clamp(1, 4).to_string(),
            "HNSW builds use them".to_owned(),
            PGVECTOR,
        ),
        (
            "jit",
            "off".to_owned(),
            "compiling costs more than it brings for short statements and vector searches; PostgreSQL 19 has it off".to_owned(),
            PGTUNE,
        ),
    ];
    if facts.major >= 18 {
        rows.push((
            "io_method",
            "worker".to_owned(),
            "works everywhere; io_uring needs Linux and a build with it".to_owned(),
            MANUAL,
        ));
        rows.push((
            "io_workers",
            (cores / 4).clamp(3, 32).to_string(),
            "a quarter of the processors, at least the default".to_owned(),
            PGTUNE,
        ));
    }
    rows
}

fn disk_rows(facts: &Facts) -> Vec<Row> {
    let ssd = facts.machine.disk == Disk::Ssd;
    let concurrency = match (facts.machine.system, facts.major, ssd) {
        (System::MacOs, ..=17, _) => (
            "0",
            "macOS has no posix_fadvise: before PostgreSQL 18 anything else is an error",
        ),
        (_, 18.., true) => (
            "16",
            "PostgreSQL 18's own default for its asynchronous reads",
        ),
        (_, _, true) => ("200", "flash answers many reads at once"),
        (_, _, false) => ("2", "a turning disk answers few reads at once"),
    };
    let page = if ssd {
        (
            "1.1",
            "a random page of flash costs about what the next one does",
        )
    } else {
        ("4", "a turning disk seeks")
    };
    vec![
        (
            "random_page_cost",
            page.0.to_owned(),
            page.1.to_owned(),
            PGTUNE,
        ),
        (
            "effective_io_concurrency",
            concurrency.0.to_owned(),
            concurrency.1.to_owned(),
            MANUAL,
        ),
    ]
}

fn log_rows(facts: &Facts, server: Option<&ServerState>) -> Vec<Row> {
    // A build without lz4 has `pglz` alone, which `on` names in every version.
    let lz4 = server
        .and_then(|server| server.settings.get("wal_compression"))
        .is_some_and(|setting| setting.choices.iter().any(|choice| choice == "lz4"));
    let compression = if lz4 { "lz4" } else { "on" };
    let log = (facts.budget() / 4).clamp(1 << 30, 16 << 30) >> 30;
    vec![
        (
            "wal_compression",
            compression.to_owned(),
            "smaller full-page images after a checkpoint; lz4 where the server has it".to_owned(),
            PGTUNE,
        ),
        (
            "wal_buffers",
            "16MB".to_owned(),
            "one segment; bulk loads fill it".to_owned(),
            PGTUNE,
        ),
        (
            "max_wal_size",
            format!("{log}GB"),
            "disk, not memory: bulk rehydration without a storm of checkpoints".to_owned(),
            PGTUNE,
        ),
        (
            "min_wal_size",
            format!("{}MB", (log * 64).max(80)),
            "segments that are used again instead of made anew".to_owned(),
            PGTUNE,
        ),
        (
            "checkpoint_timeout",
            "15min".to_owned(),
            "fewer full-page images while an evaluation runs; recovery after a crash takes longer"
                .to_owned(),
            MANUAL,
        ),
        (
            "checkpoint_completion_target",
            "0.9".to_owned(),
            "spreads a checkpoint's writes".to_owned(),
            MANUAL,
        ),
    ]
}

fn upkeep_rows() -> Vec<Row> {
    let row =
        |name, value: &str, why: &str, source| (name, value.to_owned(), why.to_owned(), source);
    vec![
        row(
            "autovacuum_vacuum_cost_limit",
            "1000",
            "keeps up with compaction's deletes; shared by all workers",
            MANUAL,
        ),
        row(
            "autovacuum_vacuum_cost_delay",
            "2ms",
            "sleeps between portions, so that others get the disk",
            MANUAL,
        ),
        row(
            "autovacuum_vacuum_scale_factor",
            "0.05",
            "smaller, more frequent vacuums of large tables",
            MANUAL,
        ),
        row(
            "vacuum_buffer_usage_limit",
            "2MB",
            "VACUUM's ring keeps the hot graph in the cache",
            MANUAL,
        ),
        row(
            "track_io_timing",
            "on",
            "shows who waits for the disk",
            MANUAL,
        ),
        row("log_lock_waits", "on", "shows who waits for whom", MANUAL),
        row(
            "log_autovacuum_min_duration",
            "10s",
            "shows what autovacuum costs",
            MANUAL,
        ),
    ]
}

/// What no setting of the server's does.
fn advice(facts: &Facts, server: Option<&ServerState>, memory: &Ledger) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(vectors) = facts.vectors {
        let index = vectors.index_bytes();
        advice.push(format!(
            "{} vectors of {} dimensions, m={}: an HNSW index of about {}, and about {} of maintenance_work_mem while it is \
             built fast (SET maintenance_work_mem in the session that builds) [{PGVECTOR}]",
            vectors.rows, vectors.dimensions, vectors.m, size::rounded(index), size::rounded(vectors.graph_bytes())
        ));
        if index > memory.shared_buffers {
            advice.push(format!(
                "the index is larger than shared_buffers ({}): halfvec halves it, or give the database more of the machine",
                size::rounded(memory.shared_buffers)
            ));
        }
    }
    if facts.machine.system == System::MacOs {
        advice.push(
            "wal_sync_method is left as it is: macOS's default does not flush the drive's own cache, so a power cut can lose \
             commits; fsync_writethrough is safe and slower by orders of magnitude (measure with pg_test_fsync)"
                .to_owned(),
        );
    }
    let preload = server.and_then(|server| server.value("shared_preload_libraries"));
    if preload.is_some_and(|libraries| !libraries.contains("pg_stat_statements")) {
        advice.push(
            "pg_stat_statements is not loaded: add it to shared_preload_libraries (restart) and CREATE EXTENSION it, to see which \
             statements cost what"
                .to_owned(),
        );
    }
    advice
}
