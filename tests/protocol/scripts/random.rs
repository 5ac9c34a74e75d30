//! Scripts from seeds.

use pglanes_tests::{Random, Script};

use crate::differential::{Case, check};

use super::s;

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

/// As above, all of it in one go. One thing differs then that no client can mean, and is left out: what is left of the unnamed
/// statement behind an error.
#[tokio::test]
async fn random_pipelines_are_answered_as_by_the_server() {
    let all = |seed| {
        let batches = random(seed, &["a", "b", "c"], QUERIES);
        let script = batches
            .iter()
            .fold(s(), |script, batch| script.raw(batch.bytes()));
        Case::new(format!("seed {seed}"), script).with_any_names()
    };
    check((1..=60).map(all).collect()).await;
}

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
