//! What a session sets it finds in its next transaction, on whichever server connection, and nobody else ever does.

use pglanes_tests::{Proxy, Raw, connect, eventually, invariants, soon, try_connect, value};

use crate::swap::{Swap, backend};

/// What a session does, one message after the other, and what is asked then.
struct Case {
    parameters: &'static str,
    does: &'static [&'static str],
    probe: &'static str,
}

const fn case(does: &'static [&'static str], probe: &'static str) -> Case {
    Case {
        parameters: "",
        does,
        probe,
    }
}

const WORK_MEM: &str = "SHOW work_mem";
const CUSTOM: &str = "SELECT coalesce(current_setting('a.b', true), '')";

const CASES: &[Case] = &[
    case(&["SET work_mem = '3MB'"], WORK_MEM),
    case(&["SET SESSION work_mem TO '3MB'"], WORK_MEM),
    case(&["SET work_mem = '3MB'", "SET work_mem = '5MB'"], WORK_MEM),
    case(
        &["SET work_mem = '3MB'; SET statement_timeout = '7s'"],
        "SELECT current_setting('work_mem') || current_setting('statement_timeout')",
    ),
    case(&["SET work_mem = '3MB'", "RESET work_mem"], WORK_MEM),
    case(
        &["SET work_mem = '3MB'", "SET work_mem TO DEFAULT"],
        WORK_MEM,
    ),
    case(&["SET work_mem = '3MB'", "RESET ALL"], WORK_MEM),
    case(&["SET work_mem = '3MB'", "DISCARD ALL"], WORK_MEM),
    case(&["SELECT set_config('work_mem', '3MB', false)"], WORK_MEM),
    case(&["SELECT set_config('work_mem', '3MB', true)"], WORK_MEM),
    case(
        &["SELECT set_config('work' || '_mem', '3MB', false)"],
        WORK_MEM,
    ),
    case(
        &["UPDATE pg_settings SET setting = '3MB' WHERE name = 'work_mem'"],
        WORK_MEM,
    ),
    case(&["BEGIN", "SET work_mem = '3MB'", "COMMIT"], WORK_MEM),
    case(&["BEGIN", "SET work_mem = '3MB'", "ROLLBACK"], WORK_MEM),
    case(
        &[
            "SET work_mem = '5MB'",
            "BEGIN; SET work_mem = '3MB'; ROLLBACK",
        ],
        WORK_MEM,
    ),
    case(&["BEGIN", "SET LOCAL work_mem = '3MB'", "COMMIT"], WORK_MEM),
    case(
        &["BEGIN; SET work_mem = '3MB'; SAVEPOINT s; SET work_mem = '5MB'; ROLLBACK TO s; COMMIT"],
        WORK_MEM,
    ),
    case(
        &["BEGIN; SAVEPOINT s; SET work_mem = '5MB'; RELEASE s; COMMIT"],
        WORK_MEM,
    ),
    case(
        &["SET work_mem = '3MB'", "BEGIN; RESET ALL; ROLLBACK"],
        WORK_MEM,
    ),
    case(&["/* SET */ -- a comment\n SET work_mem = '3MB'"], WORK_MEM),
    case(&["DO $$ BEGIN SET work_mem = '3MB'; END $$"], WORK_MEM),
    case(
        &["DO $$ BEGIN PERFORM set_config('work_mem', '3MB', false); END $$"],
        WORK_MEM,
    ),
    case(&["SET a.b = 'mine'"], CUSTOM),
    case(&["SET a.b = 'it''s \\ \"mine\"'"], CUSTOM),
    case(&["SET a.b = ''"], CUSTOM),
    case(&["SELECT set_config('a.b', 'mine', false)"], CUSTOM),
    case(&["SET a.b = 'mine'", "RESET a.b"], CUSTOM),
    case(&["BEGIN", "SET a.b = 'mine'", "ROLLBACK"], CUSTOM),
    case(
        &["SET search_path = one, \"Two 2\", 'three''s'"],
        "SHOW search_path",
    ),
    case(&["SET search_path = ''"], "SHOW search_path"),
    case(&["SET search_path TO \"$user\""], "SHOW search_path"),
    case(&["SET TIME ZONE 'Asia/Tokyo'"], "SHOW timezone"),
    case(
        &["SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE"],
        "SELECT extract(timezone FROM now())",
    ),
    case(&["SET TIME ZONE LOCAL"], "SHOW timezone"),
    case(
        &["SET datestyle = 'German, DMY'"],
        "SELECT '2026-03-04'::date::text",
    ),
    case(
        &["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"],
        "SHOW transaction_read_only",
    ),
    case(
        &["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
        "SHOW transaction_isolation",
    ),
    case(&["SET seed = 0.5"], "SELECT 1"),
    case(
        &["SET application_name = 'renamed'"],
        "SHOW application_name",
    ),
    case(
        &["SET application_name = 'renamed'", "RESET application_name"],
        "SHOW application_name",
    ),
    case(
        &["SET application_name = 'renamed'", "DISCARD ALL"],
        "SHOW application_name",
    ),
    case(
        &["SET ROLE pg_monitor", "RESET ROLE"],
        "SELECT current_user",
    ),
    Case {
        parameters: "application_name=mine options='-c work_mem=9MB'",
        does: &[],
        probe: "SELECT current_setting('work_mem') || current_setting('application_name')",
    },
    Case {
        parameters: "options='-c work_mem=9MB'",
        does: &["SET work_mem = '3MB'"],
        probe: WORK_MEM,
    },
    Case {
        parameters: "options='-c work_mem=9MB'",
        does: &["SET work_mem = '3MB'", "RESET work_mem"],
        probe: WORK_MEM,
    },
    Case {
        parameters: "options='-c work_mem=9MB'",
        does: &["SET work_mem = '3MB'", "RESET ALL"],
        probe: WORK_MEM,
    },
    Case {
        parameters: "options='-c work_mem=9MB'",
        does: &["SET work_mem = '3MB'", "DISCARD ALL"],
        probe: WORK_MEM,
    },
    Case {
        parameters: "application_name=mine",
        does: &["SET application_name = 'other'", "RESET application_name"],
        probe: "SHOW application_name",
    },
    Case {
        parameters: "application_name=mine",
        does: &["DISCARD ALL"],
        probe: "SHOW application_name",
    },
    Case {
        parameters: "options='-c a.b=given'",
        does: &["SET a.b = 'mine'", "RESET a.b"],
        probe: CUSTOM,
    },
];

#[tokio::test]
async fn what_a_session_sets_follows_it_and_no_other_session_sees_it() {
    let mut problems = Vec::new();
    for case in CASES {
        if let Err(problem) = check(case).await {
            problems.push(format!("{} {:?}: {problem}", case.parameters, case.does));
        }
    }
    assert!(
        problems.is_empty(),
        "{} cases:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

async fn check(case: &Case) -> Result<(), String> {
    let swap = Swap::new().await;
    let (wanted, untouched) = {
        let direct = connect(swap.proxy.pg(), case.parameters).await;
        let fresh = connect(swap.proxy.pg(), "").await;
        for sql in case.does {
            soon(direct.batch_execute(sql)).await.unwrap();
        }
        (
            value(&direct, case.probe).await,
            value(&fresh, case.probe).await,
        )
    };
    let client = connect(&swap.proxy, case.parameters).await;
    for sql in case.does {
        soon(client.batch_execute(sql))
            .await
            .map_err(|error| format!("{sql}: {error:?}"))?;
    }
    let mut found = vec![("at once", value(&client, case.probe).await, &wanted)];
    let startup_is_its_own = !case.parameters.contains("options");
    if startup_is_its_own {
        let first = backend(&client).await;
        let pinned = swap.proxy.pinned("role") + swap.proxy.pinned("custom_setting") > 0;
        if !pinned {
            found.push((
                "elsewhere",
                swap.value_elsewhere(&client, &first, case.probe).await,
                &wanted,
            ));
            let other = connect(&swap.proxy, "").await;
            found.push((
                "another session",
                swap.value_on(&other, &first, case.probe).await,
                &untouched,
            ));
            found.push((
                "back",
                swap.value_on(&client, &first, case.probe).await,
                &wanted,
            ));
        }
    }
    drop(client);
    let after = connect(&swap.proxy, "").await;
    for _ in 0..2 {
        found.push((
            "a session after it",
            value(&after, case.probe).await,
            &untouched,
        ));
    }
    drop(after);
    invariants(&swap.done()).await;
    let wrong = found
        .into_iter()
        .find(|(_, found, wanted)| found != *wanted);
    match wrong {
        Some((when, found, wanted)) => Err(format!("{when} {found:?} and not {wanted:?}")),
        None => Ok(()),
    }
}

#[tokio::test]
async fn an_encoding_of_its_own_stays_with_a_session() {
    let swap = Swap::new().await;
    let mut latin = Raw::ready(&swap.proxy).await;
    let other = connect(&swap.proxy, "").await;
    let status = latin.query("SET client_encoding = 'LATIN1'").await;
    assert!(status.iter().any(|answer| answer.tag == b'S'));
    for _ in 0..6 {
        let answers = latin.query("SELECT chr(228)").await;
        assert_eq!(&answers[1].body[6..], b"\xe4");
        assert_eq!(value(&other, "SELECT chr(228)").await, "ä");
    }
    drop((latin, other));
    invariants(&swap.done()).await;
}

#[tokio::test]
async fn a_setting_that_the_next_connection_refuses_is_an_error_and_no_more() {
    let swap = Swap::new().await;
    let client = connect(&swap.proxy, "").await;
    assert!(
        soon(client.batch_execute("SET work_mem = 'many'"))
            .await
            .is_err()
    );
    assert_eq!(value(&client, WORK_MEM).await, "4MB");
    assert!(
        try_connect(&swap.proxy, "options='-c work_mem=many'")
            .await
            .is_err()
    );
    drop(client);
    invariants(&swap.done()).await;
}

#[tokio::test]
async fn set_transaction_outside_a_block_harms_nobody() {
    for said in [
        "SET TRANSACTION READ ONLY",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, DEFERRABLE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ] {
        let proxy = Proxy::with_slots(1).run().await;
        let (one, other) = (connect(&proxy, "").await, connect(&proxy, "").await);
        soon(one.batch_execute(said)).await.unwrap();
        soon(one.batch_execute("SET work_mem = '3MB'"))
            .await
            .unwrap();
        // They take turns on the one connection.
        for _ in 0..2 {
            assert_eq!(value(&other, WORK_MEM).await, "4MB", "{said}");
            soon(other.batch_execute("CREATE TEMP TABLE t (); DROP TABLE t"))
                .await
                .unwrap();
            assert_eq!(value(&one, WORK_MEM).await, "3MB", "{said}");
        }
        drop((one, other));
        invariants(&proxy).await;
    }
}

#[tokio::test]
async fn a_connection_on_which_settings_cannot_be_made_is_not_handed_on() {
    let swap = Swap::new().await;
    let (one, other) = (
        connect(&swap.proxy, "").await,
        connect(&swap.proxy, "").await,
    );
    // Once a connection has had temporary tables its temp_buffers stay as they are.
    let temporary = "CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1)";
    soon(one.batch_execute(temporary)).await.unwrap();
    let used = backend(&one).await;
    soon(other.batch_execute("SET temp_buffers = '16MB'"))
        .await
        .unwrap();
    assert_ne!(backend(&other).await, used);
    soon(one.batch_execute("DROP TABLE t")).await.unwrap();
    eventually("it is free", || async {
        swap.proxy.pinned("temporary_table") == 0
    })
    .await;
    // All but that one are held, so that the other session gets it: it is refused there, and after that nobody is.
    let third = connect(&swap.proxy, "").await;
    for holder in [&one, &third] {
        soon(holder.batch_execute("BEGIN")).await.unwrap();
    }
    let free = if backend(&one).await == used {
        &one
    } else {
        &third
    };
    soon(free.batch_execute("COMMIT")).await.unwrap();
    let refused = soon(other.batch_execute("SELECT 1")).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("22023"));
    for _ in 0..3 {
        assert_eq!(value(&other, "SHOW temp_buffers").await, "16MB");
        assert_eq!(value(free, "SHOW temp_buffers").await, "8MB");
    }
    drop(third);
    drop((one, other));
    invariants(&swap.done()).await;
}

#[tokio::test]
async fn what_a_role_starts_with_is_what_it_was_altered_to() {
    let proxy = Proxy::with("").slots(3).run().await;
    let admin = connect(&proxy, "").await;
    let role = format!("starts_{}", proxy.pg().database());
    soon(admin.batch_execute(&format!("CREATE ROLE {role} LOGIN")))
        .await
        .unwrap();
    let as_role = format!("user={role}");
    let early = connect(&proxy, &as_role).await;
    assert_ne!(value(&early, "SHOW work_mem").await, "7MB");
    // One of its connections is in use meanwhile, others are idle.
    soon(early.batch_execute("BEGIN; SELECT 1")).await.unwrap();
    drop(connect(&proxy, &as_role).await);
    let alter = format!(
        "ALTER ROLE {role} SET work_mem = '7MB'; ALTER ROLE {role} SET timezone = 'Asia/Tokyo'"
    );
    soon(admin.batch_execute(&alter)).await.unwrap();
    soon(early.batch_execute("COMMIT")).await.unwrap();
    for _ in 0..3 {
        let user = [("user", role.as_str()), ("database", proxy.pg().database())];
        let mut late = proxy.raw().await;
        late.send(&pglanes_tests::startup_packet(&user)).await;
        let told = late.welcome().await;
        assert_eq!(told.parameter("TimeZone").as_deref(), Some("Asia/Tokyo"));
        assert_eq!(late.value("SHOW work_mem").await, "7MB");
        assert_eq!(late.value("SHOW timezone").await, "Asia/Tokyo");
    }
    drop((early, admin));
    invariants(&proxy).await;
    let direct = proxy.pg().direct().await;
    drop(proxy);
    eventually("the role is free", || async {
        direct
            .batch_execute(&format!("DROP ROLE {role}"))
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_limit_on_idle_sessions_ends_no_connection_in_the_pool() {
    let proxy = Proxy::with("").slots(1).run().await;
    let (mut one, mut other) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
    let direct = proxy.pg().direct().await;
    let backend = other.value("SELECT pg_backend_pid()").await;
    one.query("SET idle_session_timeout = '3s'").await;
    assert_eq!(one.value("SHOW idle_session_timeout").await, "3s");
    // It idles for longer than that, if PostgreSQL lets it.
    let idle = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {backend} AND now() - state_change < '3500ms'"
    );
    eventually("it has idled", || async {
        value(&direct, &idle).await == "0"
    })
    .await;
    assert_eq!(other.value("SHOW idle_session_timeout").await, "0");
    assert_eq!(other.value("SELECT pg_backend_pid()").await, backend);
    assert_eq!(one.value("SHOW idle_session_timeout").await, "3s");
    drop((one, other));
    invariants(&proxy).await;
}
