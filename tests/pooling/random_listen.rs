//! LISTEN, UNLISTEN and what brings them back, at random, in a lane that shares the connection which listens: each client hears
//! what it would on a connection of its own.
//!
//! `PGLANES_SEEDS=1000` runs so many seeds (12 if nothing is said).

use std::collections::BTreeSet;
use std::time::Duration;

use pglanes_tests::{Answer, Pg, Proxy, Random, Raw, invariants, soon};

use crate::random::{Step, hear};

/// Far less than the limit of a test, for the seeds that follow.
const LONGEST: Duration = Duration::from_secs(10);
/// Steps of a seed.
const STEPS: usize = 25;

const SAID: &[&str] = &[
    "LISTEN a",
    "LISTEN b",
    "LISTEN \"c d\"",
    "UNLISTEN a",
    "UNLISTEN b",
    "UNLISTEN *",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT s",
    "SAVEPOINT t",
    "ROLLBACK TO s",
    "ROLLBACK WORK TO SAVEPOINT t",
    "RELEASE s",
    "RELEASE SAVEPOINT t",
    "SELECT 1/0",
    "SELECT 1",
    "DISCARD ALL",
    "UNLISTEN a; ROLLBACK",
    "UNLISTEN b; SELECT 1/0",
    "UNLISTEN a; COMMIT; UNLISTEN b; ROLLBACK",
    "BEGIN; UNLISTEN a; SAVEPOINT s; UNLISTEN b",
    "SAVEPOINT s; UNLISTEN a; ROLLBACK TO s",
    "LISTEN a; LISTEN b",
    "LISTEN a; SELECT 1/0",
    "UNLISTEN a; LISTEN a",
];

fn next(random: &mut Random) -> Step {
    let mut step = Step::new();
    for _ in 0..=random.below(3) {
        let sql = random.pick(SAID);
        if random.below(3) > 0 || sql.contains(';') {
            step = step.query(sql);
            continue;
        }
        step.words.push_str(&format!("E[{sql}] "));
        step.script = step.script.run(sql, &[]);
        if random.below(2) == 0 {
            let sql = random.pick(&["UNLISTEN b", "SELECT 1", "SELECT 1/0", "SAVEPOINT s"]);
            step.words.push_str(&format!("E[{sql}] "));
            step.script = step.script.run(sql, &[]);
        }
        step.script = step.script.sync();
        step.ready += 1;
    }
    step
}

/// What was answered, without what came in between.
fn kinds(answers: &[Answer]) -> String {
    let shown = answers.iter().filter(|answer| answer.tag != b'A');
    let said = shown.map(|answer| match answer.tag {
        b'E' => format!("E{} ", answer.sqlstate()),
        b'Z' => format!("Z{} ", char::from(answer.body[0])),
        tag => format!("{} ", char::from(tag)),
    });
    said.collect()
}

/// What a client hears, of which round of saying something on every channel: at most once, and nothing that it should not.
#[derive(Default)]
struct Heard {
    all: BTreeSet<(String, String)>,
    twice: Vec<(String, String)>,
}

impl Heard {
    fn note(&mut self, answers: &[Answer]) {
        for answer in answers.iter().filter(|answer| answer.tag == b'A') {
            let mut parts = answer.body[4..].split(|byte| *byte == 0);
            let mut part = || String::from_utf8_lossy(parts.next().unwrap()).into_owned();
            let (channel, round) = (part(), part());
            let said = (round, channel);
            if !self.all.insert(said.clone()) {
                self.twice.push(said);
            }
        }
    }

    async fn until(&mut self, raw: &mut Raw, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let answer = raw.read().await;
            self.note(&[answer]);
        }
    }
}

async fn say(from: &mut Raw, round: usize) {
    let notify = |channel: &&str| format!("NOTIFY \"{channel}\", '{round}';");
    let sql: String = ["a", "b", "c d", "marker"].iter().map(notify).collect();
    from.query(&sql).await;
}

async fn run(pg: &Pg, proxy: &Proxy, behind: &Pg, seed: u64) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut direct, mut proxied) = (Raw::ready(pg).await, Raw::ready(proxy).await);
    let (mut here, mut there) = (Raw::ready(pg).await, Raw::ready(behind).await);
    let (mut should, mut does) = (Heard::default(), Heard::default());
    let mut said = String::new();
    for round in 0..STEPS {
        let step = next(&mut random);
        said.push_str(&format!("\n  {}", step.words));
        let wanted = hear(&mut direct, &step).await;
        let got = hear(&mut proxied, &step).await;
        let (Some(wanted), Some(got)) = (wanted, got) else {
            return Err(format!("seed {seed} hangs after{said}"));
        };
        does.note(&got);
        let (wanted, got) = (kinds(&wanted), kinds(&got));
        if wanted != got {
            return Err(format!(
                "seed {seed} after{said}\nwanted {wanted}\ngot {got}"
            ));
        }
        if !wanted.ends_with("ZI ") || random.below(2) == 0 {
            continue;
        }
        let marker = (round.to_string(), "marker".to_owned());
        should.note(&direct.query("LISTEN marker").await);
        does.note(&proxied.query("LISTEN marker").await);
        say(&mut here, round).await;
        let all = |heard: &Heard| heard.all.contains(&marker);
        soon(should.until(&mut direct, all)).await;
        say(&mut there, round).await;
        // Two connections listen for it, and one may be ahead of the other.
        let all = |heard: &Heard| heard.all.is_superset(&should.all);
        let heard = tokio::time::timeout(LONGEST, does.until(&mut proxied, all)).await;
        if heard.is_err() || does.all != should.all || !does.twice.is_empty() {
            let missing: Vec<_> = should.all.difference(&does.all).collect();
            let more: Vec<_> = does.all.difference(&should.all).collect();
            let twice = &does.twice;
            return Err(format!(
                "seed {seed} after{said}\nround {round}: missing {missing:?}, more {more:?}, twice {twice:?}"
            ));
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_listens_at_random_hears_what_it_would_alone() {
    let seeds = std::env::var("PGLANES_SEEDS").ok();
    let seeds = seeds.and_then(|text| text.parse().ok()).unwrap_or(12);
    let (pg, behind) = (Pg::fresh().await, Pg::fresh().await);
    let proxy = Proxy::with("lanes: { default: { listen: shared } }");
    let proxy = proxy.over(&behind).slots(2).run().await;
    let mut differ = Vec::new();
    for seed in 1..=seeds {
        if let Err(difference) = run(&pg, &proxy, &behind, seed).await {
            println!("{difference}");
            differ.push(seed);
        }
        if differ.len() > 5 {
            break;
        }
    }
    assert!(differ.is_empty(), "seeds that differ: {differ:?}");
    invariants(&proxy).await;
}
