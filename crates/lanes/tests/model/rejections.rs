//! What a rejection must be true of.

use pglanes_lanes::{Action, LaneId, Rejection, TicketId, When};

use super::{Connection, State, World};

impl World {
    pub(super) fn check_reject(&mut self, ticket: TicketId, lane: LaneId, reason: Rejection) {
        let waiter = self
            .waiting
            .remove(&ticket)
            .expect("a rejection of one who waits");
        assert_eq!(waiter.lane, lane);
        self.rejected += 1;
        match reason {
            Rejection::TimedOut { waited, limit } => {
                assert_eq!(waited, self.now.since(waiter.since));
                assert_eq!(limit, self.policy.lanes[lane.index()].queue_timeout);
                // Exactly at the deadline; a reload may bring that forward into the past.
                assert!(waited == limit || (self.reloaded && waited > limit));
            }
            Rejection::QueueFull { .. } => assert_eq!(waiter.since, self.now),
            Rejection::Rule { rule, waited } => {
                let rule = &self.lane(lane).rules[usize::from(rule)];
                assert!(matches!(rule.when, When::Queued(after) if waited >= after));
                assert!(matches!(rule.then, Action::Reject | Action::Cancel));
            }
            Rejection::Capped { cap, slots, .. } => {
                assert_eq!(waiter.since, self.now);
                assert_eq!(waiter.admitted, None, "its client has room");
                let caps = self.policy.lanes[lane.index()].caps;
                assert_eq!(caps.limit(cap), Some(slots));
            }
            Rejection::NoneLeft => {
                assert!(self.adopting.contains(&waiter.pool));
                assert!(!self.is_served(&waiter), "rejected with one left");
            }
            Rejection::OpenFailed { .. } => {
                let alive =
                    |one: &Connection| one.pool == waiter.pool && one.state != State::Opening;
                assert!(
                    !self.connections.values().any(alive),
                    "rejected with one alive"
                );
            }
        }
    }
}
