//! The scripts on a server of each supported version: there, there again, and back.

use std::time::Duration;

use pglanes_config::{Config, UpstreamTls};
use pglanes_control::{Host, ServerAddress, Session};
use pglanes_testbed::{Postgres, TestbedError, Version};

use super::{Names, Outcome, Patience, Report, SchemaError, apply, render, scripts, status, undo};
use crate::views;

/// The memory system's tables without their vectors, which no script touches: the versions out of the box have no pgvector.
const TABLES: &str = "
    CREATE TABLE public.conversation_messages (message_id serial PRIMARY KEY, session_id varchar(255) NOT NULL,
        content text NOT NULL, relevance_score float DEFAULT 0.0, metadata jsonb DEFAULT '{}') WITH (fillfactor = 90);
    CREATE TABLE public.conversation_archive (LIKE public.conversation_messages);
    CREATE TABLE public.memory_retrieval_cache (cache_key varchar(255) UNIQUE NOT NULL, retrieved_context jsonb NOT NULL,
        relevance_scores jsonb DEFAULT '{}', expires_at timestamp DEFAULT (CURRENT_TIMESTAMP + INTERVAL '1 hour'))
        WITH (toast.autovacuum_vacuum_scale_factor = 0.1);
    CREATE TABLE public.memory_performance_metrics (operation_type varchar(100) NOT NULL, execution_time_ms integer NOT NULL,
        metadata jsonb DEFAULT '{}', created_at timestamp DEFAULT CURRENT_TIMESTAMP);
    INSERT INTO public.conversation_messages (session_id, content, relevance_score, metadata)
        SELECT 's' || i % 9, 'text ' || i, i % 10 / 10.0, jsonb_build_object('topic', 't' || i % 5) FROM generate_series(1, 1000) i;
    INSERT INTO public.memory_retrieval_cache SELECT 'key ' || i, '{\"a\": 1}', '{}',
        CURRENT_TIMESTAMP + CASE WHEN i <= 700 THEN -1 ELSE 1 END * INTERVAL '1 hour' FROM generate_series(1, 1000) i";
/// Everything that a script may change.
const LOOKS: &str = "
    SELECT coalesce((SELECT string_agg(c.relname || ' ' || coalesce(c.reloptions::text, '-') || coalesce(t.reloptions::text, '-'), ' '
               ORDER BY c.relname) FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
               WHERE c.relnamespace = 'public'::regnamespace), '')
        || coalesce((SELECT string_agg(attcompression::text || attname, ' ' ORDER BY attname) FROM pg_attribute
               WHERE attrelid = 'public.memory_retrieval_cache'::regclass AND attnum > 0), '')
        || coalesce((SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname = 'pglanes'), '')";

/// Enough for locks that a test gives up at once.
const SHORT: Patience = Patience {
    tries: 2,
    pause: Duration::from_millis(10),
};

async fn session(postgres: &Postgres) -> Session {
    let address = ServerAddress {
        host: Host::Tcp("127.0.0.1".to_owned()),
        port: postgres.port(),
        user: "postgres".to_owned(),
        database: "postgres".to_owned(),
        password: postgres.password().map(Into::into),
    };
    Session::connect(&address, &UpstreamTls::default())
        .await
        .unwrap()
}

async fn started(version: Option<Version>) -> Option<Postgres> {
    let start = move || match version {
        Some(version) => Postgres::builder().version(version).start(),
        None => Postgres::builder().start(),
    };
    match tokio::task::spawn_blocking(start).await.unwrap() {
        Ok(postgres) => Some(postgres),
        Err(error @ TestbedError::NoVersion { .. }) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A server of the default version with the tables.
async fn with_tables() -> (Postgres, Session) {
    let postgres = started(None).await.unwrap();
    let session = session(&postgres).await;
    session.run(TABLES).await.unwrap();
    (postgres, session)
}

async fn looks(session: &Session) -> String {
    let rows = session.query(LOOKS, &[]).await.unwrap();
    rows[0].get(0)
}

async fn count(session: &Session, from: &str) -> i64 {
    let rows = session
        .query(&format!("SELECT count(*) FROM {from}"), &[])
        .await
        .unwrap();
    rows[0].get(0)
}

fn outcome<'r>(reports: &'r [Report], script: &str) -> &'r Outcome {
    let found = reports.iter().find(|report| report.script.name == script);
    &found
        .unwrap_or_else(|| panic!("{script}: {reports:?}"))
        .outcome
}

