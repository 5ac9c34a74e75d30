//! Who may look at the proxy and change it, and where it keeps what outlives a restart.

use std::path::{Path, PathBuf};

use pglanes_auth::Secret;

use crate::model::{Config, ListenAddress};
use crate::secrets::Surroundings;

/// The user whom the token opens the console to, whatever [`Admin::users`] says.
pub const ADMIN_USER: &str = "pglanes";
/// The most names of `admin.users` and of `admin.stats_users`.
pub const MAXIMUM_ADMIN_USERS: usize = 1000;
/// The shortest token, in bytes: a shorter one could be guessed.
pub const MINIMUM_TOKEN_BYTES: usize = 16;
/// The longest token, in bytes.
pub const MAXIMUM_TOKEN_BYTES: usize = 1024;

/// The folder's name below the one that the system has for such things.
const NAME: &str = "pglanes";

/// Who may look at the proxy and change it. Whoever has the token may do both, as the user [`ADMIN_USER`] of the console
/// and over HTTP; so without any configuration the user who runs the proxy may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Users of the console who may change things. They prove themselves as for any database.
    pub users: Vec<String>,
    /// Users of the console who may look.
    pub stats_users: Vec<String>,
    /// The token, where the file names one; else `serve` makes one and keeps it in the state folder.
    pub token: Option<Secret<String>>,
}

/// Where what outlives a restart is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StateFolder {
    /// Where this system keeps such things of a user.
    #[default]
    Usual,
    /// Here.
    At(PathBuf),
    /// Nowhere: nothing outlives a restart.
    Off,
}

impl StateFolder {
    /// The folder for the proxy on this port; `None` where nothing is kept, or no home is known.
    pub fn for_port(&self, port: u16, surroundings: &dyn Surroundings) -> Option<PathBuf> {
        let base = match self {
            Self::Usual => usual(surroundings)?,
            Self::At(path) => surroundings.resolved(path),
            Self::Off => return None,
        };
        Some(base.join(port.to_string()))
    }
}

fn usual(surroundings: &dyn Surroundings) -> Option<PathBuf> {
    let folder = |name: &str| {
        let value = surroundings.variable(name)?;
        // A relative one would be another in each folder that a command is given in; XDG says to leave it out.
        Path::new(value.expose())
            .is_absolute()
            .then(|| PathBuf::from(value.expose()))
    };
    if let Some(state) = folder("XDG_STATE_HOME") {
        return Some(state.join(NAME));
    }
    // systemd's StateDirectory=, where there is no home.
    if let Some(state) = folder("STATE_DIRECTORY") {
        return Some(state);
    }
    let home = folder("HOME")?;
    let below = if cfg!(target_os = "macos") {
        "Library/Application Support"
    } else {
        ".local/state"
    };
    Some(home.join(below).join(NAME))
}

impl Config {
    /// The port that tells this proxy from others of the machine: the first that clients connect to. Zero where the system
    /// chooses it.
    pub fn first_port(&self) -> u16 {
        let of_tcp = self.listen.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        });
        let of_socket = || {
            self.listen.iter().find_map(|address| match address {
                ListenAddress::Unix(path) => path.extension()?.to_str()?.parse().ok(),
                ListenAddress::Tcp(_) => None,
            })
        };
        of_tcp.or_else(of_socket).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read;

    /// Only these variables are set.
    struct Variables(&'static [(&'static str, &'static str)]);

    impl Surroundings for Variables {
        fn variable(&self, name: &str) -> Option<Secret<String>> {
            let found = self.0.iter().find(|(known, _)| *known == name)?;
            Some(Secret::from(found.1))
        }

        fn secret_file(&self, _: &Path) -> Result<Secret<String>, String> {
            Err("there is none".to_owned())
        }
    }

    #[test]
    fn the_usual_folder_is_the_systems() {
        let check = |variables, expected: Option<&str>| {
            let found = StateFolder::Usual.for_port(6433, &Variables(variables));
            assert_eq!(found, expected.map(PathBuf::from), "{variables:?}");
        };
        check(
            &[("XDG_STATE_HOME", "/x"), ("HOME", "/h")],
            Some("/x/pglanes/6433"),
        );
        check(
            &[("STATE_DIRECTORY", "/var/lib/p")],
            Some("/var/lib/p/6433"),
        );
        check(&[("XDG_STATE_HOME", "relative")], None);
        check(&[], None);
        let home: &[_] = &[("HOME", "/h")];
        if cfg!(target_os = "macos") {
            check(home, Some("/h/Library/Application Support/pglanes/6433"));
        } else {
            check(home, Some("/h/.local/state/pglanes/6433"));
        }
    }

    #[test]
    fn a_folder_may_be_named_or_be_nowhere() {
        let nothing = Variables(&[]);
        let folder = |text: &str| read(text).unwrap().state.for_port(1, &nothing);
        assert_eq!(folder("state: /s\n"), Some("/s/1".into()));
        assert_eq!(folder("state: off\n"), None);
        assert_eq!(folder(""), None);
    }

    #[test]
    fn the_first_port_tells_proxies_apart() {
        let port = |listen: &str| read(&format!("listen: {listen}\n")).unwrap().first_port();
        assert_eq!(port("[/tmp/.s.PGSQL.7000, 127.0.0.1:6500]"), 6500);
        assert_eq!(port("/tmp/.s.PGSQL.7000"), 7000);
        assert_eq!(port("127.0.0.1:0"), 0);
    }

    #[test]
    fn admins_are_named_and_their_token_is_never_written_out() {
        let config =
            read("admin: { users: [me], stats_users: grafana, token: { env: CANARY_TOKEN } }\n");
        let admin = config.unwrap().admin;
        assert_eq!(admin.users, ["me"]);
        assert_eq!(admin.stats_users, ["grafana"]);
        assert!(admin.token.is_some());
        for (text, right) in [
            ("admin: { token: canary-Zx81 }", "never stands in this file"),
            ("admin: { token: { env: EMPTY } }", "has 16 to 1024"),
            ("admin: { token: { env: CANARY_1 } }", "has 16 to 1024"),
            ("admin: { users: [''] }", "a name is not empty"),
            ("admin: { users: [me, me] }", "stands twice"),
            ("admin: { users: [me], stats_users: [me] }", "stands twice"),
            ("state: relative/path", "begins with `/`"),
        ] {
            let error = read(&format!("{text}\n")).unwrap_err().to_string();
            assert!(error.contains(right), "{text}: {error}");
            assert!(!error.contains(crate::testing::CANARY), "{text}: {error}");
        }
    }
}
