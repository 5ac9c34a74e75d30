//! Prepared statements, by name and without, while server connections change hands.

use pglanes_tests::{Proxy, Raw, Script, connect, eventually, invariants, soon, tags};

/// More than a server connection keeps (500).
const MANY: usize = 1200;

fn s() -> Script {
    Script::new()
}

fn rows(answers: &[pglanes_tests::Answer]) -> Vec<String> {
    let rows = answers.iter().filter(|answer| answer.tag == b'D');
    rows.map(pglanes_tests::Answer::value).collect()
}

#[tokio::test]
async fn two_clients_use_one_name_for_different_statements() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut one = Raw::ready(&proxy).await;
    let mut two = Raw::ready(&proxy).await;
    one.ask(&s().parse("n", "SELECT 'one'").sync()).await;
    two.ask(&s().parse("n", "SELECT 'two'").sync()).await;
    for _ in 0..3 {
        assert_eq!(
            rows(&one.ask(&s().run_prepared("n", &[]).sync()).await),
            ["one"]
        );
        assert_eq!(
            rows(&two.ask(&s().run_prepared("n", &[]).sync()).await),
            ["two"]
        );
    }
    two.ask(&s().close_statement("n").sync()).await;
    let gone = two.ask(&s().run_prepared("n", &[]).sync()).await;
    assert_eq!(gone[0].sqlstate(), "26000");
    assert!(gone[0].text().contains("\"n\""), "{}", gone[0].text());
    assert_eq!(
        rows(&one.ask(&s().run_prepared("n", &[]).sync()).await),
        ["one"]
    );
    drop((one, two));
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_unnamed_statement_lives_on_while_others_use_its_connection() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut one = Raw::ready(&proxy).await;
    let mut two = Raw::ready(&proxy).await;
    one.ask(&s().parse("", "SELECT 'one' || $1").sync()).await;
    for n in ["1", "2", "3"] {
        let other = two.ask(&s().run("SELECT 'two' || $1", &[n]).sync()).await;
        assert_eq!(rows(&other), [format!("two{n}")]);
        let own = one.ask(&s().bind("", "", &[n]).execute("", 0).sync()).await;
        assert_eq!(rows(&own), [format!("one{n}")]);
        let described = one.ask(&s().describe_statement("").sync()).await;
        assert_eq!(tags(&described), "tTZ");
    }
    // A simple query of the session itself ends it, as it does directly.
    one.query("SELECT 1").await;
    let gone = one.ask(&s().bind("", "", &["x"]).sync()).await;
    assert_eq!(gone[0].sqlstate(), "26000");
    drop((one, two));
    invariants(&proxy).await;
}

