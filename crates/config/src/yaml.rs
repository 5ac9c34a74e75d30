//! The file as written: a tree of mappings, lists and words, each with its place.
//!
//! Serde's derived structures stop at the first mistake and turn `on` into a boolean. PostgreSQL settings must reach
//! the server as they were typed, and a person wants all mistakes at once, so the library's deserializer fills this
//! small tree and `reading` takes the model out of it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::diagnostic::{Diagnostic, Text, quoted};
use crate::reference;

/// The largest file that is read, in bytes. A real lanes.yaml has a few thousand.
pub const MAXIMUM_FILE_BYTES: usize = 1024 * 1024;
/// How deep mappings and lists may nest; lanes.yaml needs six.
const MAXIMUM_DEPTH: usize = 32;
/// How many words, lists and mappings a file may hold, anchors expanded.
const MAXIMUM_NODES: usize = 20_000;
/// How many `*alias` references a file may hold.
const MAXIMUM_ALIASES: usize = 500;

/// Where something stands in the file: line and column count characters from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// The line, from one; zero when it is not known.
    pub(crate) line: usize,
    /// The column in characters, from one.
    pub(crate) column: usize,
    /// How many characters the caret underlines.
    pub(crate) width: usize,
}

/// One value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A key without a value, `~` or `null`.
    Nothing,
    /// Any scalar, as it was typed: `on` is `on`, `0` is `0`.
    Word(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

impl Value {
    /// What it is, for "expected X, found Y".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Nothing => "nothing",
            Value::Word(_) => "a single value",
            Value::List(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Reads the text into a tree, within bounds that hold whatever the text is.
pub(crate) fn parse(text: &Text<'_>) -> Result<Node, Diagnostic> {
    if text.source.len() > MAXIMUM_FILE_BYTES {
        let message = format!(
            "the file has {} bytes; at most {MAXIMUM_FILE_BYTES} are read",
            text.source.len()
        );
        return Err(text.diagnostic(Place::default(), message));
    }
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAXIMUM_DEPTH,
            max_nodes: MAXIMUM_NODES,
            max_events: MAXIMUM_NODES * 3,
            max_aliases: MAXIMUM_ALIASES,
            max_anchors: MAXIMUM_ALIASES,
            max_total_scalar_bytes: MAXIMUM_FILE_BYTES,
            max_recorded_anchor_events: MAXIMUM_NODES,
            max_recorded_anchor_bytes: MAXIMUM_FILE_BYTES,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAXIMUM_NODES,
            max_replay_stack_depth: MAXIMUM_DEPTH,
            max_alias_expansions_per_anchor: MAXIMUM_ALIASES,
        },
        non_finite_float_policy: serde_yaml::NonFiniteFloatPolicy::PassThrough,
        // `!include` and the like mean nothing here; ignoring them would hide that.
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(text.source, options) {
        Ok(raw) => Ok(node(raw, text)),
        Err(error) => Err(syntax_error(&error, text)),
    }
}

/// The library's complaint, in our words and at its place.
fn syntax_error(error: &serde_yaml::Error, text: &Text<'_>) -> Diagnostic {
    use serde_yaml::Error;
    let error = error.without_snippet();
    let place = error
        .location()
        .map(|location| place_of(location, 1))
        .unwrap_or_default();
    let twice = |what: &str| format!("{what} stands twice in the same mapping; keep one of them");
    let message = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } if reference::is_key(key) => {
            twice(&format!("the key `{key}`"))
        }
        // A key, or what the library quotes, may be a password that stands where a mapping belongs.
        _ if text.is_secret(place) => "this is not YAML as expected here".to_owned(),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            twice(&format!("the key {}", quoted(key)))
        }
        Error::DuplicateMappingKey { key: None, .. } => twice("a key"),
        other => {
            let words = other.render_with_formatter(&serde_yaml::UserMessageFormatter);
            // Budgets are breached under several errors, alias limits among them.
            if words.contains("limits breached") || words.contains("limit exceeded") {
                "the file nests deeper, or holds or refers to more, than a lanes.yaml may"
                    .to_owned()
            } else {
                // The place is said by us; the library appends its own.
                let words = words.lines().next().unwrap_or_default();
                let words = words.split(" at line ").next().unwrap_or(words);
                let words: String = words.chars().take(200).collect();
                format!("this is not YAML as expected here: {words}")
            }
        }
    };
    text.diagnostic(place, message)
}

/// What the library's visitor sees, before plain scalars are looked up in the source.
enum Raw {
    /// A scalar whose text was turned into a boolean, a number or null; the source has the text.
    Plain,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn place_of(location: serde_yaml::Location, width: usize) -> Place {
    Place {
        line: usize::try_from(location.line()).unwrap_or(0),
        column: usize::try_from(location.column()).unwrap_or(0),
        width: width.max(1),
    }
}

fn node(raw: Spanned<Raw>, text: &Text<'_>) -> Node {
    let span = usize::try_from(raw.referenced.span().len()).unwrap_or(1);
    let value = match raw.value {
        Raw::Plain => plain_word(raw.defined, text),
        Raw::Text(word) => Value::Word(word),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let width = usize::try_from(key.referenced.span().len()).unwrap_or(1);
                    let place = place_of(key.referenced, width);
                    let name = key.value;
                    (Key { name, place }, node(value, text))
                })
                .collect(),
        ),
    };
    let width = match &value {
        Value::Word(_) => span,
        // A mapping's or a list's span covers many lines; its first character is enough.
        Value::Nothing | Value::List(_) | Value::Mapping(_) => 1,
    };
    Node {
        place: place_of(raw.referenced, width),
        value,
    }
}

/// A plain scalar as typed, from the bytes that the library says it covers.
fn plain_word(defined: serde_yaml::Location, text: &Text<'_>) -> Value {
    let span = defined.span();
    let slice = span
        .byte_offset()
        .zip(span.byte_len())
        .and_then(|(offset, length)| {
            let start = usize::try_from(offset).ok()?;
            text.source
                .get(start..start.checked_add(usize::try_from(length).ok()?)?)
        });
    match slice.map(str::trim) {
        None | Some("" | "~" | "null" | "Null" | "NULL") => Value::Nothing,
        Some(word) => Value::Word(word.to_owned()),
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value, a list or a mapping")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }
    fn visit_str<E>(self, word: &str) -> Result<Raw, E> {
        Ok(Raw::Text(word.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}
