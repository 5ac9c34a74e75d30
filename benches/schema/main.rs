//! What each schema script of `deploy/sql` brings on the memory system's tables, and what it costs.
//!
//! For each script two copies of one loaded database stand side by side, one of them with the script; every operation runs on
//! both, in turn, and every ratio is of two neighbours. Figures are medians with the 95 % interval of a bootstrap.
//!
//! `cargo bench -p pglanes-benches --bench schema -- --help` names the options.

mod measures;
mod world;

use std::fmt::Write as _;

use clap::Parser;
use pglanes_benches::contention::statistics::Spread;
use pglanes_benches::until_interrupted;
use pglanes_config::{ConnectionUrl, UpstreamAddress};
use pglanes_control::{Host, ServerAddress};

use world::{Measured, World};

/// Measures the schema scripts.
#[derive(Debug, Parser)]
#[command(name = "schema")]
struct Arguments {
    /// Messages with a vector.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u64).range(400..))]
    rows: u64,
    /// Repetitions of each operation.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..))]
    repetitions: u32,
    /// Only these scripts, by a part of their names.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A server whose build has lz4, as the test bed's own may have none: two databases are made there, and made anew.
    #[arg(long, value_name = "URL")]
    lz4_server: Option<String>,
    /// What cargo gives every bench.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Arguments {
    fn does(&self, script: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| script.contains(part.as_str()))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(until_interrupted(measure(&arguments)))
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let lz4 = arguments.lz4_server.as_deref().map(address).transpose()?;
    let world = World::load(arguments.rows, lz4).await?;
    println!("| script | what | before | after | ratio (95 %) |\n|---|---|---|---|---|");
    let repetitions = arguments.repetitions;
    for script in measures::SCRIPTS {
        if arguments.does(script) {
            for measured in measures::of(script, &world, repetitions).await? {
                print!("{}", line(script, &measured));
            }
        }
    }
    Ok(())
}

fn address(url: &str) -> anyhow::Result<ServerAddress> {
    let url = ConnectionUrl::parse(url).map_err(anyhow::Error::msg)?;
    let (host, port) = match url.address {
        UpstreamAddress::Tcp { host, port } => (Host::Tcp(host), port),
        UpstreamAddress::Unix { directory, port } => (Host::Unix(directory), port),
    };
    let user = url.user.unwrap_or_else(|| "postgres".to_owned());
    Ok(ServerAddress {
        host,
        port,
        database: url.database.unwrap_or_else(|| "postgres".to_owned()),
        password: url.password,
        user,
    })
}

fn line(script: &str, measured: &Measured) -> String {
    let unit = measured.unit;
    let shown = |values: &[f64]| match Spread::of(values) {
        Some(spread) => format!("{:.2} {unit}", spread.median),
        None => "-".to_owned(),
    };
    let ratios: Vec<f64> = measured
        .after
        .iter()
        .zip(&measured.before)
        .map(|(after, before)| after / before)
        .collect();
    let mut text = format!(
        "| {script} | {} | {} | {} | ",
        measured.what,
        shown(&measured.before),
        shown(&measured.after)
    );
    // Writing into a string does not fail.
    let _ = match Spread::of(&ratios) {
        Some(ratio) => writeln!(
            text,
            "{:.2}x ({:.2} to {:.2}) |",
            ratio.median, ratio.low, ratio.high
        ),
        None => writeln!(text, "- |"),
    };
    text
}
