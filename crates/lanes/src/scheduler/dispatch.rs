//! Who gets a slot next, and how: an idle connection, one that is opening, or a new one in the place of an idle one.

use std::cmp::Reverse;

use super::pool::{Keep, ServerState};
use super::queue::{Charge, Standing, Waiter};
use super::{Closing, Scheduler};
use crate::policy::{Mode, QueueOrder};
use crate::{ClientKey, LaneId, Output, TicketId, Time, Turn, time::nanos};

/// A lane whose own idle connection fits its foremost waiter goes before an equal that would close and reopen it, until it
/// is this many grants ahead of its share. Sharing slots grant by grant would reopen a connection for every other
/// transaction, which costs more than the transaction.
pub const REOPEN_LAG: u64 = 16;

/// Lanes of one own priority, and how far the foremost of them has come in virtual time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub(super) priority: i32,
    pub(super) reached: u64,
}

/// How a lane's foremost waiter can be helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// With this idle connection.
    Grant(u32),
    /// With a connection that is opening for nobody.
    Cover,
    /// With a new connection, after closing an idle one where there is no room.
    Open { evict: Option<u32> },
    /// Not before its pool's back-off is over, or one of the connections it has is idle.
    Park,
    /// Not before someone releases, or a limit rises.
    Blocked,
}

/// A lane's turn: larger goes first.
type LaneTurn = (i64, i32, Reverse<u64>, Reverse<usize>);

impl Scheduler {
    /// Gives out slots until no lane's foremost waiter can be helped, or until one that was given out changes what the
    /// next goes by.
    pub(super) fn dispatch(&mut self) {
        if self.dispatch_due && self.uncovered > 0 {
            self.round += 1;
            while let Some((lane, plan)) = self.choose() {
                self.carry_out(lane, plan);
                if self.is_unsettled() {
                    return;
                }
            }
        }
        self.dispatch_due = false;
    }

    /// The lane to serve next, with what to do for it.
    fn choose(&self) -> Option<(usize, Plan)> {
        let best = self.wanting().max_by_key(|&lane| self.lane_turn(lane))?;
        let plan = self.foremost_plan(best);
        if !matches!(plan, Plan::Open { evict: Some(_) }) {
            return Some((best, plan));
        }
        let (priority, own, Reverse(pass), _) = self.lane_turn(best);
        let reach = pass + REOPEN_LAG * self.lanes[best].stride();
        let equals = self.wanting().filter_map(|lane| {
            let turn = self.lane_turn(lane);
            let equal = (turn.0, turn.1) == (priority, own) && turn.2.0 <= reach;
            equal.then_some((turn, lane))
        });
        let keeper = equals
            .filter_map(|(turn, lane)| match self.foremost_plan(lane) {
                plan @ Plan::Grant(_) => Some((turn, lane, plan)),
                _ => None,
            })
            .max_by_key(|&(turn, ..)| turn);
        Some(keeper.map_or((best, plan), |(_, lane, plan)| (lane, plan)))
    }

