//! The tables that a text's first statement names, by where names of tables stand: behind FROM, JOIN, INTO, UPDATE, ON of
//! CREATE INDEX, and so on. Nothing is looked up: a view is a table, and a name that no schema stands before may be in any.

use std::borrow::Cow;

use super::kind::StatementKind;
use super::lexer::{Lexer, Token, TokenKind};

/// The most tables that are told of one text.
pub const MAX_TABLES: usize = 32;
/// Parentheses and names of WITH that are kept account of; what lies deeper is taken for tables where it is none.
const MAX_KEPT: usize = 64;

/// Calls `f` with each table that the first statement names: its schema, where one stands before it, and its name, both as
/// PostgreSQL folds them (small letters unless quoted). A name that WITH defines is none.
pub fn tables(sql: &[u8], mut f: impl FnMut(Option<&str>, &str)) {
    let mut search = Search {
        lexer: Lexer::new(sql),
        defined: Vec::new(),
        left: MAX_TABLES,
    };
    search.statement(&mut |schema, name| f(schema, name));
}

type Told<'f> = &'f mut dyn FnMut(Option<&str>, &str);

struct Search<'a> {
    lexer: Lexer<'a>,
    /// Names that WITH defines.
    defined: Vec<Cow<'a, str>>,
    left: usize,
}

