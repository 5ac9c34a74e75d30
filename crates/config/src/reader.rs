//! Takes values out of the written tree and collects what is wrong with them, so that one reading reports every mistake.
//!
//! Which keys a mapping may have is looked up in the [reference](mod@crate::reference): a key that is not documented
//! there cannot be read.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Text, quoted};
use crate::secrets::Surroundings;
use crate::suggest::nearest;
use crate::yaml::{Key, Node, Place, Value};
use crate::{reference, units};

/// One reading of one file.
pub(crate) struct Reading<'r> {
    pub(crate) text: Text<'r>,
    /// Where passwords come from.
    pub(crate) surroundings: &'r dyn Surroundings,
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Where each key's value stands, by its path (`lanes.ltst.slots.max`), for what is checked across sections.
    places: HashMap<String, Place>,
    /// The reference paths that were asked for, whether written or not: lets a test prove the reference complete.
    pub(crate) asked: BTreeSet<String>,
}

/// A mapping that is being read.
#[derive(Clone)]
pub(crate) struct Section<'n> {
    /// Its place in the tree with names filled in: `lanes.ltst.slots`.
    pub(crate) path: String,
    /// The same as the reference has it: `lanes.*.slots`.
    pattern: String,
    /// How messages call it: "lane `ltst`".
    pub(crate) title: String,
    pub(crate) place: Place,
    entries: &'n [(Key, Node)],
}

impl<'n> Section<'n> {
    /// All entries, for mappings whose keys are names.
    pub(crate) fn entries(&self) -> &'n [(Key, Node)] {
        self.entries
    }

    /// Whether the key is written, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(name, _)| name.name == key)
            .map(|(_, node)| node)
    }
}

/// A scalar as typed, and where.
#[derive(Clone, Debug)]
pub(crate) struct Word<'n> {
    pub(crate) text: &'n str,
    pub(crate) place: Place,
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

impl<'r> Reading<'r> {
    pub(crate) fn new(text: Text<'r>, surroundings: &'r dyn Surroundings) -> Self {
        Self {
            text,
            surroundings,
            problems: Vec::new(),
            warnings: Vec::new(),
            places: HashMap::new(),
            asked: BTreeSet::new(),
        }
    }

