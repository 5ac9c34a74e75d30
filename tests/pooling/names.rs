//! Databases and users by their other names, and databases that go.

use pglanes_tests::{Pg, Proxy, connect, eventually, invariants, psql, soon, try_connect, value};

#[tokio::test]
async fn an_alias_leads_to_the_real_database_and_the_real_user() {
    let pg = Pg::fresh().await;
    let (database, direct) = (pg.database().to_owned(), pg.direct().await);
    let real = format!("real_{database}");
    soon(direct.batch_execute(&format!("CREATE ROLE {real} LOGIN")))
        .await
        .unwrap();
    let fragment = format!(
        "databases: {{ {database}: {{ aliases: [dspy_rag, dspy_rag_system] }} }}\n\
         users: {{ {real}: {{ aliases: [ai_user] }} }}"
    );
    let proxy = Proxy::with(&fragment).over(&pg).run().await;
    let who = "SELECT current_database() || ' ' || current_user";
    for (name, user) in [
        ("dspy_rag", "ai_user"),
        ("dspy_rag_system", "ai_user"),
        ("dspy_rag", real.as_str()),
    ] {
        let client = connect(&proxy, &format!("dbname={name} user={user}")).await;
        assert_eq!(
            value(&client, who).await,
            format!("{database} {real}"),
            "{name} {user}"
        );
    }
    assert!(proxy.metrics().aliases_used.get() >= 3);
    let before = proxy.metrics().aliases_used.get();
    let client = connect(&proxy, "").await;
    assert_eq!(value(&client, who).await, format!("{database} postgres"));
    assert_eq!(
        proxy.metrics().aliases_used.get(),
        before,
        "a real name is no alias"
    );
    let missing = try_connect(&proxy, "dbname=dspy_rag_sistem")
        .await
        .err()
        .unwrap();
    assert_eq!(missing.code().unwrap().code(), "3D000");
    drop(client);
    invariants(&proxy).await;
    drop(proxy);
    soon(direct.batch_execute(&format!("DROP ROLE {real}")))
        .await
        .unwrap();
}

#[tokio::test]
async fn idle_connections_never_stand_in_the_way_of_dropping_a_database() {
    let proxy = Proxy::with("").run().await;
    let client = connect(&proxy, "dbname=postgres").await;
    let name = format!("{}_gone", proxy.pg().database());
    for round in 0..3 {
        soon(client.batch_execute(&format!("CREATE DATABASE {name}")))
            .await
            .unwrap();
        let inside: Vec<_> = vec![
            connect(&proxy, &format!("dbname={name}")).await,
            connect(&proxy, &format!("dbname={name} application_name=other")).await,
        ];
        for inside in &inside {
            assert_eq!(value(inside, "SELECT current_database()").await, name);
        }
        drop(inside);
        eventually("they are gone", || async {
            proxy.view().await.sessions == 1
        })
        .await;
        // As a template, and then for good.
        let copy = format!("CREATE DATABASE {name}_copy TEMPLATE {name}; ");
        soon(client.batch_execute(&copy))
            .await
            .unwrap_or_else(|error| panic!("{round}: {error:?}"));
        soon(client.batch_execute(&format!("DROP DATABASE {name}_copy")))
            .await
            .unwrap();
        let dropped = psql(
            &proxy,
            "psql",
            &["-d", "postgres", "-c", &format!("DROP DATABASE \"{name}\"")],
        )
        .await;
        assert!(dropped.succeeded, "{round}: {dropped:?}");
    }
    drop(client);
    invariants(&proxy).await;
}
