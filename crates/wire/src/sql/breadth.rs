//! How many rows an UPDATE or DELETE is after, as far as its text tells: those of a key, or in bulk.

use super::lexer::{Lexer, Token, TokenKind};

/// Conditions inside conditions that are looked into; what lies deeper names no key.
const MAX_DEPTH: u32 = 32;

/// Whether the first UPDATE or DELETE of the text works in bulk: without a WHERE, or with one that does not tie a column to
/// a given value or values (`id = $1`, `id IN (1, 2)`, `id = ANY($1)`, `CURRENT OF c`). Where alternatives are joined by
/// OR, each has to; where conditions are joined by AND, one is enough. A subquery's values are not given.
pub fn is_bulk(sql: &[u8]) -> bool {
    let mut lexer = Lexer::new(sql);
    let mut depth = 0_u32;
    let mut own: Option<u32> = None;
    while let Some(token) = lexer.next_token() {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => {
                if own == Some(depth) {
                    return true;
                }
                depth = depth.saturating_sub(1);
            }
            TokenKind::Semicolon if own == Some(depth) => return true,
            TokenKind::Word if own.is_none() && (token.is("update") || token.is("delete")) => {
                own = Some(depth);
            }
            TokenKind::Word if own == Some(depth) && token.is("where") => {
                let mut condition = Condition { lexer };
                return !condition.names_key(0);
            }
            _ => {}
        }
    }
    true
}

struct Condition<'a> {
    lexer: Lexer<'a>,
}

