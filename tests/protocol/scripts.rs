//! The cases of the comparison, by subject.

use pglanes_tests::Script;

use crate::differential::{Case, Random, check};

fn s() -> Script {
    Script::new()
}

fn simple(texts: &[&str]) -> Vec<Case> {
    let said = |text: &&str| Case::new(*text, s().query(text));
    texts.iter().map(said).collect()
}

#[tokio::test]
async fn simple_queries_are_answered_as_by_the_server() {
    check(simple(&[
        "SELECT 1",
        "",
        ";",
        " ;; -- nothing\n /* at all */ ",
        "SELECT id, name FROM t ORDER BY id",
        "SELECT 1; SELECT 2 AS two, NULL; ; UPDATE t SET name = 'x' WHERE id = 1",
        "INSERT INTO t VALUES (11, 'a') RETURNING *; SELECT count(*) FROM t",
        "SELECT 1; SELECT 1/0; SELECT 3",
        "INSERT INTO t VALUES (12, 'a'); SELECT 1/0; SELECT 1",
        "BEGIN; SELECT 1; COMMIT",
        "BEGIN; SELECT 1/0; COMMIT",
        "SELECT 1; BEGIN; SELECT 2",
        "BEGIN; INSERT INTO t VALUES (13, 'a'); COMMIT AND CHAIN; SELECT 1; ROLLBACK AND CHAIN; SELECT 2; COMMIT",
        "COMMIT",
        "BEGIN; BEGIN; COMMIT",
        "SELECT warns('bang')",
        "SELECT fails('this')",
        "INSERT INTO t VALUES (1, 'taken')",
        "INSERT INTO t VALUES (14, 'bad')",
        "SELECT nothing FROM t",
        "SELECT * FROM missing",
        "SELEC 1",
        "SELECT 'open",
        "SHOW application_name",
        "SHOW nonsense",
        "SET nonsense = 1",
        "SET work_mem = 'many'",
        "DO $$ BEGIN RAISE NOTICE 'one'; RAISE INFO 'two'; RAISE DEBUG 'three'; END $$",
        "SELECT repeat('x', 100000), generate_series(1, 20)",
        "SELECT 'päng', E'\\x01', ''",
        "DECLARE c CURSOR FOR SELECT * FROM t; FETCH 2 FROM c; FETCH ALL FROM c; CLOSE c",
        "PREPARE TRANSACTION 'never'",
        "EXPLAIN SELECT * FROM t WHERE id = 1",
        "VACUUM t",
        "BEGIN; VACUUM t; COMMIT",
        "LISTEN here; NOTIFY here, 'payload'; UNLISTEN *",
        "NOTIFY nobody",
        "CREATE TEMP TABLE mine (a int); SELECT count(*) FROM mine; DROP TABLE mine",
        "PREPARE p AS SELECT $1::int; EXECUTE p(1); DEALLOCATE p; EXECUTE p(2)",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1); SELECT pg_advisory_unlock(1)",
    ]))
    .await;
}

