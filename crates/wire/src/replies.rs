//! What a server connection still owes: the order of the answers that are
//! outstanding, and with it the only moment at which the connection may be handed on.
//!
//! Every frontend message that is answered pushes one [`Expect`]; every backend
//! message is held against the oldest of them (PostgreSQL documentation, "Message
//! Flow"). Messages of our own travel in the same order, so that their answers are
//! swallowed, and answers we give in the server's place stand exactly where the
//! server's would have stood. Anything that does not fit is [`OutOfSync`]: the
//! connection is then closed, never guessed at.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use thiserror::Error;

use crate::message::TransactionStatus;
use crate::prepared::StatementId;

/// The most answers that may be outstanding on one server connection. A client that
/// pipelines further is read on once some have come back.
pub const MOST_OUTSTANDING: usize = 65_536;

/// One answer that is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A simple Query of the client, up to its ReadyForQuery.
    Query,
    /// A simple Query of ours: everything up to its ReadyForQuery is swallowed.
    Own,
    /// A FunctionCall, up to its ReadyForQuery.
    FunctionCall,
    /// A named Parse of the client, sent under our name for its content.
    Parse(Prepared),
    /// A Parse that carries no name of ours and makes no unnamed statement (passed on as it came).
    ParsePlain,
    /// An unnamed Parse of the client, passed on as it came.
    ParseUnnamed,
    /// A Parse we put in, so that a statement exists here: swallowed.
    ParseOwn(Prepared),
    /// An unnamed Parse we put in on behalf of the client: swallowed.
    ParsePlainOwn,
    /// A Bind.
    Bind,
    /// A Describe of a statement or a portal.
    Describe,
    /// An Execute.
    Execute,
    /// A Close of the client that reached the server.
    Close,
    /// A Close of ours, making room for another statement: swallowed.
    CloseOwn(Prepared),
    /// A Close of the unnamed statement that another session left: swallowed.
    CloseUnnamedOwn,
    /// A Sync, answered by ReadyForQuery.
    Sync,
    /// Not answered: marks where the client ended a COPY it had not yet been granted.
    CopyEnd,
    /// An unnamed Parse of the client, sent under our name for its content.
    ParseShared(Prepared),
    /// A named Parse answered in the server's place: the statement exists there already.
    AnsweredParse,
    /// As above, for an unnamed Parse.
    AnsweredUnnamedParse,
    /// A Close answered in the server's place: the statement stays for others.
    AnsweredClose,
}

impl Expect {
    /// Whether a statement's name depends on the answer.
    fn is_naming(self) -> bool {
        matches!(
            self,
            Self::Parse(_)
                | Self::ParseOwn(_)
                | Self::ParseShared(_)
                | Self::CloseOwn(_)
                | Self::AnsweredParse
                | Self::AnsweredUnnamedParse
                | Self::AnsweredClose
        )
    }
}

/// A statement under our name on one server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// Whose content it is.
    pub statement: StatementId,
    /// The connection's generation of names (it changes with DEALLOCATE ALL).
    pub generation: u32,
}

/// What to do with a backend message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It is the client's.
    Forward,
    /// It answers something of ours.
    Swallow,
    /// ParseComplete for a named statement of the client: forward, and the name holds.
    NamedParsed,
    /// ReadyForQuery for the client.
    Ready {
        /// Nothing more is owed.
        settled: bool,
    },
    /// ReadyForQuery of our own query: swallow.
    OwnReady {
        /// Nothing more is owed.
        settled: bool,
    },
}

/// What an error undid of what had been counted as prepared or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// This client Parse never took place: its name does not hold.
    ClientParse(Option<Prepared>),
    /// The oldest Close of a client's name that is not answered never took place.
    ClientClose,
    /// This Parse under a name of ours never took place.
    OwnParse(Prepared),
    /// This Close of ours never took place: the statement still exists.
    OwnClose(Prepared),
    /// The client's unnamed Parse never took place.
    UnnamedParse,
    /// The oldest query of ours was ignored.
    Own,
}

/// An answer that stands where the server's would have stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPlace {
    /// ParseComplete, and the client's oldest unconfirmed name holds.
    NamedParseComplete,
    /// ParseComplete.
    ParseComplete,
    /// CloseComplete.
    CloseComplete,
}

