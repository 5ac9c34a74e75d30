//! Named prepared statements that survive a change of server connection.
//!
//! A client's name leads to a statement, known by its content (text and parameter
//! types); on each server connection the statement has a name of ours. Three maps:
//! the shared [`StatementCache`], the [`ClientStatements`] of a session, and the
//! [`ServerStatements`] of a connection.

mod cache;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::io::Write as _;
use std::ops::Range;
use std::rc::Rc;

use crate::replies::Prepared;
use crate::sql::Inspection;
pub use cache::StatementCache;

/// Every server-side name of ours starts so; clients are expected not to.
pub const NAME_PREFIX: &str = "pglanes_";

/// Identifies a statement by its content, for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementId(pub u64);

/// A statement: the body of its Parse behind the name, and what its text does.
#[derive(Debug)]
pub struct Statement {
    /// Its identity.
    pub id: StatementId,
    /// Text, NUL, parameter types: as the client's Parse had them.
    pub content: Box<[u8]>,
    /// What its names mean, where that is not what they mean to everybody.
    scope: Box<[u8]>,
    /// What the text does.
    pub inspection: Inspection,
    /// It has been parsed before, by anybody: worth keeping where that is an option.
    seen: Cell<bool>,
    /// The pool, by a number of the caller's, in which a server last took its Parse.
    taken_in: Cell<Option<u32>>,
}

impl Statement {
    /// A server of this pool has taken its Parse.
    pub fn note_taken(&self, pool: u32) {
        self.taken_in.set(Some(pool));
    }

    /// Whether that pool is known to take its Parse. Of several pools only the last is remembered.
    pub fn was_taken(&self, pool: u32) -> bool {
        self.taken_in.get() == Some(pool)
    }

    /// Whether this is not the first time; from now on it is not.
    pub fn seen_before(&self) -> bool {
        self.seen.replace(true)
    }

    /// The statement's text.
    pub fn text(&self) -> &[u8] {
        crate::frame::split_cstr(&self.content).map_or(&self.content, |(text, _)| text)
    }
}

#[derive(Debug)]
struct Named {
    statement: Rc<Statement>,
    /// How many "forget all" had been sent when the name was given.
    era: u32,
    /// Which giving of a name it was: the same name may be given, closed and given again
    /// before the first answer.
    giving: u64,
}

/// The names one client has given.
#[derive(Debug)]
pub struct ClientStatements<S> {
    names: HashMap<Box<[u8]>, Named, S>,
    unconfirmed: VecDeque<(Box<[u8]>, u64)>,
    /// Names that were closed, the answer being outstanding; `None` for one that turned
    /// out never to have been.
    closing: VecDeque<Option<(Box<[u8]>, Named)>>,
    givings: u64,
    /// Names that are no more, for errors that come later: the youngest few.
    former: VecDeque<(Box<[u8]>, StatementId)>,
    era: u32,
}

/// How many names that are no more are remembered.
const MOST_FORMER: usize = 8;

impl<S: BuildHasher + Default> Default for ClientStatements<S> {
    fn default() -> Self {
        Self {
            names: HashMap::default(),
            unconfirmed: VecDeque::new(),
            closing: VecDeque::new(),
            givings: 0,
            former: VecDeque::new(),
            era: 0,
        }
    }
}

impl<S: BuildHasher> ClientStatements<S> {
    /// The statement behind a name, in stream order: what a DEALLOCATE ALL that was sent
    /// is about to forget is behind no name any more.
    pub fn get(&self, name: &[u8]) -> Option<&Rc<Statement>> {
        let named = self.names.get(name);
        let named = named.filter(|named| named.era == self.era);
        named.map(|named| &named.statement)
    }

    /// Gives a name, in stream order; it holds for what the client pipelines behind it
    /// and is confirmed or undone by the answer.
    pub fn give(&mut self, name: &[u8], statement: Rc<Statement>) {
        self.givings += 1;
        let named = Named {
            statement,
            era: self.era,
            giving: self.givings,
        };
        self.names.insert(name.into(), named);
        self.unconfirmed.push_back((name.into(), self.givings));
    }