fn is_all(reports: &[Report], expected: &Outcome) {
    for report in reports {
        let lz4_may_be_missing =
            report.script.needs_lz4 && matches!(report.outcome, Outcome::Skipped(_));
        assert!(
            &report.outcome == expected || lz4_may_be_missing,
            "{report:?}"
        );
    }
}

fn all_names() -> Vec<String> {
    scripts()
        .iter()
        .map(|script| script.name.to_owned())
        .collect()
}

async fn there_and_back(version: Version) {
    let Some(postgres) = started(Some(version)).await else {
        return;
    };
    let session = session(&postgres).await;
    session.run(TABLES).await.unwrap();
    let before = looks(&session).await;
    let (names, patience) = (Names::default(), Patience::default());
    // Twice: what is undone can be applied again.
    for round in 0..2 {
        let reports = apply(&session, &names, &all_names(), patience)
            .await
            .unwrap();
        assert_eq!(reports.len(), scripts().len());
        is_all(&reports, &Outcome::Applied);
        is_all(&status(&session, &names).await.unwrap(), &Outcome::Already);
        let applied = looks(&session).await;
        let again = apply(&session, &names, &all_names(), patience)
            .await
            .unwrap();
        is_all(&again, &Outcome::Already);
        assert_eq!(looks(&session).await, applied);
        if round == 0 {
            the_procedures_work(&session).await;
        }
        let reports = undo(&session, &[], patience).await.unwrap();
        is_all(&reports, &Outcome::Undone);
        assert_eq!(looks(&session).await, before, "all of it is as it was");
    }
    assert_eq!(undo(&session, &[], patience).await.unwrap(), []);
}

