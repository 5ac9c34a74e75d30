//! Prepared statements by name and without.

use crate::differential::{Case, check};

use super::s;

#[tokio::test]
async fn statements_run_as_by_the_server() {
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
    ])
    .await;
}

#[tokio::test]
async fn statements_live_over_syncs_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn names_are_taken_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn names_are_missing_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn all_names_are_deallocated_as_by_the_server() {
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
    ])
    .await;
}

#[tokio::test]
async fn names_are_discarded_as_by_the_server() {
    check(vec![
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
    ])
    .await;
}

#[tokio::test]
async fn one_name_is_deallocated_as_by_the_server() {
    check(vec![
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
