//! By which distance the column is searched: the user's word, else what its index or its queries use.

use serde::Serialize;
use tokio_postgres::Client;

use super::measure::{MeasureError, quoted};

/// A distance, with pgvector's operator and operator classes for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The angle.
    #[default]
    Cosine,
    /// Euclid's.
    L2,
    /// The inner product, negative: more is nearer.
    InnerProduct,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::L2, Self::InnerProduct];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::L2 => "l2",
            Self::InnerProduct => "inner-product",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Its operator.
    pub fn operator(self) -> &'static str {
        match self {
            Self::Cosine => "<=>",
            Self::L2 => "<->",
            Self::InnerProduct => "<#>",
        }
    }

    /// The end of its operator classes' names, behind the type's.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Cosine => "cosine_ops",
            Self::L2 => "l2_ops",
            Self::InnerProduct => "ip_ops",
        }
    }

    /// The one that an operator class such as `halfvec_l2_ops` is for.
    pub(super) fn of_class(class: &str) -> Option<Self> {
        let kind = class.split_once('_')?.1;
        Self::ALL.into_iter().find(|metric| metric.class() == kind)
    }
}

/// A distance, and why that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// The distance.
    pub metric: Metric,
    /// Why.
    pub why: String,
}

impl Chosen {
    /// As the user asks for.
    pub fn asked(metric: Metric) -> Self {
        Self {
            metric,
            why: "as asked for".to_owned(),
        }
    }

    /// The one that the column's vector index has, else the one that most of the recorded queries on it use, else cosine.
    ///
    /// # Errors
    /// The table cannot be looked up.
    pub async fn of_column(
        source: &Client,
        table: &str,
        column: &str,
    ) -> Result<Self, MeasureError> {
        // An index over an expression of the column (a cast, say) depends on it too.
        const INDEXES: &str = "SELECT indexes.relname::text, opclasses.opcname::text FROM pg_catalog.pg_index AS i \
             JOIN pg_catalog.pg_class AS indexes ON indexes.oid = i.indexrelid \
             JOIN pg_catalog.pg_am AS methods ON methods.oid = indexes.relam \
             JOIN pg_catalog.pg_opclass AS opclasses ON opclasses.oid = i.indclass[0] \
             WHERE i.indrelid = $1::text::regclass AND i.indisvalid AND methods.amname IN ('hnsw', 'ivfflat') \
             AND EXISTS (SELECT FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid \
                 AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid \
                 AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid AND a.attname = $2) \
             ORDER BY methods.amname, indexes.relname";
        let rows = source.query(INDEXES, &[&quoted(table), &column]).await?;
        for row in rows {
            let (index, class): (String, String) = (row.get(0), row.get(1));
            if let Some(metric) = Metric::of_class(&class) {
                let why = format!("index {index} has {class}; --metric chooses another");
                return Ok(Self { metric, why });
            }
        }
        if let Some(metric) = most_used(source, column).await {
            let why = format!(
                "most calls on the column in pg_stat_statements use {}; --metric chooses another",
                metric.operator()
            );
            return Ok(Self { metric, why });
        }
        Ok(Self {
            metric: Metric::default(),
            why: "no vector index and no query of the column was found; --metric chooses another"
                .to_owned(),
        })
    }
}

/// The distance of most calls that name the column; none where nobody counts them, or they may not be read.
async fn most_used(source: &Client, column: &str) -> Option<Metric> {
    const CALLS: &str = "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements \
         WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
         AND strpos(query, $1) > 0 AND strpos(query, $2) > 0";
    // A server that has it not is not made to log an error.
    let there = "SELECT to_regclass('pg_stat_statements') IS NOT NULL";
    let there: bool = source.query_one(there, &[]).await.ok()?.get(0);
    if !there {
        return None;
    }
    let mut most = (0.0, None);
    for metric in Metric::ALL {
        let row = source
            .query_one(CALLS, &[&column, &metric.operator()])
            .await
            .ok()?;
        let calls: f64 = row.get(0);
        if calls > most.0 {
            most = (calls, Some(metric));
        }
    }
    most.1
}

#[cfg(test)]
mod tests {
    use pglanes_testbed::Postgres;

    use super::*;

    #[tokio::test]
    async fn the_distance_is_that_of_the_index_else_of_most_queries_else_cosine() {
        let postgres = Postgres::start().unwrap();
        let client = postgres.connect("postgres").await.unwrap();
        let chosen = async || {
            let chosen = Chosen::of_column(&client, "public.items", "meaning").await;
            chosen.unwrap()
        };
        client
            .batch_execute(
                "CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE items (meaning vector(3), other vector(3)); \
                 INSERT INTO items VALUES ('[1,2,3]', '[1,2,3]'); CREATE INDEX of_other ON items USING hnsw (other vector_l2_ops)",
            )
            .await
            .unwrap();
        let nothing = chosen().await;
        assert_eq!(nothing.metric, Metric::Cosine);
        assert!(
            nothing.why.contains("no query of the column"),
            "{nothing:?}"
        );
        // What the extension counts, in a table with its columns: not every build of PostgreSQL has the extension.
        let counted = "CREATE TABLE pg_stat_statements AS SELECT oid AS dbid, query, calls FROM pg_database, (VALUES \
             ('SELECT 1 FROM items ORDER BY meaning <-> $1', 1::bigint), ('SELECT 1 FROM items ORDER BY meaning <#> $1', 3), \
             ('SELECT 1 FROM items ORDER BY other <=> $1', 9)) AS queries (query, calls) WHERE datname = current_database()";
        client.batch_execute(counted).await.unwrap();
        let used = chosen().await;
        assert_eq!(used.metric, Metric::InnerProduct);
        assert!(used.why.contains("<#>"), "{used:?}");
        let index = "CREATE INDEX half ON items USING hnsw ((meaning::halfvec(3)) halfvec_l2_ops)";
        client.batch_execute(index).await.unwrap();
        let indexed = chosen().await;
        assert_eq!(indexed.metric, Metric::L2);
        assert!(
            indexed.why.contains("index half has halfvec_l2_ops"),
            "{indexed:?}"
        );
    }
}
