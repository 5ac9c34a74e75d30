//! The programs that come with PostgreSQL, through the proxy, with default settings: dumps and restores and maintenance here, psql
//! with what a person does in it, and pgbench.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod pgbench;
mod psql;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use pglanes_tests::{LIMIT, Output, Proxy, Target, invariants, run, value};

/// How long a program may take that has much to do.
const LONGEST: Duration = Duration::from_secs(90);

/// What is dumped: each kind of object that a dump asks the catalogue about in a way of its own.
const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('well', 'not so well');
    CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL UNIQUE, feels mood, seen timestamptz DEFAULT now());
    CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY, of int REFERENCES people, words vector(3), PRIMARY KEY (id, of))
        PARTITION BY HASH (of);
    CREATE TABLE notes_0 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE notes_1 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE VIEW well AS SELECT * FROM people WHERE feels = 'well';
    CREATE MATERIALIZED VIEW counted AS SELECT feels, count(*) FROM people GROUP BY feels;
    CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT a * 2';
    CREATE INDEX by_feeling ON people (feels) WHERE feels IS NOT NULL;
    COMMENT ON TABLE people IS 'a ''quoted'' comment';
    INSERT INTO people (name, feels) SELECT 'person ' || n, 'well' FROM generate_series(1, 500) n;
    INSERT INTO notes (of, words) SELECT n, '[1,2,3]' FROM generate_series(1, 500) n;
    REFRESH MATERIALIZED VIEW counted;";

/// A folder that is gone at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("pglanes-tools-{name}-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        // What a killed run left behind.
        let _ = std::fs::remove_dir_all(&folder.0);
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A program with its place on the command line and how to reach the target.
fn command(proxy: &Proxy, target: &impl Target, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(proxy.pg().server().bin_dir().join(name));
    command
        .args(["-h", "127.0.0.1", "-U", "postgres"])
        .args(["-p", &target.address().port().to_string()])
        .args(arguments);
    command
}

async fn program(proxy: &Proxy, name: &str, arguments: &[&str]) -> Output {
    let output = run(command(proxy, proxy, name, arguments), LIMIT * 2).await;
    assert!(output.succeeded, "{name}: {output:?}");
    output
}

async fn filled() -> Proxy {
    let proxy = Proxy::with("").run().await;
    let direct = proxy.pg().direct().await;
    direct.batch_execute(SCHEMA).await.unwrap();
    proxy
}

/// A dump without what differs from one to the next: the key of `\restrict`.
fn comparable(dump: &str) -> Vec<&str> {
    let is_key = |line: &&str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    dump.lines().filter(|line| !is_key(line)).collect()
}

#[tokio::test]
async fn pg_dump_says_what_it_says_of_the_server_itself() {
    let proxy = filled().await;
    let arguments = ["-d", proxy.database()];
    let through = program(&proxy, "pg_dump", &arguments).await.stdout;
    let direct = run(command(&proxy, proxy.pg(), "pg_dump", &arguments), LIMIT).await;
    assert!(direct.succeeded, "{direct:?}");
    assert_eq!(comparable(&through), comparable(&direct.stdout));
    assert!(through.contains("person 500") && through.contains("a ''quoted'' comment"));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_parallel_dump_is_restored_in_parallel_with_the_same_rows() {
    let proxy = filled().await;
    let folder = Folder::new("parallel");
    let dump = folder.path("dump");
    let database = proxy.database().to_owned();
    let arguments = ["-d", &database, "-Fd", "-j", "3", "-f", &dump];
    program(&proxy, "pg_dump", &arguments).await;
    let copy = format!("{database}_copy");
    program(&proxy, "createdb", &[&copy]).await;
    let arguments = ["-d", &copy, "-j", "3", "--exit-on-error", &dump];
    program(&proxy, "pg_restore", &arguments).await;
    let count = "SELECT (SELECT count(*) FROM people) || ' ' || (SELECT count(*) FROM notes) || ' ' || twice(4)";
    let client = pglanes_tests::connect(&proxy, &format!("dbname={copy}")).await;
    assert_eq!(value(&client, count).await, "500 500 8");
    drop(client);
    // Idle server connections of ours do not stand in the way.
    program(&proxy, "dropdb", &[&copy]).await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn pg_dumpall_dumps_roles_and_databases() {
    let proxy = filled().await;
    let role = format!("role_of_{}", proxy.database());
    let direct = proxy.pg().direct().await;
    direct
        .batch_execute(&format!("CREATE ROLE {role}"))
        .await
        .unwrap();
    let output = program(&proxy, "pg_dumpall", &["--globals-only"]).await;
    assert!(output.stdout.contains(&role));
    direct
        .batch_execute(&format!("DROP ROLE {role}"))
        .await
        .unwrap();
    // Other tests' databases come and go in this server; one alone is dumped whole.
    let others = run(
        command(
            &proxy,
            &proxy,
            "psql",
            &[
                "-XAtc",
                "SELECT datname FROM pg_database WHERE datallowconn",
                "-d",
                proxy.database(),
            ],
        ),
        LIMIT,
    )
    .await;
    let exclude = others
        .stdout
        .lines()
        .filter(|name| *name != proxy.database());
    let exclude: Vec<String> = exclude
        .map(|name| format!("--exclude-database={name}"))
        .collect();
    let mut arguments: Vec<&str> = exclude.iter().map(String::as_str).collect();
    arguments.extend(["--exclude-database=fresh_*_copy", "-l", proxy.database()]);
    let output = run(command(&proxy, &proxy, "pg_dumpall", &arguments), LIMIT * 2).await;
    // A database that was made meanwhile and is gone already is the only thing that may go wrong.
    let gone = output.stderr.contains("does not exist");
    assert!(output.succeeded || gone, "{output:?}");
    assert!(gone || output.stdout.contains("person 500"));
    invariants(&proxy).await;
}

#[tokio::test]
async fn vacuumdb_and_reindexdb_do_their_work() {
    let proxy = filled().await;
    let database = proxy.database().to_owned();
    program(&proxy, "vacuumdb", &["-z", "-j", "3", "-d", &database]).await;
    program(
        &proxy,
        "vacuumdb",
        &["--analyze-in-stages", "-d", &database],
    )
    .await;
    program(
        &proxy,
        "reindexdb",
        &["-j", "2", "-t", "people", "-d", &database],
    )
    .await;
    program(
        &proxy,
        "reindexdb",
        &["--concurrently", "-i", "by_feeling", "-d", &database],
    )
    .await;
    let client = pglanes_tests::connect(&proxy, "").await;
    let sql = "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'people'";
    assert_eq!(value(&client, sql).await, "t");
    // The stages set default_statistics_target; nobody else sees it.
    assert_eq!(
        value(&client, "SHOW default_statistics_target").await,
        "100"
    );
    drop(client);
    invariants(&proxy).await;
}
