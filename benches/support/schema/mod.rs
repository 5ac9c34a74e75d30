//! The bench of the schema scripts: `world` has the databases, with and without a script, and `measures` what is done on them.

mod measures;
mod world;

use std::fmt::Write as _;
use std::time::Duration;

use clap::Parser;
use pglanes_config::{ConnectionUrl, UpstreamAddress};
use pglanes_control::{Host, ServerAddress};

use crate::contention::statistics::Spread;
use world::World;

pub use measures::SCRIPTS;
pub use world::Measured;

/// Measures the schema scripts.
#[derive(Debug, Clone, Parser)]
#[command(name = "schema")]
pub struct Arguments {
    /// Messages with a vector.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u64).range(400..))]
    pub rows: u64,
    /// Repetitions of each operation.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..))]
    pub repetitions: u32,
    /// Only these scripts, by a part of their names.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// A server whose build has lz4, as the test bed's own may have none: two databases are made there, and made anew.
    #[arg(long, value_name = "URL")]
    pub lz4_server: Option<String>,
    /// A few repetitions on little data: shows that everything works, and says nothing about the scripts.
    #[arg(long, conflicts_with_all = ["rows", "repetitions"])]
    pub quick: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Arguments {
    fn does(&self, script: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| script.contains(part.as_str()))
    }

    fn size(&self) -> Size {
        match self.quick {
            true => Size {
                rows: 400,
                repetitions: 3,
                answers: 300,
                metrics: 6_000,
                large: 100,
                rewrites: 2,
                pause: Duration::ZERO,
            },
            false => Size {
                rows: self.rows,
                repetitions: self.repetitions,
                answers: 30_000,
                metrics: 600_000,
                large: 3_000,
                rewrites: 20,
                pause: Duration::from_millis(2_500),
            },
        }
    }
}

/// How much there is, and how often it is done.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Messages.
    rows: u64,
    /// Of each operation.
    repetitions: u32,
    /// Small answers in the cache.
    answers: u64,
    /// Metrics of the last thirty days.
    metrics: u64,
    /// Large answers in the cache whose parts are rewritten.
    large: u64,
    /// How often a part of them is.
    rewrites: u64,
    /// After each: statistics are reported within a second, and autovacuum looks every second.
    pause: Duration,
}

/// Measures each script that is asked for; `told` hears each line of the table. Gives the scripts with their figures.
///
/// # Errors
/// The server's, or that a script could not be applied.
pub async fn run(
    arguments: &Arguments,
    told: &dyn Fn(&str),
) -> anyhow::Result<Vec<(&'static str, Vec<Measured>)>> {
    let lz4 = arguments.lz4_server.as_deref().map(address).transpose()?;
    let world = World::load(arguments.size(), lz4).await?;
    let mut all = Vec::new();
    for script in SCRIPTS {
        if arguments.does(script) {
            let figures = measures::of(script, &world).await?;
            for measured in &figures {
                told(&line(script, measured));
            }
            all.push((script, figures));
        }
    }
    Ok(all)
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
