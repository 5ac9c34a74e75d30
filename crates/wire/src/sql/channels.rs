//! The channels that LISTEN and UNLISTEN name.

use super::databases::identifier;
use super::lexer::{Lexer, TokenKind};

/// What one statement does to a session's channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listening {
    /// LISTEN of this channel.
    On(String),
    /// UNLISTEN of this channel.
    Off(String),
    /// UNLISTEN of all.
    AllOff,
}

/// What the LISTEN and UNLISTEN statements of a text do, in their order. Those whose channel
/// cannot be read are left out.
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
        let (on, off) = (token.is("listen"), token.is("unlisten"));
        if !on && !off {
            continue;
        }
        // Not a semicolon: that one belongs to the walk.
        let Some(name) = lexer.clone().next_token() else {
            break;
        };
        if off && name.kind == TokenKind::Star {
            found.push(Listening::AllOff);
        } else if let Some(name) = identifier(&name) {
            found.push(match on {
                true => Listening::On(name),
                false => Listening::Off(name),
            });
        }
    }
    found
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
}
