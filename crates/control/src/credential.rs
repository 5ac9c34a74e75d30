//! What PostgreSQL stores of a user's password: the question behind `auth_query`.

use pglanes_auth::Secret;
use tokio_postgres::Row;

/// Reads `pg_authid`. Every name, type and operator is written with its schema, the user's
/// name is a bound parameter, and a password past its VALID UNTIL is none
/// (CVE-2025-2291).
pub const DEFAULT_AUTH_QUERY: &str = "\
    SELECT rolname::pg_catalog.text, rolpassword::pg_catalog.text \
    FROM pg_catalog.pg_authid \
    WHERE rolname::pg_catalog.text OPERATOR(pg_catalog.=) $1::pg_catalog.text \
    AND rolcanlogin \
    AND (rolvaliduntil IS NULL OR rolvaliduntil OPERATOR(pg_catalog.>) pg_catalog.now())";

/// The stored password in an answer: one row of user and password. `None` where there is
/// no row, no password, or a row about somebody else.
///
/// # Errors
/// What is wrong with an answer that makes no sense.
pub(crate) fn read(rows: &[Row], user: &str) -> Result<Option<Secret<String>>, &'static str> {
    let row = match rows {
        [] => return Ok(None),
        [row] => row,
        _ => return Err("auth_query: it gives more than one row"),
    };
    let text = |column| row.try_get::<_, Option<String>>(column);
    let (Ok(name), Ok(password)) = (text(0), text(1).map(|found| found.map(Secret::new))) else {
        return Err("auth_query: its row is not a user name and a password, as text");
    };
    // A query that finds another user's row (by upper case, by a pattern) lets nobody in.
    Ok(password.filter(|_| name.as_deref() == Some(user)))
}
