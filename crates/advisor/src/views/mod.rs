//! Monitoring views: the schema `pglanes` with connections, contention, vector indexes, statements, vacuum and storage, by
//! lane where the server can tell, and [early warnings](EARLY_WARNINGS) that say what to do.
//!
//! The SQL stands in `sql/`, in the order of the file names; [`render`] fits it to a server's version and extensions and to
//! the lanes of a lanes.yaml, [`install`] carries it out in one transaction, [`uninstall`] takes it back.

mod lanes;
mod render;
#[cfg(test)]
mod tests;

use pglanes_config::Config;
use pglanes_control::{ControlError, Session};
use thiserror::Error;

pub use render::render;

/// The schema of all of it.
pub const SCHEMA: &str = "pglanes";
/// The view with the signs that something gets worse.
pub const EARLY_WARNINGS: &str = "pglanes.early_warnings";
/// The first PostgreSQL for which the views are written.
pub const OLDEST: u32 = 14;

/// How the schema says that it is ours, in its comment; [`crate::schema`] keeps its record there too.
pub(crate) const MARK: &str = "of pglanes: monitoring views and schema scripts";
/// Nobody is to wait long for the making of a view.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// What a server has, as far as the views differ by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its major version, such as 16.
    pub major: u32,
    /// The schema of pg_stat_statements in this database, where it is installed and loaded.
    pub statements: Option<String>,
}

/// Why views were not installed or removed.
#[derive(Debug, Error)]
pub enum ViewsError {
    /// The server could not be asked, or refused.
    #[error(transparent)]
    Server(#[from] ControlError),
    /// A schema of that name is somebody else's.
    #[error(
        "there is a schema {SCHEMA} in {server} that holds other things ({found}); it is not touched. Rename it, or install \
         the views into another database"
    )]
    Foreign {
        /// Which server and database.
        server: String,
        /// What is in it.
        found: String,
    },
    /// The server is too old.
    #[error("PostgreSQL {major} is too old: the views are written for {OLDEST} and newer")]
    TooOld {
        /// Its major version.
        major: u32,
    },
}

/// What was done, for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The views, with their comments, in the order of their names.
    pub views: Vec<(String, String)>,
    /// What the server has.
    pub server: Server,
}

/// Asks what of the views' differences the server has.
///
/// # Errors
/// [`ControlError`], and that the server is too old.
pub async fn examine(session: &Session) -> Result<Server, ViewsError> {
    let rows = session
        .query(
            "select current_setting('server_version_num')::int4 / 10000, \
             (select n.nspname::text from pg_extension e join pg_namespace n on n.oid = e.extnamespace \
              where e.extname = 'pg_stat_statements' \
                and current_setting('pg_stat_statements.max', true) is not null)",
            &[],
        )
        .await?;
    let row = session.only(&rows, "its version")?;
    let major: i32 = session.column(row, 0, "its version")?;
    let major = u32::try_from(major).unwrap_or_default();
    if major < OLDEST {
        return Err(ViewsError::TooOld { major });
    }
    let statements = session.column(row, 1, "the schema of pg_stat_statements")?;
    Ok(Server { major, statements })
}

/// Makes the views, in place of those of an earlier time. `reader` may read them beside the members of `pg_monitor`. All or
/// nothing.
///
/// # Errors
/// [`ViewsError`]: the server's, or that a schema of the name is somebody else's.
pub async fn install(
    session: &Session,
    config: &Config,
    reader: Option<&str>,
) -> Result<Installed, ViewsError> {
    let server = examine(session).await?;
    let removal = removal(session).await?.unwrap_or_default();
    let mut script = format!("BEGIN;\n{LOCK_TIMEOUT};\n{removal}");
    script.push_str(&render(&server, config));
    if let Some(reader) = reader {
        script.push_str(&grants(&quoted(reader)));
    }
    script.push_str("COMMIT;\n");
    let made = session.run(&script).await;
    if made.is_err() {
        // The server's error is the one to tell; without a transaction this changes nothing.
        let _ = session.run("ROLLBACK").await;
    }
    made?;
    let rows = session
        .query(
            "select c.relname::text, coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class c \
             where c.relnamespace = $1::text::regnamespace and c.relkind = 'v' order by 1",
            &[&SCHEMA],
        )
        .await?;
    let mut views = Vec::with_capacity(rows.len());
    for row in &rows {
        let what = "a view's comment";
        views.push((session.column(row, 0, what)?, session.column(row, 1, what)?));
    }
    Ok(Installed { views, server })
}

/// Removes what [`install`] made. Says whether there was anything. Nothing that others have made in the schema, or built upon
/// the views, goes with them: then the server refuses.
///
/// # Errors
/// [`ViewsError`], as for [`install`].
pub async fn uninstall(session: &Session) -> Result<bool, ViewsError> {
    let Some(removal) = removal(session).await? else {
        return Ok(false);
    };
    let script = format!("BEGIN;\n{LOCK_TIMEOUT};\n{removal}COMMIT;\n");
    let removed = session.run(&script).await;
    if removed.is_err() {
        // As above.
        let _ = session.run("ROLLBACK").await;
    }
    removed?;
    Ok(true)
}

/// The statements that remove what is there of ours; `None` where there is nothing.
async fn removal(session: &Session) -> Result<Option<String>, ViewsError> {
    let rows = session
        .query(
            "select coalesce(obj_description(n.oid, 'pg_namespace'), ''), \
             coalesce((select string_agg(c.relname, ', ' order by c.relname) from pg_class c \
                       where c.relnamespace = n.oid and c.relkind not in ('i', 'I', 't')), ''), \
             (select string_agg(format('DROP VIEW %I.%I;', n.nspname, c.relname), e'\\n' order by c.oid desc) from pg_class c \
              where c.relnamespace = n.oid and c.relkind = 'v'), \
             exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'schema_scripts') \
             from pg_namespace n where n.nspname = $1",
            &[&SCHEMA],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let what = "the schema pglanes";
    let comment: String = session.column(row, 0, what)?;
    if comment != MARK {
        return Err(ViewsError::Foreign {
            server: session.server().to_owned(),
            found: session.column(row, 1, what)?,
        });
    }
    let views: Option<String> = session.column(row, 2, what)?;
    let has_scripts: bool = session.column(row, 3, what)?;
    if views.is_none() && has_scripts {
        return Ok(None);
    }
    let mut script = views.unwrap_or_default();
    script.push_str(
        "\nDROP FUNCTION IF EXISTS pglanes.lane_of(text, text, text);\n\
         DROP FUNCTION IF EXISTS pglanes.statement_class(text);\n",
    );
    // The schema scripts' record and procedures stay.
    if !has_scripts {
        script.push_str("DROP SCHEMA pglanes;\n");
    }
    Ok(Some(script))
}

/// Who may read: not everybody, as who is connected is not everybody's business.
fn grants(role: &str) -> String {
    format!(
        "GRANT USAGE ON SCHEMA pglanes TO {role};\nGRANT SELECT ON ALL TABLES IN SCHEMA pglanes TO {role};\n"
    )
}

/// A name as an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