impl<'a> Search<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.lexer.clone().next_token()
    }

    fn statement(&mut self, f: Told<'_>) {
        let mut first = self.lexer.next_token();
        while first
            .is_some_and(|token| matches!(token.kind, TokenKind::Open | TokenKind::Semicolon))
        {
            first = self.lexer.next_token();
        }
        let Some(first) = first.filter(|token| token.kind == TokenKind::Word) else {
            return;
        };
        match StatementKind::of_first_word(first.text) {
            StatementKind::Vacuum | StatementKind::Analyze | StatementKind::Cluster => {
                self.maintained(f);
            }
            StatementKind::Truncate | StatementKind::Lock => {
                self.pass(&["table"]);
                self.list(f);
            }
            StatementKind::Copy => {
                // Either a table, or a query in parentheses.
                if self
                    .peek()
                    .is_some_and(|token| token.kind != TokenKind::Open)
                {
                    self.name(f);
                } else {
                    self.query(first, f);
                }
            }
            StatementKind::Reindex => self.reindexed(f),
            StatementKind::RefreshMaterializedView => {
                self.pass(&["materialized", "view", "concurrently"]);
                self.name(f);
            }
            StatementKind::Ddl => self.defined_object(first, f),
            _ => self.query(first, f),
        }
    }

    /// Passes over these keywords, in any number.
    fn pass(&mut self, words: &[&str]) {
        while self
            .peek()
            .is_some_and(|token| words.iter().any(|word| token.is(word)))
        {
            self.lexer.next_token();
        }
    }

    fn pass_parentheses(&mut self) {
        if self
            .peek()
            .is_none_or(|token| token.kind != TokenKind::Open)
        {
            return;
        }
        let mut depth = 0_usize;
        while let Some(token) = self.lexer.next_token() {
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// VACUUM, ANALYZE, CLUSTER: options in parentheses or as words, then tables, each perhaps with columns.
    fn maintained(&mut self, f: Told<'_>) {
        self.pass(&["full", "freeze", "verbose", "analyze", "analyse"]);
        self.pass_parentheses();
        self.pass(&["full", "freeze", "verbose", "analyze", "analyse"]);
        self.list(f);
    }

    fn reindexed(&mut self, f: Told<'_>) {
        self.pass_parentheses();
        let what = self.lexer.next_token();
        self.pass(&["concurrently"]);
        // An index's name is matched as a table's: who reindexes one index names nothing else.
        if what.is_some_and(|token| token.is("table") || token.is("index")) {
            self.name(f);
        }
    }

    /// CREATE INDEX ... ON t; CREATE, ALTER, DROP and COMMENT ON a table; all others name none.
    fn defined_object(&mut self, first: Token<'a>, f: Told<'_>) {
        let words = [
            "unique",
            "unlogged",
            "temp",
            "temporary",
            "global",
            "local",
            "foreign",
            "or",
            "replace",
            "materialized",
            "on",
            "recursive",
        ];
        self.pass(&words);
        let Some(what) = self.lexer.next_token() else {
            return;
        };
        if what.is("index") && first.is("create") {
            while let Some(token) = self.lexer.next_token() {
                if token.is("on") {
                    return self.name(f);
                }
                if token.kind == TokenKind::Semicolon {
                    return;
                }
            }
        } else if what.is("table") || what.is("view") || what.is("index") {
            self.pass(&["if", "not", "exists"]);
            if first.is("drop") {
                self.list(f);
            } else {
                self.name(f);
            }
            if first.is("create") {
                // CREATE TABLE AS, CREATE VIEW AS: the query's tables too.
                self.query(first, f);
            }
        } else if what.is("trigger") || what.is("policy") || what.is("rule") {
            self.query(first, f);
        }
    }

    /// Names between commas, each perhaps behind ONLY, with a star, columns or an alias behind it.
    fn list(&mut self, f: Told<'_>) {
        loop {
            if !self.is_name() {
                return;
            }
            self.name(f);
            if self
                .peek()
                .is_some_and(|token| token.kind == TokenKind::Star)
            {
                self.lexer.next_token();
            }
            self.pass_parentheses();
            if self
                .peek()
                .is_none_or(|token| token.kind != TokenKind::Comma)
            {
                return;
            }
            self.lexer.next_token();
        }
    }

    fn is_name(&self) -> bool {
        self.peek().is_some_and(|token| {
            matches!(token.kind, TokenKind::Word | TokenKind::QuotedName)
                && !token.is("using")
                && !token.is("in")
        })
    }

    /// The rest of a statement: names behind the words that tables stand behind.
    fn query(&mut self, first: Token<'a>, f: Told<'_>) {
        let mut walk = Walk {
            takes_using: first.is("delete") || first.is("merge"),
            ..Walk::default()
        };
        if first.is("update") || first.is("table") {
            self.name(f);
        } else if first.is("with") {
            walk.with = true;
        }
        let mut before: Option<Token<'a>> = Some(first);
        while let Some(token) = self.lexer.next_token() {
            match token.kind {
                TokenKind::Semicolon if walk.depth() == 0 => return,
                TokenKind::Open => walk.open(before),
                TokenKind::Close => walk.close(),
                TokenKind::Comma if walk.lists_tables() && self.is_name() => self.listed(f),
                TokenKind::Word | TokenKind::QuotedName if walk.with && walk.depth() == 0 => {
                    self.common_table(&mut walk, before, token, f);
                }
                TokenKind::Word => self.word(&mut walk, before, token, f),
                _ => {}
            }
            before = Some(token);
            if self.left == 0 {
                return;
            }
        }
    }

    /// A name of WITH, or the word that ends the list of them.
    fn common_table(
        &mut self,
        walk: &mut Walk,
        before: Option<Token<'a>>,
        token: Token<'a>,
        f: Told<'_>,
    ) {
        let begins = before.is_some_and(|before| {
            before.is("with") || before.is("recursive") || before.kind == TokenKind::Comma
        });
        if begins && !token.is("recursive") {
            if self.defined.len() < MAX_KEPT {
                self.defined.push(folded(&token));
            }
        } else if [
            "select", "insert", "update", "delete", "merge", "values", "table",
        ]
        .iter()
        .any(|verb| token.is(verb))
        {
            walk.with = false;
            self.word(walk, before, token, f);
        }
    }

    fn word(&mut self, walk: &mut Walk, before: Option<Token<'a>>, token: Token<'a>, f: Told<'_>) {
        let behind = |word: &str| before.is_some_and(|before| before.is(word));
        if token.is("from") {
            // IS DISTINCT FROM, and FROM inside the calls that are written with it.
            if !behind("distinct") && !walk.is_in_call() {
                walk.set_list(true);
                self.listed(f);
            }
        } else if token.is("join") || token.is("using") && walk.takes_using {
            walk.set_list(token.is("using"));
            self.listed(f);
        } else if names_one_behind(&token, before.as_ref()) {
            self.listed(f);
        } else if token.is("delete") || token.is("merge") {
            walk.takes_using = true;
        } else if [
            "where",
            "set",
            "on",
            "group",
            "order",
            "limit",
            "returning",
            "select",
            "union",
            "for",
            "values",
        ]
        .iter()
        .any(|word| token.is(word))
        {
            walk.set_list(false);
        }
    }

    /// A name, if one stands here and it is not a function's.
    fn listed(&mut self, f: Told<'_>) {
        self.pass(&["lateral"]);
        if self.is_name() && !self.peek().is_some_and(|token| token.is("select")) {
            self.name(f);
        }
    }

    /// A name with the parts before it.
    fn name(&mut self, f: Told<'_>) {
        self.pass(&["only"]);
        let mut schema = None;
        let Some(mut last) = self.part() else {
            return;
        };
        let mut parts = 1;
        while self
            .peek()
            .is_some_and(|token| token.kind == TokenKind::Dot)
        {
            self.lexer.next_token();
            let Some(part) = self.part() else {
                return;
            };
            schema = Some(std::mem::replace(&mut last, part));
            parts += 1;
        }
        // Behind INSERT INTO t stand columns; a function's name is one only where no table's could be.
        let calls = self
            .peek()
            .is_some_and(|token| token.kind == TokenKind::Open)
            && is_function(&last);
        let is_defined = parts == 1 && self.defined.contains(&last);
        if self.left > 0 && !calls && !is_defined {
            self.left -= 1;
            f(schema.as_deref(), &last);
        }
    }

    fn part(&mut self) -> Option<Cow<'a, str>> {
        let token = self.peek()?;
        let is_part = matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
        is_part.then(|| {
            self.lexer.next_token();
            folded(&token)
        })
    }
}

