//! One server connection that listens for all sessions of a user and a database.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use bytes::BytesMut;
use pglanes_lanes::LaneId;
use pglanes_wire::frame::{self, HEADER};
use pglanes_wire::message;
use tokio::sync::Notify;

use super::{Mailbox, Owner};
use crate::hub::{Hub, PoolKey, open_connection};
use crate::stream::Stream;

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// How far a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscribed {
    /// Everything that is said from now on is heard.
    Heard,
    /// The session is woken when it is.
    Coming,
    /// It cannot be had: the session listens for itself.
    Impossible,
}

#[derive(Default)]
struct Channel {
    /// Which LISTEN it waits for.
    asked: u64,
    heard: bool,
    mailboxes: Vec<Rc<Mailbox>>,
}

/// What has been asked of the server and not been answered.
enum Asked {
    /// Of this channel; the number tells it from one of a time before.
    Listen(String, u64),
    Unlisten,
}

/// The connection as sessions see it.
pub(super) struct Listener {
    owner: Owner,
    channels: RefCell<HashMap<String, Channel>>,
    /// Queries to be sent, in order; written by sessions, taken by the task.
    to_ask: RefCell<VecDeque<(Asked, String)>>,
    /// Wakes the task: there is something to ask, or nobody listens any more.
    changed: Notify,
    asks: Cell<u64>,
}

fn quoted(channel: &str) -> String {
    format!("\"{}\"", channel.replace('"', "\"\""))
}

