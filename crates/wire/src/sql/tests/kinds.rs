//! Kinds and counts of statements.

use crate::sql::StatementKind::{self, *};
use crate::sql::{MAX_STATEMENTS, inspect};

#[track_caller]
fn check(expected: StatementKind, texts: &[&str]) {
    for text in texts {
        let found = inspect(text.as_bytes());
        assert_eq!((found.first, found.statements), (expected, 1), "{text}");
    }
}

#[test]
fn queries_and_changes() {
    check(
        Select,
        &[
            "SELECT 1",
            "select/**/1;",
            "  -- a comment; with a semicolon\n /* and /* a nested */ one */ SeLeCt 1 ; ; -- end",
            "((SELECT 1)) UNION (SELECT 2)",
            "VALUES (1), (2)",
            "TABLE t",
            "SELECT ';' || $$;$$ || E'\\';' || \";\" FROM t",
            "SELECT $a$ $$;$$ ; $a$",
        ],
    );
    check(
        Insert,
        &["INSERT INTO t VALUES (';')", "\tinsert into t select 1"],
    );
    check(Update, &["UPDATE t SET a = 1", "update only t set a=1"]);
    check(Delete, &["DELETE FROM t"]);
    check(
        Merge,
        &["MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE"],
    );
    check(Truncate, &["TRUNCATE t", "truncate table a, b"]);
}

#[test]
fn with_is_what_it_leads_to() {
    check(
        Select,
        &[
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "WITH RECURSIVE a(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM a) TABLE a",
            "WITH a AS (SELECT 1 FROM t FOR UPDATE) SELECT 1",
            "WITH delete AS (SELECT 1), update(insert) AS (SELECT 2) SELECT 1",
            "WITH a AS (SELECT 1) SEARCH DEPTH FIRST BY x SET y SELECT 1",
            "WITH a AS (",
        ],
    );
    check(
        Delete,
        &[
            "WITH a AS (SELECT 1) DELETE FROM t USING a",
            "WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone",
            "with gone as materialized (delete from t returning *) select 1",
            "WITH a AS (WITH b AS (SELECT 1) DELETE FROM t RETURNING 1) SELECT 1",
        ],
    );
    check(
        Insert,
        &["WITH a AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM a"],
    );
    check(
        Update,
        &["WITH a AS NOT MATERIALIZED (UPDATE t SET a=1 RETURNING 1) SELECT 1"],
    );
    check(
        Merge,
        &["WITH a AS (SELECT 1) MERGE INTO t USING a ON true WHEN MATCHED THEN DELETE"],
    );
}

#[test]
fn maintenance_and_definitions() {
    check(
        Vacuum,
        &["VACUUM", "vacuum (analyze) t", "/* x */ VACUUM FULL t;"],
    );
    check(Analyze, &["ANALYZE t", "analyse"]);
    check(Reindex, &["REINDEX INDEX CONCURRENTLY i"]);
    check(Cluster, &["CLUSTER t USING i"]);
    check(
        RefreshMaterializedView,
        &["REFRESH MATERIALIZED VIEW CONCURRENTLY v"],
    );
    check(
        CreateIndex,
        &[
            "CREATE INDEX ON t USING hnsw (embedding vector_cosine_ops)",
            "create /* x */ unique -- y\n index concurrently if not exists i on t (a)",
        ],
    );
    check(
        CreateTable,
        &[
            "CREATE TABLE t (a int)",
            "CREATE UNLOGGED TABLE t AS SELECT 1",
            "CREATE LOCAL TEMP TABLE t ()",
        ],
    );
    check(CreateDatabase, &["CREATE DATABASE d"]);
    check(
        DropDatabase,
        &["DROP DATABASE IF EXISTS d", "drop database d with (force)"],
    );
    check(
        Ddl,
        &[
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "CREATE FOREIGN TABLE t () SERVER s",
            "ALTER TABLE t ADD a int",
            "DROP TABLE t",
            "GRANT ALL ON t TO u",
            "COMMENT ON TABLE t IS 'x'",
            "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM u; DELETE FROM v)",
            "CREATE",
        ],
    );
}

