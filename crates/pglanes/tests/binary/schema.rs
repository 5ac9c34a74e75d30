//! `pglanes schema` on the test bed's own tables, and the advisor's connections over TLS.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use pglanes_testbed::{Postgres, TestbedError, Version};

use crate::support::{Folder, PATIENCE, run, text};

/// Runs a command, and gives what it printed when it ends with this code.
fn said(folder: &Folder, arguments: &[&str], code: i32) -> String {
    let output = run(folder, arguments);
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}{error}"
    );
    format!("{out}{error}")
}

#[tokio::test]
async fn schema_scripts_are_applied_shown_and_undone() {
    let postgres = Postgres::start().unwrap();
    let client = postgres.connect("postgres").await.unwrap();
    pglanes_testbed::schema::load(&client, 50, 1, &|_, _| {})
        .await
        .unwrap();
    client
        .batch_execute("CREATE ROLE ltst LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO ltst")
        .await
        .unwrap();
    let folder = Folder::new();
    let server = postgres.url("postgres");
    let schema = |more: &[&str], code: i32| {
        let mut arguments = vec!["schema"];
        arguments.extend(more);
        if more[0] != "print" {
            arguments.extend(["--server", &server]);
        }
        said(&folder, &arguments, code)
    };
    let before = schema(&["status"], 0);
    assert!(
        before.contains("10-cache-expiry       not applied"),
        "{before}"
    );
    let applied = schema(&["apply", "--role", "ltst"], 0);
    assert!(
        applied.contains("10-cache-expiry       applied"),
        "{applied}"
    );
    assert!(
        !applied.contains("50-json-containment"),
        "an optional one: {applied}"
    );
    let again = schema(&["apply"], 0);
    assert!(again.contains("60-compaction         in force"), "{again}");
    let (ltst, connection) =
        tokio_postgres::connect(&postgres.url_for("ltst", "postgres"), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    ltst.batch_execute("CALL pglanes.compact(below => 0.02, archive => 'conversation_archive')")
        .await
        .unwrap();
    let archived: i64 = client
        .query_one("SELECT count(*) FROM conversation_archive", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(archived, 19, "of 50 messages, those below 0.02");
    let one = schema(&["undo", "10-cache-expiry"], 0);
    assert!(
        one.contains("10-cache-expiry       undone") && !one.contains("60-compaction"),
        "{one}"
    );
    schema(&["undo"], 0);
    let after = schema(&["status"], 0);
    assert_eq!(after, before);
    let wrong = schema(&["apply", "11-cash"], 1);
    assert!(wrong.contains("there is no script `11-cash`"), "{wrong}");
    let wrong = schema(&["apply", "--name", "cash=x"], 1);
    assert!(wrong.contains("there are: schema, messages"), "{wrong}");
    let printed = schema(&["print", "10-cache-expiry", "--name", "cache=answers"], 0);
    assert!(
        printed.contains("ON \"public\".\"answers\" (\"expires_at\")"),
        "{printed}"
    );
}

/// The folder is the server's user's, and so are the files.
fn put(postgres: &Postgres, name: &str, content: &str) -> PathBuf {
    let path = postgres.data_dir().join(name);
    let owner = std::fs::metadata(postgres.data_dir()).unwrap();
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    path
}

/// A server that lets nobody in without TLS, and a folder with its authority (`root.crt`) and another one (`other.crt`); `None`
/// where the version is not to be had.
async fn encrypted() -> Option<(Postgres, Folder)> {
    // One of the versions out of the box, which have TLS for certain.
    let postgres = match Postgres::builder().version(Version::V17).start() {
        Ok(postgres) => postgres,
        Err(error @ TestbedError::NoVersion { .. }) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let folder = Folder::new();
    let [certificate, other] = [(), ()]
        .map(|()| rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());
    put(&postgres, "server.crt", &certificate.cert.pem());
    put(
        &postgres,
        "server.key",
        &certificate.signing_key.serialize_pem(),
    );
    folder.write("root.crt", &certificate.cert.pem());
    folder.write("other.crt", &other.cert.pem());
    let client = postgres.connect("postgres").await.unwrap();
    client
        .batch_execute("ALTER SYSTEM SET ssl = on")
        .await
        .unwrap();
    // Without TLS nobody comes in any more.
    put(&postgres, "pg_hba.conf", "hostssl all all all trust\n");
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    Some((postgres, folder))
}

#[tokio::test]
async fn the_advisor_asks_over_tls_as_the_url_has_it() {
    let Some((postgres, folder)) = encrypted().await else {
        return;
    };
    let url = |parameters: &str| {
        format!(
            "postgresql://postgres@localhost:{}/postgres?{parameters}",
            postgres.port()
        )
    };
    let root = folder.path().join("root.crt");
    let verified = url(&format!(
        "sslmode=verify-full&sslrootcert={}",
        root.display()
    ));
    // The reload is the postmaster's to do, in its own time.
    let status = ["schema", "status", "--server", &verified];
    for _ in 0..PATIENCE.as_millis() / 100 {
        if run(&folder, &status).status.success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    said(&folder, &status, 0);
    for url in [
        &verified,
        &url("sslmode=require"),
        &url("application_name=me"),
    ] {
        let tune = ["tune", "--server", url, "--memory", "8GB", "--cores", "2"];
        assert!(said(&folder, &tune, 0).contains("shared_buffers"));
    }
    said(&folder, &["init", "--server", &verified, "--watch", "0"], 0);
    let written = std::fs::read_to_string(folder.path().join("lanes.yaml")).unwrap();
    assert!(
        written.contains("sslmode=verify-full&sslrootcert="),
        "{written}"
    );
    std::fs::remove_file(folder.path().join("lanes.yaml")).unwrap();
    let wrong = url(&format!(
        "sslmode=verify-full&sslrootcert={}",
        folder.path().join("other.crt").display()
    ));
    for url in [&wrong, &url("sslmode=disable")] {
        for command in [&["schema", "status"][..], &["tune"], &["doctor"]] {
            let mut arguments = command.to_vec();
            arguments.extend(["--server", url]);
            let said = said(&folder, &arguments, 1);
            assert!(said.contains("PostgreSQL at "), "{said}");
        }
    }
}
