//! Schema scripts: indexes, storage settings and procedures for the tables of the memory system, each with its way back.
//!
//! The SQL stands in `deploy/sql`, ready for psql as well; here it is carried out one statement at a time.
//!
//! - `script`: what a script says of itself, and its statements
//! - `names`: tables and columns, which are parameters
//! - `record`: the table `pglanes.schema_scripts`: what was applied, with which names, and what was there before
//! - `look`: what is there: tables, columns, indexes
//! - `steps`: one statement, tried again where a lock is in the way; indexes whose building failed are made anew
//!
//! [`apply`], [`undo`] and [`status`] may be called again and again. What needs a table that is not there is skipped and says
//! so. No lock is waited for so long that others would notice, and nothing that exists is rewritten or removed.

mod look;
mod names;
mod record;
mod script;
mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

use pglanes_control::{ControlError, Session};
use thiserror::Error;

pub use names::{KEYS, Names, UnknownName};
pub use script::{Script, scripts};

use crate::views::OLDEST;
use look::Standing;
use record::Recorded;

/// The session-level advisory lock that keeps two of us from working at once: "pglanes" in ASCII.
const ADVISORY_LOCK: i64 = 0x70_67_6c_61_6e_65_73;

/// How often something that a lock is in the way of is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// In all.
    pub tries: u32,
    /// The pause between two; it grows by itself with each.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 10,
            pause: Duration::from_secs(1),
        }
    }
}

/// Why nothing was done at all.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The server could not be asked, or refused.
    #[error(transparent)]
    Server(#[from] ControlError),
    /// A schema of our name is somebody else's.
    #[error(
        "there is a schema pglanes in {server} that is not of pglanes; it is not touched. Rename it, or use another database"
    )]
    Foreign {
        /// Which server and database.
        server: String,
    },
    /// The server is too old.
    #[error("PostgreSQL {major} is too old: the scripts are written for {OLDEST} and newer")]
    TooOld {
        /// Its major version.
        major: i32,
    },
    /// No script is called so.
    #[error("there is no script `{name}`; there are: {known}")]
    UnknownScript {
        /// As given.
        name: String,
        /// All names.
        known: String,
    },
    /// Somebody else is at it.
    #[error("another `pglanes schema` is at work in {server}; try again when it is done")]
    Busy {
        /// Which server and database.
        server: String,
    },
}

/// What came of one script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Applied,
    /// It had been, and all of it is there.
    Already,
    /// It does not apply here, and why.
    Skipped(String),
    /// It was taken back.
    Undone,
    /// It is not in force, and could be.
    Open,
    /// It stands half-done, and why; applying it again mends it.
    Broken(String),
    /// The server's words. What was done before stays recorded, so that it can be tried again or taken back.
    Failed(String),
}

/// One script, what came of it, and what happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The script.
    pub script: Script,
    /// What came of it.
    pub outcome: Outcome,
    /// Locks that were waited for, remains that were removed, indexes of others that do already.
    pub notes: Vec<String>,
}

/// Carries out the scripts that are `chosen`, or all but the optional ones. A script that fails keeps none of the others back.
///
/// # Errors
/// [`SchemaError`]; then nothing was done.
pub async fn apply(
    session: &Session,
    names: &Names,
    chosen: &[String],
    patience: Patience,
) -> Result<Vec<Report>, SchemaError> {
    let chosen = choose(chosen)?;
    enter(session).await?;
    record::prepare(session).await?;
    let recorded = record::all(session).await?;
    let mut reports = Vec::new();
    for script in chosen {
        let known = recorded.iter().find(|known| known.script == script.name);
        let mut notes = Vec::new();
        let done = apply_one(session, names, &script, known, patience, &mut notes).await;
        reports.push(Report {
            script,
            outcome: done.unwrap_or_else(|error| Outcome::Failed(error.to_string())),
            notes,
        });
    }
    leave(session).await?;
    Ok(reports)
}

async fn apply_one(
    session: &Session,
    names: &Names,
    script: &Script,
    known: Option<&Recorded>,
    patience: Patience,
    notes: &mut Vec<String>,
) -> Result<Outcome, ControlError> {
    if let Some(why) = look::obstacle(session, names, script).await? {
        return Ok(Outcome::Skipped(why));
    }
    let fingerprint = record::fingerprint(session, &names.put_into(script.apply)).await?;
    let complete = look::is_complete(session, names, script).await?;
    if known.is_some_and(|known| known.is_of(&fingerprint)) && complete {
        return Ok(Outcome::Already);
    }
    // What was there the first time is what undoing comes back to.
    let before = match known {
        Some(known) => known.before.clone(),
        None => look::before(session, names, script).await?,
    };
    record::begin(session, script, names, &fingerprint, &before).await?;
    for step in script.steps(script.apply) {
        steps::forward(session, names, &step, patience, notes).await?;
    }
    record::finish(session, script).await?;
    Ok(Outcome::Applied)
}