#[tokio::test]
async fn more_statements_than_a_connection_keeps_are_all_there() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut one = Raw::ready(&proxy).await;
    let mut two = Raw::ready(&proxy).await;
    let names: Vec<String> = (0..MANY).map(|n| format!("n{n}")).collect();
    for batch in names.chunks(100) {
        let script = batch.iter().fold(s(), |script, name| {
            script.parse(name, &format!("SELECT '{name}' || $1"))
        });
        let answers = one.ask(&script.sync()).await;
        assert_eq!(tags(&answers), format!("{}Z", "1".repeat(batch.len())));
        two.ask(&s().parse(&batch[0], "SELECT 'two' || $1").sync())
            .await;
    }
    // Backwards, so that what was used last comes first; then all of them in one batch, closed as they go.
    for name in names.iter().rev().step_by(7) {
        let answers = one.ask(&s().run_prepared(name, &["x"]).sync()).await;
        assert_eq!(rows(&answers), [format!("{name}x")]);
    }
    let script = names.iter().fold(s(), |script, name| {
        script.run_prepared(name, &["y"]).close_statement(name)
    });
    let wanted: Vec<String> = names.iter().map(|name| format!("{name}y")).collect();
    assert_eq!(rows(&one.ask(&script.sync()).await), wanted);
    let gone = one.ask(&s().run_prepared(&names[3], &["x"]).sync()).await;
    assert_eq!(gone[0].sqlstate(), "26000");
    let kept = two.ask(&s().run_prepared(&names[100], &["x"]).sync()).await;
    assert_eq!(rows(&kept), ["twox"]);
    let held = one
        .value("SELECT count(*) FROM pg_prepared_statements")
        .await;
    assert!(
        held.parse::<usize>().unwrap() <= 500,
        "the server holds {held}"
    );
    drop((one, two));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_bind_may_have_65535_parameters() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    let values = vec!["7"; 65_535];
    let places: Vec<String> = (1..=values.len()).map(|n| format!("(${n}::int)")).collect();
    let sql = format!("SELECT sum(v) FROM (VALUES {}) t(v)", places.join(","));
    for name in ["", "named"] {
        let script = s().parse(name, &sql).bind("", name, &values).execute("", 0);
        assert_eq!(
            rows(&raw.ask(&script.sync()).await),
            [(7 * values.len()).to_string()]
        );
    }
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_statement_whose_result_type_changed_can_be_prepared_anew() {
    const SQL: &str = "SELECT * FROM changing";
    let proxy = Proxy::with_slots(1).run().await;
    let mut raw = Raw::ready(&proxy).await;
    raw.query("CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)")
        .await;
    raw.ask(&s().parse("n", SQL).run_prepared("n", &[]).sync())
        .await;
    raw.query("ALTER TABLE changing ADD COLUMN b text").await;
    let refused = raw.ask(&s().run_prepared("n", &[]).sync()).await;
    let error = refused.iter().find(|answer| answer.tag == b'E');
    assert!(
        error.is_none_or(|error| error.sqlstate() == "0A000"),
        "{refused:?}"
    );
    // What asyncpg and psycopg do then: the same text under another name.
    let again = raw
        .ask(
            &s().close_statement("n")
                .parse("m", SQL)
                .run_prepared("m", &[])
                .sync(),
        )
        .await;
    assert_eq!(tags(&again), "312DCZ", "{again:?}");
    drop(raw);
    invariants(&proxy).await;
}

