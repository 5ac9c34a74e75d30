//! A text in a form that does not depend on its values, spacing and comments: what patterns are held against.

use super::lexer::{Lexer, Token, TokenKind};

/// The longest form, in bytes; a longer one is cut.
pub const MAX_NORMALISED: usize = 8192;

/// The text with each value as `?`, a list of values as one, words in small letters, one space where there is any, none
/// before a comma or inside of parentheses, and without comments: `select a from t where id in (?) and b <=> ? < ?`.
pub fn normalised(sql: &[u8]) -> String {
    let mut out = String::with_capacity(sql.len().min(MAX_NORMALISED));
    let mut lexer = Lexer::new(sql);
    let mut before: Option<Token<'_>> = None;
    while let Some(token) = lexer.next_token() {
        if out.len() >= MAX_NORMALISED {
            break;
        }
        let is_value = is_value(token.kind);
        if is_value && (out.ends_with("?, ") || out.ends_with("?,")) {
            // One of many.
            let kept = out.trim_end_matches([' ', ',']).len();
            out.truncate(kept);
            before = Some(token);
            continue;
        }
        if let Some(before) = before
            && is_spaced(&before, &token)
        {
            out.push(' ');
        }
        match token.kind {
            _ if is_value => out.push('?'),
            TokenKind::Word => {
                out.push_str(&String::from_utf8_lossy(token.text).to_ascii_lowercase());
            }
            TokenKind::QuotedName | TokenKind::UnicodeName => {
                out.push('"');
                out.push_str(&String::from_utf8_lossy(token.text));
                out.push('"');
            }
            _ => out.push_str(&String::from_utf8_lossy(token.text)),
        }
        before = Some(token);
    }
    if out.len() > MAX_NORMALISED {
        let end = (0..=MAX_NORMALISED)
            .rev()
            .find(|end| out.is_char_boundary(*end));
        out.truncate(end.unwrap_or(0));
    }
    while out.ends_with([';', ' ']) {
        out.pop();
    }
    out
}

fn is_value(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::DollarString
            | TokenKind::Number
            | TokenKind::Parameter
    )
}

/// Words that are followed by a space although a parenthesis comes: they are no functions.
const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "any",
    "as",
    "between",
    "by",
    "case",
    "distinct",
    "else",
    "except",
    "exists",
    "filter",
    "from",
    "having",
    "in",
    "intersect",
    "into",
    "join",
    "like",
    "not",
    "on",
    "or",
    "over",
    "returning",
    "select",
    "set",
    "then",
    "union",
    "using",
    "values",
    "when",
    "where",
    "with",
];

fn is_spaced(before: &Token<'_>, token: &Token<'_>) -> bool {
    use TokenKind::{Close, Comma, Dot, Equals, Open, Operator, Semicolon, Star, Word};
    let is_sign = |kind| matches!(kind, Operator | Equals | Star);
    let adjacent = std::ptr::eq(before.text.as_ptr_range().end, token.text.as_ptr());
    match (before.kind, token.kind) {
        (_, Comma | Close | Dot | Semicolon) | (Open | Dot, _) => false,
        (Word, Open) => KEYWORDS.iter().any(|word| before.is(word)),
        (TokenKind::QuotedName, Open) => false,
        // The bytes of one operator; `a[1]` and `a::b` as they are mostly written.
        (first, second) if is_sign(first) && is_sign(second) => !adjacent,
        (_, Operator) if matches!(token.text, b"[" | b"]" | b":") => false,
        (Operator, _) if matches!(before.text, b"[" | b":") => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        assert_eq!(normalised(sql.as_bytes()), expected, "{sql}");
    }

    #[test]
    fn values_spacing_and_comments_do_not_matter() {
        let same = "select a, b from \"T\" where id = ? and name = ?";
        check("SELECT a,b FROM \"T\" WHERE id=1 AND name='x'", same);
        check(
            "/* job */ select a , b\nfrom \"T\" -- x\n where id = $1 and name = E'y\\n';",
            same,
        );
        check("SELECT count(*) FROM s . t", "select count(*) from s.t");
    }

    #[test]
    fn lists_are_as_long_as_one() {
        check("SELECT 1 WHERE a IN (1,2, 3)", "select ? where a in (?)");
        check(
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)",
            "insert into t(a, b) values (?), (?)",
        );
    }

    #[test]
    fn operators_stay_whole() {
        check(
            "SELECT * FROM t ORDER BY e<=>$1 LIMIT 5",
            "select * from t order by e <=> ? limit ?",
        );
        check(
            "SELECT a->>'k', b::text, c[1]",
            "select a ->> ?, b::text, c[?]",
        );
    }

    #[test]
    fn length_is_bounded_on_a_whole_letter() {
        let long = format!("SELECT {}", "ü".repeat(MAX_NORMALISED));
        let found = normalised(long.as_bytes());
        assert!(found.len() <= MAX_NORMALISED && found.starts_with("select üü"));
    }
}
