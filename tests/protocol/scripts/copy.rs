//! COPY both ways, with errors at every place and messages that come late.

use pglanes_tests::Script;

use crate::differential::{Case, check};

use super::s;

const IN: &str = "COPY t FROM STDIN";
const COUNT: &str = "SELECT count(*), sum(id) FROM t";

/// CopyData messages, a row each.
fn rows(from: usize, count: usize) -> Script {
    (from..from + count).fold(s(), |script, n| {
        script.copy_data(format!("{n}\tx\n").as_bytes())
    })
}

#[tokio::test]
async fn copy_is_answered_as_by_the_server() {
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
                .query(COUNT),
        ),
        Case::new(
            "in, after the answer",
            rows(100, 5).copy_done().query(COUNT),
        )
        .after(s().query(IN), "G"),
        Case::new(
            "in, failed by the client",
            s().query(IN)
                .raw(rows(100, 2).bytes())
                .copy_fail("no more")
                .query(COUNT),
        ),
        Case::new(
            "in, an error in the middle",
            s().query(IN)
                .raw(rows(100, 2).bytes())
                .copy_data(b"x\ty\n")
                .raw(rows(102, 500).bytes())
                .copy_done()
                .query(COUNT),
        ),
    ])
    .await;
}

#[tokio::test]
async fn copy_in_lists_and_blocks_is_answered_as_by_the_server() {
    check(vec![
        Case::new(
            "in, an error and late data",
            rows(100, 300).copy_done().query(COUNT),
        )
        .after(
            s().query(IN).copy_data(b"1\ttaken\n").copy_data(b"x\ty\n"),
            "GEZ",
        ),
        Case::new(
            "in, an error and a late failure",
            s().copy_fail("no more").query(COUNT),
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
                .query(COUNT),
        ),
        Case::new(
            "in twice in a list",
            s().query(&format!("{IN}; {IN}"))
                .raw(rows(100, 3).bytes())
                .copy_done()
                .raw(rows(200, 3).bytes())
                .copy_done()
                .query(COUNT),
        ),
        Case::new(
            "in, in a block",
            s().query("BEGIN")
                .query(IN)
                .raw(rows(100, 3).bytes())
                .copy_done()
                .query("ROLLBACK")
                .query(COUNT),
        ),
        Case::new(
            "in, in a block, failed",
            s().query("BEGIN")
                .query(IN)
                .copy_fail("no")
                .query(COUNT)
                .query("COMMIT")
                .query(COUNT),
        ),
    ])
    .await;
}

#[tokio::test]
async fn copy_by_the_extended_protocol_is_answered_as_by_the_server() {
    check(vec![
        Case::new(
            "in by extended",
            s().run(IN, &[])
                .raw(rows(100, 3).bytes())
                .copy_done()
                .sync()
                .query(COUNT),
        ),
        // libpq sends a Sync behind Execute, which the server ignores while it copies, and one more behind CopyDone.
        Case::new(
            "in by extended as libpq says it",
            rows(100, 3).copy_done().sync().query(COUNT),
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
                .query(COUNT),
        )
        .after(s().run(IN, &[]).sync(), "12G"),
        Case::new(
            "in by extended, an error in the middle",
            s().copy_data(b"x\ty\n")
                .raw(rows(100, 200).bytes())
                .copy_done()
                .sync()
                .query(COUNT),
        )
        .after(s().run(IN, &[]).flush(), "12G"),
        Case::new(
            "in by extended, failed by the client",
            s().copy_data(b"100\tx\n")
                .copy_fail("no")
                .sync()
                .query(COUNT),
        )
        .after(s().run(IN, &[]).flush(), "12G"),
    ])
    .await;
}

#[tokio::test]
async fn large_and_late_copy_data_is_answered_as_by_the_server() {
    check(vec![
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
                .query(COUNT),
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
