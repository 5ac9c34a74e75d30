//! Statements by what they are: their content, and what the names in it mean.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;

use super::{Statement, StatementId};
use crate::sql::inspect;

/// What a statement is found by: its scope and its content.
trait Key {
    fn key(&self) -> (&[u8], &[u8]);
}

impl Key for (&[u8], &[u8]) {
    fn key(&self) -> (&[u8], &[u8]) {
        *self
    }
}

#[derive(Debug)]
struct ByKey(Rc<Statement>);

impl Key for ByKey {
    fn key(&self) -> (&[u8], &[u8]) {
        (&self.0.scope, &self.0.content)
    }
}
impl Hash for dyn Key + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for dyn Key + '_ {}
impl<'a> Borrow<dyn Key + 'a> for ByKey {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}
impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for ByKey {}

/// Statements by content, shared by all sessions. Those no session names any more are
/// dropped once the cache is above its limit; the limit never refuses a statement.
///
/// Two sessions to which the same names mean different tables do not share a statement: PostgreSQL would refuse the second
/// one's use of it ("cached plan must not change result type"), or take its parameters for those of the first. What names
/// mean to a session is its scope, in bytes that only have to differ; to most it is empty.
#[derive(Debug)]
pub struct StatementCache<S> {
    statements: HashSet<ByKey, S>,
    next: u64,
    limit: usize,
    sweep_at: usize,
}

impl<S: BuildHasher> StatementCache<S> {
    /// An empty cache which keeps about `limit` unused statements. The hasher must be
    /// keyed at random: clients choose the contents.
    pub fn new(limit: usize, hasher: S) -> Self {
        Self {
            statements: HashSet::with_hasher(hasher),
            next: 1,
            limit,
            sweep_at: limit,
        }
    }

    /// The statement with this content (text, NUL, types) in this scope.
    pub fn intern(&mut self, scope: &[u8], content: &[u8]) -> Rc<Statement> {
        if let Some(found) = self.find(scope, content) {
            return found;
        }
        if self.statements.len() >= self.sweep_at {
            self.statements
                .retain(|entry| Rc::strong_count(&entry.0) > 1);
            // Twice what is in use: sweeping stays a constant cost per statement.
            self.sweep_at = self.limit.max(self.statements.len() * 2);
        }
        let text = crate::frame::split_cstr(content).map_or(content, |(text, _)| text);
        let statement = Rc::new(Statement {
            id: StatementId(self.next),
            content: content.into(),
            scope: scope.into(),
            inspection: inspect(text),
            seen: Cell::new(false),
            taken_in: Cell::new(None),
        });
        self.next += 1;
        self.statements.insert(ByKey(Rc::clone(&statement)));
        statement
    }

    /// A number for a scope that nobody else has, nor had.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Something that plans depend on was changed: whoever prepares a known content from now on gets a statement of another
    /// identity, so that it is prepared anew. Names given before keep theirs, and are answered for the plans they have: what
    /// their clients were told of their rows would not hold for others.
    pub fn renew(&mut self) {
        self.statements.clear();
        self.sweep_at = self.limit;
    }

    /// The statement with this content in this scope, if it is known.
    pub fn find(&self, scope: &[u8], content: &[u8]) -> Option<Rc<Statement>> {
        let key = (scope, content);
        let found = self.statements.get(&key as &dyn Key);
        found.map(|found| Rc::clone(&found.0))
    }

    /// Statements held now.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    type Fixed = BuildHasherDefault<DefaultHasher>;

    #[test]
    fn content_decides_and_types_are_part_of_it() {
        let mut cache = StatementCache::new(10, Fixed::default());
        let one = cache.intern(b"", b"SELECT $1\0\0\0");
        assert_eq!(cache.intern(b"", b"SELECT $1\0\0\0").id, one.id);
        assert_ne!(cache.intern(b"", b"SELECT $1\0\0\x01\0\0\0\x17").id, one.id);
        assert_eq!(one.text(), b"SELECT $1");
    }

    #[test]
    fn one_text_in_two_scopes_is_two_statements() {
        let mut cache = StatementCache::new(10, Fixed::default());
        let everybodys = cache.intern(b"", b"SELECT * FROM t\0\0\0");
        let one = cache.intern(b"one", b"SELECT * FROM t\0\0\0");
        assert_ne!(everybodys.id, one.id);
        assert_eq!(cache.intern(b"one", &one.content).id, one.id);
        assert_eq!(cache.intern(b"", &one.content).id, everybodys.id);
        assert!(cache.find(b"two", &one.content).is_none());
    }

    #[test]
    fn the_cache_drops_what_nobody_names_and_keeps_the_rest() {
        let mut cache = StatementCache::new(4, Fixed::default());
        let kept = cache.intern(b"", b"SELECT 0\0\0\0");
        for number in 1..100 {
            cache.intern(b"", format!("SELECT {number}\0\0\0").as_bytes());
        }
        assert!(cache.len() <= 8, "{}", cache.len());
        assert_eq!(cache.intern(b"", b"SELECT 0\0\0\0").id, kept.id);
    }
}
