//! `ALTER SYSTEM` with a way back: the way back is written before the first step.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use thiserror::Error;
use tokio_postgres::Client;

use super::render::differs;
use super::rules::Plan;
use crate::server::{ServerError, ServerState};

/// The largest rollback file that is read.
const MAXIMUM_FILE_BYTES: u64 = 1 << 20;

/// Why nothing, or not all, was done.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The rollback file.
    #[error("{file}: {error}")]
    File {
        /// Its path.
        file: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A line that no rollback file has.
    #[error(
        "{file}:{line}: not `ALTER SYSTEM SET name = 'value';` or `ALTER SYSTEM RESET name;`; nothing was run"
    )]
    Strange {
        /// Its path.
        file: String,
        /// The line.
        line: usize,
    },
    /// A statement failed; what went before it was taken back.
    #[error("{statement}: {error}; what was set before it {undone}")]
    Statement {
        /// Which.
        statement: String,
        /// What the server says.
        error: ServerError,
        /// How taking back went.
        undone: &'static str,
    },
}

/// A step, and the step back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Sets the value.
    pub forward: String,
    /// Sets what was there.
    pub back: String,
    /// Whether it takes a restart.
    pub restart: bool,
}

/// What differs from the running server. What `ALTER SYSTEM` had set before is set back to that; all else is reset, so
/// that postgresql.conf holds again.
pub fn steps(plan: &Plan, server: &ServerState) -> Vec<Step> {
    let mut steps = Vec::new();
    for proposal in &plan.proposals {
        let Some(setting) = server.settings.get(proposal.name) else {
            continue;
        };
        if !differs(&setting.value, &proposal.value) {
            continue;
        }
        let set = |value: &str| {
            format!(
                "ALTER SYSTEM SET {} = '{}';",
                proposal.name,
                value.replace('\'', "''")
            )
        };
        let by_alter_system = setting
            .file
            .as_deref()
            .is_some_and(|file| file.ends_with("postgresql.auto.conf"));
        steps.push(Step {
            forward: set(&proposal.value),
            back: if by_alter_system {
                set(&setting.value)
            } else {
                format!("ALTER SYSTEM RESET {};", proposal.name)
            },
            restart: proposal.restart,
        });
    }
    steps
}

/// Writes the way back to a new file, then takes the steps and reloads.
///
/// # Errors
/// [`ApplyError`]: the file is there already or cannot be written (then nothing was done), or a step failed (then those
/// before it were taken back).
pub async fn apply(client: &Client, steps: &[Step], rollback: &Path) -> Result<(), ApplyError> {
    write_rollback(steps, rollback).map_err(|error| ApplyError::File {
        file: rollback.display().to_string(),
        error,
    })?;
    for (at, step) in steps.iter().enumerate() {
        let Err(error) = client.batch_execute(&step.forward).await else {
            continue;
        };
        let mut undone = "was taken back";
        for step in steps[..at].iter().rev() {
            if client.batch_execute(&step.back).await.is_err() {
                undone = "could not all be taken back: use the rollback file";
            }
        }
        return Err(ApplyError::Statement {
            statement: step.forward.clone(),
            error: error.into(),
            undone,
        });
    }
    reload(client).await
}

fn write_rollback(steps: &[Step], path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    writeln!(
        file,
        "-- Takes back what `pglanes tune --apply` set: pglanes tune --undo FILE"
    )?;
    for step in steps {
        writeln!(file, "{}", step.back)?;
    }
    file.sync_all()
}

async fn reload(client: &Client) -> Result<(), ApplyError> {
    let statement = "SELECT pg_catalog.pg_reload_conf()";
    let reloaded = client.batch_execute(statement).await;
    reloaded.map_err(|error| ApplyError::Statement {
        statement: statement.to_owned(),
        error: error.into(),
        undone: "is kept",
    })
}

/// Runs a rollback file: its statements and nothing else, each by itself (`ALTER SYSTEM` takes no transaction), then a reload.
///
/// # Errors
/// [`ApplyError`]: the file cannot be read, has another statement (then nothing was run), or a statement failed.
pub async fn undo(client: &Client, path: &Path) -> Result<usize, ApplyError> {
    let name = path.display().to_string();
    let failed = |error| ApplyError::File {
        file: name.clone(),
        error,
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAXIMUM_FILE_BYTES {
        return Err(failed(std::io::Error::other(
            "too large for a rollback file",
        )));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let statements = statements(&text).map_err(|line| ApplyError::Strange {
        file: name.clone(),
        line,
    })?;
    for statement in &statements {
        let ran = client.batch_execute(statement).await;
        ran.map_err(|error| ApplyError::Statement {
            statement: (*statement).to_owned(),
            error: error.into(),
            undone: "stays; the file can be run again",
        })?;
    }
    reload(client).await?;
    Ok(statements.len())
}

/// The statements of a rollback file; the error is the line of one that does not belong there.
fn statements(text: &str) -> Result<Vec<&str>, usize> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("--") {
            continue;
        }
        if !is_step(line) {
            return Err(at + 1);
        }
        found.push(line);
    }
    Ok(found)
}

fn is_step(line: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    let Some(line) = line.strip_suffix(';') else {
        return false;
    };
    if let Some(name) = line.strip_prefix("ALTER SYSTEM RESET ") {
        return is_name(name);
    }
    let Some((name, value)) = line
        .strip_prefix("ALTER SYSTEM SET ")
        .and_then(|rest| rest.split_once(" = '"))
    else {
        return false;
    };
    // Quotes only in pairs: the literal ends where the statement does.
    value
        .strip_suffix('\'')
        .is_some_and(|value| is_name(name) && !value.replace("''", "").contains(['\'', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_file_can_hold_nothing_but_steps() {
        let good = "-- why\nALTER SYSTEM SET work_mem = '4MB';\n\nALTER SYSTEM RESET jit;\n";
        assert_eq!(statements(good).unwrap().len(), 2);
        for bad in [
            "DROP TABLE t;",
            "ALTER SYSTEM RESET jit; DROP TABLE t;",
            "ALTER SYSTEM SET a = 'b'; DROP TABLE t; --';",
            "ALTER SYSTEM SET a = b;",
            "ALTER SYSTEM RESET ALL",
        ] {
            assert_eq!(statements(bad), Err(1), "{bad}");
        }
    }
}
