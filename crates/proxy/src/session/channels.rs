//! LISTEN in a lane whose sessions share one connection for it (`listen: shared`).

use std::rc::Rc;

use pglanes_wire::frame::{HEADER, split_cstr};
use pglanes_wire::message::TransactionStatus;
use pglanes_wire::sql::{self, Effects, Inspection, Listening};

use super::pins::Reason;
use super::requests::Said;
use super::unlistened::Unlistened;
use super::unnamed::Unnamed;
use super::{Session, Step};
use crate::hub::LinkedServer;
use crate::listen::{Mailbox, Subscribed, Trouble, channel_of};
use crate::server::{OwnQuery, Server};

/// PostgreSQL cuts longer names off.
const LONGEST_CHANNEL: usize = 63;

/// What a session listens to through the shared connection.
pub(super) struct SharedChannels {
    mailbox: Rc<Mailbox>,
    /// The channel of the LISTEN that is about to be sent.
    about: Option<String>,
    /// Channels that the session's own connection listens to as well, until it is told not to.
    doubled: Vec<String>,
    /// As above; what fails from now on has no part in them.
    confirmed: Vec<String>,
    /// What it no longer listens to, once the transaction is over.
    ended: Unlistened,
}

impl Session {
    /// Whether a statement's LISTEN has to wait until the shared connection listens. Once it
    /// does, the channel is noted for when the statement is sent.
    pub(super) fn listen_must_wait(
        &mut self,
        server: &Server,
        seen: Inspection,
        text: &[u8],
    ) -> bool {
        if !seen.effects.contains(Effects::LISTEN) || server.replies.is_skipping() {
            return false;
        }
        let Some(channel) = self.shareable(server, seen, text) else {
            return false;
        };
        let (hub, identity, face) = (&self.hub, &self.identity, &self.face);
        let shared = self.shared_channels.get_or_insert_with(|| {
            Box::new(SharedChannels {
                mailbox: Mailbox::new(&identity.user, &identity.database, face),
                about: None,
                doubled: Vec::new(),
                confirmed: Vec::new(),
                ended: Unlistened::default(),
            })
        });
        shared.about = None;
        let lane = self.class.lane;
        match hub
            .listeners
            .subscribe(hub, lane, &shared.mailbox, &channel)
        {
            Subscribed::Heard => {
                shared.about = Some(channel);
                false
            }
            Subscribed::Coming => true,
            Subscribed::Impossible => false,
        }
    }

    /// As above, for the unnamed statement, which is bound next.
    pub(super) fn unnamed_must_wait(&mut self, server: &Server) -> bool {
        let (seen, text) = match self.unnamed.as_deref() {
            Some(Unnamed::Plain { parse, inspection })
                if inspection.effects.contains(Effects::LISTEN) =>
            {
                let text = split_cstr(&parse[HEADER + 1..]).map_or(&[][..], |(text, _)| text);
                (*inspection, text.to_vec())
            }
            _ => return false,
        };
        self.listen_must_wait(server, seen, &text)
    }

    /// Whether the session waits for the shared connection to listen.
    pub(super) fn listener_is_coming(&self) -> bool {
        let shared = self.shared_channels.as_ref();
        shared.is_some_and(|shared| shared.mailbox.waits())
    }

    /// The channel of a lone LISTEN that can be shared: outside a transaction block (in one, it
    /// holds from its commit on, or never), with a name that is the same in every encoding.
    fn shareable(&self, server: &Server, seen: Inspection, text: &[u8]) -> Option<String> {
        let shared = self.hub.live().options(self.class.lane).share_listen;
        let outside = server.replies.status_is_known()
            && server.replies.status() == TransactionStatus::Idle
            && !super::lazily::in_block(server);
        if !shared || !outside || seen.statements != 1 || self.pins.contains(Reason::Listen) {
            return None;
        }
        // What is heard comes in UTF-8.
        if self.told.get("client_encoding") != Some("UTF8") {
            return None;
        }
        match sql::channels(text).as_slice() {
            [Listening::On(name)] if name.is_ascii() && name.len() <= LONGEST_CHANNEL => {
                Some(name.clone())
            }
            _ => None,
        }
    }

    /// Takes the LISTEN out of what a statement does, if it is shared; follows its UNLISTENs.
    pub(super) fn share_channels(
        &mut self,
        server: &Server,
        effects: Effects,
        said: Said,
        text: &[u8],
    ) -> Effects {
        let Some(shared) = &mut self.shared_channels else {
            return effects;
        };
        let effects = match shared.about.take() {
            Some(channel) => {
                shared.doubled.push(channel);
                effects.without(Effects::LISTEN)
            }
            None => effects,
        };
        // A Query that is being sent is among those already; the Sync behind a Bind is not.
        let before = server.replies.readies_outstanding() + u32::from(said == Said::Bind);
        let turn = server.face.turns.get().wrapping_add(before);
        let ends = effects.intersects(Effects::UNLISTEN.union(Effects::UNLISTEN_ALL));
        if ends || !shared.ended.is_empty() {
            for said in sql::channels(text) {
                shared.ended.follow(said, turn);
            }
        }
        effects
    }

