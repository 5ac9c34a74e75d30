//! `pglanes tune`, `doctor`, `init` and `schema`: the advisor's rules with this machine, this server and these files.
//!
//! Exit codes are the command line's; `doctor` and `schema` also say 1 when there is something to mend.

pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod schema;
pub(crate) mod tune;
pub(crate) mod vectors;

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, anyhow};
use pglanes_advisor::server;
use pglanes_auth::{Password, Secret};
use pglanes_config::{Config, ConnectionUrl, UpstreamAddress, UpstreamTls};
use pglanes_control::{Host, ServerAddress, Session};
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

/// Parameters of libpq's URLs that make no difference here.
const INDIFFERENT: [&str; 5] = [
    "application_name",
    "fallback_application_name",
    "connect_timeout",
    "client_encoding",
    "gssencmode",
];

/// A server, and how it is reached.
struct Target {
    address: ServerAddress,
    tls: UpstreamTls,
    /// Whether it shares this machine's memory.
    is_local: bool,
    /// The URL's TLS parameters, as they were written.
    tls_parameters: Vec<String>,
}

impl Server {
    /// The server with lanes.yaml's passwords or PGPASSWORD, and TLS as its URL has it.
    fn target(&self, config: &Config) -> Result<Target> {
        let mut target = match &self.server {
            Some(url) => named(url)?,
            None => Target {
                address: server_address::of(config),
                tls: config.upstream.tls.clone(),
                is_local: config.upstream.is_local(),
                tls_parameters: Vec::new(),
            },
        };
        if target.address.password.is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            target.address.password = Some(Password::from(password));
        }
        Ok(target)
    }

    async fn connect(&self, config: &Config) -> Result<Client> {
        let Target { address, tls, .. } = self.target(config)?;
        server::connect(&address, &tls)
            .await
            .with_context(|| format!("PostgreSQL at {address}"))
    }

    /// For what changes something.
    async fn session(&self, config: &Config) -> Result<Session> {
        let Target { address, tls, .. } = self.target(config)?;
        Ok(Session::connect(&address, &tls).await?)
    }

    /// Whether the server shares this machine's memory.
    fn is_local(&self, config: &Config) -> Result<bool> {
        Ok(self.target(config)?.is_local)
    }
}

/// A server named by a URL. What is wrong with one is said without repeating it: it may hold a password.
fn named(text: &str) -> Result<Target> {
    let (rest, query) = text.split_once('?').unwrap_or((text, ""));
    let has_key = |pair: &str, keys: &[&str]| keys.contains(&pair.split('=').next().unwrap_or(""));
    let pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !has_key(pair, &INDIFFERENT))
        .collect();
    let url = ConnectionUrl::parse(&format!("{rest}?{}", pairs.join("&")))
        .map_err(|error| anyhow!("--server: {error}"))?;
    let (host, port) = match url.address {
        UpstreamAddress::Tcp { host, port } => (Host::Tcp(host), port),
        UpstreamAddress::Unix { directory, port } => (Host::Unix(directory), port),
    };
    let user = url.user.unwrap_or_else(server_address::own_name);
    let is_local = match &host {
        Host::Tcp(name) => name == "localhost" || name == "::1" || name.starts_with("127."),
        Host::Unix(_) => true,
    };
    let of_tls = |pair: &&str| pair.starts_with("ssl") || has_key(pair, &["channel_binding"]);
    Ok(Target {
        address: ServerAddress {
            host,
            port,
            database: url.database.unwrap_or_else(|| user.clone()),
            user,
            password: url
                .password
                .map(|password| Secret::new(password.expose().clone())),
        },
        tls: url.tls,
        is_local,
        tls_parameters: pairs
            .into_iter()
            .filter(of_tls)
            .map(str::to_owned)
            .collect(),
    })
}

impl Target {
    /// The URL without its password.
    fn url(&self) -> String {
        let ServerAddress {
            host,
            port,
            user,
            database,
            ..
        } = &self.address;
        let (place, mut parameters) = match host {
            Host::Unix(directory) => (
                format!("{user}@/{database}"),
                vec![
                    format!("host={}", directory.display()),
                    format!("port={port}"),
                ],
            ),
            Host::Tcp(_) => (self.address.to_string(), Vec::new()),
        };
        parameters.extend(self.tls_parameters.iter().cloned());
        let sign = if parameters.is_empty() { "" } else { "?" };
        format!("postgresql://{place}{sign}{}", parameters.join("&"))
    }
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

#[cfg(test)]
mod tests {
    use pglanes_config::TlsMode;

    use super::*;

    #[test]
    fn a_url_says_where_and_how_and_shows_no_password() {
        let text = "postgresql://me:canary@db.example:5433/x?application_name=a&sslmode=require&connect_timeout=3";
        let target = named(text).unwrap();
        assert_eq!(target.address.to_string(), "me@db.example:5433/x");
        assert_eq!(target.tls.mode, TlsMode::Require);
        assert!(!target.is_local);
        assert_eq!(
            target.url(),
            "postgresql://me@db.example:5433/x?sslmode=require"
        );
        let target = named("postgresql://me@/x?host=/tmp&port=5433").unwrap();
        assert!(target.is_local);
        assert_eq!(target.url(), "postgresql://me@/x?host=/tmp&port=5433");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for wrong in [
            "canary",
            "postgresql://me:canary@h/x?sslmode=canary2",
            "postgresql://me:canary@h:x/",
        ] {
            let Err(error) = named(wrong) else {
                panic!("{wrong} was taken");
            };
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
