//! A session: one client, from its login to its end.
//!
//! `Idle -> Waiting -> Linked -> Idle ...`, and `Closing` at the end. A session asks for
//! a server connection at the first message of a transaction and gives it back when
//! PostgreSQL says that the transaction is over and nothing more is owed. It is one hand-written
//! future: between transactions it owns no buffer, and what it reads goes out from the
//! buffer it was read into.
//!
//! - `classify`: the lane of the session and of each transaction, and the lane that it chooses
//! - `begin`, `lazily`, `ahead`: the first message of a transaction, while there is no server connection
//! - `relay`: both directions while there is one
//! - `requests`, `statements`, `unnamed`, `names`, `sequences`: what the client says
//! - `scope`: what the names in a statement mean to the session
//! - `answers`, `settle`, `rest`: what the server says, and the end of a transaction
//! - `stall`: clients that keep a server connection waiting
//! - `orders`: what rules make it do
//! - `pins`, `left`: session state that keeps the connection, and whether it is still there
//! - `channels`, `unlistened`: LISTEN without a pin
//! - `refuse`: errors in the proxy's own name
//! - `notes`: what is noted for a recording

mod ahead;
mod answers;
mod begin;
mod channels;
mod classify;
mod lazily;
mod left;
mod link;
mod names;
mod notes;
mod orders;
mod pins;
mod refuse;
mod relay;
mod requests;
mod rest;
mod scope;
mod sequences;
mod settle;
mod stall;
mod statements;
mod unlistened;
mod unnamed;

use std::cell::RefCell;
use std::future::Future;
use std::hash::RandomState;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use pglanes_lanes::classify::{Classified, Origin};
use pglanes_lanes::{Input, LaneId, PoolId, Turns};
use pglanes_wire::message::{self, ErrorBody, Severity};
use pglanes_wire::parameters::ParameterSet;
use pglanes_wire::prepared::ClientStatements;
use pglanes_wire::sql::Effects;

use crate::hub::relayed::RelayedSession;
use crate::hub::{
    Activity, AskedOfSession, Hub, LinkedServer, Phase, SessionFace, Stall, WaitingTicket,
};
use crate::settings::Settings;
use crate::stream::{Stream, poll_flush};
use channels::SharedChannels;
use lazily::Block;
use notes::Notes;
pub(crate) use pins::{Pins, Reason};
pub(crate) use refuse::NONE_LEFT;
use settle::Work;
use unnamed::Unnamed;

/// What PostgreSQL says on pg_terminate_backend.
const KILLED: &str = "terminating connection due to administrator command";

/// Bytes read at once. One buffer serves all sessions of the thread.
const READ_BUFFER: usize = 64 * 1024;

thread_local! {
    /// The buffers of whichever session is being polled: what was read, and what goes
    /// out when it is not the same.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ_BUFFER].into_boxed_slice(),
        assembled: Vec::new(),
    });
}

struct Scratch {
    read: Box<[u8]>,
    assembled: Vec<u8>,
}

/// Who logged in, as what. Interned: sessions of the same kind share one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The role at PostgreSQL.
    pub(crate) user: String,
    /// The database at PostgreSQL.
    pub(crate) database: String,
    pub(crate) pool: PoolId,
    /// Settings every transaction begins with unless the session changed them: the
    /// application_name of the startup packet.
    pub(crate) initial: Rc<Settings>,
}

enum State {
    /// Between transactions.
    Idle,
    /// The transaction waits for a slot; its first bytes are in the inbox.
    Waiting(WaitingTicket),
    /// In a transaction, or pinned.
    Linked(LinkedServer),
    /// It was given a server connection with its login, and keeps it.
    Kept(LinkedServer),
    /// The last words are being sent.
    Closing,
}

/// What a step came to.
enum Step {
    /// Something changed: look again.
    Again,
    /// Nothing to do until a socket, a grant or a request wakes the session.
    Pending,
    /// The session is over.
    End,
}

