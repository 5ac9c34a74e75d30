//! One walk over a text's tokens: statements are told apart, their beginnings are read by
//! `heads`, and every token is watched for what may stand anywhere.

use super::effects::Effects;
use super::kind::StatementKind;
use super::lexer::{Lexer, Token, TokenKind};
use super::settings::config_call;

/// Statements are counted up to here; the effects of those behind it are still gathered.
pub const MAX_STATEMENTS: u32 = 65_535;

/// What a text of one or more statements is and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Inspection {
    /// The kind of the first statement that is not empty.
    pub first: StatementKind,
    /// Statements that are not empty, at most [`MAX_STATEMENTS`].
    pub statements: u32,
    /// The effects of all of them together.
    pub effects: Effects,
}

/// Inspects a text. Never fails: text that PostgreSQL would refuse has the effects it appears
/// to have, and PostgreSQL runs nothing of it.
pub fn inspect(sql: &[u8]) -> Inspection {
    let mut inspector = Inspector::new(sql, 0);
    let (first, statements) = inspector.statements();
    Inspection {
        first,
        statements,
        effects: inspector.all_effects(),
    }
}

/// What temporary objects a text leaves behind its transaction; the later one outweighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Temporary {
    Nothing,
    DroppedOnCommit,
    Kept,
}

/// Where the walk stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    InStatement,
    BehindStatement,
    AtEnd,
}

/// What the token before makes of the one that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// The name of a function with these effects, if it is called.
    Function(Effects),
    /// The name `set_config`.
    SetConfig,
    /// A name whose letters are written as escapes.
    UnreadableName,
    /// The schema of temporary objects.
    TemporarySchema,
    /// INSERT or MERGE, whose INTO makes no table.
    InsertOrMerge,
    /// INTO of a SELECT, perhaps with LOCAL or GLOBAL.
    Into,
    On,
    OnCommit,
    As,
}

/// The walk.
pub(super) struct Inspector<'a> {
    lexer: Lexer<'a>,
    place: Place,
    before: Before,
    /// Parentheses open in this statement: a semicolon inside ends nothing (CREATE RULE).
    pub(super) depth: u32,
    /// BEGIN ATOMIC and CASE open in this function's body: nor does a semicolon in there.
    pub(super) atomic: u32,
    /// Set while the statement is a CREATE TABLE: it may end in AS EXECUTE.
    pub(super) kind: StatementKind,
    pub(super) makes_temporary: bool,
    drops_on_commit: bool,
    pub(super) temporary: Temporary,
    pub(super) effects: Effects,
    /// A setting is changed whose name does not stand in the text.
    pub(super) unnamed_setting: bool,
    /// How deep the text lies in strings of strings of code.
    pub(super) level: u32,
}

impl<'a> Inspector<'a> {
    pub(super) fn new(sql: &'a [u8], level: u32) -> Self {
        Self {
            lexer: Lexer::new(sql),
            place: Place::BehindStatement,
            before: Before::Nothing,
            depth: 0,
            atomic: 0,
            kind: StatementKind::Empty,
            makes_temporary: false,
            drops_on_commit: false,
            temporary: Temporary::Nothing,
            effects: Effects::NONE,
            unnamed_setting: false,
            level,
        }
    }

    /// Walks over all statements: the first one's kind, and how many there are.
    pub(super) fn statements(&mut self) -> (StatementKind, u32) {
        let mut first_kind = StatementKind::Empty;
        let mut count = 0_u32;
        while self.next_statement() {
            let mut first = self.advance();
            while first.is_some_and(|token| token.kind == TokenKind::Open) {
                first = self.advance();
            }
            if let Some(first) = first {
                let kind = self.head(first);
                self.rest();
                if count == 0 {
                    first_kind = kind;
                }
                count = (count + 1).min(MAX_STATEMENTS);
            }
        }
        (first_kind, count)
    }

    /// Walks to the end of this statement. Most of a text goes by here, and most of it is
    /// skipped in one go: it is words and numbers that nothing is looked for in.
    #[inline]
    fn rest(&mut self) {
        loop {
            if self.before == Before::Nothing && self.place == Place::InStatement {
                self.lexer.skip_dull(is_dull);
            }
            if self.advance().is_none() {
                return;
            }
        }
    }

