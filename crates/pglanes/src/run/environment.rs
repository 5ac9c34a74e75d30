//! What a command is told, so that its sessions come through the proxy and into the lane: DATABASE_URL, PGHOST, PGPORT and
//! PGAPPNAME.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pglanes_auth::Secret;
use pglanes_config::{Config, ListenAddress, MatchCondition, Subject};
use thiserror::Error;

/// The variables of one command.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// Set, or set anew.
    pub(super) set: Vec<(&'static str, String)>,
    /// Taken away: they would go before what is set.
    pub(super) unset: Vec<&'static str>,
    /// What the user may want to know.
    pub(super) notes: Vec<String>,
}

/// Why the command's sessions would not be in the lane.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum EnvironmentProblem {
    /// No lane of this name.
    #[error("there is no lane {lane}; the lanes are {known}")]
    UnknownLane {
        /// What was asked for.
        lane: String,
        /// What would be right.
        known: String,
    },
    /// No name puts a session there.
    #[error(
        "no application_name puts a session of user {user:?} and database {database:?} in lane {lane}: it needs a rule `application_name: ...`"
    )]
    NoName {
        /// The lane.
        lane: String,
        /// The user, as far as it is known.
        user: String,
        /// The database, as far as it is known.
        database: String,
    },
    /// It listens on a port that only the running proxy knows.
    #[error("lanes.yaml listens on a port of the system's choice; name one")]
    NoPort,
    /// What is there is no URL.
    #[error("DATABASE_URL is no URL of PostgreSQL")]
    NoUrl,
}

/// The variables that the command would have without us.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    url: Option<Secret<String>>,
    user: Option<String>,
    database: Option<String>,
    application_name: Option<String>,
    service: Option<String>,
}

impl Surroundings {
    pub(super) fn of_process() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            url: variable("DATABASE_URL").map(Secret::new),
            user: variable("PGUSER"),
            database: variable("PGDATABASE"),
            application_name: variable("PGAPPNAME"),
            service: variable("PGSERVICE"),
        }
    }
}

/// A connection URL in its parts, as they stand there.
struct Parts<'u> {
    scheme: &'u str,
    /// User and perhaps password, before the `@`.
    login: Option<&'u str>,
    database: &'u str,
    parameters: Vec<(&'u str, &'u str)>,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let base = scheme.split('+').next().unwrap_or(scheme);
        if !["postgresql", "postgres"].contains(&base) {
            return None;
        }
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let login = place.rsplit_once('@').map(|(login, _)| login);
        let parameters = parameters
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .collect();
        Some(Self {
            scheme,
            login,
            database,
            parameters,
        })
    }

    fn user(&self) -> Option<String> {
        let login = self.login?;
        let name = login.split(':').next().unwrap_or(login);
        (!name.is_empty()).then(|| decoded(name))
    }
}

impl Environment {
    /// What the command needs for its sessions to be in the lane.
    ///
    /// # Errors
    /// [`EnvironmentProblem`].
    pub(super) fn of(
        config: &Config,
        lane: &str,
        around: &Surroundings,
    ) -> Result<Self, EnvironmentProblem> {
        if config.lane(lane).is_none() {
            let known: Vec<&str> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
            return Err(EnvironmentProblem::UnknownLane {
                lane: lane.to_owned(),
                known: known.join(", "),
            });
        }
        let url = around.url.as_ref().map(|url| url.expose().as_str());
        let parts = match url {
            Some(url) => Some(Parts::of(url).ok_or(EnvironmentProblem::NoUrl)?),
            None => None,
        };
        let own_user = std::env::var("USER").ok();
        let user = parts.as_ref().and_then(Parts::user);
        let user = user.or_else(|| around.user.clone()).or(own_user);
        let database = parts
            .as_ref()
            .map(|parts| decoded(parts.database))
            .filter(|name| !name.is_empty());
        let database = database
            .or_else(|| around.database.clone())
            .or_else(|| config.upstream.database.clone())
            .or_else(|| user.clone());
        let name = name_for(
            config,
            lane,
            around,
            user.as_deref().unwrap_or_default(),
            database.as_deref().unwrap_or_default(),
        )?;
        let (host, port) = place(config)?;
        let mut environment = Self::default();
        let login = parts.as_ref().and_then(|parts| parts.login);
        let login = login
            .map(str::to_owned)
            .or_else(|| around.user.as_deref().map(encoded));
        let url = url_for(config, parts.as_ref(), login, &host, port, &name, around);
        environment.set.push(("DATABASE_URL", url));
        environment.set.push(("PGHOST", host));
        environment.set.push(("PGPORT", port.to_string()));
        environment.set.push(("PGAPPNAME", name));
        environment.unset.push("PGHOSTADDR");
        if config.tls.is_none() {
            environment
                .unset
                .extend(["PGSSLMODE", "PGREQUIRESSL", "PGSSLNEGOTIATION"]);
        }
        if around.service.is_some() {
            let note = "PGSERVICE is set, and what the service says goes before PGHOST and PGPORT";
            environment.notes.push(note.to_owned());
        }
        if parts.is_some_and(|parts| parts.scheme.ends_with("+asyncpg")) {
            let note = "SQLAlchemy's asyncpg takes no application_name from a URL: give it server_settings, or a lane of users";
            environment.notes.push(note.to_owned());
        }
        Ok(environment)
    }
}

