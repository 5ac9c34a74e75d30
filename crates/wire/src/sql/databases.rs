//! The database whose idle connections stand in a statement's way.

use super::lexer::{Lexer, Token, TokenKind};

/// The database that the first DROP DATABASE of a text drops, or that its first CREATE
/// DATABASE copies (`template1` where no TEMPLATE is named): PostgreSQL refuses both while
/// others are connected to it. `None` for any other text.
pub fn database_named(sql: &[u8]) -> Option<String> {
    let mut lexer = Lexer::new(sql);
    let mut at_start = true;
    while let Some(token) = lexer.next_token() {
        if token.kind == TokenKind::Semicolon {
            at_start = true;
            continue;
        }
        if std::mem::take(&mut at_start) {
            let found = if token.is("drop") {
                dropped(lexer.clone())
            } else if token.is("create") {
                copied(lexer.clone())
            } else {
                None
            };
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// `DATABASE [IF EXISTS] name`
fn dropped(mut lexer: Lexer<'_>) -> Option<String> {
    lexer.next_token().filter(|token| token.is("database"))?;
    let token = lexer.next_token()?;
    if token.is("if") {
        let mut ahead = lexer.clone();
        if ahead.next_token().is_some_and(|next| next.is("exists")) {
            return ahead.next_token().and_then(|name| identifier(&name));
        }
    }
    identifier(&token)
}

/// `DATABASE name [WITH] … [TEMPLATE [=] name] …`
fn copied(mut lexer: Lexer<'_>) -> Option<String> {
    lexer.next_token().filter(|token| token.is("database"))?;
    lexer.next_token()?;
    while let Some(token) = lexer.next_token() {
        if token.kind == TokenKind::Semicolon {
            break;
        }
        if token.is("template") {
            let mut value = lexer.next_token()?;
            if value.kind == TokenKind::Equals {
                value = lexer.next_token()?;
            }
            if !value.is("default") {
                return identifier(&value);
            }
        }
    }
    Some("template1".to_owned())
}

/// A name as PostgreSQL keeps it: small letters unless it is quoted.
pub(super) fn identifier(token: &Token<'_>) -> Option<String> {
    let text = std::str::from_utf8(token.text).ok()?;
    match token.kind {
        TokenKind::Word => Some(text.to_ascii_lowercase()),
        TokenKind::QuotedName => Some(text.replace("\"\"", "\"")),
        TokenKind::String => Some(text.replace("''", "'")),
        _ => None,
    }
}
