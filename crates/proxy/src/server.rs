//! A server connection: the socket, what it owes, and what it has been told.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pglanes_lanes::{LaneId, PoolId, ServerId, Time};
use pglanes_wire::cancel_key::CancelKey;
use pglanes_wire::frame;
use pglanes_wire::parameters::{ParameterSet, parse_parameter_status};
use pglanes_wire::prepared::ServerStatements;
use pglanes_wire::replies::Replies;

use crate::hub::PoolCounts;
use crate::meter::Meter;
use crate::metrics::ServerEnd;
use crate::priority::{Backend, Kept};
use crate::session::Pins;
use crate::settings::Settings;
use crate::stream::Stream;

/// What the rest of the proxy knows of a server connection while a session uses it.
#[derive(Debug)]
pub(crate) struct ServerFace {
    pub(crate) id: ServerId,
    pub(crate) lane: LaneId,
    pub(crate) pool: PoolId,
    pub(crate) opened_at: Time,
    /// When its transaction began, or the last one ended.
    pub(crate) since: Cell<Time>,
    /// The session that has it (its process id), or 0.
    pub(crate) session: Cell<i32>,
    pub(crate) transactions: Cell<u64>,
    /// Statements prepared on it.
    pub(crate) prepared: Cell<u32>,
    /// It is to be closed when it comes back.
    pub(crate) retired: Cell<bool>,
    /// What its pool has done.
    pub(crate) counts: Rc<PoolCounts>,
    /// What a CancelRequest to PostgreSQL must carry.
    pub(crate) key: CancelKey,
    /// The process at the other end, as far as the connection tells.
    pub(crate) backend: Backend,
    /// Where that has, or may get, another priority; written when the configuration changes.
    pub(crate) kept: RefCell<Option<Kept>>,
    /// Cancel requests on their way to this backend. It is not handed on before they
    /// have arrived: they would hit the next client's query.
    pub(crate) cancels_under_way: Cell<u32>,
    /// Who waits for those to arrive.
    pub(crate) cancels_done: tokio::sync::Notify,
    /// The session that keeps the connection and waits for them with its next query.
    pub(crate) next_waits: RefCell<Option<Waker>>,
    /// When a session last got it.
    pub(crate) linked_at: Cell<Time>,
    /// How often it was ready for another query: the same number means the same query.
    pub(crate) turns: Cell<u32>,
    /// How often it got a query while none ran.
    pub(crate) begun: Cell<u32>,
    /// Whether a query of ours runs, which no cancel is meant for.
    pub(crate) ours: Cell<Ours>,
    /// Why the proxy itself cancelled the running statement: said to the client.
    pub(crate) cancelled_because: RefCell<Option<Because>>,
}

/// Why the proxy cancels, in the words and with the code of the error that the client gets.
#[derive(Debug, Clone)]
pub(crate) struct Because {
    pub(crate) text: String,
    pub(crate) sqlstate: &'static str,
    pub(crate) hint: Option<&'static str>,
    pub(crate) insistence: Insistence,
}

/// What is meant to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insistence {
    /// The statement that runs; if it ends by itself first, that is as good.
    Statement {
        /// The connection's [`ServerFace::turns`] while it does.
        turn: u32,
    },
    /// The transaction: if the statement has ended, it is aborted behind it.
    Transaction,
}

impl ServerFace {
    /// What runs, or that nothing does since: the same value means the same.
    pub(crate) fn runs(&self) -> (u32, u32) {
        (self.turns.get(), self.begun.get())
    }

    /// Whether a cancel is on its way, which is for the query that has ended: the next one, even of the same session, must not
    /// meet it. The context is woken when none is any more.
    pub(crate) fn next_must_wait(&self, context: &Context<'_>) -> bool {
        let waits = self.cancels_under_way.get() > 0;
        if waits {
            self.next_waits.replace(Some(context.waker().clone()));
        }
        waits
    }

    /// The transaction is to be aborted, and its client has not been told.
    pub(crate) fn is_to_abort(&self) -> bool {
        let because = self.cancelled_because.borrow();
        because
            .as_ref()
            .is_some_and(|why| why.insistence == Insistence::Transaction)
    }
}

/// What a query of ours on the connection means for a cancel request that arrives meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ours {
    /// None runs: the cancel is for the client's query.
    #[default]
    None,
    /// One that comes before the client's. The cancel means the client's, and waits.
    BeforeClients,
    /// As above, and a cancel waits.
    BeforeClientsCancelled,
    /// One that comes after the client's, which has been answered: the cancel comes too late.
    AfterClients,
}

/// A query of ours that is running on the connection.
#[derive(Debug)]
pub(crate) enum OwnQuery {
    /// The session's settings are being set; the client's messages follow at once.
    Adjusting { target: Rc<Settings> },
    /// As above, but the client's messages wait for the answer.
    AdjustingFirst {
        target: Rc<Settings>,
        /// As it was asked, to be asked again.
        sql: String,
        /// How often it was asked before.
        asked: u32,
    },
    /// The BEGIN that the client was granted in advance.
    Beginning,
    /// What sequences gave to others is being discarded.
    Discarding,
    /// The session gets its application_name back.
    Renaming,
    /// The transaction is being aborted, by a statement that must fail.
    Aborting,
    /// The server was asked which settings the session has made.
    Capturing {
        /// As it was asked, to be asked again.
        sql: String,
        /// How often it was asked before.
        asked: u32,
        rows: Vec<(String, String)>,
        /// A row could not be read for certain.
        unreadable: bool,
    },
    /// What would end the connection while it idles in the pool is reset.
    Resting {
        /// What is set then.
        target: Rc<Settings>,
    },
    /// The server was asked which state of the session is left.
    Looking {
        /// What was asked for.
        doubted: Pins,
        /// What of it is left; `None` before the answer.
        left: Option<Pins>,
    },
}

