//! Finding and rewriting, on texts as people write them.

use super::find::find;
use super::rewrite::{Goal, applied, difference, edits};

fn goal(application: Option<&str>) -> Goal {
    Goal {
        host: "localhost".to_owned(),
        port: 6433,
        database: Some("ai_agency".to_owned()),
        application: application.map(str::to_owned),
    }
}

/// What is found, and what the text becomes.
fn check(text: &str, shown: &[&str], rewritten: &str) {
    let found = find(text);
    let all: Vec<String> = found.iter().map(|one| one.shown()).collect();
    assert_eq!(all, shown, "{text}");
    let all: Vec<_> = found
        .iter()
        .flat_map(|one| edits(text, one, &goal(Some("ltst"))))
        .collect();
    assert_eq!(applied(text, &all), rewritten);
}

#[test]
fn urls_are_found_in_any_file_and_only_their_parts_change() {
    check(
        "db = 'postgresql://localhost/dspy_rag'  # old\n",
        &["localhost/dspy_rag"],
        "db = 'postgresql://localhost:6433/ai_agency?application_name=ltst'  # old\n",
    );
    check(
        "{\"url\": \"postgres://ai_user:ai_p%40ss@127.0.0.1:5432/x?sslmode=disable\"}",
        &["ai_user:***@127.0.0.1:5432/x"],
        "{\"url\": \"postgres://ai_user:ai_p%40ss@127.0.0.1:6433/ai_agency?sslmode=disable&application_name=ltst\"}",
    );
    check(
        "e = create_engine(\"postgresql+psycopg://me@localhost:5432/x\")",
        &["me@localhost:5432/x"],
        "e = create_engine(\"postgresql+psycopg://me@localhost:6433/ai_agency?application_name=ltst\")",
    );
    check(
        "URL=postgresql+asyncpg://me@localhost:5432/x\n",
        &["me@localhost:5432/x"],
        "URL=postgresql+asyncpg://me@localhost:6433/ai_agency\n",
    );
    check(
        "url=jdbc:postgresql://localhost/x",
        &["localhost/x"],
        "url=jdbc:postgresql://localhost:6433/ai_agency?ApplicationName=ltst",
    );
}

#[test]
fn what_is_known_only_at_run_time_is_left_alone() {
    for text in [
        "DATABASE_URL: postgresql://${DB_USER}:${DB_PASSWORD}@db:5432/${DB}\n",
        "f'postgresql://{user}:{password}@{host}/x'",
        "import psycopg\npsycopg.connect(host=HOST, dbname='x')",
    ] {
        let found = find(text);
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].dynamic, "{text}");
        assert_eq!(edits(text, &found[0], &goal(None)), [], "{text}");
    }
}

#[test]
fn key_value_strings_are_found() {
    check(
        "conn = \"host=localhost dbname=x user=me password='a b'\"\n",
        &["me:***@localhost/x"],
        "conn = \"host=localhost dbname=ai_agency user=me password='a b' port=6433 application_name=ltst\"\n",
    );
    check("curl -d user=me host\n", &[], "curl -d user=me host\n");
}

#[test]
fn keyword_calls_are_found() {
    check(
        "import psycopg2\nc = psycopg2.connect(\n    host=\"localhost\",\n    port=5432,\n    dbname=\"x\",  # (old)\n)\n",
        &["localhost:5432/x"],
        "import psycopg2\nc = psycopg2.connect(\n    host=\"localhost\", application_name=\"ltst\",\n    port=6433,\n    dbname=\"ai_agency\",  # (old)\n)\n",
    );
}

#[test]
fn lines_of_keys_are_found() {
    check(
        "export PGHOST=localhost\nexport PGDATABASE=x\n",
        &["localhost/x"],
        "export PGHOST=localhost\nexport PGPORT=6433\nexport PGAPPNAME=ltst\nexport PGDATABASE=ai_agency\n",
    );
    check(
        "postgres:\n  host: localhost\n  port: 5432\n  database: x # old\n",
        &["localhost:5432/x"],
        "postgres:\n  host: localhost\n  port: 6433\n  database: ai_agency # old\n",
    );
    check(
        "{\n  \"host\": \"localhost\",\n  \"port\": 5432,\n  \"database\": \"x\"\n}",
        &["localhost:5432/x"],
        "{\n  \"host\": \"localhost\",\n  \"port\": 6433,\n  \"database\": \"ai_agency\"\n}",
    );
    check(
        "redis:\n  host: localhost\n  port: 6379\n  db: 0\n",
        &[],
        "redis:\n  host: localhost\n  port: 6379\n  db: 0\n",
    );
}

#[test]
fn places_are_lines_and_columns() {
    let found = find("one\n  é = 'postgresql://localhost/x'\n");
    assert_eq!((found[0].line, found[0].column), (2, 8));
}

