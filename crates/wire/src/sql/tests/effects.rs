//! Effects on the session.

use crate::sql::{Effects, inspect};

#[track_caller]
fn check(expected: Effects, texts: &[&str]) {
    for text in texts {
        assert_eq!(inspect(text.as_bytes()).effects, expected, "{text}");
    }
}

#[test]
fn settings() {
    check(
        Effects::SETTINGS,
        &[
            "SET work_mem = '64MB'",
            "set /* x */ session -- y\n work_mem to default",
            "SET TIME ZONE 'UTC'",
            "SET NAMES 'UTF8'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET \"my\".\"Setting\" = 1",
            "RESET work_mem",
            "RESET TIME ZONE",
            "SELECT 1; SET a = 1",
            "SELECT set_config('a', 'b', false)",
            "SELECT SET_CONFIG /* x */ ('a', 'b', false)",
            "SELECT \"set_config\"('a', 'b', false)",
            "SELECT pg_catalog.set_config('a', 'b', $1)",
            "SELECT pg_catalog . \"set_config\"\n('a', 'b', not true)",
            "INSERT INTO t SELECT set_config('a', 'b', false)",
            "SELECT 'it''s' || set_config('a', 'b', false)",
            "SELECT E'\\'' || set_config('a', 'b', false) || ''",
            "UPDATE pg_settings SET setting = 1 WHERE name = 'work_mem'",
            "UPDATE ONLY pg_catalog.pg_settings SET setting = 1",
        ],
    );
    check(
        Effects::SETTINGS_RESET_ALL,
        &["RESET ALL", "reset /**/ all"],
    );
    check(
        Effects::NONE,
        &[
            "SET LOCAL work_mem = '64MB'",
            "SET TRANSACTION READ ONLY",
            "SET CONSTRAINTS ALL DEFERRED",
            "SET transaction_isolation = 'serializable'",
            "RESET TRANSACTION ISOLATION LEVEL",
            "SET LOCAL ROLE x",
            "SELECT set_config('a', 'b', true)",
            "SELECT set_config('role', $1, TRUE), 1",
            "SELECT set_config FROM t",
            "SELECT 'set_config(' || $$set_config($$ -- set_config(\n /* set_config( */",
            "UPDATE t SET set_config = 1, a = 2",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = a, pg_temp AS 'SET x = 1'",
            "SELECT my_set_config(1), xset_config(2)",
            "SHOW ALL",
        ],
    );
}

#[test]
fn what_is_altered_for_sessions_to_come_is_no_setting_of_this_one() {
    check(
        Effects::ALTER.union(Effects::DEFAULTS),
        &[
            "ALTER ROLE r SET work_mem = 1",
            "alter user all reset all",
            "ALTER DATABASE d SET work_mem = 1",
        ],
    );
    check(
        Effects::ALTER,
        &[
            "ALTER SYSTEM SET work_mem = 1",
            "ALTER TABLE role ADD a int",
        ],
    );
}

#[test]
fn a_local_set_config_does_not_cover_the_others() {
    check(
        Effects::SETTINGS,
        &[
            "SELECT set_config('a', 'b', true), set_config('a', 'b', false)",
            "SELECT set_config('a', set_config('b', 'c', false), true)",
            "SELECT set_config('a', 'b', true AND false)",
            "SELECT set_config('a', 'b', true",
        ],
    );
}

#[test]
fn roles() {
    check(
        Effects::ROLE,
        &[
            "SET ROLE admin",
            "SET SESSION ROLE 'admin'",
            "SET role TO admin",
            "SET role = admin",
            "SET SESSION AUTHORIZATION joe",
            "SET session_authorization = 'joe'",
            "SET SESSION AUTHORIZATION \"none\"",
        ],
    );
    check(
        Effects::ROLE_RESET,
        &[
            "SET ROLE NONE",
            "SET ROLE 'none'",
            "SET role TO DEFAULT",
            "RESET ROLE",
            "RESET SESSION AUTHORIZATION",
            "SET SESSION AUTHORIZATION DEFAULT",
            "RESET session_authorization",
        ],
    );
    check(
        Effects::ROLE | Effects::SETTINGS,
        &[
            "SELECT set_config('Role', 'x', false)",
            "SELECT set_config('session_authorization', $1, $2)",
        ],
    );
}

