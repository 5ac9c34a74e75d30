//! The handle by which the rest of the process talks to the data thread: questions and
//! actions as messages, answered between two polls of the traffic; counters and events beside.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pglanes_config::Config;
use pglanes_lanes::{PoolId, ServerId};
use tokio::sync::{mpsc, oneshot, watch};

use super::reload::{count_refused_reload, reload};
use crate::events::{EventKind, Events};
use crate::hub::{Baselines, Hub};
use crate::leases::{LeaseAnswer, LeaseCommand};
use crate::metrics::Metrics;
use crate::observed::{Attention, Observed};
use crate::operate::{Action, ActionError, Done, Scope};
use crate::recording::Recording;
use crate::view::{AliasView, MOST_LISTED, PoolView, ServerView, SessionView, View};

/// Sessions that are listed at most, over all pages of one question.
pub const MOST_SESSIONS_SHOWN: usize = 20_000;

/// What an end of the proxy waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Transactions finish, for at most so long; sessions end behind them. Zero cuts off what runs.
    Transactions(Duration),
    /// Nobody new comes in, and those inside stay until they leave.
    Clients,
}

pub(crate) enum Request {
    View(oneshot::Sender<View>),
    Baselines(oneshot::Sender<Baselines>),
    Restore(Box<Baselines>, oneshot::Sender<Result<(), String>>),
    Config(oneshot::Sender<Box<Config>>),
    Sessions(i32, oneshot::Sender<Vec<SessionView>>),
    Servers(Option<ServerId>, oneshot::Sender<Vec<ServerView>>),
    Pools(Option<PoolId>, oneshot::Sender<Vec<PoolView>>),
    Aliases(oneshot::Sender<Vec<AliasView>>),
    InUse(Scope, oneshot::Sender<usize>),
    Act(Action, oneshot::Sender<Result<Done, ActionError>>),
    Reload(Box<Config>, oneshot::Sender<Result<(), String>>),
    ReloadRefused(String),
    Record(oneshot::Sender<Option<Recording>>),
    Blockers(Vec<i32>),
    Lease(LeaseCommand, oneshot::Sender<LeaseAnswer>),
    Observed(Box<Observed>, oneshot::Sender<Attention>),
    End(Ending),
}

/// Talks to a running proxy; cheap to clone. Reads go aside of the traffic.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
    pub(super) ended: watch::Receiver<bool>,
}

