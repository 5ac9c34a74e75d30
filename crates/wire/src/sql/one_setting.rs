//! A text that is nothing but one SET, RESET or SHOW of a certain setting: what the proxy answers itself.

use super::lexer::{Lexer, Token, TokenKind};

/// What such a text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OneSetting {
    /// SET, for the session, to this value.
    Set(String),
    /// SET to DEFAULT.
    SetToDefault,
    /// RESET.
    Reset,
    /// SHOW.
    Show,
}

/// What the text asks for, if it is nothing but one SET (for the session), RESET or SHOW of the setting of this name: two
/// words with a dot between, in small letters.
pub fn one_setting(sql: &[u8], name: &str) -> Option<OneSetting> {
    let mut lexer = Lexer::new(sql);
    let verb = next_word(&mut lexer)?;
    let found = if verb.is("set") {
        let mut before = lexer.clone();
        if !lexer.next_token()?.is("session") {
            std::mem::swap(&mut lexer, &mut before);
        }
        is_named(&mut lexer, name)?;
        let to = lexer.next_token()?;
        if !(to.is("to") || to.kind == TokenKind::Equals) {
            return None;
        }
        value(&lexer.next_token()?)?
    } else if verb.is("reset") {
        is_named(&mut lexer, name)?;
        OneSetting::Reset
    } else if verb.is("show") {
        is_named(&mut lexer, name)?;
        OneSetting::Show
    } else {
        return None;
    };
    while let Some(token) = lexer.next_token() {
        if token.kind != TokenKind::Semicolon {
            return None;
        }
    }
    Some(found)
}

fn next_word<'a>(lexer: &mut Lexer<'a>) -> Option<Token<'a>> {
    lexer
        .next_token()
        .filter(|token| token.kind == TokenKind::Word)
}

fn is_named(lexer: &mut Lexer<'_>, name: &str) -> Option<()> {
    let (class, own) = name.split_once('.')?;
    let first = lexer.next_token()?.names(class);
    let dot = lexer.next_token()?.kind == TokenKind::Dot;
    let second = lexer.next_token()?.names(own);
    (first && dot && second).then_some(())
}

fn value(token: &Token<'_>) -> Option<OneSetting> {
    let text = std::str::from_utf8(token.text).ok()?;
    match token.kind {
        TokenKind::Word if token.is("default") => Some(OneSetting::SetToDefault),
        // As PostgreSQL does, an unquoted value is taken in small letters.
        TokenKind::Word => Some(OneSetting::Set(text.to_ascii_lowercase())),
        TokenKind::String => Some(OneSetting::Set(text.replace("''", "'"))),
        TokenKind::QuotedName => Some(OneSetting::Set(text.replace("\"\"", "\""))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: Option<OneSetting>) {
        assert_eq!(
            one_setting(sql.as_bytes(), "pglanes.lane"),
            expected,
            "{sql}"
        );
    }

    #[test]
    fn set_reset_and_show_in_their_spellings() {
        let set = |value: &str| Some(OneSetting::Set(value.to_owned()));
        check("SET pglanes.lane = 'a'", set("a"));
        check("set session PGLANES.\"lane\" to A ;", set("a"));
        check("/* x */ SET pglanes.lane TO \"A\"", set("A"));
        check("SET pglanes.lane = 'it''s'", set("it's"));
        check(
            "SET pglanes.lane TO DEFAULT",
            Some(OneSetting::SetToDefault),
        );
        check("RESET pglanes.lane", Some(OneSetting::Reset));
        check("SHOW pglanes.lane;", Some(OneSetting::Show));
    }

    #[test]
    fn anything_else_is_for_the_server() {
        for sql in [
            "",
            "SET",
            "SET LOCAL pglanes.lane = 'a'",
            "SET pglanes.lane = 'a'; SELECT 1",
            "SET pglanes.lanes = 'a'",
            "SET pglanes.lane.x = 'a'",
            "SET lane = 'a'",
            "SET pglanes.lane = 'a', 'b'",
            "SET pglanes.lane = $1",
            "SHOW ALL",
            "SELECT set_config('pglanes.lane', 'a', false)",
        ] {
            check(sql, None);
        }
    }
}
