//! What is kept from look to look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pglanes_lanes::{LaneId, Time};

use super::facts::{
    BlockedView, DirectView, MaintenanceView, ObservedView, Seen, SeenBackend, SeenKind, SeenWork,
};
use super::look::{Known, Who, needed_by_others};
use crate::events::EventKind;

/// Roles and names past the proxy that are told apart; the rest is `other`.
const MOST_GROUPS: usize = 50;
/// The longest name that is shown, in characters: it is the client's to choose.
const LONGEST_NAME: usize = 63;
/// A transaction that has been open for so long is an event.
const LONG_TRANSACTION: Duration = Duration::from_secs(60);
/// The most time that one look may account for: what lies between two looks that are further apart, nobody saw.
const MOST_ACCOUNTED: Duration = Duration::from_secs(10);

/// What follows from a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Lowered backends that others wait for.
    pub(crate) needed: Vec<i32>,
    /// Parallel workers with their leaders, where they were looked at.
    pub(crate) workers: Option<Vec<(i32, i32)>>,
    /// By lane: clients past the proxy, and those of them in a transaction.
    pub(crate) direct: BTreeMap<LaneId, (u32, u32)>,
    pub(crate) events: Vec<EventKind>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    user: String,
    application_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Direct {
    lane: LaneId,
    connections: u32,
    busy: u32,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    last: Option<Time>,
    /// Clients' backends of the last look at everything: one seen twice has not just come or gone.
    before: BTreeSet<i32>,
    /// Whom processes belonged to then, for looks at those who wait alone.
    who: BTreeMap<i32, Who>,
    direct: BTreeMap<Group, Direct>,
    direct_lanes: BTreeSet<LaneId>,
    waiting: Vec<(i32, Vec<i32>)>,
    waits_between: BTreeSet<(Who, Who)>,
    blocked: BTreeMap<(Who, Who), Duration>,
    oldest: BTreeMap<Who, Duration>,
    long: BTreeSet<i32>,
    lifted: Vec<i32>,
    autovacuum: usize,
    checkpoint: bool,
    maintenance: BTreeMap<(&'static str, LaneId), Duration>,
    maintains_now: BTreeSet<(&'static str, LaneId)>,
    hidden: usize,
}

impl Record {
    /// A look at everything. `lane_of` classifies a client past the proxy, `name` names a lane.
    pub(crate) fn all(
        &mut self,
        now: Time,
        seen: &Seen,
        known: &Known,
        lane_of: impl Fn(&SeenBackend) -> LaneId,
        name: &impl Fn(Who) -> String,
    ) -> Findings {
        let mut findings = Findings::default();
        self.identify(seen, known);
        // The record of who waits is brought up to date first: it accounts for the time since the last look.
        let blocked = seen
            .backends
            .iter()
            .filter(|one| !one.blocked_by.is_empty());
        let waiting = blocked
            .map(|one| (one.pid, one.blocked_by.clone()))
            .collect();
        let accounted = self.waits(now, waiting, known, name, &mut findings);
        let workers = seen
            .backends
            .iter()
            .filter(|one| one.kind == SeenKind::Worker);
        let workers = workers.filter_map(|one| Some((one.pid, one.leader?)));
        findings.workers = Some(workers.collect());
        self.past_the_proxy(seen, known, lane_of, name, &mut findings);
        self.transactions(seen, name, &mut findings);
        self.maintain(seen, known, accounted, name, &mut findings);
        self.hidden = seen.hidden;
        findings
    }

    /// A look at who waits, and no more.
    pub(crate) fn waiting(
        &mut self,
        now: Time,
        waiting: Vec<(i32, Vec<i32>)>,
        known: &Known,
        name: &impl Fn(Who) -> String,
    ) -> Findings {
        let mut findings = Findings::default();
        self.waits(now, waiting, known, name, &mut findings);
        findings
    }

    /// The server cannot be looked at. Returns the lanes of which somebody was seen past the proxy, and whether this is news.
    pub(crate) fn lost(&mut self) -> (BTreeSet<LaneId>, bool) {
        let was_seen = self.last.is_some();
        let lanes = std::mem::take(&mut self.direct_lanes);
        // What has been counted stays counted.
        *self = Self {
            blocked: std::mem::take(&mut self.blocked),
            maintenance: std::mem::take(&mut self.maintenance),
            ..Self::default()
        };
        (lanes, was_seen)
    }

    /// How long ago the last look was.
    pub(crate) fn age(&self, now: Time) -> Option<Duration> {
        self.last.map(|last| now.since(last))
    }

    fn identify(&mut self, seen: &Seen, known: &Known) {
        let who = |one: &SeenBackend| match (known.backends.get(&one.pid), one.kind) {
            (Some(lane), _) => Who::Lane(*lane),
            (None, SeenKind::Client) => Who::Direct,
            (None, SeenKind::Autovacuum) => Who::Autovacuum,
            (None, SeenKind::Worker) => {
                let leader = one.leader.and_then(|leader| known.backends.get(&leader));
                leader.map_or(Who::Other, |lane| Who::Lane(*lane))
            }
        };
        self.who = seen
            .backends
            .iter()
            .map(|one| (one.pid, who(one)))
            .collect();
    }

    /// Returns how much time this look accounts for.
    fn waits(
        &mut self,
        now: Time,
        waiting: Vec<(i32, Vec<i32>)>,
        known: &Known,
        name: &impl Fn(Who) -> String,
        findings: &mut Findings,
    ) -> Duration {
        let accounted = self.last.map_or(Duration::ZERO, |last| now.since(last));
        let accounted = accounted.min(MOST_ACCOUNTED);
        let who = |pid: &i32| {
            let ours = known.backends.get(pid).map(|lane| Who::Lane(*lane));
            ours.or_else(|| self.who.get(pid).copied())
                .unwrap_or(Who::Other)
        };
        let mut between = BTreeSet::new();
        for (pid, blockers) in &waiting {
            let blockers: BTreeSet<Who> = blockers.iter().map(who).collect();
            for blocker in blockers {
                let pair = (blocker, who(pid));
                between.insert(pair);
                *self.blocked.entry(pair).or_default() += accounted;
            }
        }
        let news = between.difference(&self.waits_between);
        findings
            .events
            .extend(news.map(|(blocker, blocked)| EventKind::Blocked {
                blocker: name(*blocker),
                lane: name(*blocked),
            }));
        self.waits_between = between;
        findings.needed = needed_by_others(&waiting, known);
        for pid in findings
            .needed
            .iter()
            .filter(|pid| !self.lifted.contains(pid))
        {
            let lane = known
                .backends
                .get(pid)
                .map_or(Who::Other, |lane| Who::Lane(*lane));
            findings.events.push(EventKind::Lifted {
                lane: name(lane),
                backend: *pid,
            });
        }
        self.lifted.clone_from(&findings.needed);
        self.waiting = waiting;
        self.last = Some(now);
        accounted
    }

    fn past_the_proxy(
        &mut self,
        seen: &Seen,
        known: &Known,
        lane_of: impl Fn(&SeenBackend) -> LaneId,
        name: &impl Fn(Who) -> String,
        findings: &mut Findings,
    ) {
        let clients = seen
            .backends
            .iter()
            .filter(|one| one.kind == SeenKind::Client);
        let ours = |one: &SeenBackend| known.backends.contains_key(&one.pid);
        if !known.backends.is_empty() && !clients.clone().any(ours) {
            // Behind another pooler the numbers of our connections are that pooler's: nobody can tell them apart.
            return;
        }
        let mut groups: BTreeMap<Group, Direct> = BTreeMap::new();
        let past = clients.clone().filter(|one| !ours(one));
        for one in past.filter(|one| self.before.contains(&one.pid)) {
            let lane = lane_of(one);
            let busy = matches!(one.work, SeenWork::Running | SeenWork::InTransaction);
            let by_lane = findings.direct.entry(lane).or_default();
            *by_lane = (by_lane.0 + 1, by_lane.1 + u32::from(busy));
            let group = Group {
                user: shortened(&one.user),
                application_name: shortened(&one.application_name),
            };
            let group = match groups.len() < MOST_GROUPS || groups.contains_key(&group) {
                true => group,
                false => Group {
                    user: "other".to_owned(),
                    application_name: String::new(),
                },
            };
            let direct = groups.entry(group).or_insert(Direct {
                lane,
                connections: 0,
                busy: 0,
            });
            direct.connections += 1;
            direct.busy += u32::from(busy);
        }
        self.before = clients.map(|one| one.pid).collect();
        self.replace_direct(groups, name, findings);
        // Of whom nobody is left must be told too.
        for lane in &self.direct_lanes {
            findings.direct.entry(*lane).or_default();
        }
        let left = findings
            .direct
            .iter()
            .filter(|(_, (sessions, _))| *sessions > 0);
        self.direct_lanes = left.map(|(lane, _)| *lane).collect();
    }

    /// Tells who came and who went.
    fn replace_direct(
        &mut self,
        groups: BTreeMap<Group, Direct>,
        name: &impl Fn(Who) -> String,
        findings: &mut Findings,
    ) {
        for (group, direct) in groups
            .iter()
            .filter(|(group, _)| !self.direct.contains_key(group))
        {
            findings.events.push(EventKind::DirectSeen {
                user: group.user.clone(),
                client: group.application_name.clone(),
                lane: name(Who::Lane(direct.lane)),
            });
        }
        for group in self
            .direct
            .keys()
            .filter(|group| !groups.contains_key(group))
        {
            findings.events.push(EventKind::DirectGone {
                user: group.user.clone(),
                client: group.application_name.clone(),
            });
        }
        self.direct = groups;
    }

    fn transactions(
        &mut self,
        seen: &Seen,
        name: &impl Fn(Who) -> String,
        findings: &mut Findings,
    ) {
        self.oldest.clear();
        let mut long = BTreeSet::new();
        for one in &seen.backends {
            let Some(open) = one.transaction else {
                continue;
            };
            let who = self.who.get(&one.pid).copied().unwrap_or(Who::Other);
            let oldest = self.oldest.entry(who).or_default();
            *oldest = open.max(*oldest);
            let is_clients = one.kind == SeenKind::Client;
            if is_clients
                && open >= LONG_TRANSACTION
                && long.insert(one.pid)
                && !self.long.contains(&one.pid)
            {
                findings.events.push(EventKind::LongTransaction {
                    lane: name(who),
                    backend: one.pid,
                    open,
                    idle: one.work == SeenWork::InTransaction,
                });
            }
        }
        self.long = long;
    }

    fn maintain(
        &mut self,
        seen: &Seen,
        known: &Known,
        accounted: Duration,
        name: &impl Fn(Who) -> String,
        findings: &mut Findings,
    ) {
        let autovacuum = seen
            .backends
            .iter()
            .filter(|one| one.kind == SeenKind::Autovacuum);
        self.autovacuum = autovacuum.count();
        self.checkpoint = seen.checkpoint;
        let runs = [
            ("autovacuum", self.autovacuum > 0),
            ("checkpoint", self.checkpoint),
        ];
        let mut now = BTreeSet::new();
        for (what, _) in runs.into_iter().filter(|(_, runs)| *runs) {
            now.extend(known.protected_and_busy.iter().map(|lane| (what, *lane)));
        }
        for key in &now {
            *self.maintenance.entry(*key).or_default() += accounted;
        }
        for (what, lane) in now.difference(&self.maintains_now) {
            findings.events.push(EventKind::MaintenanceBegan {
                what,
                lane: name(Who::Lane(*lane)),
            });
        }
        self.maintains_now = now;
    }

    /// For metrics and people.
    pub(crate) fn view(&self, now: Time, name: &impl Fn(Who) -> String) -> ObservedView {
        ObservedView {
            age: self.age(now),
            direct: self
                .direct
                .iter()
                .map(|(group, direct)| DirectView {
                    user: group.user.clone(),
                    application_name: group.application_name.clone(),
                    lane: name(Who::Lane(direct.lane)),
                    connections: direct.connections,
                    busy: direct.busy,
                })
                .collect(),
            blocked: self
                .blocked
                .iter()
                .map(|((blocker, blocked), total)| BlockedView {
                    blocker: name(*blocker),
                    blocked: name(*blocked),
                    total: *total,
                })
                .collect(),
            oldest: self
                .oldest
                .iter()
                .map(|(who, open)| (name(*who), *open))
                .collect(),
            waiting: self.waiting.len(),
            lifted: self.lifted.len(),
            autovacuum: self.autovacuum,
            checkpoint: self.checkpoint,
            maintenance: self
                .maintenance
                .iter()
                .map(|((what, lane), total)| MaintenanceView {
                    what,
                    lane: name(Who::Lane(*lane)),
                    total: *total,
                })
                .collect(),
            hidden: self.hidden,
        }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}
