//! What may be said at the console, and what each command needs: one table, so that no command can be without its check
//! (CVE-2026-6667 was one that was).

use pglanes_proxy::{Role, Scope};

/// A SHOW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Help,
    Version,
    Config,
    Clients,
    Servers,
    Pools,
    PoolsExtended,
    Lists,
    Databases,
    Users,
    Stats,
    StatsTotals,
    StatsAverages,
    Totals,
    Mem,
    Sockets,
    ActiveSockets,
    Fds,
    DnsHosts,
    DnsZones,
    State,
    Peers,
    PeerPools,
    Lanes,
    Queues,
    Throttles,
    Leases,
    Rules,
    Pinned,
    Aliases,
    Events,
    Baselines,
    Runs,
}

impl Show {
    /// Every one by its name.
    pub(super) const ALL: [(&'static str, Self); 33] = [
        ("help", Self::Help),
        ("version", Self::Version),
        ("config", Self::Config),
        ("clients", Self::Clients),
        ("servers", Self::Servers),
        ("pools", Self::Pools),
        ("pools_extended", Self::PoolsExtended),
        ("lists", Self::Lists),
        ("databases", Self::Databases),
        ("users", Self::Users),
        ("stats", Self::Stats),
        ("stats_totals", Self::StatsTotals),
        ("stats_averages", Self::StatsAverages),
        ("totals", Self::Totals),
        ("mem", Self::Mem),
        ("sockets", Self::Sockets),
        ("active_sockets", Self::ActiveSockets),
        ("fds", Self::Fds),
        ("dns_hosts", Self::DnsHosts),
        ("dns_zones", Self::DnsZones),
        ("state", Self::State),
        ("peers", Self::Peers),
        ("peer_pools", Self::PeerPools),
        ("lanes", Self::Lanes),
        ("queues", Self::Queues),
        ("throttles", Self::Throttles),
        ("leases", Self::Leases),
        ("rules", Self::Rules),
        ("pinned", Self::Pinned),
        ("aliases", Self::Aliases),
        ("events", Self::Events),
        ("baselines", Self::Baselines),
        ("runs", Self::Runs),
    ];
}

/// What a SHUTDOWN waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Nothing,
    Servers,
    Clients,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Show(Show),
    /// A question that drivers ask of any server: one column, one value.
    Probe {
        column: &'static str,
        value: Probed,
    },
    /// Something that drivers say to any server and that changes nothing here; answered with this tag.
    Ignored(&'static str),
    Begin,
    /// With its tag.
    End(&'static str),
    Reload,
    Pause(Scope),
    Resume(Scope),
    Reconnect(Scope),
    Kill(Option<String>),
    KillClient(i32),
    Cancel(i32),
    Enable(String),
    Disable(String),
    WaitClose(Scope),
    Suspend,
    Set {
        key: String,
        value: String,
    },
    Lease {
        lane: String,
        seconds: u64,
    },
    Release(String),
    Shutdown(Waits),
}

/// What a probe is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Fixed(&'static str),
    Number(i32),
    Version,
    Database,
    User,
}

impl Command {
    /// Who may say it. SHOW FDS would give away other people's connections, so it is not for those who only look,
    /// although it is answered with a refusal in any case.
    pub(super) const fn needs(&self) -> Role {
        match self {
            Self::Show(show) => match show {
                Show::Fds => Role::Admin,
                Show::Help
                | Show::Version
                | Show::Config
                | Show::Clients
                | Show::Servers
                | Show::Pools
                | Show::PoolsExtended
                | Show::Lists
                | Show::Databases
                | Show::Users
                | Show::Stats
                | Show::StatsTotals
                | Show::StatsAverages
                | Show::Totals
                | Show::Mem
                | Show::Sockets
                | Show::ActiveSockets
                | Show::DnsHosts
                | Show::DnsZones
                | Show::State
                | Show::Peers
                | Show::PeerPools
                | Show::Lanes
                | Show::Queues
                | Show::Throttles
                | Show::Leases
                | Show::Rules
                | Show::Pinned
                | Show::Aliases
                | Show::Events
                | Show::Baselines
                | Show::Runs => Role::Stats,
            },
            Self::Probe { .. } | Self::Ignored(_) | Self::Begin | Self::End(_) => Role::Stats,
            Self::Reload
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Reconnect(_)
            | Self::Kill(_)
            | Self::KillClient(_)
            | Self::Cancel(_)
            | Self::Enable(_)
            | Self::Disable(_)
            | Self::WaitClose(_)
            | Self::Suspend
            | Self::Set { .. }
            | Self::Lease { .. }
            | Self::Release(_)
            | Self::Shutdown(_) => Role::Admin,
        }
    }

