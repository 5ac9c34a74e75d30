//! The throw-away server: the sample on it, exact searches, builds and searches of one index at a time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use super::measure::{Ask, MOST_ROWS, MeasureError, quoted};
use super::metric::Metric;
use super::{Built, Index, Iterative, Searched, Storage, clock};

/// One row in so many passes the filter.
const FILTER: u64 = 10;
/// Distances nearer than this are the same: the server prints what it computed from 4-byte numbers.
const EPSILON: f64 = 1e-6;
/// How often a build is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);

/// The throw-away server, and what it said in passing.
pub(super) struct Bench {
    pub(super) client: Client,
    /// Looks on while the other builds.
    watch: Client,
    outgrew: Arc<Mutex<Option<u64>>>,
    pub(super) until: Instant,
    pub(super) dimensions: u32,
    k: u32,
    metric: Metric,
    queries: Vec<String>,
    /// Builds over few rows.
    pub(super) pilots: Vec<Built>,
}

/// Connects, twice.
pub(super) async fn open(url: &str, ask: &Ask, metric: Metric) -> Result<Bench, MeasureError> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let outgrew = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&outgrew);
    // Ends with the client: pgvector tells in a notice when a graph outgrew its memory.
    tokio::spawn(async move {
        while let Some(Ok(message)) =
            std::future::poll_fn(|context| connection.poll_message(context)).await
        {
            if let AsyncMessage::Notice(notice) = message
                && notice.message().contains("no longer fits")
            {
                let after = notice.message().split_whitespace();
                *heard.lock().unwrap_or_else(PoisonError::into_inner) =
                    after.filter_map(|word| word.parse().ok()).next_back();
            }
        }
    });
    client
        .batch_execute("SET plan_cache_mode = force_custom_plan; SET max_parallel_maintenance_workers = 0; SET max_parallel_workers_per_gather = 0; SET jit = off")
        .await?;
    let (watch, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with its client, too; that it failed is seen there.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Bench {
        client,
        watch,
        metric,
        outgrew,
        until: clock::now() + ask.budget,
        dimensions: 0,
        k: ask.k,
        queries: Vec::new(),
        pilots: Vec::new(),
    })
}

