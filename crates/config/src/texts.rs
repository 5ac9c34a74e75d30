//! The regular expressions that statements' texts are held against.

use pglanes_lanes::classify::MAX_TEXT_PATTERNS;
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::lane::MatchCondition;
use crate::model::Config;

/// The longest regular expression, in bytes.
pub(crate) const MAXIMUM_PATTERN: usize = 1000;
/// What one expression, and all of them together, may take in memory.
const MAXIMUM_PATTERN_MEMORY: usize = 1 << 20;
const MAXIMUM_MEMORY: usize = 8 << 20;

/// All expressions of a file at once. Matching takes time linear in the text, whatever they are.
#[derive(Clone, Debug, Default)]
pub struct TextPatterns {
    set: RegexSet,
}

impl TextPatterns {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Which of them a normalised text matches: a bit for each, by its number.
    pub fn matches(&self, text: &str) -> u64 {
        let found = self.set.matches(text);
        found.iter().fold(0, |bits, number| bits | (1 << number))
    }
}

/// Understands one expression.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.is_empty() || pattern.len() > MAXIMUM_PATTERN {
        return Err(format!(
            "a regular expression has 1 to {MAXIMUM_PATTERN} bytes"
        ));
    }
    let built = RegexBuilder::new(pattern)
        .size_limit(MAXIMUM_PATTERN_MEMORY)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it takes too much memory; write it shorter".to_owned(),
        other => {
            // The library draws a picture of several lines; its last says what is wrong.
            let words = other.to_string();
            let last = words
                .lines()
                .last()
                .unwrap_or("it is no regular expression");
            last.trim_start_matches("error: ").to_owned()
        }
    })
}

impl Config {
    /// The expressions of all rules, each once, in the order of the file: their numbers.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let mut texts = Vec::new();
        for (_, rule) in self.rules() {
            for condition in &rule.conditions {
                if let MatchCondition::Text(pattern) = condition
                    && !texts.contains(&pattern.as_str())
                {
                    texts.push(pattern.as_str());
                }
            }
        }
        texts
    }

    /// All expressions, ready to be matched.
    pub fn text_patterns(&self) -> TextPatterns {
        let texts = self.texts();
        let set = RegexSetBuilder::new(texts.iter().take(MAX_TEXT_PATTERNS))
            .size_limit(MAXIMUM_MEMORY)
            .build();
        // Each was compiled alone when the file was read, and together they were found to fit.
        TextPatterns {
            set: set.unwrap_or_default(),
        }
    }

    /// Whether all expressions fit together.
    pub(crate) fn texts_fit(&self) -> bool {
        let texts = self.texts();
        texts.len() <= MAX_TEXT_PATTERNS
            && RegexSetBuilder::new(texts)
                .size_limit(MAXIMUM_MEMORY)
                .build()
                .is_ok()
    }
}
