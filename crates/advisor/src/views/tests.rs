//! The views on a server of each supported version, with and without pgvector and pg_stat_statements.

use pglanes_config::{Config, UpstreamTls};
use pglanes_control::{Host, ServerAddress, Session};
use pglanes_testbed::{Postgres, TestbedError, Version};

use super::{SCHEMA, ViewsError, install, uninstall};

async fn session(postgres: &Postgres, user: &str) -> Session {
    let address = ServerAddress {
        host: Host::Tcp("127.0.0.1".to_owned()),
        port: postgres.port(),
        user: user.to_owned(),
        database: "postgres".to_owned(),
        password: postgres.password().map(Into::into),
    };
    Session::connect(&address, &UpstreamTls::default())
        .await
        .unwrap()
}

/// Reads every view, and gives the rows of each.
async fn read_all(session: &Session) -> Vec<(String, usize)> {
    let names = session
        .query(
            "select viewname::text from pg_views where schemaname = $1 order by 1",
            &[&SCHEMA],
        )
        .await
        .unwrap();
    let mut rows = Vec::new();
    for name in &names {
        let name: String = name.get(0);
        let found = session
            .query(
                &format!("select to_jsonb(v) is null from pglanes.{name} v"),
                &[],
            )
            .await;
        rows.push((
            name.clone(),
            found
                .unwrap_or_else(|error| panic!("{name}: {error}"))
                .len(),
        ));
    }
    rows
}

/// A name that tells its lane is believed; for others the rules decide.
async fn lanes_are_known(admin: &Session) {
    for (name, expected) in [
        ("anything [compaction]", "compaction"),
        ("[evaluation]", "evaluation"),
        ("ragchecker", "evaluation"),
        ("ragchecker [no lane]", "evaluation"),
        ("psql", "default"),
    ] {
        let sql = "select pglanes.lane_of($1, 'somebody', 'postgres')";
        let rows = admin.query(sql, &[&name]).await.unwrap();
        let lane: String = rows[0].get(0);
        assert_eq!(lane, expected, "{name}");
    }
}

