//! `pglanes serve --embedded`: a PostgreSQL with pgvector of pglanes' own, for people who have no server yet.
//!
//! Its programs are those that the test bed finds or fetches; its data stays in a folder of the user's. It takes logins from
//! this machine without a password, as Homebrew's does, and no others.

use std::path::Path;

use anyhow::Context as _;
use pglanes_config::Config;
use pglanes_testbed::Postgres;

use crate::server_address;
use crate::source::{Place, Source};

/// A PostgreSQL that ends with this.
#[derive(Debug)]
pub(crate) struct Embedded {
    server: Postgres,
}

impl Embedded {
    /// Starts it, with the data in `folder`, and makes what is missing: a role of the person's own name, a database of that
    /// name, and the databases and users that lanes.yaml names. Blocks; the first time on a machine the programs are fetched.
    ///
    /// # Errors
    /// No PostgreSQL can be had, or the folder cannot be used.
    pub(crate) fn start(folder: &Path, config: &Config) -> anyhow::Result<Embedded> {
        tracing::info!(folder = %folder.display(), "starting PostgreSQL (the first time it is fetched)");
        let server = Postgres::builder()
            .max_connections(config.upstream.slots + SPARE_CONNECTIONS)
            .start_kept(folder)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime
            .block_on(furnish(&server, config))
            .context("the roles and databases of lanes.yaml could not be made")?;
        tracing::info!(
            folder = %folder.display(),
            port = server.port(),
            version = server.binaries().version(),
            "PostgreSQL runs"
        );
        Ok(Embedded { server })
    }

    /// The source with this server in the place of `upstream.url`.
    pub(crate) fn behind(&self, lanes: Source) -> Source {
        Source::Embedded {
            lanes: Box::new(lanes),
            place: Place {
                directory: self.server.socket_dir().to_owned(),
                port: self.server.port(),
            },
        }
    }
}

/// Connections beside the lanes': pglanes' own questions, superusers, and a person past the proxy.
const SPARE_CONNECTIONS: u32 = 20;

async fn furnish(server: &Postgres, config: &Config) -> anyhow::Result<()> {
    let client = server.connect("postgres").await?;
    let person = server_address::own_name();
    let named = config.users.iter().map(|user| user.name.clone());
    let asked = config.upstream.user.clone();
    for role in named.chain(asked).chain([person.clone()]) {
        let found = client
            .query_opt(
                "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1",
                &[&role],
            )
            .await?;
        if found.is_none() {
            let may = if role == person {
                "SUPERUSER"
            } else {
                "CREATEDB"
            };
            let statement = format!("CREATE ROLE {} LOGIN {may}", quoted(&role));
            client.batch_execute(&statement).await?;
        }
    }
    let named = config
        .databases
        .iter()
        .map(|database| database.name.clone());
    let asked = config.upstream.database.clone();
    for database in named.chain(asked).chain([person.clone()]) {
        let found = client
            .query_opt(
                "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1",
                &[&database],
            )
            .await?;
        if found.is_none() {
            // The template has pgvector.
            let statement = format!(
                "CREATE DATABASE {} OWNER {}",
                quoted(&database),
                quoted(&person)
            );
            client.batch_execute(&statement).await?;
        }
    }
    Ok(())
}

/// A name as an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_kept_and_what_lanes_yaml_names_is_there() {
        let folder = std::env::temp_dir().join(format!("pglanes-e{}", std::process::id()));
        let surroundings = pglanes_config::Process::default();
        let text = "databases:\n  ai_agency: { aliases: [old] }\nusers:\n  \"o'neill \\\"x\\\"\": { aliases: [neil] }\n\
                    lanes:\n  default: {}\n";
        let config = pglanes_config::parse("lanes.yaml", text, &surroundings).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ask = |server: &Embedded, statement: &'static str| {
            runtime.block_on(async {
                let client = server.server.connect("ai_agency").await.unwrap();
                client.batch_execute(statement).await
            })
        };
        let first = Embedded::start(&folder, &config).unwrap();
        ask(
            &first,
            "CREATE TABLE t (v vector(3)); INSERT INTO t VALUES ('[1,2,3]')",
        )
        .unwrap();
        let error = Embedded::start(&folder, &config).unwrap_err();
        assert!(format!("{error:#}").contains("in use"), "{error:#}");
        drop(first);
        let second = Embedded::start(&folder, &config).unwrap();
        ask(&second, "SELECT 1 / count(*) FROM t").unwrap();
        ask(&second, "SET ROLE \"o'neill \"\"x\"\"\"").unwrap();
        let source = second.behind(Source::BuiltIn {
            appears: "/nonexistent/lanes.yaml".into(),
        });
        let address = source.load().unwrap().upstream.unix_sockets();
        assert!(address[0].exists(), "{address:?}");
        drop(second);
        assert!(folder.join("data/PG_VERSION").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
