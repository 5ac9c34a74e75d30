//! The proposed settings and the unverified facts, against real servers. A version that npm does not give is skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::PathBuf;

use pglanes_advisor::server;
use pglanes_advisor::tune::{
    Disk, Facts, LaneDemand, Machine, System, Vectors, apply, differs, plan,
};
use pglanes_config::Config;
use pglanes_testbed::{Postgres, TestbedError, Version};

fn facts(major: u32, system: System) -> Facts {
    Facts {
        // Small enough for ten servers at once; no page of it is touched anyway.
        machine: Machine {
            memory: 6 << 30,
            cores: 2,
            disk: Disk::Ssd,
            system,
        },
        major,
        share_percent: 75,
        vectors: None,
        lanes: LaneDemand::of(&Config::default()),
    }
}

/// Starts a server of a version with what is proposed for it, and asks whether all of it holds.
async fn check(version: Version) {
    for system in [System::Linux, System::MacOs] {
        let facts = facts(version.major(), system);
        let plan_without = plan(&facts, None).unwrap();
        let mut builder = Postgres::builder().version(version);
        for proposal in &plan_without.proposals {
            builder = builder.setting(proposal.name, &proposal.value);
        }
        let postgres = match builder.start() {
            Ok(postgres) => postgres,
            Err(error @ TestbedError::NoVersion { .. }) => return eprintln!("SKIPPED: {error}"),
            Err(error) => panic!("{error}"),
        };
        let client = postgres.connect("postgres").await.unwrap();
        let state = server::read(&client).await.unwrap();
        assert_eq!(state.major(), version.major());
        for proposal in &plan_without.proposals {
            let now = state.value(proposal.name).unwrap();
            assert!(
                !differs(now, &proposal.value),
                "{}: {now}, not {}",
                proposal.name,
                proposal.value
            );
            let restart = state.settings[proposal.name].context == "postmaster";
            assert_eq!(proposal.restart, restart, "{}", proposal.name);
        }
        // What was left out for the version is not there indeed.
        for refusal in &plan_without.refusals {
            assert!(state.value(refusal.name).is_none(), "{}", refusal.name);
        }
    }
}

#[tokio::test]
async fn postgresql_14_takes_what_is_proposed_for_it() {
    check(Version::V14).await;
}

#[tokio::test]
async fn postgresql_15_takes_what_is_proposed_for_it() {
    check(Version::V15).await;
}

#[tokio::test]
async fn postgresql_16_takes_what_is_proposed_for_it() {
    check(Version::V16).await;
}

#[tokio::test]
async fn postgresql_17_takes_what_is_proposed_for_it() {
    check(Version::V17).await;
}

#[tokio::test]
async fn postgresql_18_takes_what_is_proposed_for_it() {
    check(Version::V18).await;
}

