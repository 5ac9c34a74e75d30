//! `pglanes tune`, `doctor` and `init`, against a real server.

use pglanes_testbed::{Auth, Postgres};

use crate::support::{Folder, pglanes, run, text};

/// A server with the user's real database and user, and a lanes.yaml that knows the old names.
async fn the_users_house() -> (Postgres, Folder) {
    let postgres = Postgres::builder()
        .auth(Auth::Scram {
            password: "canary-super".to_owned(),
        })
        .start()
        .unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    for statement in [
        "CREATE ROLE danieljacobs LOGIN PASSWORD 'canary-daniel'",
        "CREATE ROLE ai_user LOGIN PASSWORD 'another'",
        "CREATE DATABASE ai_agency",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let folder = Folder::new();
    let yaml = format!(
        "listen: 127.0.0.1:6433\nupstream: {{ url: \"postgresql://postgres@127.0.0.1:{}/postgres\", unix_socket: off }}\n\
         databases:\n  ai_agency: {{ aliases: [dspy_rag, dspy_rag_system] }}\n",
        postgres.port()
    );
    folder.write("lanes.yaml", &yaml);
    (postgres, folder)
}

/// Their strings, three of them broken, one that works, and one that is not theirs.
fn plant(folder: &Folder, port: u16) -> (std::path::PathBuf, [(&'static str, String); 5]) {
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("node_modules")).unwrap();
    let daniel = "danieljacobs:canary-daniel";
    let files = [
        (
            "ltst_memory.py",
            format!("URL = 'postgresql://{daniel}@localhost:{port}/dspy_rag'\n"),
        ),
        (
            ".env",
            format!("DATABASE_URL=postgresql://{daniel}@localhost:{port}/dspy_rag_system\n"),
        ),
        (
            "compose.yaml",
            format!("url: \"postgresql://ai_user:ai_password@localhost:{port}/ai_agency\"\n"),
        ),
        (
            "node_modules/x.js",
            format!("'postgresql://localhost:{port}/skipped'\n"),
        ),
        (
            "good.py",
            format!("'postgresql://{daniel}@localhost:{port}/ai_agency?application_name=ltst'\n"),
        ),
    ];
    for (name, content) in &files {
        std::fs::write(tree.join(name), content).unwrap();
    }
    (tree, files)
}

#[tokio::test]
async fn the_three_broken_strings_are_found_explained_and_mended() {
    let (postgres, folder) = the_users_house().await;
    let port = postgres.port();
    let daniel = "danieljacobs:canary-daniel";
    let (tree, files) = plant(&folder, port);
    let output = run(&folder, &["doctor", "tree"]);
    let said = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{said}{}",
        text(&output.stderr)
    );
    eprintln!("{said}");
    assert!(
        said.contains("tree/ltst_memory.py:1:8: danieljacobs:***@localhost"),
        "{said}"
    );
    assert!(said.contains("missing-database: database \"dspy_rag\" does not exist; lanes.yaml knows it as an old name of ai_agency"), "{said}");
    assert!(
        said.contains("database \"dspy_rag_system\" does not exist"),
        "{said}"
    );
    assert!(
        said.contains("wrong-credentials: password authentication failed for user \"ai_user\""),
        "{said}"
    );
    assert_eq!(said.matches("bypasses-proxy").count(), 4, "{said}");
    assert_eq!(said.matches("no-application-name").count(), 3, "{said}");
    assert!(!said.contains("skipped"), "{said}");

    // Nobody to ask: nothing changes.
    let output = run(&folder, &["doctor", "tree", "--fix"]);
    assert!(text(&output.stdout).contains("+URL = 'postgresql://danieljacobs:***@localhost:6433/ai_agency?application_name=ltst_memory'"), "{}", text(&output.stdout));
    assert_eq!(
        std::fs::read_to_string(tree.join("ltst_memory.py")).unwrap(),
        files[0].1
    );
    let fixed = run(&folder, &["doctor", "tree", "--fix", "--yes"]);
    let now = std::fs::read_to_string(tree.join("ltst_memory.py")).unwrap();
    assert_eq!(
        now,
        format!(
            "URL = 'postgresql://{daniel}@localhost:6433/ai_agency?application_name=ltst_memory'\n"
        )
    );
    let backup = std::fs::read_to_string(tree.join("ltst_memory.py.pglanes-backup")).unwrap();
    assert_eq!(backup, files[0].1);
    let json = run(&folder, &["doctor", "tree", "--json"]);
    serde_json::from_slice::<serde_json::Value>(&json.stdout).unwrap();
    for output in [&output, &fixed, &json] {
        let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(
            !all.contains("canary") && !all.contains("ai_password"),
            "{all}"
        );
    }
}

#[tokio::test]
async fn the_installation_is_looked_at() {
    let (_postgres, folder) = the_users_house().await;
    let output = pglanes(&folder)
        .args(["doctor", "--json"])
        .env("PGPASSWORD", "canary-super")
        .output()
        .unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let codes: Vec<&str> = found["installation"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    for code in [
        "connections",
        "pgvector",
        "fsync",
        "track_io_timing",
        "memory",
    ] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    // The test bed does not flush: that is an error, and the exit code says so.
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_first_lanes_yaml_is_written_observes_and_holds() {
    let postgres = Postgres::start().unwrap();
    let mut sessions = Vec::new();
    for name in ["ragchecker", "ltst-compaction", "ltst", "ltst", ""] {
        let url = format!("{}?application_name={name}", postgres.url("postgres"));
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        sessions.push(client);
    }
    let folder = Folder::new();
    let server = postgres.url("postgres");
    let arguments = ["init", "--server", &server, "--watch", "1"];
    let output = run(&folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let written = std::fs::read_to_string(folder.path().join("lanes.yaml")).unwrap();
    assert!(
        written.contains("ltst-compaction yields to ragchecker"),
        "{written}"
    );
    assert!(
        written.contains("at most 2 sessions at once, as postgres"),
        "{written}"
    );
    let check = run(&folder, &["check", "--config", "lanes.yaml", "--strict"]);
    assert_eq!(
        check.status.code(),
        Some(0),
        "{}{}\n{written}",
        text(&check.stdout),
        text(&check.stderr)
    );
    let again = run(&folder, &arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("is there already"),
        "{}",
        text(&again.stderr)
    );
}

#[tokio::test]
async fn tune_reads_the_server_writes_a_file_and_never_over_one() {
    let postgres = Postgres::start().unwrap();
    let folder = Folder::new();
    let server = postgres.url("postgres");
    let arguments = [
        "tune",
        "--server",
        &server,
        "--memory",
        "128GB",
        "--cores",
        "16",
        "--output",
        "tuned.conf",
    ];
    let output = run(&folder, &arguments);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        said.contains("shared_buffers") && said.contains("32GB"),
        "{said}"
    );
    let written = std::fs::read_to_string(folder.path().join("tuned.conf")).unwrap();
    assert!(written.contains("\nshared_buffers = '32GB'\n"), "{written}");
    assert_eq!(run(&folder, &arguments).status.code(), Some(1));
}