#[test]
fn what_changes_the_meaning_of_names() {
    check(
        Effects::SETTINGS | Effects::SEARCH_PATH,
        &[
            "SET search_path = a, b",
            "SET SESSION SCHEMA 'a'",
            "RESET \"search_path\"",
            "SELECT set_config('Search_Path', $1, false)",
            // Of what name, nobody knows.
            "SELECT set_config(f(1, true, (2)), 'b', false)",
        ],
    );
    check(
        Effects::SEARCH_PATH,
        &[
            "SET LOCAL search_path = a",
            "SET LOCAL SCHEMA 'a'",
            "SELECT set_config('search_path', $1, true)",
        ],
    );
    check(Effects::ALTER, &["CREATE OR REPLACE VIEW v AS SELECT 1"]);
    check(Effects::NONE, &["CREATE VIEW v AS SELECT 1"]);
}

#[test]
fn temporary_objects() {
    check(
        Effects::TEMPORARY,
        &[
            "CREATE TEMP TABLE t (a int)",
            "CREATE GLOBAL TEMPORARY TABLE t (a int)",
            "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
            "CREATE TEMP SEQUENCE s",
            "CREATE TEMP RECURSIVE VIEW v(n) AS VALUES (1)",
            "CREATE TABLE pg_temp.t (a int)",
            "create table \"pg_temp\".t (a int)",
            "SELECT * FROM pg_temp_3.t",
            "SELECT 1 INTO TEMP t",
            "SELECT 1 INTO LOCAL /**/ TEMPORARY TABLE t FROM u",
            "SET LOCAL work_mem = a; CREATE TEMP TABLE t ()",
            "CREATE TEMP TABLE t () ON COMMIT DELETE ROWS",
            "CREATE TEMP TABLE a () ON COMMIT DROP; CREATE TEMP TABLE b ()",
            "CREATE TEMP TABLE a (); CREATE TEMP TABLE b () ON COMMIT DROP",
            "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1",
        ],
    );
    check(
        Effects::TEMPORARY | Effects::TEMPORARY_ON_COMMIT_DROP,
        &[
            "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
            "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1; CREATE TEMP TABLE u () on /**/ commit drop",
        ],
    );
    check(
        Effects::TEMPORARY | Effects::SETTINGS | Effects::SEARCH_PATH,
        &[
            "SET search_path = pg_temp, public",
            "SET search_path TO 'pg_temp'",
            "SET SCHEMA 'pg_temp'",
            "SELECT set_config('search_path', 'pg_temp', false)",
        ],
    );
    check(
        Effects::NONE,
        &[
            "SELECT temp FROM temporary",
            "INSERT INTO temp VALUES (1)",
            "SELECT 1 INTO t",
            "SELECT 'pg_temp.x', pg_temp FROM t",
            "CREATE TABLE temp (temp int)",
            "SELECT pg_temperature.a FROM pg_temperature",
        ],
    );
}

#[test]
fn locks_and_sequences() {
    check(
        Effects::ADVISORY_LOCK,
        &[
            "SELECT pg_advisory_lock(1)",
            "select pg_try_advisory_lock_shared (1, 2)",
            "SELECT \"pg_advisory_lock_shared\"(1)",
            "SELECT 1 WHERE pg_catalog.PG_TRY_ADVISORY_LOCK(1)",
        ],
    );
    check(
        Effects::ADVISORY_UNLOCK,
        &[
            "SELECT pg_advisory_unlock(1)",
            "SELECT pg_advisory_unlock_shared(1)",
        ],
    );
    check(
        Effects::ADVISORY_UNLOCK_ALL,
        &["SELECT pg_advisory_unlock_all()"],
    );
    check(
        Effects::NONE,
        &[
            "SELECT pg_advisory_xact_lock(1)",
            "SELECT pg_try_advisory_xact_lock_shared(1)",
            "SELECT nextval('s')",
        ],
    );
    check(
        Effects::SEQUENCE_CURRVAL,
        &[
            "SELECT currval('s')",
            "INSERT INTO t VALUES (lastval())",
            "SELECT \"currval\" ('s')",
        ],
    );
    check(
        Effects::SETTINGS | Effects::ROLE | Effects::ADVISORY_LOCK,
        &["SELECT U&\"\\0070g_advisory_lock\"(1)"],
    );
    check(
        Effects::ADVISORY_LOCK,
        &["SELECT U&\"pg_advisory_lock\"(1)"],
    );
}