/// A path of one's own, removed with the value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn what_is_applied_is_written_down_first_and_taken_back_exactly() {
    let postgres = Postgres::start().unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    // Set by hand before: has to come back to this, not to the default.
    client
        .batch_execute("ALTER SYSTEM SET random_page_cost = '3'")
        .await
        .unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let auto = postgres.data_dir().join("postgresql.auto.conf");
    let before = std::fs::read_to_string(&auto).unwrap();
    // A session sees a reload between its statements; a new one has it from its start.
    let client = postgres.connect("postgres").await.unwrap();
    let state = loop {
        let state = server::read(&client).await.unwrap();
        if state.value("random_page_cost") == Some("3") {
            break state;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let plan = plan(&facts(state.major(), System::Linux), Some(&state)).unwrap();
    let steps = apply::steps(&plan, &state);
    assert!(steps.len() > 10, "{steps:?}");
    let name = format!("pglanes-advisor-undo-{}.sql", std::process::id());
    let file = Scratch(std::env::temp_dir().join(name));
    apply::apply(&client, &steps, &file.0).await.unwrap();
    let applied = std::fs::read_to_string(&auto).unwrap();
    assert!(applied.contains("random_page_cost = '1.1'"), "{applied}");
    // A way back is never written over.
    assert!(apply::apply(&client, &steps, &file.0).await.is_err());
    assert_eq!(apply::undo(&client, &file.0).await.unwrap(), steps.len());
    assert_eq!(std::fs::read_to_string(&auto).unwrap(), before);
}

#[tokio::test]
async fn a_step_that_fails_takes_the_others_back() {
    let postgres = Postgres::start().unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    let auto = postgres.data_dir().join("postgresql.auto.conf");
    let before = std::fs::read_to_string(&auto).unwrap();
    let step = |forward: &str, back: &str| apply::Step {
        forward: forward.to_owned(),
        back: back.to_owned(),
        restart: false,
    };
    let steps = [
        step(
            "ALTER SYSTEM SET work_mem = '9MB';",
            "ALTER SYSTEM RESET work_mem;",
        ),
        step(
            "ALTER SYSTEM SET jit = 'perhaps';",
            "ALTER SYSTEM RESET jit;",
        ),
    ];
    let name = format!("pglanes-advisor-failed-{}.sql", std::process::id());
    let file = Scratch(std::env::temp_dir().join(name));
    let error = apply::apply(&client, &steps, &file.0).await.unwrap_err();
    assert!(error.to_string().contains("was taken back"), "{error}");
    assert_eq!(std::fs::read_to_string(&auto).unwrap(), before);
}

async fn plain(url: &str) -> tokio_postgres::Client {
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    client
}

/// The fact that envelopes with `hnsw.*` stand on: a name of a library that is not loaded yet is taken as a placeholder.
#[tokio::test]
async fn hnsw_settings_in_a_startup_packet_hold_once_the_library_is_loaded() {
    let postgres = Postgres::start().unwrap();
    let url = format!(
        "{}?options=-c%20hnsw.ef_search%3D77",
        postgres.url("postgres")
    );
    let client = plain(&url).await;
    let shown = async |client: &tokio_postgres::Client| -> String {
        let row = client.query_one("SHOW hnsw.ef_search", &[]).await.unwrap();
        row.get(0)
    };
    assert_eq!(shown(&client).await, "77");
    client.batch_execute("LOAD 'vector'").await.unwrap();
    assert_eq!(shown(&client).await, "77");
    client
        .batch_execute("SET hnsw.ef_search = 5")
        .await
        .unwrap();
    client.batch_execute("RESET ALL").await.unwrap();
    assert_eq!(shown(&client).await, "77");
    // A value out of range is taken too, and given up for the default when the library comes: no login fails by it.
    let url = format!(
        "{}?options=-c%20hnsw.ef_search%3D999999",
        postgres.url("postgres")
    );
    let client = plain(&url).await;
    client.batch_execute("LOAD 'vector'").await.unwrap();
    assert_eq!(shown(&client).await, "40");
}

#[tokio::test]
async fn the_estimate_of_an_hnsw_index_is_near_a_real_one() {
    let postgres = Postgres::start().unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE v AS SELECT (SELECT array_agg(random() + 0 * (i + g))::vector(384) FROM generate_series(1, 384) i) AS e \
             FROM generate_series(1, 1000) g; \
             CREATE INDEX v_e ON v USING hnsw (e vector_cosine_ops) WITH (m = 16, ef_construction = 32)",
        )
        .await
        .unwrap();
    let row = client
        .query_one("SELECT pg_relation_size('v_e')", &[])
        .await
        .unwrap();
    let real: i64 = row.get(0);
    let estimate = Vectors {
        rows: 1000,
        dimensions: 384,
        m: 16,
    }
    .index_bytes();
    let ratio = estimate as f64 / real as f64;
    assert!((0.8..1.25).contains(&ratio), "{estimate} for {real}");
}
