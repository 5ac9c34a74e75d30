//! A first lanes.yaml from what a running server shows. Everything in it is a guess with its reason beside it, and nothing
//! is held back: every lane is in `observe` mode.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::Client;

use crate::server::{self, ServerError, ServerState, Session};

/// How often sessions are looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// The most lanes that are guessed; whatever else was seen is in `default`.
const MOST_LANES: usize = 12;
/// The most looks: ten minutes of them.
pub const MAXIMUM_LOOKS: u32 = 2400;

/// What was seen of sessions that look alike, over a while: the most at once.
pub type Seen = BTreeMap<(String, String, String), i64>;

/// Looks at the sessions for a while, at least once.
///
/// # Errors
/// [`ServerError`] when the server stops answering.
pub async fn watch(client: &Client, duration: Duration) -> Result<Seen, ServerError> {
    let looks = u32::try_from(duration.as_millis() / INTERVAL.as_millis()).unwrap_or(MAXIMUM_LOOKS);
    let mut seen = Seen::new();
    note(&mut seen, server::sessions(client).await?);
    for _ in 0..looks.min(MAXIMUM_LOOKS) {
        tokio::time::sleep(INTERVAL).await;
        note(&mut seen, server::sessions(client).await?);
    }
    Ok(seen)
}

fn note(seen: &mut Seen, sessions: Vec<Session>) {
    for session in sessions {
        let key = (session.application, session.user, session.database);
        let most = seen.entry(key).or_insert(0);
        *most = (*most).max(session.count);
    }
}

/// What is known beside the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// The server.
    pub server: &'a ServerState,
    /// Its URL without a password.
    pub url: String,
    /// How long sessions were looked at.
    pub watched: Duration,
    /// Bytes of memory, where known.
    pub memory: Option<u64>,
    /// Users and applications of the costliest statements, where `pg_stat_statements` is there.
    pub busy_users: Vec<String>,
}