#[test]
fn what_a_session_keeps_and_gives_back() {
    for (effect, text) in [
        (Effects::LISTEN, "LISTEN c"),
        (Effects::UNLISTEN, "UNLISTEN c"),
        (Effects::UNLISTEN_ALL, "UNLISTEN /* all */ *"),
        (
            Effects::DECLARE_HOLD,
            "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1",
        ),
        (
            Effects::DECLARE_HOLD,
            "declare cursor binary cursor with /**/ hold for select 1",
        ),
        (Effects::NONE, "DECLARE c CURSOR FOR SELECT 1"),
        (Effects::NONE, "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1"),
        (Effects::CLOSE_ALL, "CLOSE ALL"),
        (Effects::CLOSE, "CLOSE c"),
        (Effects::LOAD, "LOAD 'x'"),
        (Effects::SQL_PREPARE, "PREPARE p (int) AS SELECT $1"),
        (Effects::SQL_PREPARE, "PREPARE transaction AS SELECT 1"),
        (Effects::TWO_PHASE, "PREPARE TRANSACTION 'x'"),
        (Effects::SQL_EXECUTE, "EXECUTE p (1)"),
        (Effects::SQL_EXECUTE, "EXPLAIN ANALYZE EXECUTE p"),
        (
            Effects::SQL_EXECUTE,
            "EXPLAIN (ANALYZE, FORMAT json) EXECUTE p",
        ),
        (Effects::SQL_EXECUTE, "CREATE TABLE t AS EXECUTE p"),
        (Effects::NONE, "SELECT 1 AS execute"),
        (
            Effects::NONE,
            "CREATE TRIGGER t AFTER INSERT ON u EXECUTE FUNCTION f()",
        ),
        (Effects::SQL_DEALLOCATE, "DEALLOCATE p"),
        (Effects::SQL_DEALLOCATE, "DEALLOCATE \"all\""),
        (Effects::SQL_DEALLOCATE, "DEALLOCATE PREPARE p"),
        (Effects::DEALLOCATE_ALL, "DEALLOCATE ALL"),
        (Effects::DEALLOCATE_ALL, "deallocate prepare all"),
        (Effects::DISCARD_ALL, "DISCARD ALL"),
        (Effects::DISCARD_TEMP, "DISCARD TEMPORARY"),
        (Effects::DISCARD_TEMP, "discard temp"),
        (Effects::DISCARD_PLANS, "DISCARD PLANS"),
        (Effects::DISCARD_SEQUENCES, "DISCARD SEQUENCES"),
        (Effects::DROP_DATABASE, "DROP DATABASE d"),
        (Effects::DROP, "DROP TABLE IF EXISTS a, b"),
        (Effects::CREATE_DATABASE, "CREATE DATABASE d"),
        (Effects::COPY, "COPY t TO STDOUT"),
    ] {
        check(effect, &[text]);
    }
}