    fn wanting(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.lanes.len()).filter(|&lane| {
            let lane = &self.lanes[lane];
            !lane.uncovered.is_empty() && lane.blocked_in != self.round
        })
    }

    fn lane_turn(&self, index: usize) -> LaneTurn {
        let lane = &self.lanes[index];
        let since = lane
            .uncovered
            .front()
            .map_or(self.now, |waiter| self.waiters[waiter].contends_since);
        let waited = nanos(self.now.since(since));
        let steps = waited.checked_div(nanos(self.ageing)).unwrap_or(0);
        let aged = i64::from(lane.policy.priority).saturating_add_unsigned(steps);
        (
            aged,
            lane.policy.priority,
            Reverse(lane.pass),
            Reverse(index),
        )
    }

    fn foremost_plan(&self, lane: usize) -> Plan {
        self.lanes[lane]
            .uncovered
            .front()
            .map_or(Plan::Blocked, |waiter| {
                self.plan(LaneId(lane as u16), self.waiters[waiter].pool)
            })
    }

    /// What can be done for a lane's foremost waiter of a pool.
    pub(super) fn plan(&self, lane: LaneId, pool: u32) -> Plan {
        let may_grow = self.may_grow(lane);
        let state = &self.pools[pool];
        if let Some(server) = state.idle.front()
            && may_grow
        {
            return Plan::Grant(server);
        }
        // With an idle connection at hand, the wait is for the limit and not for one more connection.
        if state.spare() > 0 && state.idle.is_empty() {
            return Plan::Cover;
        }
        if !may_grow {
            return Plan::Blocked;
        }
        if self.backoffs.blocks(state.id) || self.is_adopting(state.id) {
            return Plan::Park;
        }
        let lane = &self.lanes[lane.index()];
        let evict = if lane.connections() >= lane.cap {
            self.least_missed(lane)
        } else if self.connections >= self.total_slots {
            self.least_needed()
        } else {
            return Plan::Open { evict: None };
        };
        // After a reload there may be more than one too many; then what is idle was closed already.
        let room = lane.connections() <= lane.cap && self.connections <= self.total_slots;
        match evict {
            Some(_) if room => Plan::Open { evict },
            _ => Plan::Blocked,
        }
    }

    /// Whether a lane may hold one slot more: within its limit, and with every other lane's minimum left to it.
    pub(super) fn may_grow(&self, lane: LaneId) -> bool {
        let lane = &self.lanes[lane.index()];
        let held = lane.held();
        held < lane.effective
            && (held < lane.minimum() || self.reserved < u64::from(self.total_slots))
    }

    /// The idle connection that is missed least: of the lane furthest above what it holds or is guaranteed, the least
    /// recently used.
    pub(super) fn least_needed(&self) -> Option<u32> {
        let surplus =
            |lane: &super::Lane| u64::from(lane.connections()).saturating_sub(lane.reserved());
        self.lanes
            .iter()
            .filter_map(|lane| {
                let oldest = self.least_missed(lane)?;
                let server = &self.servers[oldest];
                let replaceable = server.keep == Keep::AsNeeded;
                Some((replaceable, surplus(lane), Reverse(server.since), oldest))
            })
            .max_by_key(|&(replaceable, surplus, since, _)| (replaceable, surplus, since))
            .map(|(.., oldest)| oldest)
    }

    /// Of a lane's idle connections the least recently used that another can follow; failing that, of all.
    pub(super) fn least_missed(&self, lane: &super::Lane) -> Option<u32> {
        lane.first_replaceable(&self.servers)
            .or_else(|| lane.idle.front())
    }

    fn carry_out(&mut self, index: usize, plan: Plan) {
        let lane = LaneId(index as u16);
        let Some(waiter) = self.lanes[index].uncovered.front() else {
            return;
        };
        let pool = self.waiters[waiter].pool;
        match plan {
            Plan::Blocked => self.lanes[index].blocked_in = self.round,
            Plan::Park => {
                self.restand(waiter, Standing::Parked);
                self.note_stranded(pool);
            }
            Plan::Grant(server) => self.grant_foremost(pool, server),
            Plan::Cover => self.cover(waiter),
            Plan::Open { evict } => {
                if let Some(evict) = evict {
                    self.close(evict, Closing::Room);
                }
                self.open(lane, pool);
                self.cover(waiter);
            }
        }
    }

    fn cover(&mut self, waiter: u32) {
        self.charge(waiter);
        self.restand(waiter, Standing::Covered);
    }

    /// Hands an idle connection to whoever waits for its pool longest, which may be one who looked forward to another.
    pub(super) fn grant_foremost(&mut self, pool: u32, server: u32) {
        let Some(waiter) = self.pools[pool].kin.front() else {
            return;
        };
        self.charge(waiter);
        let Waiter {
            ticket,
            lane,
            client,
            since,
            turn,
            ..
        } = self.waiters[waiter];
        self.note_turn(lane, turn);
        self.hand_over(ticket, lane, client, server, since);
        self.dequeue(waiter);
    }

    /// The fast way: nobody waits who could have had it.
    pub(super) fn grant_at_once(&mut self, waiter: &Waiter, server: u32) {
        let lane = waiter.lane;
        self.note_turn(lane, waiter.turn);
        self.hand_over(waiter.ticket, lane, waiter.client, server, self.now);
        self.note_activity(lane);
    }

    /// The lane's virtual time is the latest turn that got a slot.
    fn note_turn(&mut self, lane: LaneId, turn: Turn) {
        let lane = &mut self.lanes[lane.index()];
        lane.turn = lane.turn.max(turn);
    }

    /// When it is a session's turn in a lane that is ordered by service, given where its own transactions have brought it;
    /// zero where the lane is ordered by arrival. To be asked for at each request.
    #[must_use]
    pub fn turn(&self, lane: LaneId, own: Turn) -> Turn {
        match self.lanes.get(lane.index()) {
            Some(lane) if lane.policy.queue_order == QueueOrder::Service => own.max(lane.turn),
            // Zero, or behind all who still wait by their service.
            Some(lane) => lane.turn,
            None => Turn::default(),
        }
    }

    /// How far a session is ahead of a lane that is ordered by service, in virtual nanoseconds; zero where the others have
    /// caught up with it, or the lane is ordered by arrival.
    pub(crate) fn turns_ahead(&self, lane: LaneId, own: Turn) -> u64 {
        match self.lanes.get(lane.index()) {
            Some(lane) if lane.policy.queue_order == QueueOrder::Service => {
                own.0.saturating_sub(lane.turn.0)
            }
            _ => 0,
        }
    }

    fn hand_over(
        &mut self,
        ticket: TicketId,
        lane: LaneId,
        client: ClientKey,
        server: u32,
        since: Time,
    ) {
        let now = self.now;
        let state = &mut self.lanes[lane.index()];
        state.counts.grants += 1;
        if state.policy.mode == Mode::Observe {
            state.counts.would_hold += u64::from(state.held() >= state.policy.max);
            let limit = state.policy.queue_timeout;
            let late = !limit.is_zero() && now.since(since) >= limit;
            state.counts.would_time_out += u64::from(late);
        }
        self.transfer(server, ServerState::Busy);
        self.servers[server].client = client;
        self.watch_running(server);
        let server = self.server_id(server);
        self.outputs.push_back(Output::Grant { ticket, server });
    }

    /// Whether nobody who waits for room in the lane came before a pool's longest waiter.
    pub(super) fn is_foremost(&self, lane: LaneId, pool: u32) -> bool {
        let arrival = |waiter: Option<u32>| waiter.map(|waiter| self.waiters[waiter].rank());
        let first = arrival(self.lanes[lane.index()].uncovered.front());
        first.is_none_or(|first| {
            arrival(self.pools[pool].kin.front()).is_some_and(|kin| kin <= first)
        })
    }

    /// A pool has an idle connection. If its longest waiter is parked, or looks forward to one that is still opening, it
    /// asks for room again in the order of its arrival.
    pub(super) fn offer(&mut self, pool: u32) {
        let Some(state) = self.pools.get(pool) else {
            return;
        };
        let (Some(waiter), false) = (state.kin.front(), state.idle.is_empty()) else {
            return;
        };
        if self.waiters[waiter].standing != Standing::Uncovered {
            self.restand(waiter, Standing::Uncovered);
            self.dispatch_due = true;
        }
    }

    /// Counts a grant against the lane's share, once for each waiter.
    fn charge(&mut self, waiter: u32) {
        let waiter = &mut self.waiters[waiter];
        if waiter.charge == Charge::Paid {
            return;
        }
        waiter.charge = Charge::Paid;
        let lane = &mut self.lanes[waiter.lane.index()];
        let class = &mut self.classes[lane.class];
        class.reached = class.reached.max(lane.pass);
        lane.pass += lane.stride();
    }

    /// A lane that begins to wait starts level with its equals: time in which it wanted nothing earns nothing.
    pub(super) fn join_class(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.pass = lane.pass.max(self.classes[lane.class].reached);
    }
}
