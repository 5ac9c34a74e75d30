//! The validated model: what a lanes.yaml means. Values here hold together; nothing needs to be checked again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pglanes_auth::{Md5Hash, Secret, StoredCredential};

use crate::access::{AccessRule, AuthQuery};
use crate::admin::{Admin, StateFolder};
use crate::diagnostic::Diagnostic;
use crate::lane::{Lane, Throttle};
use crate::tls::{ListenTls, UpstreamTls};
use crate::userlist::Userlist;

/// A lanes.yaml, understood. Its `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listen: Vec<ListenAddress>,
    /// Where metrics and health are served; `None` is `off`.
    pub http: Option<SocketAddr>,
    /// Whether addresses beyond loopback are allowed.
    pub remote: RemoteClients,
    /// Who may look at the proxy and change it.
    pub admin: Admin,
    /// Where what outlives a restart is kept.
    pub state: StateFolder,
    /// The server behind the lanes.
    pub upstream: Upstream,
    /// TLS for clients; `None` is off.
    pub tls: Option<ListenTls>,
    /// How clients prove who they are where there are no rules.
    pub authentication: Authentication,
    /// Who may come in and how, the first rule that fits; without any, `authentication` holds for all.
    pub access: Vec<AccessRule>,
    /// The credentials of `users_file`.
    pub userlist: Userlist,
    /// Where to ask for the credentials of users that neither file names.
    pub auth_query: Option<AuthQuery>,
    /// Databases with aliases.
    pub databases: Vec<Database>,
    /// Users with a credential, an upstream password or aliases.
    pub users: Vec<User>,
    /// Bounds on what clients may hold.
    pub limits: Limits,
    /// How long running transactions may take to finish after SIGTERM.
    pub shutdown_grace: Duration,
    /// Whether a changed file takes effect by itself.
    pub reload: Reload,
    /// What is logged.
    pub logging: Logging,
    /// How the server is looked at past the lanes; `None` is not at all.
    pub observe: Option<Observe>,
    /// What is written down for reports; `None` is nothing.
    pub history: Option<History>,
    /// The lanes in the order in which they match; `default` is there and last.
    pub lanes: Vec<Lane>,
    /// What yields to what.
    pub throttles: Vec<Throttle>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Host and port.
    Tcp(SocketAddr),
    /// The path of the socket itself, such as `/tmp/.s.PGSQL.6433`.
    Unix(PathBuf),
}

/// Whether clients of other machines are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteClients {
    /// Loopback and unix sockets only.
    Refused,
    /// Any address may be listened on.
    Allowed,
}

/// The PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub address: UpstreamAddress,
    /// Whether its unix socket is looked for.
    pub unix_socket: UnixSocket,
    /// TLS over TCP; a unix socket never has it.
    pub tls: UpstreamTls,
    /// Server connections of all lanes together.
    pub slots: u32,
    /// How long opening one may take.
    pub connect_timeout: Duration,
    /// The URL's user: for the proxy's own questions. Clients' work runs as the client's user.
    pub user: Option<String>,
    /// The URL's database: for the proxy's own questions.
    pub database: Option<String>,
    /// The password for users that have none of their own.
    pub password: Option<Secret<String>>,
    /// What the server is told of clients' names.
    pub application_name: ApplicationName,
}

/// Which application_name a server connection carries while a session has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplicationName {
    /// The client's, and nothing else.
    #[default]
    Keep,
    /// The client's; where it has none, the lane's in brackets.
    Lane,
    /// The client's, and behind it the lane's in brackets.
    Both,
}

/// Where PostgreSQL is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// Over TCP.
    Tcp {
        /// A host's name or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// In a directory that holds `.s.PGSQL.PORT`.
    Unix {
        /// The directory.
        directory: PathBuf,
        /// The port, which names the socket.
        port: u16,
    },
}

/// Whether a server that is named by host is reached through a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixSocket {
    /// Where the host is this machine, a socket is there, and the URL does not insist on TLS.
    Auto,
    /// Never.
    Off,
    /// Through this directory, or this socket.
    Path(PathBuf),
}

