//! Rules: what becomes of a transaction that runs, waits, returns or idles more than its lane likes.
//!
//! The two times that the scheduler knows, of running and of waiting, it watches itself: each transaction of a lane that has
//! such rules stands in an ordered set with the next of its moments, so a step costs a logarithm of what runs or waits there,
//! and in other lanes nothing. What only the owner sees, rows and bytes and idleness, it reports with `Input::Met`. A rule is
//! met at most once by a transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Scheduler;
use super::pool::{Server, ServerState};
use super::queue::Waiter;
use super::slab::Slab;
use super::snapshot::RuleSnapshot;
use crate::output::{Output, Rejection, Whom};
use crate::policy::{Action, MAX_RULES, Mode, RulePolicy, When};
use crate::time::earliest;
use crate::{LaneId, ServerId, Time};

/// The moment a transaction meets a rule, and the rule's place among those of its kind.
type Moment = (Time, usize);

/// Rules of a lane that go by one kind of time, and who is to meet them.
#[derive(Default)]
struct Watch {
    /// The shortest first: how long, and which rule.
    rules: Vec<(Duration, u16)>,
    /// The next moment of each transaction, by its place.
    due: BTreeSet<(Time, u32)>,
}

impl Watch {
    fn of(rules: &[Rule], time: fn(When) -> Option<Duration>) -> Self {
        let timed = rules.iter().enumerate();
        let timed = timed.filter_map(|(place, rule)| Some((time(rule.policy.when)?, place as u16)));
        let mut rules: Vec<(Duration, u16)> = timed.collect();
        rules.sort_unstable();
        Self {
            rules,
            due: BTreeSet::new(),
        }
    }

    /// The first moment of one that began then.
    fn first(&self, since: Time) -> Option<Moment> {
        self.moment(since, 0)
    }

    fn moment(&self, since: Time, place: usize) -> Option<Moment> {
        let (after, _) = self.rules.get(place)?;
        Some((since + *after, place))
    }
}

/// One rule, and how often it was met.
pub(super) struct Rule {
    pub(super) policy: RulePolicy,
    /// Times that a transaction met it.
    pub(super) met: u64,
    /// Those of them that had consequences.
    pub(super) acted: u64,
}

/// A lane's rules at work. A lane without rules has none of this.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) rules: Vec<Rule>,
    running: Watch,
    queued: Watch,
}

fn running(when: When) -> Option<Duration> {
    match when {
        When::Running(after) => Some(after),
        _ => None,
    }
}

fn queued(when: When) -> Option<Duration> {
    match when {
        When::Queued(after) => Some(after),
        _ => None,
    }
}

impl Rules {
    /// The rules of a policy, with the counts of those that were there before under the same name.
    fn new(policies: Vec<RulePolicy>, before: Option<Box<Self>>) -> Self {
        let mut before = before.map_or_else(Vec::new, |before| before.rules);
        let rules = policies.into_iter().take(MAX_RULES).map(|policy| {
            let known = before
                .iter()
                .position(|rule| rule.policy.name == policy.name);
            let known = known.map(|place| before.swap_remove(place));
            Rule {
                policy,
                met: known.as_ref().map_or(0, |rule| rule.met),
                acted: known.map_or(0, |rule| rule.acted),
            }
        });
        let rules: Vec<Rule> = rules.collect();
        Self {
            running: Watch::of(&rules, running),
            queued: Watch::of(&rules, queued),
            rules,
        }
    }

    pub(super) fn snapshot(&self) -> Vec<RuleSnapshot> {
        let shown = |rule: &Rule| RuleSnapshot {
            name: rule.policy.name.clone(),
            action: rule.policy.then.word(),
            met: rule.met,
            acted: rule.acted,
        };
        self.rules.iter().map(shown).collect()
    }

    /// Whether those who are to meet a rule are those who stand for it.
    pub(super) fn check(
        &self,
        lane: LaneId,
        servers: &Slab<Server>,
        waiters: &Slab<Waiter>,
    ) -> bool {
        let running = servers.iter().filter(|(_, server)| server.lane == lane);
        let running = running.filter_map(|(place, server)| Some((server.moment?.0, place)));
        let waiting = waiters.iter().filter(|(_, waiter)| waiter.lane == lane);
        let waiting = waiting.filter_map(|(place, waiter)| Some((waiter.moment?.0, place)));
        self.running.due == running.collect() && self.queued.due == waiting.collect()
    }

    fn next(&self) -> Option<Time> {
        let first = |watch: &Watch| watch.due.first().map(|&(due, _)| due);
        earliest(first(&self.running), first(&self.queued))
    }
}

impl Scheduler {
    /// A transaction begins to run: its rules' times begin.
    pub(super) fn watch_running(&mut self, place: u32) {
        let server = &mut self.servers[place];
        server.met = 0;
        let Some(rules) = &mut self.lanes[server.lane.index()].rules else {
            return;
        };
        server.moment = rules.running.first(server.since);
        if let Some((due, _)) = server.moment {
            rules.running.due.insert((due, place));
        }
    }

    /// A transaction runs no more.
    pub(super) fn unwatch_running(&mut self, place: u32) {
        let server = &mut self.servers[place];
        let Some((due, _)) = server.moment.take() else {
            return;
        };
        if let Some(rules) = &mut self.lanes[server.lane.index()].rules {
            rules.running.due.remove(&(due, place));
        }
    }

    pub(super) fn watch_waiting(&mut self, place: u32) {
        let waiter = &mut self.waiters[place];
        let Some(rules) = &mut self.lanes[waiter.lane.index()].rules else {
            return;
        };
        waiter.moment = rules.queued.first(waiter.since);
        if let Some((due, _)) = waiter.moment {
            rules.queued.due.insert((due, place));
        }
    }