/// Whether one table stands behind this word: INTO of INSERT and MERGE (SELECT INTO makes one), UPDATE where it is a statement,
/// TABLE where it is a query.
fn names_one_behind(token: &Token<'_>, before: Option<&Token<'_>>) -> bool {
    let behind = |word: &str| before.is_some_and(|before| before.is(word));
    if token.is("into") {
        return !behind("select");
    }
    if token.is("update") {
        return !["for", "key", "do", "then"].iter().any(|word| behind(word));
    }
    token.is("table") && before.is_some_and(|before| before.kind == TokenKind::Open)
}

/// The functions that rows are mostly taken from.
fn is_function(name: &str) -> bool {
    name.starts_with("generate_")
        || name.starts_with("json")
        || name.starts_with("pg_")
        || name.starts_with("regexp_")
        || name.starts_with("string_to_")
        || matches!(name, "unnest" | "rows" | "xmltable" | "dblink" | "crosstab")
}

/// A name as PostgreSQL keeps it.
fn folded<'a>(token: &Token<'a>) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(token.text);
    match token.kind {
        TokenKind::Word if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(text.to_ascii_lowercase())
        }
        TokenKind::QuotedName if text.contains("\"\"") => Cow::Owned(text.replace("\"\"", "\"")),
        _ => text,
    }
}

/// Where in a query the search stands.
#[derive(Default)]
struct Walk {
    /// The list of WITH is being read.
    with: bool,
    /// DELETE and MERGE name tables behind USING; JOIN has columns there.
    takes_using: bool,
    /// By depth: whether commas stand between tables, and whether a call was opened that is written with FROM.
    levels: Vec<(bool, bool)>,
    top: bool,
    deeper: usize,
}

impl Walk {
    fn depth(&self) -> usize {
        self.levels.len() + self.deeper
    }

    fn open(&mut self, before: Option<Token<'_>>) {
        if self.levels.len() >= MAX_KEPT {
            self.deeper += 1;
            return;
        }
        let call = before.is_some_and(|before| {
            ["extract", "substring", "trim", "overlay"]
                .iter()
                .any(|name| before.is(name))
        });
        self.levels.push((false, call));
    }

    fn close(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else {
            self.levels.pop();
        }
    }

    fn lists_tables(&self) -> bool {
        self.deeper == 0 && self.levels.last().map_or(self.top, |(list, _)| *list)
    }

    fn is_in_call(&self) -> bool {
        self.levels.last().is_some_and(|(_, call)| *call)
    }

