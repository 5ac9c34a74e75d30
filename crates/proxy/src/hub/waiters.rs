//! Transactions that wait for a server connection, and what came of each.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pglanes_lanes::{ClientKey, Input, LaneId, PoolId, Rejection, TicketId, Turn};

use super::{Hub, Orders};
use crate::server::Server;
use crate::upstream::SharedOpenError;

/// How a wait ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Granted(Box<Server>),
    Rejected(Rejection),
    OpenFailed(SharedOpenError),
}

/// A slot that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) lane: LaneId,
    pub(super) pool: PoolId,
    pub(super) client: ClientKey,
    pub(super) turn: Turn,
}

impl Wanted {
    /// As the scheduler is told of it.
    pub(super) fn request(self, ticket: TicketId) -> Input {
        let Self {
            lane,
            pool,
            client,
            turn,
        } = self;
        Input::Request {
            ticket,
            lane,
            pool,
            client,
            turn,
        }
    }
}

#[derive(Debug)]
enum Place {
    Free { next: Option<u32> },
    Waiting(Option<Waker>),
    Decided(Outcome),
}

#[derive(Debug)]
struct Entry {
    /// Raised each time the place is reused, so that an old ticket finds nothing.
    generation: u32,
    /// What it asked for. An offer asks for nothing.
    asked: Option<Wanted>,
    /// Raised with every ticket: who came first.
    order: u64,
    place: Place,
    /// What the session is to do meanwhile, or when the wait is over.
    orders: Option<Box<Orders>>,
}

/// A slab of waiters: a ticket is an index and the generation of its place.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    entries: Vec<Entry>,
    free: Option<u32>,
    issued: u64,
}

fn split(ticket: TicketId) -> (usize, u32) {
    (
        (ticket.0 & u64::from(u32::MAX)) as usize,
        (ticket.0 >> 32) as u32,
    )
}

impl Waiters {
    /// A new ticket, waiting for a slot of this lane for this pool, or for the answer to an offer.
    pub(super) fn issue(&mut self, asked: Option<Wanted>) -> TicketId {
        self.issued += 1;
        let index = match self.free {
            Some(index) => index,
            None => {
                self.entries.push(Entry {
                    generation: 0,
                    asked: None,
                    order: 0,
                    place: Place::Free { next: None },
                    orders: None,
                });
                (self.entries.len() - 1) as u32
            }
        };
        let entry = &mut self.entries[index as usize];
        if let Place::Free { next } = entry.place {
            self.free = next;
        }
        (entry.asked, entry.order) = (asked, self.issued);
        entry.place = Place::Waiting(None);
        TicketId(u64::from(entry.generation) << 32 | u64::from(index))
    }

    fn entry(&mut self, ticket: TicketId) -> Option<&mut Entry> {
        let (index, generation) = split(ticket);
        self.entries
            .get_mut(index)
            .filter(|entry| entry.generation == generation)
    }

    /// Notes how the wait ended and wakes the session. The outcome comes back when
    /// nobody holds the ticket any more.
    pub(super) fn decide(&mut self, ticket: TicketId, outcome: Outcome) -> Option<Outcome> {
        match self.entry(ticket) {
            Some(entry) if matches!(entry.place, Place::Waiting(_)) => {
                if let Place::Waiting(Some(waker)) =
                    std::mem::replace(&mut entry.place, Place::Decided(outcome))
                {
                    waker.wake();
                }
                None
            }
            _ => Some(outcome),
        }
    }

    /// Whoever waits for a slot, in the order in which they asked.
    pub(super) fn waiting(&self) -> Vec<(TicketId, Wanted)> {
        let entries = self.entries.iter().enumerate();
        let mut waiting: Vec<_> = entries
            .filter(|(_, entry)| matches!(entry.place, Place::Waiting { .. }))
            .filter_map(|(index, entry)| {
                let wanted = entry.asked?;
                let ticket = TicketId(u64::from(entry.generation) << 32 | index as u64);
                Some((entry.order, (ticket, wanted)))
            })
            .collect();
        waiting.sort_by_key(|(order, _)| *order);
        waiting.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// Takes the outcome, if there is one; the ticket is then spent.
    pub(super) fn take(&mut self, ticket: TicketId) -> Option<Outcome> {
        let entry = self.entry(ticket)?;
        if !matches!(entry.place, Place::Decided(_)) {
            return None;
        }
        self.free(ticket)
    }

    /// Ends the ticket, whatever its state.
    pub(super) fn free(&mut self, ticket: TicketId) -> Option<Outcome> {
        let next = self.free;
        let entry = self.entry(ticket)?;
        entry.generation = entry.generation.wrapping_add(1);
        entry.orders = None;
        let place = std::mem::replace(&mut entry.place, Place::Free { next });
        self.free = Some(split(ticket).0 as u32);
        match place {
            Place::Decided(outcome) => Some(outcome),
            Place::Waiting(_) | Place::Free { .. } => None,
        }
    }

    /// Leaves an order for the session of one who waits, and wakes it.
    pub(super) fn order(&mut self, ticket: TicketId, change: impl FnOnce(&mut Orders)) {
        if let Some(entry) = self.entry(ticket)
            && let Place::Waiting(waker) = &mut entry.place
        {
            change(entry.orders.get_or_insert_default());
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        }
    }

    fn wait(&mut self, ticket: TicketId, context: &Context<'_>) {
        if let Some(entry) = self.entry(ticket)
            && let Place::Waiting(waker) = &mut entry.place
            && !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
    }
}

/// A wait in progress. Dropping it withdraws the transaction from the queue.
pub(crate) struct WaitingTicket {
    pub(super) hub: Rc<Hub>,
    pub(super) ticket: Option<TicketId>,
}

impl WaitingTicket {
    /// What the session is to do besides waiting. Asked before the outcome.
    pub(crate) fn take_orders(&mut self) -> Option<Box<Orders>> {
        let mut waiters = self.hub.waiters.borrow_mut();
        waiters.entry(self.ticket?)?.orders.take()
    }

    /// Ready when the wait is over. May be polled again only while pending.
    pub(crate) fn poll(&mut self, context: &Context<'_>) -> Poll<Outcome> {
        let Some(ticket) = self.ticket else {
            return Poll::Pending;
        };
        let mut waiters = self.hub.waiters.borrow_mut();
        match waiters.take(ticket) {
            Some(outcome) => {
                self.ticket = None;
                Poll::Ready(outcome)
            }
            None => {
                waiters.wait(ticket, context);
                Poll::Pending
            }
        }
    }
}

impl Drop for WaitingTicket {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let outcome = self.hub.waiters.borrow_mut().free(ticket);
        match outcome {
            // It was granted in the very moment the client left.
            Some(Outcome::Granted(server)) => self.hub.give_back(server),
            Some(Outcome::Rejected(_) | Outcome::OpenFailed(_)) => {}
            None if self.hub.holds.remove(ticket) => {}
            None => self.hub.tell(Input::Withdraw { ticket }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_ticket_finds_nothing_though_its_place_is_used_again() {
        let mut waiters = Waiters::default();
        let first = waiters.issue(None);
        let rejected = || Outcome::Rejected(Rejection::QueueFull { length: 1 });
        assert!(waiters.take(first).is_none());
        assert!(waiters.decide(first, rejected()).is_none());
        assert!(waiters.take(first).is_some());
        let second = waiters.issue(None);
        assert_ne!(first, second);
        assert!(waiters.decide(first, rejected()).is_some());
        assert!(waiters.take(second).is_none());
        assert!(waiters.free(second).is_none());
        assert_eq!(waiters.entries.len(), 1);
    }
}
