//! Which patterns of the rules a text matches, remembered: applications say the same few statements again and again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use pglanes_config::TextPatterns;
use pglanes_wire::sql;

/// Texts that are remembered, as they came and without their values each; then all are forgotten. A text is remembered
/// by its hash, under keys that nobody outside knows.
const MOST_TEXTS: usize = 4096;

/// The patterns of a configuration, and what they matched.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    patterns: TextPatterns,
    keys: RandomState,
    known: RefCell<HashMap<u64, u64>>,
}

impl Texts {
    pub(crate) fn new(patterns: TextPatterns) -> Self {
        Self {
            patterns,
            ..Self::default()
        }
    }

    /// A bit for each pattern that the text matches.
    pub(crate) fn matches(&self, text: &[u8]) -> u64 {
        if self.patterns.is_empty() {
            return 0;
        }
        let as_it_came = self.keys.hash_one(text);
        if let Some(found) = self.known.borrow().get(&as_it_came) {
            return *found;
        }
        // Texts that hold their values differ; without them they are the same few.
        let normalised = sql::normalised(text);
        let without_values = self.keys.hash_one((0_u8, &normalised));
        let known = self.known.borrow().get(&without_values).copied();
        let found = known.unwrap_or_else(|| self.patterns.matches(&normalised));
        let mut known = self.known.borrow_mut();
        if known.len() + 2 > 2 * MOST_TEXTS {
            known.clear();
        }
        known.insert(as_it_came, found);
        known.insert(without_values, found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_remembered_within_bounds() {
        let source = "lanes: { a: { match: [{ text: '^vacuum' }, { text: 'from t$' }] } }";
        let nowhere = pglanes_config::Process::default();
        let config = pglanes_config::parse("lanes.yaml", source, &nowhere).unwrap();
        let texts = Texts::new(config.text_patterns());
        assert_eq!(texts.matches(b"VACUUM t"), 1);
        assert_eq!(texts.matches(b"SELECT 1 FROM T"), 2);
        assert_eq!(texts.matches(b"SELECT 2 FROM T"), 2);
        for number in 0..3 * MOST_TEXTS {
            assert_eq!(texts.matches(format!("SELECT {number}").as_bytes()), 0);
            assert!(texts.known.borrow().len() <= 2 * MOST_TEXTS);
        }
        assert_eq!(texts.matches(b"VACUUM t"), 1);
        assert_eq!(Texts::default().matches(b"VACUUM t"), 0);
    }
}