async fn the_procedures_work(session: &Session) {
    session
        .run("CALL pglanes.expire_cache(batch => 300, rest => 0)")
        .await
        .unwrap();
    assert_eq!(count(session, "public.memory_retrieval_cache").await, 300);
    let rows = session
        .query(
            "SELECT * FROM pglanes.compact_batch(0.35, batch => 100)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        (rows[0].get::<_, i64>(0), rows[0].get::<_, i64>(1)),
        (100, 40)
    );
    let rows = session
        .query(
            "CALL pglanes.compact(0.35, archive => 'public.conversation_archive', batch => 130, rest => 0)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 360);
    assert_eq!(count(session, "public.conversation_archive").await, 360);
    assert_eq!(
        count(
            session,
            "public.conversation_messages WHERE relevance_score < 0.35"
        )
        .await,
        0
    );
    assert_eq!(count(session, "public.conversation_messages").await, 600);
    for wrong in ["0", "1000000"] {
        let wrong = format!("CALL pglanes.compact(0.5, batch => {wrong})");
        assert!(session.run(&wrong).await.unwrap_err().sqlstate() == Some("22023"));
    }
}

#[tokio::test]
async fn scripts_go_there_and_back_on_postgresql_14() {
    there_and_back(Version::V14).await;
}

#[tokio::test]
async fn scripts_go_there_and_back_on_postgresql_15() {
    there_and_back(Version::V15).await;
}

#[tokio::test]
async fn scripts_go_there_and_back_on_postgresql_16() {
    there_and_back(Version::V16).await;
}

#[tokio::test]
async fn scripts_go_there_and_back_on_postgresql_17() {
    there_and_back(Version::V17).await;
}

#[tokio::test]
async fn scripts_go_there_and_back_on_postgresql_18() {
    there_and_back(Version::V18).await;
}

#[tokio::test]
async fn a_script_whose_table_is_not_there_is_skipped_and_says_so() {
    let (_postgres, session) = with_tables().await;
    session
        .run(
            "DROP TABLE public.memory_performance_metrics; ALTER TABLE public.memory_retrieval_cache DROP COLUMN expires_at; \
             ALTER TABLE public.conversation_messages ALTER metadata DROP DEFAULT, ALTER metadata TYPE text",
        )
        .await
        .unwrap();
    let names = Names::default();
    let reports = apply(&session, &names, &all_names(), SHORT).await.unwrap();
    for (script, why) in [
        (
            "40-metrics-brin",
            "there is no table public.memory_performance_metrics",
        ),
        (
            "10-cache-expiry",
            "public.memory_retrieval_cache has no column expires_at",
        ),
        (
            "50-json-containment",
            "public.conversation_messages.metadata is text, not jsonb",
        ),
    ] {
        assert_eq!(outcome(&reports, script), &Outcome::Skipped(why.to_owned()));
    }
    assert_eq!(outcome(&reports, "60-compaction"), &Outcome::Applied);
    // A table that goes later is no obstacle to the way back.
    session
        .run("DROP TABLE public.conversation_messages")
        .await
        .unwrap();
    is_all(&undo(&session, &[], SHORT).await.unwrap(), &Outcome::Undone);
}

#[tokio::test]
async fn the_remains_of_a_failed_concurrent_build_are_found_and_mended() {
    let (postgres, session) = with_tables().await;
    let writer = postgres.connect("postgres").await.unwrap();
    writer
        .batch_execute("BEGIN; DELETE FROM memory_retrieval_cache WHERE cache_key = 'key 1'")
        .await
        .unwrap();
    let failed = session
        .run("SET lock_timeout = '50ms'")
        .await
        .and(session.run("CREATE INDEX CONCURRENTLY pglanes_cache_expiry ON public.memory_retrieval_cache (expires_at)").await);
    assert_eq!(failed.unwrap_err().sqlstate(), Some("55P03"));
    writer.batch_execute("ROLLBACK").await.unwrap();
    let names = Names::default();
    let invalid = "pg_index WHERE NOT indisvalid";
    assert_eq!(count(&session, invalid).await, 1);
    let chosen = ["10-cache-expiry".to_owned()];
    let reports = apply(&session, &names, &chosen, SHORT).await.unwrap();
    assert_eq!(reports[0].outcome, Outcome::Applied);
    assert!(
        reports[0].notes[0].contains("its remains were removed"),
        "{reports:?}"
    );
    assert_eq!(count(&session, invalid).await, 0);
    // One that is lost later is seen, and made anew.
    session
        .run("DROP INDEX public.pglanes_cache_expiry")
        .await
        .unwrap();
    let seen = status(&session, &names).await.unwrap();
    assert!(
        matches!(outcome(&seen, &chosen[0]), Outcome::Broken(_)),
        "{seen:?}"
    );
    let reports = apply(&session, &names, &chosen, SHORT).await.unwrap();
    assert_eq!(reports[0].outcome, Outcome::Applied);
    is_all(
        &status(&session, &names).await.unwrap()[..1],
        &Outcome::Already,
    );
}

#[tokio::test]
async fn a_lock_in_the_way_is_given_up_and_the_script_can_be_applied_later() {
    let (postgres, session) = with_tables().await;
    let reader = postgres.connect("postgres").await.unwrap();
    reader
        .batch_execute("BEGIN; LOCK TABLE memory_retrieval_cache IN SHARE UPDATE EXCLUSIVE MODE")
        .await
        .unwrap();
    let names = Names::default();
    let before = looks(&session).await;
    let chosen = ["21-cache-churn".to_owned()];
    let reports = apply(&session, &names, &chosen, SHORT).await.unwrap();
    assert!(
        matches!(&reports[0].outcome, Outcome::Failed(why) if why.contains("55P03")),
        "{reports:?}"
    );
    let seen = status(&session, &names).await.unwrap();
    assert!(
        matches!(outcome(&seen, &chosen[0]), Outcome::Broken(_)),
        "{seen:?}"
    );
    reader.batch_execute("ROLLBACK").await.unwrap();
    is_all(
        &apply(&session, &names, &chosen, SHORT).await.unwrap(),
        &Outcome::Applied,
    );
    is_all(&undo(&session, &[], SHORT).await.unwrap(), &Outcome::Undone);
    assert_eq!(looks(&session).await, before);
}

#[tokio::test]
async fn an_index_of_the_users_that_does_the_same_is_enough() {
    let (_postgres, session) = with_tables().await;
    session
        .run("CREATE INDEX mine ON public.memory_retrieval_cache (expires_at, cache_key)")
        .await
        .unwrap();
    let names = Names::default();
    let chosen = ["10-cache-expiry".to_owned()];
    let reports = apply(&session, &names, &chosen, SHORT).await.unwrap();
    assert_eq!(
        reports[0].notes,
        ["mine does already what pglanes_cache_expiry would"]
    );
    is_all(
        &status(&session, &names).await.unwrap()[..1],
        &Outcome::Already,
    );
    undo(&session, &[], SHORT).await.unwrap();
    assert_eq!(count(&session, "pg_class WHERE relname = 'mine'").await, 1);
}

#[tokio::test]
async fn tables_may_have_other_names_and_undo_remembers_them() {
    let (_postgres, session) = with_tables().await;
    session
        .run("CREATE SCHEMA \"my app\"; ALTER TABLE public.memory_retrieval_cache SET SCHEMA \"my app\"; \
              ALTER TABLE \"my app\".memory_retrieval_cache RENAME TO \"the cache\"")
        .await
        .unwrap();
    let mut names = Names::default();
    names.set("schema", "my app").unwrap();
    names.set("cache", "the cache").unwrap();
    let chosen = ["10-cache-expiry".to_owned(), "21-cache-churn".to_owned()];
    is_all(
        &apply(&session, &names, &chosen, SHORT).await.unwrap(),
        &Outcome::Applied,
    );
    session
        .run("CALL pglanes.expire_cache(rest => 0)")
        .await
        .unwrap();
    assert_eq!(count(&session, "\"my app\".\"the cache\"").await, 300);
    // Whoever asks with the usual names is told how it stands all the same.
    let seen = status(&session, &Names::default()).await.unwrap();
    assert_eq!(outcome(&seen, &chosen[0]), &Outcome::Already);
    is_all(&undo(&session, &[], SHORT).await.unwrap(), &Outcome::Undone);
    assert_eq!(
        count(&session, "pg_class WHERE relname = 'pglanes_cache_expiry'").await,
        0
    );
}

#[tokio::test]
async fn views_and_scripts_share_a_schema_and_leave_each_other_alone() {
    let (_postgres, session) = with_tables().await;
    let (names, config) = (Names::default(), Config::default());
    apply(&session, &names, &[], SHORT).await.unwrap();
    assert!(
        !views::uninstall(&session).await.unwrap(),
        "there are no views"
    );
    for _ in 0..2 {
        views::install(&session, &config, None).await.unwrap();
    }
    assert!(views::uninstall(&session).await.unwrap());
    let seen = status(&session, &names).await.unwrap();
    assert_eq!(outcome(&seen, "10-cache-expiry"), &Outcome::Already);
    views::install(&session, &config, None).await.unwrap();
    is_all(&undo(&session, &[], SHORT).await.unwrap(), &Outcome::Undone);
    assert!(views::uninstall(&session).await.unwrap());
    assert_eq!(
        count(&session, "pg_namespace WHERE nspname = 'pglanes'").await,
        0
    );
}

#[tokio::test]
async fn a_schema_of_somebody_else_and_a_second_of_us_are_left_alone() {
    let (postgres, one) = with_tables().await;
    let other = session(&postgres).await;
    let lock = format!("SELECT pg_advisory_lock({})", super::ADVISORY_LOCK);
    other.run(&lock).await.unwrap();
    let names = Names::default();
    let refused = apply(&one, &names, &[], SHORT).await.unwrap_err();
    assert!(matches!(refused, SchemaError::Busy { .. }), "{refused}");
    other
        .run("SELECT pg_advisory_unlock_all(); CREATE SCHEMA pglanes")
        .await
        .unwrap();
    for refused in [
        apply(&one, &names, &[], SHORT).await,
        undo(&one, &[], SHORT).await,
    ] {
        assert!(matches!(refused.unwrap_err(), SchemaError::Foreign { .. }));
    }
}

#[test]
fn an_optional_script_is_applied_by_name_alone_and_an_unknown_one_is_refused() {
    let usual = super::choose(&[]).unwrap();
    assert!(usual.iter().all(|script| script.optional.is_none()));
    assert!(usual.len() < scripts().len());
    let names = Names::default();
    let error = render(&names, &["11-cash".to_owned()], false).unwrap_err();
    assert!(error.to_string().contains("10-cache-expiry"), "{error}");
    let all = render(&names, &[], true).unwrap();
    assert!(
        all.starts_with("-- Takes back 60-compaction") && !all.contains('\\'),
        "{all}"
    );
}
