//! What a client may do to find, or to leave, something of another's on a connection that both use: by accident or on purpose.

use std::time::Duration;

use pglanes_tests::{
    Answer, Proxy, Raw, Script, connect, eventually, invariants, soon, tags, value,
};

use super::pair::{pair, refused_block};

fn state(answers: &[Answer]) -> String {
    let error = answers.iter().find(|answer| answer.tag == b'E');
    error.map(Answer::sqlstate).unwrap_or_default()
}

fn first_value(answers: &[Answer]) -> String {
    let row = answers.iter().find(|answer| answer.tag == b'D');
    row.unwrap_or_else(|| panic!("no row: {}", tags(answers)))
        .value()
}

fn bind_unnamed() -> Script {
    Script::new().bind("", "", &[]).execute("", 0).sync()
}

async fn done(proxy: Proxy, clients: [Raw; 2]) {
    drop(clients);
    invariants(&proxy).await;
}

const REUSE: &str = "lanes: { default: { reuse_plans: true } }";

#[tokio::test]
async fn nobody_binds_an_unnamed_statement_of_another() {
    for fragment in ["", REUSE] {
        let (proxy, mut one, mut other) = pair(fragment).await;
        let parse = Script::new().parse("", "SELECT 'one'").sync();
        one.ask(&parse).await;
        assert_eq!(state(&other.ask(&bind_unnamed()).await), "26000");
        one.ask(&parse).await;
        let describe = Script::new().describe_statement("").sync();
        assert_eq!(state(&other.ask(&describe).await), "26000");
        // It still is there for whom it belongs to.
        assert_eq!(first_value(&one.ask(&bind_unnamed()).await), "one");
        done(proxy, [one, other]).await;
    }
}

#[tokio::test]
async fn an_unnamed_statement_that_an_error_skipped_is_not_anothers() {
    for fragment in ["", REUSE] {
        let (proxy, mut one, mut other) = pair(fragment).await;
        for round in 0..3 {
            one.ask(&Script::new().parse("", "SELECT 'one'").sync())
                .await;
            let skipped = Script::new()
                .parse("wrong", "SELEC")
                .parse("", "SELECT 'other'")
                .sync();
            assert_eq!(state(&other.ask(&skipped).await), "42601");
            let bound = other.ask(&bind_unnamed()).await;
            assert_eq!(state(&bound), "26000", "{round} {}", tags(&bound));
            // Behind the Sync of the error the next one holds.
            let pipelined = Script::new()
                .parse("", "SELEC")
                .sync()
                .parse("", "SELECT 'behind'")
                .sync();
            other.say(&pipelined).await;
            other.until_ready().await;
            other.until_ready().await;
            assert_eq!(first_value(&other.ask(&bind_unnamed()).await), "behind");
            assert_eq!(first_value(&one.ask(&bind_unnamed()).await), "one");
        }
        done(proxy, [one, other]).await;
    }
}

