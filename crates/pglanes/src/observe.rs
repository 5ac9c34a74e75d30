//! Looks at the server past the lanes, at a bounded rate, and tells the data path what was seen: who works, who waits for
//! whom, what maintenance runs. One connection, as the user of `upstream.url`.

use std::time::Duration;

use pglanes_config::{Config, Observe};
use pglanes_control::{
    Activity, BackendKind, BackendState, ControlError, ObservedBackend, Observer, ServerAddress,
};
use pglanes_proxy::{Attention, Handle, Observed, Seen, SeenBackend, SeenKind, SeenWork};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::server_address;

/// Looks at who waits between two looks at everything, while somebody lowered may block another.
const CLOSE_LOOKS: u32 = 5;
/// However short the interval, this much is between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// After failures the pause doubles up to this: a login that is refused is a line in the server's log each time.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Looks until the proxy has ended. Follows `observe` of each configuration that comes.
pub async fn watch(mut configs: watch::Receiver<Config>, handle: Handle) {
    let ended = handle.clone();
    let looking = async {
        loop {
            let config = configs.borrow_and_update().clone();
            let changed = async {
                // Without anybody who could send another one, this one stays.
                if configs.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = changed => {}
                () = look_on(&config, &handle) => {}
            }
        }
    };
    tokio::select! {
        () = ended.ended() => {}
        () = looking => {}
    }
}

/// Looks under one configuration, for ever.
async fn look_on(config: &Config, handle: &Handle) {
    let observer = config.observe.map(|observe| {
        (
            observe,
            Observer::new(&address(config), &config.upstream.tls),
        )
    });
    match observer {
        Some((observe, Ok(observer))) => Looking::new(observe, observer, handle).run().await,
        Some((_, Err(error))) => tracing::warn!("PostgreSQL is not observed: {error}"),
        None => {}
    }
    // The proxy may have ended.
    let _ = handle.observed(Observed::Nothing).await;
    std::future::pending::<()>().await;
}

/// One run of looks.
struct Looking<'h> {
    observe: Observe,
    observer: Observer,
    handle: &'h Handle,
    failures: u32,
    told_of_refusal: bool,
    told_of_rights: bool,
}

impl<'h> Looking<'h> {
    fn new(observe: Observe, observer: Observer, handle: &'h Handle) -> Self {
        Self {
            observe,
            observer,
            handle,
            failures: 0,
            told_of_refusal: false,
            told_of_rights: false,
        }
    }

    async fn run(mut self) {
        loop {
            match self.observer.look().await {
                Ok(activity) => {
                    self.seen(&activity);
                    let attention = self.handle.observed(Observed::All(seen(activity))).await;
                    self.wait(attention.unwrap_or(Attention::Usual)).await;
                }
                Err(error) => {
                    self.failed(&error);
                    // The proxy may have ended.
                    let _ = self.handle.observed(Observed::Nothing).await;
                    sleep(self.pause()).await;
                }
            }
        }
    }

    /// Until the next look at everything; meanwhile, where that may help somebody, looks at who waits.
    async fn wait(&self, mut attention: Attention) {
        let short = (self.observe.interval / CLOSE_LOOKS).max(SHORTEST_PAUSE);
        let mut left = self.observe.interval;
        while attention == Attention::Close && left > short {
            sleep(short).await;
            left -= short;
            let Ok(waiting) = self.observer.waiting().await else {
                break;
            };
            let pairs = waiting.into_iter().map(|one| (one.pid, one.blocked_by));
            let told = self.handle.observed(Observed::Waiting(pairs.collect()));
            attention = told.await.unwrap_or(Attention::Usual);
        }
        sleep(left).await;
    }

    fn seen(&mut self, activity: &Activity) {
        self.failures = 0;
        if activity.hidden > 0 && !std::mem::replace(&mut self.told_of_rights, true) {
            tracing::warn!(
                "{} may not see what {} backends do: who waits for whom and what runs past the proxy stays unknown; \
                 GRANT pg_monitor to that user",
                self.observer.server(),
                activity.hidden
            );
        }
    }

    /// That PostgreSQL cannot be reached is said elsewhere; that it refuses this user is said here, once.
    fn failed(&mut self, error: &ControlError) {
        self.failures = self.failures.saturating_add(1);
        let is_refusal = matches!(error, ControlError::Refused { .. });
        if is_refusal && !std::mem::replace(&mut self.told_of_refusal, true) {
            tracing::warn!(
                "PostgreSQL is not observed: {error}; name a user with pg_monitor in upstream.url, or switch it off \
                 (observe: {{ mode: off }})"
            );
        } else {
            tracing::debug!("PostgreSQL was not observed: {error}");
        }
    }

    fn pause(&self) -> Duration {
        let doubled = self.observe.interval * 2_u32.saturating_pow(self.failures.min(10));
        doubled.min(LONGEST_PAUSE)
    }
}

/// As the URL's user; without a database in the URL in one that every server has: any will do.
fn address(config: &Config) -> ServerAddress {
    let database = config.upstream.database.clone();
    ServerAddress {
        database: database.unwrap_or_else(|| "postgres".to_owned()),
        ..server_address::of(config)
    }
}

fn seen(activity: Activity) -> Seen {
    Seen {
        backends: activity.backends.into_iter().map(backend).collect(),
        cut_off: activity.cut_off,
        hidden: activity.hidden,
        checkpoint: activity.checkpoint,
    }
}

fn backend(one: ObservedBackend) -> SeenBackend {
    SeenBackend {
        pid: one.pid,
        leader: one.leader,
        kind: match one.kind {
            BackendKind::Client => SeenKind::Client,
            BackendKind::ParallelWorker => SeenKind::Worker,
            BackendKind::Autovacuum => SeenKind::Autovacuum,
        },
        user: one.user,
        application_name: one.application_name,
        database: one.database,
        work: match one.state {
            BackendState::Active => SeenWork::Running,
            BackendState::IdleInTransaction => SeenWork::InTransaction,
            BackendState::Idle => SeenWork::Idle,
            BackendState::Unknown => SeenWork::Unknown,
        },
        transaction: one.transaction,
        blocked_by: one.blocked_by,
    }
}
