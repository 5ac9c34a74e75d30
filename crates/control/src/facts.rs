//! What the advisor and `check` have to know about the server.

use tokio_postgres::Row;

/// One row with every fact. `reserved_connections` exists from PostgreSQL 16 on, hence the `true`.
pub(crate) const FACTS: &str = "select \
     current_setting('server_version_num')::int8 as version_num, \
     current_setting('server_version') as version, \
     current_setting('max_connections')::int8 as max_connections, \
     current_setting('superuser_reserved_connections')::int8 as superuser_reserved_connections, \
     current_setting('reserved_connections', true)::int8 as reserved_connections, \
     pg_size_bytes(current_setting('shared_buffers')) as shared_buffers_bytes, \
     (select extversion from pg_extension where extname = 'vector') as pgvector";

/// Facts about the server, as it was when asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Such as 160004 for 16.4.
    pub version_num: u32,
    /// The version in the server's words, such as `16.4 (Debian 16.4-1)`.
    pub version: String,
    /// Connections the server takes in all.
    pub max_connections: u32,
    /// Those of them that only superusers get.
    pub superuser_reserved_connections: u32,
    /// Those of them that only members of `pg_use_reserved_connections` get. `None` before 16.
    pub reserved_connections: Option<u32>,
    /// PostgreSQL's own cache, in bytes.
    pub shared_buffers_bytes: u64,
    /// The version of pgvector in the database asked, where it is installed.
    pub pgvector: Option<String>,
}

impl ServerFacts {
    /// Connections an ordinary user can have, all users together.
    pub fn usable_connections(&self) -> u32 {
        self.max_connections
            .saturating_sub(self.superuser_reserved_connections)
            .saturating_sub(self.reserved_connections.unwrap_or(0))
    }

    /// Reads the row that [`FACTS`] gives; the error is the name of the column that makes no sense.
    pub(crate) fn read(row: &Row) -> Result<Self, &'static str> {
        let text = |column| row.try_get::<_, String>(column).map_err(|_| column);
        let optional = |column| row.try_get::<_, Option<i64>>(column).map_err(|_| column);
        let number = |column| narrow(column, optional(column)?.ok_or(column)?);
        let shared_buffers = optional("shared_buffers_bytes")?.ok_or("shared_buffers_bytes")?;
        Ok(Self {
            version_num: number("version_num")?,
            version: text("version")?,
            max_connections: number("max_connections")?,
            superuser_reserved_connections: number("superuser_reserved_connections")?,
            reserved_connections: optional("reserved_connections")?
                .map(|value| narrow("reserved_connections", value))
                .transpose()?,
            shared_buffers_bytes: u64::try_from(shared_buffers)
                .map_err(|_| "shared_buffers_bytes")?,
            pgvector: row.try_get("pgvector").map_err(|_| "pgvector")?,
        })
    }
}

fn narrow(column: &'static str, value: i64) -> Result<u32, &'static str> {
    u32::try_from(value).map_err(|_| column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_connections_leave_out_both_reserves_and_never_wrap() {
        let mut facts = ServerFacts {
            version_num: 160_004,
            version: "16.4".to_owned(),
            max_connections: 100,
            superuser_reserved_connections: 3,
            reserved_connections: Some(5),
            shared_buffers_bytes: 1 << 27,
            pgvector: None,
        };
        assert_eq!(facts.usable_connections(), 92);
        facts.reserved_connections = None;
        assert_eq!(facts.usable_connections(), 97);
        facts.max_connections = 2;
        assert_eq!(facts.usable_connections(), 0);
    }

    #[test]
    fn a_number_out_of_range_names_its_column() {
        assert_eq!(narrow("max_connections", 100), Ok(100));
        assert_eq!(narrow("max_connections", -1), Err("max_connections"));
        assert_eq!(narrow("max_connections", 1 << 32), Err("max_connections"));
    }
}