#[test]
fn the_difference_shows_no_secret() {
    let text = "a\nTOKEN='canary1' U='postgresql://me:canary2@localhost/x'\nb canary3\n";
    let found = find(text);
    let all = edits(text, &found[0], &goal(None));
    let passwords: Vec<_> = found[0]
        .parts
        .password
        .iter()
        .map(|part| part.span.clone())
        .collect();
    let shown = difference("f", text, &all, &passwords);
    assert!(!shown.contains("canary"), "{shown}");
    assert!(
        shown.contains("-TOKEN='***' U='postgresql://me:***@localhost/x'"),
        "{shown}"
    );
    assert!(
        shown.contains("+TOKEN='***' U='postgresql://me:***@localhost:6433/ai_agency'"),
        "{shown}"
    );
    assert!(!format!("{found:?}").contains("canary"));
}

#[test]
fn any_text_is_looked_through_to_its_end() {
    for text in [
        "postgresql://",
        "postgresql://é",
        "connect(psycopg host=",
        "host='",
        "PGHOST=\"",
        "postgres://@:@/?=&",
        "host= dbname=é",
    ] {
        for one in find(text) {
            let _ = applied(text, &edits(text, &one, &goal(Some("a"))));
        }
    }
}

/// What is found, and that nothing of it is rewritten.
fn check_commands(text: &str, shown: &[&str]) {
    let found = find(text);
    let all: Vec<String> = found.iter().map(|one| one.shown()).collect();
    assert_eq!(all, shown, "{text}");
    for one in &found {
        assert_eq!(edits(text, one, &goal(Some("ltst"))), [], "{text}");
    }
}

#[test]
fn command_lines_are_found_in_scripts_compose_files_and_makefiles() {
    check_commands(
        "#!/bin/sh\npsql -h localhost -p 5432 -U me -d dspy_rag -c 'SELECT 1; -h x'\n",
        &["me@localhost:5432/dspy_rag"],
    );
    check_commands(
        "psql -hlocalhost -p5432 -Xqt dspy_rag me | sort\n",
        &["me@localhost:5432/dspy_rag"],
    );
    check_commands(
        "PGPASSWORD=canary pg_dump --host=localhost \\\n  --username me -Fc -f out.dump dspy_rag && rm x\n",
        &["me:***@localhost/dspy_rag"],
    );
    check_commands(
        "services:\n  job:\n    command: [\"psql\", \"-h\", \"db\", \"-d\", \"dspy_rag\"]\n    other: sh -c \"pgbench -h db -c 4 -T 10 bench\"\n",
        &["db/dspy_rag", "db/bench"],
    );
    check_commands(
        "load:\n\t@createdb -h localhost -O me fresh\n\tvacuumdb -U me -z dspy_rag\n",
        &["localhost/postgres", "me@/dspy_rag"],
    );
    check_commands(
        "subprocess.run(['psql', '-U', 'me', '-d', 'x'])\n",
        &["me@/x"],
    );
    check_commands(
        "`psql -h localhost x`; $(/usr/bin/psql -h localhost y)\n",
        &["localhost/x", "localhost/y"],
    );
    for prose in [
        "use psql to connect to the database\n",
        "my-psql -h localhost x\n",
        "pg_restore -f - out.dump\n",
        "psql --version\n",
        "psql",
    ] {
        check_commands(prose, &[]);
    }
}

#[test]
fn a_command_line_that_names_a_url_is_found_once_and_one_of_variables_is_left_to_the_reader() {
    let found = find("psql -h ignored postgresql://localhost/x\n");
    assert_eq!(found.len(), 1);
    for text in [
        "psql -h $DB_HOST -d x\n",
        "psql -h \"${HOST}\" x\n",
        "\tpsql -h $(HOST) x\n",
    ] {
        let found = find(text);
        assert!(found.len() == 1 && found[0].dynamic, "{text}: {found:?}");
    }
    let found = find("PGAPPNAME=nightly psql -h localhost x\n");
    assert_eq!(
        found[0].parts.application.as_ref().unwrap().value,
        "nightly"
    );
}

#[test]
fn a_person_is_told_what_to_write_for_a_command_line() {
    use super::judge::{House, remarks};
    use super::probe::Outcome;
    let mut house = House::of(&pglanes_config::Config::default());
    house
        .databases
        .insert("dspy_rag".to_owned(), "ai_agency".to_owned());
    let said = |text: &str| -> Vec<String> {
        let found = find(text);
        let remarks = remarks(&found[0], &Outcome::Works, &house, "me");
        remarks
            .into_iter()
            .map(|remark| format!("{}: {}", remark.code, remark.text))
            .collect()
    };
    let all = said("psql -h localhost -U me -d dspy_rag -c 'SELECT 1'\n");
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].starts_with("bypasses-proxy: "));
    assert_eq!(
        all[2],
        "write: PGAPPNAME=NAME psql -h localhost -p 6433 -U me -d ai_agency, and the rest as it is"
    );
    assert_eq!(
        said("PGAPPNAME=a psql -h localhost -p 6433 -d x\n"),
        Vec::<String>::new()
    );
}