#[test]
fn sessions_and_transactions() {
    check(
        Begin,
        &[
            "BEGIN",
            "begin work isolation level serializable",
            "START TRANSACTION READ ONLY",
        ],
    );
    check(
        Commit,
        &["COMMIT", "END", "COMMIT AND CHAIN", "COMMIT PREPARED 'x'"],
    );
    check(
        Rollback,
        &["ROLLBACK", "ABORT WORK", "ROLLBACK PREPARED 'x'"],
    );
    check(
        Savepoint,
        &[
            "SAVEPOINT a",
            "RELEASE a",
            "ROLLBACK WORK TO SAVEPOINT a",
            "rollback to a",
        ],
    );
    check(Set, &["SET a = 1", "RESET ALL"]);
    check(Show, &["SHOW work_mem"]);
    check(Copy, &["COPY t FROM STDIN", "COPY (SELECT ';') TO STDOUT"]);
    check(
        Explain,
        &[
            "EXPLAIN SELECT 1",
            "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t",
        ],
    );
    check(Do, &["DO $$ BEGIN DELETE FROM t; END $$"]);
    check(Call, &["CALL p()"]);
    check(Fetch, &["FETCH 1 FROM c", "MOVE c"]);
    check(Lock, &["LOCK TABLE t"]);
    check(Listen, &["LISTEN c"]);
    check(Unlisten, &["UNLISTEN *"]);
    check(Notify, &["NOTIFY c, 'x;y'"]);
    check(Prepare, &["PREPARE p AS SELECT 1"]);
    check(Execute, &["EXECUTE p(1)"]);
    check(Deallocate, &["DEALLOCATE p"]);
    check(Declare, &["DECLARE c CURSOR FOR SELECT 1"]);
    check(Close, &["CLOSE c"]);
    check(Discard, &["DISCARD ALL"]);
    check(Load, &["LOAD 'auto_explain'"]);
    check(
        Other,
        &[
            "CHECKPOINT",
            "START_REPLICATION",
            "START x",
            "'text'",
            "1",
            "selects",
            "a_very_long_word_indeed",
        ],
    );
}

#[test]
fn statements_are_counted_and_the_first_one_names_the_text() {
    for (text, first, statements) in [
        ("", Empty, 0),
        (" ;; -- nothing\n; /* here */", Empty, 0),
        (";; BEGIN; DELETE FROM t; COMMIT;", Begin, 3),
        ("SELECT 1; SELECT ';'; SELECT 3", Select, 3),
        ("((", Empty, 0),
        ("SELECT 1;;SELECT 2", Select, 2),
    ] {
        let found = inspect(text.as_bytes());
        assert_eq!(
            (found.first, found.statements),
            (first, statements),
            "{text}"
        );
    }
}

#[test]
fn the_count_stops_at_its_limit_and_effects_do_not() {
    let mut text = "SHOW a;".repeat(MAX_STATEMENTS as usize + 10);
    text.push_str("LISTEN x");
    let found = inspect(text.as_bytes());
    assert_eq!(found.statements, MAX_STATEMENTS);
    assert_eq!(found.effects, crate::sql::Effects::LISTEN);
}

#[test]
fn a_function_body_is_one_statement_with_its_semicolons() {
    let body = "CREATE OR REPLACE FUNCTION f(a int DEFAULT (1)) RETURNS int LANGUAGE sql \
        BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT t.case, 1 AS end FROM t; END";
    let text = format!("{body}; COMMIT");
    let found = inspect(text.as_bytes());
    assert_eq!((found.first, found.statements), (Ddl, 2));
    assert_eq!(found.effects, crate::sql::Effects::COMMIT);
    // Where it is no function, BEGIN ATOMIC is a column with an alias.
    let view = inspect(b"CREATE VIEW v AS SELECT begin atomic; SET a = 1");
    assert_eq!(view.statements, 2);
    assert!(view.effects.contains(crate::sql::Effects::SETTINGS));
}