    pub(crate) fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(self.text.diagnostic(place, message));
    }

    pub(crate) fn problem_near(
        &mut self,
        place: Place,
        message: impl Into<String>,
        nearest: Option<&str>,
    ) {
        let mut diagnostic = self.text.diagnostic(place, message);
        diagnostic.nearest = nearest.map(str::to_owned);
        self.problems.push(diagnostic);
    }

    pub(crate) fn warning(&mut self, place: Place, message: impl Into<String>) {
        self.warnings.push(self.text.diagnostic(place, message));
    }

    /// Where the path's value stands, or the nearest part of the path that was written.
    pub(crate) fn place_of(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind('.') {
                Some(end) => path = &path[..end],
                None => return Place::default(),
            }
        }
    }

    /// The whole file as a section; an empty file is one without keys.
    pub(crate) fn root<'n>(&mut self, node: &'n Node) -> Option<Section<'n>> {
        match &node.value {
            Value::Nothing => Some(Section {
                path: String::new(),
                pattern: String::new(),
                title: "the file".to_owned(),
                place: node.place,
                entries: &[],
            }),
            _ => self.section(node, String::new(), String::new(), "the file".to_owned()),
        }
    }

    /// A mapping with the keys that the reference has under `pattern`; anything else in it is a mistake.
    pub(crate) fn section<'n>(
        &mut self,
        node: &'n Node,
        path: String,
        pattern: String,
        title: String,
    ) -> Option<Section<'n>> {
        let section = self.names(node, path, pattern, title)?;
        for (key, _) in section.entries {
            let keys = reference::keys_of(&section.pattern);
            if !keys.contains(&key.name.as_str()) {
                // Where `env` or `file` belongs, a word that is neither may be the password itself.
                let secret = ["password", "token"]
                    .iter()
                    .any(|key| section.pattern.ends_with(key));
                let shown = if secret {
                    String::new()
                } else {
                    format!("{} ", quoted(&key.name))
                };
                let message = format!("unknown key {shown}in {}", section.title);
                let near = nearest(&key.name, keys.iter().copied());
                if near.is_none() {
                    let message = format!("{message}; it may have: {}", keys.join(", "));
                    self.problem(key.place, message);
                } else {
                    self.problem_near(key.place, message, near);
                }
            }
        }
        Some(section)
    }

    /// A mapping whose keys are names of the user's choice.
    pub(crate) fn names<'n>(
        &mut self,
        node: &'n Node,
        path: String,
        pattern: String,
        title: String,
    ) -> Option<Section<'n>> {
        match &node.value {
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    // The value's own place, or the key's where the value has none.
                    let place = if matches!(value.value, Value::Word(_)) {
                        value.place
                    } else {
                        key.place
                    };
                    self.places.insert(joined(&path, &key.name), place);
                }
                Some(Section {
                    path,
                    pattern,
                    title,
                    place: node.place,
                    entries,
                })
            }
            other => {
                let found = other.kind();
                let message = format!("{title} is a mapping of keys to values; found {found}");
                self.problem(node.place, message);
                None
            }
        }
    }

    /// The section's value under `key`, if it is written and not empty.
    pub(crate) fn value<'n>(&mut self, section: &Section<'n>, key: &str) -> Option<&'n Node> {
        let pattern = joined(&section.pattern, key);
        debug_assert!(
            reference::has(&pattern),
            "{pattern} is read but not documented"
        );
        self.asked.insert(pattern);
        let node = section.get(key)?;
        if matches!(node.value, Value::Nothing) {
            let place = self.place_of(&joined(&section.path, key));
            let message = format!(
                "`{key}` in {} has no value; give it one or leave the key out",
                section.title
            );
            self.problem(place, message);
            return None;
        }
        Some(node)
    }

    /// The mapping under `key`, with documented keys.
    pub(crate) fn subsection<'n>(
        &mut self,
        section: &Section<'n>,
        key: &str,
    ) -> Option<Section<'n>> {
        let node = self.value(section, key)?;
        let title = if section.path.is_empty() {
            format!("`{key}`")
        } else {
            format!("`{key}` of {}", section.title)
        };
        self.section(
            node,
            joined(&section.path, key),
            joined(&section.pattern, key),
            title,
        )
    }

    /// The mapping under `key`, whose keys are names; its entries' pattern is `pattern.*`.
    pub(crate) fn subnames<'n>(&mut self, section: &Section<'n>, key: &str) -> Option<Section<'n>> {
        let node = self.value(section, key)?;
        let title = format!("`{key}`");
        self.names(
            node,
            joined(&section.path, key),
            joined(&section.pattern, key),
            title,
        )
    }

    /// The mapping that a name of a [`Self::subnames`] section stands for.
    pub(crate) fn entry<'n>(
        &mut self,
        section: &Section<'n>,
        entry: &'n (Key, Node),
        what: &str,
    ) -> Option<Section<'n>> {
        let (key, node) = entry;
        let title = format!("{what} {}", quoted(&key.name));
        let path = joined(&section.path, &key.name);
        let pattern = joined(&section.pattern, "*");
        if matches!(node.value, Value::Nothing) {
            // `default:` alone is a lane with all defaults.
            return Some(Section {
                path,
                pattern,
                title,
                place: key.place,
                entries: &[],
            });
        }
        self.section(node, path, pattern, title)
    }

    /// The mapping at one place of a list, whose pattern ends in `[]`.
    pub(crate) fn item<'n>(
        &mut self,
        section: &Section<'n>,
        key: &str,
        index: usize,
        node: &'n Node,
        title: String,
    ) -> Option<Section<'n>> {
        let path = format!("{}[{index}]", joined(&section.path, key));
        self.places.insert(path.clone(), node.place);
        self.section(
            node,
            path,
            format!("{}[]", joined(&section.pattern, key)),
            title,
        )
    }

    /// A list's nodes, at most `maximum`; a single value counts as a list of one.
    pub(crate) fn list<'n>(
        &mut self,
        section: &Section<'n>,
        key: &str,
        maximum: usize,
    ) -> Option<&'n [Node]> {
        let node = self.value(section, key)?;
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.len() > maximum {
            let message = format!(
                "`{key}` in {} has {} entries; at most {maximum} are read",
                section.title,
                items.len()
            );
            self.problem(node.place, message);
            return Some(&items[..maximum]);
        }
        Some(items)
    }

    /// A node that must be a single value.
    pub(crate) fn word_of<'n>(&mut self, node: &'n Node, title: &str) -> Option<Word<'n>> {
        match &node.value {
            Value::Word(text) => Some(Word {
                text,
                place: node.place,
            }),
            other => {
                let message = format!("{title} is a single value; found {}", other.kind());
                self.problem(node.place, message);
                None
            }
        }
    }

    /// The single value under `key`, if written.
    pub(crate) fn word<'n>(&mut self, section: &Section<'n>, key: &str) -> Option<Word<'n>> {
        let node = self.value(section, key)?;
        self.word_of(node, &format!("`{key}` in {}", section.title))
    }

    /// The single value under `key`, understood by `parse`; what `parse` says is right goes into the message.
    pub(crate) fn parsed<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let word = self.word(section, key)?;
        match parse(word.text) {
            Ok(value) => Some(value),
            Err(right) => {
                let message = format!(
                    "`{key}` in {} is {}: {right}",
                    section.title,
                    quoted(word.text)
                );
                self.problem(word.place, message);
                None
            }
        }
    }

    pub(crate) fn duration(&mut self, section: &Section<'_>, key: &str) -> Option<Duration> {
        self.parsed(section, key, units::duration)
    }

    /// A duration, or `off`: the outer option is "written", the inner one "on".
    pub(crate) fn duration_or_off(
        &mut self,
        section: &Section<'_>,
        key: &str,
    ) -> Option<Option<Duration>> {
        self.parsed(section, key, |text| match text {
            "off" => Ok(None),
            _ => units::duration(text)
                .map(|duration| (!duration.is_zero()).then_some(duration))
                .map_err(|right| format!("{right}, or `off`")),
        })
    }

    /// A whole number within bounds.
    pub(crate) fn number(
        &mut self,
        section: &Section<'_>,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        self.parsed(section, key, |text| {
            let number = text
                .parse::<i64>()
                .ok()
                .filter(|number| range.contains(number));
            number.ok_or_else(|| {
                format!(
                    "a whole number from {} to {} is right",
                    range.start(),
                    range.end()
                )
            })
        })
    }

    /// A count within bounds, as `u32`.
    pub(crate) fn count(
        &mut self,
        section: &Section<'_>,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        self.number(section, key, range)
            .and_then(|number| u32::try_from(number).ok())
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let word = self.word(section, key)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.text) {
            return Some(*value);
        }
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let message = format!(
            "`{key}` in {} is {}; it may be {}",
            section.title,
            quoted(word.text),
            names.join(", ")
        );
        let near = nearest(word.text, choices.iter().map(|(name, _)| *name));
        self.problem_near(word.place, message, near);
        None
    }

    /// `true` or `false`; `on`, `off`, `yes` and `no` are understood too.
    pub(crate) fn truth(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        let choices = [
            ("true", true),
            ("false", false),
            ("on", true),
            ("off", false),
            ("yes", true),
            ("no", false),
        ];
        self.choice(section, key, &choices)
    }
}