/// Where the proxy is reached from this machine: TCP before a unix socket, which not every driver knows.
fn place(config: &Config) -> Result<(String, u16), EnvironmentProblem> {
    let tcp = config.listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) if address.port() != 0 => Some(*address),
        _ => None,
    });
    if let Some(address) = tcp {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        return Ok((ip.to_string(), address.port()));
    }
    let socket = config.listen.iter().find_map(|address| match address {
        ListenAddress::Unix(path) => {
            let port = path.extension()?.to_str()?.parse().ok()?;
            Some((path.parent()?.display().to_string(), port))
        }
        ListenAddress::Tcp(_) => None,
    });
    socket.ok_or(EnvironmentProblem::NoPort)
}

/// An application_name that the lane's rules really match for this user and database: the one that is there if it does,
/// else one made from the rules' globs, else none at all if the user or the database decides.
fn name_for(
    config: &Config,
    lane: &str,
    around: &Surroundings,
    user: &str,
    database: &str,
) -> Result<String, EnvironmentProblem> {
    let leads_there = |name: &str| {
        let found = config.explain(&Subject {
            application_name: name,
            user,
            database,
            origin: pglanes_config::ClientAddress::Tcp(Ipv4Addr::LOCALHOST.into()).into(),
            ..Subject::default()
        });
        found.session_lane == lane
    };
    let mut candidates: Vec<String> = around.application_name.iter().cloned().collect();
    let rules = config.lanes.iter().filter(|known| known.name == lane);
    for condition in rules
        .flat_map(|lane| &lane.rules)
        .flat_map(|rule| &rule.conditions)
    {
        if let MatchCondition::ApplicationName(glob) = condition {
            let one = glob.replace('?', "1");
            candidates.push(one.replace('*', ""));
            candidates.push(one.replace('*', "-run"));
        }
    }
    candidates.push(format!("pglanes-run-{lane}"));
    let found = candidates
        .into_iter()
        .find(|name| !name.is_empty() && leads_there(name));
    found.ok_or_else(|| EnvironmentProblem::NoName {
        lane: lane.to_owned(),
        user: user.to_owned(),
        database: database.to_owned(),
    })
}

/// Parameters that say where or how to connect, which is ours to say.
const OURS: [&str; 5] = ["host", "port", "hostaddr", "application_name", "service"];

fn url_for(
    config: &Config,
    parts: Option<&Parts<'_>>,
    login: Option<String>,
    host: &str,
    port: u16,
    name: &str,
    around: &Surroundings,
) -> String {
    let scheme = parts.map_or("postgresql", |parts| parts.scheme);
    let mut url = format!("{scheme}://");
    if let Some(login) = login {
        url.push_str(&login);
        url.push('@');
    }
    let is_socket = host.starts_with('/');
    if !is_socket {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        url.push_str(&format!("{host}:{port}"));
    }
    let database = parts.map(|parts| parts.database.to_owned());
    let database = database.filter(|name| !name.is_empty());
    let database = database
        .or_else(|| around.database.as_deref().map(encoded))
        .or_else(|| config.upstream.database.as_deref().map(encoded));
    url.push('/');
    url.push_str(&database.unwrap_or_default());
    let mut parameters: Vec<String> = Vec::new();
    if is_socket {
        parameters.push(format!("host={}", encoded(host)));
        parameters.push(format!("port={port}"));
    }
    for (key, value) in parts.map_or(&[][..], |parts| &parts.parameters) {
        // Without TLS at the proxy, what insists on it would not connect.
        let encrypts = key.starts_with("ssl") || *key == "channel_binding" || *key == "gssencmode";
        if !(OURS.contains(key) || (encrypts && config.tls.is_none())) {
            parameters.push(format!("{key}={value}"));
        }
    }
    if !scheme.ends_with("+asyncpg") {
        parameters.push(format!("application_name={}", encoded(name)));
    }
    if !parameters.is_empty() {
        url.push('?');
        url.push_str(&parameters.join("&"));
    }
    url
}