    /// Whether a rollback could bring back what the session listened to: then even a statement counts that does nothing
    /// else to it.
    pub(super) fn has_unlistened(&self) -> bool {
        let shared = self.shared_channels.as_ref();
        shared.is_some_and(|shared| !shared.ended.is_empty())
    }

    /// A DISCARD ALL has succeeded.
    pub(super) fn channels_discarded(&mut self) {
        if let Some(shared) = &mut self.shared_channels {
            shared.ended.discarded();
        }
    }

    /// ReadyForQuery: outside a transaction block what was sent up to it is done. No LISTEN is sent behind more.
    pub(super) fn channels_answered(&mut self, server: &Server) {
        if let Some(shared) = &mut self.shared_channels {
            let status = server.replies.status();
            shared.ended.answered(server.face.turns.get(), status);
            if status == TransactionStatus::Idle {
                shared.confirmed.append(&mut shared.doubled);
            }
        }
    }

    /// The transaction is over. What the session's own connection listens to for it is given up
    /// there, and what it no longer listens to is given up elsewhere.
    pub(super) fn hand_over_channels(&mut self, server: &mut Server) {
        let Some(shared) = &mut self.shared_channels else {
            return;
        };
        let (listeners, mailbox) = (&self.hub.listeners, &shared.mailbox);
        for ended in shared.ended.take() {
            match ended {
                Listening::Off(channel) => listeners.unsubscribe(mailbox, channel.as_bytes()),
                Listening::AllOff => listeners.unsubscribe_all(mailbox),
                _ => {}
            }
        }
        let mut doubled = std::mem::take(&mut shared.confirmed);
        doubled.append(&mut shared.doubled);
        // The session's own connection may listen to them for a LISTEN of its own by now, sent behind. It is pinned, and what is
        // heard twice is passed on once.
        if doubled.is_empty() || self.pins.contains(Reason::Listen) {
            return;
        }
        let unlisten = |channel: &String| format!("UNLISTEN \"{}\";", channel.replace('"', "\"\""));
        let sql: String = doubled.iter().map(unlisten).collect();
        // Refused only inside a COPY, and nothing runs here.
        let _ = Self::ask_ourselves(server, OwnQuery::Discarding, sql);
    }

    /// An error: a LISTEN that was on its way never came to be.
    pub(super) fn channels_failed(&mut self) {
        let Some(shared) = &mut self.shared_channels else {
            return;
        };
        shared.ended.failed();
        for channel in std::mem::take(&mut shared.doubled) {
            let listeners = &self.hub.listeners;
            listeners.unsubscribe(&shared.mailbox, channel.as_bytes());
        }
    }

    /// Whether a notification of the session's own connection comes from the shared one too.
    pub(super) fn hears_elsewhere(&self, frame: &[u8]) -> bool {
        let channel = self.shared_channels.as_ref().zip(channel_of(frame));
        channel.is_some_and(|(shared, channel)| shared.mailbox.has(channel))
    }

    /// Takes what waits for the client, at a moment at which PostgreSQL would say it: between
    /// transactions. Whether there was something.
    pub(super) fn take_mail(&mut self) -> bool {
        let Some(shared) = &self.shared_channels else {
            return false;
        };
        // A client that does not read is not given more.
        self.outbox.is_empty() && shared.mailbox.take(&mut self.outbox)
    }

    /// As [`Self::take_mail`], for a session that stays on its connection.
    pub(super) fn take_mail_linked(&mut self, server: &LinkedServer) -> bool {
        self.shared_channels.is_some()
            && server.is_clean()
            && self.work.is_between_transactions(server)
            && self.take_mail()
    }

    /// Gives up all it listens to through the shared connection.
    pub(super) fn leave_channels(&self) {
        if let Some(shared) = &self.shared_channels {
            self.hub.listeners.unsubscribe_all(&shared.mailbox);
        }
    }

    /// What it listens to may have been missed: it ends, as a session does directly whose backend
    /// has ended.
    pub(super) fn missed_mail(&mut self) -> Option<Step> {
        let trouble = self.shared_channels.as_ref()?.mailbox.trouble()?;
        Some(match trouble {
            Trouble::ConnectionLost => self.fatal(
                "57P01",
                "terminating connection: the server connection that listened for it has ended",
            ),
            Trouble::Full => self.fatal(
                "53400",
                "terminating connection: too many notifications wait for this client",
            ),
        })
    }
}
