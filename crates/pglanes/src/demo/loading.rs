//! Filling the demo's database, with progress.

use std::time::Duration;

use anyhow::Context;
use pglanes_testbed::schema::{self, Data};
use tokio_postgres::Config;

use super::databases::connect;
use super::progress::{Step, Steps};

/// How often the server is asked how far its index is.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn load(database: &Config, data: Data, steps: &Steps) -> anyhow::Result<()> {
    let client = connect(database).await?;
    client
        .batch_execute("CREATE EXTENSION IF NOT EXISTS vector")
        .await
        .context("pgvector cannot be made available in the demo's database")?;
    let step = steps.begin(&format!("loading {} messages with vectors", data.rows));
    schema::load_rows(&client, data.rows, data.seed, &|done, total| {
        step.at(done, total);
    })
    .await?;
    step.done("")?;

    let step = steps.begin("building the HNSW index (m 16, ef_construction 64)");
    tokio::select! {
        built = schema::build_indexes(&client) => built?,
        error = watch(database, &step) => return Err(error),
    }
    step.done("")?;
    Ok(())
}

/// Shows how far the index is, without an end; what it gives is why it could not look.
async fn watch(database: &Config, step: &Step) -> anyhow::Error {
    let client = match connect(database).await {
        Ok(client) => client,
        Err(error) => return error,
    };
    loop {
        match schema::index_progress(&client).await {
            Ok(Some((done, total))) => step.at(done.min(total), total),
            Ok(None) => {}
            Err(error) => return error.into(),
        }
        tokio::time::sleep(LOOK).await;
    }
}
