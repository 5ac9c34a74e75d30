//! tokio-postgres: prepared and typed statements, pipelines by joined futures, portals, COPY, savepoints, notifications, cancel.

use futures_util::{SinkExt, TryStreamExt, future, pin_mut, stream};
use pglanes_tests::{Proxy, config, connect, invariants, soon};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{TURNS, together};
use crate::life;
use crate::runtimes::Skipped;

pub(crate) async fn lives() -> Result<(), Skipped> {
    let proxy = life::proxy().await;
    let client = connect(&proxy, "").await;
    let tables = "CREATE TYPE mood AS ENUM ('well', 'unwell');
        CREATE TABLE log (owner int, n int, feels mood); CREATE TABLE copied (owner int, n int)";
    client.batch_execute(tables).await.unwrap();
    together(|me| life(&proxy, me)).await;
    listens(&proxy).await;
    drop(client);
    invariants(&proxy).await;
    Ok(())
}

async fn life(proxy: &Proxy, me: i32) {
    let mut client = connect(proxy, &format!("application_name=rust{me}")).await;
    for turn in 0..TURNS {
        pipelines(&client, me, turn).await;
        transactions(&mut client, me, turn).await;
    }
    copies(&client, me).await;
    cancels(&client).await;
    let row = client.query_one("SHOW application_name", &[]).await;
    assert_eq!(row.unwrap().get::<_, String>(0), format!("rust{me}"));
}

/// Statements prepared and run at once, whose messages go out together.
async fn pipelines(client: &Client, me: i32, turn: i32) {
    let sum = client.prepare("SELECT $1::int + $2::int").await.unwrap();
    let sums = (0..20).map(|n| {
        let sum = &sum;
        async move { client.query_one(sum, &[&me, &n]).await.unwrap().get(0) }
    });
    let sums: Vec<i32> = future::join_all(sums).await;
    assert_eq!(sums, (me..me + 20).collect::<Vec<_>>());
    let (fails, runs) = future::join(
        client.query("SELECT 1 / $1::int", &[&0]),
        client.query_one("SELECT $1::int", &[&turn]),
    )
    .await;
    assert_eq!(fails.unwrap_err().code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(runs.unwrap().get::<_, i32>(0), turn);
}

async fn transactions(client: &mut Client, me: i32, turn: i32) {
    let mut transaction = client.transaction().await.unwrap();
    // A type of the database's own: asked of the catalogue, by statements of its own.
    let insert = "INSERT INTO log VALUES ($1, $2, $3::text::mood) RETURNING feels::text";
    let row = transaction.query_one(insert, &[&me, &turn, &"well"]).await;
    assert_eq!(row.unwrap().get::<_, &str>(0), "well");
    let undone = transaction.savepoint("undone").await.unwrap();
    undone.execute("DELETE FROM log", &[]).await.unwrap();
    undone.rollback().await.unwrap();
    let sql = "SELECT n, $1::int FROM generate_series(1, 25) n";
    let portal = transaction.bind(sql, &[&me]).await.unwrap();
    let mut seen = 0;
    loop {
        let rows = transaction.query_portal(&portal, 10).await.unwrap();
        assert!(rows.iter().all(|row| row.get::<_, i32>(1) == me));
        seen += rows.len();
        if rows.len() < 10 {
            break;
        }
    }
    assert_eq!(seen, 25);
    transaction.commit().await.unwrap();
    let count = "SELECT count(*), min(feels)::text FROM log WHERE owner = $1";
    let row = client.query_one(count, &[&me]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::from(turn) + 1);
}

async fn copies(client: &Client, me: i32) {
    let sink = client.copy_in("COPY copied FROM STDIN").await.unwrap();
    pin_mut!(sink);
    let lines = (0..1000).map(|n| Ok(bytes(format!("{me}\t{n}\n"))));
    sink.send_all(&mut stream::iter(lines)).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 1000);
    let sql = format!("COPY (SELECT n FROM copied WHERE owner = {me} ORDER BY n) TO STDOUT");
    let out = client.copy_out(&sql).await.unwrap();
    let out: Vec<_> = out.try_collect().await.unwrap();
    let wanted: Vec<u8> = (0..1000)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    assert_eq!(out.concat(), wanted);
    let sql = "SELECT generate_series(1, 3000), $1::int";
    let rows = client.query_raw(sql, [me]).await.unwrap();
    let rows = rows.try_fold(0, |seen, row| {
        assert_eq!(row.get::<_, i32>(1), me);
        future::ok(seen + 1)
    });
    assert_eq!(rows.await.unwrap(), 3000);
}

fn bytes(text: String) -> std::io::Cursor<Vec<u8>> {
    std::io::Cursor::new(text.into_bytes())
}

async fn cancels(client: &Client) {
    let token = client.cancel_token();
    let sleeps = client.batch_execute("SELECT pg_sleep(60)");
    let cancels = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (slept, ()) = soon(future::join(sleeps, cancels)).await;
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

async fn listens(proxy: &Proxy) {
    let (client, mut connection) = config(proxy, "").connect(NoTls).await.unwrap();
    let (say, heard) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut say = Some(say);
        // It ends with the connection.
        while let Some(Ok(message)) =
            future::poll_fn(|context| connection.poll_message(context)).await
        {
            if let (AsyncMessage::Notification(notification), Some(say)) = (message, say.take()) {
                // The test may have failed meanwhile.
                let _ = say.send(notification.payload().to_owned());
            }
        }
    });
    client.batch_execute("LISTEN here").await.unwrap();
    let other = connect(proxy, "").await;
    other.batch_execute("NOTIFY here, 'hello'").await.unwrap();
    assert_eq!(soon(heard).await.unwrap(), "hello");
    client.batch_execute("UNLISTEN here").await.unwrap();
}
