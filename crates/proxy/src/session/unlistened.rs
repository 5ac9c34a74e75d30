//! What a session has said UNLISTEN to, until its transaction is over: a rollback, to a savepoint or of all, brings it back.

use pglanes_wire::sql::Listening;

/// Channels and savepoints that are noted for one transaction. What is beyond goes on being heard.
const MOST_NOTED: usize = 1000;

/// What is no longer listened to, should the transaction be committed.
#[derive(Debug, Default)]
pub(super) struct Unlistened {
    ended: Vec<Listening>,
    /// So many of them a COMMIT in the same flight has made sure of.
    committed: usize,
    /// Savepoints made since the first of them, and how many there were then.
    savepoints: Vec<(String, usize)>,
    /// Until a rollback nothing more is done.
    aborted: bool,
}

impl Unlistened {
    /// Whether there is nothing that could come back.
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Follows a statement that is being sent.
    pub(super) fn follow(&mut self, said: Listening) {
        match said {
            Listening::On(_) => {}
            Listening::Off(_) | Listening::AllOff => {
                if !self.aborted && self.ended.len() < MOST_NOTED {
                    self.ended.push(said);
                }
            }
            Listening::Savepoint(name) => {
                let counts = !self.aborted && !self.is_empty();
                if counts && self.savepoints.len() < MOST_NOTED {
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
            Listening::Commit if !self.aborted => {
                self.committed = self.ended.len();
                self.savepoints.clear();
            }
            Listening::Commit | Listening::Rollback => {
                self.ended.truncate(self.committed);
                self.savepoints.clear();
                self.aborted = false;
            }
        }
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        let is_named = |(known, _): &(String, usize)| known == name;
        self.savepoints.iter().rposition(is_named)
    }

    /// A statement failed, in a transaction block or outside. What was sent behind it is not known to have been done.
    pub(super) fn failed(&mut self, in_block: bool) {
        let last = self.savepoints.last().filter(|_| in_block);
        self.ended.truncate(last.map_or(0, |(_, left)| *left));
        self.committed = self.committed.min(self.ended.len());
        self.aborted = in_block;
    }

    /// The transaction is over: what is no longer listened to.
    pub(super) fn take(&mut self) -> Vec<Listening> {
        std::mem::take(self).ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pglanes_wire::sql::channels;

    /// What is left of it, with `!` where a statement fails.
    fn left(said: &[&str]) -> Vec<Listening> {
        let mut unlistened = Unlistened::default();
        for text in said {
            match *text {
                "!" => unlistened.failed(true),
                text => channels(text.as_bytes())
                    .into_iter()
                    .for_each(|said| unlistened.follow(said)),
            }
        }
        unlistened.take()
    }

    #[test]
    fn what_is_rolled_back_was_never_said() {
        let off = |name: &str| Listening::Off(name.into());
        assert_eq!(
            left(&["UNLISTEN a", "UNLISTEN *"]),
            [off("a"), Listening::AllOff]
        );
        assert_eq!(left(&["UNLISTEN a; ROLLBACK"]), []);
        assert_eq!(
            left(&["UNLISTEN a; COMMIT; UNLISTEN b; ROLLBACK"]),
            [off("a")]
        );
        let between = "UNLISTEN a; SAVEPOINT s; UNLISTEN b; SAVEPOINT s; UNLISTEN c";
        assert_eq!(left(&[between, "ROLLBACK TO s"]), [off("a"), off("b")]);
        assert_eq!(left(&[between, "RELEASE s; ROLLBACK TO s"]), [off("a")]);
        assert_eq!(left(&[between, "RELEASE s; RELEASE s; COMMIT"]).len(), 3);
        assert_eq!(left(&["SAVEPOINT s; UNLISTEN a; ROLLBACK TO s"]), []);
        assert_eq!(left(&[between, "!", "COMMIT"]), []);
        assert_eq!(
            left(&[between, "!", "UNLISTEN d", "ROLLBACK TO s"]),
            [off("a"), off("b")]
        );
        assert_eq!(left(&["UNLISTEN a", "!", "ROLLBACK TO s"]), []);
    }
}
