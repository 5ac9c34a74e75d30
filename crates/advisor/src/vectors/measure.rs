//! The collector: a bounded sample of a table, and everything else on a server that is thrown away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, TryStreamExt as _};
use thiserror::Error;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use super::recommend::{Goal, advice};
use super::{Built, Index, Iterative, Measured, Searched, Storage, clock, faults};
use crate::server::ServerError;

/// The most rows that are read of a table.
pub const MOST_ROWS: u64 = 1_000_000;
/// One row in so many passes the filter.
const FILTER: u64 = 10;
/// Distances nearer than this are the same: the server prints what it computed from 4-byte numbers.
const EPSILON: f64 = 1e-6;
/// The indexes, in the order in which they are worth the time.
const GRID: [(Storage, u32, u32); 7] = [
    (Storage::Vector, 16, 64),
    (Storage::Halfvec, 16, 64),
    (Storage::Binary, 16, 64),
    (Storage::Vector, 16, 128),
    (Storage::Vector, 8, 64),
    (Storage::Vector, 24, 128),
    (Storage::Vector, 32, 200),
];
const EF_SEARCH: [u32; 6] = [10, 20, 40, 100, 200, 400];
/// The share of the budget that the growth's builds are kept.
const GROWTH_SHARE: f64 = 0.35;
/// Rows and memory of the build that has to outgrow it.
const OUTGROW: (u64, &str, f64) = (1_500, "2MB", 2_097_152.0);

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// A server's words.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Too little to measure on.
    #[error("{0} rows with a vector were found; at least 100 more than --queries are needed")]
    TooFew(u64),
    /// Not even one index.
    #[error("the budget left no time for one index; give a larger --budget or fewer --rows")]
    NoTime,
}

impl From<tokio_postgres::Error> for MeasureError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error.into())
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The table, as SQL names it.
    pub table: String,
    /// Its column.
    pub column: String,
    /// At most so many rows are read.
    pub rows: u64,
    /// Searches of each measurement.
    pub queries: u64,
    /// Rows that a search asks for.
    pub k: u32,
    /// All of it, at most.
    pub budget: Duration,
    /// What the lanes want.
    pub goal: Goal,
}

/// A name as an identifier of SQL, each part of `schema.table` by itself.
pub fn quoted(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
}

/// The throw-away server, and what it said in passing.
struct Bench {
    client: Client,
    outgrew: Arc<Mutex<Option<u64>>>,
    until: Instant,
    dimensions: u32,
    k: u32,
    queries: Vec<String>,
}

/// Measures it all. `source` is only read, in one bounded transaction; `bench` is the URL of a server to work on and throw away.
/// `told` hears what is being done.
///
/// # Errors
/// [`MeasureError`].
pub async fn measure(
    source: &Client,
    bench: &str,
    ask: &Ask,
    told: &dyn Fn(&str),
) -> Result<Measured, MeasureError> {
    let began = clock::now();
    let mut bench = open(bench, ask, began).await?;
    told("reading the sample");
    bench.sample(source, ask).await?;
    let total: i64 = bench.number("SELECT count(*) FROM sample").await?;
    let found = total.unsigned_abs();
    if found < ask.queries + 100 {
        return Err(MeasureError::TooFew(found));
    }
    bench.split(ask.queries).await?;
    let rows = found - ask.queries;
    bench.table(rows).await?;
    let version = "SELECT extversion FROM pg_extension WHERE extname = 'vector'";
    let mut measured = Measured {
        source: format!("{}.{}", ask.table, ask.column),
        rows,
        dimensions: bench.dimensions,
        queries: ask.queries,
        k: ask.k,
        pgvector: bench.client.query_one(version, &[]).await?.get(0),
        source_pgvector: source.query_one(version, &[]).await?.get(0),
        build_memory: bench
            .number("SELECT pg_size_bytes(current_setting('maintenance_work_mem'))")
            .await?
            .unsigned_abs(),
        exact_ms: 0.0,
        built: Vec::new(),
        searched: Vec::new(),
        growth_ms: Vec::new(),
        build_bytes_a_row: None,
        left_out: Vec::new(),
    };
    told("searching exactly");
    let exact = [bench.exact(false).await?, bench.exact(true).await?];
    measured.exact_ms = percentile(&exact[0].1, 0.5);
    bench
        .grid(&mut measured, &[&exact[0].0, &exact[1].0], ask.budget, told)
        .await?;
    if let Some(advice) = advice(&measured, ask.goal) {
        bench
            .growth(
                &mut measured,
                advice.index,
                advice.evaluation.ef_search,
                told,
            )
            .await?;
    }
    Ok(measured)
}

