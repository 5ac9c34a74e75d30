//! A server with one loaded database, and copies of it with and without a script.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use pglanes_advisor::schema::{Names, Outcome, Patience, apply};
use pglanes_config::UpstreamTls;
use pglanes_control::{Host, ServerAddress, Session};
use pglanes_testbed::{Postgres, schema};
use tokio_postgres::Client;

use super::Size;
use crate::clock;

/// The seed of all content.
const SEED: u64 = 20_260;

/// Small cached answers beside the evaluation's large ones, and metrics of the last thirty days.
fn more(size: Size) -> String {
    let Size {
        answers, metrics, ..
    } = size;
    format!(
        "INSERT INTO memory_retrieval_cache SELECT 'ltst:' || n, jsonb_build_object('text', repeat(md5(n::text), 12)), '{{}}', \
             CURRENT_TIMESTAMP + INTERVAL '1 day' FROM generate_series(1, {answers}) n; \
         INSERT INTO memory_performance_metrics SELECT 'search', n % 400, '{{\"source\": \"ltst\"}}', \
             CURRENT_TIMESTAMP - INTERVAL '30 days' * (1 - n / {metrics}.0) FROM generate_series(1, {metrics}) n"
    )
}

/// The server.
pub(super) struct World {
    postgres: Postgres,
    /// A server whose build has lz4, where one was named.
    lz4: Option<ServerAddress>,
    pub(super) size: Size,
}

/// One operation of a script, before and after.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What it is.
    pub what: String,
    /// Of the figures.
    pub unit: &'static str,
    /// Without the script.
    pub before: Vec<f64>,
    /// With it.
    pub after: Vec<f64>,
}

/// Two copies of the database.
pub(super) struct Pair {
    pub(super) before: Client,
    pub(super) after: Client,
}

impl World {
    pub(super) async fn load(size: Size, lz4: Option<ServerAddress>) -> anyhow::Result<World> {
        let start = || {
            Postgres::builder()
                .setting("autovacuum_naptime", "1s")
                .start()
        };
        let postgres = tokio::task::spawn_blocking(start).await??;
        let admin = postgres.connect("postgres").await?;
        admin.batch_execute("CREATE DATABASE base").await?;
        let base = postgres.connect("base").await?;
        eprintln!("loading {} messages", size.rows);
        schema::load(&base, size.rows, SEED, &|_, _| {}).await?;
        base.batch_execute(&more(size)).await?;
        base.batch_execute("VACUUM (ANALYZE)").await?;
        Ok(World {
            postgres,
            lz4,
            size,
        })
    }

    pub(super) async fn connect(&self, database: &str) -> anyhow::Result<Client> {
        Ok(self.postgres.connect(database).await?)
    }

    /// Copies for a script; `both` names scripts that both copies have.
    pub(super) async fn pair(&self, script: &str, both: &[&str]) -> anyhow::Result<Pair> {
        let admin = self.connect("postgres").await?;
        for copy in ["before", "after"] {
            let remake = [
                format!("DROP DATABASE IF EXISTS {copy} WITH (FORCE)"),
                // Whoever is connected there (autovacuum) would be in the way.
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'base'"
                    .to_owned(),
                format!("CREATE DATABASE {copy} TEMPLATE base"),
            ];
            for statement in remake {
                admin.batch_execute(&statement).await?;
            }
        }
        for (copy, scripts) in [
            ("before", both.to_vec()),
            ("after", [both, &[script]].concat()),
        ] {
            self.apply(copy, &scripts).await?;
        }
        Ok(Pair {
            before: self.connect("before").await?,
            after: self.connect("after").await?,
        })
    }

