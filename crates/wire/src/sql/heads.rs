//! How those statements begin that make, use or undo session state, and those whose first word
//! does not tell their kind.

use super::body;
use super::effects::Effects;
use super::inspect::{Inspector, is_temporary_schema, names_temporary_schema};
use super::kind::StatementKind;
use super::lexer::{Token, TokenKind};

impl Inspector<'_> {
    /// Reads the beginning of a statement, whose first token this is: its kind; its effects
    /// are noted.
    pub(super) fn head(&mut self, first: Token<'_>) -> StatementKind {
        if first.kind != TokenKind::Word {
            return StatementKind::Other;
        }
        let kind = StatementKind::of_first_word(first.text);
        match kind {
            StatementKind::Select if first.is("with") => return self.with(),
            StatementKind::Update => self.update(),
            StatementKind::Begin if first.is("start") => return self.start(),
            StatementKind::Begin => self.effects |= Effects::BEGIN,
            StatementKind::Commit => return self.end(kind, Effects::COMMIT),
            StatementKind::Rollback => return self.end(kind, Effects::ROLLBACK),
            StatementKind::Set if first.is("set") => self.set(),
            StatementKind::Set => self.reset(),
            StatementKind::Copy => self.effects |= Effects::COPY,
            StatementKind::Listen => self.effects |= Effects::LISTEN,
            StatementKind::Unlisten => self.unlisten(),
            StatementKind::Prepare => self.prepare(),
            StatementKind::Execute => self.effects |= Effects::SQL_EXECUTE,
            StatementKind::Deallocate => self.deallocate(),
            StatementKind::Declare => self.declare(),
            StatementKind::Close => self.close(),
            StatementKind::Discard => self.discard(),
            StatementKind::Load => self.effects |= Effects::LOAD,
            StatementKind::Explain => self.explain(),
            StatementKind::Do => body::inspect_code(self),
            StatementKind::Ddl if first.is("alter") => self.alter(),
            StatementKind::Ddl if first.is("create") => return self.create(),
            StatementKind::Ddl if first.is("drop") => return self.drop_object(),
            _ => {}
        }
        kind
    }

    fn next_is(&mut self, keyword: &str) -> bool {
        self.advance().is_some_and(|token| token.is(keyword))
    }

    /// WITH: the kind of what follows, or of the first part that changes data.
    fn with(&mut self) -> StatementKind {
        let mut changes = None;
        // Whether the two tokens before let a statement begin here.
        let (mut behind_as, mut behind_open, mut behind_close) = (false, false, false);
        let mut behind_list = true;
        while let Some(token) = self.advance() {
            let verb = match (token.kind, token.text.len()) {
                (TokenKind::Word, 5 | 6) => verb(token.text),
                _ => None,
            };
            if let Some(verb) = verb {
                if self.depth == 0 && !behind_list {
                    return match verb {
                        StatementKind::Select => changes.unwrap_or(verb),
                        changing => changing,
                    };
                }
                if verb != StatementKind::Select && (behind_open || behind_close) {
                    changes = changes.or(Some(verb));
                }
            }
            behind_open = token.kind == TokenKind::Open && behind_as;
            behind_close = token.kind == TokenKind::Close;
            behind_as = token.is("as") || token.is("materialized");
            behind_list = token.kind == TokenKind::Comma || token.is("recursive");
        }
        changes.unwrap_or(StatementKind::Select)
    }

    /// `pg_settings` can be updated, which sets for the session.
    fn update(&mut self) {
        while let Some(token) = self.advance() {
            if token.names("pg_settings") {
                self.effects |= Effects::SETTINGS;
                self.unnamed_setting = true;
            }
            if !(token.is("only") || token.names("pg_catalog") || token.kind == TokenKind::Dot) {
                return;
            }
        }
    }

    fn start(&mut self) -> StatementKind {
        if self.next_is("transaction") {
            self.effects |= Effects::BEGIN;
            StatementKind::Begin
        } else {
            StatementKind::Other
        }
    }

    /// COMMIT and ROLLBACK, in all their forms.
    fn end(&mut self, kind: StatementKind, effect: Effects) -> StatementKind {
        let mut chain = Effects::CHAIN;
        let mut found = effect;
        while let Some(token) = self.advance() {
            if token.is("prepared") {
                // Ends another transaction than the session's own.
                return kind;
            } else if token.is("to") {
                self.effects |= Effects::SAVEPOINT_ROLLBACK;
                return StatementKind::Savepoint;
            } else if token.is("no") {
                chain = Effects::NONE;
            } else if token.is("chain") {
                found |= chain;
            }
        }
        self.effects |= found;
        kind
    }

    fn set(&mut self) {
        let Some(mut token) = self.advance() else {
            return;
        };
        if token.is("local") {
            if self.advance().is_some_and(|token| is_search_path(&token)) {
                self.effects |= Effects::SEARCH_PATH;
            }
            return;
        }
        if token.is("session") {
            let Some(next) = self.advance() else {
                return;
            };
            if next.is("authorization") {
                return self.role("default");
            }
            token = next;
        }
        if token.is("transaction") || token.is("constraints") || ends_with_transaction(&token) {
            return;
        }
        if token.names("role") {
            return self.role("none");
        }
        if token.names("session_authorization") {
            return self.role("default");
        }
        self.effects |= Effects::SETTINGS;
        if is_search_path(&token) {
            self.effects |= Effects::SEARCH_PATH;
            while let Some(token) = self.advance() {
                if is_temporary_schema(token.text)
                    || (token.kind == TokenKind::String && names_temporary_schema(token.text))
                {
                    self.makes_temporary = true;
                }
            }
        }
    }

    /// The value of a role: `nobody` (NONE of SET ROLE) and DEFAULT give it back.
    fn role(&mut self, nobody: &str) {
        let mut value = self.advance();
        if value.is_some_and(|token| token.is("to") || token.kind == TokenKind::Equals) {
            value = self.advance();
        }
        let resets = value.is_some_and(|token| {
            token.is("default")
                || (nobody == "none" && token.text.eq_ignore_ascii_case(nobody.as_bytes()))
        });
        self.effects |= if resets {
            Effects::ROLE_RESET
        } else {
            Effects::ROLE
        };
    }

    fn reset(&mut self) {
        let Some(token) = self.advance() else {
            return;
        };
        self.effects |= if token.is("all") {
            Effects::SETTINGS_RESET_ALL
        } else if token.names("role") || token.names("session_authorization") || token.is("session")
        {
            Effects::ROLE_RESET
        } else if token.is("transaction") || ends_with_transaction(&token) {
            Effects::NONE
        } else if is_search_path(&token) {
            Effects::SETTINGS | Effects::SEARCH_PATH
        } else {
            Effects::SETTINGS
        };
    }

    fn unlisten(&mut self) {
        let all = self
            .advance()
            .is_some_and(|token| token.kind == TokenKind::Star);
        self.effects |= if all {
            Effects::UNLISTEN_ALL
        } else {
            Effects::UNLISTEN
        };
    }

    /// PREPARE name AS, and PREPARE TRANSACTION 'name'; a statement may be named TRANSACTION.
    fn prepare(&mut self) {
        let two_phase = self.next_is("transaction")
            && self.advance().is_some_and(|token| {
                matches!(
                    token.kind,
                    TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString
                )
            });
        self.effects |= if two_phase {
            Effects::TWO_PHASE
        } else {
            Effects::SQL_PREPARE
        };
    }

    fn deallocate(&mut self) {
        let mut name = self.advance();
        if name.is_some_and(|token| token.is("prepare")) {
            // DEALLOCATE PREPARE name, or a statement of that name.
            name = self.advance().or(name);
        }
        self.effects |= if name.is_some_and(|token| token.is("all")) {
            Effects::DEALLOCATE_ALL
        } else {
            Effects::SQL_DEALLOCATE
        };
    }

    fn declare(&mut self) {
        // The name, which may be anything.
        self.advance();
        while let Some(token) = self.advance() {
            if token.is("cursor") {
                if self.next_is("with") && self.next_is("hold") {
                    self.effects |= Effects::DECLARE_HOLD;
                }
                return;
            }
        }
    }

    fn close(&mut self) {
        let all = self.next_is("all");
        self.effects |= if all {
            Effects::CLOSE_ALL
        } else {
            Effects::CLOSE
        };
    }

    fn discard(&mut self) {
        let Some(what) = self.advance() else {
            return;
        };
        if what.is("all") {
            self.effects |= Effects::DISCARD_ALL;
        } else if what.is("temp") || what.is("temporary") {
            self.effects |= Effects::DISCARD_TEMP;
        } else if what.is("plans") {
            self.effects |= Effects::DISCARD_PLANS;
        } else if what.is("sequences") {
            self.effects |= Effects::DISCARD_SEQUENCES;
        }
    }

    /// EXPLAIN ANALYZE runs what it explains; without ANALYZE the effects are overstated.
    fn explain(&mut self) {
        while let Some(token) = self.advance() {
            if token.kind == TokenKind::Open {
                while self.depth > 0 && self.advance().is_some() {}
            } else if token.is("execute") {
                self.effects |= Effects::SQL_EXECUTE;
                return;
            } else if token.is("declare") {
                return self.declare();
            } else if token.is("create") {
                self.create();
                return;
            } else if !["analyze", "analyse", "verbose"]
                .iter()
                .any(|it| token.is(it))
            {
                return;
            }
        }
    }

    fn create(&mut self) -> StatementKind {
        let mut replaces = false;
        while let Some(token) = self.advance() {
            replaces |= token.is("replace");
            if replaces && !self.makes_temporary && token.is("view") {
                // It may have more columns than before.
                self.effects |= Effects::ALTER;
                return StatementKind::Ddl;
            }
            if token.is("temp") || token.is("temporary") {
                self.makes_temporary = true;
            } else if token.is("table") {
                self.kind = StatementKind::CreateTable;
                return self.kind;
            } else if token.is("index") {
                return StatementKind::CreateIndex;
            } else if token.is("database") {
                self.effects |= Effects::CREATE_DATABASE;
                return StatementKind::CreateDatabase;
            } else if token.is("function") || token.is("procedure") {
                self.function();
                return StatementKind::Ddl;
            } else if ![
                "or",
                "replace",
                "global",
                "local",
                "unlogged",
                "unique",
                "recursive",
            ]
            .iter()
            .any(|word| token.is(word))
            {
                return StatementKind::Ddl;
            }
        }
        StatementKind::Ddl
    }

    /// A function's body may be BEGIN ATOMIC … END, with statements of its own that are not
    /// run now.
    fn function(&mut self) {
        let mut behind_begin = false;
        // A name or an alias, not a keyword: `AS case`, `t.end`.
        let mut behind_label = false;
        while let Some(token) = self.advance() {
            if self.atomic == 0 {
                if behind_begin && self.depth == 0 && token.is("atomic") {
                    self.atomic = 1;
                }
            } else if !behind_label && token.is("case") {
                self.atomic += 1;
            } else if !behind_label && token.is("end") {
                self.atomic -= 1;
            }
            behind_begin = token.is("begin");
            behind_label = token.kind == TokenKind::Dot || token.is("as");
        }
    }

    fn alter(&mut self) {
        self.effects |= Effects::ALTER;
        let of_sessions =
            |token: Token<'_>| ["role", "user", "database"].iter().any(|it| token.is(it));
        if self.advance().is_some_and(of_sessions) {
            self.effects |= Effects::DEFAULTS;
        }
    }

    fn drop_object(&mut self) -> StatementKind {
        if self.next_is("database") {
            self.effects |= Effects::DROP_DATABASE;
            StatementKind::DropDatabase
        } else {
            self.effects |= Effects::DROP;
            StatementKind::Ddl
        }
    }
}

/// The verbs that WITH may stand before.
fn verb(word: &[u8]) -> Option<StatementKind> {
    let kind = StatementKind::of_first_word(word);
    matches!(
        kind,
        StatementKind::Select
            | StatementKind::Insert
            | StatementKind::Update
            | StatementKind::Delete
            | StatementKind::Merge
    )
    .then_some(kind)
}

fn is_search_path(token: &Token<'_>) -> bool {
    token.names("search_path") || token.is("schema")
}

/// Settings that each transaction starts anew.
fn ends_with_transaction(token: &Token<'_>) -> bool {
    [
        "transaction_isolation",
        "transaction_read_only",
        "transaction_deferrable",
    ]
    .iter()
    .any(|name| token.names(name))
}
