//! What was heard for one session and waits for a moment at which its client can be told.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use super::Owner;
use crate::hub::SessionFace;

/// Bytes that may wait for one session. PostgreSQL itself would keep what a client does not read
/// in a queue that is everybody's, up to 8 GB.
const MOST_WAITING: usize = 1 << 20;

/// Why a session has to end: it has missed something, or may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection that listened for it has ended.
    ConnectionLost,
    /// Its client does not read.
    Full,
}

/// The notifications of one session.
pub(crate) struct Mailbox {
    owner: Owner,
    face: Rc<SessionFace>,
    /// The channels it has asked for.
    channels: RefCell<HashSet<Box<[u8]>>>,
    /// Whole NotificationResponse frames, written by the listener, taken by the session.
    waiting: RefCell<Vec<u8>>,
    trouble: Cell<Option<Trouble>>,
    /// The session has asked for a channel and is to be woken when it is heard.
    waits: Cell<bool>,
}

impl Mailbox {
    pub(crate) fn new(user: &str, database: &str, face: &Rc<SessionFace>) -> Rc<Self> {
        Rc::new(Self {
            owner: (user.to_owned(), database.to_owned()),
            face: Rc::clone(face),
            channels: RefCell::default(),
            waiting: RefCell::default(),
            trouble: Cell::new(None),
            waits: Cell::new(false),
        })
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(super) fn channels(&self) -> usize {
        self.channels.borrow().len()
    }

    /// Whether the channel is heard, or will be, for the session elsewhere.
    pub(crate) fn has(&self, channel: &[u8]) -> bool {
        self.channels.borrow().contains(channel)
    }

    pub(super) fn add(&self, channel: &str) {
        self.channels.borrow_mut().insert(channel.as_bytes().into());
    }

    pub(super) fn forget(&self, channel: &[u8]) {
        self.channels.borrow_mut().remove(channel);
    }

    pub(super) fn take_channels(&self) -> HashSet<Box<[u8]>> {
        self.channels.take()
    }

    /// Whether the session has to wait before it looks again.
    pub(crate) fn waits(&self) -> bool {
        self.waits.get()
    }

    pub(super) fn wait(&self) {
        self.waits.set(true);
    }

    /// What the session waits for has come, or has come to nothing.
    pub(super) fn answer(&self) {
        self.waits.set(false);
        self.wake();
    }

    /// Wakes the session: something it waits for may have come.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.face.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Puts a notification in.
    pub(super) fn put(&self, frame: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + frame.len() > MOST_WAITING {
            self.trouble.set(Some(Trouble::Full));
            *waiting = Vec::new();
        } else if self.trouble.get().is_none() {
            waiting.extend_from_slice(frame);
        }
        drop(waiting);
        self.wake();
    }

    pub(super) fn lose(&self) {
        self.trouble.set(Some(Trouble::ConnectionLost));
        self.answer();
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    /// Moves what waits to the end of `out`; whether there was anything.
    pub(crate) fn take(&self, out: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return false;
        }
        out.append(&mut waiting);
        // An idle session owns no buffer.
        *waiting = Vec::new();
        true
    }
}
