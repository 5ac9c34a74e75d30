//! What is to be said about a connection.

use std::collections::BTreeMap;

use pglanes_config::{Config, ListenAddress, UpstreamAddress};

use super::found::{Found, Kind, Part};
use super::probe::{Login, Outcome};
use super::rewrite::{Goal, is_loopback};

/// The proxy, the server, and old names, as lanes.yaml has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct House {
    /// Ports of this machine that the proxy listens on; the first is where connections are brought.
    pub proxy_ports: Vec<u16>,
    /// The server's host.
    pub server_host: String,
    /// The server's port.
    pub server_port: u16,
    /// Old names of databases, and the real ones.
    pub databases: BTreeMap<String, String>,
    /// Old names of users.
    pub users: BTreeMap<String, String>,
}

impl House {
    /// Reads it out of a lanes.yaml.
    pub fn of(config: &Config) -> Self {
        let port = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        };
        let (server_host, server_port) = match &config.upstream.address {
            UpstreamAddress::Tcp { host, port } => (host.clone(), *port),
            UpstreamAddress::Unix { port, .. } => (String::new(), *port),
        };
        let databases = config.databases.iter();
        let users = config.users.iter();
        Self {
            proxy_ports: config.listen.iter().filter_map(port).collect(),
            server_host,
            server_port,
            databases: databases
                .flat_map(|database| {
                    database
                        .aliases
                        .iter()
                        .map(|alias| (alias.clone(), database.name.clone()))
                })
                .collect(),
            users: users
                .flat_map(|user| {
                    user.aliases
                        .iter()
                        .map(|alias| (alias.name.clone(), user.name.clone()))
                })
                .collect(),
        }
    }

    fn is_same(&self, host: &str) -> bool {
        host == self.server_host || is_loopback(host) && is_loopback(&self.server_host)
    }
}

/// Something to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// A word for programs: `missing-database`, `wrong-credentials`, `bypasses-proxy`, `no-application-name`, ...
    pub code: &'static str,
    /// For people, with what would be right.
    pub text: String,
}

/// All about one connection; nothing where it is as it should be.
pub fn remarks(found: &Found, outcome: &Outcome, house: &House, own_user: &str) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut say = |code, text: String| remarks.push(Remark { code, text });
    let named = |part: &Option<Part>, names: &BTreeMap<String, String>| {
        part.as_ref()
            .and_then(|part| names.get(&part.value).cloned())
    };
    match outcome {
        Outcome::Works | Outcome::NotTried(_) => {}
        Outcome::MissingDatabase(why) => say(
            "missing-database",
            match named(&found.parts.database, &house.databases) {
                Some(real) => format!("{why}; lanes.yaml knows it as an old name of {real}"),
                None => format!(
                    "{why}; name the real one (--database OLD=REAL, or databases: aliases in lanes.yaml)"
                ),
            },
        ),
        Outcome::WrongCredentials(why) => say(
            "wrong-credentials",
            match named(&found.parts.user, &house.users) {
                Some(real) => format!("{why}; through the proxy it is an old name of {real}"),
                None => format!(
                    "{why}; make the user, mend the password, or give it as an alias (users: in lanes.yaml)"
                ),
            },
        ),
        Outcome::Refused(why) => say("refused", why.clone()),
        Outcome::Unreachable(why) => say("unreachable", why.clone()),
    }
    if found.dynamic {
        say(
            "dynamic",
            "a part of it is only known when the program runs: look at it yourself".to_owned(),
        );
        return remarks;
    }
    if bypasses(found, house, own_user) {
        say(
            "bypasses-proxy",
            format!(
                "goes to PostgreSQL past the lanes; the proxy is at port {}",
                proxy_port(house)
            ),
        );
    }
    if found.parts.application.is_none() {
        say(
            "no-application-name",
            "lacks an application_name, by which lanes are chosen".to_owned(),
        );
    }
    if !remarks.is_empty()
        && let Kind::Command(program) = found.kind
        && let Some(goal) = goal(found, house, own_user, None)
    {
        let text = as_written(found, program, &goal);
        remarks.push(Remark {
            code: "write",
            text,
        });
    }
    remarks
}

/// A command line as it would be right, for people to write.
fn as_written(found: &Found, program: &str, goal: &Goal) -> String {
    let value = |part: &Option<Part>| part.as_ref().map(|part| part.value.clone());
    let name = value(&found.parts.application).unwrap_or_else(|| "NAME".to_owned());
    let mut text = format!(
        "PGAPPNAME={name} {program} -h {} -p {}",
        goal.host, goal.port
    );
    if let Some(user) = value(&found.parts.user) {
        text += &format!(" -U {user}");
    }
    // One that the program only goes to in order to make or drop others stands nowhere in the line.
    let database = found.parts.database.as_ref();
    if let Some(database) = database.filter(|part| !part.span.is_empty()) {
        let name = goal.database.as_ref().unwrap_or(&database.value);
        text += &format!(" -d {name}");
    }
    text + ", and the rest as it is"
}

fn proxy_port(house: &House) -> u16 {
    house.proxy_ports.first().copied().unwrap_or(6433)
}

fn bypasses(found: &Found, house: &House, own_user: &str) -> bool {
    Login::of(found, own_user).is_some_and(|login| {
        let (host, port) = login.place();
        port == house.server_port && house.is_same(host)
    })
}

/// What a fix would bring about; `None` for connections to other servers, which are none of the proxy's business.
pub fn goal(
    found: &Found,
    house: &House,
    own_user: &str,
    application: Option<String>,
) -> Option<Goal> {
    let login = Login::of(found, own_user)?;
    let (host, port) = login.place();
    let at_proxy = is_loopback(host) && house.proxy_ports.contains(&port);
    if !at_proxy && !bypasses(found, house, own_user) {
        return None;
    }
    let database = found
        .parts
        .database
        .as_ref()
        .and_then(|part| house.databases.get(&part.value).cloned());
    Some(Goal {
        host: "localhost".to_owned(),
        port: if at_proxy { port } else { proxy_port(house) },
        database,
        application,
    })
}

/// A name for a program that gives none: its file's, as far as it can stand in a URL as it is.
pub fn application_name(path: &std::path::Path) -> Option<String> {
    const SOURCES: &[&str] = &["py", "sh", "rb", "js", "ts", "go", "rs", "java", "ipynb"];
    let of = if path
        .extension()
        .is_some_and(|ending| SOURCES.contains(&ending.to_string_lossy().as_ref()))
    {
        path.file_stem()
    } else {
        path.parent().and_then(|folder| folder.file_name())
    };
    let name: String = of?
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        .take(63)
        .collect();
    (!name.is_empty()).then_some(name)
}
