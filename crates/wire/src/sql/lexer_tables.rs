//! How the lexer tells bytes apart, and how it skips what it does not look at.

use super::lexer::TokenKind;

/// What a byte can begin.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Space,
    Letter,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Dash,
    Slash,
    Dot,
    Single(TokenKind),
}

/// The class of each byte. Bytes above ASCII are letters, as in PostgreSQL.
const CLASSES_BY_BYTE: [Class; 256] = {
    let mut classes = [Class::Single(TokenKind::Operator); 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 128.. => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'-' => Class::Dash,
            b'/' => Class::Slash,
            b'.' => Class::Dot,
            b';' => Class::Single(TokenKind::Semicolon),
            b'(' => Class::Single(TokenKind::Open),
            b')' => Class::Single(TokenKind::Close),
            b',' => Class::Single(TokenKind::Comma),
            b'=' => Class::Single(TokenKind::Equals),
            b'*' => Class::Single(TokenKind::Star),
            _ => Class::Single(TokenKind::Operator),
        };
        byte += 1;
    }
    classes
};

/// What the byte can begin.
#[inline]
pub(super) fn class(byte: u8) -> Class {
    static CLASSES: [Class; 256] = CLASSES_BY_BYTE;
    CLASSES[usize::from(byte)]
}

static WORD_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | 128..
        );
        byte += 1;
    }
    bytes
};

/// Whether the byte can stand inside a name.
#[inline]
pub(super) fn is_word_byte(byte: u8) -> bool {
    WORD_BYTES[usize::from(byte)]
}

static PLAIN_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = match CLASSES_BY_BYTE[byte] {
            Class::Space | Class::Digit | Class::Dot => true,
            Class::Single(kind) => !matches!(
                kind,
                TokenKind::Semicolon | TokenKind::Open | TokenKind::Close
            ),
            _ => false,
        };
        byte += 1;
    }
    bytes
};

/// Whether the byte, where no literal or comment is open, begins nothing, ends nothing and
/// nests nothing.
#[inline]
pub(super) fn is_plain(byte: u8) -> bool {
    PLAIN_BYTES[usize::from(byte)]
}

/// Bytes looked at together: the compiler turns a chunk into a few vector comparisons.
const CHUNK: usize = 32;

/// Where `needle` stands first at or behind `from`; the text's length if nowhere.
#[inline]
pub(super) fn find_byte(text: &[u8], from: usize, needle: u8) -> usize {
    find(text, from, |byte| byte == needle)
}

/// Where either stands first at or behind `from`; the text's length if nowhere.
#[inline]
pub(super) fn find_either(text: &[u8], from: usize, one: u8, other: u8) -> usize {
    find(text, from, |byte| (byte == one) | (byte == other))
}

#[inline]
fn find(text: &[u8], from: usize, hit: impl Fn(u8) -> bool) -> usize {
    let mut at = from.min(text.len());
    for chunk in text[at..].chunks_exact(CHUNK) {
        if chunk.iter().fold(false, |any, byte| any | hit(*byte)) {
            break;
        }
        at += CHUNK;
    }
    let rest = text[at..].iter().position(|byte| hit(*byte));
    rest.map_or(text.len(), |rest| at + rest)
}