/// The server said something that answers nothing it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("message {tag:?} does not answer {expected:?}")]
pub struct OutOfSync {
    /// The backend message.
    pub tag: char,
    /// The oldest outstanding answer.
    pub expected: Option<Expect>,
}

/// Whether the connection is inside a COPY from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CopyIn {
    No,
    Running,
    Ended,
}

/// The answers one server connection owes, oldest first.
#[derive(Debug)]
pub struct Replies {
    expected: VecDeque<Expect>,
    /// How many of these make or take a name.
    naming: usize,
    undone: Vec<Undone>,
    status: TransactionStatus,
    skipping: bool,
    copy_in: CopyIn,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            expected: VecDeque::new(),
            naming: 0,
            undone: Vec::new(),
            status: TransactionStatus::Idle,
            skipping: false,
            copy_in: CopyIn::No,
        }
    }
}

impl Replies {
    /// The transaction status of the last ReadyForQuery.
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Nothing is outstanding.
    pub fn is_settled(&self) -> bool {
        self.expected.is_empty() && !self.skipping
    }

    fn pop(&mut self) -> Option<Expect> {
        let expect = self.expected.pop_front()?;
        self.naming -= usize::from(expect.is_naming());
        Some(expect)
    }

    /// Whether names of an earlier batch are made or taken and nobody knows yet if that
    /// held: an error would have undone it, while what comes behind its Sync counts. Those
    /// answers come without anything more being sent.
    pub fn names_in_doubt(&self) -> bool {
        if self.naming == 0 {
            return false;
        }
        let mut from_naming = self
            .expected
            .iter()
            .skip_while(|expect| !expect.is_naming());
        from_naming.any(|expect| *expect == Expect::Sync)
    }

    /// Whether [`Replies::status`] is what a message sent now would find: no
    /// ReadyForQuery of the client's is outstanding.
    pub fn status_is_known(&self) -> bool {
        let mut expected = self.expected.iter();
        !expected
            .any(|expect| matches!(expect, Expect::Sync | Expect::Query | Expect::FunctionCall))
    }

    /// ReadyForQuery messages of the client's that are outstanding.
    pub fn readies_outstanding(&self) -> u32 {
        let readies = self
            .expected
            .iter()
            .filter(|expect| matches!(expect, Expect::Sync | Expect::Query | Expect::FunctionCall));
        // At most MOST_OUTSTANDING and what one read of the client's makes more.
        u32::try_from(readies.count()).unwrap_or(u32::MAX)
    }

    /// Whether an unnamed Parse of the client is outstanding: what the client's unnamed
    /// statement is depends on its answer.
    pub fn unnamed_in_doubt(&self) -> bool {
        let makes = |expect: &Expect| {
            matches!(
                expect,
                Expect::ParseUnnamed | Expect::ParseShared(_) | Expect::AnsweredUnnamedParse
            )
        };
        self.expected.iter().any(makes)
    }

    /// Answers outstanding now.
    pub fn outstanding(&self) -> usize {
        self.expected.len()
    }

    /// After an error in the extended protocol the server ignores everything up to the
    /// next Sync, and that Sync has not been sent yet.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The server reads COPY data and has not been told that it ends.
    pub fn is_copying_in(&self) -> bool {
        self.copy_in == CopyIn::Running
    }

    /// An error, a Query or a Sync has ended what came before: is this answer a query of ours?
    pub fn head_is_own(&self) -> bool {
        matches!(self.expected.front(), Some(Expect::Own))
    }

    /// Notes a message that is about to be sent. `false`: the server will ignore it
    /// (it skips to the next Sync, or reads COPY data), so nothing is expected.
    ///
    /// # Errors
    /// A message that makes PostgreSQL give up a running COPY: what it would answer
    /// cannot be counted.
    pub fn sent(&mut self, expect: Expect) -> Result<bool, OutOfSync> {
        match (self.copy_in, expect) {
            // CopyGetData ignores Sync and Flush while it reads COPY data.
            (CopyIn::Running, Expect::Sync) => return Ok(false),
            (CopyIn::Running, other) => {
                return Err(OutOfSync {
                    tag: 'G',
                    expected: Some(other),
                });
            }
            (CopyIn::No | CopyIn::Ended, _) => {}
        }
        if self.skipping {
            if expect != Expect::Sync {
                self.note_undone(expect);
                return Ok(false);
            }
            self.skipping = false;
        }
        self.naming += usize::from(expect.is_naming());
        self.expected.push_back(expect);
        Ok(true)
    }

