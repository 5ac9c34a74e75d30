//! What can be asked for.

use std::path::PathBuf;

use clap::Parser;
use pglanes::demo::phases;

use super::arms;

/// Measures what an objective keeps of an evaluation's latency, and what it leaves a memory system.
#[derive(Debug, Clone, Parser)]
#[command(name = "objective")]
pub struct Arguments {
    /// How often every phase is repeated.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: u32,
    /// Messages, each with a vector of 384 dimensions.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub rows: u64,
    /// How long the evaluation takes alone.
    #[arg(long, default_value_t = 10.0, value_parser = phases::seconds)]
    pub seconds: f64,
    /// The seed of the data and of the work.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Only these arms; all of them without.
    #[arg(long, value_name = "NAME", value_parser = arm)]
    pub arm: Vec<String>,
    /// Where traces are written.
    #[arg(long, value_name = "FOLDER", default_value = "target/objective")]
    pub out: PathBuf,
    /// The traces of the simulator instead.
    #[arg(long)]
    pub simulated: bool,
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
            arguments.seconds = 1.0;
        }
        arguments
    }
}

fn arm(text: &str) -> Result<String, String> {
    let names: Vec<&str> = arms::ALL.iter().map(|arm| arm.name).collect();
    match names.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("it is one of {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_hold_together() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["objective", "--arm", "loop", "--bench"]).is_ok());
        assert!(Arguments::try_parse_from(["objective", "--arm", "nothing"]).is_err());
    }
}
