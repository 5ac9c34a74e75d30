//! Batches of the extended protocol: their errors, the transactions they run in, their portals, and what is large.

use crate::differential::{Case, check};

use super::s;

#[tokio::test]
async fn an_error_ends_its_batch_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn batches_run_in_transaction_blocks_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn portals_are_suspended_and_flushed_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn calls_types_and_large_messages_are_answered_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn batches_steer_the_session_as_by_the_server() {
    check(vec![
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
