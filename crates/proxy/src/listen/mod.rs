//! LISTEN without a pin, where a lane asks for it (`listen: shared`): one server connection for each
//! user and database listens for all of their sessions, and what it hears goes to each that
//! asked for the channel.
//!
//! A session's LISTEN still runs at its own server connection, which answers it in its words, but
//! only once the shared connection listens; behind it the proxy says UNLISTEN there, and the
//! connection can go back. Nothing that is said after the answer is missed, and nothing is heard
//! twice: what the session's own connection hears meanwhile of a shared channel is dropped.
//!
//! - `listener`: the connection, and the task that serves it
//! - `mailbox`: what waits for one session

mod listener;
mod mailbox;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pglanes_lanes::LaneId;

use crate::hub::Hub;
use listener::Listener;
pub(crate) use listener::{Subscribed, channel_of};
pub(crate) use mailbox::{Mailbox, Trouble};

/// Connections that listen, at most: each is one more than the lanes' slots. A session for which there
/// would be another one is pinned instead.
const MOST_LISTENERS: usize = 16;
/// Channels of one session, at most; one that listens to more is pinned.
const MOST_CHANNELS: usize = 1024;

/// User and database.
type Owner = (String, String);

/// All connections that listen for others.
#[derive(Default)]
pub(crate) struct Listeners {
    by_owner: RefCell<HashMap<Owner, Rc<Listener>>>,
}

impl Listeners {
    /// Subscribes a session to a channel, or looks how far that is.
    pub(crate) fn subscribe(
        &self,
        hub: &Rc<Hub>,
        lane: LaneId,
        mailbox: &Rc<Mailbox>,
        channel: &str,
    ) -> Subscribed {
        if mailbox.channels() >= MOST_CHANNELS && !mailbox.has(channel.as_bytes()) {
            return Subscribed::Impossible;
        }
        let owner = mailbox.owner();
        let known = self.by_owner.borrow().get(owner).map(Rc::clone);
        let listener = match known {
            Some(known) => known,
            // A wait that has come to nothing: its connection could not be made, or has ended.
            None if mailbox.has(channel.as_bytes()) => {
                mailbox.forget(channel.as_bytes());
                return Subscribed::Impossible;
            }
            None if self.by_owner.borrow().len() >= MOST_LISTENERS => {
                return Subscribed::Impossible;
            }
            None => {
                let listener = Listener::start(hub, lane, owner.clone());
                let started = Rc::clone(&listener);
                self.by_owner.borrow_mut().insert(owner.clone(), started);
                listener
            }
        };
        listener.subscribe(mailbox, channel)
    }

    /// The session no longer listens to the channel.
    pub(crate) fn unsubscribe(&self, mailbox: &Rc<Mailbox>, channel: &[u8]) {
        mailbox.forget(channel);
        let known = self.by_owner.borrow().get(mailbox.owner()).map(Rc::clone);
        if let Some(listener) = known {
            listener.unsubscribe(mailbox, channel);
        }
    }

    /// The session listens to nothing more.
    pub(crate) fn unsubscribe_all(&self, mailbox: &Rc<Mailbox>) {
        for channel in mailbox.take_channels() {
            self.unsubscribe(mailbox, &channel);
        }
    }

    /// Its connection has ended, or never was: whoever comes starts another.
    fn gone(&self, listener: &Rc<Listener>) {
        let mut listeners = self.by_owner.borrow_mut();
        let is_it = |known: &Rc<Listener>| Rc::ptr_eq(known, listener);
        if listeners.get(listener.owner()).is_some_and(is_it) {
            listeners.remove(listener.owner());
        }
    }
}