/// Percent signs before all that means something in a URL.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let value = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (byte, value) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(url: Option<&str>) -> Surroundings {
        Surroundings {
            url: url.map(Secret::from),
            user: Some("me".to_owned()),
            database: Some("db".to_owned()),
            ..Surroundings::default()
        }
    }

    fn url(given: Option<&str>, lane: &str) -> String {
        let environment = Environment::of(&Config::default(), lane, &around(given)).unwrap();
        environment.set[0].1.clone()
    }

    #[test]
    fn login_database_and_other_parameters_are_kept() {
        let check = |given, expected: &str| assert_eq!(url(given, "evaluation"), expected);
        check(
            None,
            "postgresql://me@127.0.0.1:6433/db?application_name=ragchecker",
        );
        check(
            Some("postgresql://daniel:p%40ss@localhost:5432/ai_agency"),
            "postgresql://daniel:p%40ss@127.0.0.1:6433/ai_agency?application_name=ragchecker",
        );
        check(
            Some(
                "postgres+psycopg://a,b:1,c:2/x?connect_timeout=3&sslmode=require&application_name=old&host=/tmp",
            ),
            "postgres+psycopg://me@127.0.0.1:6433/x?connect_timeout=3&application_name=ragchecker",
        );
        check(
            Some("postgresql+asyncpg://a@h/x"),
            "postgresql+asyncpg://a@127.0.0.1:6433/x",
        );
    }

    #[test]
    fn the_name_is_one_that_the_rules_match() {
        assert!(url(None, "compaction").ends_with("application_name=ltst-compaction"));
        assert!(url(None, "ltst").ends_with("application_name=ltst"));
        assert!(url(None, "default").ends_with("application_name=pglanes-run-default"));
        let mut named = around(None);
        named.application_name = Some("ragchecker-7".to_owned());
        let environment = Environment::of(&Config::default(), "evaluation", &named).unwrap();
        assert!(
            environment
                .set
                .contains(&("PGAPPNAME", "ragchecker-7".to_owned()))
        );
    }

    #[test]
    fn what_cannot_be_is_said() {
        let problem = |lane: &str, around: &Surroundings| {
            Environment::of(&Config::default(), lane, around).unwrap_err()
        };
        let unknown = problem("evaluatoin", &around(None));
        assert!(
            unknown.to_string().contains("the lanes are evaluation, "),
            "{unknown}"
        );
        let strange = problem("evaluation", &around(Some("mysql://x")));
        assert_eq!(strange, EnvironmentProblem::NoUrl);
        let mut config = Config::default();
        config.lanes[0].rules.truncate(0);
        let none = Environment::of(&config, "evaluation", &around(None)).unwrap_err();
        assert!(matches!(none, EnvironmentProblem::NoName { .. }));
        config.listen = vec![ListenAddress::Tcp(([127, 0, 0, 1], 0).into())];
        let none = Environment::of(&config, "ltst", &around(None)).unwrap_err();
        assert_eq!(none, EnvironmentProblem::NoPort);
    }

    #[test]
    fn a_socket_is_named_by_its_folder() {
        let config = Config {
            listen: vec![ListenAddress::Unix("/tmp/.s.PGSQL.6433".into())],
            ..Config::default()
        };
        let environment = Environment::of(&config, "evaluation", &around(None)).unwrap();
        assert_eq!(
            environment.set[0].1,
            "postgresql://me@/db?host=%2Ftmp&port=6433&application_name=ragchecker"
        );
        assert_eq!(environment.set[1].1, "/tmp");
    }

    #[test]
    fn percent_signs_come_and_go() {
        assert_eq!(encoded("a b/é"), "a%20b%2F%C3%A9");
        assert_eq!(decoded("a%20b%2F%C3%A9%zz%4"), "a b/é%zz%4");
    }
}