    /// The oldest unconfirmed name was answered. Returns its statement, unless the name has another meaning by now.
    pub fn confirm(&mut self) -> Option<&Statement> {
        let (name, giving) = self.unconfirmed.pop_front()?;
        let named = self.names.get(&name);
        let named = named.filter(|named| named.giving == giving);
        named.map(|named| &*named.statement)
    }

    /// The oldest unconfirmed name never came to be.
    pub fn undo(&mut self) {
        let Some((name, giving)) = self.unconfirmed.pop_front() else {
            return;
        };
        let is_it = |named: &Named| named.giving == giving;
        if self.names.get(&name).is_some_and(is_it) {
            if let Some((name, named)) = self.names.remove_entry(&name) {
                self.remember(name, named.statement.id);
            }
            return;
        }
        let mut closing = self.closing.iter_mut();
        let closed = closing.find(|entry| entry.as_ref().is_some_and(|(_, named)| is_it(named)));
        if let Some((name, named)) = closed.and_then(Option::take) {
            self.remember(name, named.statement.id);
        }
    }

    fn remember(&mut self, name: Box<[u8]>, statement: StatementId) {
        if self.former.len() == MOST_FORMER {
            self.former.pop_front();
        }
        self.former.push_back((name, statement));
    }

    /// A name the client has given to this statement, or had given a short while ago.
    pub fn name_of(&self, statement: StatementId) -> Option<&[u8]> {
        let mut names = self.names.iter();
        let found = names.find(|(_, named)| named.statement.id == statement);
        let found = found.map(|(name, _)| &**name);
        let closing = || {
            let mut closing = self.closing.iter().flatten();
            let found = closing.find(|(_, named)| named.statement.id == statement);
            found.map(|(name, _)| &**name)
        };
        found.or_else(closing).or_else(|| {
            let mut former = self.former.iter().rev();
            let found = former.find(|(_, known)| *known == statement);
            found.map(|(name, _)| &**name)
        })
    }

    /// The client closed the name, in stream order; it is confirmed or undone by the
    /// answer.
    pub fn close(&mut self, name: &[u8]) {
        if let Some(entry) = self.names.remove_entry(name) {
            self.closing.push_back(Some(entry));
        }
    }

    /// The client deallocated the name by SQL.
    pub fn forget(&mut self, name: &[u8]) {
        self.names.remove(name);
    }

    /// The oldest Close was answered.
    pub fn close_confirmed(&mut self) {
        if let Some(Some((name, named))) = self.closing.pop_front() {
            self.remember(name, named.statement.id);
        }
    }

    /// The oldest Close never took place: the name still holds.
    pub fn close_undone(&mut self) {
        if let Some(Some((name, named))) = self.closing.pop_front() {
            // Given again behind the Close it may have been, but that is undone next.
            self.names.insert(name, named);
        }
    }

    /// A DEALLOCATE ALL or DISCARD ALL is being sent: names given from now on survive it.
    pub fn forget_all_sent(&mut self) {
        self.era += 1;
    }

    /// It took effect: names given before it was sent are gone.
    pub fn forget_all_done(&mut self) {
        let era = self.era;
        self.names.retain(|_, named| named.era >= era);
    }

    /// It failed: the names given before it was sent still hold.
    pub fn forget_all_failed(&mut self) {
        for named in self.names.values_mut() {
            named.era = self.era;
        }
    }

    /// Names held now.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name is held.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// The statements that exist on one server connection under our names, least recently
/// used first out.
#[derive(Debug)]
pub struct ServerStatements {
    last_used: BTreeMap<StatementId, u64>,
    clock: u64,
    generation: u32,
    limit: usize,
}

impl ServerStatements {
    /// None yet, and never more than `limit` (at least 1).
    pub fn new(limit: usize) -> Self {
        Self {
            last_used: BTreeMap::new(),
            clock: 0,
            generation: 0,
            limit: limit.max(1),
        }
    }

