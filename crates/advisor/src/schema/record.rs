//! The table `pglanes.schema_scripts`: what was applied, by which names, and what was there before.

use std::collections::BTreeMap;

use pglanes_control::{ControlError, Session};
use serde::{Deserialize, Serialize};

use super::look::{Standing, own_schema};
use super::names::{Names, identifier, literal};
use super::script::Script;
use crate::views;

/// What a script changed and did not make, as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    /// The table's key.
    pub(super) table: String,
    /// `name=value`, with `toast.` for those of the TOAST table.
    pub(super) options: Vec<String>,
    /// Columns' keys, and the compression that was chosen for them.
    pub(super) compressions: BTreeMap<String, String>,
}

impl Before {
    /// What brings it back, once the script's own way back has reset what it set.
    pub(super) fn statements(&self, names: &Names, script: &Script) -> Vec<String> {
        let table = names.table(&self.table);
        let mut statements = Vec::new();
        let is_word = |text: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            !text.is_empty() && text.chars().all(is_part)
        };
        let pairs = self
            .options
            .iter()
            .filter_map(|option| option.split_once('='));
        // The table is an ordinary one: what stands in it is not taken for SQL.
        for (name, value) in pairs.filter(|(name, _)| is_word(name) && script.sets(name)) {
            statements.push(format!(
                "ALTER TABLE {table} SET ({name} = {});",
                literal(value)
            ));
        }
        for (column, compression) in self.compressions.iter().filter(|(_, name)| is_word(name)) {
            statements.push(format!(
                "ALTER TABLE {table} ALTER COLUMN {} SET COMPRESSION {compression};",
                identifier(names.of(column))
            ));
        }
        statements
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) script: String,
    fingerprint: String,
    pub(super) names: Names,
    pub(super) before: Before,
    pub(super) finished: bool,
    pub(super) at: String,
    pub(super) by: String,
}

impl Recorded {
    /// Whether exactly this text was applied to its end.
    pub(super) fn is_of(&self, fingerprint: &str) -> bool {
        self.finished && self.fingerprint == fingerprint
    }
}

/// Makes the schema and the table where they are not there.
pub(super) async fn prepare(session: &Session) -> Result<(), ControlError> {
    let mut script = String::from("BEGIN; SET LOCAL lock_timeout = '2s';\n");
    if let Standing::Absent = own_schema(session).await? {
        script.push_str("CREATE SCHEMA pglanes;\n");
        script.push_str(&format!(
            "COMMENT ON SCHEMA pglanes IS {};\n",
            literal(views::MARK)
        ));
    }
    script.push_str(
        "CREATE TABLE IF NOT EXISTS pglanes.schema_scripts (
             script      text PRIMARY KEY,
             fingerprint text NOT NULL,
             names       jsonb NOT NULL,
             before      jsonb NOT NULL,
             finished    boolean NOT NULL DEFAULT false,
             applied_at  timestamptz NOT NULL DEFAULT now(),
             applied_by  text NOT NULL DEFAULT current_user
         );
         COMMENT ON TABLE pglanes.schema_scripts IS 'Which schema scripts of pglanes are in force: pglanes schema status.';
         COMMIT;",
    );
    let made = session.run(&script).await;
    if made.is_err() {
        // The first error is the one to tell.
        let _ = session.run("ROLLBACK").await;
    }
    made
}

async fn is_there(session: &Session) -> Result<bool, ControlError> {
    let there = "select to_regclass('pglanes.schema_scripts') is not null";
    let rows = session.query(there, &[]).await?;
    let what = "pglanes.schema_scripts";
    session.column(session.only(&rows, what)?, 0, what)
}

/// All rows; none where there is no table.
pub(super) async fn all(session: &Session) -> Result<Vec<Recorded>, ControlError> {
    if !is_there(session).await? {
        return Ok(Vec::new());
    }
    let rows = session
        .query(
            "select script, fingerprint, names::text, before::text, finished, \
             to_char(applied_at, 'YYYY-MM-DD HH24:MI'), applied_by from pglanes.schema_scripts order by script",
            &[],
        )
        .await?;
    let what = "a row of pglanes.schema_scripts";
    let read = |row| {
        let before: String = session.column(row, 3, what)?;
        Ok(Recorded {
            script: session.column(row, 0, what)?,
            fingerprint: session.column(row, 1, what)?,
            names: Names::from_json(session.column(row, 2, what)?),
            before: serde_json::from_str(&before).unwrap_or_default(),
            finished: session.column(row, 4, what)?,
            at: session.column(row, 5, what)?,
            by: session.column(row, 6, what)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Tells one text from another.
pub(super) async fn fingerprint(session: &Session, text: &str) -> Result<String, ControlError> {
    let digest = "select encode(sha256(convert_to($1, 'UTF8')), 'hex')";
    let rows = session.query(digest, &[&text]).await?;
    session.column(session.only(&rows, digest)?, 0, "a fingerprint")
}

/// Written before the first statement: whatever happens then, the way back is known.
pub(super) async fn begin(
    session: &Session,
    script: &Script,
    names: &Names,
    fingerprint: &str,
    before: &Before,
) -> Result<(), ControlError> {
    let before = serde_json::json!(before).to_string();
    let row = "insert into pglanes.schema_scripts (script, fingerprint, names, before) \
         values ($1, $2, $3::text::jsonb, $4::text::jsonb) on conflict (script) do update set fingerprint = excluded.fingerprint, \
         names = excluded.names, finished = false, applied_at = now(), applied_by = current_user";
    session
        .query(
            row,
            &[&script.name, &fingerprint, &names.to_json(), &before],
        )
        .await
        .map(drop)
}

pub(super) async fn finish(session: &Session, script: &Script) -> Result<(), ControlError> {
    let done = "update pglanes.schema_scripts set finished = true where script = $1";
    session.query(done, &[&script.name]).await.map(drop)
}

pub(super) async fn forget(session: &Session, script: &Script) -> Result<(), ControlError> {
    let row = "delete from pglanes.schema_scripts where script = $1";
    session.query(row, &[&script.name]).await.map(drop)
}

/// Takes the table, and the schema where nothing else is in it.
pub(super) async fn remove_if_empty(session: &Session) -> Result<(), ControlError> {
    if !is_there(session).await? || !all(session).await?.is_empty() {
        return Ok(());
    }
    session
        .run("SET lock_timeout = '2s'; DROP TABLE pglanes.schema_scripts")
        .await?;
    let left = "select exists (select from pg_class where relnamespace = 'pglanes'::regnamespace) \
         or exists (select from pg_proc where pronamespace = 'pglanes'::regnamespace) \
         or exists (select from pg_type where typnamespace = 'pglanes'::regnamespace)";
    let rows = session.query(left, &[]).await?;
    let what = "what is left in the schema pglanes";
    match session.column(session.only(&rows, what)?, 0, what)? {
        true => Ok(()),
        false => session.run("DROP SCHEMA pglanes").await,
    }
}