impl<'a> Condition<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.lexer.clone().next_token()
    }

    /// Alternatives up to the end of this level, which is used up.
    fn names_key(&mut self, depth: u32) -> bool {
        let mut every = true;
        let mut some = false;
        loop {
            some |= self.term(depth);
            let Some(token) = self.lexer.next_token() else {
                return every && some;
            };
            if token.is("or") {
                every &= some;
                some = false;
            } else if !token.is("and") {
                // A closing parenthesis, a semicolon, RETURNING: the end.
                if token.is("returning") {
                    self.skip_level();
                }
                return every && some;
            }
        }
    }

    /// To behind the parenthesis that closes this level.
    fn skip_level(&mut self) {
        let mut depth = 0_u32;
        while let Some(token) = self.lexer.next_token() {
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close if depth == 0 => return,
                TokenKind::Close => depth -= 1,
                _ => {}
            }
        }
    }

    /// One condition, up to what joins it to the next or ends the level; whether it ties a column to a value.
    fn term(&mut self, depth: u32) -> bool {
        let first = self.peek();
        if first.is_some_and(|token| token.kind == TokenKind::Open)
            && depth < MAX_DEPTH
            && !self.second_is_select()
        {
            self.lexer.next_token();
            let inside = self.names_key(depth + 1);
            // `(a + b) = 1` goes on; it ties no column.
            return self.rest_is_nothing() && inside;
        }
        let negated = first.is_some_and(|token| token.is("not"));
        let tied = self.comparison();
        tied && !negated
    }

    fn second_is_select(&self) -> bool {
        let mut lexer = self.lexer.clone();
        lexer.next_token();
        lexer
            .next_token()
            .is_some_and(|token| token.is("select") || token.is("with") || token.is("values"))
    }

    /// Goes on to what ends a term; whether nothing stood before it.
    fn rest_is_nothing(&mut self) -> bool {
        let mut nothing = true;
        while self.peek().is_some_and(|token| !ends_term(&token)) {
            nothing = false;
            self.skip_one();
        }
        nothing
    }

    /// Uses up a token, or all between parentheses.
    fn skip_one(&mut self) {
        if let Some(token) = self.lexer.next_token()
            && token.kind == TokenKind::Open
        {
            self.skip_level();
        }
    }

    /// `name = value`, `value = name`, `name IN (values)`, `CURRENT OF name`, with nothing beside.
    fn comparison(&mut self) -> bool {
        let Some(first) = self.peek().filter(|token| !ends_term(token)) else {
            return false;
        };
        let current = first.is("current");
        let left = self.side();
        let Some(operator) = self.peek().filter(|token| !ends_term(token)) else {
            return false;
        };
        let tied = if current && operator.is("of") {
            true
        } else if operator.kind == TokenKind::Equals {
            self.lexer.next_token();
            // `=>` and the like are other operators.
            let right = self.side();
            matches!(
                (left, right),
                (Side::Column, Side::Value) | (Side::Value, Side::Column)
            )
        } else if operator.is("in") && left == Side::Column {
            self.lexer.next_token();
            let listed = self
                .peek()
                .is_some_and(|token| token.kind == TokenKind::Open)
                && !self.second_is_select();
            self.skip_one();
            listed
        } else {
            return self.finish_term(false);
        };
        if current {
            return self.finish_term(true);
        }
        self.rest_is_nothing() && tied
    }

    fn finish_term(&mut self, answer: bool) -> bool {
        self.rest_is_nothing();
        answer
    }

    /// One side of a comparison: a column with its parts, a value, or something else.
    fn side(&mut self) -> Side {
        let mut token = self.peek();
        if token.is_some_and(|token| token.text == b"-") {
            self.lexer.next_token();
            token = self.peek();
        }
        let Some(token) = token.filter(|token| !ends_term(token)) else {
            return Side::Other;
        };
        let side = match token.kind {
            TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::DollarString
            | TokenKind::Number
            | TokenKind::Parameter => {
                self.lexer.next_token();
                Side::Value
            }
            TokenKind::Word if token.is("any") => {
                self.lexer.next_token();
                let given = self
                    .peek()
                    .is_some_and(|token| token.kind == TokenKind::Open)
                    && !self.second_is_select();
                self.skip_one();
                if given { Side::Value } else { Side::Other }
            }
            TokenKind::Word | TokenKind::QuotedName => self.column(),
            _ => {
                self.skip_one();
                Side::Other
            }
        };
        self.cast();
        side
    }

    fn column(&mut self) -> Side {
        self.lexer.next_token();
        while self
            .peek()
            .is_some_and(|token| token.kind == TokenKind::Dot)
        {
            self.lexer.next_token();
            self.lexer.next_token();
        }
        if self
            .peek()
            .is_some_and(|token| token.kind == TokenKind::Open)
        {
            // A call: now() and the like.
            self.skip_one();
            return Side::Other;
        }
        if self
            .peek()
            .is_some_and(|token| token.kind == TokenKind::String)
        {
            // `DATE '2026-01-01'`.
            self.lexer.next_token();
            return Side::Value;
        }
        Side::Column
    }

    /// `::type(1)[]`.
    fn cast(&mut self) {
        while self.peek().is_some_and(|token| token.text == b":") {
            self.lexer.next_token();
            self.lexer.next_token();
            self.lexer.next_token();
            while self.peek().is_some_and(|token| {
                token.kind == TokenKind::Open || token.text == b"[" || token.text == b"]"
            }) {
                self.skip_one();
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Column,
    Value,
    Other,
}

fn ends_term(token: &Token<'_>) -> bool {
    matches!(token.kind, TokenKind::Close | TokenKind::Semicolon)
        || ["and", "or", "returning"].iter().any(|word| token.is(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(condition: &str, bulk: bool) {
        for sql in [
            format!("DELETE FROM t WHERE {condition}"),
            format!("update t set a = 1 where {condition};"),
            format!(
                "WITH d AS (DELETE FROM t WHERE {condition} RETURNING (id)) SELECT * FROM d WHERE id = 1"
            ),
        ] {
            assert_eq!(is_bulk(sql.as_bytes()), bulk, "{sql}");
        }
    }

    #[test]
    fn a_column_tied_to_given_values_is_a_key() {
        for condition in [
            "id = $1",
            "id = $1::uuid",
            "t.id = 5",
            "s.\"T\".id = 'x'",
            "5 = id",
            "id = -1",
            "id IN (1, 2, 3)",
            "id = ANY($1::int[])",
            "(id = $1)",
            "((id = $1) AND (created < now()))",
            "created < now() AND id = $1",
            "id = $1 OR id = $2",
            "day = DATE '2026-01-01'",
            "CURRENT OF c",
        ] {
            check(condition, false);
        }
    }

    #[test]
    fn anything_else_is_bulk() {
        for condition in [
            "expires_at < now()",
            "true",
            "id = id",
            "t.id = u.id",
            "id = $1 OR expired",
            "id = $1 OR true",
            "(id = $1 OR expired) AND stale",
            "NOT id = $1",
            "NOT (id = 1 AND b = 2)",
            "id <> $1",
            "id NOT IN (1, 2)",
            "id IN (SELECT id FROM u WHERE id = 1)",
            "id = (SELECT max(id) FROM u)",
            "id = ANY(SELECT id FROM u)",
            "id % 10 = 0",
            "id = 5 + other",
            "lower(name) = 'x'",
            "created BETWEEN $1 AND $2",
            "(id + 1) = 5",
            "",
        ] {
            check(condition, true);
        }
    }

    #[test]
    fn without_a_where_it_is_bulk() {
        for sql in [
            "DELETE FROM t",
            "UPDATE t SET a = 1 FROM (SELECT * FROM u WHERE id = 1) u",
            "UPDATE t SET a = 1; SELECT 1 FROM t WHERE id = 1",
            "WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d WHERE id = 1",
        ] {
            assert!(is_bulk(sql.as_bytes()), "{sql}");
        }
        assert!(!is_bulk(
            b"WITH k AS (SELECT 1) DELETE FROM t USING k WHERE t.id = $1"
        ));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!(
            "DELETE FROM t WHERE {}id = 1{}",
            "(".repeat(5000),
            ")".repeat(5000)
        );
        assert!(is_bulk(deep.as_bytes()));
    }
}