/// Takes back the scripts that are `chosen`, or all that were applied, the last one first, with the names they were applied
/// with.
///
/// # Errors
/// [`SchemaError`]; then nothing was done.
pub async fn undo(
    session: &Session,
    chosen: &[String],
    patience: Patience,
) -> Result<Vec<Report>, SchemaError> {
    let all = scripts();
    for name in chosen {
        known_name(&all, name)?;
    }
    enter(session).await?;
    let mut recorded = record::all(session).await?;
    recorded.sort_by(|one, other| other.script.cmp(&one.script));
    let mut reports = Vec::new();
    for known in recorded {
        let is_chosen = chosen.is_empty() || chosen.contains(&known.script);
        // One of another version of pglanes is left for that version.
        let script = all.iter().find(|script| script.name == known.script);
        let Some(script) = script.filter(|_| is_chosen) else {
            continue;
        };
        let mut notes = Vec::new();
        let done = undo_one(session, script, &known, patience, &mut notes).await;
        let outcome = match done {
            Ok(()) => Outcome::Undone,
            Err(error) => Outcome::Failed(error.to_string()),
        };
        reports.push(Report {
            script: script.clone(),
            outcome,
            notes,
        });
    }
    record::remove_if_empty(session).await?;
    leave(session).await?;
    Ok(reports)
}

async fn undo_one(
    session: &Session,
    script: &Script,
    known: &Recorded,
    patience: Patience,
    notes: &mut Vec<String>,
) -> Result<(), ControlError> {
    for step in script.steps(script.undo) {
        steps::back(session, &known.names, &step, patience, notes).await?;
    }
    for statement in known.before.statements(&known.names, script) {
        let step = script::Step::plain(statement);
        steps::back(session, &known.names, &step, patience, notes).await?;
    }
    record::forget(session, script).await
}

/// How each script stands. Changes nothing.
///
/// # Errors
/// [`SchemaError`].
pub async fn status(session: &Session, names: &Names) -> Result<Vec<Report>, SchemaError> {
    check_version(session).await?;
    let recorded = record::all(session).await?;
    let mut reports = Vec::new();
    for script in scripts() {
        let known = recorded.iter().find(|known| known.script == script.name);
        let names = known.map_or(names, |known| &known.names);
        let mut notes = Vec::new();
        let outcome = match known {
            None => match look::obstacle(session, names, &script).await? {
                Some(why) => Outcome::Skipped(why),
                None => Outcome::Open,
            },
            Some(known) if !known.finished => {
                Outcome::Broken("it was begun and not finished".into())
            }
            Some(_) if !look::is_complete(session, names, &script).await? => {
                Outcome::Broken("its index is missing or invalid".into())
            }
            Some(known) => {
                let text = names.put_into(script.apply);
                if !known.is_of(&record::fingerprint(session, &text).await?) {
                    notes.push("this pglanes has another version of it: apply it again".to_owned());
                }
                notes.push(format!("since {} by {}", known.at, known.by));
                Outcome::Already
            }
        };
        reports.push(Report {
            script,
            outcome,
            notes,
        });
    }
    Ok(reports)
}

/// The SQL of the chosen scripts, or of all, with the names in it.
///
/// # Errors
/// [`SchemaError::UnknownScript`].
pub fn render(names: &Names, chosen: &[String], undo: bool) -> Result<String, SchemaError> {
    let all = scripts();
    for name in chosen {
        known_name(&all, name)?;
    }
    let is_chosen =
        |script: &&Script| chosen.is_empty() || chosen.iter().any(|name| name == script.name);
    let texts = all.iter().filter(is_chosen).map(|script| {
        let text = if undo { script.undo } else { script.apply };
        let text = names.put_into(text);
        // What psql alone needs.
        let lines = text.lines().filter(|line| !line.starts_with('\\'));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    });
    let mut texts: Vec<String> = texts.collect();
    if undo {
        texts.reverse();
    }
    Ok(texts.join("\n"))
}

fn known_name<'s>(all: &'s [Script], name: &str) -> Result<&'s Script, SchemaError> {
    let unknown = || SchemaError::UnknownScript {
        name: name.to_owned(),
        known: all
            .iter()
            .map(|script| script.name)
            .collect::<Vec<_>>()
            .join(", "),
    };
    all.iter()
        .find(|script| script.name == name)
        .ok_or_else(unknown)
}

fn choose(chosen: &[String]) -> Result<Vec<Script>, SchemaError> {
    let all = scripts();
    for name in chosen {
        known_name(&all, name)?;
    }
    let is_chosen = |script: &Script| match chosen {
        [] => script.optional.is_none(),
        _ => chosen.iter().any(|name| name == script.name),
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}

async fn check_version(session: &Session) -> Result<(), SchemaError> {
    let version = "select current_setting('server_version_num')::int4 / 10000";
    let rows = session.query(version, &[]).await?;
    let what = "its version";
    let major: i32 = session.column(session.only(&rows, what)?, 0, what)?;
    match u32::try_from(major) {
        Ok(major) if major >= OLDEST => Ok(()),
        _ => Err(SchemaError::TooOld { major }),
    }
}

/// Nobody else works here until [`leave`], or the end of the session.
async fn enter(session: &Session) -> Result<(), SchemaError> {
    check_version(session).await?;
    if let Standing::Foreign = look::own_schema(session).await? {
        let server = session.server().to_owned();
        return Err(SchemaError::Foreign { server });
    }
    // Tried, and not waited for: who waits holds a snapshot, which the building of an index waits for in turn.
    let rows = session
        .query("select pg_try_advisory_lock($1)", &[&ADVISORY_LOCK])
        .await?;
    let what = "the lock of schema scripts";
    if session.column::<bool>(session.only(&rows, what)?, 0, what)? {
        return Ok(());
    }
    let server = session.server().to_owned();
    Err(SchemaError::Busy { server })
}

async fn leave(session: &Session) -> Result<(), ControlError> {
    let unlock = "select pg_advisory_unlock($1)";
    session.query(unlock, &[&ADVISORY_LOCK]).await.map(drop)
}