    /// Notes a CopyDone or CopyFail of the client.
    pub fn copy_ended(&mut self) {
        match self.copy_in {
            CopyIn::Running => self.copy_in = CopyIn::Ended,
            // Sent ahead of the server's CopyInResponse (of a second COPY in one Query, it
            // may be), or too late: the marker tells which Syncs came before it should the
            // response still arrive.
            CopyIn::No | CopyIn::Ended if !self.expected.is_empty() => {
                self.expected.push_back(Expect::CopyEnd);
            }
            CopyIn::No | CopyIn::Ended => {}
        }
    }

    /// The next answer to give in the server's place, if it is its turn now.
    pub fn next_in_place(&mut self) -> Option<InPlace> {
        loop {
            let answer = match self.expected.front()? {
                Expect::AnsweredParse => Some(InPlace::NamedParseComplete),
                Expect::AnsweredUnnamedParse => Some(InPlace::ParseComplete),
                Expect::AnsweredClose => Some(InPlace::CloseComplete),
                Expect::CopyEnd => None,
                _ => return None,
            };
            self.pop();
            if answer.is_some() {
                return answer;
            }
        }
    }

    /// Whether [`Replies::next_in_place`] has something to say.
    #[inline]
    pub fn has_in_place(&self) -> bool {
        matches!(
            self.expected.front(),
            Some(
                Expect::AnsweredParse
                    | Expect::AnsweredUnnamedParse
                    | Expect::AnsweredClose
                    | Expect::CopyEnd
            )
        )
    }

    /// How many queries of ours were ignored behind an error, among what [`Replies::take_undone`] gives.
    pub fn own_undone(&self) -> usize {
        let own = self.undone.iter().filter(|undone| **undone == Undone::Own);
        own.count()
    }

