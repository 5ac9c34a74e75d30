//! psql with everything a person does in it, held against the same psql on the server itself.

use std::process::{Child, Command, Stdio};

use pglanes_tests::{LIMIT, Proxy, Target, eventually, invariants, psql, run, soon, value};

use super::{Folder, command, filled};

/// What psql says to a script, and whether it was content: rows, messages and errors, in the order they came in each.
async fn says(proxy: &Proxy, target: &impl Target, script: &str) -> (String, String) {
    let folder = Folder::new(&format!("{}-{}", proxy.database(), target.address().port()));
    let file = folder.path("script");
    std::fs::write(&file, script).unwrap();
    let mut person = command(proxy, target, "psql", &["-X", "-f", &file]);
    person.args(["-d", proxy.database()]).current_dir(&folder.0);
    let output = run(person, LIMIT).await;
    // Its folder, the port and the numbers of processes and large objects differ.
    let (port, place) = (
        target.address().port().to_string(),
        folder.0.display().to_string(),
    );
    let same = |text: String| {
        let text = text.replace(&place, "HERE").replace(&port, "PORT");
        let lines = text
            .lines()
            .map(|line| match line.split_once(" with PID ") {
                Some((before, _)) => before,
                None if line.starts_with("lo_") => {
                    line.trim_end_matches(|it: char| it.is_ascii_digit())
                }
                None => line,
            });
        lines.collect::<Vec<_>>().join("\n")
    };
    (same(output.stdout), same(output.stderr))
}

/// Each script says through the proxy what it says to the server itself, and says this among it.
async fn says_the_same(proxy: &Proxy, scripts: &[(&str, &str)]) {
    for (script, wanted) in scripts {
        let direct = says(proxy, proxy.pg(), script).await;
        let through = says(proxy, proxy, script).await;
        assert_eq!(through, direct, "{script}");
        // An older psql does not know every command.
        let unknown = direct.1.contains("invalid command");
        let said = through.0.contains(wanted) || through.1.contains(wanted);
        assert!(said || unknown, "{script}: {through:?}");
    }
}

