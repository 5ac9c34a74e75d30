//! What undoes session state, and what in the same text or batch undoes that again or makes new state.

use pglanes_tests::{Answer, Proxy, Raw, Script, eventually, invariants};

use super::pair::{pair, refused_block};

async fn free(proxy: &Proxy, reason: &str) {
    eventually("nobody is pinned", || async { proxy.pinned(reason) == 0 }).await;
}

fn states(answers: &[Answer]) -> String {
    let shown = answers.iter().filter_map(|answer| match answer.tag {
        b'E' => Some(answer.sqlstate()),
        b'C' => Some(answer.cstr()),
        b'Z' => Some(String::from_utf8_lossy(&answer.body).into_owned()),
        _ => None,
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_reset_that_is_rolled_back_in_the_same_text_leaks_nothing() {
    for extended in [false, true] {
        for back in ["ROLLBACK", "ABORT"] {
            let (proxy, mut one, mut other) = pair("").await;
            one.query("SET work_mem = '7MB'").await;
            match extended {
                true => {
                    let batch = Script::new().run("RESET ALL", &[]).run(back, &[]).sync();
                    one.ask(&batch).await;
                }
                false => {
                    one.query(&format!("RESET ALL; {back}")).await;
                }
            }
            assert_eq!(other.value("SHOW work_mem").await, "4MB", "{back}");
            assert_eq!(one.value("SHOW work_mem").await, "7MB", "{back}");
            drop((one, other));
            invariants(&proxy).await;
        }
    }
}

#[tokio::test]
async fn what_a_function_sets_behind_a_reset_leaks_nothing() {
    let (proxy, mut one, mut other) = pair("").await;
    one.query("CREATE FUNCTION zone() RETURNS text LANGUAGE sql AS $$SELECT set_config('TimeZone', 'Asia/Tokyo', false)$$")
        .await;
    let usual = other.value("SHOW TimeZone").await;
    let scripts = [
        Script::new().query("RESET ALL; SELECT zone()"),
        Script::new().query("RESET ALL").query("SELECT zone()"),
        Script::new()
            .query("RESET ALL")
            .run("SELECT zone()", &[])
            .sync(),
    ];
    for script in scripts {
        // The end of all of it is told by a Query of its own.
        one.say(&script.query("SELECT 'the end'")).await;
        loop {
            let answer = one.read().await;
            if answer.tag == b'D' && answer.value() == "the end" {
                break;
            }
        }
        one.until_ready().await;
        assert_eq!(other.value("SHOW TimeZone").await, usual);
        assert_eq!(one.value("SHOW TimeZone").await, "Asia/Tokyo");
    }
    drop((one, other));
    invariants(&proxy).await;
}

/// What makes the state, what undoes it, what shows it, and the reason for the pin.
const STATES: [[&str; 4]; 2] = [
    [
        "LISTEN here",
        "UNLISTEN *",
        "SELECT count(*) FROM pg_listening_channels()",
        "listen",
    ],
    [
        "CREATE TEMP TABLE mine (a int)",
        "DISCARD TEMP",
        "SELECT count(*) FROM pg_class WHERE oid = to_regclass('pg_temp.mine')",
        "temporary_table",
    ],
];

#[tokio::test]
async fn state_whose_end_is_rolled_back_in_the_same_text_stays_its_sessions() {
    for [make, unmake, probe, reason] in STATES {
        for extended in [false, true] {
            let proxy = Proxy::with_slots(2).run().await;
            let (mut one, mut other) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
            one.query(make).await;
            let answers = match extended {
                true => {
                    let batch = Script::new().run(unmake, &[]).run("ROLLBACK", &[]).sync();
                    one.ask(&batch).await
                }
                false => one.query(&format!("{unmake}; ROLLBACK")).await,
            };
            assert!(answers.iter().all(|answer| answer.tag != b'E'), "{unmake}");
            let has = one.value(probe).await;
            for _ in 0..4 {
                assert_eq!(other.value(probe).await, "0", "{unmake}");
                assert_eq!(one.value(probe).await, has, "{unmake}");
            }
            one.query(unmake).await;
            free(&proxy, reason).await;
            drop((one, other));
            invariants(&proxy).await;
        }
    }
}

#[tokio::test]
async fn what_pins_behind_a_discard_in_the_same_batch_still_pins() {
    let proxy = Proxy::with_slots(2).run().await;
    let (mut one, mut other) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
    one.query("CREATE SEQUENCE s").await;
    let drawn = "DISCARD SEQUENCES; SELECT nextval('s'), currval('s')";
    one.query(drawn).await;
    assert_eq!(proxy.pinned("sequence"), 1);
    one.query("DISCARD ALL").await;
    free(&proxy, "sequence").await;
    // Two queries that are sent at once: the second sets what nobody can name.
    let sets = "SELECT set_config('mine.' || 'own', 'kept', false)";
    one.say(&Script::new().query("DISCARD ALL").query(sets))
        .await;
    one.until_ready().await;
    one.until_ready().await;
    let probe = "SELECT coalesce(current_setting('mine.own', true), '')";
    for _ in 0..4 {
        assert_eq!(other.value(probe).await, "");
        assert_eq!(one.value(probe).await, "kept");
    }
    one.query("DISCARD ALL").await;
    free(&proxy, "custom_setting").await;
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_unnamed_statement_too_long_to_be_kept_is_bound_all_the_same() {
    let limit = "limits: { message_before_slot: 64kB }";
    let (proxy, mut one, mut other) = pair(limit).await;
    let long = |value: &str| {
        format!(
            "SELECT '{value}', 1 / $1::int /* {} */",
            "x".repeat(300_000)
        )
    };
    let run = |value: &str| Script::new().run(&long(value), &["1"]).sync();
    assert_eq!(states(&one.ask(&run("a")).await), "SELECT 1 I");
    // Bound again, and again behind an error.
    let again = |value: &str| {
        let bind = Script::new().bind("", "", &[value]);
        bind.execute("", 0).sync()
    };
    assert_eq!(states(&one.ask(&again("1")).await), "SELECT 1 I");
    assert_eq!(states(&one.ask(&again("0")).await), "22012 I");
    assert_eq!(states(&one.ask(&again("1")).await), "SELECT 1 I");
    // One that PostgreSQL refuses leaves none, and a short one takes its place.
    let wrong = Script::new().parse("", &format!("SELEC {}", long("b")));
    assert_eq!(states(&one.ask(&wrong.sync()).await), "42601 I");
    assert_eq!(states(&one.ask(&again("1")).await), "26000 I");
    let short = Script::new().run("SELECT 1 / $1::int", &["1"]).sync();
    assert_eq!(states(&one.ask(&short).await), "SELECT 1 I");
    one.query("DISCARD ALL").await;
    assert_eq!(other.value("SELECT 'free'").await, "free");
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_stands_behind_the_end_of_a_refused_block_is_done() {
    let (proxy, mut holder, mut reader) = pair("lanes: { default: { lazy_begin: true } }").await;
    holder.query("CREATE TABLE t (a text)").await;
    for (end, told) in [
        (
            "ROLLBACK; INSERT INTO t VALUES ('rolled back')",
            "ROLLBACK INSERT 0 1 I",
        ),
        (
            "COMMIT; INSERT INTO t VALUES ('committed')",
            "ROLLBACK INSERT 0 1 I",
        ),
        ("ROLLBACK AND CHAIN", "ROLLBACK T"),
        ("COMMIT AND CHAIN", "ROLLBACK T"),
        ("COMMIT", "ROLLBACK I"),
        ("ROLLBACK PREPARED 'x'", "25P02 E"),
        ("COMMIT NONSENSE", "42601 E"),
        ("ROLLBACK TO SAVEPOINT x", "25P02 E"),
    ] {
        let (mut one, welcome) = Raw::login(&proxy, &[]).await;
        let refused = refused_block(&proxy, &mut holder, (&mut one, &welcome)).await;
        assert_eq!(states(&refused), "57014 E");
        holder.query("COMMIT").await;
        assert_eq!(states(&one.query(end).await), told, "{end}");
        one.query("ROLLBACK").await;
    }
    let done = reader.value("SELECT string_agg(a, ', ' ORDER BY a) FROM t");
    assert_eq!(done.await, "committed, rolled back");
    drop((holder, reader));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_deallocate_of_what_can_no_longer_be_prepared_is_answered() {
    for extended in [false, true] {
        let proxy = Proxy::with_slots(2).run().await;
        let (mut one, mut other) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
        one.query("CREATE TABLE gone (a int)").await;
        other.query("BEGIN").await;
        one.ask(&Script::new().parse("n", "SELECT * FROM gone").sync())
            .await;
        // From now on it runs on the other connection, where that statement was never made.
        one.query("BEGIN; DROP TABLE gone; COMMIT").await;
        let mut third = Raw::ready(&proxy).await;
        let holds = one.value("SELECT pg_backend_pid()").await;
        third.query("BEGIN").await;
        other.query("COMMIT").await;
        assert_ne!(one.value("SELECT pg_backend_pid()").await, holds);
        let script = match extended {
            true => Script::new().run("DEALLOCATE n", &[]).sync(),
            false => Script::new().query("DEALLOCATE n"),
        };
        assert_eq!(states(&one.ask(&script).await), "DEALLOCATE I");
        let bind = Script::new().run_prepared("n", &[]).sync();
        assert_eq!(states(&one.ask(&bind).await), "26000 I");
        third.query("COMMIT").await;
        drop((one, other, third));
        invariants(&proxy).await;
    }
}

#[tokio::test]
async fn names_are_forgotten_in_the_order_in_which_it_is_said() {
    let (proxy, mut one, other) = pair("").await;
    let prepare = Script::new().parse("a", "SELECT 1").sync();
    let bind = Script::new().run_prepared("a", &[]).sync();
    for forget in ["DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE a"] {
        assert_eq!(states(&one.ask(&prepare).await), "I");
        // All at once: the error is of the batch before.
        let fails = Script::new().run("SELECT 1/0", &[]).sync();
        one.say(&fails.query(forget).raw(bind.bytes())).await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.extend(one.until_ready().await);
        }
        let forgot = forget.replace(" a", "");
        assert_eq!(states(&answers), format!("22012 I {forgot} I 26000 I"));
    }
    // What is skipped behind an error forgets nothing.
    assert_eq!(states(&one.ask(&prepare).await), "I");
    let skipped = Script::new()
        .run("BEGIN", &[])
        .run("SELECT 1/0", &[])
        .sync();
    let script = skipped.query("DEALLOCATE a").query("ROLLBACK");
    one.say(&script.raw(bind.bytes())).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.extend(one.until_ready().await);
    }
    assert_eq!(
        states(&answers),
        "BEGIN 22012 E 25P02 E ROLLBACK I SELECT 1 I"
    );
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_value_of_a_sequence_asked_for_behind_an_error_is_nobody_elses() {
    let (proxy, mut one, mut other) = pair("").await;
    other.query("CREATE SEQUENCE s; SELECT nextval('s')").await;
    // What is in the way of a wrong value is ignored with the rest of the batch.
    let batch = Script::new()
        .parse("", "SELEC")
        .run("SELECT currval('s')", &[]);
    assert_eq!(states(&one.ask(&batch.sync()).await), "42601 I");
    let again = Script::new().run("SELECT currval('s')", &[]).sync();
    assert_eq!(states(&one.ask(&again).await), "55000 I");
    one.query("DISCARD ALL").await;
    assert_eq!(other.value("SELECT 'free'").await, "free");
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_seems_to_undo_state_and_does_not_leaves_it_to_its_session() {
    let authorization = "SELECT session_user";
    let locks =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    for (make, seems, probe, seen) in [
        (
            "SET SESSION AUTHORIZATION pg_monitor",
            "RESET ROLE",
            authorization,
            "pg_monitor",
        ),
        (
            "SET SESSION AUTHORIZATION pg_monitor",
            "SET ROLE NONE",
            authorization,
            "pg_monitor",
        ),
        (
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_advisory_unlock_all() WHERE false",
            locks,
            "1",
        ),
        (
            "SELECT pg_advisory_lock(1)",
            "PREPARE p AS SELECT pg_advisory_unlock_all()",
            locks,
            "1",
        ),
    ] {
        let proxy = Proxy::with_slots(2).run().await;
        let (mut one, mut other) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
        let usual = other.value(probe).await;
        one.query(make).await;
        one.query(seems).await;
        for _ in 0..4 {
            assert_eq!(other.value(probe).await, usual, "{seems}");
            assert_eq!(one.value(probe).await, seen, "{seems}");
        }
        one.query("DISCARD ALL").await;
        for reason in ["role", "advisory_lock", "sql_prepare"] {
            free(&proxy, reason).await;
        }
        assert_eq!(one.value(probe).await, usual, "{seems}");
        drop((one, other));
        invariants(&proxy).await;
    }
}

#[tokio::test]
async fn a_name_given_behind_a_discard_that_fails_is_the_old_one() {
    let (proxy, mut one, other) = pair("").await;
    let old = Script::new().parse("a", "SELECT 'old'").sync();
    one.ask(&old).await;
    let script = Script::new().query("BEGIN").query("DISCARD ALL");
    let script = script.parse("a", "SELECT 'new'").sync().query("ROLLBACK");
    one.say(&script.run_prepared("a", &[]).sync()).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.extend(one.until_ready().await);
    }
    let told = states(&answers);
    assert_eq!(told, "BEGIN T 25001 E 25P02 E ROLLBACK I SELECT 1 I");
    let row = answers.iter().rfind(|answer| answer.tag == b'D');
    assert_eq!(row.unwrap().value(), "old");
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_discard_behind_the_end_of_a_block_frees_what_nobody_can_ask_for() {
    let (proxy, mut one, mut other) = pair("").await;
    let makes = "SELECT set_config('my.' || 'two', 'dynamic', false)";
    let ends = [
        Script::new().query("ROLLBACK").query("DISCARD ALL"),
        Script::new().query("COMMIT").query("DISCARD ALL"),
        Script::new()
            .run("ROLLBACK", &[])
            .sync()
            .run("DISCARD ALL", &[])
            .sync(),
        Script::new().run("COMMIT", &[]).sync().query("DISCARD ALL"),
    ];
    for end in ends {
        one.query("BEGIN").await;
        one.query(makes).await;
        assert_eq!(proxy.pinned("custom_setting"), 1);
        one.say(&end).await;
        one.until_ready().await;
        let discarded = one.until_ready().await;
        assert!(states(&discarded).starts_with("DISCARD ALL"));
        free(&proxy, "custom_setting").await;
        let two = "SELECT coalesce(current_setting('my.two', true), '')";
        assert_eq!(other.value(two).await, "");
    }
    // What is made behind it stays.
    one.query("BEGIN").await;
    let script = Script::new()
        .run("ROLLBACK", &[])
        .sync()
        .run("DISCARD ALL", &[])
        .sync()
        .query(makes);
    one.say(&script).await;
    for _ in 0..3 {
        one.until_ready().await;
    }
    assert_eq!(proxy.pinned("custom_setting"), 1);
    drop((one, other));
    invariants(&proxy).await;
}
