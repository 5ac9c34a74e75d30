//! Session state that cannot follow a session keeps it on its server connection, and goes with it.

use pglanes_tests::{Proxy, connect, eventually, invariants, soon, value};

use crate::swap::{Swap, backend};

/// How state is made, seen and undone, and under which reason the session is pinned meanwhile.
struct State {
    reason: &'static str,
    make: &'static str,
    probe: &'static str,
    seen: &'static str,
    unmake: &'static str,
}

const STATES: &[State] = &[
    State {
        reason: "listen",
        make: "LISTEN here",
        probe: "SELECT count(*) FROM pg_listening_channels()",
        seen: "1",
        unmake: "UNLISTEN *",
    },
    State {
        reason: "temporary_table",
        make: "CREATE TEMP TABLE mine AS SELECT 1 AS a",
        probe: "SELECT count(*) FROM pg_class WHERE oid = to_regclass('mine')",
        seen: "1",
        unmake: "DISCARD TEMP",
    },
    State {
        reason: "temporary_table",
        make: "SELECT 1 AS a INTO TEMPORARY mine",
        probe: "SELECT count(*) FROM pg_class WHERE oid = to_regclass('mine')",
        seen: "1",
        unmake: "DISCARD ALL",
    },
    State {
        reason: "hold_cursor",
        make: "DECLARE mine CURSOR WITH HOLD FOR SELECT generate_series(1, 9)",
        probe: "SELECT count(*) FROM pg_cursors WHERE name = 'mine'",
        seen: "1",
        unmake: "CLOSE ALL",
    },
    State {
        reason: "advisory_lock",
        make: "SELECT pg_advisory_lock(4711)",
        probe: "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid()",
        seen: "1",
        unmake: "SELECT pg_advisory_unlock_all()",
    },
    State {
        reason: "sql_prepare",
        make: "PREPARE mine AS SELECT 1",
        probe: "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'",
        seen: "1",
        unmake: "DEALLOCATE ALL",
    },
    State {
        reason: "role",
        make: "SET ROLE pg_monitor",
        probe: "SELECT current_user",
        seen: "pg_monitor",
        unmake: "RESET ROLE",
    },
    State {
        reason: "role",
        make: "SET SESSION AUTHORIZATION pg_monitor",
        probe: "SELECT session_user",
        seen: "pg_monitor",
        unmake: "RESET SESSION AUTHORIZATION",
    },
];

#[tokio::test]
async fn a_session_with_state_of_its_own_keeps_its_connection_until_it_is_undone() {
    for state in STATES {
        let swap = Swap::new().await;
        let client = connect(&swap.proxy, "").await;
        soon(client.batch_execute(state.make)).await.unwrap();
        assert_eq!(swap.proxy.pinned(state.reason), 1, "{}", state.make);
        let own = backend(&client).await;
        let other = connect(&swap.proxy, "").await;
        for _ in 0..4 {
            assert_ne!(backend(&other).await, own, "{}", state.make);
            assert_ne!(
                value(&other, state.probe).await,
                state.seen,
                "{}",
                state.make
            );
            assert_eq!(
                value(&client, state.probe).await,
                state.seen,
                "{}",
                state.make
            );
            assert_eq!(backend(&client).await, own, "{}", state.make);
        }
        soon(client.batch_execute(state.unmake)).await.unwrap();
        // The server may be asked first whether that was all.
        eventually(state.unmake, || async {
            swap.proxy.pinned(state.reason) == 0
        })
        .await;
        assert_eq!(
            swap.value_elsewhere(&client, &own, "SELECT 'handed on'")
                .await,
            "handed on"
        );
        drop((client, other));
        invariants(&swap.done()).await;
    }
}

#[tokio::test]
async fn what_a_session_leaves_behind_nobody_finds() {
    for state in STATES {
        let swap = Swap::new().await;
        let client = connect(&swap.proxy, "").await;
        soon(client.batch_execute(state.make)).await.unwrap();
        drop(client);
        eventually("the session is gone", || async {
            swap.proxy.pinned(state.reason) == 0
        })
        .await;
        let next = connect(&swap.proxy, "").await;
        let first = backend(&next).await;
        for found in [
            swap.value_on(&next, &first, state.probe).await,
            swap.value_elsewhere(&next, &first, state.probe).await,
        ] {
            assert_ne!(found, state.seen, "{}", state.make);
        }
        drop(next);
        invariants(&swap.done()).await;
    }
}

#[tokio::test]
async fn a_loaded_library_pins_to_the_end_of_the_session() {
    let swap = Swap::new().await;
    let client = connect(&swap.proxy, "").await;
    soon(client.batch_execute("LOAD 'vector'")).await.unwrap();
    assert_eq!(swap.proxy.pinned("load"), 1);
    soon(client.batch_execute("DISCARD ALL")).await.unwrap();
    assert_eq!(swap.proxy.pinned("load"), 1, "nothing unloads a library");
    drop(client);
    invariants(&swap.done()).await;
}