#[tokio::test]
async fn psql_describes_what_is_there() {
    let proxy = filled().await;
    let scripts = [
        ("\\d", "people"),
        ("\\d+ people", "people_id_seq"),
        ("\\d notes", "Number of partitions"),
        ("\\dt+ notes_1", "notes_1"),
        ("\\di", "people_pkey"),
        ("\\ds", "people_id_seq"),
        ("\\dm", "counted"),
        ("\\dP+", "notes"),
        ("\\df twice", "twice"),
        ("\\df+ twice", "volatile"),
        ("\\dT+ mood", "not so well"),
        ("\\dv+", "well"),
        ("\\dn+", "public"),
        ("\\dx", "vector"),
        ("\\dx+ vector", "vector"),
        ("\\do <=>", "vector"),
        ("\\dA+ hnsw", "hnsw"),
        ("\\dC", "vector"),
        ("\\dp people", "people"),
        ("\\dd", "Description"),
        ("\\db", "pg_default"),
        ("\\dL", "plpgsql"),
        ("\\du postgres", "postgres"),
        ("\\l template0", "template0"),
        ("\\sf twice", "SELECT a * 2"),
        ("\\sv well", "feels = 'well'"),
        ("\\dconfig work_mem", "work_mem"),
        ("\\conninfo", "PORT"),
        ("\\d nowhere", "Did not find any relation"),
    ];
    says_the_same(&proxy, &scripts).await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn psql_shows_results_in_every_way() {
    let proxy = filled().await;
    let scripts = [
        ("SELECT 1 AS one, 'a' AS two \\gdesc", "integer"),
        (
            "SELECT 'a' AS made, 7 AS n \\gset\n\\echo got :made :n",
            "got a 7",
        ),
        (
            "SELECT name, feels FROM people WHERE id = 3 \\gx",
            "RECORD 1",
        ),
        (
            "SELECT n % 3 AS row, n % 2 AS col, sum(n) FROM generate_series(1, 30) n GROUP BY 1, 2 \\crosstabview row col",
            "row",
        ),
        (
            "SELECT format('SELECT %s AS made', n) FROM generate_series(1, 3) n \\gexec",
            "made",
        ),
        ("SELECT $1::int + $2 AS sum \\bind 3 4 \\g", "7"),
        (
            "SELECT $1 \\parse mine\n\\bind_named mine hello \\g\n\\close_prepared mine",
            "hello",
        ),
        (
            "\\startpipeline\nSELECT 1 AS a \\bind \\g\nSELECT 2 AS b \\bind \\g\n\\endpipeline",
            "b",
        ),
        ("SELECT 1 AS a \\; SELECT 2 AS b \\; SELECT 3 AS c;", "c"),
        (
            "\\set FETCH_COUNT 7\nSELECT generate_series(1, 50) AS n;",
            "50",
        ),
        ("\\pset format csv\nTABLE counted;", "well,500"),
        (
            "SELECT * FROM people WHERE id < 4 ORDER BY id \\g here.txt\n\\! wc -l < here.txt",
            "7",
        ),
        ("SELECT 'piped' \\g | tr p P", "PiPed"),
    ];
    says_the_same(&proxy, &scripts).await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn psql_keeps_its_session() {
    let proxy = filled().await;
    let scripts = [
        (
            "\\set who 'person 7'\nSELECT id FROM people WHERE name = :'who';\nSELECT :{?who} AS known;",
            "7",
        ),
        (
            "\\set AUTOCOMMIT off\nCREATE TABLE undone ();\nROLLBACK;\nSELECT to_regclass('undone') IS NULL AS is_undone;",
            "t",
        ),
        (
            "\\set ON_ERROR_ROLLBACK on\nBEGIN;\nSELECT 1 / 0;\nSELECT 'goes on' AS it;\nCOMMIT;",
            "goes on",
        ),
        (
            "BEGIN;\nSELECT 1 / 0;\nSELECT 2;\nROLLBACK;\nSELECT 'again' AS it;",
            "again",
        ),
        (
            "\\set VERBOSITY verbose\nSELECT * FROM nowhere;\n\\echo :SQLSTATE :LAST_ERROR_SQLSTATE",
            "42P01",
        ),
        ("SELECT nonsense;\n\\errverbose", "42703"),
        (
            "SET work_mem = '7MB';\nSELECT 1;\nSHOW work_mem;\nRESET work_mem;\nSHOW work_mem;",
            "7MB",
        ),
        (
            "\\encoding LATIN1\nSHOW client_encoding;\n\\encoding\n\\encoding UTF8\nSHOW client_encoding;",
            "LATIN1",
        ),
        (
            "CREATE TEMP TABLE mine AS SELECT 42 AS n;\nSELECT n FROM mine;\nDROP TABLE mine;",
            "42",
        ),
        (
            "PREPARE mine (int) AS SELECT $1 + 1 AS next;\nEXECUTE mine (41);\nDEALLOCATE mine;\nEXECUTE mine (1);",
            "42",
        ),
        (
            "DECLARE mine CURSOR WITH HOLD FOR SELECT generate_series(1, 9) AS n;\nFETCH 3 FROM mine;\nFETCH 2 FROM mine;\nCLOSE mine;",
            "5",
        ),
        (
            "LISTEN here;\nNOTIFY here, 'hello';\nSELECT 1;\nUNLISTEN here;",
            "Asynchronous notification",
        ),
        (
            "DO $$ BEGIN RAISE NOTICE 'seen %', 1; RAISE WARNING 'and this'; END $$;",
            "NOTICE:  seen 1",
        ),
    ];
    says_the_same(&proxy, &scripts).await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn psql_goes_elsewhere_and_carries_things() {
    let proxy = filled().await;
    let scripts = [
        (
            "\\c postgres\nSELECT current_database();\n\\c - postgres\nSELECT current_user;",
            "You are now connected",
        ),
        ("\\c no_such_database\nSELECT 1 AS still;", "does not exist"),
        (
            "COPY counted TO STDOUT;\nCREATE TEMP TABLE lines (n int);\nCOPY lines FROM STDIN;\n1\n2\n\\.\nSELECT sum(n) FROM lines;",
            "3",
        ),
        (
            "\\! echo 'not large' > large\n\\lo_import large 'a comment'\n\\lo_export :LASTOID copied\n\\! cat copied\n\\lo_unlink :LASTOID",
            "not large",
        ),
        (
            "\\if true\nSELECT 'yes' AS it;\n\\else\nSELECT 'no' AS it;\n\\endif",
            "yes",
        ),
        ("\\watch 0.01", "\\watch"),
    ];
    says_the_same(&proxy, &scripts).await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn psql_copies_in_and_out_of_files() {
    let proxy = filled().await;
    let folder = Folder::new("copy");
    let file = folder.path("people.csv");
    let out = format!("\\copy people TO '{file}' CSV HEADER");
    let back = format!("\\copy again FROM '{file}' CSV HEADER");
    let arguments = [
        "-c",
        &out,
        "-c",
        "CREATE TABLE again (LIKE people)",
        "-c",
        &back,
        "-c",
        "SELECT count(*) FROM again",
    ];
    let output = psql(&proxy, "a person", &arguments).await;
    assert!(output.succeeded, "{output:?}");
    assert_eq!(output.stdout, "COPY 500\nCREATE TABLE\nCOPY 500\n500");
    // A file with a wrong line: the error names the line, and the session goes on.
    std::fs::write(&file, "1,ok,well,\nnonsense\n").unwrap();
    let back = format!("\\copy again FROM '{file}' CSV");
    let output = psql(&proxy, "a person", &["-c", &back]).await;
    assert!(
        !output.succeeded && output.stderr.contains("line 2"),
        "{output:?}"
    );
    invariants(&proxy).await;
}

#[tokio::test]
async fn psql_watches_a_query() {
    let proxy = filled().await;
    let folder = Folder::new("watch");
    let file = folder.path("script");
    // The third look ends it with an error: versions before 16 cannot be told how often to look.
    std::fs::write(
        &file,
        "CREATE SEQUENCE looks;\nSELECT 'look', 1 / (3 - nextval('looks')) \\watch 0.05\n",
    )
    .unwrap();
    let output = psql(&proxy, "a person", &["-f", &file]).await;
    assert_eq!(output.stdout.matches("look|").count(), 2, "{output:?}");
    assert!(output.stderr.contains("division by zero"), "{output:?}");
    invariants(&proxy).await;
}

/// psql, running on while the test does other things. Killed if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts psql and lets it run.
fn interactive(proxy: &Proxy, arguments: &[&str]) -> Running {
    let mut person = command(proxy, proxy, "psql", arguments);
    person.stdin(Stdio::null()).stdout(Stdio::null());
    Running(person.stderr(Stdio::piped()).spawn().unwrap())
}

/// Says Ctrl-C to it; gives what it says to that until it ends.
async fn interrupted(mut person: Running) -> String {
    let mut interrupt = Command::new("kill");
    interrupt.args(["-INT", &person.0.id().to_string()]);
    assert!(run(interrupt, LIMIT).await.succeeded);
    let mut stderr = person.0.stderr.take().unwrap();
    let said = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
        text
    });
    soon(said).await.unwrap()
}

#[tokio::test]
async fn a_persons_ctrl_c_cancels_the_query() {
    let proxy = filled().await;
    let arguments = ["-XAt", "-d", proxy.database(), "-c", "SELECT pg_sleep(600)"];
    let person = interactive(&proxy, &arguments);
    let direct = proxy.pg().direct().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("psql's query runs", || async {
        value(&direct, sql).await == "1"
    })
    .await;
    let said = interrupted(person).await;
    assert!(
        said.contains("canceling statement due to user request"),
        "{said}"
    );
    assert_eq!(proxy.metrics().cancels_forwarded.get(), 1);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_ctrl_c_while_waiting_for_a_slot_leaves_the_queue() {
    let proxy = Proxy::with_slots(1).run().await;
    let holding = pglanes_tests::connect(&proxy, "").await;
    holding.batch_execute("BEGIN").await.unwrap();
    let arguments = ["-XAt", "-d", proxy.database(), "-c", "SELECT 1"];
    let person = interactive(&proxy, &arguments);
    eventually("psql waits", || async {
        proxy.view().await.scheduler.waiting == 1
    })
    .await;
    let said = interrupted(person).await;
    assert!(said.contains("while it waited for a slot"), "{said}");
    holding.batch_execute("COMMIT").await.unwrap();
    drop(holding);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_persons_ctrl_c_ends_a_copy() {
    let proxy = filled().await;
    let copy = "\\copy (SELECT generate_series(1, 2000000000)) TO STDOUT";
    let arguments = ["-XAt", "-d", proxy.database(), "-c", copy];
    let person = interactive(&proxy, &arguments);
    let direct = proxy.pg().direct().await;
    let sql = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database() AND tuples_processed > 1000";
    eventually("psql copies", || async { value(&direct, sql).await == "1" }).await;
    let said = interrupted(person).await;
    assert!(
        said.contains("canceling statement due to user request"),
        "{said}"
    );
    invariants(&proxy).await;
}
