//! `pglanes vectors` on a small table of a real server.

use pglanes_testbed::Postgres;

use crate::support::{Folder, run, text};

#[tokio::test]
async fn vectors_are_measured_on_a_sample_and_the_table_is_left_alone() {
    let postgres = Postgres::start().unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    client
        .batch_execute(
            "CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE notes (embedding vector(8)); \
             INSERT INTO notes SELECT array_agg(sin(n * 7.3 + d * n))::vector FROM generate_series(1, 900) n, generate_series(1, 8) d GROUP BY n; \
             INSERT INTO notes VALUES (NULL); CREATE INDEX by_distance ON notes USING hnsw ((embedding::halfvec(8)) halfvec_l2_ops); ANALYZE notes",
        )
        .await
        .unwrap();
    let before = objects(&client).await;
    let folder = Folder::new();
    let url = postgres.url("postgres");
    let arguments = [
        "vectors",
        "--url",
        &url,
        "--table",
        "public.notes",
        "--rows",
        "800",
        "--queries",
        "20",
        "--json",
        "--svg",
        "out.svg",
    ];
    let output = run(&folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("nothing is written there"),
        "it says what it costs"
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["measured"]["rows"], 800);
    assert_eq!(said["measured"]["dimensions"], 8);
    let searched = said["measured"]["searched"].as_array().unwrap();
    let most = searched
        .iter()
        .filter(|one| one["index"]["storage"] == "vector" && one["ef_search"] == 400)
        .map(|one| one["recall"].as_f64().unwrap())
        .fold(0.0, f64::max);
    assert!(most > 0.9, "{most}");
    let report = said["report"].as_str().unwrap();
    assert!(report.contains("CREATE INDEX CONCURRENTLY"), "{report}");
    // As the index has it that the table has already, over an expression of the column.
    assert_eq!(said["measured"]["metric"]["metric"], "l2");
    for part in [
        "index by_distance has halfvec_l2_ops",
        " vector_l2_ops) WITH",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let picture = std::fs::read_to_string(folder.path().join("out.svg")).unwrap();
    assert!(picture.ends_with("</svg>\n"));
    assert_eq!(objects(&client).await, before);
}

async fn objects(client: &tokio_postgres::Client) -> i64 {
    let count = "SELECT count(*) FROM pg_class";
    client.query_one(count, &[]).await.unwrap().get(0)
}