impl Listener {
    /// Starts the task.
    pub(super) fn start(hub: &Rc<Hub>, lane: LaneId, owner: Owner) -> Rc<Self> {
        let listener = Rc::new(Self {
            owner,
            channels: RefCell::default(),
            to_ask: RefCell::default(),
            changed: Notify::new(),
            asks: Cell::new(0),
        });
        let (hub, started) = (Rc::clone(hub), Rc::clone(&listener));
        tokio::task::spawn_local(async move {
            if let Err(why) = started.serve(&hub, lane).await {
                tracing::warn!(why, "a connection that listens for others has ended");
            }
            started.end(&hub);
        });
        listener
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(super) fn subscribe(&self, mailbox: &Rc<Mailbox>, channel: &str) -> Subscribed {
        let mut channels = self.channels.borrow_mut();
        if !channels.contains_key(channel) {
            let asks = self.asks.get() + 1;
            self.asks.set(asks);
            let entry = Channel {
                asked: asks,
                ..Channel::default()
            };
            channels.insert(channel.to_owned(), entry);
            let asked = (
                Asked::Listen(channel.to_owned(), asks),
                format!("LISTEN {}", quoted(channel)),
            );
            self.to_ask.borrow_mut().push_back(asked);
            self.changed.notify_one();
        }
        let entry = channels.entry(channel.to_owned()).or_default();
        if !mailbox.has(channel.as_bytes()) {
            mailbox.add(channel);
            entry.mailboxes.push(Rc::clone(mailbox));
        }
        match entry.heard {
            true => Subscribed::Heard,
            false => {
                mailbox.wait();
                Subscribed::Coming
            }
        }
    }

    pub(super) fn unsubscribe(&self, mailbox: &Rc<Mailbox>, channel: &[u8]) {
        let mut channels = self.channels.borrow_mut();
        let Ok(name) = std::str::from_utf8(channel) else {
            return;
        };
        let Some(entry) = channels.get_mut(name) else {
            return;
        };
        entry.mailboxes.retain(|known| !Rc::ptr_eq(known, mailbox));
        if entry.mailboxes.is_empty() {
            channels.remove(name);
            let asked = (Asked::Unlisten, format!("UNLISTEN {}", quoted(name)));
            self.to_ask.borrow_mut().push_back(asked);
            self.changed.notify_one();
        }
    }

    /// Everybody who listens here is told, or finds the connection gone.
    fn end(self: &Rc<Self>, hub: &Rc<Hub>) {
        hub.listeners.gone(self);
        for (_, channel) in self.channels.take() {
            for mailbox in channel.mailboxes {
                match channel.heard {
                    true => mailbox.lose(),
                    false => mailbox.answer(),
                }
            }
        }
    }

    /// Serves until nobody listens any more. The sessions' own server connections are those of the
    /// lanes' slots; this one is not.
    async fn serve(self: &Rc<Self>, hub: &Rc<Hub>, lane: LaneId) -> Result<(), String> {
        let live = hub.live();
        let key = PoolKey {
            user: self.owner.0.clone(),
            database: self.owner.1.clone(),
            startup: vec![
                // Known to the observer as ours: it is no session, and in nobody's slot.
                ("application_name".into(), "pglanes-listener".into()),
                ("client_encoding".into(), "UTF8".into()),
            ],
            replication: None,
        };
        let limit = live.config.upstream.connect_timeout;
        let opened = Box::pin(open_connection(hub, &live, &key, lane));
        let opened = tokio::time::timeout(limit, opened).await;
        drop(live);
        let (mut stream, _) = opened
            .map_err(|_| "no login in time".to_owned())?
            .map_err(|error| error.to_string())?;
        let mut received = Vec::new();
        let mut asked = VecDeque::new();
        loop {
            self.ask(&mut stream, &mut asked).await?;
            if self.channels.borrow().is_empty() && asked.is_empty() {
                stream.last_words(crate::hub::TERMINATE);
                return Ok(());
            }
            let whole = received.len();
            tokio::select! {
                // Reading had made room and was given up.
                () = self.changed.notified() => received.truncate(whole),
                read = stream.read_some(&mut received, READ) => match read {
                    Ok(0) => return Err("PostgreSQL closed it".into()),
                    Ok(_) => self.hear(&mut received, &mut asked)?,
                    Err(error) => return Err(error.to_string()),
                },
            }
        }
    }

    /// Sends what is to be asked.
    async fn ask(&self, stream: &mut Stream, asked: &mut VecDeque<Asked>) -> Result<(), String> {
        let mut out = BytesMut::new();
        for (what, sql) in self.to_ask.borrow_mut().drain(..) {
            message::query(&mut out, sql);
            asked.push_back(what);
        }
        if out.is_empty() {
            return Ok(());
        }
        let sent = stream.write_all(&out).await;
        sent.map_err(|error| error.to_string())
    }

    /// Takes in whole messages.
    fn hear(&self, received: &mut Vec<u8>, asked: &mut VecDeque<Asked>) -> Result<(), String> {
        let mut at = 0;
        while let Some(header) = frame::peek(&received[at..]).map_err(|error| error.to_string())? {
            let Some(whole) = received.get(at..at + header.total) else {
                break;
            };
            match header.tag {
                b'A' => self.tell(whole),
                b'Z' => {
                    if let Some(Asked::Listen(channel, asks)) = asked.pop_front() {
                        self.heard(&channel, asks);
                    }
                }
                // It cannot be refused but by a server that is going; then nobody waits in vain.
                b'E' => return Err("PostgreSQL refused to listen".into()),
                _ => {}
            }
            at += header.total;
        }
        received.drain(..at);
        Ok(())
    }

    fn heard(&self, channel: &str, asks: u64) {
        let mut channels = self.channels.borrow_mut();
        if let Some(entry) = channels.get_mut(channel)
            && entry.asked == asks
        {
            entry.heard = true;
            for mailbox in &entry.mailboxes {
                mailbox.answer();
            }
        }
    }

    /// Hands a notification to all who asked for its channel.
    fn tell(&self, frame: &[u8]) {
        let channel = channel_of(frame).and_then(|channel| std::str::from_utf8(channel).ok());
        let channels = self.channels.borrow();
        if let Some(entry) = channel.and_then(|channel| channels.get(channel)) {
            for mailbox in &entry.mailboxes {
                mailbox.put(frame);
            }
        }
    }
}

/// The channel that a NotificationResponse is of.
pub(crate) fn channel_of(frame: &[u8]) -> Option<&[u8]> {
    let body = frame.get(HEADER + 4..)?;
    frame::split_cstr(body).map(|(channel, _)| channel)
}
