//! What a session has said UNLISTEN to, until its transaction is over: a rollback, to a savepoint or of all, brings it back.

use pglanes_wire::message::TransactionStatus;
use pglanes_wire::sql::Listening;

/// Statements and savepoints that are noted for one transaction. What is beyond goes on being heard.
const MOST_NOTED: usize = 1000;

/// What is no longer listened to, should the transaction be committed. Statements count once they have been answered: whether
/// they ran, and inside a transaction block or outside, is known then.
#[derive(Debug, Default)]
pub(super) struct Unlistened {
    /// What was sent, with the turn of the ReadyForQuery that answers it.
    sent: Vec<(u32, Listening)>,
    /// An error came since the last ReadyForQuery.
    failed: bool,
    ended: Vec<Listening>,
    /// So many of them nothing can bring back.
    committed: usize,
    /// Savepoints made since the first of them, and how many there were then.
    savepoints: Vec<(String, usize)>,
    /// The transaction block has failed.
    aborted: bool,
}

impl Unlistened {
    /// Whether there is nothing that could come back.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.ended.is_empty()
    }

    /// Notes a statement that is sent, and answered with this turn.
    pub(super) fn follow(&mut self, said: Listening, turn: u32) {
        if self.sent.len() >= MOST_NOTED {
            if !brings_back(&said) {
                return;
            }
            self.sent.clear();
        }
        if !matches!(said, Listening::On(_)) {
            self.sent.push((turn, said));
        }
    }

    /// A statement failed.
    pub(super) fn failed(&mut self) {
        self.failed = true;
    }

    /// A DISCARD ALL has succeeded: no rollback brings anything back.
    pub(super) fn discarded(&mut self) {
        self.ended = vec![Listening::AllOff];
        self.end();
    }

    /// ReadyForQuery of this turn. Of a message that failed all counts that brings something back.
    pub(super) fn answered(&mut self, turn: u32, status: TransactionStatus) {
        let failed = std::mem::take(&mut self.failed);
        let is_answered = |(due, _): &(u32, Listening)| turn.wrapping_sub(*due) <= u32::MAX / 2;
        let answered = self
            .sent
            .iter()
            .take_while(|said| is_answered(said))
            .count();
        for (_, said) in self.sent.drain(..answered).collect::<Vec<_>>() {
            if !failed || brings_back(&said) {
                self.apply(said);
            }
        }
        if status == TransactionStatus::Idle {
            if failed {
                self.ended.truncate(self.committed);
            }
            self.end();
        }
        self.aborted = status == TransactionStatus::Failed;
    }

    fn apply(&mut self, said: Listening) {
        match said {
            Listening::On(_) => {}
            Listening::Off(_) | Listening::AllOff => {
                if self.ended.len() < MOST_NOTED {
                    self.ended.push(said);
                }
            }
            Listening::Savepoint(name) => {
                if !self.ended.is_empty() && self.savepoints.len() < MOST_NOTED {
                    self.savepoints.push((name, self.ended.len()));
                }
            }
            Listening::Release(name) => {
                if let Some(at) = self.place_of(&name) {
                    self.savepoints.truncate(at);
                }
            }
            // One that is not known was made before any of it.
            Listening::BackTo(name) => {
                let at = self.place_of(&name);
                let left = at.map_or(0, |at| self.savepoints[at].1);
                self.ended.truncate(left.max(self.committed));
                self.savepoints.truncate(at.map_or(0, |at| at + 1));
                self.aborted = false;
            }
            Listening::Commit if !self.aborted => self.end(),
            Listening::Commit | Listening::Rollback => {
                self.ended.truncate(self.committed);
                self.end();
            }
        }
    }

    /// The transaction is over, and what is left of it holds.
    fn end(&mut self) {
        self.committed = self.ended.len();
        self.savepoints.clear();
        self.aborted = false;
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        let is_named = |(known, _): &(String, usize)| known == name;
        self.savepoints.iter().rposition(is_named)
    }

    /// All has been answered, outside a transaction block: what is no longer listened to.
    pub(super) fn take(&mut self) -> Vec<Listening> {
        std::mem::take(self).ended
    }
}

fn brings_back(said: &Listening) -> bool {
    matches!(said, Listening::BackTo(_) | Listening::Rollback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TransactionStatus::{Failed, Idle, InTransaction};
    use pglanes_wire::sql::channels;

    /// What is left of messages that are sent at once. Those answered with a failed transaction have failed themselves.
    fn left(said: &[(&str, TransactionStatus)]) -> Vec<Listening> {
        let mut unlistened = Unlistened::default();
        let first = u32::MAX;
        for (turn, (text, _)) in (0..).zip(said) {
            for channel in channels(text.as_bytes()) {
                unlistened.follow(channel, first.wrapping_add(turn));
            }
        }
        for (turn, (_, status)) in (0..).zip(said) {
            if *status == Failed {
                unlistened.failed();
            }
            unlistened.answered(first.wrapping_add(turn), *status);
        }
        unlistened.take()
    }

    #[test]
    fn what_is_rolled_back_was_never_said() {
        let off = |name: &str| Listening::Off(name.into());
        let (a, ab) = (vec![off("a")], vec![off("a"), off("b")]);
        assert_eq!(left(&[("UNLISTEN a", Idle), ("ROLLBACK", Idle)]), a);
        assert_eq!(left(&[("UNLISTEN a; ROLLBACK", Idle)]), []);
        let text = "UNLISTEN a; COMMIT; UNLISTEN b; ROLLBACK";
        assert_eq!(left(&[(text, Idle)]), a);
        let between = (
            "UNLISTEN a; SAVEPOINT s; UNLISTEN b; SAVEPOINT s; UNLISTEN c",
            InTransaction,
        );
        assert_eq!(left(&[between, ("ROLLBACK TO s; COMMIT", Idle)]), ab);
        let released = ("RELEASE s; ROLLBACK TO s; COMMIT", Idle);
        assert_eq!(left(&[between, released]), a);
        let released = ("RELEASE s; RELEASE s; COMMIT", Idle);
        assert_eq!(left(&[between, released]).len(), 3);
        let all = ("SAVEPOINT s; UNLISTEN a; ROLLBACK TO s", InTransaction);
        assert_eq!(left(&[all, ("COMMIT", Idle)]), []);
    }

    #[test]
    fn what_failed_was_never_said_and_what_was_before_it_holds() {
        let off = |name: &str| Listening::Off(name.into());
        let begun = ("UNLISTEN a; SAVEPOINT s; UNLISTEN b", InTransaction);
        let fails = ("UNLISTEN c; SELECT 1/0", Failed);
        assert_eq!(left(&[begun, fails, ("COMMIT", Idle)]), []);
        let back = ("ROLLBACK TO s; COMMIT", Idle);
        assert_eq!(left(&[begun, fails, back]), [off("a")]);
        assert_eq!(left(&[("UNLISTEN a", InTransaction), fails, back]), []);
        // What was discarded stays so.
        let mut unlistened = Unlistened::default();
        unlistened.discarded();
        unlistened.failed();
        unlistened.answered(1, Idle);
        assert_eq!(unlistened.take(), [Listening::AllOff]);
        // Outside a block what came before has been committed.
        let mut unlistened = Unlistened::default();
        unlistened.follow(off("a"), 1);
        unlistened.follow(off("b"), 2);
        unlistened.answered(1, Idle);
        unlistened.failed();
        unlistened.answered(2, Idle);
        assert_eq!(unlistened.take(), [off("a")]);
    }
}
