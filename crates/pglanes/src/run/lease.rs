//! The lease of a command: taken before it starts, renewed while it runs, ended with it. A proxy that is started anew
//! knows no leases, so one that is unknown is taken again.

use std::net::SocketAddr;
use std::time::Duration;

use pglanes_config::{Config, Mode};
use serde_json::{Value, json};
use thiserror::Error;

use crate::ask::{AskError, ask};
use crate::state::token_of;

/// How often a lease is renewed within its time to live: two renewals may fail.
const RENEWALS: u32 = 3;
/// How long a proxy that does not answer is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The longest name of a holder that a proxy takes, in bytes.
const LONGEST_HOLDER: usize = 200;

/// Why there is no lease.
#[derive(Debug, Error)]
pub(super) enum LeaseProblem {
    /// The proxy is not there to be asked.
    #[error("{0}")]
    Nobody(String),
    /// It says no.
    #[error("the proxy gives no lease: {0}")]
    Refused(String),
}

/// What is to be said where nothing yields to a command in this lane.
///
/// Whatever a throttle in force watches on the lane will do, not `leased` alone: the command's transactions make its lane busy,
/// and its sessions make it connected. So will an objective that is kept.
pub(super) fn unprotected(config: &Config, lane: &str) -> Option<String> {
    let throttles = config.throttles.iter();
    let throttles = throttles.filter(|throttle| throttle.watched == lane);
    let objective = config.lane(lane).and_then(|lane| lane.objective.as_ref());
    let mut modes: Vec<Mode> = throttles.map(|throttle| throttle.mode).collect();
    modes.extend(objective.map(|objective| objective.mode));
    let why = if modes.is_empty() {
        "no throttle watches it and it has no objective"
    } else if modes.contains(&Mode::Enforce) {
        return None;
    } else {
        "of its throttles and its objective none has `mode: enforce`"
    };
    Some(format!(
        "no other lane yields to lane {lane}: {why} (lanes.yaml: throttles, objective); the lease only marks the run for `pglanes report`"
    ))
}

/// Who holds the lease, for people: the program's name and the number of this process. Not its arguments, which may hold
/// secrets.
pub(super) fn holder(command: &[String]) -> String {
    let program = command.first().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or(program);
    let name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    let process = format!("pglanes run [{}]: ", std::process::id());
    let mut holder = process + &name;
    while holder.len() > LONGEST_HOLDER {
        holder.pop();
    }
    holder
}

/// A lease that is kept.
pub(super) struct Held {
    config: Config,
    address: SocketAddr,
    lane: String,
    holder: String,
    time_to_live: Duration,
    /// None while the proxy is away, or was started anew.
    id: Option<String>,
    missed: bool,
}

impl Held {
    /// Takes the lease.
    ///
    /// # Errors
    /// [`LeaseProblem`].
    pub(super) async fn take(
        config: &Config,
        lane: &str,
        holder: String,
        time_to_live: Duration,
    ) -> Result<Self, LeaseProblem> {
        let Some(address) = config.http else {
            let why = "lanes.yaml says `http: off`, and leases are taken over HTTP".to_owned();
            return Err(LeaseProblem::Refused(why));
        };
        let mut held = Self {
            config: config.clone(),
            address,
            lane: lane.to_owned(),
            holder,
            time_to_live,
            id: None,
            missed: false,
        };
        held.id = Some(held.take_again().await?);
        Ok(held)
    }

    async fn ask(&self, line: &str, body: &str) -> Result<(u16, Value), LeaseProblem> {
        // Read anew each time: a proxy that was started anew may have another.
        let token = token_of(&self.config);
        let asked = ask(self.address, line, token.as_ref().ok(), body).await;
        match (asked, token) {
            (Err(error @ AskError::Unreachable { .. }), _) => {
                Err(LeaseProblem::Nobody(error.to_string()))
            }
            (Err(error), _) => Err(LeaseProblem::Refused(error.to_string())),
            // Its own words would not say where the token was looked for.
            (Ok((401, _)), Err(why)) => Err(LeaseProblem::Refused(why)),
            (Ok(answer), _) => Ok(answer),
        }
    }

