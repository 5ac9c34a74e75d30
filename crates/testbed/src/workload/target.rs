//! Where a workload connects to.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;

use crate::Postgres;

/// A server, or a proxy before it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// A host name or address, or the folder of a unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password, if one is asked for.
    pub password: Option<String>,
}

impl Target {
    /// A database of a test bed's server, straight over TCP, as the superuser.
    pub fn direct(postgres: &Postgres, database: &str) -> Target {
        Target {
            host: "127.0.0.1".to_owned(),
            port: postgres.port(),
            user: "postgres".to_owned(),
            database: database.to_owned(),
            password: postgres.password().map(str::to_owned),
        }
    }

    /// The same user and database through another address, such as a proxy's.
    #[must_use]
    pub fn through(&self, host: &str, port: u16) -> Target {
        Target {
            host: host.to_owned(),
            port,
            ..self.clone()
        }
    }

    /// How to connect to it under a name.
    pub(super) fn config(&self, application_name: &str) -> Config {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name(application_name)
            .connect_timeout(Duration::from_secs(10));
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target {
            host,
            port,
            user,
            database,
            password,
        } = self;
        let password = if password.is_some() { ":***" } else { "" };
        write!(formatter, "{user}{password}@{host}:{port}/{database}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let target = Target {
            host: "h".to_owned(),
            port: 1,
            user: "u".to_owned(),
            database: "d".to_owned(),
            password: Some("canary".to_owned()),
        };
        assert_eq!(format!("{target:?}"), "u:***@h:1/d");
    }
}
