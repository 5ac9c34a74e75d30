//! What the signs are judged by: the state at one moment, copied out.

use std::time::Duration;

use pglanes_lanes::{LaneId, Mode};
use pglanes_proxy::{BUCKET_BOUNDS_US, LeaseView, Metrics, Refused, View};

use crate::{Reachability, Status};

/// Durations by bucket, not cumulated.
pub(super) type Buckets = [u64; BUCKET_BOUNDS_US.len() + 1];

/// One lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lane {
    pub(super) name: String,
    /// Others yield to it: a throttle watches it, or it has an objective.
    pub(super) protected: bool,
    /// It is held back now.
    pub(super) held_back: bool,
    pub(super) in_use: u32,
    pub(super) effective: u32,
    pub(super) max: u32,
    pub(super) waiting: usize,
    pub(super) pinned: i64,
    pub(super) queue_wait: Buckets,
    pub(super) turned_away: u64,
    pub(super) leases_expired: u64,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Since the start.
    pub(super) at: Duration,
    pub(super) lanes: Vec<Lane>,
    /// Names of throttles that are active.
    pub(super) throttles: Vec<String>,
    /// Lane, percentile, ratio and target of each objective that was measured.
    pub(super) ratios: Vec<(String, String, f64, f64)>,
    /// Blocker, blocked, and how long in all.
    pub(super) blocked: Vec<(String, String, Duration)>,
    /// Who goes past the proxy, with how many connections.
    pub(super) direct: Vec<(String, u32)>,
    /// The oldest transactions, by lane.
    pub(super) oldest: Vec<(String, Duration)>,
    /// Lane, holder, and the share of its time that is left.
    pub(super) leases: Vec<(String, String, f64)>,
    pub(super) connections: u32,
    pub(super) slots: u32,
    pub(super) waiting: usize,
    pub(super) clients: usize,
    pub(super) clients_limit: u32,
    /// Why PostgreSQL cannot be reached.
    pub(super) upstream_down: Option<String>,
    pub(super) reload_failed: bool,
    pub(super) out_of_sync: u64,
}

impl Sample {
    pub(super) fn of(
        at: Duration,
        view: &View,
        metrics: &Metrics,
        status: &Status,
        leases: &[LeaseView],
    ) -> Self {
        let scheduler = &view.scheduler;
        let name = |lane: LaneId| {
            let lane = scheduler.lanes.get(lane.index());
            lane.map_or_else(String::new, |lane| lane.name.clone())
        };
        let throttles = scheduler.throttles.iter();
        let active = throttles.filter(|throttle| throttle.active_since.is_some());
        let ratios = scheduler.objectives.iter().flat_map(|objective| {
            let lane = name(objective.lane);
            objective.ratios.iter().filter_map(move |(target, ratio)| {
                let percentile = format!("p{}", f64::from(target.quantile) / 10.0);
                let ratio = f64::from((*ratio)?) / 1000.0;
                Some((
                    lane.clone(),
                    percentile,
                    ratio,
                    f64::from(target.times) / 1000.0,
                ))
            })
        });
        let observed = &view.observed;
        let blocked = observed.blocked.iter();
        let direct = observed.direct.iter().map(|direct| {
            let who = format!("{} ({})", direct.application_name, direct.user);
            (who, direct.connections)
        });
        Self {
            at,
            lanes: lanes(view, metrics),
            throttles: active.map(|throttle| throttle.name.clone()).collect(),
            ratios: ratios.collect(),
            blocked: blocked
                .map(|pair| (pair.blocker.clone(), pair.blocked.clone(), pair.total))
                .collect(),
            direct: direct.collect(),
            oldest: observed.oldest.clone(),
            leases: leases.iter().map(lease).collect(),
            connections: scheduler.connections,
            slots: scheduler.total_slots,
            waiting: scheduler.waiting,
            clients: view.sessions,
            clients_limit: status.clients_limit,
            upstream_down: match &status.upstream {
                Reachability::Unreachable { why } => Some(why.clone()),
                Reachability::Untried | Reachability::Reached => None,
            },
            reload_failed: !metrics.last_reload_succeeded.get(),
            out_of_sync: metrics.out_of_sync.get(),
        }
    }

    /// Nothing has happened yet in these lanes.
    pub(super) fn at_the_start(&self) -> Self {
        let lanes = self.lanes.iter().map(|lane| Lane {
            name: lane.name.clone(),
            ..Lane::default()
        });
        Self {
            lanes: lanes.collect(),
            ..Self::default()
        }
    }

    pub(super) fn lane(&self, name: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.name == name)
    }
}

fn lease(lease: &LeaseView) -> (String, String, f64) {
    (lease.lane.clone(), lease.holder.clone(), share_left(lease))
}

/// The share of its time that a lease has left.
pub(crate) fn share_left(lease: &LeaseView) -> f64 {
    let whole = lease.time_to_live.as_secs_f64().max(f64::MIN_POSITIVE);
    (lease.expires_in.as_secs_f64() / whole).min(1.0)
}

fn lanes(view: &View, metrics: &Metrics) -> Vec<Lane> {
    let scheduler = &view.scheduler;
    let all = scheduler.lanes.iter().enumerate();
    let present = all.filter(|(_, lane)| !lane.retired);
    let lanes = present.filter_map(|(place, lane)| {
        let id = LaneId(u16::try_from(place).ok()?);
        let counters = metrics.lane(id);
        let watched = scheduler.throttles.iter();
        let watched = watched.filter(|throttle| throttle.mode != Mode::Off);
        let protected = watched.map(|throttle| throttle.watch);
        let mut protected = protected.chain(scheduler.objectives.iter().map(|one| one.lane));
        let refused = Refused::ALL.map(|reason| counters.refused(reason));
        Some(Lane {
            name: lane.name.clone(),
            protected: protected.any(|lane| lane == id),
            held_back: !lane.throttled_by.is_empty(),
            in_use: lane.busy,
            effective: lane.effective,
            max: lane.max,
            waiting: lane.waiting,
            pinned: counters.pinned().map(|(_, count)| count).sum(),
            queue_wait: counters.queue_wait.counts(),
            turned_away: refused.iter().sum(),
            leases_expired: counters.leases_expired.get(),
        })
    });
    lanes.collect()
}
