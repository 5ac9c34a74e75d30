//! Where and as whom the commands ask PostgreSQL: what lanes.yaml says of the upstream; for the rest, what psql would do.

use std::path::Path;

use pglanes_auth::{Password, Secret};
use pglanes_config::{Config, UpstreamAddress};
use pglanes_control::{Host, ServerAddress};

/// The URL's user and database; else whom psql would ask as.
pub(crate) fn of(config: &Config) -> ServerAddress {
    let upstream = &config.upstream;
    let socket = upstream
        .unix_sockets()
        .into_iter()
        .find(|socket| socket.exists());
    let host = match (&upstream.address, socket.as_deref().and_then(Path::parent)) {
        (_, Some(directory)) => Host::Unix(directory.to_path_buf()),
        (UpstreamAddress::Tcp { host, .. }, None) => Host::Tcp(host.clone()),
        (UpstreamAddress::Unix { directory, .. }, None) => Host::Unix(directory.clone()),
    };
    let (UpstreamAddress::Tcp { port, .. } | UpstreamAddress::Unix { port, .. }) = upstream.address;
    let user = upstream.user.clone().unwrap_or_else(own_name);
    let first = config
        .databases
        .first()
        .map(|database| database.name.clone());
    let database = upstream.database.clone().or(first);
    ServerAddress {
        host,
        port,
        database: database.unwrap_or_else(|| "postgres".to_owned()),
        password: password_of(config, &user),
        user,
    }
}

/// The password of a user at PostgreSQL, as far as lanes.yaml knows one.
pub(crate) fn password_of(config: &Config, user: &str) -> Option<Password> {
    let known = config.upstream_password(user);
    known.map(|password| Secret::new(password.expose().clone()))
}

/// Who psql would log in as.
pub(crate) fn own_name() -> String {
    name_by(|name| std::env::var(name).ok())
}

fn name_by(variable: impl Fn(&str) -> Option<String>) -> String {
    let names = ["PGUSER", "USER", "LOGNAME"];
    let found = names
        .into_iter()
        .filter_map(variable)
        .find(|name| !name.is_empty());
    found.unwrap_or_else(|| "postgres".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_to_ask_as_is_the_one_psql_would_take() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            let value = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(name_by(value), expected);
        };
        check(&[("USER", "me"), ("PGUSER", "you")], "you");
        check(&[("LOGNAME", "me"), ("USER", "")], "me");
        check(&[], "postgres");
    }
}
