//! What the server sees of clients' names and lanes (`upstream.application_name`), and what clients see of it.

use pglanes_tests::{Answer, Builder, Proxy, Raw, connect, invariants, value};
use tokio_postgres::Client;

const LANES: &str = "lanes:
  evaluation: { match: [{ application_name: 'ragchecker*' }] }
  compaction: { match: [{ lane: ltst, statement: [DELETE] }] }
  ltst: { match: [{ application_name: 'ltst*' }] }
  default: {}";
const OWN: &str = "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// Each lane has one connection, so that sessions take turns on it.
fn proxy(mode: &str) -> Builder {
    let entry = format!("application_name: {mode}");
    Proxy::with(LANES).upstream(&entry)
}

/// What the server knows this session's transaction by.
async fn seen(client: &Client) -> String {
    value(client, OWN).await
}

/// What the client was last told of its name, if anything, by these answers.
fn told(answers: &[Answer]) -> Option<String> {
    let mut names = answers.iter().filter_map(|answer| match answer {
        Answer { tag: b'S', .. } => {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            let name = body.strip_prefix("application_name\0")?;
            Some(name.trim_end_matches('\0').to_owned())
        }
        _ => None,
    });
    names.next_back()
}

#[tokio::test]
async fn the_server_sees_the_clients_name_and_nothing_else_unless_asked_to() {
    let proxy = Proxy::with(LANES).run().await;
    for name in ["ragchecker", "ltst-search", "", "x [evaluation]"] {
        let client = connect(&proxy, &format!("application_name='{name}'")).await;
        assert_eq!(value(&client, "SHOW application_name").await, name);
        assert_eq!(seen(&client).await, name);
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_server_sees_the_lane_behind_the_name_where_that_is_asked_for() {
    let proxy = proxy("both").run().await;
    for (name, expected) in [
        ("ragchecker", "ragchecker [evaluation]"),
        ("ltst-search", "ltst-search [ltst]"),
        ("", "[default]"),
        ("psql", "psql [default]"),
    ] {
        let client = connect(&proxy, &format!("application_name='{name}'")).await;
        for _ in 0..2 {
            assert_eq!(seen(&client).await, expected);
        }
    }
    // The lane is the transaction's, not the session's.
    let client = connect(&proxy, "application_name=ltst").await;
    client
        .batch_execute("CREATE TABLE names (name text)")
        .await
        .unwrap();
    client
        .batch_execute(&format!("INSERT INTO names {OWN}"))
        .await
        .unwrap();
    let deleted = format!("DELETE FROM names RETURNING ({OWN})");
    assert_eq!(value(&client, &deleted).await, "ltst [compaction]");
    assert_eq!(seen(&client).await, "ltst [ltst]");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_client_is_told_its_own_name_whatever_the_server_sees() {
    let proxy = proxy("both").run().await;
    let (mut one, welcome) = Raw::login(&proxy, &[("application_name", "psql")]).await;
    assert_eq!(
        welcome.parameter("application_name").as_deref(),
        Some("psql")
    );
    let (mut other, _) = Raw::login(&proxy, &[("application_name", "other é")]).await;
    for _ in 0..2 {
        assert_eq!(told(&one.query("SELECT 1").await), None);
        assert_eq!(told(&other.query("SELECT 1").await), None);
    }
    let set = one.query("SET application_name = 'renamed'").await;
    assert_eq!(told(&set).as_deref(), Some("renamed"));
    assert_eq!(told(&one.query("SELECT 1").await), None);
    assert_eq!(one.value(OWN).await, "renamed [default]");
    // What a rollback takes back is told as what it was.
    one.query("BEGIN").await;
    let set = one.query("SET application_name = 'for a moment'").await;
    assert_eq!(told(&set).as_deref(), Some("for a moment"));
    let back = one.query("ROLLBACK").await;
    assert_eq!(told(&back).as_deref(), Some("renamed"));
    for reset in ["RESET application_name", "DISCARD ALL", "RESET ALL"] {
        one.query("SET application_name = 'once more'").await;
        let reset = one.query(reset).await;
        assert_eq!(told(&reset).as_deref(), Some("psql"));
        assert_eq!(one.value(OWN).await, "psql [default]");
    }
    assert_eq!(other.value(OWN).await, r"other \xc3\xa9 [default]");
    drop((one, other));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_pinned_session_that_resets_its_name_gets_it_back_with_the_lane() {
    let proxy = proxy("both").run().await;
    let (mut one, _) = Raw::login(&proxy, &[("application_name", "ragchecker")]).await;
    one.query("CREATE TEMP TABLE mine ()").await;
    assert_eq!(told(&one.query("RESET ALL").await), None);
    assert_eq!(told(&one.query("SELECT 1").await), None);
    assert_eq!(one.value(OWN).await, "ragchecker [evaluation]");
    drop(one);
    invariants(&proxy).await;
}

#[tokio::test]
async fn clients_without_a_name_show_as_their_lane_where_that_is_asked_for() {
    let proxy = proxy("lane").run().await;
    for (name, expected) in [("ragchecker", "ragchecker"), ("", "[default]")] {
        let client = connect(&proxy, &format!("application_name='{name}'")).await;
        assert_eq!(seen(&client).await, expected);
    }
    invariants(&proxy).await;
}