#[tokio::test]
async fn closing_the_unnamed_statement_closes_nobody_elses() {
    let (proxy, mut one, mut other) = pair("").await;
    one.ask(&Script::new().parse("", "SELECT 'one'").sync())
        .await;
    other.ask(&Script::new().close_statement("").sync()).await;
    assert_eq!(first_value(&one.ask(&bind_unnamed()).await), "one");
    one.ask(&Script::new().close_statement("").sync()).await;
    assert_eq!(state(&one.ask(&bind_unnamed()).await), "26000");
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn a_deallocate_that_is_parsed_is_what_is_bound() {
    let (proxy, mut one, other) = pair("").await;
    one.ask(&Script::new().run("SELECT 'before'", &[]).sync())
        .await;
    one.ask(&Script::new().parse("mine", "SELECT 1").sync())
        .await;
    let answers = one
        .ask(&Script::new().run("DEALLOCATE mine", &[]).sync())
        .await;
    let complete = answers.iter().find(|answer| answer.tag == b'C');
    assert_eq!(complete.expect("an end").cstr(), "DEALLOCATE");
    let gone = one
        .ask(&Script::new().run_prepared("mine", &[]).sync())
        .await;
    assert_eq!(state(&gone), "26000");
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn what_is_bound_and_never_executed_undoes_nothing() {
    let (proxy, mut one, other) = pair("").await;
    let bind_only = |sql: &str| Script::new().parse("", sql).bind("", "", &[]).sync();
    one.query("LISTEN here").await;
    one.query("SELECT pg_advisory_lock(4712)").await;
    one.query("CREATE TEMP TABLE mine (a int)").await;
    one.query("SET work_mem = '3MB'").await;
    one.ask(&Script::new().parse("named", "SELECT 'named'").sync())
        .await;
    for sql in [
        "UNLISTEN *",
        "SELECT pg_advisory_unlock_all()",
        "DISCARD TEMP",
        "RESET ALL",
        "DISCARD ALL",
        "DEALLOCATE ALL",
    ] {
        one.ask(&bind_only(sql)).await;
        for reason in ["listen", "advisory_lock", "temporary_table"] {
            assert_eq!(proxy.pinned(reason), 1, "{sql} {reason}");
        }
    }
    assert_eq!(one.value("SHOW work_mem").await, "3MB");
    let named = one
        .ask(&Script::new().run_prepared("named", &[]).sync())
        .await;
    assert_eq!(first_value(&named), "named");
    // Executed, they do.
    for sql in [
        "UNLISTEN *",
        "SELECT pg_advisory_unlock_all()",
        "DISCARD TEMP",
    ] {
        one.ask(&Script::new().run(sql, &[]).sync()).await;
    }
    let reasons = ["listen", "advisory_lock", "temporary_table"];
    assert!(reasons.iter().all(|reason| proxy.pinned(reason) == 0));
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn a_reset_that_is_bound_and_not_executed_leaves_nothing_to_the_next() {
    let (proxy, mut one, mut other) = pair("").await;
    one.query("SET work_mem = '3MB'").await;
    for sql in ["RESET ALL", "DISCARD ALL"] {
        one.ask(&Script::new().parse("", sql).bind("", "", &[]).sync())
            .await;
        assert_ne!(other.value("SHOW work_mem").await, "3MB", "{sql}");
        assert_eq!(one.value("SHOW work_mem").await, "3MB", "{sql}");
    }
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn a_parameter_that_a_function_sets_follows_its_session_and_no_other() {
    let (proxy, mut one, mut other) = pair("").await;
    let function = "CREATE FUNCTION sets() RETURNS void LANGUAGE plpgsql AS \
        $$ BEGIN EXECUTE 'SET ' || 'TimeZone = ''Asia/Tokyo'''; END $$";
    assert_eq!(state(&one.query(function).await), "");
    let before = other.value("SHOW timezone").await;
    let said = one.query("SELECT sets()").await;
    assert!(said.iter().any(|answer| answer.tag == b'S'));
    for _ in 0..3 {
        assert_eq!(other.value("SHOW timezone").await, before);
        assert_eq!(one.value("SHOW timezone").await, "Asia/Tokyo");
    }
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn a_value_in_another_encoding_is_restored_as_it_is_and_leaks_to_nobody() {
    let (proxy, mut one, mut other) = pair("").await;
    one.query("SET client_encoding = 'LATIN1'").await;
    // One letter in LATIN1; as UTF-8 these two bytes are one letter too.
    for letters in [&b"\xe9"[..], b"\xc3\xa9"] {
        let text = [b"SET app.who = '", letters, b"'\0"].concat();
        let answers = one.ask(&Script::new().message(b'Q', &text)).await;
        assert_eq!(state(&answers), "");
        let leaked = "SELECT coalesce(current_setting('app.who', true), '')";
        // The one connection is the session's own now.
        eventually("it is pinned", || async {
            proxy.pinned("custom_setting") == 1
        })
        .await;
        let length = one.value("SELECT length(current_setting('app.who'))").await;
        assert_eq!(length, letters.len().to_string());
        one.query("DISCARD ALL").await;
        eventually("it is free", || async {
            proxy.pinned("custom_setting") == 0
        })
        .await;
        assert_eq!(other.value(leaked).await, "");
        one.query("SET client_encoding = 'LATIN1'").await;
    }
    // In UTF-8 a value follows its session, whatever the session before has left.
    other.query("SET app.who = 'h\u{e9}'").await;
    for _ in 0..3 {
        assert_eq!(one.value("SELECT 1").await, "1");
        let letters = "SELECT length(current_setting('app.who')) || current_setting('app.who')";
        assert_eq!(other.value(letters).await, "2h\u{e9}");
    }
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn a_function_called_by_its_number_keeps_its_lock_to_itself() {
    let (proxy, mut one, other) = pair("").await;
    let number = one
        .value("SELECT 'pg_catalog.pg_try_advisory_lock(bigint)'::regprocedure::oid")
        .await;
    let number: u32 = number.parse().unwrap();
    // Eight bytes of text are read as text: the call is made with the text of a number.
    let answers = one.ask(&Script::new().call(number, &["4713"])).await;
    assert_eq!(state(&answers), "");
    assert_eq!(proxy.pinned("function_call"), 1);
    drop(one);
    eventually("the lock is gone", || async {
        proxy.pinned("function_call") == 0
    })
    .await;
    let next = connect(&proxy, "").await;
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4713";
    // A backend that was left takes its moment to end.
    eventually("nobody holds it", || async {
        value(&next, held).await == "0"
    })
    .await;
    drop((next, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_lock_taken_by_a_statement_prepared_in_sql_pins() {
    let (proxy, mut one, other) = pair("").await;
    one.query("PREPARE locks AS SELECT pg_advisory_lock($1::int)")
        .await;
    one.query("SELECT pg_advisory_unlock_all()").await;
    eventually("the server has said that there is none", || async {
        proxy.pinned("advisory_lock") == 0
    })
    .await;
    one.query("EXECUTE locks(4714)").await;
    one.query("DEALLOCATE ALL").await;
    assert_eq!(proxy.pinned("advisory_lock"), 1);
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn an_altered_table_does_not_spoil_statements_of_those_who_come_later() {
    for fragment in ["", REUSE] {
        let proxy = Proxy::with(fragment).slots(3).run().await;
        let direct = proxy.pg().direct().await;
        soon(direct.batch_execute("CREATE TABLE grows (a int); INSERT INTO grows VALUES (1)"))
            .await
            .unwrap();
        // On every connection somebody has prepared it, named and unnamed.
        let mut early = Vec::new();
        for _ in 0..3 {
            let mut raw = Raw::ready(&proxy).await;
            raw.query("BEGIN").await;
            raw.ask(&Script::new().parse("all", "SELECT * FROM grows").sync())
                .await;
            for _ in 0..3 {
                raw.ask(&Script::new().run("SELECT * FROM grows", &[]).sync())
                    .await;
            }
            raw.ask(&Script::new().run_prepared("all", &[]).sync())
                .await;
            early.push(raw);
        }
        for raw in &mut early {
            raw.query("COMMIT").await;
        }
        let altering = connect(&proxy, "").await;
        soon(altering.batch_execute("ALTER TABLE grows ADD COLUMN b int DEFAULT 2"))
            .await
            .unwrap();
        let mut late = Vec::new();
        for _ in 0..3 {
            let mut raw = Raw::ready(&proxy).await;
            raw.query("BEGIN").await;
            let named = Script::new()
                .parse("all", "SELECT * FROM grows")
                .bind("", "all", &[])
                .execute("", 0)
                .sync();
            let answers = raw.ask(&named).await;
            assert_eq!(state(&answers), "", "{fragment}");
            let row = answers
                .iter()
                .find(|answer| answer.tag == b'D')
                .unwrap()
                .row();
            assert_eq!(row.len(), 2);
            let unnamed = raw
                .ask(&Script::new().run("SELECT * FROM grows", &[]).sync())
                .await;
            assert_eq!(state(&unnamed), "", "{fragment}");
            late.push(raw);
        }
        for raw in &mut late {
            raw.query("COMMIT").await;
        }
        // Who was told of one column is not given two: the server refuses the old plan.
        for raw in &mut early {
            let answers = raw
                .ask(&Script::new().run_prepared("all", &[]).sync())
                .await;
            assert_eq!(state(&answers), "0A000", "{fragment}");
        }
        drop((early, late, altering));
        invariants(&proxy).await;
    }
}

#[tokio::test]
async fn a_table_altered_behind_our_back_spoils_a_statement_once_and_not_once_a_connection() {
    let proxy = Proxy::with("").slots(3).run().await;
    let direct = proxy.pg().direct().await;
    soon(direct.batch_execute("CREATE TABLE grows (a int)"))
        .await
        .unwrap();
    let parse_and_run = || {
        Script::new()
            .parse("all", "SELECT * FROM grows")
            .bind("", "all", &[])
            .execute("", 0)
            .sync()
    };
    for altered in [false, true] {
        if altered {
            soon(direct.batch_execute("ALTER TABLE grows ADD COLUMN b int"))
                .await
                .unwrap();
        }
        let mut clients = Vec::new();
        let mut spoilt = 0;
        for _ in 0..3 {
            let mut raw = Raw::ready(&proxy).await;
            raw.query("BEGIN").await;
            spoilt += u32::from(state(&raw.ask(&parse_and_run()).await) == "0A000");
            clients.push(raw);
        }
        assert_eq!(spoilt, u32::from(altered));
        for raw in &mut clients {
            raw.query("ROLLBACK").await;
        }
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_begin_that_postgresql_refuses_is_refused_at_once_even_where_it_waits() {
    let (proxy, mut one, other) = pair("lanes: { default: { lazy_begin: true } }").await;
    for wrong in [
        "BEGIN NONSENSE",
        "BEGIN ISOLATION LEVEL NONE",
        "START TRANSACTION READ",
    ] {
        let answers = one.query(wrong).await;
        assert_eq!(state(&answers), "42601", "{wrong}");
        assert_eq!(answers.last().unwrap().body.as_ref(), b"I", "{wrong}");
    }
    one.query("BEGIN").await;
    let answers = one.query("COMMIT NONSENSE").await;
    assert_eq!(state(&answers), "42601");
    assert_eq!(answers.last().unwrap().body.as_ref(), b"E");
    one.query("ROLLBACK").await;
    assert_eq!(one.value("SELECT 1").await, "1");
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn a_limit_of_a_millisecond_is_its_sessions_alone() {
    let (proxy, mut one, other) = pair("").await;
    let client = connect(&proxy, "application_name=patient").await;
    for _ in 0..100 {
        one.query("SET statement_timeout = '1ms'").await;
        let answer = value(&client, "SELECT 'in time'");
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                // On a busy machine the millisecond is over before the server has said what is set: the session then keeps its
                // connection, and the end of its next transaction asks again.
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    one.query("SET statement_timeout = 0").await;
                }
            }
        };
        assert_eq!(answer, "in time");
    }
    drop(client);
    done(proxy, [one, other]).await;
}

#[tokio::test]
async fn a_block_whose_first_statement_was_refused_ends_by_either_protocol() {
    for prepared in [false, true] {
        let fragment = "lanes: { default: { lazy_begin: true } }";
        let (proxy, spare, mut other) = pair(fragment).await;
        let (mut one, welcome) = Raw::login(&proxy, &[]).await;
        one.ask(&Script::new().parse("back", "ROLLBACK").sync())
            .await;
        let refused = refused_block(&proxy, &mut other, (&mut one, &welcome)).await;
        assert_eq!(state(&refused), "57014");
        assert_eq!(refused.last().unwrap().body.as_ref(), b"E");
        let skipped = one.ask(&Script::new().run("SELECT 1", &[]).sync()).await;
        assert_eq!(state(&skipped), "25P02");
        other.query("COMMIT").await;
        let rollback = match prepared {
            true => Script::new().run_prepared("back", &[]).sync(),
            false => Script::new().run("ROLLBACK", &[]).sync(),
        };
        let ended = one.ask(&rollback).await;
        assert_eq!(state(&ended), "");
        assert_eq!(ended.last().unwrap().body.as_ref(), b"I");
        assert_eq!(one.value("SELECT 'fine'").await, "fine");
        drop(spare);
        done(proxy, [one, other]).await;
    }
}