#[tokio::test]
async fn transactions_over_several_messages_are_answered_as_by_the_server() {
    let said = |name: &str, texts: &[&str]| {
        let script = texts.iter().fold(s(), |script, text| script.query(text));
        Case::new(name, script)
    };
    check(vec![
        said(
            "committed",
            &[
                "BEGIN",
                "INSERT INTO t VALUES (20, 'a')",
                "COMMIT",
                "SELECT count(*) FROM t",
            ],
        ),
        said(
            "rolled back",
            &[
                "BEGIN",
                "DELETE FROM t",
                "ROLLBACK",
                "SELECT count(*) FROM t",
            ],
        ),
        said(
            "failed",
            &["BEGIN", "SELECT 1/0", "SELECT 1", "COMMIT", "SELECT 2"],
        ),
        said(
            "savepoints",
            &[
                "BEGIN",
                "SAVEPOINT a",
                "SELECT 1/0",
                "ROLLBACK TO a",
                "SELECT 1",
                "RELEASE a",
                "COMMIT",
            ],
        ),
        said(
            "chained",
            &[
                "BEGIN",
                "COMMIT AND CHAIN",
                "SELECT 1",
                "ROLLBACK AND CHAIN",
                "SELECT 2",
                "COMMIT",
            ],
        ),
        said(
            "set and rolled back",
            &[
                "BEGIN",
                "SET search_path = nowhere",
                "ROLLBACK",
                "SHOW search_path",
            ],
        ),
        said(
            "set local",
            &[
                "BEGIN",
                "SET LOCAL work_mem = '1MB'",
                "SHOW work_mem",
                "COMMIT",
                "SHOW work_mem",
            ],
        ),
        said(
            "reported settings",
            &[
                "SET TimeZone = 'Asia/Tokyo'",
                "SET DateStyle = 'German'",
                "SELECT '2026-01-02'::date",
                "RESET ALL",
                "SHOW TimeZone",
            ],
        ),
        said(
            "a reported setting rolled back",
            &[
                "BEGIN",
                "SET TimeZone = 'Asia/Tokyo'",
                "ROLLBACK",
                "SHOW TimeZone",
            ],
        ),
        Case::new("application_name", s().query("SHOW application_name"))
            .after(s().query("SET application_name = 'a'"), "CSZ")
            .after(s().query("SHOW application_name"), "TDCZ")
            .after(s().query("RESET application_name"), "CSZ"),
        said(
            "client_encoding",
            &[
                "SET client_encoding = 'LATIN1'",
                "SELECT 'p' || chr(228)",
                "SET client_encoding = 'UTF8'",
                "SELECT chr(228)",
            ],
        ),
        said(
            "hold cursor",
            &[
                "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t",
                "FETCH 3 FROM c",
                "SELECT 1",
                "FETCH 3 FROM c",
                "CLOSE ALL",
            ],
        ),
        said(
            "sql prepare",
            &[
                "PREPARE p AS SELECT * FROM t WHERE id = $1",
                "EXECUTE p(3)",
                "DEALLOCATE ALL",
                "EXECUTE p(3)",
            ],
        ),
        said(
            "role",
            &[
                "SET ROLE pg_monitor",
                "SELECT current_user",
                "RESET ROLE",
                "SELECT current_user",
            ],
        ),
        said(
            "session authorization",
            &[
                "SET SESSION AUTHORIZATION pg_monitor",
                "SELECT current_user",
                "RESET SESSION AUTHORIZATION",
                "SELECT current_user",
            ],
        ),
        said(
            "discarded",
            &[
                "SET work_mem = '1MB'",
                "SET a.b = '1'",
                "DISCARD ALL",
                "SHOW work_mem",
                "SHOW a.b",
            ],
        ),
        said("discard in a block", &["BEGIN", "DISCARD ALL", "ROLLBACK"]),
        said(
            "large object",
            &[
                "BEGIN",
                "SELECT lo_create(77)",
                "SELECT lo_open(77, 131072)",
                "SELECT lo_unlink(77)",
                "COMMIT",
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_extended_protocol_is_answered_as_by_the_server() {
    check(vec![
        Case::new("unnamed", s().run("SELECT $1::int + 1", &["41"]).sync()),
        Case::new(
            "described",
            s().parse("", "SELECT * FROM t WHERE id = $1")
                .describe_statement("")
                .bind("", "", &["2"])
                .describe_portal("")
                .execute("", 0)
                .sync(),
        ),
        Case::new(
            "no rows described",
            s().parse("", "DELETE FROM t")
                .describe_statement("")
                .bind("", "", &[])
                .describe_portal("")
                .execute("", 0)
                .sync(),
        ),
        Case::new("empty", s().run("", &[]).sync()),
        Case::new("syncs alone", s().sync().sync().sync()),
        Case::new(
            "several batches",
            s().run("SELECT 1", &[])
                .sync()
                .run("SELECT 2", &[])
                .sync()
                .sync()
                .run("SELECT 3", &[])
                .sync(),
        ),
        Case::new(
            "several executes",
            s().parse("n", "SELECT $1")
                .run_prepared("n", &["a"])
                .run_prepared("n", &["b"])
                .run_prepared("n", &["c"])
                .sync(),
        ),
        Case::new(
            "mixed with simple",
            s().run("SELECT 1", &[])
                .query("SELECT 2")
                .run("SELECT 3", &[])
                .sync()
                .query("SELECT 4"),
        ),
        Case::new(
            "named over syncs",
            s().parse("n", "SELECT $1::text")
                .sync()
                .run_prepared("n", &["a"])
                .sync()
                .describe_statement("n")
                .sync()
                .close_statement("n")
                .sync()
                .run_prepared("n", &["b"])
                .sync(),
        ),
        Case::new(
            "unnamed over syncs",
            s().parse("", "SELECT $1::text")
                .sync()
                .run_prepared("", &["a"])
                .sync()
                .describe_statement("")
                .sync()
                .run_prepared("", &["b"])
                .sync(),
        ),
        Case::new(
            "unnamed gone by a query",
            s().parse("", "SELECT 1")
                .sync()
                .query("SELECT 2")
                .run_prepared("", &[])
                .sync(),
        ),
        Case::new(
            "unnamed closed",
            s().parse("", "SELECT 1")
                .close_statement("")
                .sync()
                .run_prepared("", &[])
                .sync(),
        ),
        Case::new(
            "a name that is taken",
            s().parse("n", "SELECT 1")
                .sync()
                .parse("n", "SELECT 2")
                .sync()
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "a name that is taken, in one batch",
            s().parse("n", "SELECT 1")
                .parse("n", "SELECT 2")
                .run_prepared("n", &[])
                .sync()
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "the same again",
            s().parse("n", "SELECT 1")
                .sync()
                .parse("n", "SELECT 1")
                .sync(),
        ),
        Case::new(
            "two names of one text",
            s().parse("n", "SELECT 7")
                .parse("m", "SELECT 7")
                .run_prepared("n", &[])
                .close_statement("n")
                .run_prepared("m", &[])
                .sync()
                .run_prepared("m", &[])
                .sync(),
        ),
        Case::new(
            "missing names",
            s().run_prepared("x", &[])
                .sync()
                .describe_statement("x")
                .sync()
                .describe_portal("x")
                .sync()
                .execute("x", 0)
                .sync()
                .close_statement("x")
                .close_portal("x")
                .sync(),
        ),
        Case::new(
            "closed and made again",
            s().parse("n", "SELECT 1")
                .close_statement("n")
                .parse("n", "SELECT 2")
                .run_prepared("n", &[])
                .sync()
                .close_statement("n")
                .close_statement("n")
                .sync()
                .parse("n", "SELECT 3")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "parse fails",
            s().parse("n", "SELEC")
                .bind("", "n", &[])
                .execute("", 0)
                .sync()
                .run_prepared("n", &[])
                .sync()
                .parse("n", "SELECT 1")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "wrong number of values",
            s().parse("n", "SELECT $1::int")
                .bind("", "n", &[])
                .sync()
                .run_prepared("n", &["1"])
                .sync(),
        ),
        Case::new(
            "wrong value",
            s().parse("n", "SELECT $1::int")
                .run_prepared("n", &["x"])
                .sync()
                .run_prepared("n", &["1"])
                .sync(),
        ),
        Case::new(
            "error in the middle",
            s().run("INSERT INTO t VALUES (30, 'a')", &[])
                .run("SELECT 1/0", &[])
                .run("INSERT INTO t VALUES (31, 'a')", &[])
                .sync()
                .run("SELECT count(*) FROM t", &[])
                .sync(),
        ),
        Case::new(
            "error, then a query in the same batch",
            s().run("SELECT 1/0", &[])
                .query("SELECT 'skipped'")
                .run("SELECT 2", &[])
                .sync()
                .query("SELECT 3"),
        ),
        Case::new(
            "names of a batch with an error",
            s().parse("a", "SELECT 'a'")
                .parse("b", "SELECT 1/0")
                .bind("", "b", &[])
                .execute("", 0)
                .parse("c", "SELECT 'c'")
                .sync()
                .run_prepared("a", &[])
                .sync()
                .run_prepared("b", &[])
                .sync()
                .run_prepared("c", &[])
                .sync(),
        ),
        Case::new(
            "closed behind an error",
            s().parse("a", "SELECT 'a'")
                .sync()
                .run("SELECT 1/0", &[])
                .close_statement("a")
                .sync()
                .run_prepared("a", &[])
                .sync(),
        ),
        Case::new(
            "closed before an error",
            s().parse("a", "SELECT 'a'")
                .sync()
                .close_statement("a")
                .run("SELECT 1/0", &[])
                .sync()
                .run_prepared("a", &[])
                .sync(),
        ),
        Case::new(
            "in a block",
            s().run("BEGIN", &[])
                .run("INSERT INTO t VALUES (32, 'a')", &[])
                .sync()
                .run("SELECT count(*) FROM t", &[])
                .sync()
                .run("COMMIT", &[])
                .sync(),
        ),
        Case::batches(
            "in a failed block",
            vec![
                s().query("BEGIN"),
                s().parse("n", "SELECT 1").sync(),
                s().query("SELECT 1/0"),
                s().parse("m", "SELECT 2").sync(),
                s().run_prepared("n", &[]).sync(),
                s().describe_statement("n").sync(),
                s().close_statement("n").sync(),
                s().query("ROLLBACK"),
                s().run_prepared("n", &[]).sync(),
                s().run_prepared("m", &[]).sync(),
            ],
        ),
        Case::new(
            "commit by parse in a failed block",
            s().query("BEGIN")
                .query("SELECT 1/0")
                .run("COMMIT", &[])
                .sync()
                .run("SELECT 1", &[])
                .sync(),
        ),
        Case::new(
            "named rollback in a failed block",
            s().parse("r", "ROLLBACK")
                .sync()
                .query("BEGIN")
                .query("SELECT 1/0")
                .run_prepared("r", &[])
                .sync(),
        ),
        Case::new(
            "made in a block that is rolled back",
            s().query("BEGIN")
                .parse("n", "SELECT 1")
                .sync()
                .query("ROLLBACK")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "suspended portals",
            s().query("BEGIN")
                .parse("", "SELECT * FROM t ORDER BY id")
                .bind("p", "", &[])
                .execute("p", 3)
                .sync()
                .execute("p", 4)
                .sync()
                .execute("p", 0)
                .sync()
                .execute("p", 0)
                .close_portal("p")
                .sync()
                .execute("p", 0)
                .sync()
                .query("COMMIT"),
        ),
        Case::new(
            "suspended outside a block",
            s().parse("", "SELECT * FROM t ORDER BY id")
                .bind("p", "", &[])
                .execute("p", 3)
                .execute("p", 3)
                .sync()
                .execute("p", 3)
                .sync(),
        ),
        Case::new(
            "interleaved portals",
            s().query("BEGIN")
                .parse("n", "SELECT generate_series(1, $1::int)")
                .bind("p", "n", &["3"])
                .bind("q", "n", &["5"])
                .execute("p", 1)
                .execute("q", 2)
                .execute("p", 1)
                .execute("q", 2)
                .execute("p", 1)
                .sync()
                .query("COMMIT"),
        ),
        Case::new("flush", s().run_prepared("n", &["2"]).sync())
            .after(
                s().parse("n", "SELECT $1").describe_statement("n").flush(),
                "1tT",
            )
            .after(s().run_prepared("n", &["1"]).flush(), "2DC"),
        Case::new("flush of a suspended portal", s().execute("p", 0).sync())
            .after(
                s().parse("", "SELECT * FROM t")
                    .bind("p", "", &[])
                    .execute("p", 1)
                    .flush(),
                "12Ds",
            )
            .after(s().execute("p", 1).flush(), "Ds"),
        Case::new(
            "an error flushed",
            s().run("SELECT 1", &[]).sync().run("SELECT 2", &[]).sync(),
        )
        .after(s().run("SELECT 1/0", &[]).flush(), "1E"),
        Case::new(
            "call of a function",
            s().call(1397, &["-5"])
                .call(1397, &["x"])
                .call(1397, &["-6"])
                .call(99999, &["1"]),
        ),
        Case::new(
            "call of a function in a batch",
            s().parse("", "SELECT 1").call(1397, &["-5"]).sync(),
        ),
        Case::new(
            "typed",
            s().parse_typed("n", "SELECT $1", &[23])
                .describe_statement("n")
                .parse_typed("m", "SELECT $1", &[20])
                .describe_statement("m")
                .run_prepared("n", &["1"])
                .run_prepared("m", &["2"])
                .sync(),
        ),
        Case::new(
            "many batches",
            (0..50).fold(s(), |script, n| {
                script.run("SELECT $1", &[&n.to_string()]).sync()
            }),
        ),
        Case::new(
            "large parameter",
            s().run("SELECT length($1)", &[&"x".repeat(200_000)]).sync(),
        ),
        Case::new(
            "large statement",
            s().query(&format!("SELECT length('{}')", "x".repeat(300_000)))
                .query("SELECT 1"),
        ),
        Case::new(
            "large parse",
            s().parse("", &format!("SELECT length('{}')", "x".repeat(150_000)))
                .sync()
                .run_prepared("", &[])
                .sync(),
        ),
        Case::new(
            "begin by two ways",
            s().run("BEGIN", &[])
                .query("SELECT 1")
                .run("COMMIT", &[])
                .sync(),
        ),
        Case::new(
            "a pipeline with begin and commit",
            s().run("BEGIN", &[])
                .run("SELECT 1", &[])
                .run("COMMIT", &[])
                .run("SELECT 2", &[])
                .sync(),
        ),
        Case::new(
            "set by extended",
            s().run("SET TimeZone = 'Asia/Tokyo'", &[])
                .sync()
                .run("SHOW TimeZone", &[])
                .sync(),
        ),
        Case::new(
            "set_config with a parameter",
            s().run("SELECT set_config('work_mem', $1, false)", &["3MB"])
                .sync()
                .run("SHOW work_mem", &[])
                .sync(),
        ),
        Case::new(
            "set_config with a parameter for its name",
            s().run("SELECT set_config($1, $2, false)", &["a.b", "7"])
                .sync()
                .query("SHOW a.b"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn deallocate_and_discard_are_answered_as_by_the_server() {
    check(vec![
        Case::new(
            "deallocate all",
            s().parse("n", "SELECT 1")
                .sync()
                .query("DEALLOCATE ALL")
                .run_prepared("n", &[])
                .sync()
                .parse("n", "SELECT 2")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "deallocate all, pipelined",
            s().parse("n", "SELECT 1")
                .run("DEALLOCATE ALL", &[])
                .parse("n", "SELECT 2")
                .run_prepared("n", &[])
                .sync()
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "deallocate all in one packet with a parse",
            s().parse("n", "SELECT 1")
                .sync()
                .query("DEALLOCATE ALL")
                .parse("n", "SELECT 2")
                .sync()
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "discard all",
            s().parse("n", "SELECT 1")
                .sync()
                .query("DISCARD ALL")
                .run_prepared("n", &[])
                .sync()
                .parse("n", "SELECT 2")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "discard all by extended",
            s().parse("n", "SELECT 1")
                .sync()
                .run("DISCARD ALL", &[])
                .sync()
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "discard plans",
            s().parse("n", "SELECT 1")
                .sync()
                .query("DISCARD PLANS")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "a failed discard keeps the names",
            s().run_prepared("n", &[]).sync(),
        )
        .after(s().parse("n", "SELECT 1").sync().query("BEGIN"), "1ZCZ")
        .after(s().query("DISCARD ALL"), "EZ")
        .after(s().query("ROLLBACK"), "CZ"),
        Case::new(
            "deallocate of one by name",
            s().parse("n", "SELECT 1")
                .sync()
                .query("DEALLOCATE n")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new(
            "deallocate prepare",
            s().parse("n", "SELECT 1")
                .sync()
                .query("DEALLOCATE PREPARE n")
                .parse("n", "SELECT 2")
                .run_prepared("n", &[])
                .sync(),
        ),
        Case::new("deallocate of none", s().query("DEALLOCATE none")),
        Case::new(
            "deallocate of one by its name in quotes",
            s().parse("N n", "SELECT 1")
                .sync()
                .query("DEALLOCATE \"N n\"")
                .run_prepared("N n", &[])
                .sync(),
        ),
        Case::new(
            "a SQL statement used by the protocol",
            s().query("PREPARE p AS SELECT $1::int + 1")
                .run_prepared("p", &["1"])
                .sync()
                .describe_statement("p")
                .sync()
                .close_statement("p")
                .sync()
                .query("EXECUTE p(1)"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn copy_is_answered_as_by_the_server() {
    const IN: &str = "COPY t FROM STDIN";
    let rows = |from: usize, count: usize| {
        (from..from + count).fold(s(), |script, n| {
            script.copy_data(format!("{n}\tx\n").as_bytes())
        })
    };
    let count = "SELECT count(*), sum(id) FROM t";
    check(vec![
        Case::new(
            "out",
            s().query("COPY t TO STDOUT")
                .query("COPY (SELECT generate_series(1, 3000)) TO STDOUT"),
        ),
        Case::new("out by extended", s().run("COPY t TO STDOUT", &[]).sync()),
        Case::new(
            "out in a list",
            s().query("SELECT 1; COPY t TO STDOUT; SELECT 2"),
        ),
        Case::new(
            "out with an error",
            s().query("COPY (SELECT 1/(5 - n) FROM generate_series(1, 9) n) TO STDOUT")
                .query("SELECT 1"),
        ),
        Case::new(
            "in",
            s().query(IN)
                .raw(rows(100, 5).bytes())
                .copy_done()
                .query(count),
        ),
        Case::new(
            "in, after the answer",
            rows(100, 5).copy_done().query(count),
        )
        .after(s().query(IN), "G"),
        Case::new(
            "in, failed by the client",
            s().query(IN)
                .raw(rows(100, 2).bytes())
                .copy_fail("no more")
                .query(count),
        ),
        Case::new(
            "in, an error in the middle",
            s().query(IN)
                .raw(rows(100, 2).bytes())
                .copy_data(b"x\ty\n")
                .raw(rows(102, 500).bytes())
                .copy_done()
                .query(count),
        ),
        Case::new(
            "in, an error and late data",
            rows(100, 300).copy_done().query(count),
        )
        .after(
            s().query(IN).copy_data(b"1\ttaken\n").copy_data(b"x\ty\n"),
            "GEZ",
        ),
        Case::new(
            "in, an error and a late failure",
            s().copy_fail("no more").query(count),
        )
        .after(s().query(IN).copy_data(b"x\ty\n"), "GEZ"),
        Case::new(
            "in, refused",
            s().query("COPY missing FROM STDIN")
                .copy_data(b"1\n")
                .copy_done()
                .query("SELECT 1"),
        ),
        Case::new(
            "in, in a list",
            s().query(&format!("SELECT 1; {IN}; SELECT 2"))
                .raw(rows(100, 3).bytes())
                .copy_done()
                .query(count),
        ),
        Case::new(
            "in twice in a list",
            s().query(&format!("{IN}; {IN}"))
                .raw(rows(100, 3).bytes())
                .copy_done()
                .raw(rows(200, 3).bytes())
                .copy_done()
                .query(count),
        ),
        Case::new(
            "in, in a block",
            s().query("BEGIN")
                .query(IN)
                .raw(rows(100, 3).bytes())
                .copy_done()
                .query("ROLLBACK")
                .query(count),
        ),
        Case::new(
            "in, in a block, failed",
            s().query("BEGIN")
                .query(IN)
                .copy_fail("no")
                .query(count)
                .query("COMMIT")
                .query(count),
        ),
        Case::new(
            "in by extended",
            s().run(IN, &[])
                .raw(rows(100, 3).bytes())
                .copy_done()
                .sync()
                .query(count),
        ),
        // libpq sends a Sync behind Execute, which the server ignores while it copies, and one more behind CopyDone.
        Case::new(
            "in by extended as libpq says it",
            rows(100, 3).copy_done().sync().query(count),
        )
        .after(s().run(IN, &[]).sync(), "12G"),
        Case::new(
            "in by extended with syncs and flushes",
            s().copy_data(b"100\tx\n")
                .sync()
                .flush()
                .copy_data(b"101\tx\n")
                .sync()
                .copy_done()
                .sync()
                .query(count),
        )
        .after(s().run(IN, &[]).sync(), "12G"),
        Case::new(
            "in by extended, an error in the middle",
            s().copy_data(b"x\ty\n")
                .raw(rows(100, 200).bytes())
                .copy_done()
                .sync()
                .query(count),
        )
        .after(s().run(IN, &[]).flush(), "12G"),
        Case::new(
            "in by extended, failed by the client",
            s().copy_data(b"100\tx\n")
                .copy_fail("no")
                .sync()
                .query(count),
        )
        .after(s().run(IN, &[]).flush(), "12G"),
        Case::new(
            "in, large",
            s().query(IN)
                .copy_data(format!("100\t{}\n", "y".repeat(300_000)).as_bytes())
                .copy_done()
                .query("SELECT length(name) FROM t WHERE id = 100"),
        ),
        Case::new(
            "in, a frame split over messages",
            s().query(IN)
                .copy_data(b"100\tab")
                .copy_data(b"cd\n101")
                .copy_data(b"\tx\n")
                .copy_data(b"")
                .copy_done()
                .query(count),
        ),
        Case::new(
            "late copy messages without any copy",
            s().copy_data(b"1\n")
                .copy_done()
                .copy_fail("x")
                .query("SELECT 1"),
        ),
        Case::new(
            "between queries",
            s().query("SELECT 1")
                .copy_done()
                .query("SELECT 2")
                .copy_data(b"x")
                .query("SELECT 3"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_not_the_protocol_is_answered_as_by_the_server() {
    check(vec![
        Case::new(
            "an empty text without its end",
            s().message(b'Q', b"SELECT 1"),
        ),
        Case::new("a close of nothing", s().message(b'C', b"Xname\0").sync()),
        Case::new(
            "a describe of nothing",
            s().message(b'D', b"Xname\0").sync(),
        ),
        Case::new(
            "a sync with a body",
            s().message(b'S', b"").query("SELECT 1"),
        ),
        Case::new(
            "bind without values",
            s().parse("n", "SELECT 1").message(b'B', b"\0n\0").sync(),
        ),
    ])
    .await;
}

/// Scripts that no person would write: what is said follows no plan, so states meet that a driver never brings together. Each
/// batch is answered before the next is said, as most drivers do it.
#[tokio::test]
async fn random_batches_are_answered_as_by_the_server() {
    let cases = (1..=60).map(|seed| {
        Case::batches(
            format!("seed {seed}"),
            random(seed, &["", "a", "b", "c"], QUERIES),
        )
        .with_any_names()
    });
    check(cases.collect()).await;
}

/// As above, all of it in one go. Two things differ then that no client can mean, and are left out: what is left of the unnamed
/// statement behind an error, and a "forget all" behind an error whose names are used on.
#[tokio::test]
async fn random_pipelines_are_answered_as_by_the_server() {
    let all = |seed| {
        let batches = random(seed, &["a", "b", "c"], &QUERIES[2..]);
        let script = batches
            .iter()
            .fold(s(), |script, batch| script.raw(batch.bytes()));
        Case::new(format!("seed {seed}"), script).with_any_names()
    };
    check((1..=60).map(all).collect()).await;
}

/// The first two forget all names.
const QUERIES: &[&str] = &[
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "SELECT count(*) FROM t",
    "BEGIN; SELECT 1",
    "COMMIT; SELECT 2",
    "ROLLBACK",
    "SELECT 1/0",
    "SHOW TimeZone",
    "RESET ALL",
    "SET TimeZone = 'Africa/Cairo'; SELECT warns('x')",
    "COPY t TO STDOUT",
];

fn random(seed: u64, names: &[&str], queries: &[&str]) -> Vec<Script> {
    const PORTALS: [&str; 3] = ["", "p", "q"];
    const TEXTS: [&str; 12] = [
        "SELECT * FROM t ORDER BY id",
        "SELECT id FROM t WHERE id < 4 ORDER BY id",
        "SELECT 1/(id - 3) FROM t ORDER BY id",
        "INSERT INTO t SELECT max(id) + 1, 'n' FROM t",
        "SELEC",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "SET TimeZone = 'Asia/Tokyo'",
        "",
    ];
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let batch = |random: &mut Random| {
        if random.below(4) == 0 {
            return s().query(queries[random.below(queries.len())]);
        }
        let count = random.below(6);
        (0..count)
            .fold(s(), |script, _| {
                let name = names[random.below(names.len())];
                let portal = PORTALS[random.below(PORTALS.len())];
                match random.below(9) {
                    0..=2 => script.parse(name, TEXTS[random.below(TEXTS.len())]),
                    3 | 4 => script.bind(portal, name, &[]),
                    5 => script.execute(portal, [0, 1, 2][random.below(3)]),
                    6 => script.describe_statement(name),
                    7 => script.close_statement(name).describe_portal(portal),
                    _ => script.close_portal(portal).flush(),
                }
            })
            .sync()
    };
    (0..12).map(|_| batch(&mut random)).collect()
}
