//! Where the control plane connects, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pglanes_auth::Password;

/// What the server's own view (`pg_stat_activity`) shows these connections as.
const APPLICATION_NAME: &str = "pglanes-control";

/// What every connection starts with. Nothing the proxy asks takes long or writes; names mean
/// PostgreSQL's own, whatever somebody put into `public`.
const STARTUP_OPTIONS: &str = "-c statement_timeout=5s -c lock_timeout=5s -c search_path=pg_catalog \
     -c default_transaction_read_only=on";

/// The machine, or the directory of the unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, over TCP.
    Tcp(String),
    /// A directory that holds `.s.PGSQL.PORT`.
    Unix(PathBuf),
}

/// The server and database to ask, and the user to ask as. Its `Display` is
/// `user@host:port/database`; the password shows nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Where the server is.
    pub host: Host,
    /// Its port; for a unix socket the one in the socket's name.
    pub port: u16,
    /// The user to log in as. Facts need no special right.
    pub user: String,
    /// The database to log in to. Whether pgvector is there depends on it.
    pub database: String,
    /// The password, if the server asks for one.
    pub password: Option<Password>,
}

impl ServerAddress {
    /// The driver's configuration: plain TCP or unix socket, no TLS.
    pub(crate) fn driver_config(&self, connect_timeout: Duration) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        match &self.host {
            Host::Tcp(name) => config.host(name),
            #[cfg(unix)]
            Host::Unix(directory) => config.host_path(directory),
            #[cfg(not(unix))]
            Host::Unix(directory) => config.host(directory.to_string_lossy()),
        };
        config
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name(APPLICATION_NAME)
            .options(STARTUP_OPTIONS)
            .connect_timeout(connect_timeout)
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@", self.user)?;
        match &self.host {
            Host::Tcp(name) if name.contains(':') => write!(formatter, "[{name}]")?,
            Host::Tcp(name) => formatter.write_str(name)?,
            Host::Unix(directory) => write!(formatter, "{}", directory.display())?,
        }
        write!(formatter, ":{}/{}", self.port, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: Host) -> ServerAddress {
        ServerAddress {
            host,
            port: 5432,
            user: "alice".to_owned(),
            database: "ai_agency".to_owned(),
            password: Some(Password::from("hunter2-canary")),
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let check = |host, expected: &str| {
            let address = address(host);
            assert_eq!(address.to_string(), expected);
            assert!(!format!("{address:?}").contains("canary"));
        };
        check(
            Host::Tcp("db.example".to_owned()),
            "alice@db.example:5432/ai_agency",
        );
        check(Host::Tcp("::1".to_owned()), "alice@[::1]:5432/ai_agency");
        check(Host::Unix("/tmp".into()), "alice@/tmp:5432/ai_agency");
    }

    #[test]
    fn the_driver_is_told_all_of_it() {
        let config = address(Host::Unix("/run/pg".into())).driver_config(Duration::from_secs(5));
        assert_eq!(
            config.get_hosts(),
            [tokio_postgres::config::Host::Unix("/run/pg".into())]
        );
        assert_eq!(config.get_ports(), [5432]);
        assert_eq!(config.get_user(), Some("alice"));
        assert_eq!(config.get_dbname(), Some("ai_agency"));
        assert_eq!(config.get_password(), Some(b"hunter2-canary".as_slice()));
        assert_eq!(config.get_application_name(), Some("pglanes-control"));
        let options = config.get_options().unwrap();
        assert!(options.contains("-c statement_timeout=5s"), "{options}");
        assert!(options.contains("-c search_path=pg_catalog"), "{options}");
        assert!(!format!("{config:?}").contains("canary"));
    }
}
