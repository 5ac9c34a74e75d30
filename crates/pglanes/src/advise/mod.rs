//! `pglanes tune`, `doctor` and `init`: the advisor's rules with this machine, this server and these files.
//!
//! Exit codes are the command line's; `doctor` also says 1 when it found something to mend.

pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod tune;

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, anyhow};
use pglanes_advisor::server;
use pglanes_config::{Config, UpstreamAddress};
use tokio_postgres::Client;

use crate::server_address;

/// Which server is asked.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Server {
    /// The server's URL [default: upstream.url of lanes.yaml]; a password is better in PGPASSWORD than here
    #[arg(
        long,
        value_name = "URL",
        env = "PGLANES_SERVER",
        hide_env_values = true
    )]
    server: Option<String>,
}

impl Server {
    /// The driver's configuration, with lanes.yaml's passwords or PGPASSWORD.
    fn driver(&self, config: &Config) -> Result<tokio_postgres::Config> {
        let mut driver = match &self.server {
            // What the driver says of a broken URL does not repeat it.
            Some(url) => url
                .parse::<tokio_postgres::Config>()
                .map_err(|error| anyhow!("--server: {error}"))?,
            None => of_lanes(config),
        };
        if driver.get_user().is_none() {
            driver.user(server_address::own_name());
        }
        if driver.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            driver.password(password);
        }
        Ok(driver)
    }

    async fn connect(&self, config: &Config) -> Result<Client> {
        let driver = self.driver(config)?;
        let shown = place(&driver);
        server::connect(driver)
            .await
            .with_context(|| format!("PostgreSQL at {shown}"))
    }

    /// Whether the server shares this machine's memory.
    fn is_local(&self, config: &Config) -> Result<bool> {
        if self.server.is_none() {
            return Ok(config.upstream.is_local());
        }
        use tokio_postgres::config::Host;
        let driver = self.driver(config)?;
        Ok(driver.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name == "::1" || name.starts_with("127."),
            Host::Unix(_) => true,
        }))
    }
}

fn of_lanes(config: &Config) -> tokio_postgres::Config {
    let upstream = &config.upstream;
    let mut driver = tokio_postgres::Config::new();
    let socket = upstream
        .unix_sockets()
        .into_iter()
        .find(|socket| socket.exists());
    let (UpstreamAddress::Tcp { port, .. } | UpstreamAddress::Unix { port, .. }) = upstream.address;
    match (
        &upstream.address,
        socket.as_deref().and_then(std::path::Path::parent),
    ) {
        (_, Some(directory)) => driver.host_path(directory),
        (UpstreamAddress::Tcp { host, .. }, None) => driver.host(host),
        (UpstreamAddress::Unix { directory, .. }, None) => driver.host_path(directory),
    };
    let user = upstream
        .user
        .clone()
        .unwrap_or_else(server_address::own_name);
    let first = config
        .databases
        .first()
        .map(|database| database.name.clone());
    let database = upstream.database.clone().or(first);
    driver
        .port(port)
        .dbname(database.unwrap_or_else(|| "postgres".to_owned()));
    if let Some(password) = config.upstream_password(&user) {
        driver.password(password.expose());
    }
    driver.user(user);
    driver
}

/// `user@host:port/database`.
fn place(driver: &tokio_postgres::Config) -> String {
    use tokio_postgres::config::Host;
    let host = driver
        .get_hosts()
        .first()
        .map_or_else(String::new, |host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        });
    let port = driver.get_ports().first().copied().unwrap_or(5432);
    let (user, database) = (
        driver.get_user().unwrap_or_default(),
        driver.get_dbname().unwrap_or_default(),
    );
    format!("{user}@{host}:{port}/{database}")
}

/// Asks a person; without one, no.
fn agreed(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    print!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdout().flush().is_ok()
        && std::io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}
