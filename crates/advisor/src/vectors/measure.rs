//! The collector: what is measured in which order, and what there is no time for. `bench` is the server that it is done on.

use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Client;

use super::bench::{Bench, open, percentile};
use super::metric::{Chosen, Metric};
use super::plan::{self, GROWTH_SHARE, LeftOut, Plan};
use super::recommend::{Goal, advice};
use super::{Index, Iterative, Measured, Storage, clock, faults};
use crate::server::ServerError;

/// The most rows that are read of a table.
pub const MOST_ROWS: u64 = 1_000_000;
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
/// The part of an index's time that its build is, for the bar.
const BUILD_PART: f64 = 0.7;
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
    /// By which distance; none finds it out.
    pub metric: Option<Metric>,
    /// At most so many rows are read.
    pub rows: u64,
    /// Searches of each measurement.
    pub queries: u64,
    /// Rows that a search asks for.
    pub k: u32,
    /// All builds, at most.
    pub budget: Duration,
    /// What the lanes want.
    pub goal: Goal,
}

/// What is being done.
#[derive(Clone, Debug)]
pub struct Progress {
    /// In words.
    pub what: String,
    /// The share of all that is done, by what it is predicted to take; none before anything can be told.
    pub share: Option<f64>,
}

/// A name as an identifier of SQL, each part of `schema.table` by itself.
pub fn quoted(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
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
    told: &dyn Fn(&Progress),
) -> Result<Measured, MeasureError> {
    let say = |what: &str| {
        told(&Progress {
            what: what.to_owned(),
            share: None,
        });
    };
    let metric = match ask.metric {
        Some(metric) => Chosen::asked(metric),
        None => Chosen::of_column(source, &ask.table, &ask.column).await?,
    };
    let mut bench = open(bench, ask, metric.metric).await?;
    say("reading the sample");
    bench.sample(source, ask).await?;
    let total: i64 = bench.number("SELECT count(*) FROM sample").await?;
    let found = total.unsigned_abs();
    if found < ask.queries + 100 {
        return Err(MeasureError::TooFew(found));
    }
    bench.split(ask.queries).await?;
    bench.until = clock::now() + ask.budget;
    let all = found - ask.queries;
    let (rows, reduced) = bench.size(all, ask.budget, &say).await?;
    bench.table(rows).await?;
    let mut measured = blank(source, &bench, ask, (rows, reduced), metric).await?;
    say("searching exactly");
    let exact = [bench.exact(false).await?, bench.exact(true).await?];
    measured.exact_ms = percentile(&exact[0].1, 0.5);
    let exact_part = exact[0].1.iter().sum::<f64>() / 1e3;
    let mut steps = Steps {
        plan: Plan::default(),
        exact: exact_part,
        told,
    };
    bench
        .grid(
            &mut measured,
            &[&exact[0].0, &exact[1].0],
            ask.budget,
            &mut steps,
        )
        .await?;
    if let Some(advice) = advice(&measured, ask.goal) {
        let ef_search = advice.evaluation.ef_search;
        bench
            .growth(&mut measured, advice.index, ef_search, &mut steps)
            .await?;
    }
    // They tell of the growth, too.
    let smaller = std::mem::take(&mut bench.pilots).into_iter();
    measured
        .built
        .extend(smaller.filter(|built| built.rows < rows));
    Ok(measured)
}

/// What is known before anything is measured.
async fn blank(
    source: &Client,
    bench: &Bench,
    ask: &Ask,
    (rows, reduced): (u64, Option<plan::Reduced>),
    metric: Chosen,
) -> Result<Measured, MeasureError> {
    let version = "SELECT extversion FROM pg_extension WHERE extname = 'vector'";
    Ok(Measured {
        source: format!("{}.{}", ask.table, ask.column),
        rows,
        reduced,
        metric,
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
    })
}

/// Where one is, and who hears it.
struct Steps<'a> {
    plan: Plan,
    /// What all searches take once, exactly, in seconds: those over an index take no longer.
    exact: f64,
    told: &'a dyn Fn(&Progress),
}

impl Steps<'_> {
    fn say(&self, what: &str, part: f64) {
        (self.told)(&Progress {
            what: what.to_owned(),
            share: Some(self.plan.share(part)),
        });
    }

    /// The first index took so long: what the others will take is known, nearly.
    fn begin(&mut self, first: f64) {
        let indexes: Vec<Index> = GRID.into_iter().map(index_of).collect();
        // Twice with each ef_search.
        let searches = self.exact * 2.0 * EF_SEARCH.len() as f64;
        self.plan = Plan::of(&indexes, first, searches.min(first));
    }
}

const fn index_of((storage, m, ef_construction): (Storage, u32, u32)) -> Index {
    Index {
        storage,
        m,
        ef_construction,
    }
}