#[tokio::test]
async fn state_that_ends_with_its_transaction_pins_nobody() {
    let swap = Swap::new().await;
    let client = connect(&swap.proxy, "").await;
    for sql in [
        "BEGIN; CREATE TEMP TABLE mine (a int) ON COMMIT DROP; COMMIT",
        "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT 'LISTEN to me', $$CREATE TEMP TABLE x$$ -- PREPARE",
        "NOTIFY somebody",
    ] {
        soon(client.batch_execute(sql)).await.unwrap();
        let pid = backend(&client).await;
        assert_eq!(
            swap.value_elsewhere(&client, &pid, "SELECT 1").await,
            "1",
            "{sql}"
        );
    }
    drop(client);
    invariants(&swap.done()).await;
}

#[tokio::test]
async fn state_made_before_and_undone_in_one_text_is_as_if_it_had_not_been() {
    let swap = Swap::new().await;
    let client = connect(&swap.proxy, "").await;
    soon(client.batch_execute("LISTEN here")).await.unwrap();
    // What is made again behind the undoing still holds.
    soon(client.batch_execute("UNLISTEN *; LISTEN there"))
        .await
        .unwrap();
    assert_eq!(swap.proxy.pinned("listen"), 1);
    // A rollback brings back what was undone.
    soon(client.batch_execute("BEGIN; UNLISTEN *; ROLLBACK"))
        .await
        .unwrap();
    assert_eq!(swap.proxy.pinned("listen"), 1);
    let channel = value(
        &client,
        "SELECT string_agg(c, ',') FROM pg_listening_channels() c",
    )
    .await;
    assert_eq!(channel, "there");
    drop(client);
    invariants(&swap.done()).await;
}

#[tokio::test]
async fn a_listener_hears_what_others_say() {
    let swap = Swap::new().await;
    let mut listener = pglanes_tests::Raw::ready(&swap.proxy).await;
    listener.query("LISTEN here").await;
    let other = connect(&swap.proxy, "").await;
    soon(other.batch_execute("NOTIFY here, 'hello'"))
        .await
        .unwrap();
    let heard = listener.read().await;
    assert_eq!(heard.tag, b'A');
    assert!(heard.body.ends_with(b"here\0hello\0"), "{heard:?}");
    drop((listener, other));
    invariants(&swap.done()).await;
}

/// What does not pin: how it is made (the rest of a transaction may be left open), and a question whose answer must be the
/// same before and after, for somebody else.
const UNPINNED: &[(&str, &str)] = &[
    ("SET work_mem = '3MB'", "SHOW work_mem"),
    ("BEGIN; SET LOCAL work_mem = '3MB'", "SHOW work_mem"),
    ("SET search_path = pg_catalog, mine", "SHOW search_path"),
    ("SET client_encoding = 'LATIN1'", "SHOW client_encoding"),
    ("SET NAMES 'LATIN1'", "SHOW client_encoding"),
    ("SET TIME ZONE 'Asia/Tokyo'", "SHOW timezone"),
    ("SET datestyle = 'German'", "SHOW datestyle"),
    ("SET standard_conforming_strings = off", "SELECT 'a\\b'"),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SHOW transaction_read_only",
    ),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
    ),
    (
        "SELECT set_config('app.tenant', 'mine', false)",
        "SELECT coalesce(current_setting('app.tenant', true), '')",
    ),
    (
        "DO $$ BEGIN PERFORM set_config('app.tenant', 'mine', false); END $$",
        "SELECT coalesce(current_setting('app.tenant', true), '')",
    ),
    (
        "UPDATE pg_settings SET setting = '3072' WHERE name = 'work_mem'",
        "SHOW work_mem",
    ),
    ("SET statement_timeout = '777s'", "SHOW statement_timeout"),
    (
        "SET session_replication_role = replica",
        "SHOW session_replication_role",
    ),
    ("SET row_security = off", "SHOW row_security"),
    (
        "SET default_transaction_read_only = on",
        "SHOW default_transaction_read_only",
    ),
    (
        "BEGIN; SET TRANSACTION READ ONLY",
        "SHOW transaction_read_only",
    ),
    (
        "BEGIN; SELECT lo_open(lo_create(0), 131072)",
        "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'transactionid'",
    ),
    (
        "BEGIN; NOTIFY here",
        "SELECT count(*) FROM pg_listening_channels()",
    ),
    (
        "BEGIN; DECLARE mine CURSOR FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'mine'",
    ),
    (
        "BEGIN; CREATE TEMP TABLE mine (a int) ON COMMIT DROP",
        "SELECT count(*) FROM pg_class WHERE oid = to_regclass('mine')",
    ),
    (
        "BEGIN; SELECT pg_advisory_xact_lock(4716)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4716",
    ),
    ("BEGIN; SET LOCAL ROLE pg_monitor", "SELECT current_user"),
    (
        "SELECT set_config('role', 'pg_monitor', false)",
        "SELECT current_user",
    ),
];

