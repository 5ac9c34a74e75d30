//! Rows into tables by binary COPY, and the two types that tokio-postgres does not know.

use std::error::Error;
use std::pin::pin;

use bytes::BytesMut;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;

use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};

use super::Data;
use super::content::{
    CACHE_KEYS_PER_CASE, CASES, cache_key, message_text, message_vector, payload,
};
use crate::TestbedError;

/// After how many rows the caller hears of progress.
const PROGRESS_ROWS: u64 = 500;
/// The size of a cached answer when the database is filled.
const CACHED_BYTES: usize = 75_000;

/// A vector in pgvector's binary form: dimensions, an unused number, then the numbers, all big-endian.
#[derive(Debug)]
pub(crate) struct Vector(pub(crate) Vec<f32>);

impl ToSql for Vector {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&u16::try_from(self.0.len())?.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        for number in &self.0 {
            out.extend_from_slice(&number.to_be_bytes());
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        ty.name() == "vector"
    }

    to_sql_checked!();
}

/// JSON that is text already, in jsonb's binary form: a version number, then the text.
#[derive(Debug)]
pub(crate) struct JsonText(pub(crate) String);

impl ToSql for JsonText {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&[1]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}

/// Fills `conversation_messages`: the messages of a session are spread over the table, as they are when sessions overlap.
pub(super) async fn messages(
    client: &Client,
    data: Data,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), TestbedError> {
    let oid: u32 = client
        .query_one("SELECT 'vector'::regtype::oid", &[])
        .await?
        .get(0);
    let vector = Type::new("vector".to_owned(), oid, Kind::Simple, "public".to_owned());
    let types = [
        Type::INT4,
        Type::VARCHAR,
        Type::VARCHAR,
        Type::TEXT,
        vector,
        Type::FLOAT8,
        Type::JSONB,
    ];
    let sink = client
        .copy_in(
            "COPY conversation_messages (message_id, session_id, role, content, embedding, relevance_score, metadata) \
             FROM STDIN BINARY",
        )
        .await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for message in 1..=data.rows {
        let role = if message % 2 == 0 { "ai" } else { "human" };
        let metadata = JsonText(format!(
            r#"{{"turn":{},"tokens":{},"topic":"t{}"}}"#,
            message / 2,
            message % 300,
            message % 40
        ));
        // A serial is 31 bits; nobody loads two thousand million rows into a test bed, and the server would say so.
        let id = i32::try_from(message).unwrap_or(i32::MAX);
        writer
            .as_mut()
            .write(&[
                &id,
                &format!("session-{}", message % data.sessions()),
                &role,
                &message_text(data.seed, message),
                &Vector(message_vector(data.seed, message)),
                &((message % 1_000) as f64 / 1_000.0),
                &metadata,
            ])
            .await?;
        if message % PROGRESS_ROWS == 0 || message == data.rows {
            progress(message, data.rows);
        }
    }
    writer.finish().await?;
    Ok(())
}

/// Fills the cache with the answers that the evaluation reads and rewrites. They outlive any run.
pub(super) async fn cache(client: &Client, data: Data) -> Result<(), TestbedError> {
    let insert = client
        .prepare("INSERT INTO memory_retrieval_cache (cache_key, retrieved_context, expires_at) VALUES ($1, $2, 'infinity')")
        .await?;
    for case in 0..CASES {
        for number in 0..CACHE_KEYS_PER_CASE {
            let answer = JsonText(payload(
                data.seed,
                case * CACHE_KEYS_PER_CASE + number,
                CACHED_BYTES,
            ));
            client
                .execute(&insert, &[&cache_key(case, number), &answer])
                .await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_written_as_pgvector_reads_it() {
        let mut out = BytesMut::new();
        Vector(vec![1.0, -2.0])
            .to_sql(&Type::BYTEA, &mut out)
            .unwrap();
        assert_eq!(&out[..], [0, 2, 0, 0, 0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0]);
    }
}
