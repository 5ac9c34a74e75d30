//! The database that the phases run on: of a throw-away server, or of one that the user names.

use anyhow::{Context, bail};
use pglanes_testbed::Postgres;
use pglanes_testbed::schema::Data;
use pglanes_testbed::workload::Target;
use tokio::sync::Mutex;
use tokio_postgres::Config;

use super::databases::{self, Databases, PRISTINE, RUN};
use super::lanes::Upstream;
use super::loading;
use super::progress::Steps;

/// Where PostgreSQL comes from.
#[derive(Clone)]
pub enum Source {
    /// The test bed's, with PostgreSQL's own settings.
    TestBed,
    /// The user's.
    Url(Box<Config>),
}

impl Source {
    /// That of a URL, or the test bed.
    ///
    /// # Errors
    /// What is wrong with the URL; nothing of it is repeated, as it may hold a password.
    pub fn of(url: Option<&str>) -> anyhow::Result<Source> {
        let Some(url) = url else {
            return Ok(Source::TestBed);
        };
        let mut config: Config = url
            .parse()
            .context("--url is not a PostgreSQL URL, such as postgresql://me@localhost:5432")?;
        if config.get_dbname().is_none() {
            config.dbname("postgres");
        }
        config.application_name("pglanes-demo");
        Ok(Source::Url(Box::new(config)))
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Source::TestBed => "TestBed",
            Source::Url(_) => "Url",
        })
    }
}

/// A loaded database, and a copy of it for every phase. Dropping it ends and removes all that it made.
#[derive(Debug)]
pub struct Bed {
    // Dropped in this order: the databases are dropped while the server still runs.
    databases: Mutex<Databases>,
    server: Option<Postgres>,
    maintenance: Config,
    data: Data,
    version: String,
}

impl Bed {
    /// Starts the server if it is to be the test bed's, makes the database, and fills it.
    ///
    /// # Errors
    /// No PostgreSQL, no pgvector in it, no right to create a database, or a database of that name.
    pub async fn start(source: Source, data: Data, steps: &Steps) -> anyhow::Result<Bed> {
        let (server, maintenance) = match source {
            Source::Url(config) => (None, *config),
            Source::TestBed => {
                let server = start_server(steps).await?;
                let config = server.url("postgres").parse()?;
                (Some(server), config)
            }
        };
        let version = check(&maintenance).await?;
        let databases = Databases::make(maintenance.clone()).await?;
        let bed = Bed {
            databases: Mutex::new(databases),
            server,
            maintenance,
            data,
            version,
        };
        loading::load(&databases::within(&bed.maintenance, PRISTINE), data, steps).await?;
        Ok(bed)
    }

    /// A fresh copy of what was loaded, under the same name each time; the copy before is gone.
    ///
    /// # Errors
    /// The server's, when it cannot copy.
    pub async fn fresh(&self) -> anyhow::Result<Target> {
        self.databases.lock().await.copy().await?;
        databases::target(&self.maintenance, RUN)
    }

    /// What was loaded itself.
    ///
    /// # Errors
    /// As for [`Bed::start`].
    pub fn loaded(&self) -> anyhow::Result<Target> {
        databases::target(&self.maintenance, PRISTINE)
    }

    /// Drops the copy and, on a server of the user's, keeps what was loaded beyond the end.
    ///
    /// # Errors
    /// The server's, when it cannot drop.
    pub async fn leave_up(&mut self) -> anyhow::Result<()> {
        self.databases.get_mut().keep().await
    }

    /// What the data is.
    pub fn data(&self) -> Data {
        self.data
    }

    /// PostgreSQL's version and pgvector's.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The test bed's server, if it is one.
    pub fn server(&self) -> Option<&Postgres> {
        self.server.as_ref()
    }

    /// How a proxy reaches it.
    ///
    /// # Errors
    /// As for [`Bed::start`].
    pub fn upstream(&self) -> anyhow::Result<Upstream> {
        let target = self.loaded()?;
        Ok(Upstream {
            host: target.host,
            port: target.port,
            socket_directory: self
                .server
                .as_ref()
                .map(|server| server.socket_dir().to_owned()),
            password: target.password,
        })
    }
}

async fn start_server(steps: &Steps) -> anyhow::Result<Postgres> {
    let step = steps.begin("starting PostgreSQL (the first time it is fetched)");
    // Durable, as the user's is: compaction's writes have to reach the disk.
    let starting = tokio::task::spawn_blocking(|| Postgres::builder().durable(true).start());
    let server = starting.await.context("the test bed's start panicked")??;
    step.done(&format!(
        "{}, port {}",
        server.binaries().version(),
        server.port()
    ))?;
    Ok(server)
}

/// Refuses a server that cannot do it before anything is made there. Gives its versions.
async fn check(maintenance: &Config) -> anyhow::Result<String> {
    let client = databases::connect(maintenance).await?;
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
             (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'), \
             (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user)",
            &[],
        )
        .await?;
    let (number, version): (i32, &str) = (row.get(0), row.get(1));
    let Some(pgvector) = row.get::<_, Option<&str>>(2) else {
        bail!("this PostgreSQL {version} has no pgvector; without --url the demo brings its own");
    };
    if number < 140_000 {
        bail!("this is PostgreSQL {version}, and the demo needs 14 or newer");
    }
    if !row.get::<_, bool>(3) {
        bail!("the user may not create databases: ALTER ROLE ... CREATEDB, or another user");
    }
    Ok(format!("PostgreSQL {version}, pgvector {pgvector}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_url_is_refused_without_its_password() {
        let error = Source::of(Some("postgresql://me:canary@localhost:notaport/")).unwrap_err();
        assert!(!format!("{error:#} {error:?}").contains("canary"));
    }

    #[test]
    fn a_source_shows_no_password() {
        let source = Source::of(Some("postgresql://me:canary@localhost/")).unwrap();
        assert!(!format!("{source:?}").contains("canary"));
        let Source::Url(config) = source else {
            panic!("it is a URL");
        };
        assert_eq!(config.get_dbname(), Some("postgres"));
    }
}