    /// Goes on to the next statement, empty or not; `false` at the end of the text.
    pub(super) fn next_statement(&mut self) -> bool {
        if self.makes_temporary {
            let outlives = if self.drops_on_commit {
                Temporary::DroppedOnCommit
            } else {
                Temporary::Kept
            };
            self.temporary = self.temporary.max(outlives);
        }
        if self.place == Place::AtEnd {
            return false;
        }
        self.place = Place::InStatement;
        self.before = Before::Nothing;
        self.depth = 0;
        self.atomic = 0;
        self.kind = StatementKind::Empty;
        self.makes_temporary = false;
        self.drops_on_commit = false;
        true
    }

    /// The effects of all statements walked over.
    pub(super) fn all_effects(&self) -> Effects {
        self.effects
            | match self.temporary {
                Temporary::Nothing => Effects::NONE,
                Temporary::DroppedOnCommit => {
                    Effects::TEMPORARY | Effects::TEMPORARY_ON_COMMIT_DROP
                }
                Temporary::Kept => Effects::TEMPORARY,
            }
    }

    /// The next token of this statement, watched; `None` at its end, and again until
    /// [`Self::next_statement`]. Asked for in many places: inlined it would be many copies, and
    /// no faster.
    #[inline(never)]
    pub(super) fn advance(&mut self) -> Option<Token<'a>> {
        if self.place != Place::InStatement {
            return None;
        }
        let Some(token) = self.lexer.next_token() else {
            self.place = Place::AtEnd;
            return None;
        };
        let before = std::mem::replace(&mut self.before, Before::Nothing);
        match token.kind {
            TokenKind::Word => self.before = self.watch_word(token.text, before),
            TokenKind::QuotedName => self.before = watch_name(token.text),
            TokenKind::UnicodeName if token.text.contains(&b'\\') => {
                self.before = Before::UnreadableName;
            }
            TokenKind::UnicodeName => self.before = watch_name(token.text),
            TokenKind::Dot if before == Before::TemporarySchema => self.makes_temporary = true,
            TokenKind::Dot if before == Before::UnreadableName => self.makes_temporary = true,
            TokenKind::Open => {
                self.depth += 1;
                if before != Before::Nothing {
                    self.called(before);
                }
            }
            TokenKind::Close => self.depth = self.depth.saturating_sub(1),
            TokenKind::Semicolon if self.depth == 0 && self.atomic == 0 => {
                self.place = Place::BehindStatement;
                return None;
            }
            _ => {}
        }
        Some(token)
    }

    /// Words that matter by what stands before them. Told apart by length and first letter
    /// first: nearly every word of a query ends there.
    #[inline]
    fn watch_word(&mut self, word: &[u8], before: Before) -> Before {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
        match (word.len(), word[0] | 0x20) {
            (2, b'o') if is("on") => return Before::On,
            (2, b'a') if is("as") => return Before::As,
            (6, b'i') if is("insert") => return Before::InsertOrMerge,
            (5, b'm') if is("merge") => return Before::InsertOrMerge,
            (4, b'i') if before != Before::InsertOrMerge && is("into") => return Before::Into,
            (4 | 9, b't') if before == Before::Into && (is("temp") || is("temporary")) => {
                self.makes_temporary = true;
            }
            (5 | 6, b'l' | b'g') if before == Before::Into && (is("local") || is("global")) => {
                return Before::Into;
            }
            (6, b'c') if before == Before::On && is("commit") => return Before::OnCommit,
            (4, b'd') if before == Before::OnCommit && is("drop") => self.drops_on_commit = true,
            (7, b'e') if before == Before::As && is("execute") => {
                if self.kind == StatementKind::CreateTable {
                    self.effects |= Effects::SQL_EXECUTE;
                }
            }
            _ => return watch_name(word),
        }
        Before::Nothing
    }

    /// A parenthesis opened behind a name.
    fn called(&mut self, name: Before) {
        match name {
            Before::Function(effects) => self.effects |= effects,
            Before::SetConfig => self.set_config(),
            // It could be any of those that are watched for.
            Before::UnreadableName => {
                self.effects |= Effects::SETTINGS | Effects::ROLE | Effects::ADVISORY_LOCK;
                self.unnamed_setting = true;
            }
            _ => {}
        }
    }

    fn set_config(&mut self) {
        let call = config_call(self.lexer.clone());
        let is = |known: &str| {
            let name = call.name.unwrap_or_default();
            name.eq_ignore_ascii_case(known.as_bytes())
        };
        if is("search_path") {
            self.effects |= Effects::SEARCH_PATH;
        }
        if call.is_local {
            return;
        }
        self.effects |= Effects::SETTINGS;
        if call.name.is_none() {
            self.effects |= Effects::SEARCH_PATH;
            self.unnamed_setting = true;
        }
        if is("role") || is("session_authorization") {
            self.effects |= Effects::ROLE;
        } else if is("search_path") && call.value.is_some_and(names_temporary_schema) {
            self.makes_temporary = true;
        }
    }

    /// Takes over what a text inside this one does.
    pub(super) fn absorb(&mut self, inner: &Inspector<'_>, mask: Effects) {
        self.effects |= inner.effects.intersection(mask);
        self.temporary = self.temporary.max(inner.temporary);
        self.unnamed_setting |= !inner.effects.intersection(Effects::SETTINGS).is_empty();
    }
}