impl Handle {
    /// Where requests go.
    pub(crate) fn requests(&self) -> &mpsc::Sender<Request> {
        &self.requests
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What happened lately, and what happens: to read, to follow, and to add to.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Tells what was seen of the server, and hears how closely to look on; `None` once the proxy has ended.
    pub async fn observed(&self, observed: Observed) -> Option<Attention> {
        let observed = Box::new(observed);
        self.ask(|reply| Request::Observed(observed, reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The state at this moment; `None` once the proxy has ended.
    pub async fn view(&self) -> Option<View> {
        self.ask(Request::View).await
    }

    /// What the lanes with an objective take in quiet, to be kept over a restart; `None` once the proxy has ended.
    pub async fn baselines(&self) -> Option<Baselines> {
        self.ask(Request::Baselines).await
    }

    /// Takes in what was kept of lanes that are still there.
    ///
    /// # Errors
    /// What does not hold in it. The loop then learns by itself.
    pub async fn restore_baselines(&self, kept: Baselines) -> Result<(), String> {
        let kept = Box::new(kept);
        let done = self.ask(|reply| Request::Restore(kept, reply)).await;
        done.unwrap_or_else(|| Err("the proxy has ended".to_owned()))
    }

    /// Begins to record what runs; `None` while another recording goes on, or once the proxy has ended.
    pub async fn record(&self) -> Option<Recording> {
        self.ask(Request::Record).await.flatten()
    }

    /// The configuration in force, with what operators have set since; `None` once the proxy has ended.
    pub async fn config(&self) -> Option<Box<Config>> {
        self.ask(Request::Config).await
    }

    /// The sessions behind this process id, in the order of their ids, at most [`MOST_LISTED`]; 0 is before all.
    pub async fn sessions_after(&self, id: i32) -> Option<Vec<SessionView>> {
        self.ask(|reply| Request::Sessions(id, reply)).await
    }

    /// All sessions, page by page, and whether that was all: at most [`MOST_SESSIONS_SHOWN`]. Between pages the traffic
    /// goes on, so that one who came or went meanwhile may be there or not.
    pub async fn sessions(&self) -> Option<(Vec<SessionView>, bool)> {
        let mut all = Vec::new();
        let mut last = 0;
        while all.len() < MOST_SESSIONS_SHOWN {
            let page = self.sessions_after(last).await?;
            last = page.last().map_or(last, |session| session.id);
            let whole = page.len() < MOST_LISTED;
            all.extend(page);
            if whole {
                return Some((all, true));
            }
        }
        Some((all, false))
    }

    /// All server connections, page by page. There are no more than slots, and those are bounded by the configuration.
    pub async fn servers(&self) -> Option<Vec<ServerView>> {
        let mut all: Vec<ServerView> = Vec::new();
        loop {
            let last = all.last().map(|server| server.id);
            let page = self.ask(|reply| Request::Servers(last, reply)).await?;
            let whole = page.len() < MOST_LISTED;
            all.extend(page);
            if whole {
                return Some(all);
            }
        }
    }

    /// All pools with what they have done, page by page: at most 4096, what a proxy makes of them.
    pub async fn pools(&self) -> Option<Vec<PoolView>> {
        let mut all: Vec<PoolView> = Vec::new();
        loop {
            let last = all.last().map(|pool| PoolId(pool.id));
            let page = self.ask(|reply| Request::Pools(last, reply)).await?;
            let whole = page.len() < MOST_LISTED;
            all.extend(page);
            if whole {
                return Some(all);
            }
        }
    }

    /// The aliases of the configuration, and how often each was used.
    pub async fn aliases(&self) -> Option<Vec<AliasView>> {
        self.ask(Request::Aliases).await
    }

    /// How many server connections sessions have in this scope: zero when a pause has taken hold.
    pub async fn in_use(&self, scope: Scope) -> Option<usize> {
        self.ask(|reply| Request::InUse(scope, reply)).await
    }

    /// Carries out what an operator asks for.
    ///
    /// # Errors
    /// Why nothing was done.
    pub async fn act(&self, action: Action) -> Result<Done, ActionError> {
        let done = self.ask(|reply| Request::Act(action, reply)).await;
        done.unwrap_or(Err(ActionError::Ended))
    }

    /// Puts another configuration in force without dropping a session. What operators have set is forgotten.
    ///
    /// # Errors
    /// Why it was refused; the old one then stays in force.
    pub async fn reload(&self, config: Config) -> Result<(), String> {
        let config = Box::new(config);
        let done = self.ask(|reply| Request::Reload(config, reply)).await;
        done.unwrap_or_else(|| Err("the proxy has ended".to_owned()))
    }

    /// Counts a configuration that did not get as far as [`Self::reload`]: a file that
    /// does not hold. The old one stays in force.
    pub async fn reload_refused(&self, why: &str) {
        // The data thread alone writes the counters. It has ended if nobody listens.
        let request = Request::ReloadRefused(why.to_owned());
        let _ = self.requests.send(request).await;
    }

    /// Says which backends (by process id) keep others waiting for a lock at this moment: for rules that go by that. Holds
    /// until it is said anew; at most [`MOST_BLOCKERS`](crate::MOST_BLOCKERS) are remembered.
    pub async fn note_blockers(&self, backends: Vec<i32>) {
        // It has ended if nobody listens.
        let _ = self.requests.send(Request::Blockers(backends)).await;
    }

    /// Finishes what runs, refuses what is new, and ends; what still runs after `grace`
    /// is cut off. Asked a second time it ends at once if `grace` is zero.
    pub async fn shutdown(&self, grace: Duration) {
        self.end(Ending::Transactions(grace)).await;
    }

    /// Ends the proxy. Asked a second time, the end that comes sooner holds.
    pub async fn end(&self, ending: Ending) {
        // It has ended already if nobody listens.
        let _ = self.requests.send(Request::End(ending)).await;
    }

    /// Waits until the proxy has ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the thread is gone, which is the same.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Answers on the data thread. Whoever asked may have gone: that is no error.
pub(super) fn answer(hub: &Rc<Hub>, request: Request) {
    match request {
        Request::Blockers(backends) => hub.note_blockers(backends),
        Request::View(reply) => drop(reply.send(hub.view())),
        Request::Record(reply) => drop(reply.send(hub.record())),
        Request::Baselines(reply) => drop(reply.send(hub.baselines())),
        Request::Restore(kept, reply) => {
            let restored = hub.restore_baselines(&kept);
            drop(reply.send(restored.map_err(|error| error.to_string())));
        }
        Request::Config(reply) => drop(reply.send(Box::new(hub.live().config.clone()))),
        Request::Sessions(after, reply) => drop(reply.send(hub.list_sessions(after))),
        Request::Servers(after, reply) => drop(reply.send(hub.list_servers(after))),
        Request::Pools(after, reply) => drop(reply.send(hub.list_pools(after))),
        Request::Aliases(reply) => drop(reply.send(hub.list_aliases())),
        Request::InUse(scope, reply) => drop(reply.send(hub.in_use(&scope))),
        Request::Act(action, reply) => drop(reply.send(hub.act(action))),
        Request::Reload(config, reply) => {
            let hub = Rc::clone(hub);
            tokio::task::spawn_local(async move {
                drop(reply.send(reload(&hub, *config).await));
            });
        }
        Request::Lease(command, reply) => drop(reply.send(hub.lease_command(command))),
        Request::Observed(observed, reply) => drop(reply.send(hub.observed(*observed))),
        Request::ReloadRefused(why) => count_refused_reload(hub, &why),
        Request::End(ending) => {
            // Whoever serves or drains takes these; here they only leave a trace.
            let mode = mode(ending);
            hub.events.push(EventKind::Ending { mode });
        }
    }
}

/// What an end waits for, in words.
pub(super) const fn mode(ending: Ending) -> &'static str {
    match ending {
        Ending::Transactions(Duration::ZERO) => "nothing: what runs is cut off",
        Ending::Transactions(_) => "running transactions",
        Ending::Clients => "clients to leave",
    }
}