    async fn take_again(&self) -> Result<String, LeaseProblem> {
        let wanted = json!({
            "lane": self.lane,
            "holder": self.holder,
            "ttl_seconds": self.time_to_live.as_secs_f64(),
        });
        let (status, answer) = self.ask("POST /leases", &wanted.to_string()).await?;
        match (status, answer["id"].as_str()) {
            (201, Some(id)) => Ok(id.to_owned()),
            _ => {
                let why = answer["error"].as_str().unwrap_or("it does not say why");
                Err(LeaseProblem::Refused(why.to_owned()))
            }
        }
    }

    /// Waits until it is time, and renews. Dropped while it waits, nothing is lost; dropped while it asks, the renewal may
    /// have been made.
    pub(super) async fn keep(&mut self) {
        let wait = if self.id.is_some() && !self.missed {
            self.time_to_live / RENEWALS
        } else {
            TRY_AGAIN
        };
        tokio::time::sleep(wait).await;
        let kept = match &self.id {
            Some(id) => self.ask(&format!("PUT /leases/{id}"), "").await,
            None => self.take_again().await.map(|id| (201, json!({ "id": id }))),
        };
        match kept {
            Ok((201, answer)) => self.id = answer["id"].as_str().map(str::to_owned),
            Ok((404, _)) => self.id = None,
            Ok((200, _)) => {}
            Ok((_, answer)) => {
                let why = answer["error"].as_str().unwrap_or("it does not say why");
                return self.missed_for(why);
            }
            Err(problem) => return self.missed_for(&problem.to_string()),
        }
        if std::mem::take(&mut self.missed) {
            eprintln!("pglanes run: the proxy answers again");
        }
    }

    /// Said once, until it is held again.
    fn missed_for(&mut self, why: &str) {
        if !std::mem::replace(&mut self.missed, true) {
            eprintln!(
                "pglanes run: the lease cannot be renewed: {why}; trying again while the command runs"
            );
        }
    }

    /// Ends the lease. Where that fails it expires by itself.
    pub(super) async fn end(self) {
        if let Some(id) = &self.id {
            let _ = self.ask(&format!("DELETE /leases/{id}"), "").await;
        }
    }
}

#[cfg(test)]
mod tests {
    use pglanes_config::Activity;

    use super::*;

    #[test]
    fn a_holder_is_one_short_line_without_arguments() {
        let holder = holder(&["/usr/bin/py\nthon".to_owned(), "--password=x".to_owned()]);
        assert!(
            holder.starts_with("pglanes run [") && holder.ends_with("]: python"),
            "{holder}"
        );
        assert!(super::holder(&["x".repeat(1000)]).len() <= LONGEST_HOLDER);
    }

    #[test]
    fn only_where_no_other_lane_yields_to_a_command_is_that_said() {
        let mut config = Config::default();
        assert_eq!(
            unprotected(&config, "evaluation"),
            None,
            "by throttles that watch `busy`"
        );
        let warning = unprotected(&config, "default").unwrap();
        assert!(
            warning.contains("lane default: no throttle watches it"),
            "{warning}"
        );
        for throttle in &mut config.throttles {
            throttle.activity = Activity::Leased;
        }
        assert_eq!(unprotected(&config, "evaluation"), None);
        for throttle in &mut config.throttles {
            throttle.mode = Mode::Observe;
        }
        assert_eq!(unprotected(&config, "evaluation"), None, "its objective");
        let lane = config
            .lanes
            .iter_mut()
            .find(|lane| lane.name == "evaluation");
        lane.unwrap().objective = None;
        let warning = unprotected(&config, "evaluation").unwrap();
        assert!(warning.contains("none has `mode: enforce`"), "{warning}");
    }
}