/// Whether no word of this length and first byte is watched for, behind a token that gives
/// it no meaning: what [`Inspector::watch_word`] would let pass. One letter may be the prefix
/// of a literal.
#[inline]
fn is_dull(length: usize, first: u8) -> bool {
    let watched: u32 = match first | 0x20 {
        b'a' | b'o' => 1 << 2,
        b'c' | b'l' => 1 << 7,
        b'e' | b'u' => 1 << 1,
        b'i' => 1 << 4 | 1 << 6,
        b'm' => 1 << 5,
        b'p' => return length < 7,
        b's' => 1 << 10,
        _ => return true,
    };
    length > 31 || watched & (1 << length) == 0
}

/// Names that matter wherever they stand.
#[inline]
fn watch_name(name: &[u8]) -> Before {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match (name.len(), name.first().map_or(0, |byte| byte | 0x20)) {
        (7, b'c') if is("currval") => Before::Function(Effects::SEQUENCE_CURRVAL),
        (7, b'l') if is("lastval") => Before::Function(Effects::SEQUENCE_CURRVAL),
        (10, b's') if is("set_config") => Before::SetConfig,
        (7.., b'p') if name[..3].eq_ignore_ascii_case(b"pg_") => watch_system_name(name),
        _ => Before::Nothing,
    }
}

fn watch_system_name(name: &[u8]) -> Before {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if is("pg_advisory_lock")
        || is("pg_advisory_lock_shared")
        || is("pg_try_advisory_lock")
        || is("pg_try_advisory_lock_shared")
    {
        Before::Function(Effects::ADVISORY_LOCK)
    } else if is("pg_advisory_unlock") || is("pg_advisory_unlock_shared") {
        Before::Function(Effects::ADVISORY_UNLOCK)
    } else if is("pg_advisory_unlock_all") {
        Before::Function(Effects::ADVISORY_UNLOCK_ALL)
    } else if is_temporary_schema(name) {
        Before::TemporarySchema
    } else {
        Before::Nothing
    }
}

/// `pg_temp`, or a backend's own `pg_temp_N`.
pub(super) fn is_temporary_schema(name: &[u8]) -> bool {
    let Some((start, number)) = name.split_at_checked(7) else {
        return false;
    };
    start.eq_ignore_ascii_case(b"pg_temp") && (number.is_empty() || number[0] == b'_')
}

/// Whether the value of a search path names the schema of temporary objects.
pub(super) fn names_temporary_schema(value: &[u8]) -> bool {
    value
        .windows(7)
        .any(|part| part.eq_ignore_ascii_case(b"pg_temp"))
}