#[test]
fn transactions() {
    check(Effects::BEGIN, &["BEGIN", "START TRANSACTION"]);
    check(
        Effects::COMMIT,
        &["COMMIT", "END WORK", "COMMIT AND NO CHAIN"],
    );
    check(
        Effects::COMMIT | Effects::CHAIN,
        &["COMMIT WORK AND CHAIN", "end and chain"],
    );
    check(Effects::ROLLBACK, &["ROLLBACK", "ABORT"]);
    check(Effects::ROLLBACK | Effects::CHAIN, &["ROLLBACK AND CHAIN"]);
    check(
        Effects::SAVEPOINT_ROLLBACK,
        &["ROLLBACK TO a", "ROLLBACK TRANSACTION TO SAVEPOINT chain"],
    );
    check(
        Effects::NONE,
        &[
            "COMMIT PREPARED 'x'",
            "ROLLBACK PREPARED 'x'",
            "SAVEPOINT a",
        ],
    );
    check(
        Effects::BEGIN | Effects::COMMIT | Effects::LISTEN,
        &[
            "BEGIN; LISTEN c; COMMIT",
            ";BEGIN\n;\nLISTEN c--x\n;COMMIT;",
        ],
    );
}

#[test]
fn code_in_do_blocks_is_looked_into() {
    check(
        Effects::SETTINGS,
        &[
            "DO $$ BEGIN PERFORM set_config('a', 'b', false); END $$",
            "DO $x$ BEGIN IF true THEN SET a = 1; END IF; END $x$ LANGUAGE plpgsql",
            "DO LANGUAGE plpgsql 'BEGIN SET a = 1; END'",
            "DO $$ DECLARE x int := 1; BEGIN EXECUTE 'SET a = 1'; END $$",
        ],
    );
    check(
        Effects::TEMPORARY,
        &[
            "DO $$ BEGIN CREATE TEMP TABLE t (); END $$",
            "DO $$ BEGIN EXECUTE format('CREATE TEMP TABLE %I ()', x); END $$",
        ],
    );
    check(
        Effects::TEMPORARY | Effects::TEMPORARY_ON_COMMIT_DROP,
        &["DO $$ BEGIN CREATE TEMP TABLE t () ON COMMIT DROP; END $$"],
    );
    check(
        Effects::NONE,
        &[
            "DO $$ BEGIN UPDATE t SET a = 1; RAISE NOTICE 'SET a'; COMMIT; END $$",
            "DO $$ BEGIN RESET ALL; PERFORM pg_advisory_unlock_all(); DISCARD ALL; END $$",
        ],
    );
}

#[test]
fn nothing_hides_behind_quotes_comments_or_numbers() {
    for text in [
        "SELECT 1e--'\n; LISTEN c --'",
        "SELECT 1x$a$; LISTEN c; SELECT 1x$a$",
        "SELECT E'a'\n'\\''; LISTEN c --'",
        "SELECT '\\'; LISTEN c --'",
        "SELECT U&'\\'; LISTEN c --'",
        "SELECT a$$b; LISTEN c; SELECT a$$b",
        "SELECT $1$a; LISTEN c; --$1$a",
        "SELECT \"a\"\"; --\"; LISTEN c",
        "/* /* */ ; */ LISTEN c",
        "SELECT 1 --/*\n; LISTEN c --*/",
        "SELECT 5*/* ' */3; LISTEN c",
        "SELECT 1\r--x\r; LISTEN c",
        "SELECT $\u{e9}$ ' $\u{e9}$; LISTEN c",
    ] {
        let found = inspect(text.as_bytes()).effects;
        assert!(found.contains(Effects::LISTEN), "{text}: {found:?}");
    }
}

#[test]
fn a_reset_at_the_end_is_told_from_one_that_is_not() {
    for sql in ["RESET ALL", "discard  all ; ", "SELECT f();RESET\nALL;\0"] {
        assert!(crate::sql::ends_in_reset(sql.as_bytes()), "{sql}");
    }
    for sql in [
        "",
        "ALL",
        "RESET ALL; SELECT f()",
        "SELECT f() -- RESET ALL",
        "RESET ALL; SELECT f() /* DISCARD ALL",
        "RESET work_mem; DEALLOCATE ALL",
    ] {
        assert!(!crate::sql::ends_in_reset(sql.as_bytes()), "{sql}");
    }
}
