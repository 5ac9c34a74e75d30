//! Clients at ten times the slots with everything at once: pipelines, transactions, prepared statements, COPY, settings, session
//! state, errors, cancels, dropped connections. Every row carries its client's tag, and every row is checked.
//!
//! Seeded: `PGLANES_STORM_SEED` repeats what each client did (their interleaving is the machine's). `PGLANES_STORM_SECONDS`
//! makes it longer.

#[path = "storm/client.rs"]
mod client;
#[path = "storm/random.rs"]
mod random;

use std::sync::Arc;
use std::time::Duration;

use pglanes_tests::{Proxy, eventually, invariants, value};

use client::{Client, Done};
use random::Random;

const SLOTS: u32 = 5;
const CLIENTS: u64 = 50;
const LANES: &str = "lanes:
  evaluation: { match: [{ application_name: 'evaluation*' }], slots: { min: 2, max: 4 }, priority: 10 }
  compaction:
    match: [{ application_name: 'compaction*' }, { lane: ltst, statement: [DELETE] }]
    slots: { max: 1 }
    settings: { statement_timeout: 0, work_mem: 5MB }
  ltst: { match: [{ application_name: 'ltst*' }], slots: { max: 4 } }
  default: {}
throttles:
  - { while: { lane: evaluation, is: busy, linger: 0s }, lane: compaction, slots: 50% }";

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

#[tokio::test]
async fn nobody_ever_sees_anothers_row_and_nothing_is_left_behind() {
    let seconds = from_environment("PGLANES_STORM_SECONDS", 12);
    let seed = from_environment("PGLANES_STORM_SEED", 20_260_801);
    let proxy = Arc::new(
        Proxy::with(LANES)
            .slots(SLOTS)
            .lives(Duration::from_secs(seconds + 90))
            .run()
            .await,
    );
    let direct = proxy.pg().direct().await;
    let tables = "CREATE TABLE kept (tag text, number int); CREATE INDEX ON kept (tag)";
    direct.batch_execute(tables).await.unwrap();

    let over = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut storm = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client::new(
            Arc::clone(&proxy),
            number,
            Random::new(seed ^ (number << 32)),
        );
        storm.spawn(client.runs_until(over));
    }
    let mut done = Done::default();
    while let Some(ended) = storm.join_next().await {
        done.add(&ended.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    let out_of_sync = proxy.metrics().out_of_sync.get();
    eprintln!(
        "storm of {seconds} s, seed {seed}: wrong rows {}, leaked settings {}, out-of-sync closes {out_of_sync}; {done:?}",
        done.wrong_rows, done.leaked_settings
    );
    assert_eq!(
        (done.wrong_rows, done.leaked_settings, out_of_sync),
        (0, 0, 0)
    );
    assert!(
        done.actions > CLIENTS && done.rows > CLIENTS && done.dropped > 0,
        "{done:?}"
    );

    invariants(&proxy).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("PostgreSQL has at most the slots' connections", || async {
        value(&direct, count).await.parse::<u32>().unwrap() <= SLOTS
    })
    .await;
    let busy = format!("{count} AND state <> 'idle'");
    eventually("nothing runs", || async {
        value(&direct, &busy).await == "0"
    })
    .await;
    // Nothing that was rolled back, dropped or cancelled in a transaction is there, and all that was committed is.
    let kept: u64 = value(&direct, "SELECT count(*) FROM kept")
        .await
        .parse()
        .unwrap();
    assert!(
        (done.committed..=done.committed + done.unsure).contains(&kept),
        "{kept} rows kept; {} committed, {} where the client left first",
        done.committed,
        done.unsure
    );
}
