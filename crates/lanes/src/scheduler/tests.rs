//! The scheduler's behaviour, one decision at a time.

mod adopting;
mod capping;
mod failure;
mod limits;
mod objectives;
mod order;
mod ruling;
mod throttling;

use std::time::Duration;

use super::Scheduler;
use crate::{
    ClientKey, Input, LaneId, LanePolicy, OpenVerdict, Output, Policy, PoolId, QueueOrder,
    Rejection, ServerId, TicketId, Time, Turn,
};

const MS: Duration = Duration::from_millis(1);

/// A policy of lanes, each with a name and a maximum.
fn policy(total: u32, lanes: &[(&str, u32)]) -> Policy {
    let mut policy = Policy::new(total);
    policy.lanes = lanes
        .iter()
        .map(|&(name, max)| LanePolicy::new(name, max))
        .collect();
    policy
}

/// A scheduler with a clock that moves when told.
struct World {
    scheduler: Scheduler,
    now: Time,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            scheduler: Scheduler::new(policy),
            now: Time::ZERO,
        }
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.scheduler.handle(self.now, input);
        assert_eq!(self.scheduler.check_invariants(), Ok(()));
        std::iter::from_fn(|| self.scheduler.poll()).collect()
    }

    /// A request in pool 0.
    fn ask(&mut self, ticket: u64, lane: u16) -> Vec<Output> {
        self.ask_pool(ticket, lane, 0)
    }

    fn ask_pool(&mut self, ticket: u64, lane: u16, pool: u32) -> Vec<Output> {
        self.tell(Input::Request {
            ticket: TicketId(ticket),
            lane: LaneId(lane),
            pool: PoolId(pool),
            client: ClientKey::default(),
            turn: Turn::default(),
        })
    }

    /// A request for which a connection is opened at once; the connection.
    fn start(&mut self, ticket: u64, lane: u16) -> ServerId {
        self.start_pool(ticket, lane, 0)
    }

    fn start_pool(&mut self, ticket: u64, lane: u16, pool: u32) -> ServerId {
        let outputs = self.ask_pool(ticket, lane, pool);
        if let [Output::Grant { server, .. }] = outputs[..] {
            return server;
        }
        let server = opened_in(&outputs);
        assert_eq!(self.open(server), [grant(ticket, server)]);
        server
    }

    fn open(&mut self, server: ServerId) -> Vec<Output> {
        self.tell(Input::Opened { server })
    }

    fn fail(&mut self, server: ServerId, verdict: OpenVerdict) -> Vec<Output> {
        self.tell(Input::OpenFailed { server, verdict })
    }

    fn release(&mut self, server: ServerId) -> Vec<Output> {
        self.tell(Input::Release { server })
    }

    /// Lets time pass in one go, and wakes the scheduler at its end.
    fn pass(&mut self, span: Duration) -> Vec<Output> {
        self.now = self.now + span;
        self.scheduler.handle_timeout(self.now);
        assert_eq!(self.scheduler.check_invariants(), Ok(()));
        std::iter::from_fn(|| self.scheduler.poll()).collect()
    }

    /// How long until the scheduler wants to be woken.
    fn until_timeout(&self) -> Option<Duration> {
        Some(self.scheduler.poll_timeout()?.since(self.now))
    }
}

/// The number of the one ticket that was granted.
fn granted_in(outputs: &[Output]) -> usize {
    let mut granted = outputs.iter().filter_map(|output| match output {
        Output::Grant { ticket, .. } => usize::try_from(ticket.0).ok(),
        _ => None,
    });
    let first = granted.next().expect("a grant");
    assert_eq!(granted.next(), None);
    first
}

/// The one connection that is to be opened.
fn opened_in(outputs: &[Output]) -> ServerId {
    let opens: Vec<ServerId> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Open { server, .. } => Some(*server),
            _ => None,
        })
        .collect();
    assert_eq!(opens.len(), 1, "{outputs:?}");
    opens[0]
}

fn grant(ticket: u64, server: ServerId) -> Output {
    Output::Grant {
        ticket: TicketId(ticket),
        server,
    }
}

fn reject(ticket: u64, lane: u16, reason: Rejection) -> Output {
    Output::Reject {
        ticket: TicketId(ticket),
        lane: LaneId(lane),
        reason,
    }
}
