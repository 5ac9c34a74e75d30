//! The names of the settings a text changes. Asked only where [`Effects::SETTINGS`] is set.
//!
//! [`Effects::SETTINGS`]: super::Effects::SETTINGS

use super::inspect::Inspector;
use super::lexer::{Lexer, Token, TokenKind};

/// Tokens of a `set_config` call that are read. Bounded, for calls may stand inside calls.
const MAX_CALL_TOKENS: usize = 64;

/// What the arguments of a `set_config` call tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigCall<'a> {
    /// The setting's name, where it stands there as a plain string.
    pub(super) name: Option<&'a [u8]>,
    /// The value, where it stands there as a plain string.
    pub(super) value: Option<&'a [u8]>,
    /// The third argument is the word `true`: the value ends with the transaction.
    pub(super) is_local: bool,
}

/// Reads the arguments of a call, from behind its parenthesis.
pub(super) fn config_call(mut lexer: Lexer<'_>) -> ConfigCall<'_> {
    let mut call = ConfigCall::default();
    let mut argument = 0;
    let mut depth = 0_u32;
    // The argument's text while it is nothing but one token, perhaps with a cast behind it.
    let mut only: Option<Token<'_>> = None;
    let mut tokens = 0;
    for _ in 0..MAX_CALL_TOKENS {
        let Some(token) = lexer.next_token() else {
            break;
        };
        let ends = depth == 0 && matches!(token.kind, TokenKind::Comma | TokenKind::Close);
        if ends {
            let text = only
                .filter(|it| it.kind == TokenKind::String)
                .map(|it| it.text);
            match argument {
                0 => call.name = text,
                1 => call.value = text,
                2 => call.is_local = tokens == 1 && only.is_some_and(|it| it.is("true")),
                _ => return ConfigCall::default(),
            }
            if token.kind == TokenKind::Close {
                break;
            }
            argument += 1;
            only = None;
            tokens = 0;
            continue;
        }
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth -= 1,
            _ => {}
        }
        tokens += 1;
        let is_cast = match tokens {
            1 => {
                only = Some(token);
                true
            }
            2 | 3 => token.text == b":",
            4 => token.kind == TokenKind::Word,
            _ => false,
        };
        if !is_cast {
            only = None;
        }
    }
    call
}

/// The settings that SET, RESET and `set_config` with a literal name change for the session,
/// in small letters, as often as they stand there. SET LOCAL and its like are left out, and
/// so are roles. TIME ZONE is `timezone`, NAMES `client_encoding`, SCHEMA `search_path`, and
/// SESSION CHARACTERISTICS the `default_transaction_*` it sets.
///
/// What DO blocks set is not named: see [`set_config_dynamic`].
pub fn settings_named(sql: &[u8]) -> impl Iterator<Item = String> {
    SettingNames {
        lexer: Lexer::new(sql),
        place: Place::Start,
    }
}

/// Those of [`settings_named`] with a dot: settings of extensions and applications, which no
/// server reports and which exist only once they are set.
pub fn custom_settings(sql: &[u8]) -> impl Iterator<Item = String> {
    settings_named(sql).filter(|name| name.contains('.'))
}

/// Whether a setting is changed whose name does not stand in the text: `set_config` of an
/// expression, an UPDATE of `pg_settings`, a DO block that sets.
pub fn set_config_dynamic(sql: &[u8]) -> bool {
    let mut inspector = Inspector::new(sql, 0);
    inspector.statements();
    inspector.unnamed_setting
}

/// Whether the last that a text does is RESET ALL or DISCARD ALL. With a comment, or anything in quotes, that is not looked for,
/// and so `false`.
pub fn ends_in_reset(sql: &[u8]) -> bool {
    let may_hide = |pair: &[u8]| matches!(pair, b"--" | b"/*");
    let quotes = |byte: &u8| matches!(byte, b'\'' | b'"' | b'$');
    if sql.iter().any(quotes) || sql.windows(2).any(may_hide) {
        return false;
    }
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b'\0');
    let length = sql.len() - sql.iter().rev().take_while(|byte| is_end(byte)).count();
    let mut words = sql[..length]
        .rsplit(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let all = words.next();
    // The verb may stand right behind a semicolon.
    let verb = words
        .next()
        .and_then(|word| word.rsplit(|byte| *byte == b';').next());
    let is = |word: Option<&[u8]>, known: &str| {
        word.is_some_and(|word| word.eq_ignore_ascii_case(known.as_bytes()))
    };
    is(all, "all") && (is(verb, "reset") || is(verb, "discard"))
}