async fn check(version: Option<Version>) {
    let mut builder = Postgres::builder().setting("shared_preload_libraries", "pg_stat_statements");
    if let Some(version) = version {
        builder = builder.version(version);
    }
    let started = tokio::task::spawn_blocking(move || builder.start())
        .await
        .unwrap();
    let postgres = match started {
        Ok(postgres) => postgres,
        Err(error @ TestbedError::NoVersion { .. }) => {
            eprintln!("SKIPPED: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let admin = session(&postgres, "postgres").await;
    let config = Config::default();

    assert!(!uninstall(&admin).await.unwrap(), "there is nothing yet");
    let installed = install(&admin, &config, None).await.unwrap();
    assert_eq!(installed.server.statements, None);
    assert!(
        installed
            .views
            .iter()
            .all(|(_, comment)| !comment.is_empty())
    );
    let rows = read_all(&admin).await;
    assert_eq!(rows.len(), installed.views.len());
    assert!(rows.contains(&("queries".to_owned(), 0)), "{rows:?}");

    admin.run("CREATE EXTENSION pg_stat_statements SCHEMA public; CREATE TABLE public.t (i int, j jsonb); CREATE ROLE looker LOGIN").await.unwrap();
    let installed = install(&admin, &config, Some("looker")).await.unwrap();
    assert!(
        installed.server.statements.is_some(),
        "installed anew, it is found"
    );
    admin.run("SELECT 1").await.unwrap();
    let rows = read_all(&admin).await;
    let some = |name: &str| rows.iter().any(|(found, rows)| found == name && *rows > 0);
    for name in ["connections", "queries", "storage", "vacuum", "checkpoints"] {
        assert!(some(name), "{name}: {rows:?}");
    }

    lanes_are_known(&admin).await;

    let looker = session(&postgres, "looker").await;
    assert_eq!(
        read_all(&looker).await.len(),
        rows.len(),
        "a read-only role may read all of them"
    );
    assert!(looker.run("DROP VIEW pglanes.queries").await.is_err());
    drop(looker);

    assert!(uninstall(&admin).await.unwrap());
    assert!(read_all(&admin).await.is_empty());
    assert!(!uninstall(&admin).await.unwrap());
}

#[tokio::test]
async fn the_views_work_on_postgresql_14() {
    check(Some(Version::V14)).await;
}

#[tokio::test]
async fn the_views_work_on_postgresql_15() {
    check(Some(Version::V15)).await;
}

#[tokio::test]
async fn the_views_work_on_postgresql_16() {
    check(Some(Version::V16)).await;
}

#[tokio::test]
async fn the_views_work_on_postgresql_17() {
    check(Some(Version::V17)).await;
}

#[tokio::test]
async fn the_views_work_on_postgresql_18() {
    check(Some(Version::V18)).await;
}

async fn started() -> Postgres {
    tokio::task::spawn_blocking(|| Postgres::builder().start())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_vector_index_and_its_lanes_are_seen() {
    let postgres = started().await;
    let admin = session(&postgres, "postgres").await;
    admin
        .run(
            "CREATE EXTENSION IF NOT EXISTS vector SCHEMA public; SET search_path = public; \
             CREATE TABLE messages (id int, embedding vector(3)); \
             INSERT INTO messages SELECT i, ARRAY[i, i, 1]::vector FROM generate_series(1, 100) i; \
             CREATE INDEX messages_hnsw ON messages USING hnsw (embedding vector_cosine_ops) WITH (m = 8); ANALYZE messages; \
             SET search_path = pg_catalog",
        )
        .await
        .unwrap();
    install(&admin, &Config::default(), None).await.unwrap();
    let rows = admin
        .query(
            "SELECT index_name::text, options, usable, bytes FROM pglanes.vector_indexes",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row.get::<_, &str>(0), "messages_hnsw");
    assert_eq!(row.get::<_, &str>(1), "m=8");
    assert!(row.get::<_, bool>(2) && row.get::<_, i64>(3) > 0);
    let rows = admin
        .query(
            "SELECT vector_columns FROM pglanes.storage WHERE table_name = 'messages'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "embedding");
    let lane = |application: &str, user: &str| {
        let statement = "SELECT pglanes.lane_of($1, $2, 'ai_agency')";
        let (application, user) = (application.to_owned(), user.to_owned());
        let admin = &admin;
        async move {
            let rows = admin
                .query(statement, &[&application, &user])
                .await
                .unwrap();
            rows[0].get::<_, String>(0)
        }
    };
    assert_eq!(lane("ragchecker-7", "x").await, "evaluation");
    assert_eq!(lane("ltst-compaction", "x").await, "compaction");
    assert_eq!(lane("psql", "readonly_grafana").await, "readonly");
    assert_eq!(lane("psql", "x").await, "default");
    assert_eq!(lane("pglanes-control", "x").await, "pglanes");
}

#[tokio::test]
async fn who_blocks_whom_is_seen_by_lane() {
    let postgres = started().await;
    let admin = session(&postgres, "postgres").await;
    admin
        .run("CREATE TABLE public.t (i int PRIMARY KEY); INSERT INTO public.t VALUES (1)")
        .await
        .unwrap();
    install(&admin, &Config::default(), None).await.unwrap();
    let named = |name: &str| {
        let url = format!("{}?application_name={name}", postgres.url("postgres"));
        async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client
        }
    };
    let (holder, waiter) = (named("ltst").await, named("ragchecker").await);
    holder
        .batch_execute("BEGIN; UPDATE t SET i = 1")
        .await
        .unwrap();
    let waiting = tokio::spawn(async move { waiter.batch_execute("UPDATE t SET i = 1").await });
    let found = loop {
        let rows = admin
            .query(
                "SELECT waiting_lane, blocking_lane, blocking_state, waiting_statement FROM pglanes.contention",
                &[],
            )
            .await
            .unwrap();
        if let Some(row) = rows.first() {
            break (0..4)
                .map(|place| row.get::<_, String>(place))
                .collect::<Vec<_>>();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(
        found,
        ["evaluation", "ltst", "idle in transaction", "update"]
    );
    holder.batch_execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_not_touched() {
    let postgres = started().await;
    let admin = session(&postgres, "postgres").await;
    admin
        .run("CREATE SCHEMA pglanes; CREATE TABLE pglanes.mine (i int)")
        .await
        .unwrap();
    for refused in [
        install(&admin, &Config::default(), None).await.map(drop),
        uninstall(&admin).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, ViewsError::Foreign { found, .. } if found == "mine"),
            "{error}"
        );
    }
    admin.run("DROP SCHEMA pglanes CASCADE").await.unwrap();
    install(&admin, &Config::default(), None).await.unwrap();
    admin
        .run("CREATE VIEW public.mine AS SELECT * FROM pglanes.connections")
        .await
        .unwrap();
    let error = uninstall(&admin).await.unwrap_err();
    assert!(error.to_string().contains("2BP01"), "{error}");
    assert_eq!(
        read_all(&admin).await.len(),
        11,
        "and all of it is still there"
    );
}