/// Users by how much time their statements took, most first; empty without `pg_stat_statements`.
///
/// # Errors
/// [`ServerError`] when the server stops answering.
pub async fn busy_users(client: &Client, server: &ServerState) -> Result<Vec<String>, ServerError> {
    if !server.extensions.contains_key("pg_stat_statements") {
        return Ok(Vec::new());
    }
    let question = "select r.rolname::text from pg_stat_statements s join pg_catalog.pg_roles r on r.oid = s.userid \
         group by 1 order by sum(s.total_exec_time) desc limit 10";
    match client.query(question, &[]).await {
        Ok(rows) => Ok(rows.iter().map(|row| row.get(0)).collect()),
        // Installed but not preloaded, or in a schema that is not looked into: a hint less.
        Err(error) if error.as_db_error().is_some() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// A class of work, as its names tell.
struct Guess {
    lane: String,
    matches: String,
    sessions: i64,
    why: String,
    kind: Work,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Must not wait.
    Protected,
    /// Bulk work.
    Upkeep,
    /// Whatever else has a name.
    Ordinary,
    /// Only looks.
    Reader,
}

/// What names tell. The first that fits.
const WORDS: &[(&str, Work)] = &[
    ("eval", Work::Protected),
    ("ragchecker", Work::Protected),
    ("compact", Work::Upkeep),
    ("vacuum", Work::Upkeep),
    ("cleanup", Work::Upkeep),
    ("backup", Work::Upkeep),
    ("pg_dump", Work::Upkeep),
    ("grafana", Work::Reader),
    ("readonly", Work::Reader),
    ("dashboard", Work::Reader),
    ("metabase", Work::Reader),
    ("jupyter", Work::Reader),
];

fn kind(name: &str) -> Work {
    let lower = name.to_lowercase();
    let found = WORDS.iter().find(|(word, _)| lower.contains(word));
    found.map_or(Work::Ordinary, |(_, kind)| *kind)
}

/// Letters, digits, `_` and `-`, as lanes are named.
fn lane_name(text: &str) -> String {
    let name: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let name = name.trim_matches('_').chars().take(40).collect::<String>();
    match name.as_str() {
        "" | "default" => "named".to_owned(),
        // A lane's name begins with a letter.
        other if !other.starts_with(|c: char| c.is_ascii_alphabetic()) => format!("lane-{other}"),
        _ => name,
    }
}

/// A YAML string in double quotes. A JSON string is one; globs' own characters stay what they are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name on a comment's line: without what would end the line.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn guesses(seen: &Seen) -> Vec<Guess> {
    // What carries no name can only be told by its user, and that is no class of work: it stays in `default`.
    let mut by_application: BTreeMap<&str, (i64, Vec<&str>)> = BTreeMap::new();
    for ((application, user, _), count) in seen {
        // A glob's characters in a name would match more than it.
        if application.is_empty() || application.contains(['*', '?', '[', '\\']) {
            continue;
        }
        let entry = by_application.entry(application).or_default();
        entry.0 += count;
        if !entry.1.contains(&user.as_str()) {
            entry.1.push(user);
        }
    }
    let mut guesses: Vec<Guess> = Vec::new();
    for (application, (sessions, users)) in by_application {
        let mut lane = lane_name(application);
        while guesses.iter().any(|guess| guess.lane == lane) {
            lane.push_str("-2");
        }
        guesses.push(Guess {
            lane,
            matches: format!("application_name: {}", quoted(application)),
            sessions,
            why: format!(
                "at most {sessions} sessions at once, as {}",
                plain(&users.join(", "))
            ),
            kind: kind(application),
        });
    }
    guesses.sort_by_key(|guess| (guess.kind, std::cmp::Reverse(guess.sessions)));
    guesses.truncate(MOST_LANES);
    guesses
}

/// The file's text.
pub fn lanes_yaml(about: &About<'_>, seen: &Seen) -> String {
    let number = |name: &str| {
        about
            .server
            .value(name)
            .and_then(|value| value.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let reserved = number("superuser_reserved_connections") + number("reserved_connections");
    let usable = number("max_connections").saturating_sub(reserved);
    // Room for pglanes' own two and for people who go past it.
    let slots = usable.saturating_sub(10).clamp(1, 40);
    let mut text = head(about, usable, slots);
    text += &databases(about, seen);
    text += "lanes:\n";
    let guesses = guesses(seen);
    for guess in &guesses {
        text += &lane(guess, slots);
    }
    let unnamed: i64 = seen
        .iter()
        .filter(|(key, _)| key.0.is_empty())
        .map(|(_, count)| count)
        .sum();
    let _ = write!(
        text,
        "  # Guess: whatever else there is; {unnamed} sessions without an application_name were seen.\n  default:\n    \
         slots: {{ max: {} }}\n    mode: observe\n",
        (slots / 2).max(1)
    );
    // Without any the built-in file's would hold, and name its lanes.
    let protected = guesses.iter().find(|guess| guess.kind == Work::Protected);
    let upkeep = guesses.iter().find(|guess| guess.kind == Work::Upkeep);
    if let (Some(protected), Some(upkeep)) = (protected, upkeep) {
        let _ = write!(
            text,
            "\n# Guess: by their names, {} is what must not wait, and {} can. Nothing is held back while the lanes observe.\n\
             throttles:\n  - name: {} yields to {}\n    while: {{ lane: {}, is: busy, linger: 2s }}\n    lane: {}\n    slots: 0\n",
            protected.lane, upkeep.lane, upkeep.lane, protected.lane, protected.lane, upkeep.lane
        );
    }
    text
}

fn head(about: &About<'_>, usable: u32, slots: u32) -> String {
    let value = |name: &str| about.server.value(name).unwrap_or("?").to_owned();
    let mut text = format!(
        "# lanes.yaml, a first one: written by `pglanes init` from what PostgreSQL {} showed in {} s.\n\
         # Every lane observes: it decides, counts and shows, but holds nothing back. Change `mode` to enforce, lane by lane, when\n\
         # the figures look right. Look it over with `pglanes check`; config/lanes.yaml shows every key.\n\
         # Seen: shared_buffers {}, work_mem {}, maintenance_work_mem {}, max_connections {}",
        plain(&about.server.version),
        about.watched.as_secs(),
        value("shared_buffers"),
        value("work_mem"),
        value("maintenance_work_mem"),
        value("max_connections"),
    );
    if let Some(memory) = about.memory {
        let _ = write!(
            text,
            "; this machine has {}: see `pglanes tune`",
            crate::size::rounded(memory)
        );
    }
    if !about.busy_users.is_empty() {
        let _ = write!(
            text,
            "\n# Most time in statements (pg_stat_statements): {}",
            plain(&about.busy_users.join(", "))
        );
    }
    let _ = write!(
        text,
        "\n\nlisten: 127.0.0.1:6433\nhttp: 127.0.0.1:9433\n\nupstream:\n  url: {}\n  # Guess: {usable} connections are there for ordinary \
         users; ten stay free for pglanes itself and for people.\n  slots: {slots}\n\n",
        quoted(&about.url)
    );
    text
}

fn databases(about: &About<'_>, seen: &Seen) -> String {
    let mut text = String::new();
    let mut used: Vec<&str> = seen.keys().map(|key| key.2.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let _ = writeln!(
        text,
        "# Databases: {}; in use while it was looked at: {}.",
        plain(&about.server.databases.join(", ")),
        plain(&used.join(", "))
    );
    let _ = writeln!(
        text,
        "# Users that may log in: {}.",
        plain(&about.server.roles.join(", "))
    );
    text + "# Old names that files still use go here, such as:\n# databases:\n#   ai_agency: { aliases: [dspy_rag] }\n\n"
}

fn lane(guess: &Guess, slots: u32) -> String {
    let sessions = u32::try_from(guess.sessions).unwrap_or(1).max(1);
    let (what, most, rest) = match guess.kind {
        Work::Protected => (
            "by its name, what must not wait",
            sessions.max(4).min(slots),
            "    priority: 100\n",
        ),
        Work::Upkeep => (
            "by its name, bulk work that can wait",
            2.min(slots),
            "    priority: -10\n    queue: { timeout: 10m }\n",
        ),
        Work::Ordinary => ("a class of work of its own", sessions.min(slots), ""),
        Work::Reader => (
            "by its name, only reads; default_transaction_read_only would hold it to that",
            sessions.min(6).min(slots),
            "",
        ),
    };
    format!(
        "  # Guess: {what}. Seen: {}.\n  {}:\n    match: [{{ {} }}]\n    slots: {{ max: {most} }}\n{rest}    mode: observe\n",
        guess.why,
        quoted(&guess.lane),
        guess.matches
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pglanes_config::{Mode, Process};

    fn text(names: &[(&str, i64)]) -> String {
        let server = ServerState {
            version: "16.4".to_owned(),
            ..ServerState::default()
        };
        let about = About {
            server: &server,
            url: "postgresql://me@localhost:5432/db".to_owned(),
            watched: Duration::from_secs(5),
            memory: Some(128 << 30),
            busy_users: Vec::new(),
        };
        let key = |name: &str| (name.to_owned(), "me".to_owned(), "db".to_owned());
        let seen = names
            .iter()
            .map(|(name, count)| (key(name), *count))
            .collect();
        lanes_yaml(&about, &seen)
    }

    #[test]
    fn every_guess_holds_as_a_file_and_observes() {
        let hostile = "a\"b: [x]\n# y";
        for names in [
            vec![],
            vec![("", 4)],
            vec![
                ("ragchecker", 3),
                ("ltst-compaction", 1),
                ("ltst", 9),
                ("LTST", 1),
                ("grafana", 2),
            ],
            vec![
                (hostile, 1),
                ("*", 1),
                ("default", 2),
                ("123", 1),
                ("null", 1),
                ("été", 1),
            ],
        ] {
            let text = text(&names);
            let folder = "/nonexistent".into();
            let config = pglanes_config::parse("lanes.yaml", &text, &Process { folder })
                .unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert!(
                config.lanes.iter().all(|lane| lane.mode == Mode::Observe),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_guessed_from_and_said_to_be_guesses() {
        let text = text(&[("ragchecker", 3), ("ltst-compaction", 1)]);
        assert!(
            text.contains("ltst-compaction yields to ragchecker"),
            "{text}"
        );
        assert_eq!(text.matches("# Guess").count(), 5, "{text}");
    }
}
