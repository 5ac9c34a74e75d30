//! pgbench in its three modes, and with what its scripts can do besides, over more clients than server connections.

use std::process::Command;

use pglanes_tests::{Output, Proxy, Target, invariants, run, value};

use super::{Folder, LONGEST, command};

/// Transactions of each run: its clients times what each does.
const CLIENTS: usize = 8;
const EACH: usize = 150;

/// Runs it; `None`, which is said, where the server came without it.
async fn pgbench(proxy: &Proxy, arguments: &[&str]) -> Option<Output> {
    if !proxy.pg().server().pgbench_path().is_file() {
        eprintln!("SKIPPED: there is no pgbench beside the test bed's server");
        return None;
    }
    let mut program: Command = command(proxy, proxy, "pgbench", arguments);
    program.arg(proxy.database());
    let output = run(program, LONGEST).await;
    assert!(output.succeeded, "{arguments:?}: {output:?}");
    Some(output)
}

/// As [`pgbench`], for a run of all its clients: every transaction was done.
async fn runs(proxy: &Proxy, arguments: &[&str]) {
    let (clients, each) = (CLIENTS.to_string(), EACH.to_string());
    let mut all = vec!["-n", "-c", &clients, "-j", "2", "-t", &each];
    all.extend(arguments);
    if let Some(output) = pgbench(proxy, &all).await {
        let done = format!("actually processed: {0}/{0}", CLIENTS * EACH);
        assert!(output.stdout.contains(&done), "{arguments:?}: {output:?}");
        assert!(!output.stderr.contains("error"), "{output:?}");
    }
}

#[tokio::test]
async fn pgbench_runs_in_each_of_its_modes() {
    let proxy = Proxy::with_slots(3).run().await;
    let Some(_) = pgbench(&proxy, &["-i", "-q", "-s", "1", "--foreign-keys"]).await else {
        return invariants(&proxy).await;
    };
    let client = pglanes_tests::connect(&proxy, "").await;
    for (turn, mode) in ["simple", "extended", "prepared"].into_iter().enumerate() {
        runs(&proxy, &["-M", mode]).await;
        runs(&proxy, &["-S", "-M", mode]).await;
        // What was said to be done was done, once.
        let sql = "SELECT concat_ws(' ', count(*), (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta),
                   (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta)) FROM pgbench_history";
        let done = (turn + 1) * CLIENTS * EACH;
        assert_eq!(value(&client, sql).await, format!("{done} t t"), "{mode}");
    }
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn pgbench_connects_anew_for_each_transaction() {
    let proxy = Proxy::with_slots(3).run().await;
    let folder = Folder::new("pgbench-connects");
    let script = folder.path("script");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    for mode in ["simple", "prepared"] {
        runs(&proxy, &["-C", "-M", mode, "-f", &script]).await;
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn pgbench_runs_scripts_with_pipelines_and_variables() {
    let proxy = Proxy::with_slots(3).run().await;
    let folder = Folder::new("pgbench-scripts");
    let script = folder.path("script");
    // A pipeline is of the extended protocol, and several statements at once of the simple one.
    let pipelined = "\\set n random(1, 1000)
BEGIN;
SELECT :n AS drawn, :client_id AS me \\gset own_
SELECT 1 / (:own_drawn = :n AND :own_me = :client_id)::int AS is_mine;
END;
\\startpipeline
SELECT :n + 1;
BEGIN;
SELECT :client_id;
END;
\\endpipeline
";
    let several = "\\set n random(1, 1000)
SELECT :n AS first \\; SELECT :client_id AS second \\aset
SELECT 1 / (:first = :n AND :second = :client_id)::int AS is_mine;
";
    std::fs::write(&script, pipelined).unwrap();
    runs(&proxy, &["-M", "extended", "-f", &script]).await;
    // A thread for each client: pgbench prepares what stands behind the first transaction in a blocking call, and a thread
    // that waits there for a slot drives none of its other clients, which may hold them all.
    let threads = CLIENTS.to_string();
    runs(&proxy, &["-j", &threads, "-M", "prepared", "-f", &script]).await;
    std::fs::write(&script, several).unwrap();
    runs(&proxy, &["-f", &script]).await;
    invariants(&proxy).await;
}
