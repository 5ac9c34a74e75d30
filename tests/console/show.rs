//! What it shows, and in which columns.

use pglanes_admin::Operation;
use pglanes_admin::report::{History, Report};
use pglanes_tests::{Proxy, connect, invariants, value};

use super::{LISTED, of, refusal, rows, rows_where, stats, with_console};

/// PgBouncer 1.25's columns, in its order.
const OF_PGBOUNCER: [(&str, &str); 9] = [
    (
        "POOLS",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts",
    ),
    (
        "DATABASES",
        "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode load_balance_hosts max_connections current_connections max_client_connections current_client_connections paused disabled",
    ),
    (
        "CLIENTS",
        "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id",
    ),
    (
        "SERVERS",
        "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id",
    ),
    ("LISTS", "list items"),
    ("CONFIG", "key value default changeable"),
    (
        "USERS",
        "name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections current_client_connections",
    ),
    (
        "STATS",
        "database total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count",
    ),
    (
        "STATS_TOTALS",
        "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time client_parse_count server_parse_count bind_count",
    ),
];

#[tokio::test]
async fn shows_have_pgbouncers_columns_first_and_in_its_order() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let client = stats(&proxy).await;
    for (show, expected) in OF_PGBOUNCER {
        let statement = client.prepare(&format!("SHOW {show}")).await.unwrap();
        let names: Vec<&str> = statement
            .columns()
            .iter()
            .map(|column| column.name())
            .collect();
        let expected: Vec<&str> = expected.split(' ').collect();
        assert_eq!(names[..expected.len()], expected, "{show}");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_community_exporter_finds_what_it_reads() {
    let (proxy, _asked) = with_console(Proxy::with(LISTED)).await;
    let working = connect(&proxy, "application_name=working").await;
    assert_eq!(value(&working, "SELECT 1").await, "1");
    let client = stats(&proxy).await;
    let database = working_database(&proxy);
    let number = |row: &[(String, String)], name: &str| -> u64 {
        let text = of(row, name);
        text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}"))
    };
    let totals = rows_where(&client, "SHOW STATS_TOTALS", "database", &database).await;
    for name in ["bytes_received", "bytes_sent", "query_count", "xact_count"] {
        assert!(number(&totals[0], name) > 0, "{name}");
    }
    for name in [
        "query_time",
        "xact_time",
        "wait_time",
        "server_assignment_count",
    ] {
        number(&totals[0], name);
    }
    let stats = rows_where(&client, "SHOW STATS", "database", &database).await;
    assert!(number(&stats[0], "total_xact_count") > 0);
    let pools = rows_where(&client, "SHOW POOLS", "database", &database).await;
    assert_eq!(of(&pools[0], "user"), "postgres");
    for name in [
        "cl_active",
        "cl_waiting",
        "sv_active",
        "sv_idle",
        "sv_login",
        "maxwait",
    ] {
        number(&pools[0], name);
    }
    let databases = rows_where(&client, "SHOW DATABASES", "name", &database).await;
    for name in [
        "pool_size",
        "reserve_pool",
        "current_connections",
        "max_connections",
        "paused",
        "disabled",
    ] {
        number(&databases[0], name);
    }
    for list in [
        "databases",
        "users",
        "pools",
        "free_clients",
        "used_clients",
        "free_servers",
    ] {
        let found = rows_where(&client, "SHOW LISTS", "list", list).await;
        number(&found[0], "items");
    }
    for key in ["max_client_conn", "max_user_connections"] {
        let found = rows_where(&client, "SHOW CONFIG", "key", key).await;
        number(&found[0], "value");
    }
    assert!(of(&rows(&client, "SHOW VERSION").await[0], "version").starts_with("PgBouncer"));
    drop(working);
    invariants(&proxy).await;
}

fn working_database(proxy: &Proxy) -> String {
    use pglanes_tests::Target;
    proxy.database().to_owned()
}

#[tokio::test]
async fn lanes_and_clients_are_shown_as_they_are() {
    let fragment = format!(
        "lanes: {{ work: {{ match: [{{ application_name: work }}], slots: {{ max: 4 }} }}, default: {{ slots: {{ max: 4 }} }} }}\n{LISTED}"
    );
    let (proxy, _asked) = with_console(Proxy::with(&fragment)).await;
    let working = connect(&proxy, "application_name=work").await;
    working.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let client = stats(&proxy).await;
    let lane = rows_where(&client, "SHOW LANES", "lane", "work").await;
    assert_eq!((of(&lane[0], "busy"), of(&lane[0], "max")), ("1", "4"));
    let shown = rows_where(&client, "SHOW CLIENTS", "application_name", "work").await;
    assert_eq!(
        (of(&shown[0], "lane"), of(&shown[0], "rule")),
        ("work", "0")
    );
    let server = rows_where(&client, "SHOW SERVERS", "lane", "work").await;
    let backend = value(&working, "SELECT pg_backend_pid()").await;
    assert_eq!(of(&server[0], "remote_pid"), backend);
    // Numbers are numbers in the binary format, too.
    let lanes = client.query("SHOW LANES", &[]).await.unwrap();
    let busy: i32 = lanes.iter().map(|row| row.get::<_, i32>("busy")).sum();
    assert_eq!(busy, 1);
    working.batch_execute("COMMIT").await.unwrap();
    drop(working);
    invariants(&proxy).await;
}

#[tokio::test]
async fn runs_are_asked_of_the_binary_and_told_in_a_row_each() {
    let (proxy, mut asked) = with_console(Proxy::with(LISTED)).await;
    let lines = [
        r#"{"k":"begin","t":1000,"format":1,"version":"1"}"#,
        r#"{"k":"event","t":1000,"what":"lease_taken","lane":"evaluation","who":"me"}"#,
        r#"{"k":"sample","t":2000,"d":1000,"lanes":[{"n":"evaluation","x":3,"run":{"c":[[4,3]],"us":3000}}]}"#,
        r#"{"k":"event","t":4000,"what":"lease_ended","lane":"evaluation","who":"me"}"#,
    ];
    let report = Report::of(&History::of_lines(lines), 0, 5000);
    let answering = tokio::spawn(async move {
        for outcome in [Ok(report), Err("the disk is gone".to_owned())] {
            match asked.recv().await {
                Some(Operation::Runs(reply)) => drop(reply.send(outcome)),
                other => panic!("{other:?}"),
            }
        }
    });
    let client = stats(&proxy).await;
    let runs = rows(&client, "SHOW RUNS").await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    let found = [
        "lane",
        "run",
        "kind",
        "seconds",
        "end",
        "transactions",
        "verdict",
    ];
    let found = found.map(|column| of(&runs[0], column));
    let expected = [
        "evaluation",
        "me",
        "lease",
        "3",
        "given_back",
        "3",
        "unknown",
    ];
    assert_eq!(found, expected);
    assert_eq!(refusal(client.simple_query("SHOW RUNS").await), "58030");
    answering.await.unwrap();
    drop(client);
    invariants(&proxy).await;
}