impl Bench {
    /// So many of the rows as the budget is enough for, told from builds over few of them.
    async fn size(
        &mut self,
        rows: u64,
        budget: Duration,
        say: &dyn Fn(&str),
    ) -> Result<(u64, Option<plan::Reduced>), MeasureError> {
        let mut smaller = Vec::new();
        for size in plan::pilots(rows) {
            say(&format!(
                "a small build, to see what one takes: {size} rows"
            ));
            self.table(size).await?;
            smaller.extend(self.build(index_of(GRID[0]), size, &|_| {}).await?);
        }
        self.pilots = smaller;
        Ok(plan::rows_that_fit(&self.pilots, rows, self.room(budget)))
    }

    /// What is left of the budget for the indexes, in seconds.
    fn room(&self, budget: Duration) -> f64 {
        let left = self.until.saturating_duration_since(clock::now());
        left.saturating_sub(budget.mul_f64(GROWTH_SHARE))
            .as_secs_f64()
    }

    async fn grid(
        &self,
        measured: &mut Measured,
        exact: &[&[(f64, usize)]; 2],
        budget: Duration,
        steps: &mut Steps<'_>,
    ) -> Result<(), MeasureError> {
        let rows = measured.rows;
        let first = plan::grown(&self.pilots, rows);
        steps.begin(first.unwrap_or(1.0));
        for of_grid in GRID {
            let index = index_of(of_grid);
            let left = self.room(budget);
            let known = plan::predicted(index, &measured.built, rows)
                .or_else(|| Some(first? * plan::beside(index, index_of(GRID[0]))));
            let left_out = |predicted: f64, begun: bool| LeftOut {
                index,
                predicted,
                left,
                begun,
            };
            let what = format!(
                "{}, m {}, ef_construction {}",
                index.storage.name(),
                index.m,
                index.ef_construction
            );
            // The first was found to fit, or nothing does.
            if let Some(predicted) = known
                && predicted > left
                && index != index_of(GRID[0])
            {
                measured.left_out.push(left_out(predicted, false));
                steps.plan.next(false);
                continue;
            }
            steps.say(&what, 0.0);
            let building = |part: f64| steps.say(&what, part * BUILD_PART);
            let Some(built) = self.build(index, rows, &building).await? else {
                measured
                    .left_out
                    .push(left_out(known.unwrap_or_default(), true));
                steps.plan.next(true);
                continue;
            };
            measured.built.push(built);
            steps.say(&format!("{what}: searches"), BUILD_PART);
            self.searches(measured, index, exact).await?;
            steps.plan.next(true);
        }
        if measured.built.is_empty() {
            return Err(MeasureError::NoTime);
        }
        Ok(())
    }

    /// The searches over an index that has been built.
    async fn searches(
        &self,
        measured: &mut Measured,
        index: Index,
        exact: &[&[(f64, usize)]; 2],
    ) -> Result<(), MeasureError> {
        let off = Iterative::Off;
        for ef_search in EF_SEARCH.into_iter().filter(|ef| *ef >= measured.k) {
            let searched = self.search(index, ef_search, off, exact[0], false).await?;
            measured.searched.push(searched);
        }
        if index != index_of(GRID[0]) {
            return Ok(());
        }
        let can_scan_on = faults::numbers(&measured.pgvector) >= [0, 8, 0];
        let ways = [off, Iterative::RelaxedOrder, Iterative::StrictOrder];
        for way in ways.into_iter().filter(|way| can_scan_on || *way == off) {
            for ef_search in [40, 100] {
                let searched = self.search(index, ef_search, way, exact[1], true).await?;
                measured.searched.push(searched);
            }
        }
        Ok(())
    }

    /// The recommended index at a half and a quarter of the rows, and what memory a row takes while it is built.
    async fn growth(
        &self,
        measured: &mut Measured,
        index: Index,
        ef_search: u32,
        steps: &mut Steps<'_>,
    ) -> Result<(), MeasureError> {
        for rows in [measured.rows / 2, measured.rows / 4] {
            let what = format!("growth: {rows} rows");
            steps.say(&what, 0.0);
            self.table(rows).await?;
            let building = |part: f64| steps.say(&what, part * BUILD_PART);
            let Some(built) = self.build(index, rows, &building).await? else {
                return Ok(());
            };
            measured.built.push(built);
            let searched = self
                .search(index, ef_search, Iterative::Off, &[], false)
                .await?;
            measured.growth_ms.push((rows, searched.p50_ms));
            steps.plan.next(true);
        }
        let (rows, memory, bytes) = OUTGROW;
        steps.say("memory of a build", 0.0);
        self.table(rows).await?;
        self.client
            .batch_execute(&format!("SET maintenance_work_mem = '{memory}'"))
            .await?;
        let built = self.build(index, rows, &|_| {}).await?;
        measured.build_bytes_a_row = built
            .and_then(|built| built.outgrew_after)
            .filter(|after| *after > 0)
            .map(|after| bytes / after as f64);
        Ok(())
    }
}
