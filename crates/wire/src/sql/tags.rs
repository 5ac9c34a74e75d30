//! Tags in a comment, as sqlcommenter writes them: `/*key='value',key2='value2'*/` at the
//! beginning or the end of a text, keys and values percent-encoded. Applications name their
//! job with it, for the lanes' rules to match.

use std::borrow::Cow;

/// The longest comment that is read for tags, in bytes.
pub const MAX_TAG_COMMENT: usize = 2048;
/// The most tags that are read from one text.
pub const MAX_TAGS: usize = 16;

/// Calls `f` with each key and value of the comments at the beginning and at the end. A
/// comment that is not a list of tags is passed over from where it stops being one.
///
/// What looks like a tag's comment inside a line comment at the very end counts too: tags
/// help to classify and give no right.
pub fn tags(sql: &[u8], mut f: impl FnMut(&str, &str)) {
    let mut left = MAX_TAGS;
    let (leading, rest) = leading_comment(sql);
    for comment in [leading, trailing_comment(rest)].into_iter().flatten() {
        read(comment, &mut left, &mut f);
    }
}

/// The content of the comment at the beginning, and the text behind it.
fn leading_comment(sql: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let text = sql.trim_ascii_start();
    let Some(content) = text.strip_prefix(b"/*") else {
        return (None, text);
    };
    let window = &content[..content.len().min(MAX_TAG_COMMENT)];
    match window.windows(2).position(|pair| pair == b"*/") {
        Some(end) => (Some(&content[..end]), &content[end + 2..]),
        None => (None, text),
    }
}

/// The content of the comment at the end, before or behind the last semicolon.
fn trailing_comment(text: &[u8]) -> Option<&[u8]> {
    let mut text = text.trim_ascii_end();
    while let Some(before) = text.strip_suffix(b";") {
        text = before.trim_ascii_end();
    }
    let text = text.strip_suffix(b"*/")?;
    let window = &text[text.len().saturating_sub(MAX_TAG_COMMENT)..];
    let start = window.windows(2).rposition(|pair| pair == b"/*")?;
    Some(&window[start + 2..])
}

fn read(comment: &[u8], left: &mut usize, f: &mut impl FnMut(&str, &str)) {
    let mut rest = comment;
    while *left > 0 {
        let Some((key, value, after)) = split_tag(rest) else {
            return;
        };
        if let (Some(key), Some(value)) = (decode(key), decode(value)) {
            *left -= 1;
            f(&key, &value);
        }
        let after = after.trim_ascii_start();
        match after.strip_prefix(b",") {
            Some(next) => rest = next,
            None => return,
        }
    }
}

/// `key='value'`, the value with its escapes, and what stands behind.
fn split_tag(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let key = text[..equals].trim_ascii();
    let is_key = |byte: &u8| !matches!(byte, b'\'' | b',' | b' ');
    if key.is_empty() || !key.iter().all(is_key) {
        return None;
    }
    let value = text[equals + 1..].trim_ascii_start().strip_prefix(b"'")?;
    let mut end = 0;
    loop {
        match value.get(end)? {
            b'\'' => return Some((key, &value[..end], &value[end + 1..])),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

/// Takes the backslashes and percent signs out; `None` if that is not UTF-8.
fn decode(text: &[u8]) -> Option<Cow<'_, str>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
        return std::str::from_utf8(text).ok().map(Cow::Borrowed);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'\\', [escaped, behind @ ..]) => {
                decoded.push(*escaped);
                rest = behind;
            }
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high * 16 + low);
                    rest = behind;
                }
                _ => decoded.push(byte),
            },
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