/// There is no unnamed statement on a connection: a simple Query has dropped it. Process ids
/// are positive.
pub(crate) const NO_UNNAMED: i32 = 0;
/// There may be one, and nobody knows whose.
pub(crate) const UNKNOWN_UNNAMED: i32 = -1;

/// One connection to PostgreSQL, logged in.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) face: Rc<ServerFace>,
    pub(crate) lane: LaneId,
    pub(crate) pool: PoolId,
    pub(crate) stream: Stream,
    pub(crate) replies: Replies,
    pub(crate) statements: ServerStatements,
    /// The start of a frame whose rest has not come.
    pub(crate) carry: Vec<u8>,
    /// Bytes of a large frame that are still to be passed on.
    pub(crate) passing: usize,
    /// What the socket did not take yet.
    pub(crate) unsent: Vec<u8>,
    /// Settings made over what the startup packet asked for.
    pub(crate) applied: Rc<Settings>,
    /// What the server reports.
    pub(crate) parameters: Rc<ParameterSet>,
    /// Queries of ours that are outstanding, oldest first.
    pub(crate) own: VecDeque<OwnQuery>,
    /// The error our own query met, to be told to the client.
    pub(crate) own_error: Option<Vec<u8>>,
    /// The session whose unnamed statement lies here (its process id), [`NO_UNNAMED`] or
    /// [`UNKNOWN_UNNAMED`].
    pub(crate) unnamed_of: i32,
    /// The hub's count of changed defaults when it was opened.
    pub(crate) defaults: u32,
    /// What the transaction has returned so far.
    pub(crate) returned: Returned,
    /// The scheduler was told that the session keeps it between its transactions.
    pub(crate) kept: bool,
    /// What the transaction takes, where its lane has an objective.
    pub(crate) meter: Meter,
    /// The session that used it last (its process id), or 0.
    pub(crate) last_session: i32,
    /// What sequences last gave here was given to the session that has it now, or may
    /// have been.
    pub(crate) sequences_are_ours: bool,
    /// A FATAL error has been read: the end follows.
    pub(crate) dying: bool,
    /// Since when PostgreSQL has had work of the client's: what its statements take is counted from there.
    pub(crate) asked_at: Option<Time>,
    /// Why it is closed, should it be dropped now.
    pub(crate) end: ServerEnd,
}

/// What a transaction has returned, for rules that go by it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Returned {
    /// Rows, and lines of COPY.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Rules that were met, a bit each.
    pub(crate) met: u32,
    /// Whether the lane has any that go by it.
    pub(crate) counts: bool,
}

/// What an idle connection turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Quiet,
    Dead,
}

impl Server {
    /// A query of ours is sent.
    pub(crate) fn own_asked(&mut self, own: OwnQuery) {
        self.own.push_back(own);
        self.note_ours();
        // A simple Query drops the unnamed statement.
        self.unnamed_of = NO_UNNAMED;
    }

    /// The oldest query of ours is answered.
    pub(crate) fn own_answered(&mut self) -> Option<OwnQuery> {
        let own = self.own.pop_front()?;
        self.note_ours();
        Some(own)
    }

    /// Nothing is owed, half-read or half-sent: the only state in which it may be handed on.
    pub(crate) fn is_clean(&self) -> bool {
        self.replies.is_settled()
            && self.carry.is_empty()
            && self.passing == 0
            && self.unsent.is_empty()
            && !self.dying
            && self.own.is_empty()
    }

    /// Notes for who has a cancel to deliver which query of ours is outstanding.
    fn note_ours(&self) {
        let after = |own: &OwnQuery| {
            matches!(
                own,
                OwnQuery::Capturing { .. } | OwnQuery::Looking { .. } | OwnQuery::Resting { .. }
            )
        };
        let ours = if self.own.is_empty() {
            Ours::None
        } else if self.own.iter().all(after) {
            Ours::AfterClients
        } else {
            Ours::BeforeClients
        };
        let waits = self.face.ours.get() == Ours::BeforeClientsCancelled;
        if !(waits && ours == Ours::BeforeClients) {
            self.face.ours.set(ours);
        }
    }

    /// Looks whether an idle connection is still alive, without waiting and, as long as
    /// nothing has come, without a system call. Notices and parameters may come while
    /// idle; an error is a dying server's last word.
    pub(crate) fn check_idle(&mut self) -> Health {
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = [0; 2048];
        loop {
            match self.stream.poll_read(&mut context, &mut buffer) {
                Poll::Pending => return Health::Quiet,
                Poll::Ready(Ok(read)) if read > 0 => self.carry.extend_from_slice(&buffer[..read]),
                Poll::Ready(_) => return Health::Dead,
            }
            if !self.absorb_idle() {
                return Health::Dead;
            }
        }
    }

    /// Takes in what came while idle; false if it is anything but asynchronous, or has
    /// not all come: a connection in the middle of saying something is not handed on.
    fn absorb_idle(&mut self) -> bool {
        let mut at = 0;
        while let Ok(Some(header)) = frame::peek(&self.carry[at..]) {
            let Some(whole) = self.carry.get(at..at + header.total) else {
                return false;
            };
            match header.tag {
                b'S' => {
                    if let Some((name, value)) = parse_parameter_status(&whole[frame::HEADER..]) {
                        Rc::make_mut(&mut self.parameters).set(name, value);
                    }
                }
                b'N' | b'A' => {}
                _ => return false,
            }
            at += header.total;
        }
        let whole = at == self.carry.len();
        self.carry.clear();
        whole
    }
}