impl Upstream {
    /// The sockets to try before TCP, best first. Whether one exists is for the caller to find out.
    pub fn unix_sockets(&self) -> Vec<PathBuf> {
        let named = |directory: &str, port: u16| PathBuf::from(directory).join(socket_name(port));
        match (&self.address, &self.unix_socket) {
            (UpstreamAddress::Unix { directory, port }, _) => {
                vec![directory.join(socket_name(*port))]
            }
            (UpstreamAddress::Tcp { .. }, UnixSocket::Off) => Vec::new(),
            // Who asked for TLS is not given a socket that was merely found.
            (UpstreamAddress::Tcp { .. }, UnixSocket::Auto) if self.tls.mode.is_required() => {
                Vec::new()
            }
            (UpstreamAddress::Tcp { port, .. }, UnixSocket::Path(path)) => {
                let is_socket = path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(".s.PGSQL."));
                vec![if is_socket {
                    path.clone()
                } else {
                    path.join(socket_name(*port))
                }]
            }
            (UpstreamAddress::Tcp { host, port }, UnixSocket::Auto) => match host.as_str() {
                // Homebrew and the sources use /tmp, Debian and PGDG /var/run/postgresql.
                "localhost" | "127.0.0.1" | "::1" => {
                    vec![named("/var/run/postgresql", *port), named("/tmp", *port)]
                }
                _ => Vec::new(),
            },
        }
    }

    /// Whether the server is on this machine, as far as its address tells.
    pub fn is_local(&self) -> bool {
        match &self.address {
            UpstreamAddress::Unix { .. } => true,
            UpstreamAddress::Tcp { host, .. } => {
                matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1")
                    || matches!(self.unix_socket, UnixSocket::Path(_))
            }
        }
    }
}

/// The name that PostgreSQL gives its socket for a port.
pub fn socket_name(port: u16) -> String {
    format!(".s.PGSQL.{port}")
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By what is known of the user, else by its login at PostgreSQL, carried out end to end.
    Relay,
    /// Every client is who it says; only with loopback addresses.
    Trust,
    /// By SCRAM-SHA-256 against [`User::credential`], `users_file` or `auth_query`.
    ScramSha256,
}

/// A database that has other names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its name at PostgreSQL.
    pub name: String,
    /// The names that clients use.
    pub aliases: Vec<String>,
}

/// A user that the file says something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name at PostgreSQL.
    pub name: String,
    /// What a client must prove to be this user.
    pub credential: Option<StoredCredential>,
    /// Its other names.
    pub aliases: Vec<UserAlias>,
    /// Its password at PostgreSQL, before [`Upstream::password`].
    pub upstream_password: Option<Secret<String>>,
}

/// Another name of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAlias {
    /// The name that clients use.
    pub name: String,
    /// Its own credential; without one the user's holds.
    pub credential: Option<StoredCredential>,
}

/// Bounds on what clients may hold. Each has a default that is documented in the [reference](mod@crate::reference).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected at once.
    pub clients: u32,
    /// How long a login may take.
    pub login_timeout: Duration,
    /// The largest statement, in bytes, that is held in memory while it waits for a slot.
    pub message_before_slot: u64,
    /// How long a client may be silent inside a transaction.
    pub client_idle_in_transaction: Option<Duration>,
    /// How long the rest of a message may be in coming, once a server connection waits for it.
    pub half_sent_message: Option<Duration>,
    /// How long a client may leave its result unread.
    pub slow_reader: Option<Duration>,
    /// Cancel requests in progress at once.
    pub cancels: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 10_000,
            login_timeout: Duration::from_secs(15),
            message_before_slot: 1024 * 1024,
            client_idle_in_transaction: None,
            half_sent_message: Some(Duration::from_secs(60)),
            slow_reader: None,
            cancels: 64,
        }
    }
}

/// How a changed file takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// By itself, and on SIGHUP.
    Watch,
    /// On SIGHUP.
    OnSignal,
}