    /// The tag that tells its client that it is done.
    pub(super) const fn tag(&self) -> &'static str {
        match self {
            Self::Show(_) => "SHOW",
            Self::Probe { .. } => "SELECT",
            Self::Ignored(tag) | Self::End(tag) => tag,
            Self::Begin => "BEGIN",
            Self::Reload => "RELOAD",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Reconnect(_) => "RECONNECT",
            Self::Kill(_) => "KILL",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::Cancel(_) => "CANCEL",
            Self::Enable(_) => "ENABLE",
            Self::Disable(_) => "DISABLE",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::Suspend => "SUSPEND",
            Self::Set { .. } => "SET",
            Self::Lease { .. } => "LEASE",
            Self::Release(_) => "RELEASE",
            Self::Shutdown(_) => "SHUTDOWN",
        }
    }

    /// As the audit log has it: without quotes, and without what was only whitespace.
    pub(super) fn shown(&self) -> String {
        let tag = self.tag();
        match self {
            Self::Pause(scope)
            | Self::Resume(scope)
            | Self::Reconnect(scope)
            | Self::WaitClose(scope) => {
                format!("{tag} {scope}")
            }
            Self::Kill(database) => format!("{tag} {}", database.as_deref().unwrap_or("all")),
            Self::KillClient(id) | Self::Cancel(id) => format!("{tag} {id}"),
            Self::Enable(name) | Self::Disable(name) | Self::Release(name) => {
                format!("{tag} {name}")
            }
            Self::Set { key, value } => format!("{tag} {key} = {value}"),
            Self::Lease { lane, seconds } => format!("{tag} {lane} {seconds} s"),
            Self::Shutdown(Waits::Nothing) => tag.to_owned(),
            Self::Shutdown(Waits::Servers) => format!("{tag} WAIT_FOR_SERVERS"),
            Self::Shutdown(Waits::Clients) => format!("{tag} WAIT_FOR_CLIENTS"),
            Self::Show(_)
            | Self::Probe { .. }
            | Self::Ignored(_)
            | Self::Begin
            | Self::End(_)
            | Self::Reload
            | Self::Suspend => tag.to_owned(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One of every command. A new one is missed by this list only if its tag is another's: the test below counts.
    pub(in crate::console) fn one_of_each() -> Vec<Command> {
        let scope = || Scope::Database("d".into());
        let mut all: Vec<Command> = Show::ALL
            .iter()
            .map(|(_, show)| Command::Show(*show))
            .collect();
        all.extend([
            Command::Probe {
                column: "version",
                value: Probed::Version,
            },
            Command::Ignored("SET"),
            Command::Begin,
            Command::End("COMMIT"),
            Command::Reload,
            Command::Pause(scope()),
            Command::Resume(scope()),
            Command::Reconnect(scope()),
            Command::Kill(Some("d".into())),
            Command::KillClient(1),
            Command::Cancel(1),
            Command::Enable("d".into()),
            Command::Disable("d".into()),
            Command::WaitClose(scope()),
            Command::Suspend,
            Command::Set {
                key: "limits.clients".into(),
                value: "7".into(),
            },
            Command::Lease {
                lane: "l".into(),
                seconds: 60,
            },
            Command::Release("1".into()),
            Command::Shutdown(Waits::Nothing),
        ]);
        all
    }

    #[test]
    fn every_command_that_changes_something_needs_an_admin_cve_2026_6667() {
        let looks = ["SHOW", "SELECT", "SET", "BEGIN", "COMMIT"];
        let mut admin_only = Vec::new();
        for command in one_of_each() {
            let changes = !looks.contains(&command.tag()) || matches!(command, Command::Set { .. });
            let is_fds = command == Command::Show(Show::Fds);
            let expected = if changes || is_fds {
                Role::Admin
            } else {
                Role::Stats
            };
            assert_eq!(command.needs(), expected, "{command:?}");
            if expected == Role::Admin {
                admin_only.push(command.tag());
            }
        }
        assert_eq!(
            admin_only,
            [
                "SHOW",
                "RELOAD",
                "PAUSE",
                "RESUME",
                "RECONNECT",
                "KILL",
                "KILL_CLIENT",
                "CANCEL",
                "ENABLE",
                "DISABLE",
                "WAIT_CLOSE",
                "SUSPEND",
                "SET",
                "LEASE",
                "RELEASE",
                "SHUTDOWN",
            ]
        );
    }
}
