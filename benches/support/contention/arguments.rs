//! What can be asked for.

use std::path::PathBuf;

use clap::Parser;
use pglanes::demo::phases;

/// Measures how an evaluation and a memory system disturb each other, directly and through the lanes.
#[derive(Debug, Clone, Parser)]
#[command(name = "contention")]
pub struct Arguments {
    /// How often every phase is repeated.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: u32,
    /// Messages, each with a vector of 384 dimensions.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub rows: u64,
    /// How long the evaluation takes alone.
    #[arg(long, default_value_t = 15.0, value_parser = phases::seconds)]
    pub seconds: f64,
    /// The seed of the data and of the work.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Lanes and throttles to compare, by a name and a lanes.yaml; several are compared in one run. Without any,
    /// those of config/lanes.yaml.
    #[arg(long, value_name = "NAME=FILE", value_parser = named_file)]
    pub lanes: Vec<(String, PathBuf)>,
    /// Compares every lever: nothing, PgBouncer in three sizes, and pglanes with one lever more at a time.
    #[arg(long, conflicts_with_all = ["lanes", "url"])]
    pub proof: bool,
    /// Only the rows whose names hold one of these words, beside what is alone.
    #[arg(long, value_name = "WORD")]
    pub row: Vec<String>,
    /// Draws the evaluation's slow-down against what the memory system keeps, as SVG.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// A PostgreSQL to run on, as for `pglanes demo --url`.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Writes all figures of all repetitions to a file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// One repetition of a few seconds on little data: shows that everything works, and says nothing about speed.
    #[arg(long, conflicts_with_all = ["repetitions", "rows", "seconds"])]
    pub quick: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Arguments {
    /// With what `--quick` stands for.
    pub fn settled(&self) -> Arguments {
        let mut arguments = self.clone();
        if self.quick {
            arguments.repetitions = 1;
            arguments.rows = 400;
            arguments.seconds = 0.5;
        }
        arguments
    }
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(file)))
        }
        _ => Err("it is a name and a file, such as two-slots=lanes.yaml".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_hold_together() {
        Arguments::command().debug_assert();
        let arguments = Arguments::try_parse_from(["contention", "--lanes", "a=b.yaml", "--bench"]);
        assert_eq!(
            arguments.unwrap().lanes,
            [("a".to_owned(), PathBuf::from("b.yaml"))]
        );
        assert!(Arguments::try_parse_from(["contention", "--lanes", "b.yaml"]).is_err());
        assert!(Arguments::try_parse_from(["contention", "--quick", "--rows", "9000"]).is_err());
    }
}