    /// What errors undid since this was last asked, oldest first.
    pub fn take_undone(&mut self) -> impl Iterator<Item = Undone> + '_ {
        self.undone.drain(..)
    }

    /// Holds a backend message against what is expected. `status` is the first body
    /// byte, which only ReadyForQuery uses.
    ///
    /// # Errors
    /// The message answers nothing that was asked: close the connection.
    #[inline]
    pub fn received(&mut self, tag: u8, status: u8) -> Result<Reply, OutOfSync> {
        let head = self.expected.front().copied();
        match (tag, head) {
            // Asynchronous: may come at any time and answers nothing.
            (b'A' | b'S', _) => Ok(Reply::Forward),
            (b'N', Some(Expect::Own)) => Ok(Reply::Swallow),
            (b'N', _) => Ok(Reply::Forward),
            (b'Z', _) => self.ready(status, head),
            (b'E', _) => Ok(self.error(head)),
            (b'C' | b'I' | b's', Some(Expect::Execute)) => {
                self.copy_in = CopyIn::No;
                self.answered(Reply::Forward)
            }
            (b'D' | b'd' | b'c' | b'H' | b'W', Some(Expect::Execute)) => Ok(Reply::Forward),
            (b'2', Some(Expect::Bind)) | (b'3', Some(Expect::Close)) => {
                self.answered(Reply::Forward)
            }
            (b'T' | b'n', Some(Expect::Describe)) => self.answered(Reply::Forward),
            (b't', Some(Expect::Describe)) => Ok(Reply::Forward),
            (b'1', Some(Expect::Parse(_))) => self.answered(Reply::NamedParsed),
            (b'1', Some(Expect::ParsePlain | Expect::ParseUnnamed | Expect::ParseShared(_))) => {
                self.answered(Reply::Forward)
            }
            (b'1', Some(Expect::ParseOwn(_) | Expect::ParsePlainOwn))
            | (b'3', Some(Expect::CloseOwn(_) | Expect::CloseUnnamedOwn)) => {
                self.answered(Reply::Swallow)
            }
            (b'G', Some(Expect::Query | Expect::Execute)) => {
                self.copy_in_granted();
                Ok(Reply::Forward)
            }
            (b'C' | b'I', Some(Expect::Query)) => {
                self.copy_in = CopyIn::No;
                Ok(Reply::Forward)
            }
            (b'T' | b'D' | b'd' | b'c' | b'H' | b'W', Some(Expect::Query))
            | (b'V', Some(Expect::FunctionCall)) => Ok(Reply::Forward),
            (b'T' | b'D' | b'C' | b'I', Some(Expect::Own)) => Ok(Reply::Swallow),
            _ => Err(OutOfSync {
                tag: char::from(tag),
                expected: head,
            }),
        }
    }

    fn answered(&mut self, reply: Reply) -> Result<Reply, OutOfSync> {
        self.pop();
        Ok(reply)
    }

    fn ready(&mut self, status: u8, head: Option<Expect>) -> Result<Reply, OutOfSync> {
        let out_of_sync = OutOfSync {
            tag: 'Z',
            expected: head,
        };
        let own = match head {
            Some(Expect::Query | Expect::Sync | Expect::FunctionCall) => false,
            Some(Expect::Own) => true,
            _ => return Err(out_of_sync),
        };
        self.status = TransactionStatus::from_byte(status).ok_or(out_of_sync)?;
        self.pop();
        self.copy_in = CopyIn::No;
        while self.expected.front() == Some(&Expect::CopyEnd) {
            self.pop();
        }
        let settled = self.expected.is_empty();
        Ok(if own {
            Reply::OwnReady { settled }
        } else {
            Reply::Ready { settled }
        })
    }

    fn error(&mut self, head: Option<Expect>) -> Reply {
        self.copy_in = CopyIn::No;
        match head {
            Some(Expect::Own) => Reply::Swallow,
            // These end in a ReadyForQuery of their own; an error at Sync is a failed
            // commit. With nothing outstanding it is the server's last word.
            Some(Expect::Query | Expect::FunctionCall | Expect::Sync) | None => Reply::Forward,
            Some(_) => {
                self.skip_to_sync();
                Reply::Forward
            }
        }
    }

    /// The server ignores everything between its error and the next Sync.
    fn skip_to_sync(&mut self) {
        while let Some(&expect) = self.expected.front() {
            if expect == Expect::Sync {
                return;
            }
            self.pop();
            self.note_undone(expect);
        }
        self.skipping = true;
    }

    fn note_undone(&mut self, expect: Expect) {
        match expect {
            Expect::Parse(prepared) => self.undone.push(Undone::ClientParse(Some(prepared))),
            Expect::AnsweredParse => self.undone.push(Undone::ClientParse(None)),
            Expect::AnsweredClose => self.undone.push(Undone::ClientClose),
            Expect::ParseOwn(prepared) => self.undone.push(Undone::OwnParse(prepared)),
            Expect::ParseShared(prepared) => {
                self.undone.push(Undone::OwnParse(prepared));
                self.undone.push(Undone::UnnamedParse);
            }
            Expect::ParseUnnamed | Expect::AnsweredUnnamedParse => {
                self.undone.push(Undone::UnnamedParse);
            }
            Expect::CloseOwn(prepared) => self.undone.push(Undone::OwnClose(prepared)),
            Expect::Own => self.undone.push(Undone::Own),
            _ => {}
        }
    }

    /// CopyInResponse: Syncs the client had sent behind the COPY, before it ended it,
    /// are read as part of the COPY and ignored.
    fn copy_in_granted(&mut self) {
        self.copy_in = CopyIn::Running;
        let mut index = 1;
        while let Some(&expect) = self.expected.get(index) {
            match expect {
                Expect::Sync => {
                    self.expected.remove(index);
                }
                Expect::CopyEnd => {
                    self.expected.remove(index);
                    self.copy_in = CopyIn::Ended;
                    return;
                }
                _ => index += 1,
            }
        }
    }
}
