//! What is there: tables, columns, storage parameters, indexes.

use pglanes_control::{ControlError, Session};

use super::names::{Names, literal};
use super::record::Before;
use super::script::{Columns, Index, Script};
use crate::views;

/// Whose the schema `pglanes` is.
pub(super) enum Standing {
    Absent,
    Ours,
    Foreign,
}

/// Looks at the schema's comment.
pub(super) async fn own_schema(session: &Session) -> Result<Standing, ControlError> {
    let comment = "select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace where nspname = 'pglanes'";
    let rows = session.query(comment, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(Standing::Absent);
    };
    let comment: String = session.column(row, 0, "the schema pglanes")?;
    Ok(match comment == views::MARK {
        true => Standing::Ours,
        false => Standing::Foreign,
    })
}

/// Why a script does not apply here; `None` where it does.
pub(super) async fn obstacle(
    session: &Session,
    names: &Names,
    script: &Script,
) -> Result<Option<String>, ControlError> {
    if script.needs_lz4 && !has_lz4(session).await? {
        return Ok(Some("this build of PostgreSQL has no lz4".to_owned()));
    }
    for need in &script.needs {
        if let Some(why) = missing(session, names, need).await? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

async fn has_lz4(session: &Session) -> Result<bool, ControlError> {
    let choices =
        "select 'lz4' = any(enumvals) from pg_settings where name = 'default_toast_compression'";
    let rows = session.query(choices, &[]).await?;
    let what = "its compressions";
    rows.first()
        .map_or(Ok(false), |row| session.column(row, 0, what))
}

async fn missing(
    session: &Session,
    names: &Names,
    need: &Columns,
) -> Result<Option<String>, ControlError> {
    let (schema, table) = (names.of("schema"), names.of(need.table));
    let kind = "select c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relname = $2";
    let rows = session.query(kind, &[&schema, &table]).await?;
    let what = "a table";
    match rows.first() {
        None => return Ok(Some(format!("there is no table {schema}.{table}"))),
        Some(row) if session.column::<String>(row, 0, what)? != "r" => {
            return Ok(Some(format!("{schema}.{table} is no plain table")));
        }
        Some(_) => {}
    }
    for (key, of) in &need.columns {
        let column = names.of(key);
        let kind = "select format_type(a.atttypid, null) from pg_attribute a where a.attrelid = to_regclass($1) \
             and a.attname = $2 and a.attnum > 0 and not a.attisdropped";
        let rows = session
            .query(kind, &[&names.table(need.table), &column])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(Some(format!("{schema}.{table} has no column {column}")));
        };
        let found: String = session.column(row, 0, what)?;
        if let Some(of) = of.filter(|of| *of != found) {
            return Ok(Some(format!(
                "{schema}.{table}.{column} is {found}, not {of}"
            )));
        }
    }
    Ok(None)
}

/// How an index of ours stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IndexState {
    /// There is none of the name.
    Missing,
    /// It serves.
    Valid,
    /// A build of it has failed.
    Invalid,
    /// It is being built by somebody now.
    Building,
}

pub(super) async fn index(
    session: &Session,
    names: &Names,
    index: &Index,
) -> Result<IndexState, ControlError> {
    let state = "select i.indisvalid, exists (select from pg_stat_progress_create_index p where p.index_relid = c.oid) \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_index i on i.indexrelid = c.oid \
         where n.nspname = $1 and c.relname = $2";
    let rows = session
        .query(state, &[&names.of("schema"), &index.name])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(IndexState::Missing);
    };
    let what = "an index";
    let (valid, building): (bool, bool) =
        (session.column(row, 0, what)?, session.column(row, 1, what)?);
    Ok(match (valid, building) {
        (true, _) => IndexState::Valid,
        (false, true) => IndexState::Building,
        (false, false) => IndexState::Invalid,
    })
}

/// An index of another name that does the same: valid, whole, of the method, with the column first.
pub(super) async fn equal_index(
    session: &Session,
    names: &Names,
    index: &Index,
) -> Result<Option<String>, ControlError> {
    let Some((column, _)) = index.on.columns.first() else {
        return Ok(None);
    };
    let equal = "select c.relname::text from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam \
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] \
         where i.indrelid = to_regclass($1) and a.attname = $2 and m.amname = $3 and i.indisvalid and i.indpred is null \
         and c.relname <> $4 order by 1 limit 1";
    let table = names.table(index.on.table);
    let rows = session
        .query(
            equal,
            &[&table, &names.of(column), &index.method, &index.name],
        )
        .await?;
    rows.first()
        .map(|row| session.column(row, 0, "an index"))
        .transpose()
}

/// Whether all indexes of a script serve, or others that do the same.
pub(super) async fn is_complete(
    session: &Session,
    names: &Names,
    script: &Script,
) -> Result<bool, ControlError> {
    for one in script.indexes() {
        let serves = index(session, names, &one).await? == IndexState::Valid
            || equal_index(session, names, &one).await?.is_some();
        if !serves {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The storage parameters and compressions that a script is about to change.
pub(super) async fn before(
    session: &Session,
    names: &Names,
    script: &Script,
) -> Result<Before, ControlError> {
    let Some(keeps) = &script.keeps else {
        return Ok(Before::default());
    };
    let table = literal(&names.table(keeps.table));
    let options = format!(
        "select coalesce(c.reloptions, '{{}}'), coalesce(t.reloptions, '{{}}') \
         from pg_class c left join pg_class t on t.oid = c.reltoastrelid where c.oid = {table}::regclass"
    );
    let rows = session.query(&options, &[]).await?;
    let what = "storage parameters";
    let row = session.only(&rows, what)?;
    let mut before = Before {
        table: keeps.table.to_owned(),
        options: session.column(row, 0, what)?,
        ..Before::default()
    };
    let toast: Vec<String> = session.column(row, 1, what)?;
    before
        .options
        .extend(toast.into_iter().map(|option| format!("toast.{option}")));
    for (column, _) in &keeps.columns {
        let compression = "select attcompression::text from pg_attribute where attrelid = to_regclass($1) and attname = $2";
        let rows = session
            .query(compression, &[&names.table(keeps.table), &names.of(column)])
            .await?;
        let name = match session
            .column::<String>(session.only(&rows, what)?, 0, what)?
            .as_str()
        {
            "p" => "pglz",
            "l" => "lz4",
            _ => continue,
        };
        before
            .compressions
            .insert((*column).to_owned(), name.to_owned());
    }
    Ok(before)
}
