//! `pglanes schema`: the scripts of deploy/sql, there and back.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use pglanes_advisor::schema::{self, KEYS, Names, Outcome, Patience, Report};
use pglanes_config::Config;
use pglanes_control::Session;

use super::Server;

/// What to do with the scripts.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Carry scripts out, all but the optional ones or those named; what is there already stays
    Apply {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        naming: Naming,
        /// A role that may call the procedures, where they are not the database owner's alone
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// Scripts, such as 10-cache-expiry
        scripts: Vec<String>,
    },
    /// Take back what was applied, all or the scripts named, the last one first
    Undo {
        #[command(flatten)]
        server: Server,
        /// Scripts, such as 10-cache-expiry
        scripts: Vec<String>,
    },
    /// Show how each script stands
    Status {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        naming: Naming,
    },
    /// Print the SQL
    Print {
        #[command(flatten)]
        naming: Naming,
        /// That of the way back
        #[arg(long)]
        undo: bool,
        /// Scripts, such as 10-cache-expiry
        scripts: Vec<String>,
    },
}

/// What tables and columns are called.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Naming {
    /// Another name for a table or column, such as cache=answers; `pglanes schema status` lists the keys
    #[arg(long = "name", value_name = "KEY=NAME")]
    names: Vec<String>,
}

impl Naming {
    fn names(&self) -> Result<Names> {
        let mut names = Names::default();
        for pair in &self.names {
            let (key, name) = pair
                .split_once('=')
                .context("--name is written KEY=NAME, such as --name cache=answers")?;
            names.set(key, name)?;
        }
        Ok(names)
    }
}

/// Does it; what is printed, and whether something is to be mended.
pub(crate) async fn run(command: &Command, config: &Config) -> Result<(String, bool)> {
    let patience = Patience::default();
    match command {
        Command::Apply {
            server,
            naming,
            role,
            scripts,
        } => {
            let names = naming.names()?;
            let session = server.session(config).await?;
            let reports = schema::apply(&session, &names, scripts, patience).await?;
            if let Some(role) = role {
                let role = role.replace('"', "\"\"");
                let grant = format!("GRANT USAGE ON SCHEMA pglanes TO \"{role}\"");
                session.run(&grant).await?;
            }
            Ok(shown(&session, &reports))
        }
        Command::Undo { server, scripts } => {
            let session = server.session(config).await?;
            let reports = schema::undo(&session, scripts, patience).await?;
            if reports.is_empty() {
                let nothing = format!("nothing was applied in {}\n", session.server());
                return Ok((nothing, false));
            }
            Ok(shown(&session, &reports))
        }
        Command::Status { server, naming } => {
            let names = naming.names()?;
            let session = server.session(config).await?;
            let (mut said, ill) = shown(&session, &schema::status(&session, &names).await?);
            said.push_str("names (--name KEY=NAME): ");
            let keys: Vec<String> = KEYS
                .iter()
                .map(|(key, name, what)| format!("{key}={name} ({what})"))
                .collect();
            let _ = writeln!(said, "{}", keys.join(", "));
            Ok((said, ill))
        }
        Command::Print {
            naming,
            undo,
            scripts,
        } => {
            let text = schema::render(&naming.names()?, scripts, *undo)?;
            Ok((text, false))
        }
    }
}

fn shown(session: &Session, reports: &[Report]) -> (String, bool) {
    let mut text = format!("{}:\n", session.server());
    let mut ill = false;
    for report in reports {
        let script = &report.script;
        let (word, why) = match &report.outcome {
            Outcome::Applied => ("applied", String::new()),
            Outcome::Already => ("in force", String::new()),
            Outcome::Undone => ("undone", String::new()),
            Outcome::Open => (
                "not applied",
                script.optional.unwrap_or_default().to_owned(),
            ),
            Outcome::Skipped(why) => ("skipped", why.clone()),
            Outcome::Broken(why) => ("half-done", format!("{why}; apply it again")),
            Outcome::Failed(why) => ("failed", why.clone()),
        };
        ill |= matches!(report.outcome, Outcome::Broken(_) | Outcome::Failed(_));
        // Writing into a string does not fail.
        let _ = writeln!(text, "  {:<22}{word:<13}{}", script.name, script.title);
        for line in std::iter::once(&why)
            .chain(&report.notes)
            .filter(|line| !line.is_empty())
        {
            let _ = writeln!(text, "  {:<22}  {line}", "");
        }
    }
    (text, ill)
}
