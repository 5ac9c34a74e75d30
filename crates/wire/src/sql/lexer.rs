//! SQL text as tokens, cut where PostgreSQL's `scan.l` cuts them. Nothing is copied, nothing can
//! fail: what does not end is taken to the end of the text. Time is linear in the text,
//! whatever stands in it.

use super::lexer_tables::{Class, class, find_byte, find_either, is_plain, is_word_byte};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// `"name"`; the text is what stands between the quotes, doubled quotes still doubled.
    QuotedName,
    /// `U&"name"`, which may spell its letters as escapes.
    UnicodeName,
    /// `'…'`; the text is what stands between the quotes, doubled quotes still doubled.
    String,
    /// `E'…'` or `U&'…'`, which may spell its letters as escapes.
    EscapeString,
    /// `$tag$…$tag$`; the text is what stands between.
    DollarString,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// `;`
    Semicolon,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `=`
    Equals,
    /// `*`
    Star,
    /// One byte of any other operator, or one that has no meaning.
    Operator,
}

/// A token and its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a [u8],
}

impl Token<'_> {
    /// Whether it is this keyword, in any case.
    #[inline]
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Whether it is this name, quoted or not.
    pub(super) fn names(&self, name: &str) -> bool {
        matches!(self.kind, TokenKind::Word | TokenKind::QuotedName)
            && self.text.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Cuts text into tokens, one at a time.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// The text from `from` to before `to`, as a token; the next one starts at `next`.
    #[inline]
    fn token(&mut self, kind: TokenKind, from: usize, to: usize, next: usize) -> Token<'a> {
        self.at = next.min(self.text.len());
        Token {
            kind,
            text: self.text.get(from..to).unwrap_or_default(),
        }
    }

    /// The next token; `None` at the end of the text.
    #[inline]
    pub(super) fn next_token(&mut self) -> Option<Token<'a>> {
        loop {
            let start = self.at;
            let byte = self.byte(start)?;
            return Some(match class(byte) {
                Class::Space => {
                    self.at += 1;
                    continue;
                }
                Class::Letter => self.word(start),
                Class::Digit => self.number(start),
                Class::Quote => self.string(TokenKind::String, start + 1),
                Class::DoubleQuote => self.quoted_name(TokenKind::QuotedName, start + 1),
                Class::Dollar => self.dollar(start),
                Class::Dash if self.byte(start + 1) == Some(b'-') => {
                    self.at = end_of_line(self.text, start + 2);
                    continue;
                }
                Class::Slash if self.byte(start + 1) == Some(b'*') => {
                    self.at = end_of_comment(self.text, start + 2);
                    continue;
                }
                Class::Dot => match self.byte(start + 1) {
                    Some(b'0'..=b'9') => self.number(start),
                    _ => self.token(TokenKind::Dot, start, start + 1, start + 1),
                },
                Class::Dash | Class::Slash => {
                    self.token(TokenKind::Operator, start, start + 1, start + 1)
                }
                Class::Single(kind) => self.token(kind, start, start + 1, start + 1),
            });
        }
    }

    /// Skips what can be told to be of no interest without making tokens of it: whitespace,
    /// digits, operators and the words that `is_dull` (by their length and first byte) lets
    /// pass. Stops before anything else; nothing is skipped that is not a whole token, or a
    /// part of a number.
    #[inline]
    pub(super) fn skip_dull(&mut self, is_dull: impl Fn(usize, u8) -> bool) {
        while let Some(byte) = self.byte(self.at) {
            if is_plain(byte) {
                self.at += 1;
            } else if is_word_byte(byte) && byte != b'$' {
                let end = self.end_of_word(self.at + 1);
                if !is_dull(end - self.at, byte) {
                    return;
                }
                self.at = end;
            } else {
                return;
            }
        }
    }

    #[inline]
    fn end_of_word(&self, from: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_word_byte(*byte));
        length.map_or(self.text.len(), |length| from + length)
    }

    #[inline]
    fn word(&mut self, start: usize) -> Token<'a> {
        let end = self.end_of_word(start + 1);
        if end == start + 1 {
            // One letter may be the prefix of a literal, if nothing stands between.
            match (self.text[start], self.byte(end), self.byte(end + 1)) {
                (b'e' | b'E', Some(b'\''), _) => return self.escape_string(end + 1),
                (b'u' | b'U', Some(b'&'), Some(b'\'')) => {
                    return self.string(TokenKind::EscapeString, end + 2);
                }
                (b'u' | b'U', Some(b'&'), Some(b'"')) => {
                    return self.quoted_name(TokenKind::UnicodeName, end + 2);
                }
                _ => {}
            }
        }
        self.token(TokenKind::Word, start, end, end)
    }

    /// Digits and dots, with an exponent if it has digits. Letters behind it are the next
    /// token: before PostgreSQL 15, `1x$a$` was a number and the name `x$a$`.
    fn number(&mut self, start: usize) -> Token<'a> {
        let is_digit = |at: usize| matches!(self.byte(at), Some(b'0'..=b'9'));
        let mut end = start + 1;
        while is_digit(end) || self.byte(end) == Some(b'.') {
            end += 1;
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            if is_digit(end + 1 + sign) {
                end += 1 + sign;
                while is_digit(end) {
                    end += 1;
                }
            }
        }
        self.token(TokenKind::Number, start, end, end)
    }

    /// A literal without backslash escapes, whose content begins at `start`.
    fn string(&mut self, kind: TokenKind, start: usize) -> Token<'a> {
        let end = end_of_quoted(self.text, start, b'\'');
        self.token(kind, start, end, end + 1)
    }

    fn quoted_name(&mut self, kind: TokenKind, start: usize) -> Token<'a> {
        let end = end_of_quoted(self.text, start, b'"');
        self.token(kind, start, end, end + 1)
    }

    /// `E'…'`, with those parts of it that follow on later lines: there too a backslash
    /// escapes.
    fn escape_string(&mut self, start: usize) -> Token<'a> {
        let mut end = end_of_escaped(self.text, start);
        while let Some(part) = continuation(self.text, end + 1) {
            end = end_of_escaped(self.text, part);
        }
        self.token(TokenKind::EscapeString, start, end, end + 1)
    }

    /// `$1`, `$tag$…$tag$`, or a dollar that means nothing.
    fn dollar(&mut self, start: usize) -> Token<'a> {
        let mut end = start + 1;
        match self.byte(end) {
            Some(b'0'..=b'9') => {
                while self.byte(end).is_some_and(|byte| byte.is_ascii_digit()) {
                    end += 1;
                }
                return self.token(TokenKind::Parameter, start, end, end);
            }
            Some(b'$') => {}
            // A tag is a name without dollars.
            Some(byte) if is_word_byte(byte) => {
                while self
                    .byte(end)
                    .is_some_and(|byte| is_word_byte(byte) && byte != b'$')
                {
                    end += 1;
                }
                if self.byte(end) != Some(b'$') {
                    return self.token(TokenKind::Operator, start, start + 1, start + 1);
                }
            }
            _ => return self.token(TokenKind::Operator, start, start + 1, start + 1),
        }
        let content = end + 1;
        let delimiter = &self.text[start..content];
        let mut close = content;
        loop {
            close = find_byte(self.text, close, b'$');
            let Some(rest) = self.text.get(close..).filter(|rest| !rest.is_empty()) else {
                let end = self.text.len();
                return self.token(TokenKind::DollarString, content, end, end);
            };
            if rest.starts_with(delimiter) {
                let next = close + delimiter.len();
                return self.token(TokenKind::DollarString, content, close, next);
            }
            close += 1;
        }
    }
}

