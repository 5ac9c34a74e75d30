//! A lane's envelope: PostgreSQL settings, by the form of their names, passed to the server as they are written.

use crate::diagnostic::quoted;
use crate::reader::{Reading, Section};
use crate::suggest::nearest;
use crate::yaml::{Place, Value};

/// The most settings of one lane; together they must fit a startup packet.
const MAXIMUM_SETTINGS: usize = 100;
/// The longest value, in bytes. PostgreSQL refuses startup packets beyond 10,000.
const MAXIMUM_VALUE: usize = 2000;

/// Settings that exist only for the whole server: a connection that brings one is refused by PostgreSQL.
const SERVER_WIDE: [&str; 16] = [
    "shared_buffers",
    "max_connections",
    "wal_level",
    "shared_preload_libraries",
    "huge_pages",
    "port",
    "max_worker_processes",
    "max_wal_size",
    "min_wal_size",
    "checkpoint_timeout",
    "autovacuum",
    "autovacuum_work_mem",
    "listen_addresses",
    "wal_buffers",
    "max_locks_per_transaction",
    "wal_sync_method",
];

/// Settings that only a superuser may bring; for anybody else the connection would fail.
const SUPERUSER: [&str; 7] = [
    "temp_file_limit",
    "log_min_duration_statement",
    "track_io_timing",
    "log_statement",
    "session_replication_role",
    "log_lock_waits",
    "deadlock_timeout",
];

/// Startup parameters that say who the client is: they are not the lane's to set.
const OF_THE_CLIENT: [&str; 6] = [
    "user",
    "database",
    "replication",
    "options",
    "application_name",
    "session_authorization",
];

/// Settings that envelopes are made of, to guess from where one is misspelt.
const COMMON: [&str; 22] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "work_mem",
    "maintenance_work_mem",
    "hash_mem_multiplier",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
    "vacuum_buffer_usage_limit",
    "max_parallel_workers_per_gather",
    "max_parallel_maintenance_workers",
    "default_transaction_read_only",
    "synchronous_commit",
    "jit",
    "plan_cache_mode",
    "search_path",
    "random_page_cost",
    "effective_cache_size",
    "effective_io_concurrency",
    "idle_session_timeout",
    "default_transaction_isolation",
];

/// The settings under `settings`, in the order of the file.
pub(crate) fn settings(reading: &mut Reading<'_>, lane: &Section<'_>) -> Vec<(String, String)> {
    let Some(section) = reading.subnames(lane, "settings") else {
        return Vec::new();
    };
    let mut settings: Vec<(String, String)> = Vec::new();
    for (key, node) in section.entries() {
        if settings.len() == MAXIMUM_SETTINGS {
            reading.problem(
                key.place,
                format!("{} has more than {MAXIMUM_SETTINGS} settings", lane.title),
            );
            break;
        }
        let name = key.name.as_str();
        if !name_holds(reading, name, key.place, &lane.title) {
            continue;
        }
        let value = match &node.value {
            Value::Word(value) => value.as_str(),
            Value::Nothing => {
                reading.problem(
                    key.place,
                    format!(
                        "the setting {} of {} has no value; write `''` for an empty one",
                        quoted(name),
                        lane.title
                    ),
                );
                continue;
            }
            other => {
                let message = format!(
                    "the setting {} of {} is a single value; found {}",
                    quoted(name),
                    lane.title,
                    other.kind()
                );
                reading.problem(node.place, message);
                continue;
            }
        };
        if value.chars().any(char::is_control) || value.len() > MAXIMUM_VALUE {
            let message = format!(
                "the setting {} of {} is one line of at most {MAXIMUM_VALUE} bytes",
                quoted(name),
                lane.title
            );
            reading.problem(node.place, message);
            continue;
        }
        settings.push((name.to_owned(), value.to_owned()));
    }
    settings
}

fn name_holds(reading: &mut Reading<'_>, name: &str, place: Place, lane: &str) -> bool {
    let form = name.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_')
        && name.len() <= 63
        && name.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_.".contains(letter)
        });
    let shown = quoted(name);
    if !form {
        let near = nearest(name, COMMON);
        let message = format!(
            "{shown} in the settings of {lane} is no setting's name: lower-case letters, digits, `_` and `.`"
        );
        reading.problem_near(place, message, near);
        return false;
    }
    if SERVER_WIDE.contains(&name) {
        reading.problem(place, format!("the setting {shown} of {lane} belongs to the whole server; put it in postgresql.conf"));
        return false;
    }
    if OF_THE_CLIENT.contains(&name) {
        reading.problem(
            place,
            format!("the setting {shown} of {lane} is the client's to say"),
        );
        return false;
    }
    if SUPERUSER.contains(&name) {
        let message = format!(
            "the setting {shown} of {lane} is for superusers; connections of other users will be refused"
        );
        reading.warning(place, message);
    } else if !COMMON.contains(&name)
        && let Some(near) = nearest(name, COMMON).filter(|near| is_slip(name, near))
    {
        reading.warning(
            place,
            format!("the setting {shown} of {lane} is not one we know; is `{near}` meant?"),
        );
    }
    true
}

/// Whether an unknown name is so near to a known one that it is a slip, not an extension's or another setting.
fn is_slip(name: &str, near: &str) -> bool {
    !name.contains('.')
        && name.len().abs_diff(near.len()) <= 2
        && name.as_bytes().first() == near.as_bytes().first()
        && shared_letters(name, near) + 2 >= near.len().max(name.len())
}

/// How many letters the two share at their beginning and their end.
fn shared_letters(left: &str, right: &str) -> usize {
    let front = left
        .bytes()
        .zip(right.bytes())
        .take_while(|(left, right)| left == right)
        .count();
    let rest = left.len().min(right.len()) - front;
    let back = left
        .bytes()
        .rev()
        .zip(right.bytes().rev())
        .take(rest)
        .take_while(|(left, right)| left == right)
        .count();
    front + back
}