    fn set_list(&mut self, lists: bool) {
        match self.levels.last_mut() {
            Some((list, _)) => *list = lists,
            None => self.top = lists,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        let mut found = Vec::new();
        tables(sql.as_bytes(), |schema, name| {
            found.push(match schema {
                Some(schema) => format!("{schema}.{name}"),
                None => name.to_owned(),
            });
        });
        assert_eq!(found.join(" "), expected, "{sql}");
    }

    #[test]
    fn queries_name_tables_behind_from_and_join() {
        check("SELECT 1", "");
        check("SELECT * FROM t", "t");
        check(
            "select a, b from S.T x, only u as y, lateral v where a in (1, 2)",
            "s.t u v",
        );
        check(
            "SELECT * FROM \"My\".\"T\"\"x\" JOIN u USING (id, b) LEFT JOIN v ON true",
            "My.T\"x u v",
        );
        check("SELECT * FROM (SELECT * FROM a, b) s, c", "a b c");
        check("SELECT (SELECT max(x) FROM a), y FROM b", "a b");
        check(
            "SELECT * FROM a WHERE x IN (SELECT id FROM b) ORDER BY x, y",
            "a b",
        );
        check("SELECT * FROM db.s.t", "s.t");
        check("(SELECT 1 FROM a) UNION SELECT 2 FROM b", "a b");
        check("TABLE t", "t");
        check("SELECT 1 FROM t; SELECT 1 FROM u", "t");
        check("SELECT * FROM t FOR UPDATE", "t");
    }

    #[test]
    fn what_is_no_table_is_not_taken_for_one() {
        check(
            "SELECT extract(epoch FROM x), a IS DISTINCT FROM b FROM t",
            "t",
        );
        check(
            "SELECT trim(both 'x' from name), substring(y from 2) FROM t",
            "t",
        );
        check("SELECT * FROM generate_series(1, 2) g, t", "t");
        check("SELECT 'from x', $$ from y $$ /* from z */ -- from w", "");
        check(
            "WITH d AS (SELECT * FROM a), e (x) AS (TABLE b) SELECT * FROM d, e, f",
            "a b f",
        );
    }

    #[test]
    fn statements_that_change_rows() {
        check("INSERT INTO s.t (a, b) SELECT a, b FROM u", "s.t u");
        check(
            "INSERT INTO t VALUES (1, 2) ON CONFLICT DO UPDATE SET a = 1",
            "t",
        );
        check(
            "UPDATE ONLY t SET a = u.a FROM u, v WHERE t.id = u.id",
            "t u v",
        );
        check("DELETE FROM t USING u, v WHERE t.id = u.id", "t u v");
        check(
            "WITH d AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM d",
            "a b",
        );
        check(
            "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = 1",
            "t u",
        );
    }

    #[test]
    fn maintenance_and_definitions() {
        check("VACUUM (FULL, ANALYZE) t (a, b), s.u", "t s.u");
        check("VACUUM FULL VERBOSE t", "t");
        check("VACUUM", "");
        check("ANALYZE t", "t");
        check("CLUSTER t USING i", "t");
        check("REINDEX (VERBOSE) TABLE CONCURRENTLY t", "t");
        check("REINDEX DATABASE d", "");
        check(
            "CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY s.t USING hnsw (e)",
            "s.t",
        );
        check("CREATE INDEX ON t (a)", "t");
        check("TRUNCATE TABLE a, b CASCADE", "a b");
        check("LOCK TABLE t IN SHARE MODE", "t");
        check("COPY t (a) FROM STDIN", "t");
        check("COPY (SELECT * FROM a) TO STDOUT", "a");
        check("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "v");
        check("ALTER TABLE IF EXISTS ONLY t ADD COLUMN a int", "t");
        check("DROP TABLE IF EXISTS a, b", "a b");
        check("CREATE TABLE t AS SELECT * FROM u", "t u");
    }

    #[test]
    fn their_number_is_bounded_and_nothing_makes_it_panic() {
        let many: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
        let sql = format!("SELECT * FROM {}", many.join(", "));
        let mut count = 0;
        tables(sql.as_bytes(), |_, _| count += 1);
        assert_eq!(count, MAX_TABLES);
        for sql in [
            "SELECT * FROM",
            "FROM.",
            "((((",
            "))))",
            "UPDATE",
            "VACUUM (",
            "WITH x AS",
            "a.b.c",
        ] {
            tables(sql.as_bytes(), |_, _| ());
        }
        tables("(".repeat(500).as_bytes(), |_, _| ());
        tables(&b"SELECT (".repeat(200), |_, _| ());
    }
}