#[tokio::test]
async fn what_is_set_or_left_open_nobody_finds() {
    let proxy = Proxy::with_slots(1).run().await;
    for (make, probe) in UNPINNED {
        let witness = connect(&proxy, "").await;
        let before = value(&witness, probe).await;
        let client = connect(&proxy, "").await;
        soon(client.batch_execute(make)).await.unwrap();
        // Between transactions somebody else works; in one, the session has to go first.
        if !make.starts_with("BEGIN") && proxy.view().await.servers.1 == 1 {
            assert_eq!(value(&witness, probe).await, before, "{make}");
        }
        drop(client);
        for _ in 0..2 {
            assert_eq!(value(&witness, probe).await, before, "{make}");
            let next = connect(&proxy, "").await;
            assert_eq!(value(&next, probe).await, before, "{make}");
        }
    }
    invariants(&proxy).await;
}

/// State, what undoes it by its name, inside transactions too, and how it is undone where nothing came of it.
const UNDONE: &[(&str, &str, &str)] = &[
    ("listen", "LISTEN here", "UNLISTEN here"),
    ("listen", "LISTEN here", "BEGIN; UNLISTEN *; COMMIT"),
    ("hold_cursor", CURSOR, "CLOSE mine"),
    ("hold_cursor", CURSOR, "BEGIN; CLOSE mine; COMMIT"),
    (
        "advisory_lock",
        "SELECT pg_advisory_lock(4711)",
        "SELECT pg_advisory_unlock(4711)",
    ),
    ("sql_prepare", "PREPARE mine AS SELECT 1", "DEALLOCATE mine"),
    (
        "temporary_table",
        "CREATE TEMP TABLE mine (a serial, b text)",
        "DROP TABLE mine",
    ),
    ("role", "SET ROLE pg_monitor", "BEGIN; RESET ROLE; COMMIT"),
];

const CURSOR: &str = "DECLARE mine CURSOR WITH HOLD FOR SELECT generate_series(1, 9)";

#[tokio::test]
async fn what_undoes_the_last_of_a_sessions_state_unpins_it() {
    for (reason, make, unmake) in UNDONE {
        let swap = Swap::new().await;
        let client = connect(&swap.proxy, "").await;
        for _ in 0..3 {
            soon(client.batch_execute(make)).await.unwrap();
            assert_eq!(swap.proxy.pinned(reason), 1, "{make}");
            let own = backend(&client).await;
            soon(client.batch_execute(unmake)).await.unwrap();
            // The server is asked behind the answer to that.
            eventually(unmake, || async { swap.proxy.pinned(reason) == 0 }).await;
            let elsewhere = swap.value_elsewhere(&client, &own, "SELECT 'handed on'");
            assert_eq!(elsewhere.await, "handed on");
        }
        drop(client);
        invariants(&swap.done()).await;
    }
}

#[tokio::test]
async fn a_session_that_keeps_some_of_its_state_keeps_its_connection() {
    for (reason, make, unmake) in [
        ("listen", "LISTEN a; LISTEN b", "UNLISTEN a"),
        (
            "hold_cursor",
            "DECLARE a CURSOR WITH HOLD FOR SELECT 1; DECLARE b CURSOR WITH HOLD FOR SELECT 1",
            "CLOSE a",
        ),
        (
            "advisory_lock",
            "SELECT pg_advisory_lock(4711), pg_advisory_lock(4711)",
            "SELECT pg_advisory_unlock(4711)",
        ),
        (
            "temporary_table",
            "CREATE TEMP TABLE a (); CREATE TEMP TABLE b ()",
            "DROP TABLE a",
        ),
        (
            "temporary_table",
            "CREATE TEMP TABLE a ()",
            "BEGIN; DROP TABLE a; ROLLBACK",
        ),
    ] {
        let swap = Swap::new().await;
        let client = connect(&swap.proxy, "").await;
        soon(client.batch_execute(make)).await.unwrap();
        let own = backend(&client).await;
        soon(client.batch_execute(unmake)).await.unwrap();
        // The look, asked behind the answer to that, comes before the answers to these.
        for _ in 0..4 {
            assert_eq!(backend(&client).await, own, "{unmake}");
        }
        assert_eq!(swap.proxy.pinned(reason), 1, "{unmake}");
        drop(client);
        invariants(&swap.done()).await;
    }
}

#[tokio::test]
async fn state_that_did_not_come_to_be_does_not_pin() {
    for (reason, attempt) in [
        ("temporary_table", "CREATE TEMP TABLE mine (a nonsense)"),
        (
            "temporary_table",
            "BEGIN; CREATE TEMP TABLE mine (); ROLLBACK",
        ),
        (
            "hold_cursor",
            "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; ROLLBACK",
        ),
        ("listen", "BEGIN; LISTEN here; ROLLBACK"),
        ("role", "SET ROLE nobody_of_that_name"),
    ] {
        let swap = Swap::new().await;
        let client = connect(&swap.proxy, "").await;
        // Some fail, as they should.
        let _ = soon(client.batch_execute(attempt)).await;
        eventually(attempt, || async { swap.proxy.pinned(reason) == 0 }).await;
        let own = backend(&client).await;
        let elsewhere = swap.value_elsewhere(&client, &own, "SELECT 'handed on'");
        assert_eq!(elsewhere.await, "handed on");
        drop(client);
        invariants(&swap.done()).await;
    }
}