async fn open(url: &str, ask: &Ask, began: Instant) -> Result<Bench, MeasureError> {
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
    Ok(Bench {
        client,
        outgrew,
        until: began + ask.budget,
        dimensions: 0,
        k: ask.k,
        queries: Vec::new(),
    })
}

impl Bench {
    async fn number(&self, sql: &str) -> Result<i64, MeasureError> {
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// Reads at most the rows asked for, spread over the table where it is much larger, in a transaction that can write nothing
    /// and waits for no lock.
    async fn sample(&mut self, source: &Client, ask: &Ask) -> Result<(), MeasureError> {
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
    async fn split(&mut self, queries: u64) -> Result<(), MeasureError> {
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
    async fn table(&self, rows: u64) -> Result<(), MeasureError> {
        let sql = format!(
            "DROP TABLE IF EXISTS measured; CREATE UNLOGGED TABLE measured (bucket bigint, embedding vector({})); \
             INSERT INTO measured SELECT id % {FILTER}, embedding FROM sample ORDER BY hashint8(id) LIMIT {rows}; ANALYZE measured",
            self.dimensions
        );
        Ok(self.client.batch_execute(&sql).await?)
    }

    /// What each search has to find: the distance of the last one, and how many there are; and the milliseconds.
    async fn exact(&self, filtered: bool) -> Result<(Vec<(f64, usize)>, Vec<f64>), MeasureError> {
        let sql = |query: &str| {
            search_sql(
                Storage::Vector,
                self.dimensions,
                self.k,
                self.k,
                filtered,
                query,
            )
        };
        let (found, times) = self.ask(&sql).await?;
        let last = |distances: &Vec<f64>| {
            (
                distances.iter().copied().fold(0.0, f64::max),
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

    /// Builds an index; none where the budget ends first.
    async fn build(&self, index: Index, rows: u64) -> Result<Option<Built>, MeasureError> {
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
            using(index, self.dimensions, "embedding")
        );
        let began = clock::now();
        let built = self.client.batch_execute(&sql).await;
        let seconds = began.elapsed().as_secs_f64();
        self.client.batch_execute("RESET statement_timeout").await?;
        match built {
            Err(error)
                if error.code() == Some(&tokio_postgres::error::SqlState::QUERY_CANCELED) =>
            {
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

    async fn grid(
        &self,
        measured: &mut Measured,
        exact: &[&[(f64, usize)]; 2],
        budget: Duration,
        told: &dyn Fn(&str),
    ) -> Result<(), MeasureError> {
        let mut longest = Duration::ZERO;
        let can_scan_on = faults::numbers(&measured.pgvector) >= [0, 8, 0];
        for (storage, m, ef_construction) in GRID {
            let index = Index {
                storage,
                m,
                ef_construction,
            };
            let began = clock::now();
            let left = self.until.saturating_duration_since(began);
            let room = left.saturating_sub(budget.mul_f64(GROWTH_SHARE));
            if !measured.built.is_empty() && room < longest {
                measured.left_out.push(index);
                continue;
            }
            told(&format!(
                "{}, m {m}, ef_construction {ef_construction}",
                storage.name()
            ));
            let Some(built) = self.build(index, measured.rows).await? else {
                measured.left_out.push(index);
                continue;
            };
            measured.built.push(built);
            for ef_search in EF_SEARCH.into_iter().filter(|ef| *ef >= self.k) {
                let searched = self
                    .search(index, ef_search, Iterative::Off, exact[0], false)
                    .await?;
                measured.searched.push(searched);
            }
            if storage == Storage::Vector && (m, ef_construction) == (16, 64) {
                let ways = [
                    Iterative::Off,
                    Iterative::RelaxedOrder,
                    Iterative::StrictOrder,
                ];
                for way in ways
                    .into_iter()
                    .filter(|way| can_scan_on || *way == Iterative::Off)
                {
                    for ef_search in [40, 100] {
                        let searched = self.search(index, ef_search, way, exact[1], true).await?;
                        measured.searched.push(searched);
                    }
                }
            }
            longest = longest.max(began.elapsed());
        }
        if measured.built.is_empty() {
            return Err(MeasureError::NoTime);
        }
        Ok(())
    }

    async fn search(
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
        let sql = |query: &str| {
            search_sql(
                index.storage,
                self.dimensions,
                self.k,
                ef_search,
                filtered,
                query,
            )
        };
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

    /// The recommended index at a half and a quarter of the rows, and what memory a row takes while it is built.
    async fn growth(
        &self,
        measured: &mut Measured,
        index: Index,
        ef_search: u32,
        told: &dyn Fn(&str),
    ) -> Result<(), MeasureError> {
        for rows in [measured.rows / 2, measured.rows / 4] {
            told(&format!("growth: {rows} rows"));
            self.table(rows).await?;
            let Some(built) = self.build(index, rows).await? else {
                return Ok(());
            };
            measured.built.push(built);
            let searched = self
                .search(index, ef_search, Iterative::Off, &[], false)
                .await?;
            measured.growth_ms.push((rows, searched.p50_ms));
        }
        let (rows, memory, bytes) = OUTGROW;
        told("memory of a build");
        self.table(rows).await?;
        self.client
            .batch_execute(&format!("SET maintenance_work_mem = '{memory}'"))
            .await?;
        let built = self.build(index, rows).await?;
        measured.build_bytes_a_row = built
            .and_then(|built| built.outgrew_after)
            .filter(|after| *after > 0)
            .map(|after| bytes / after as f64);
        Ok(())
    }
}

/// The part of CREATE INDEX behind the table's name.
pub(super) fn using(index: Index, dimensions: u32, column: &str) -> String {
    let Index {
        storage,
        m,
        ef_construction,
    } = index;
    let over = match storage {
        Storage::Vector => format!("{column} vector_cosine_ops"),
        Storage::Halfvec => format!("({column}::halfvec({dimensions})) halfvec_cosine_ops"),
        Storage::Binary => {
            format!("(binary_quantize({column})::bit({dimensions})) bit_hamming_ops")
        }
    };
    format!("USING hnsw ({over}) WITH (m = {m}, ef_construction = {ef_construction})")
}

/// A search that gives distances by the whole vectors.
fn search_sql(
    storage: Storage,
    dimensions: u32,
    k: u32,
    candidates: u32,
    filtered: bool,
    query: &str,
) -> String {
    let filter = if filtered { " WHERE bucket = 3" } else { "" };
    let distance = format!("embedding <=> '{query}'");
    match storage {
        Storage::Vector => {
            format!("SELECT {distance} FROM measured{filter} ORDER BY {distance} LIMIT {k}")
        }
        Storage::Halfvec => format!(
            "SELECT {distance} FROM measured{filter} ORDER BY embedding::halfvec({dimensions}) <=> '{query}'::halfvec({dimensions}) LIMIT {k}"
        ),
        Storage::Binary => format!(
            "SELECT d FROM (SELECT {distance} AS d FROM measured{filter} ORDER BY binary_quantize(embedding)::bit({dimensions}) <~> \
             binary_quantize('{query}'::vector) LIMIT {candidates}) AS near ORDER BY d LIMIT {k}"
        ),
    }
}

/// The share of what there was to find that is no farther than the last of it.
pub(super) fn recall(found: &[Vec<f64>], exact: &[(f64, usize)]) -> f64 {
    let (mut hits, mut all) = (0, 0);
    for (found, (last, count)) in found.iter().zip(exact) {
        let near = found.iter().filter(|distance| **distance <= last + EPSILON);
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