/// Where in a statement the walk stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
    Characteristics,
}

struct SettingNames<'a> {
    lexer: Lexer<'a>,
    place: Place,
}

impl Iterator for SettingNames<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let token = self.lexer.next_token()?;
            let place = self.place;
            match token.kind {
                TokenKind::Semicolon => {
                    self.place = Place::Start;
                    continue;
                }
                _ if place == Place::Start => self.place = Place::Inside,
                _ => {}
            }
            let name = match place {
                Place::Start if token.is("set") => self.set(),
                Place::Start if token.is("reset") => self.name(),
                Place::Characteristics => characteristic(&token),
                _ if token.names("set_config") => self.call(),
                _ => None,
            };
            if name.is_some() {
                return name;
            }
        }
    }
}

impl SettingNames<'_> {
    fn peek(&self) -> Option<Token<'_>> {
        self.lexer.clone().next_token()
    }

    /// What SET sets, if it is for the session.
    fn set(&mut self) -> Option<String> {
        let next = self.peek()?;
        if next.is("local") {
            return None;
        }
        if next.is("session") {
            self.lexer.next_token();
            if self.peek()?.is("characteristics") {
                self.place = Place::Characteristics;
                return None;
            }
        }
        self.name()
    }

    /// The name that stands here, with its parts and in PostgreSQL's own spelling.
    fn name(&mut self) -> Option<String> {
        // Not a semicolon: that one belongs to the walk.
        if self.peek()?.kind == TokenKind::Semicolon {
            return None;
        }
        let first = self.lexer.next_token()?;
        let mut name = self.part(&first)?;
        while self
            .peek()
            .is_some_and(|token| token.kind == TokenKind::Dot)
        {
            self.lexer.next_token();
            let part = self.part(&self.peek()?)?;
            self.lexer.next_token();
            name.push('.');
            name.push_str(&part);
        }
        let keyword = first.kind == TokenKind::Word;
        let next_is = |word: &str| self.peek().is_some_and(|token| token.is(word));
        match name.as_str() {
            "time" if keyword && next_is("zone") => Some("timezone".to_owned()),
            "xml" if keyword && next_is("option") => Some("xmloption".to_owned()),
            "names" if keyword => Some("client_encoding".to_owned()),
            "schema" if keyword => Some("search_path".to_owned()),
            "transaction" | "constraints" | "all" | "session" | "authorization" if keyword => None,
            "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => None,
            "role" | "session_authorization" => None,
            _ => Some(name),
        }
    }

    fn part(&self, token: &Token<'_>) -> Option<String> {
        let text = String::from_utf8_lossy(token.text).to_ascii_lowercase();
        match token.kind {
            TokenKind::Word => Some(text),
            TokenKind::QuotedName => Some(text.replace("\"\"", "\"")),
            _ => None,
        }
    }

    fn call(&mut self) -> Option<String> {
        if self.peek()?.kind != TokenKind::Open {
            return None;
        }
        self.lexer.next_token();
        let call = config_call(self.lexer.clone());
        let name = call.name.filter(|_| !call.is_local)?;
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        (name != "role" && name != "session_authorization").then(|| name.replace("''", "'"))
    }
}

/// What a word of SET SESSION CHARACTERISTICS AS TRANSACTION sets.
fn characteristic(token: &Token<'_>) -> Option<String> {
    let name = if token.is("isolation") {
        "default_transaction_isolation"
    } else if token.is("only") || token.is("write") {
        "default_transaction_read_only"
    } else if token.is("deferrable") {
        "default_transaction_deferrable"
    } else {
        return None;
    };
    Some(name.to_owned())
}
