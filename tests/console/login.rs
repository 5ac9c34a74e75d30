//! Who comes in, and as what.

use pglanes_tests::{Proxy, connect, invariants, psql, try_connect};

use super::{LISTED, TOKEN, admin, refusal, rows, stats, with_console};

#[tokio::test]
async fn psql_reads_the_console_under_both_names() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    for database in ["pglanes", "pgbouncer"] {
        let output = psql(&proxy, "me", &["-d", database, "-c", "SHOW VERSION"]).await;
        assert!(output.succeeded, "{output:?}");
        assert!(output.stdout.starts_with("PgBouncer 1."), "{output:?}");
    }
    let help = psql(&proxy, "me", &["-d", "pglanes", "-c", "SHOW HELP"]).await;
    assert!(help.stderr.contains("KILL_CLIENT"), "{help:?}");
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_token_opens_the_console_and_nothing_else_does() {
    let (proxy, _asked) = with_console(Proxy::with("")).await;
    let wrong = try_connect(&proxy, "user=pglanes password=another dbname=pglanes").await;
    assert_eq!(refusal(wrong), "28P01");
    let unlisted = try_connect(&proxy, "dbname=pglanes").await;
    assert_eq!(refusal(unlisted), "42501");
    let admin = admin(&proxy).await;
    assert_eq!(rows(&admin, "SHOW STATE").await.len(), 3);
    // The token is of no use at PostgreSQL, where no such role is.
    let parameters = format!("user=pglanes password={TOKEN}");
    assert_eq!(refusal(try_connect(&proxy, &parameters).await), "28000");
    invariants(&proxy).await;
}

#[tokio::test]
async fn who_is_only_taken_at_their_word_may_look_and_who_proves_it_may_change_things() {
    let fragment = "auth: { method: scram-sha-256 }
users: { postgres: { password: { env: SECRET } }, viewer: { password: { env: SECRET } } }
admin: { users: [postgres], stats_users: [viewer] }";
    let builder = Proxy::with(fragment).secret("SECRET", "pencil");
    let (proven, _asked) = with_console(builder).await;
    let client = connect(&proven, "password=pencil dbname=pglanes").await;
    client.batch_execute("PAUSE; RESUME").await.unwrap();
    let viewer = connect(&proven, "user=viewer password=pencil dbname=pglanes").await;
    assert_eq!(refusal(viewer.batch_execute("PAUSE").await), "42501");
    invariants(&proven).await;

    let (trusting, _asked) = with_console(Proxy::with(LISTED)).await;
    let client = stats(&trusting).await;
    let refused = client.batch_execute("PAUSE").await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "42501");
    assert!(refused.message().contains("trust"), "{refused:?}");
    invariants(&trusting).await;
}

#[tokio::test]
async fn a_message_that_no_command_needs_ends_its_client_alone() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let (greedy, other) = (stats(&proxy).await, stats(&proxy).await);
    let long = format!("SHOW {}", "x".repeat(100_000));
    assert!(greedy.batch_execute(&long).await.is_err());
    assert!(greedy.batch_execute("SHOW STATE").await.is_err());
    other.batch_execute("SHOW STATE").await.unwrap();
    invariants(&proxy).await;
}