fn end_of_line(text: &[u8], from: usize) -> usize {
    find_either(text, from, b'\n', b'\r')
}

/// Behind the comment whose content begins at `at`; comments nest.
fn end_of_comment(text: &[u8], mut at: usize) -> usize {
    let mut depth = 1_usize;
    while depth > 0 {
        at = find_either(text, at, b'*', b'/');
        match (text.get(at), text.get(at + 1)) {
            (None, _) => return text.len(),
            (Some(b'*'), Some(b'/')) => {
                depth -= 1;
                at += 2;
            }
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    at
}

/// Where the closing quote stands; a doubled one does not close.
fn end_of_quoted(text: &[u8], mut at: usize, quote: u8) -> usize {
    loop {
        at = find_byte(text, at, quote);
        if text.get(at + 1) != Some(&quote) {
            return at;
        }
        at += 2;
    }
}

fn end_of_escaped(text: &[u8], mut at: usize) -> usize {
    loop {
        at = find_either(text, at, b'\'', b'\\');
        match (text.get(at), text.get(at + 1)) {
            (None, _) => return text.len(),
            (Some(b'\\'), _) | (Some(_), Some(b'\'')) => at += 2,
            _ => return at,
        }
    }
}

/// Where the content of a literal's next part begins: behind whitespace with a line's end in
/// it, and a quote.
fn continuation(text: &[u8], mut at: usize) -> Option<usize> {
    let mut line_ended = false;
    loop {
        match text.get(at)? {
            b'\n' | b'\r' => line_ended = true,
            b' ' | b'\t' | b'\x0b' | b'\x0c' => {}
            b'-' if text.get(at + 1) == Some(&b'-') => {
                at = end_of_line(text, at + 2);
                continue;
            }
            b'\'' if line_ended => return Some(at + 1),
            _ => return None,
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::TokenKind::*;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(TokenKind, &str)]) {
        let mut lexer = Lexer::new(text.as_bytes());
        let found: Vec<_> = std::iter::from_fn(|| lexer.next_token())
            .map(|token| (token.kind, std::str::from_utf8(token.text).unwrap()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_numbers_and_operators() {
        check("a1_$b ü", &[(Word, "a1_$b"), (Word, "ü")]);
        check(
            "$1,$23",
            &[(Parameter, "$1"), (Comma, ","), (Parameter, "$23")],
        );
        check("1.5e-3 .5", &[(Number, "1.5e-3"), (Number, ".5")]);
        check("a.b", &[(Word, "a"), (Dot, "."), (Word, "b")]);
        check(
            "(*)=;",
            &[
                (Open, "("),
                (Star, "*"),
                (Close, ")"),
                (Equals, "="),
                (Semicolon, ";"),
            ],
        );
        check(
            "1-2/3",
            &[
                (Number, "1"),
                (Operator, "-"),
                (Number, "2"),
                (Operator, "/"),
                (Number, "3"),
            ],
        );
    }

    #[test]
    fn a_number_does_not_swallow_what_begins_behind_it() {
        check("1e--'\n;", &[(Number, "1"), (Word, "e"), (Semicolon, ";")]);
        check("1x$a$;", &[(Number, "1"), (Word, "x$a$"), (Semicolon, ";")]);
        check(
            r"1E'\'';",
            &[(Number, "1"), (EscapeString, r"\'"), (Semicolon, ";")],
        );
    }

    #[test]
    fn comments_nest_and_end_operators() {
        check("a--b'\nc", &[(Word, "a"), (Word, "c")]);
        check("a--b\rc", &[(Word, "a"), (Word, "c")]);
        check("a/* x /* y */ ' */b", &[(Word, "a"), (Word, "b")]);
        check(
            "/**/a/***/b/*/*/**/*/*/c",
            &[(Word, "a"), (Word, "b"), (Word, "c")],
        );
        check("+--x\n/*y*/1", &[(Operator, "+"), (Number, "1")]);
        check("a /* open", &[(Word, "a")]);
    }

    #[test]
    fn quotes_of_every_kind() {
        check("'it''s' 'x", &[(String, "it''s"), (String, "x")]);
        check(r"'\' a", &[(String, "\\"), (Word, "a")]);
        check(r"E'\'' a", &[(EscapeString, r"\'"), (Word, "a")]);
        check(r"fe'\' a", &[(Word, "fe"), (String, "\\"), (Word, "a")]);
        check(r"U&'\' a", &[(EscapeString, "\\"), (Word, "a")]);
        check(
            "\"a\"\"b\" U&\"c\"",
            &[(QuotedName, "a\"\"b"), (UnicodeName, "c")],
        );
        check(
            "$$a'b$$ $t$a$$b$t$c",
            &[(DollarString, "a'b"), (DollarString, "a$$b"), (Word, "c")],
        );
        check("$a b", &[(Operator, "$"), (Word, "a"), (Word, "b")]);
        check("$a$ open", &[(DollarString, " open")]);
        check("a$$b", &[(Word, "a$$b")]);
    }

    #[test]
    fn an_escape_string_goes_on_in_the_next_line() {
        check(
            "E'a' -- '\n 'b\\'c' d",
            &[(EscapeString, "a' -- '\n 'b\\'c"), (Word, "d")],
        );
        check(
            "E'a' 'b\\' d",
            &[(EscapeString, "a"), (String, "b\\"), (Word, "d")],
        );
    }

    #[test]
    fn long_literals_end_where_they_end_whatever_their_length() {
        for length in 0..100 {
            let filler = "x".repeat(length);
            check(
                &format!("'{filler}';"),
                &[(String, &filler), (Semicolon, ";")],
            );
            check(&format!("/*{filler}*/;"), &[(Semicolon, ";")]);
        }
    }
}
