//! `pglanes vectors`: measured on a server of its own that is gone afterwards, however this process ends.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use pglanes_advisor::server;
use pglanes_advisor::vectors::measure::{Ask, MOST_ROWS, Progress, measure};
use pglanes_advisor::vectors::metric::Metric;
use pglanes_advisor::vectors::recommend::{Goal, advice};
use pglanes_advisor::vectors::{render, svg};
use pglanes_testbed::{Postgres, schema};
use serde_json::json;
use tokio_postgres::Client;

use super::named;

/// What to measure on, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The database to read a sample from [default: seeded data]; a password is better in PGPASSWORD than here
    #[arg(long, value_name = "URL", requires = "table")]
    url: Option<String>,
    /// The table, such as public.conversation_messages
    #[arg(long, requires = "url")]
    table: Option<String>,
    /// Its column with the vectors
    #[arg(long, default_value = "embedding")]
    column: String,
    /// The distance: cosine, l2 or inner-product [default: that of the column's vector index, else of most of its queries, else
    /// cosine]
    #[arg(long, value_parser = metric)]
    metric: Option<Metric>,
    /// How many rows to read at most, or to make
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(200..=MOST_ROWS))]
    rows: u64,
    /// Searches of each measurement
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(5..=10_000))]
    queries: u64,
    /// Rows that a search asks for
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=400))]
    k: u32,
    /// Seconds that building indexes may take in all; what there is no time for is left out
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    budget: u64,
    /// The recall that the evaluation needs
    #[arg(long, default_value_t = 0.95)]
    recall: f64,
    /// The recall that is enough for the memory system
    #[arg(long, default_value_t = 0.9)]
    recall_ltst: f64,
    /// Predict for so many times the rows
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rows_times: u64,
    /// maintenance_work_mem of the builds
    #[arg(long, default_value = "512MB")]
    build_memory: String,
    /// Write the trade-off to a new SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn metric(name: &str) -> Result<Metric, String> {
    Metric::named(name).ok_or_else(|| "cosine, l2 and inner-product can be measured".to_owned())
}

/// Measures, and gives what is printed.
pub(crate) async fn run(arguments: &Arguments) -> Result<String> {
    let goal = Goal {
        evaluation: arguments.recall,
        memory: arguments.recall_ltst,
    };
    say_cost(arguments);
    let memory = arguments.build_memory.clone();
    let starting = tokio::task::spawn_blocking(move || {
        let builder = Postgres::builder().setting("shared_buffers", "512MB");
        builder.setting("maintenance_work_mem", &memory).start()
    });
    let bench = starting.await.context("the server's start panicked")??;
    let table = arguments
        .table
        .clone()
        .unwrap_or_else(|| "conversation_messages".to_owned());
    let bar = ProgressBar::new_spinner();
    set_style(&bar, "{spinner} {msg} {elapsed}");
    bar.enable_steady_tick(Duration::from_millis(100));
    let source = source(arguments, &bench, &bar).await?;
    let ask = Ask {
        table: table.clone(),
        column: arguments.column.clone(),
        metric: arguments.metric,
        rows: arguments.rows,
        queries: arguments.queries,
        k: arguments.k,
        budget: Duration::from_secs(arguments.budget),
        goal,
    };
    let told = |progress: &Progress| show(&bar, progress);
    let measured = Box::pin(measure(&source, &bench.url("postgres"), &ask, &told)).await?;
    bar.finish_and_clear();
    let Some(advice) = advice(&measured, goal) else {
        bail!("nothing was measured with whole vectors; a larger --budget");
    };
    if let Some(path) = &arguments.svg {
        let written = std::fs::File::create_new(path)
            .and_then(|mut file| file.write_all(svg::svg(&measured).as_bytes()));
        written.with_context(|| format!("{}", path.display()))?;
    }
    let times = arguments.rows_times;
    let text = render::report(&measured, &advice, goal, &table, &arguments.column, times);
    if arguments.json {
        let all = json!({ "measured": measured, "advice": advice, "report": text });
        return Ok(format!("{all:#}\n"));
    }
    Ok(text)
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// The words, and once it is known the share of the work.
fn show(bar: &ProgressBar, progress: &Progress) {
    /// A bar counts whole things.
    const PARTS: f64 = 1000.0;
    if let Some(share) = progress.share {
        if bar.length() != Some(PARTS as u64) {
            bar.set_length(PARTS as u64);
            set_style(bar, "{spinner} [{bar:24}] {percent:>3} % {msg} {elapsed}");
        }
        bar.set_position((share * PARTS) as u64);
    }
    bar.set_message(progress.what.clone());
}

/// What it costs, before it begins.
fn say_cost(arguments: &Arguments) {
    eprintln!(
        "pglanes: at most {} rows are read in one read-only transaction (lock_timeout 2 s), nothing is written there; up to 12 \
         indexes are built on a throw-away server of this machine, one core, {} of memory for a build, for {} s at most, searches \
         come on top; Ctrl-C removes everything",
        arguments.rows + arguments.queries,
        arguments.build_memory,
        arguments.budget
    );
}

/// The user's database, or seeded rows on the throw-away server.
async fn source(arguments: &Arguments, bench: &Postgres, bar: &ProgressBar) -> Result<Client> {
    if let Some(url) = &arguments.url {
        let mut target = named(url)?;
        if target.address.password.is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            target.address.password = Some(password.into());
        }
        Ok(server::connect(&target.address, &target.tls).await?)
    } else {
        let client = bench.connect(&bench.fresh_database().await?).await?;
        bar.set_message("making seeded rows");
        schema::load_rows(&client, arguments.rows + arguments.queries, 1, &|_, _| {}).await?;
        Ok(client)
    }
}
