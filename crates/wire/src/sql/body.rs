//! The code of a DO block: PL/pgSQL, mostly. It is not parsed either: a statement may begin
//! behind a semicolon and behind the words that open a block, and where the code has an
//! EXECUTE, its strings may be statements too. What it does to the session is noted; what it
//! undoes is not, for it may never get there.

use super::effects::Effects;
use super::inspect::Inspector;
use super::lexer::TokenKind;

/// Strings within strings that are looked into; what lies deeper is not seen.
const MAX_LEVEL: u32 = 3;

/// What code can leave in a session.
const LEAVES: Effects = Effects::SETTINGS
    .union(Effects::ROLE)
    .union(Effects::LISTEN)
    .union(Effects::ADVISORY_LOCK)
    .union(Effects::LOAD)
    .union(Effects::SQL_PREPARE)
    .union(Effects::SEQUENCE_CURRVAL);

/// Looks into the strings of the rest of this statement: code in some language.
pub(super) fn inspect_code(outer: &mut Inspector<'_>) {
    while let Some(token) = outer.advance() {
        if is_string(token.kind) {
            inspect_body(outer, token.text);
        }
    }
}

fn inspect_body(outer: &mut Inspector<'_>, text: &[u8]) {
    if outer.level >= MAX_LEVEL {
        return;
    }
    let mut inner = Inspector::new(text, outer.level + 1);
    let runs_strings = text
        .windows(7)
        .any(|part| part.eq_ignore_ascii_case(b"execute"));
    while inner.next_statement() {
        let mut may_begin = true;
        while let Some(token) = inner.advance() {
            let opens = token.kind == TokenKind::Word
                && ["declare", "begin", "then", "else", "loop"]
                    .iter()
                    .any(|it| token.is(it));
            if may_begin && !opens {
                inner.head(token);
            }
            if runs_strings && is_string(token.kind) {
                inspect_body(&mut inner, token.text);
            }
            may_begin = opens;
        }
    }
    outer.absorb(&inner, LEAVES);
}

fn is_string(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString
    )
}