/// One client.
pub(crate) struct Session {
    hub: Rc<Hub>,
    client: Stream,
    face: Rc<SessionFace>,
    identity: Rc<Identity>,
    /// It logged in at PostgreSQL itself, and its pool may live on such logins.
    relayed: Option<Box<RelayedSession>>,
    class: Classified,
    class_generation: u32,
    /// Where a rule has moved it, whatever its class.
    moved: Option<LaneId>,
    /// Where the client comes from.
    origin: Origin,
    /// What the client set, in force at its next transaction.
    settings: Rc<Settings>,
    /// The parameters the client has been told.
    told: Rc<ParameterSet>,
    statements: Option<Box<ClientStatements<RandomState>>>,
    unnamed: Option<Box<Unnamed>>,
    /// Bytes of the client that were read and not taken yet.
    inbox: Vec<u8>,
    /// Bytes the client's socket did not take.
    outbox: Vec<u8>,
    /// Bytes of a large frame of the client that are still to come.
    passing: usize,
    /// What becomes of those.
    passing_to: PassTo,
    /// After an error in the proxy's own name the client's messages are skipped to Sync.
    skipping: bool,
    /// The inbox holds bytes that were not looked at in the present state.
    unseen: bool,
    /// A transaction block that PostgreSQL does not know of yet.
    block: Block,
    pins: Pins,
    /// What is heard for it elsewhere.
    shared_channels: Option<Box<SharedChannels>>,
    /// What the statements do that were prepared by SQL.
    sql_prepared: Effects,
    work: Work,
    /// The lane the transaction asked for its slot in, and when it is its turn there.
    turns: Turns,
    /// While what runs is recorded.
    notes: Option<Box<Notes>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PassTo {
    Server,
    Nowhere,
}

impl Session {
    pub(crate) fn new(
        hub: Rc<Hub>,
        client: Stream,
        face: Rc<SessionFace>,
        identity: Rc<Identity>,
        class: Classified,
        told: Rc<ParameterSet>,
        inbox: Vec<u8>,
    ) -> Self {
        hub.metrics.clients.add(1);
        let class_generation = hub.live().generation;
        hub.tell(Input::SessionOpened { lane: class.lane });
        Self {
            client,
            settings: Rc::clone(&identity.initial),
            face,
            identity,
            relayed: None,
            class,
            class_generation,
            moved: None,
            origin: Origin::default(),
            told,
            statements: None,
            unnamed: None,
            unseen: !inbox.is_empty(),
            inbox,
            outbox: Vec::new(),
            passing: 0,
            passing_to: PassTo::Server,
            skipping: false,
            block: Block::None,
            pins: Pins::default(),
            shared_channels: None,
            sql_prepared: Effects::NONE,
            work: Work::default(),
            turns: Turns::new(class.lane),
            notes: None,
            state: State::Idle,
            hub,
        }
    }

    /// Notes where the client comes from.
    pub(crate) fn coming_from(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Notes the login that its pool may live on.
    pub(crate) fn relayed(mut self, relayed: Option<RelayedSession>) -> Self {
        self.relayed = relayed.map(Box::new);
        self
    }

    /// Starts with this server connection, if there is one.
    pub(crate) fn keeping(mut self, server: Option<LinkedServer>) -> Self {
        if let Some(server) = server {
            self.state = State::Kept(server);
        }
        self
    }

    fn step_kept(&mut self, context: &mut Context<'_>, server: LinkedServer) -> Step {
        SCRATCH.with_borrow_mut(|scratch| {
            let inbox = std::mem::take(&mut self.inbox);
            self.link(context, server, &inbox, &mut scratch.assembled)
        })
    }

    fn step(&mut self, context: &mut Context<'_>) -> Step {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.step_idle(context),
            State::Waiting(ticket) => self.step_waiting(context, ticket),
            State::Linked(server) => self.step_linked(context, server),
            State::Kept(server) => self.step_kept(context, server),
            State::Closing => self.step_closing(context),
        }
    }

    fn step_closing(&mut self, context: &mut Context<'_>) -> Step {
        let asked = self.face.asked.get();
        if matches!(
            asked,
            AskedOfSession::EndStalled(Stall::LastWords) | AskedOfSession::Kill
        ) && self.face.stall.get().0 == Stall::LastWords
        {
            return Step::End;
        }
        match poll_flush(&mut self.client, context, &mut self.outbox) {
            Poll::Pending => {
                if self.face.stall.get().0 != Stall::LastWords {
                    self.face
                        .stall
                        .set((Stall::LastWords, self.hub.clock.now()));
                }
                self.state = State::Closing;
                Step::Pending
            }
            Poll::Ready(_) => Step::End,
        }
    }

    /// Ends the session with a FATAL error behind whatever is still to be sent.
    fn fatal(&mut self, sqlstate: &str, text: &str) -> Step {
        let mut out = BytesMut::new();
        message::error(&mut out, &ErrorBody::new(Severity::Fatal, sqlstate, text));
        self.outbox.extend_from_slice(&out);
        self.face.activity.replace(Activity::Idle);
        self.state = State::Closing;
        Step::Again
    }

    fn protocol_violation(&mut self, text: &str) -> Step {
        self.fatal("08P01", text)
    }

    /// The proxy, or the session alone, is to end, and nothing runs in it.
    fn is_told_to_end(&self) -> bool {
        self.hub.phase.get() == Phase::Draining
            || matches!(
                self.face.asked.get(),
                AskedOfSession::End | AskedOfSession::Kill
            )
    }

    fn say_goodbye(&mut self) -> Step {
        if self.face.asked.get() == AskedOfSession::Kill {
            return self.fatal("57P01", KILLED);
        }
        self.fatal("57P01", "terminating connection: pglanes is shutting down")
    }

    /// The application_name the client goes by now.
    fn application_name(&self) -> &str {
        self.told.get("application_name").unwrap_or("")
    }
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        {
            let mut waker = this.face.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(context.waker()))
            {
                *waker = Some(context.waker().clone());
            }
        }
        loop {
            match this.step(context) {
                Step::Again => {}
                Step::Pending => return Poll::Pending,
                Step::End => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.sessions.borrow_mut().remove(self.face.key.pid());
        self.hub.metrics.clients.add(-1);
        self.unpin_all();
        self.leave_channels();
        let lane = self.class.lane;
        // First the ticket or the server connection, then the session itself.
        self.state = State::Closing;
        self.hub.tell(Input::SessionClosed { lane });
    }
}
