//! `pglanes views`: installs, removes or prints the monitoring views of the schema `pglanes`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use pglanes_advisor::views::{self, Server};
use pglanes_config::Config;
use pglanes_control::{ServerAddress, Session};

use crate::server_address;
use crate::source::Source;

/// What to do with the views.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make the views, in place of those of an earlier time
    Install {
        /// Where.
        #[command(flatten)]
        place: Place,
        /// A role that may read them, beside the members of pg_monitor
        #[arg(long, value_name = "ROLE")]
        reader: Option<String>,
    },
    /// Remove what `install` made
    Uninstall {
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Print the SQL that `install` would carry out
    Print {
        /// Where.
        #[command(flatten)]
        place: Place,
        /// For this major version of PostgreSQL, without asking the server
        #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(14..=99))]
        postgres: Option<u32>,
        /// With --postgres: as if pg_stat_statements were installed in this schema
        #[arg(long, value_name = "SCHEMA", requires = "postgres")]
        statements: Option<String>,
    },
}

/// Where.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The configuration, whose upstream is asked and whose rules tell the lanes [default: ./lanes.yaml, else the built-in one]
    #[arg(long, value_name = "FILE", env = "PGLANES_CONFIG")]
    config: Option<PathBuf>,
    /// The database [default: that of upstream.url, else the first of lanes.yaml, else postgres]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The user, who must be allowed to create a schema [default: that of upstream.url, else your own]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl Place {
    fn config(&self) -> anyhow::Result<Config> {
        Ok(Source::find(self.config.clone()).load()?)
    }

    fn address(&self, config: &Config) -> ServerAddress {
        let mut address = server_address::of(config);
        if let Some(user) = &self.user {
            address.user.clone_from(user);
            address.password = server_address::password_of(config, user);
        }
        if let Some(database) = &self.database {
            address.database.clone_from(database);
        }
        address
    }

    async fn session(&self, config: &Config) -> anyhow::Result<Session> {
        let address = self.address(config);
        Ok(Session::connect(&address, &config.upstream.tls).await?)
    }
}

/// Does it, and says what was done.
///
/// # Errors
/// lanes.yaml does not hold, the server cannot be asked or refuses, or a schema of the name is somebody else's.
pub async fn run(command: Command) -> anyhow::Result<String> {
    match command {
        Command::Install { place, reader } => {
            let config = place.config()?;
            let session = place.session(&config).await?;
            let installed = views::install(&session, &config, reader.as_deref()).await?;
            Ok(shown(&session, &installed))
        }
        Command::Uninstall { place } => {
            let config = place.config()?;
            let session = place.session(&config).await?;
            Ok(match views::uninstall(&session).await? {
                true => format!("removed the views from {}\n", session.server()),
                false => format!("there were no views in {}\n", session.server()),
            })
        }
        Command::Print {
            place,
            postgres,
            statements,
        } => {
            let config = place.config()?;
            let server = match postgres {
                Some(major) => Server { major, statements },
                None => views::examine(&place.session(&config).await?).await?,
            };
            Ok(views::render(&server, &config))
        }
    }
}

fn shown(session: &Session, installed: &views::Installed) -> String {
    let mut text = format!("installed into {}:\n", session.server());
    for (name, comment) in &installed.views {
        let first = comment.split_inclusive(['.', ':']).next().unwrap_or("");
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "  {:<24}{}",
            format!("pglanes.{name}"),
            first.trim_end_matches([':', '.'])
        );
    }
    if installed.server.statements.is_none() {
        text.push_str(
            "pglanes.queries and pglanes.vector_searches stay empty: pg_stat_statements is not loaded \
             (shared_preload_libraries) or not created here. Install anew when it is.\n",
        );
    }
    let _ = writeln!(
        text,
        "Begin with: SELECT * FROM {}; members of pg_monitor may read them. `pglanes views uninstall` takes them back.",
        views::EARLY_WARNINGS
    );
    text
}
