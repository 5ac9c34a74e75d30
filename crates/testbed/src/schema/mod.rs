//! The memory system's tables and their filling.
//!
//! [`load`] makes the tables in an empty database, fills them with seeded rows and builds the indexes. What a row holds depends
//! on the seed and the row's number alone ([`Data`]), so the workloads know what is there without asking.

mod content;
mod copy;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

pub(crate) use content::{CACHE_KEYS_PER_CASE, CASES, cache_key, payload, query_vector};
pub(crate) use copy::{JsonText, Vector};

use content::{session_name, user_name};

use crate::TestbedError;

const TABLES: &str = include_str!("tables.sql");
const INDEXES: &str = include_str!("indexes.sql");
/// m and ef_construction as the user has them.
const VECTOR_INDEX: &str = "CREATE INDEX idx_conversation_messages_embedding ON conversation_messages \
     USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64)";
/// Messages in a session, and sessions of a user: a rehydration reads the product.
const MESSAGES_PER_SESSION: u64 = 200;
const SESSIONS_PER_USER: u64 = 4;

/// What a database was, or is to be, filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Messages, each with a vector of 384 dimensions.
    pub rows: u64,
    /// The seed of all content.
    pub seed: u64,
}

impl Data {
    /// Sessions that the messages are spread over, at least one.
    pub fn sessions(&self) -> u64 {
        (self.rows / MESSAGES_PER_SESSION).max(1)
    }

    /// Users that the sessions are spread over, at least one.
    pub fn users(&self) -> u64 {
        (self.sessions() / SESSIONS_PER_USER).max(1)
    }
}

/// Makes the tables, fills them and builds the indexes: [`load_rows`], then [`build_indexes`]. `progress` is told
/// how many messages of how many are in; the indexes follow, and take longer.
///
/// # Errors
/// [`TestbedError::Database`]; with SQLSTATE 42P07 when a table of that name is there already: nothing that exists is ever
/// dropped or overwritten, as the database may be somebody's own.
pub async fn load(
    client: &Client,
    rows: u64,
    seed: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Data, TestbedError> {
    let data = load_rows(client, rows, seed, progress).await?;
    build_indexes(client).await?;
    Ok(data)
}

/// Makes the tables and fills them, without the indexes.
///
/// # Errors
/// As [`load`].
pub async fn load_rows(
    client: &Client,
    rows: u64,
    seed: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Data, TestbedError> {
    let data = Data { rows, seed };
    client.batch_execute(TABLES).await?;
    copy::messages(client, data, progress).await?;
    client.batch_execute(&companions(data)).await?;
    copy::cache(client, data).await?;
    Ok(data)
}

/// Builds the indexes, with as much memory as the vector index is best built in, and analyses the tables.
///
/// # Errors
/// [`TestbedError::Database`].
pub async fn build_indexes(client: &Client) -> Result<(), TestbedError> {
    client
        .batch_execute(
            "SET maintenance_work_mem = '512MB'; SET max_parallel_maintenance_workers = 4",
        )
        .await?;
    client.batch_execute(INDEXES).await?;
    if let Err(error) = client.batch_execute(VECTOR_INDEX).await {
        // A parallel build needs its memory in /dev/shm, of which a container often has 64 MB.
        if error.code() != Some(&SqlState::DISK_FULL)
            && error.code() != Some(&SqlState::OUT_OF_MEMORY)
        {
            return Err(error.into());
        }
        client
            .batch_execute("SET max_parallel_maintenance_workers = 0")
            .await?;
        client.batch_execute(VECTOR_INDEX).await?;
    }
    client
        .batch_execute("RESET maintenance_work_mem; RESET max_parallel_maintenance_workers")
        .await?;
    client.batch_execute("VACUUM (ANALYZE)").await?;
    Ok(())
}

/// How far the building of the vector index is, asked on another connection: blocks of the table done, and in all. `None` while
/// none is being built, or the server does not say.
///
/// # Errors
/// [`TestbedError::Database`].
pub async fn index_progress(client: &Client) -> Result<Option<(u64, u64)>, TestbedError> {
    let found = client
        .query_opt(
            "SELECT greatest(tuples_done, blocks_done), greatest(tuples_total, blocks_total) FROM pg_stat_progress_create_index \
             WHERE datname = current_database() AND greatest(tuples_total, blocks_total) > 0 LIMIT 1",
            &[],
        )
        .await?;
    // Counters of the server, never negative.
    Ok(found.map(|row| {
        (
            row.get::<_, i64>(0).unsigned_abs(),
            row.get::<_, i64>(1).unsigned_abs(),
        )
    }))
}

/// The tables beside the messages, made by the server itself out of the numbers alone.
fn companions(data: Data) -> String {
    let (rows, sessions, users) = (data.rows, data.sessions(), data.users());
    let session = session_name("n");
    let user = user_name(&format!("(n % {users})"));
    format!(
        "INSERT INTO conversation_sessions (session_id, user_id, title, metadata)
             SELECT {session}, {user}, 'Session ' || n, jsonb_build_object('model', 'local', 'turns', {MESSAGES_PER_SESSION})
             FROM generate_series(0, {sessions} - 1) AS n;
         INSERT INTO conversation_context (session_id, context_type, context_data)
             SELECT {session}, kind, jsonb_build_object('summary', repeat(md5(kind || n), 8), 'weight', n % 10)
             FROM generate_series(0, {sessions} - 1) AS n, unnest(ARRAY['decisions', 'preferences', 'project', 'people']) AS kind;
         INSERT INTO message_links (message_id, linked_id, weight)
             SELECT n, (n * 7919 + hop * 104729) % {rows} + 1, hop / 10.0
             FROM generate_series(1::bigint, {rows}) AS n, generate_series(1, 2) AS hop;
         INSERT INTO eval_cases (case_id, question, expected)
             SELECT n, 'Question ' || n, md5(n::text) FROM generate_series(0, {CASES} - 1) AS n;
         SELECT setval('conversation_messages_message_id_seq', greatest({rows}, 1))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_database_still_has_a_session_and_a_user() {
        let data = Data { rows: 3, seed: 1 };
        assert_eq!((data.sessions(), data.users()), (1, 1));
        let data = Data {
            rows: 20_000,
            seed: 1,
        };
        assert_eq!((data.sessions(), data.users()), (100, 25));
    }
}
