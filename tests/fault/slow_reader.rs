//! A client that does not read a large result slows its own query alone.

use pglanes_tests::{Proxy, Raw, Script, invariants, resident, soon, tags, value};

use super::{nothing_runs, something_runs};

const ROWS: usize = 100;
/// 100 rows of 1 MB, incompressible to nobody: they go over the wire as they are.
const LARGE: &str = "SELECT repeat('x', 1000000) FROM generate_series(1, 100)";
/// What all tests of this process may take meanwhile, and far less than the result.
const MOST: usize = 60_000 << 10;

#[tokio::test]
async fn it_blocks_nobody_else_and_memory_stays_bounded() {
    let proxy = Proxy::with_slots(2).run().await;
    let mut slow = Raw::ready(&proxy).await;
    let before = resident();
    slow.say(&Script::new().query(LARGE)).await;
    something_runs(&proxy).await;
    let other = pglanes_tests::connect(&proxy, "").await;
    for number in 0..200 {
        assert_eq!(
            value(&other, &format!("SELECT {number}")).await,
            number.to_string()
        );
    }
    match (before, resident()) {
        (Some(before), Some(now)) => {
            let grown = now.saturating_sub(before);
            assert!(grown < MOST, "{grown} bytes for a result nobody reads");
        }
        _ => eprintln!("memory was not looked at: there is no /proc here"),
    }
    // It is all there when the client comes round to reading.
    let answers = soon(slow.until_ready()).await;
    assert_eq!(tags(&answers), format!("T{}CZ", "D".repeat(ROWS)));
    assert!(
        answers[1..=ROWS]
            .iter()
            .all(|row| row.body.len() == 1_000_006)
    );
    drop((slow, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn one_that_leaves_without_reading_frees_its_slot() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut slow = Raw::ready(&proxy).await;
    slow.say(&Script::new().query(LARGE)).await;
    something_runs(&proxy).await;
    drop(slow);
    assert_eq!(
        Raw::ready(&proxy).await.value("SELECT 'next'").await,
        "next"
    );
    nothing_runs(&proxy).await;
    invariants(&proxy).await;
}
