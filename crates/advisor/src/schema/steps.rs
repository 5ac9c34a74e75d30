//! One statement at a time: what a lock is in the way of is tried again, and an index whose building has failed is made anew.

use pglanes_control::{ControlError, Session};

use super::Patience;
use super::look::{self, IndexState};
use super::names::{Names, identifier};
use super::script::{Index, Step};

/// lock_not_available (a lock_timeout), deadlock_detected.
const IN_THE_WAY: [&str; 2] = ["55P03", "40P01"];
/// undefined_table, undefined_column, invalid_schema_name: what was to be taken back is gone already.
const GONE: [&str; 3] = ["42P01", "42703", "3F000"];

/// Carries a step out.
pub(super) async fn forward(
    session: &Session,
    names: &Names,
    step: &Step,
    patience: Patience,
    notes: &mut Vec<String>,
) -> Result<(), ControlError> {
    let sql = names.put_into(&step.sql);
    match &step.index {
        Some(index) => build(session, names, index, &sql, patience, notes).await,
        None => repeated(session, &sql, patience, notes).await,
    }
}

/// Takes something back; what is gone already need not be.
pub(super) async fn back(
    session: &Session,
    names: &Names,
    step: &Step,
    patience: Patience,
    notes: &mut Vec<String>,
) -> Result<(), ControlError> {
    let sql = names.put_into(&step.sql);
    match repeated(session, &sql, patience, notes).await {
        Err(error) if error.sqlstate().is_some_and(|state| GONE.contains(&state)) => {
            notes.push(format!("gone already: {error}"));
            Ok(())
        }
        outcome => outcome,
    }
}

async fn repeated(
    session: &Session,
    sql: &str,
    patience: Patience,
    notes: &mut Vec<String>,
) -> Result<(), ControlError> {
    let mut number = 1;
    loop {
        match session.run(sql).await {
            Err(error) if is_in_the_way(&error) && number < patience.tries => {
                rest(patience, number).await;
                number += 1;
            }
            outcome => {
                note_tries(number, notes);
                return outcome;
            }
        }
    }
}

async fn build(
    session: &Session,
    names: &Names,
    index: &Index,
    sql: &str,
    patience: Patience,
    notes: &mut Vec<String>,
) -> Result<(), ControlError> {
    let mut number = 1;
    loop {
        match look::index(session, names, index).await? {
            IndexState::Valid => return Ok(()),
            IndexState::Building => {
                let found = format!(
                    "{} is being built by somebody else: apply again when it is done",
                    index.name
                );
                return Err(refused(session, found));
            }
            IndexState::Invalid => {
                notes.push(format!(
                    "{}: an earlier build had failed; its remains were removed",
                    index.name
                ));
                remove(session, names, index, patience, notes).await?;
            }
            IndexState::Missing => {}
        }
        if let Some(other) = look::equal_index(session, names, index).await? {
            notes.push(format!("{other} does already what {} would", index.name));
            return Ok(());
        }
        let Err(error) = session.run(sql).await else {
            note_tries(number, notes);
            return Ok(());
        };
        // It has left an invalid index, which costs every write and serves nobody.
        let left = look::index(session, names, index).await;
        if left.is_ok_and(|state| state == IndexState::Invalid) {
            remove(session, names, index, patience, notes).await?;
        }
        if !is_in_the_way(&error) || number >= patience.tries {
            return Err(error);
        }
        rest(patience, number).await;
        number += 1;
    }
}

async fn remove(
    session: &Session,
    names: &Names,
    index: &Index,
    patience: Patience,
    notes: &mut Vec<String>,
) -> Result<(), ControlError> {
    let sql = format!(
        "DROP INDEX CONCURRENTLY IF EXISTS {}.{}",
        identifier(names.of("schema")),
        identifier(&index.name)
    );
    repeated(session, &sql, patience, notes).await
}

fn is_in_the_way(error: &ControlError) -> bool {
    error
        .sqlstate()
        .is_some_and(|state| IN_THE_WAY.contains(&state))
}

fn note_tries(number: u32, notes: &mut Vec<String>) {
    if number > 1 {
        notes.push(format!(
            "a lock was in the way: done at try {number}, or given up there"
        ));
    }
}

/// In our own words, where the server has none; as object_in_use.
fn refused(session: &Session, message: String) -> ControlError {
    ControlError::Refused {
        server: session.server().to_owned(),
        sqlstate: "55006".to_owned(),
        message,
    }
}

async fn rest(patience: Patience, number: u32) {
    tokio::time::sleep(patience.pause.saturating_mul(number)).await;
}
