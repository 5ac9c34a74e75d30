//! The workloads against a real server: the data is what it should be, the work is done, and the memory system survives what
//! a server does to it.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pglanes_testbed::schema::{self, Data};
use pglanes_testbed::workload::{CompactionName, Evaluation, Memory, Stop, Target};
use pglanes_testbed::{Auth, Postgres, TestbedError, shared};
use tokio_postgres::Client;

const ROWS: u64 = 500;

async fn loaded() -> (Client, Target, Data) {
    let postgres = shared().unwrap();
    let database = postgres.fresh_database().await.unwrap();
    let client = postgres.connect(&database).await.unwrap();
    let data = schema::load(&client, ROWS, 7, &|_, _| {}).await.unwrap();
    (client, Target::direct(postgres, &database), data)
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// Waits until a count is what it should be; a test that waits in vain fails.
async fn until(client: &Client, query: &str, expected: i64) {
    let waiting = async {
        while number(client, query).await != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn loading_gives_the_same_vectors_for_a_seed_and_an_index_that_searches_use() {
    let (one, _, _) = loaded().await;
    let (two, _, _) = loaded().await;
    let digest = "SELECT md5(string_agg(message_id || session_id || content || embedding::text, '' ORDER BY message_id)) \
                  FROM conversation_messages";
    let digests = [
        one.query_one(digest, &[]).await.unwrap(),
        two.query_one(digest, &[]).await.unwrap(),
    ];
    assert_eq!(
        digests[0].get::<_, String>(0),
        digests[1].get::<_, String>(0)
    );
    assert_eq!(
        number(
            &one,
            "SELECT count(*) FROM conversation_messages WHERE vector_dims(embedding) = 384"
        )
        .await,
        500
    );
    assert_eq!(number(&one, "SELECT count(*) FROM memory_retrieval_cache WHERE length(retrieved_context::text) > 50000").await, 60);
    let definition: String = one
        .query_one(
            "SELECT pg_get_indexdef('idx_conversation_messages_embedding'::regclass)",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(
        definition.contains("hnsw (embedding vector_cosine_ops)"),
        "{definition}"
    );
    assert!(
        definition.contains("m='16'") && definition.contains("ef_construction='64'"),
        "{definition}"
    );
    // Too small a table for the planner to prefer the index by itself.
    one.batch_execute("SET enable_seqscan = off; SET enable_sort = off")
        .await
        .unwrap();
    let plan = one
        .query(
            "EXPLAIN SELECT 1 FROM conversation_messages WHERE embedding IS NOT NULL ORDER BY embedding <=> \
             (SELECT embedding FROM conversation_messages WHERE message_id = 1) LIMIT 10",
            &[],
        )
        .await
        .unwrap();
    assert!(plan.iter().any(|row| {
        row.get::<_, &str>(0)
            .contains("idx_conversation_messages_embedding")
    }));
}

#[tokio::test]
async fn loading_tells_its_progress_and_overwrites_nothing() {
    let postgres = shared().unwrap();
    let client = postgres
        .connect(&postgres.fresh_database().await.unwrap())
        .await
        .unwrap();
    let last = AtomicU64::new(0);
    schema::load(&client, 1_100, 7, &|done, total| {
        assert_eq!(total, 1_100);
        assert!(last.swap(done, Ordering::Relaxed) < done);
    })
    .await
    .unwrap();
    assert_eq!(last.load(Ordering::Relaxed), 1_100);
    let again = schema::load(&client, 10, 7, &|_, _| {}).await;
    let Err(TestbedError::Database(error)) = again else {
        panic!("it overwrote the tables")
    };
    assert_eq!(error.code().unwrap().code(), "42P07");
}

#[tokio::test]
async fn an_evaluation_does_all_of_its_work_and_leaves_the_cache_as_large_as_it_was() {
    let (client, target, data) = loaded().await;
    let evaluation = Evaluation {
        pause: Duration::from_millis(1),
        connections: 2,
        ..Evaluation::new(data, 2)
    };
    let report = evaluation.run(&target).await.unwrap();
    assert!(report.errors.is_empty(), "{report:?}");
    let counts: Vec<(&str, u64)> = report
        .operations
        .iter()
        .map(|(kind, of)| (kind.as_str(), of.count))
        .collect();
    assert_eq!(
        counts,
        [
            ("cache-read", 90),
            ("cache-write", 30),
            ("metric", 60),
            ("result", 30),
            ("search", 90)
        ]
    );
    assert_eq!(report.all.count, 300);
    assert!(
        report.all.p50_us > 0
            && report.all.p50_us <= report.all.p99_us
            && report.all.p99_us <= report.all.max_us
    );
    assert_eq!(
        number(&client, "SELECT count(*) FROM eval_results").await,
        30
    );
    assert_eq!(
        number(&client, "SELECT count(*) FROM memory_performance_metrics").await,
        90
    );
    assert_eq!(
        number(&client, "SELECT count(*) FROM memory_retrieval_cache").await,
        60
    );
}

#[tokio::test]
async fn an_evaluation_that_is_told_to_stop_reports_what_it_did() {
    let (_client, target, data) = loaded().await;
    let evaluation = Evaluation::new(data, 1_000_000);
    let report = evaluation
        .run_until(&target, Stop::after(Duration::from_millis(300)))
        .await
        .unwrap();
    assert!(report.errors.is_empty(), "{report:?}");
    assert!(report.all.count < 1_000_000 * 150);
}

#[tokio::test]
async fn the_memory_system_does_all_kinds_of_work_until_it_is_stopped_and_keeps_the_size() {
    let (client, target, data) = loaded().await;
    let (handle, stop) = Stop::new();
    let memory = Memory::new(data);
    let running = tokio::spawn(async move { memory.run(&target, stop).await });
    let names = "SELECT count(DISTINCT application_name) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name IN ('ltst', 'ltst-compaction')";
    until(&client, names, 2).await;
    // The fourth vacuum, after the loading's one: by then one of the two compactors has been told that its first is done.
    let vacuums = "SELECT (vacuum_count >= 4)::int::bigint FROM pg_stat_user_tables WHERE relname = 'conversation_messages'";
    until(&client, vacuums, 1).await;
    handle.stop();
    let report = running.await.unwrap();
    assert!(report.errors.is_empty(), "{report:?}");
    for kind in [
        "search",
        "rehydrate",
        "compact-scan",
        "compact-update",
        "compact-replace",
        "compact-vacuum",
    ] {
        assert!(report.operations[kind].count > 0, "{kind}: {report:?}");
    }
    assert_eq!(
        number(
            &client,
            "SELECT count(DISTINCT message_id) FROM conversation_messages"
        )
        .await,
        500
    );
    assert_eq!(
        number(&client, "SELECT count(*) FROM conversation_messages").await,
        500
    );
}

#[tokio::test]
async fn the_memory_system_outlives_the_loss_of_its_connections() {
    let (client, target, data) = loaded().await;
    let (handle, stop) = Stop::new();
    let memory = Memory {
        compaction_name: CompactionName::Shared,
        ..Memory::new(data)
    };
    let running = tokio::spawn(async move { memory.run(&target, stop).await });
    let ours =
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ltst'";
    // Who is only about to connect for the first time has nothing to lose: some have done something.
    let work = "SELECT (seq_scan + idx_scan)::bigint FROM pg_stat_user_tables WHERE relname = 'conversation_messages'";
    let worked_on = async |before: i64| {
        let more = format!("SELECT (({work}) >= {before} + 50)::int::bigint");
        until(&client, &more, 1).await;
    };
    until(&client, &format!("SELECT count(*) {ours}"), 8).await;
    worked_on(0).await;
    let row = client.query_one("SELECT clock_timestamp()::text", &[]);
    let lost: String = row.await.unwrap().get(0);
    assert_eq!(
        number(
            &client,
            &format!("SELECT count(pg_terminate_backend(pid)) {ours}")
        )
        .await,
        8
    );
    // Who was lost is still shown for a moment.
    for (when, expected) in [("<=", 0), (">", 8)] {
        let connected = format!("SELECT count(*) {ours} AND backend_start {when} '{lost}'");
        until(&client, &connected, expected).await;
    }
    worked_on(number(&client, work).await).await;
    handle.stop();
    let report = running.await.unwrap();
    // Those that were still about to connect for the first time do not count.
    assert!((1..=8).contains(&report.reconnects), "{report:?}");
    assert!(!report.errors.is_empty());
    assert_eq!(report.abandoned, 0, "{report:?}");
}

#[tokio::test]
async fn stopping_cancels_what_runs_on_the_server() {
    let (client, target, data) = loaded().await;
    // Held back by a lock, compaction would wait for ever.
    client
        .batch_execute("BEGIN; LOCK TABLE conversation_messages IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let memory = Memory {
        searchers: 0,
        rehydrators: 0,
        compactors: 1,
        ..Memory::new(data)
    };
    let report = tokio::time::timeout(
        Duration::from_secs(20),
        memory.run(&target, Stop::after(Duration::from_secs(1))),
    )
    .await;
    assert_eq!(report.unwrap().all.count, 0);
    let left = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND application_name = 'ltst-compaction'";
    let other = shared().unwrap().connect(&target.database).await.unwrap();
    until(&other, left, 0).await;
}

#[tokio::test]
async fn a_password_reaches_the_workloads() {
    let postgres = Postgres::builder()
        .auth(Auth::Scram {
            password: "p:@/".to_owned(),
        })
        .start()
        .unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    let data = schema::load(&client, 20, 7, &|_, _| {}).await.unwrap();
    let evaluation = Evaluation {
        cases: 1,
        ..Evaluation::new(data, 1)
    };
    let report = evaluation
        .run(&Target::direct(&postgres, "postgres"))
        .await
        .unwrap();
    assert_eq!(report.operations["result"].count, 1);
    let unix = Target::direct(&postgres, "postgres").through(
        &postgres.socket_dir().display().to_string(),
        postgres.port(),
    );
    assert_eq!(evaluation.run(&unix).await.unwrap().all.count, 10);
}