impl Bench {
    pub(super) async fn number(&self, sql: &str) -> Result<i64, MeasureError> {
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// Reads at most the rows asked for, spread over the table where it is much larger, in a transaction that can write nothing
    /// and waits for no lock.
    pub(super) async fn sample(&mut self, source: &Client, ask: &Ask) -> Result<(), MeasureError> {
        let (table, column) = (quoted(&ask.table), quoted(&ask.column));
        let seconds = ask.budget.as_secs().max(1);
        source
            .batch_execute(&format!(
                "BEGIN READ ONLY; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '{seconds}s'"
            ))
            .await?;
        let kind = "SELECT reltuples::float8, relkind::text FROM pg_catalog.pg_class WHERE oid = $1::text::regclass";
        let row = source.query_one(kind, &[&table]).await?;
        let (all, kind): (f64, String) = (row.get(0), row.get(1));
        let limit = ask.rows.min(MOST_ROWS) + ask.queries;
        let share = 150.0 * limit as f64 / all.max(1.0);
        let part = if share < 100.0 && matches!(kind.as_str(), "r" | "p" | "m") {
            format!(" TABLESAMPLE SYSTEM ({share})")
        } else {
            String::new()
        };
        let copy = format!(
            "COPY (SELECT {column}::text FROM {table}{part} WHERE {column} IS NOT NULL LIMIT {limit}) TO STDOUT"
        );
        self.client
            .batch_execute("CREATE EXTENSION IF NOT EXISTS vector; CREATE UNLOGGED TABLE sample (id bigserial, embedding vector)")
            .await?;
        let sink = self
            .client
            .copy_in("COPY sample (embedding) FROM STDIN")
            .await?;
        let mut sink = std::pin::pin!(sink);
        let mut lines = std::pin::pin!(source.copy_out(&copy).await?);
        while let Some(bytes) = lines.try_next().await? {
            sink.send(bytes).await?;
        }
        sink.as_mut().finish().await?;
        source.batch_execute("ROLLBACK").await?;
        Ok(())
    }

    /// Takes rows out of the sample to search by: no index has them.
    pub(super) async fn split(&mut self, queries: u64) -> Result<(), MeasureError> {
        let taken = format!(
            "DELETE FROM sample WHERE id IN (SELECT id FROM sample ORDER BY hashint8(id) LIMIT {queries}) \
             RETURNING embedding::text, vector_dims(embedding)"
        );
        for row in self.client.query(&taken, &[]).await? {
            self.queries.push(row.get(0));
            self.dimensions = row.get::<_, i32>(1).unsigned_abs();
        }
        Ok(())
    }

    /// A table of so many of the rows.
    pub(super) async fn table(&self, rows: u64) -> Result<(), MeasureError> {
        let sql = format!(
            "DROP TABLE IF EXISTS measured; CREATE UNLOGGED TABLE measured (bucket bigint, embedding vector({})); \
             INSERT INTO measured SELECT id % {FILTER}, embedding FROM sample ORDER BY hashint8(id) LIMIT {rows}; ANALYZE measured",
            self.dimensions
        );
        Ok(self.client.batch_execute(&sql).await?)
    }

    /// What each search has to find: the distance of the last one, and how many there are; and the milliseconds.
    pub(super) async fn exact(
        &self,
        filtered: bool,
    ) -> Result<(Vec<(f64, usize)>, Vec<f64>), MeasureError> {
        let sql = |query: &str| self.search_sql(Storage::Vector, self.k, filtered, query);
        let (found, times) = self.ask(&sql).await?;
        let last = |distances: &Vec<f64>| {
            (
                // Inner products are negative.
                distances.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                distances.len(),
            )
        };
        Ok((found.iter().map(last).collect(), times))
    }

    /// Every search, its distances and its milliseconds.
    async fn ask(
        &self,
        sql: &dyn Fn(&str) -> String,
    ) -> Result<(Vec<Vec<f64>>, Vec<f64>), MeasureError> {
        let (mut found, mut times) = (Vec::new(), Vec::new());
        for query in &self.queries {
            let sql = sql(query);
            let began = clock::now();
            let answer = self.client.simple_query(&sql).await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let distance = |message: &SimpleQueryMessage| match message {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            };
            found.push(answer.iter().filter_map(distance).collect());
        }
        times.sort_by(f64::total_cmp);
        Ok((found, times))
    }

    /// Builds an index; none where the budget ends first. `told` hears which part of it is done.
    pub(super) async fn build(
        &self,
        index: Index,
        rows: u64,
        told: &dyn Fn(f64),
    ) -> Result<Option<Built>, MeasureError> {
        let left = self.until.saturating_duration_since(clock::now());
        if left.as_millis() == 0 {
            return Ok(None);
        }
        *self.outgrew.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let timeout = format!(
            "DROP INDEX IF EXISTS tried; SET statement_timeout = {}",
            left.as_millis()
        );
        self.client.batch_execute(&timeout).await?;
        let sql = format!(
            "CREATE INDEX tried ON measured {}",
            using(index, self.dimensions, "embedding", self.metric)
        );
        let began = clock::now();
        let built = tokio::select! {
            built = self.client.batch_execute(&sql) => built,
            never = self.look_on(told) => match never {},
        };
        let seconds = began.elapsed().as_secs_f64();
        self.client.batch_execute("RESET statement_timeout").await?;
        match built {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(None);
            }
            other => other?,
        }
        let bytes = self.number("SELECT pg_relation_size('tried')").await?;
        let outgrew_after = *self.outgrew.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Built {
            index,
            rows,
            seconds,
            bytes: bytes.unsigned_abs(),
            outgrew_after,
        }))
    }

    /// Tells how far the build is, as the server counts it, until it is dropped.
    async fn look_on(&self, told: &dyn Fn(f64)) -> Infallible {
        const PART: &str = "SELECT greatest(blocks_done::float8 / nullif(blocks_total, 0), \
             tuples_done::float8 / nullif(tuples_total, 0)) FROM pg_stat_progress_create_index LIMIT 1";
        loop {
            tokio::time::sleep(LOOK).await;
            // A build that is not there yet, or no more, has nothing to tell.
            let row = self.watch.query_opt(PART, &[]).await.ok().flatten();
            if let Some(part) = row.and_then(|row| row.get::<_, Option<f64>>(0)) {
                told(part);
            }
        }
    }

    /// A search that gives distances by the whole vectors.
    fn search_sql(&self, storage: Storage, candidates: u32, filtered: bool, query: &str) -> String {
        let (dimensions, k) = (self.dimensions, self.k);
        let operator = self.metric.operator();
        let filter = if filtered { " WHERE bucket = 3" } else { "" };
        let distance = format!("embedding {operator} '{query}'");
        match storage {
            Storage::Vector => {
                format!("SELECT {distance} FROM measured{filter} ORDER BY {distance} LIMIT {k}")
            }
            Storage::Halfvec => format!(
                "SELECT {distance} FROM measured{filter} ORDER BY embedding::halfvec({dimensions}) {operator} '{query}'::halfvec({dimensions}) LIMIT {k}"
            ),
            Storage::Binary => format!(
                "SELECT d FROM (SELECT {distance} AS d FROM measured{filter} ORDER BY binary_quantize(embedding)::bit({dimensions}) <~> \
                 binary_quantize('{query}'::vector) LIMIT {candidates}) AS near ORDER BY d LIMIT {k}"
            ),
        }
    }

    /// Searches, and holds what is found against what there was to find.
    pub(super) async fn search(
        &self,
        index: Index,
        ef_search: u32,
        iterative: Iterative,
        exact: &[(f64, usize)],
        filtered: bool,
    ) -> Result<Searched, MeasureError> {
        let scan_on = match iterative {
            Iterative::Off => String::new(),
            on => format!("SET hnsw.iterative_scan = {};", on.value()),
        };
        let set = format!("SET enable_seqscan = off; SET hnsw.ef_search = {ef_search};{scan_on}");
        self.client.batch_execute(&set).await?;
        let sql = |query: &str| self.search_sql(index.storage, ef_search, filtered, query);
        // Once for the cache, once for the clock.
        self.ask(&sql).await?;
        let (found, times) = self.ask(&sql).await?;
        let back = match iterative {
            Iterative::Off => "RESET enable_seqscan",
            _ => "RESET enable_seqscan; RESET hnsw.iterative_scan",
        };
        self.client.batch_execute(back).await?;
        Ok(Searched {
            index,
            ef_search,
            iterative,
            filtered,
            recall: recall(&found, exact),
            p50_ms: percentile(&times, 0.5),
            p95_ms: percentile(&times, 0.95),
        })
    }
}

/// The part of CREATE INDEX behind the table's name.
pub(super) fn using(index: Index, dimensions: u32, column: &str, metric: Metric) -> String {
    let Index {
        storage,
        m,
        ef_construction,
    } = index;
    let class = metric.class();
    let over = match storage {
        Storage::Vector => format!("{column} vector_{class}"),
        Storage::Halfvec => format!("({column}::halfvec({dimensions})) halfvec_{class}"),
        Storage::Binary => {
            format!("(binary_quantize({column})::bit({dimensions})) bit_hamming_ops")
        }
    };
    format!("USING hnsw ({over}) WITH (m = {m}, ef_construction = {ef_construction})")
}

/// The share of what there was to find that is no farther than the last of it.
pub(super) fn recall(found: &[Vec<f64>], exact: &[(f64, usize)]) -> f64 {
    let (mut hits, mut all) = (0, 0);
    for (found, (last, count)) in found.iter().zip(exact) {
        let near = found
            .iter()
            .filter(|distance| **distance <= last + EPSILON * last.abs().max(1.0));
        hits += near.count().min(*count);
        all += count;
    }
    hits as f64 / (all as f64).max(1.0)
}

/// Of sorted figures; 0 of none.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}
