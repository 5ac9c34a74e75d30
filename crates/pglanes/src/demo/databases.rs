//! The demo's own databases on a server that may be somebody's: made only if they are not there, and dropped in the end,
//! also after an error or a panic.

use std::time::Duration;

use anyhow::{Context, bail};
use pglanes_testbed::workload::Target;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// What is loaded, and never worked on: every phase begins with a copy of it.
pub(super) const PRISTINE: &str = "pglanes_demo";
/// The copy that a phase works on.
pub(super) const RUN: &str = "pglanes_demo_run";
/// How long a copy waits for sessions that are just leaving the original.
const LEAVING: Duration = Duration::from_secs(10);
/// How long the cleaning up may take.
const LAST: Duration = Duration::from_secs(20);

/// The databases that were made here. Dropping this drops them.
#[derive(Debug)]
pub(super) struct Databases {
    maintenance: Config,
    made: Vec<&'static str>,
}

impl Databases {
    /// Makes the first, empty. `maintenance` says how to reach a database that is there already.
    pub(super) async fn make(maintenance: Config) -> anyhow::Result<Databases> {
        let client = connect(&maintenance).await?;
        let taken = client
            .query(
                "SELECT datname FROM pg_database WHERE datname = ANY($1)",
                &[&[PRISTINE, RUN].as_slice()],
            )
            .await?;
        if let Some(row) = taken.first() {
            let name: &str = row.get(0);
            bail!(
                "there is a database {name} already, and the demo touches nothing that it did not make; if it is left over \
                 from `--keep`, remove it with: DROP DATABASE {name}"
            );
        }
        let mut databases = Databases {
            maintenance,
            made: Vec::new(),
        };
        databases.create(&client, PRISTINE, "").await?;
        Ok(databases)
    }

    /// Makes the copy anew, as the original was loaded, and puts it on the disk, so that no phase pays for it.
    pub(super) async fn copy(&mut self) -> anyhow::Result<()> {
        let client = connect(&self.maintenance).await?;
        if let Some(place) = self.made.iter().position(|name| *name == RUN) {
            drop_database(&client, RUN).await?;
            self.made.remove(place);
        }
        self.create(&client, RUN, &format!(" TEMPLATE {PRISTINE}"))
            .await?;
        // Only for superusers: for others a checkpoint comes when it comes.
        let _ = client.batch_execute("CHECKPOINT").await;
        Ok(())
    }

    /// Drops the copy and keeps the original beyond the end.
    pub(super) async fn keep(&mut self) -> anyhow::Result<()> {
        let client = connect(&self.maintenance).await?;
        drop_database(&client, RUN).await?;
        self.made.clear();
        Ok(())
    }

    async fn create(
        &mut self,
        client: &Client,
        name: &'static str,
        options: &str,
    ) -> anyhow::Result<()> {
        let statement = format!("CREATE DATABASE {name}{options}");
        let deadline = tokio::time::Instant::now() + LEAVING;
        loop {
            match client.batch_execute(&statement).await {
                Ok(()) => {
                    self.made.push(name);
                    return Ok(());
                }
                // A session that was closed a moment ago may not have ended yet on the server's side.
                Err(error)
                    if error.code() == Some(&SqlState::OBJECT_IN_USE)
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error).with_context(|| statement),
            }
        }
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        if self.made.is_empty() {
            return;
        }
        let (maintenance, made) = (self.maintenance.clone(), std::mem::take(&mut self.made));
        // A runtime may be around us, in which a second one cannot run: a thread of its own can.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                tokio::time::timeout(LAST, drop_all(&maintenance, &made)).await?
            })
        });
        if let Ok(Err(error)) = cleaning.join() {
            tracing::warn!(%error, "a database of the demo is left: {PRISTINE} or {RUN}");
        }
    }
}

async fn drop_all(maintenance: &Config, made: &[&str]) -> anyhow::Result<()> {
    let client = connect(maintenance).await?;
    for name in made {
        drop_database(&client, name).await?;
    }
    Ok(())
}

async fn drop_database(client: &Client, name: &str) -> anyhow::Result<()> {
    let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    client.batch_execute(&statement).await.context(statement)
}

/// A connection; its task ends with the client.
pub(super) async fn connect(config: &Config) -> anyhow::Result<Client> {
    let (client, connection) = config
        .connect(NoTls)
        .await
        .context("PostgreSQL cannot be reached")?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// How to reach a database of the same server.
pub(super) fn within(maintenance: &Config, database: &str) -> Config {
    let mut config = maintenance.clone();
    config.dbname(database).application_name("pglanes-demo");
    config
}

/// The same as the workloads take it.
pub(super) fn target(maintenance: &Config, database: &str) -> anyhow::Result<Target> {
    let host = match maintenance.get_hosts() {
        [tokio_postgres::config::Host::Tcp(host)] => host.clone(),
        [tokio_postgres::config::Host::Unix(path)] => path.display().to_string(),
        hosts => bail!("the URL has to name one host, and names {}", hosts.len()),
    };
    let password = maintenance.get_password().map(<[u8]>::to_vec);
    let password = password
        .map(String::from_utf8)
        .transpose()
        .context("the URL's password is not UTF-8")?;
    Ok(Target {
        host,
        port: maintenance.get_ports().first().copied().unwrap_or(5432),
        user: user(maintenance)?,
        database: database.to_owned(),
        password,
    })
}

/// The user of the URL, or as everywhere in PostgreSQL the one of the operating system.
fn user(config: &Config) -> anyhow::Result<String> {
    let named = config.get_user().map(str::to_owned);
    named
        .or_else(|| std::env::var("USER").ok())
        .filter(|user| !user.is_empty())
        .context("the URL names no user, and neither does the variable USER")
}
