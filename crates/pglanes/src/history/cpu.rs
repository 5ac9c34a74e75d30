//! What the backends of each lane had of the processors: how long they ran, and how long they were ready to run and did not.
//!
//! Linux counts both for every process (`/proc/PID/schedstat`: nanoseconds on a processor, nanoseconds on a run queue). It is
//! a lever-free measure of who delayed whom, but only where PostgreSQL is on this host and its processes have numbers here.
//! A number is believed only while its title names the user and the database that the proxy logged in with. Parallel workers
//! are processes of their own and are not counted.

use std::collections::HashMap;
use std::time::Duration;

use pglanes_admin::report::LaneCpu;
use pglanes_config::{Config, UpstreamAddress};
use pglanes_proxy::view::ServerView;

/// What was counted of each backend at the last look.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    here: bool,
    known: HashMap<i32, Spent>,
}

/// Since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spent {
    ran: Duration,
    waited: Duration,
}

impl Cpu {
    /// Whether PostgreSQL may be on this host.
    pub(super) fn is_here(&mut self, config: &Config) {
        self.here = cfg!(target_os = "linux")
            && match &config.upstream.address {
                UpstreamAddress::Unix { .. } => true,
                UpstreamAddress::Tcp { host, .. } => {
                    let address = host.parse::<std::net::IpAddr>();
                    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
                }
            };
    }

    pub(super) fn can_be_known(&self) -> bool {
        self.here
    }

    /// What each lane's backends had since the last look; `None` where nothing can be told.
    pub(super) fn look(&mut self, servers: &[ServerView]) -> Option<Vec<LaneCpu>> {
        let before = std::mem::take(&mut self.known);
        let mut lanes: Vec<LaneCpu> = Vec::new();
        for server in servers.iter().filter(|server| server.backend > 0) {
            let Some(spent) = spent(server) else {
                continue;
            };
            self.known.insert(server.backend, spent);
            // A backend that is new has logged in meanwhile, which is nobody's transaction.
            let Some(before) = before.get(&server.backend) else {
                continue;
            };
            let ran = spent.ran.saturating_sub(before.ran);
            let waited = spent.waited.saturating_sub(before.waited);
            match lanes.iter_mut().find(|lane| lane.lane == server.lane_name) {
                Some(lane) => {
                    lane.ran += ran;
                    lane.waited += waited;
                }
                None => lanes.push(LaneCpu {
                    lane: server.lane_name.clone(),
                    ran,
                    waited,
                }),
            }
        }
        // Backends elsewhere, or in another process namespace, are not seen at all.
        (!self.known.is_empty() || servers.is_empty()).then_some(lanes)
    }
}

fn spent(server: &ServerView) -> Option<Spent> {
    let folder = format!("/proc/{}", server.backend);
    let title = std::fs::read(format!("{folder}/cmdline")).ok()?;
    if !is_of(&title, &server.user, &server.database) {
        return None;
    }
    parse(&std::fs::read_to_string(format!("{folder}/schedstat")).ok()?)
}

/// `postgres: USER DATABASE ...`, with a `cluster_name: ` between, where there is one.
fn is_of(title: &[u8], user: &str, database: &str) -> bool {
    let title = String::from_utf8_lossy(title);
    title.starts_with("postgres: ") && title.contains(&format!(" {user} {database} "))
}

fn parse(text: &str) -> Option<Spent> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok().map(Duration::from_nanos);
    Some(Spent {
        ran: next()?,
        waited: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read() {
        let spent = Spent {
            ran: Duration::from_nanos(12),
            waited: Duration::from_nanos(345),
        };
        assert_eq!(parse("12 345 6\n"), Some(spent));
        assert_eq!(parse("12\n"), None);
        assert_eq!(parse("x y\n"), None);
    }

    #[test]
    fn a_process_is_believed_only_by_its_title() {
        let title = b"postgres: me db 127.0.0.1(1234) idle\0\0";
        assert!(is_of(title, "me", "db"));
        assert!(!is_of(title, "me", "other"));
        assert!(is_of(b"postgres: main: me db [local] idle\0", "me", "db"));
        assert!(!is_of(b"vim postgres: me db \0", "me", "db"));
    }
}