/// What is written down in the state folder of what the lanes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Between two records.
    pub interval: Duration,
    /// How long they are kept.
    pub keep: Duration,
    /// How many bytes all of them may take.
    pub size: u64,
}

/// Looking at who works in the server, who waits for whom, and who connects past the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Between two looks.
    pub interval: Duration,
}

/// What is logged and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// For whom.
    pub format: LogFormat,
    /// How much.
    pub level: LogLevel,
}

/// For whom log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// People.
    Human,
    /// Machines.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What is probably wrong.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl Config {
    /// The real name of the database that a client asks for, and whether the client used an alias.
    pub fn real_database<'c>(&'c self, asked: &'c str) -> (&'c str, NameUsed) {
        let alias = |database: &&Database| database.aliases.iter().any(|alias| alias == asked);
        match self.databases.iter().find(alias) {
            Some(database) => (&database.name, NameUsed::Alias),
            None => (asked, NameUsed::Real),
        }
    }

    /// The real name of the user that a client says it is, the credential to check, and whether it used an alias.
    pub fn real_user<'c>(&'c self, asked: &'c str) -> ResolvedUser<'c> {
        for user in &self.users {
            let own = user.credential.as_ref();
            let own = own.or_else(|| self.userlist.get(&user.name));
            if user.name == asked {
                return ResolvedUser {
                    name: &user.name,
                    credential: own,
                    credential_of: NameUsed::Real,
                    used: NameUsed::Real,
                };
            }
            if let Some(alias) = user.aliases.iter().find(|alias| alias.name == asked) {
                let of_alias = alias.credential.as_ref();
                return ResolvedUser {
                    name: &user.name,
                    credential: of_alias.or(own),
                    credential_of: match of_alias {
                        Some(_) => NameUsed::Alias,
                        None => NameUsed::Real,
                    },
                    used: NameUsed::Alias,
                };
            }
        }
        ResolvedUser {
            name: asked,
            credential: self.userlist.get(asked),
            credential_of: NameUsed::Real,
            used: NameUsed::Real,
        }
    }

    /// The password for PostgreSQL of a user by its real name.
    pub fn upstream_password(&self, user: &str) -> Option<&Secret<String>> {
        self.own_upstream_password(user)
            .or(self.upstream.password.as_ref())
    }

    /// The same, but only one that was given for this very user.
    pub fn own_upstream_password(&self, user: &str) -> Option<&Secret<String>> {
        let own = self.users.iter().find(|entry| entry.name == user);
        let listed = || match self.userlist.get(user) {
            Some(StoredCredential::Password(password)) => Some(password),
            _ => None,
        };
        own.and_then(|entry| entry.upstream_password.as_ref())
            .or_else(listed)
    }

    /// The md5 hash that logs a user in at a PostgreSQL that asks for md5, where `users_file` has no more than that.
    pub fn upstream_md5(&self, user: &str) -> Option<&Md5Hash> {
        match self.userlist.get(user) {
            Some(StoredCredential::Md5(hash)) => Some(hash),
            _ => None,
        }
    }

    /// The lane of that name.
    pub fn lane(&self, name: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.name == name)
    }

    /// The settings that a lane's connections start with, in the order of the file; none for an unknown lane.
    pub fn envelope(&self, lane: &str) -> &[(String, String)] {
        self.lane(lane).map_or(&[], |lane| &lane.settings)
    }
}

/// Which of its names a client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameUsed {
    /// The name at PostgreSQL.
    Real,
    /// An alias; logged once a name and counted.
    Alias,
}

/// Who a client is, by [`Config::real_user`].
#[derive(Clone, Copy, Debug)]
pub struct ResolvedUser<'c> {
    /// The name at PostgreSQL.
    pub name: &'c str,
    /// What the client must prove where the method asks for it.
    pub credential: Option<&'c StoredCredential>,
    /// Whose that is: an alias may have one of its own, which PostgreSQL does not know.
    pub credential_of: NameUsed,
    /// Which name it used.
    pub used: NameUsed,
}