    /// The statement as named on this connection.
    pub fn prepared(&self, statement: StatementId) -> Prepared {
        Prepared {
            statement,
            generation: self.generation,
        }
    }

    /// Whether the statement exists here; if so it now counts as used.
    pub fn touch(&mut self, statement: StatementId) -> bool {
        self.clock += 1;
        match self.last_used.get_mut(&statement) {
            Some(used) => {
                *used = self.clock;
                true
            }
            None => false,
        }
    }

    /// Counts the statement as existing. Returns the one to close for it, if the limit
    /// is reached; it must be closed ahead of the new one's Parse.
    pub fn insert(&mut self, statement: StatementId) -> Option<Prepared> {
        self.clock += 1;
        let evicted = if self.last_used.len() >= self.limit {
            let oldest = self.last_used.iter().min_by_key(|(_, used)| **used);
            oldest.map(|(id, _)| *id)
        } else {
            None
        };
        if let Some(id) = evicted {
            self.last_used.remove(&id);
        }
        self.last_used.insert(statement, self.clock);
        evicted.map(|id| self.prepared(id))
    }

    /// The statement was deallocated here.
    pub fn remove(&mut self, statement: StatementId) {
        self.last_used.remove(&statement);
    }

    /// The Parse of this name never took place.
    pub fn undo_parse(&mut self, prepared: Prepared) {
        if prepared.generation == self.generation {
            self.last_used.remove(&prepared.statement);
        }
    }

    /// The Close of this name never took place.
    pub fn undo_close(&mut self, prepared: Prepared) {
        if prepared.generation == self.generation {
            self.last_used.insert(prepared.statement, 0);
        }
    }

    /// Everything prepared here is, or may be, gone or out of date. Names change, so
    /// that a statement that did survive cannot collide.
    pub fn forget_all(&mut self) {
        self.last_used.clear();
        self.generation += 1;
    }

