//! The channels that LISTEN and UNLISTEN name, and what may bring them back.

use super::databases::identifier;
use super::lexer::{Lexer, Token, TokenKind};

/// What one statement does to a session's channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listening {
    /// LISTEN of this channel.
    On(String),
    /// UNLISTEN of this channel.
    Off(String),
    /// UNLISTEN of all.
    AllOff,
    /// SAVEPOINT of this name.
    Savepoint(String),
    /// ROLLBACK TO SAVEPOINT of this name.
    BackTo(String),
    /// RELEASE SAVEPOINT of this name.
    Release(String),
    /// COMMIT or END.
    Commit,
    /// ROLLBACK or ABORT of the transaction.
    Rollback,
}

/// What the statements of a text do to a session's channels, in their order, with those that keep or undo it. Those
/// whose name cannot be read are left out.
pub fn channels(sql: &[u8]) -> Vec<Listening> {
    let mut lexer = Lexer::new(sql);
    let mut found = Vec::new();
    let mut at_start = true;
    while let Some(token) = lexer.next_token() {
        if token.kind == TokenKind::Semicolon {
            at_start = true;
            continue;
        }
        if !std::mem::take(&mut at_start) {
            continue;
        }
        // What follows is looked at ahead: a semicolon belongs to the walk.
        found.extend(said(&token, lexer.clone()));
    }
    found
}

/// What a statement does that begins with this word.
fn said(first: &Token<'_>, mut rest: Lexer<'_>) -> Option<Listening> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| first.is(word));
    if is_one_of(&["listen", "unlisten", "savepoint"]) {
        let name = rest.next_token()?;
        if first.is("unlisten") && name.kind == TokenKind::Star {
            return Some(Listening::AllOff);
        }
        let name = identifier(&name)?;
        return Some(match () {
            () if first.is("listen") => Listening::On(name),
            () if first.is("unlisten") => Listening::Off(name),
            () => Listening::Savepoint(name),
        });
    }
    if first.is("release") {
        return named_savepoint(rest).map(Listening::Release);
    }
    if is_one_of(&["rollback", "abort"]) {
        let mut next = rest.next_token();
        if next.is_some_and(|word| word.is("work") || word.is("transaction")) {
            next = rest.next_token();
        }
        return match next {
            Some(word) if word.is("to") => named_savepoint(rest).map(Listening::BackTo),
            Some(word) if word.is("prepared") => None,
            _ => Some(Listening::Rollback),
        };
    }
    if is_one_of(&["commit", "end"]) {
        let prepared = rest.next_token().is_some_and(|word| word.is("prepared"));
        return (!prepared).then_some(Listening::Commit);
    }
    None
}

/// The name behind TO or RELEASE, which may have SAVEPOINT in front.
fn named_savepoint(mut rest: Lexer<'_>) -> Option<String> {
    let first = rest.next_token()?;
    let name = match rest.next_token() {
        Some(name) if first.is("savepoint") && name.kind != TokenKind::Semicolon => name,
        _ => first,
    };
    identifier(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_named_as_postgresql_reads_them() {
        let on = |name: &str| Listening::On(name.into());
        let off = |name: &str| Listening::Off(name.into());
        assert_eq!(channels(b"LISTEN Here"), [on("here")]);
        assert_eq!(channels(b"listen \"He\"\"re\" ;"), [on("He\"re")]);
        assert_eq!(
            channels(b"/* x */ UNLISTEN a; SELECT 'LISTEN b'; UNLISTEN *; LISTEN c\0"),
            [off("a"), Listening::AllOff, on("c")]
        );
        assert_eq!(channels(b"SELECT 1; LISTEN"), []);
        assert_eq!(channels(b"LISTEN; SELECT 2"), []);
    }

    #[test]
    fn what_keeps_or_undoes_it_is_told_in_order() {
        let back = |name: &str| Listening::BackTo(name.into());
        let text = b"SAVEPOINT A; RELEASE a; RELEASE SAVEPOINT b; ROLLBACK TO \"A\"; ROLLBACK WORK TO SAVEPOINT b; \
            ABORT TRANSACTION; ROLLBACK AND CHAIN; END; COMMIT PREPARED 'x'; ROLLBACK PREPARED 'x'; ROLLBACK TO savepoint";
        let wanted = [
            Listening::Savepoint("a".into()),
            Listening::Release("a".into()),
            Listening::Release("b".into()),
            back("A"),
            back("b"),
            Listening::Rollback,
            Listening::Rollback,
            Listening::Commit,
            back("savepoint"),
        ];
        assert_eq!(channels(text), wanted);
    }
}