    pub(super) fn unwatch_waiting(&mut self, place: u32) {
        let waiter = &mut self.waiters[place];
        let Some((due, _)) = waiter.moment.take() else {
            return;
        };
        if let Some(rules) = &mut self.lanes[waiter.lane.index()].rules {
            rules.queued.due.remove(&(due, place));
        }
    }

    /// When the next transaction meets a rule by its time.
    pub(super) fn rule_due(&self, lane: &super::Lane) -> Option<Time> {
        lane.rules.as_deref()?.next()
    }

    /// Lets everything that is due meet its rules.
    pub(super) fn meet_rules(&mut self) {
        for index in 0..self.lanes.len() {
            while self
                .rule_due(&self.lanes[index])
                .is_some_and(|due| due <= self.now)
            {
                self.meet_next(index);
            }
        }
    }

    fn meet_next(&mut self, index: usize) {
        let Some(rules) = &mut self.lanes[index].rules else {
            return;
        };
        let (running, queued) = (rules.running.due.first(), rules.queued.due.first());
        let lane = LaneId(index as u16);
        match (running.copied(), queued.copied()) {
            (Some((due, place)), _) if due <= self.now => {
                rules.running.due.remove(&(due, place));
                let server = &mut self.servers[place];
                let at = server.moment.map_or(0, |(_, at)| at);
                let rule = rules.running.rules[at].1;
                server.moment = rules.running.moment(server.since, at + 1);
                if let Some((due, _)) = server.moment {
                    rules.running.due.insert((due, place));
                }
                self.meet_running(lane, rule, place);
            }
            (_, Some((due, place))) => {
                rules.queued.due.remove(&(due, place));
                let waiter = &mut self.waiters[place];
                let at = waiter.moment.map_or(0, |(_, at)| at);
                let rule = rules.queued.rules[at].1;
                waiter.moment = rules.queued.moment(waiter.since, at + 1);
                if let Some((due, _)) = waiter.moment {
                    rules.queued.due.insert((due, place));
                }
                self.meet_waiting(lane, rule, place);
            }
            _ => {}
        }
    }

    /// The owner saw a running transaction meet a rule.
    pub(super) fn met(&mut self, server: ServerId, rule: u16) {
        let Some(place) = self.find_server(server) else {
            return;
        };
        let server = &self.servers[place];
        let rules = self.lanes[server.lane.index()].rules.as_deref();
        let known = rules.is_some_and(|rules| usize::from(rule) < rules.rules.len());
        let runs = matches!(server.state, ServerState::Busy | ServerState::Cancelled);
        if known && runs {
            self.meet_running(server.lane, rule, place);
        }
    }

    fn meet_running(&mut self, lane: LaneId, rule: u16, place: u32) {
        let before = self.servers[place].met;
        self.servers[place].met |= 1 << rule;
        if self.servers[place].met == before {
            return;
        }
        let server = self.server_id(place);
        let Some(action) = self.count_met(lane, rule) else {
            return;
        };
        if action == Action::Cancel && self.servers[place].state == ServerState::Busy {
            self.transfer(place, ServerState::Cancelled);
        }
        self.outputs.push_back(Output::Rule {
            lane,
            rule,
            action,
            whom: Whom::Server(server),
        });
    }

    fn meet_waiting(&mut self, lane: LaneId, rule: u16, place: u32) {
        let Some(action) = self.count_met(lane, rule) else {
            return;
        };
        let waiter = &self.waiters[place];
        let (ticket, waited) = (waiter.ticket, self.now.since(waiter.since));
        if matches!(action, Action::Reject | Action::Cancel) {
            self.reject(place, Rejection::Rule { rule, waited });
            return;
        }
        self.outputs.push_back(Output::Rule {
            lane,
            rule,
            action,
            whom: Whom::Ticket(ticket),
        });
    }

    /// Counts a rule that was met. What is to be done, where anything is.
    fn count_met(&mut self, lane: LaneId, rule: u16) -> Option<Action> {
        let state = &mut self.lanes[lane.index()];
        let rule = state.rules.as_mut()?.rules.get_mut(usize::from(rule))?;
        rule.met += 1;
        if state.policy.mode != Mode::Enforce {
            return None;
        }
        rule.acted += 1;
        Some(rule.policy.then)
    }

    /// Puts a policy's rules in force. Those who run or wait meet them by the time that they have run or waited already;
    /// what they met before a reload they may meet again, as it may mean something else now.
    pub(super) fn renew_rules(&mut self) {
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            let before = lane.rules.take();
            let wanted = lane.policy.mode != Mode::Off && !lane.policy.retired;
            let policies = if wanted {
                lane.policy.rules.clone()
            } else {
                Vec::new()
            };
            let kept = |rules: &Rules| {
                let before = rules.rules.iter().map(|rule| &rule.policy);
                before.eq(policies.iter().take(MAX_RULES))
            };
            if before.as_deref().is_some_and(kept) {
                lane.rules = before;
                continue;
            }
            let running = lane
                .busy
                .iter(&self.servers)
                .chain(lane.cancelled.iter(&self.servers));
            let running: Vec<u32> = running.collect();
            let waiting: Vec<u32> = lane.arrivals.iter(&self.waiters).collect();
            let had = before.is_some();
            if !policies.is_empty() {
                lane.rules = Some(Box::new(Rules::new(policies, before)));
            } else if !had {
                continue;
            }
            for place in running {
                self.servers[place].moment = None;
                self.watch_running(place);
            }
            for place in waiting {
                self.waiters[place].moment = None;
                self.watch_waiting(place);
            }
        }
    }
}