    /// Two databases with nothing but the evaluation's cache, on the server with lz4; `None` where none was named.
    pub(super) async fn lz4_pair(&self, script: &str) -> anyhow::Result<Option<Pair>> {
        let Some(address) = &self.lz4 else {
            return Ok(None);
        };
        let base = self.connect("base").await?;
        let rows = base
            .query(
                "SELECT cache_key, retrieved_context::text FROM memory_retrieval_cache WHERE cache_key LIKE 'ragchecker:%'",
                &[],
            )
            .await?;
        let connect = async |database: &str| {
            let address = ServerAddress {
                database: database.to_owned(),
                ..address.clone()
            };
            let (limit, tls) = (Duration::from_secs(10), UpstreamTls::default());
            let connected = pglanes_control::connect(&address, &tls, "bench", limit);
            anyhow::Ok((connected.await?, address))
        };
        let (admin, _) = connect(&address.database).await?;
        let mut clients = Vec::new();
        for (copy, scripts) in [
            ("pglanes_bench_before", &[][..]),
            ("pglanes_bench_after", &[script]),
        ] {
            admin
                .batch_execute(&format!("DROP DATABASE IF EXISTS {copy} WITH (FORCE)"))
                .await?;
            admin
                .batch_execute(&format!("CREATE DATABASE {copy}"))
                .await?;
            let (client, address) = connect(copy).await?;
            client
                .batch_execute(
                    "CREATE TABLE memory_retrieval_cache (cache_key varchar(255) UNIQUE NOT NULL, retrieved_context jsonb NOT NULL, \
                     relevance_scores jsonb DEFAULT '{}', expires_at timestamp)",
                )
                .await?;
            apply_to(&address, scripts).await?;
            for row in &rows {
                let (key, answer): (&str, &str) = (row.get(0), row.get(1));
                let insert = "INSERT INTO memory_retrieval_cache VALUES ($1, $2::text::jsonb, '{}', 'infinity')";
                client.execute(insert, &[&key, &answer]).await?;
            }
            clients.push(client);
        }
        let after = clients.pop().context("two databases")?;
        let before = clients.pop().context("two databases")?;
        Ok(Some(Pair { before, after }))
    }

    async fn apply(&self, database: &str, scripts: &[&str]) -> anyhow::Result<()> {
        let address = ServerAddress {
            host: Host::Tcp("127.0.0.1".to_owned()),
            port: self.postgres.port(),
            user: "postgres".to_owned(),
            database: database.to_owned(),
            password: None,
        };
        apply_to(&address, scripts).await
    }
}

async fn apply_to(address: &ServerAddress, scripts: &[&str]) -> anyhow::Result<()> {
    let session = Session::connect(address, &UpstreamTls::default()).await?;
    for script in scripts {
        let chosen = [(*script).to_owned()];
        let reports = apply(&session, &Names::default(), &chosen, Patience::default()).await?;
        let report = reports.first().context("a script")?;
        anyhow::ensure!(report.outcome == Outcome::Applied, "{script}: {report:?}");
    }
    Ok(())
}

impl Pair {
    /// Runs an operation on both, in turn, and takes its time.
    pub(super) async fn time(
        &self,
        what: impl Into<String>,
        repetitions: u32,
        operation: impl AsyncFn(&Client, bool, u32) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Measured> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for number in 0..repetitions {
            for is_after in [number % 2 == 1, number % 2 == 0] {
                let client = if is_after { &self.after } else { &self.before };
                let took = operation(client, is_after, number).await?;
                if is_after {
                    after.push(took)
                } else {
                    before.push(took)
                }
            }
        }
        Ok(Measured {
            what: what.into(),
            unit: "ms",
            before,
            after,
        })
    }

    /// Runs a script on both.
    pub(super) async fn run(&self, script: &str) -> anyhow::Result<()> {
        for client in [&self.before, &self.after] {
            client.batch_execute(script).await?;
        }
        Ok(())
    }
}

/// The time that something takes, in milliseconds.
pub(super) async fn milliseconds<T, E: Into<anyhow::Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<f64> {
    let begun = clock::now();
    work.await.map_err(Into::into)?;
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}
