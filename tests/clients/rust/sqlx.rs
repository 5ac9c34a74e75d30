//! sqlx: its pool and its cache of prepared statements, types looked up in the catalogue, streams, transactions within transactions,
//! COPY, advisory locks, its listener.

use futures_util::TryStreamExt;
use pglanes_tests::{Proxy, eventually, invariants, soon};
use sqlx::postgres::{PgAdvisoryLock, PgConnectOptions, PgListener, PgPoolCopyExt, PgPoolOptions};
use sqlx::{Acquire, ConnectOptions, Connection, PgPool, Row};

use super::{CLIENTS, TURNS, together, url};
use crate::life;
use crate::runtimes::Skipped;

pub(crate) async fn lives() -> Result<(), Skipped> {
    let proxy = life::proxy().await;
    let options = PgPoolOptions::new().min_connections(2).max_connections(6);
    let pool = options.connect(&url(&proxy)).await.unwrap();
    let tables =
        "CREATE TYPE mood AS ENUM ('well', 'unwell'); CREATE TABLE copied (owner int, n int);
        CREATE TABLE log (owner int, n int, feels mood, tags text[])";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();
    together(|me| life(&pool, me)).await;
    together(|me| counts_alone(&pool, me)).await;
    assert_eq!(counted(&pool).await, CLIENTS * TURNS);
    eventually("what held the lock is pinned no more", || async {
        proxy.pinned("advisory_lock") == 0
    })
    .await;
    listens(&pool).await;
    sets(&proxy).await;
    pool.close().await;
    invariants(&proxy).await;
    Ok(())
}

async fn life(pool: &PgPool, me: i32) {
    for turn in 0..TURNS {
        let row: (i32, String) = sqlx::query_as("SELECT $1 + $2, $3")
            .bind(me)
            .bind(turn)
            .bind(format!("of {me}"))
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(row, (me + turn, format!("of {me}")));
        transactions(pool, me, turn).await;
        let failed = sqlx::query("SELECT 1 / $1").bind(0).fetch_one(pool).await;
        let failed = failed.unwrap_err();
        let code = failed.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("22012"));
        let sql = "SELECT n, $1 FROM generate_series(1, 200) n";
        let mut rows = sqlx::query(sql).bind(me).fetch(pool);
        let mut seen = 0;
        while let Some(row) = rows.try_next().await.unwrap() {
            seen += 1;
            assert_eq!((row.get(0), row.get(1)), (seen, me));
            if turn % 2 == 0 && seen == 20 {
                // The rest is read, and forgotten, by whoever gets the connection next.
                break;
            }
        }
    }
    copies(pool, me).await;
}

async fn transactions(pool: &PgPool, me: i32, turn: i32) {
    let mut outer = pool.begin().await.unwrap();
    let insert = "INSERT INTO log VALUES ($1, $2, $3::mood, $4) RETURNING tags, feels::text";
    let row = sqlx::query(insert).bind(me).bind(turn).bind("well");
    let row = row.bind(vec![format!("{me}"), format!("{turn}")]);
    let row = row.fetch_one(&mut *outer).await.unwrap();
    assert_eq!(
        row.get::<Vec<String>, _>(0),
        [me.to_string(), turn.to_string()]
    );
    let mut inner = outer.begin().await.unwrap();
    sqlx::query("DELETE FROM log")
        .execute(&mut *inner)
        .await
        .unwrap();
    inner.rollback().await.unwrap();
    outer.commit().await.unwrap();
    // One that is dropped is rolled back before its connection's next use.
    let mut dropped = pool.begin().await.unwrap();
    let insert = sqlx::query("INSERT INTO log VALUES ($1)").bind(me);
    insert.execute(&mut *dropped).await.unwrap();
    drop(dropped);
    let count = sqlx::query_scalar("SELECT count(*) FROM log WHERE owner = $1").bind(me);
    let count: i64 = count.fetch_one(pool).await.unwrap();
    // The dropped one is another connection's: it may not be rolled back yet, but it is not to be seen.
    assert_eq!(count, i64::from(turn) + 1);
}

async fn copies(pool: &PgPool, me: i32) {
    let mut copy = pool.copy_in_raw("COPY copied FROM STDIN").await.unwrap();
    for n in 0..1000 {
        copy.send(format!("{me}\t{n}\n").into_bytes())
            .await
            .unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 1000);
    let sql = format!("COPY (SELECT n FROM copied WHERE owner = {me} ORDER BY n) TO STDOUT");
    let out: Vec<_> = pool
        .copy_out_raw(&sql)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let wanted: Vec<u8> = (0..1000)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    assert_eq!(out.concat(), wanted);
    let copy = pool.copy_in_raw("COPY copied FROM STDIN").await.unwrap();
    copy.abort("not wanted").await.unwrap();
}

/// What migrations do: a session's advisory lock around what must not be done twice at once.
async fn counts_alone(pool: &PgPool, me: i32) {
    let lock = PgAdvisoryLock::new("pglanes");
    for _ in 0..TURNS {
        let connection = pool.acquire().await.unwrap();
        let mut held = lock.acquire(connection).await.unwrap();
        let held_connection: &mut sqlx::PgConnection = held.as_mut();
        let read = sqlx::query_scalar("SELECT count(*)::int FROM log WHERE owner = -1");
        let before: i32 = read.fetch_one(&mut *held_connection).await.unwrap();
        let insert = sqlx::query("INSERT INTO log VALUES (-1, $1)").bind(before);
        insert.execute(&mut *held_connection).await.unwrap();
        held.release_now().await.unwrap();
    }
    let name: Option<String> = sqlx::query_scalar("SELECT $1 || ''")
        .bind(me.to_string())
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(name, Some(me.to_string()));
}

/// How many distinct counts were drawn under the lock: all, if nobody else held it meanwhile.
async fn counted(pool: &PgPool) -> i32 {
    let sql = "SELECT count(DISTINCT n)::int FROM log WHERE owner = -1";
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

async fn listens(pool: &PgPool) {
    let mut listener = PgListener::connect_with(pool).await.unwrap();
    listener.listen_all(["here", "there"]).await.unwrap();
    let say = sqlx::query("SELECT pg_notify('there', $1)").bind("hello");
    say.execute(pool).await.unwrap();
    let heard = soon(listener.recv()).await.unwrap();
    assert_eq!((heard.channel(), heard.payload()), ("there", "hello"));
    listener.unlisten("there").await.unwrap();
    listener.unlisten("here").await.unwrap();
}

/// Settings of a connection's options are the session's, whichever server connection it has.
async fn sets(proxy: &Proxy) {
    let options: PgConnectOptions = url(proxy).parse().unwrap();
    let options = options
        .options([("statement_timeout", "7s")])
        .application_name("sqlx");
    let mut client = options.connect().await.unwrap();
    let sql = "SELECT current_setting('statement_timeout') || current_setting('application_name')";
    for _ in 0..TURNS {
        let shown: String = sqlx::query_scalar(sql)
            .fetch_one(&mut client)
            .await
            .unwrap();
        assert_eq!(shown, "7ssqlx");
        client.ping().await.unwrap();
    }
    client.close().await.unwrap();
}