    /// Statements counted as existing.
    pub fn len(&self) -> usize {
        self.last_used.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.last_used.is_empty()
    }
}

/// Room for a server-side name: the prefix and two numbers.
pub type NameBuffer = [u8; 48];

/// Writes the name of `prepared` (without a NUL) and returns the written part.
pub fn write_name(prepared: Prepared, buffer: &mut NameBuffer) -> &[u8] {
    let room = buffer.len();
    let mut rest = &mut buffer[..];
    // The prefix, a u64, an underscore and a u32 take 39 bytes at most.
    let _ = write!(
        rest,
        "{NAME_PREFIX}{}_{}",
        prepared.statement.0, prepared.generation
    );
    let written = room - rest.len();
    &buffer[..written]
}

/// Finds a name of ours in `text` (an error message): where it stands, and whose it is.
pub fn find_name(text: &[u8]) -> Option<(Range<usize>, StatementId)> {
    let prefix = NAME_PREFIX.as_bytes();
    let start = text
        .windows(prefix.len())
        .position(|window| window == prefix)?;
    let digits = |from: usize| {
        let length = text[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        (length > 0).then_some(from + length)
    };
    let id_end = digits(start + prefix.len())?;
    if text.get(id_end) != Some(&b'_') {
        return None;
    }
    let end = digits(id_end + 1)?;
    let id = std::str::from_utf8(&text[start + prefix.len()..id_end]).ok()?;
    Some((start..end, StatementId(id.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    type Fixed = BuildHasherDefault<DefaultHasher>;

    #[test]
    fn a_renewed_cache_prepares_anew_and_leaves_names_their_statements() {
        let mut cache = StatementCache::new(4, Fixed::default());
        let mut client = ClientStatements::<Fixed>::default();
        let old = cache.intern(b"", b"SELECT * FROM t\0\0\0");
        client.give(b"n", Rc::clone(&old));
        cache.renew();
        assert!(cache.find(b"", b"SELECT * FROM t\0\0\0").is_none());
        let new = cache.intern(b"", b"SELECT * FROM t\0\0\0");
        assert_ne!(new.id, old.id);
        assert_eq!(client.get(b"n").map(|named| named.id), Some(old.id));
    }

    #[test]
    fn names_given_behind_a_forget_all_survive_it() {
        let mut cache = StatementCache::new(4, Fixed::default());
        let mut client = ClientStatements::<Fixed>::default();
        client.give(b"old", cache.intern(b"", b"SELECT 1\0\0\0"));
        client.confirm();
        client.forget_all_sent();
        client.give(b"new", cache.intern(b"", b"SELECT 2\0\0\0"));
        client.forget_all_done();
        assert!(client.get(b"old").is_none());
        assert!(client.get(b"new").is_some());
        client.undo();
        assert!(client.is_empty());
    }

    #[test]
    fn what_a_pool_has_taken_is_known_of_that_pool_alone() {
        let mut cache = StatementCache::new(4, Fixed::default());
        let mut client = ClientStatements::<Fixed>::default();
        client.give(b"n", cache.intern(b"", b"SELECT 1\0\0\0"));
        assert!(cache.find(b"", b"SELECT 2\0\0\0").is_none());
        let statement = cache.find(b"", b"SELECT 1\0\0\0").expect("it was interned");
        assert!(!statement.was_taken(7));
        client.confirm().expect("the name holds").note_taken(7);
        assert!(statement.was_taken(7) && !statement.was_taken(8));
        // A name that was given anew before its answer says nothing of the first statement.
        client.give(b"m", cache.intern(b"", b"SELECT 3\0\0\0"));
        client.close(b"m");
        assert!(client.confirm().is_none());
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut server = ServerStatements::new(2);
        assert_eq!(server.insert(StatementId(1)), None);
        assert_eq!(server.insert(StatementId(2)), None);
        assert!(server.touch(StatementId(1)));
        let evicted = server.insert(StatementId(3)).expect("full");
        assert_eq!(evicted.statement, StatementId(2));
        server.undo_close(evicted);
        assert!(server.touch(StatementId(2)));
    }

    #[test]
    fn what_an_error_undoes_leaves_the_names_as_they_were() {
        let mut cache = StatementCache::new(4, Fixed::default());
        let mut client = ClientStatements::<Fixed>::default();
        let old = cache.intern(b"", b"SELECT 1\0\0\0");
        client.give(b"n", Rc::clone(&old));
        client.confirm();
        // Behind an error: closed and given again, and another given and closed.
        client.close(b"n");
        client.give(b"n", cache.intern(b"", b"SELECT 2\0\0\0"));
        client.give(b"m", Rc::clone(&old));
        client.close(b"m");
        client.close_undone();
        client.undo();
        client.undo();
        client.close_undone();
        assert_eq!(client.get(b"n").map(|statement| statement.id), Some(old.id));
        assert!(client.get(b"m").is_none());
        // What does take place does.
        client.close(b"n");
        client.close_confirmed();
        assert!(client.is_empty());
        assert_eq!(
            client.name_of(old.id),
            Some(&b"n"[..]),
            "for an error that comes late"
        );
    }

    #[test]
    fn names_are_found_in_error_messages() {
        let text = b"prepared statement \"pglanes_12_3\" already exists";
        assert_eq!(find_name(text), Some((20..32, StatementId(12))));
        for text in ["pglanes_", "pglanes_x", "pglanes_1", "pglanes_1_", ""] {
            assert_eq!(find_name(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn names_change_with_the_generation() {
        let mut server = ServerStatements::new(2);
        let mut buffer = [0; 48];
        let before = server.prepared(StatementId(9));
        assert_eq!(write_name(before, &mut buffer), b"pglanes_9_0");
        server.insert(StatementId(9));
        server.forget_all();
        assert!(!server.touch(StatementId(9)));
        let largest = Prepared {
            statement: StatementId(u64::MAX),
            generation: u32::MAX,
        };
        assert!(write_name(largest, &mut buffer).len() < 48);
    }
}