/// Not so yet: a statement that others prepared on the connection before the table changed is answered for by name, and its
/// Bind then fails once.
#[tokio::test]
#[ignore = "a table's change through the proxy does not yet outdate what other clients prepared"]
async fn a_client_that_prepares_for_the_first_time_never_meets_an_outdated_plan() {
    const SQL: &str = "SELECT * FROM changing";
    let proxy = Proxy::with_slots(1).run().await;
    let mut before = Raw::ready(&proxy).await;
    before
        .query("CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)")
        .await;
    before
        .ask(&s().parse("n", SQL).run_prepared("n", &[]).sync())
        .await;
    before.query("ALTER TABLE changing ADD COLUMN b text").await;
    let mut after = Raw::ready(&proxy).await;
    let answers = after
        .ask(&s().parse("n", SQL).run_prepared("n", &[]).sync())
        .await;
    assert_eq!(tags(&answers), "12DCZ", "{answers:?}");
    drop((before, after));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_drivers_statements_survive_a_change_of_server_connection() {
    let proxy = Proxy::with_slots(2).run().await;
    let mut one = connect(&proxy, "").await;
    let two = connect(&proxy, "").await;
    let twice = soon(one.prepare("SELECT 2 * $1::int, pg_backend_pid()"))
        .await
        .unwrap();
    let mut backends = std::collections::BTreeSet::new();
    for n in 0..20 {
        // Another client holds one of the two connections, now this one, now that.
        let holding = n % 2 == 0;
        if holding {
            soon(two.batch_execute("BEGIN; SELECT 1")).await.unwrap();
        }
        let transaction = soon(one.transaction()).await.unwrap();
        let row = soon(transaction.query_one(&twice, &[&n])).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 2 * n);
        backends.insert(row.get::<_, i32>(1));
        if holding {
            soon(two.batch_execute("COMMIT")).await.unwrap();
        }
        soon(transaction.commit()).await.unwrap();
    }
    assert_eq!(backends.len(), 2, "it stayed on one connection");
    drop((one, two, twice));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_the_pool_has_taken_is_prepared_without_a_slot() {
    let proxy = Proxy::with_slots(1).run().await;
    let prepare = |name: &str, sql: &str| Script::new().parse(name, sql).sync();
    let there = [("user", "postgres"), ("database", "postgres")];
    let (mut elsewhere, _) = Raw::login(&proxy, &there).await;
    let mut holder = Raw::ready(&proxy).await;
    holder.ask(&prepare("first", "SELECT $1 || '!'")).await;
    holder.query("BEGIN").await;
    // Its only server connection is taken, and the answer is known.
    let mut other = Raw::ready(&proxy).await;
    for name in ["a", "b"] {
        let answers = other.ask(&prepare(name, "SELECT $1 || '!'")).await;
        assert_eq!(tags(&answers), "1Z", "{name}");
    }
    let several = Script::new()
        .parse("c", "SELECT $1 || '!'")
        .parse("d", "SELECT $1 || '!'");
    assert_eq!(tags(&other.ask(&several.sync()).await), "11Z");
    // What nobody has prepared, or nobody of this database, waits; a name that is taken is not ours to refuse.
    elsewhere.say(&prepare("a", "SELECT $1 || '!'")).await;
    let mut third = Raw::ready(&proxy).await;
    third.say(&prepare("a", "SELECT $1 || '?'")).await;
    other.say(&prepare("a", "SELECT $1 || '!'")).await;
    eventually("those wait", || async {
        proxy.view().await.scheduler.waiting == 3
    })
    .await;
    holder.query("COMMIT").await;
    assert_eq!(tags(&elsewhere.until_ready().await), "1Z");
    assert_eq!(tags(&third.until_ready().await), "1Z");
    let refused = other.until_ready().await;
    assert_eq!(refused[0].sqlstate(), "42P05");
    for name in ["a", "b", "c", "d"] {
        let answers = other
            .ask(&Script::new().run_prepared(name, &["x"]).sync())
            .await;
        assert!(
            answers
                .iter()
                .any(|answer| answer.tag == b'D' && answer.value() == "x!")
        );
    }
    // All or none: one that is not known goes to a server, and so do those beside it, and a name that is given twice.
    let mixed = Script::new()
        .parse("e", "SELECT $1 || '!'")
        .parse("f", "SELECT $1 || '#'");
    assert_eq!(tags(&other.ask(&mixed.sync()).await), "11Z");
    let twice = Script::new()
        .parse("g", "SELECT $1 || '!'")
        .parse("g", "SELECT $1 || '!'");
    assert_eq!(tags(&other.ask(&twice.sync()).await), "1EZ");
    drop((holder, other, third, elsewhere));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_changed_since_it_was_prepared_is_an_error_of_its_first_use() {
    let proxy = Proxy::with_slots(1).run().await;
    let prepare = Script::new().parse("mine", "SELECT * FROM going").sync();
    let mut client = Raw::ready(&proxy).await;
    client.query("CREATE TABLE going (a int)").await;
    client.ask(&prepare).await;
    // Behind the proxy's back: what it sees dropped is prepared anew.
    let direct = proxy.pg().direct().await;
    soon(direct.batch_execute("DROP TABLE going"))
        .await
        .unwrap();
    let mut other = Raw::ready(&proxy).await;
    assert_eq!(tags(&other.ask(&prepare).await), "1Z");
    let answers = other
        .ask(&Script::new().run_prepared("mine", &[]).sync())
        .await;
    assert_eq!(answers[0].sqlstate(), "42P01");
    other.query("CREATE TABLE going (a int)").await;
    let answers = other
        .ask(&Script::new().run_prepared("mine", &[]).sync())
        .await;
    assert!(!tags(&answers).contains('E'), "{answers:?}");
    drop((client, other));
    invariants(&proxy).await;
}
