//! The admin console: who comes in, what it shows, what it does.
#![allow(clippy::unwrap_used, reason = "helpers fail as the tests do")]

mod actions;
mod beside;
mod commands;
mod login;
mod show;

use std::sync::Arc;

use pglanes_admin::{Console, Operation};
use pglanes_auth::Secret;
use pglanes_tests::{Builder, Proxy, connect};
use tokio::sync::{mpsc, watch};
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// What opens the console to the user `pglanes`.
const TOKEN: &str = "a-token-of-the-tests";

/// A proxy with a console, and what that asks of the binary.
async fn with_console(builder: Builder) -> (Proxy, mpsc::Receiver<Operation>) {
    let (_, tokens) = watch::channel(Some(Secret::new(TOKEN.to_owned())));
    let (operations, asked) = mpsc::channel(8);
    let console = Console::new(tokens, operations);
    let proxy = builder.console(Arc::clone(&console) as _).run().await;
    let handle = proxy.handle().clone();
    tokio::spawn(async move { console.serve(handle).await });
    // From here on it has the handle.
    tokio::task::yield_now().await;
    (proxy, asked)
}

/// A client that may do everything.
async fn admin(proxy: &Proxy) -> Client {
    let parameters = format!("user=pglanes password={TOKEN} dbname=pglanes");
    connect(proxy, &parameters).await
}

/// A client that may look: it is listed, and nobody has seen a proof of who it is.
async fn stats(proxy: &Proxy) -> Client {
    connect(proxy, "dbname=pgbouncer").await
}

const LISTED: &str = "admin: { users: [postgres], stats_users: [viewer] }";

/// The SQLSTATE of a refusal.
fn refusal<T>(outcome: Result<T, Error>) -> String {
    let error = outcome.err().expect("it is refused");
    let code = error.code().unwrap_or_else(|| panic!("{error:?}"));
    code.code().to_owned()
}

/// The rows of a simple query: column by column, name and text.
async fn rows(client: &Client, sql: &str) -> Vec<Vec<(String, String)>> {
    let messages = client.simple_query(sql).await;
    let messages = messages.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let columns = row.columns().iter().enumerate();
            let pairs = columns.map(|(index, column)| {
                let value = row.get(index).unwrap_or_default();
                (column.name().to_owned(), value.to_owned())
            });
            Some(pairs.collect())
        }
        _ => None,
    });
    rows.collect()
}

/// A value of a row.
fn of<'r>(row: &'r [(String, String)], name: &str) -> &'r str {
    let found = row.iter().find(|(column, _)| column == name);
    &found
        .unwrap_or_else(|| panic!("no column {name}: {row:?}"))
        .1
}

/// The rows in which a column has this value.
async fn rows_where(
    client: &Client,
    sql: &str,
    name: &str,
    value: &str,
) -> Vec<Vec<(String, String)>> {
    let all = rows(client, sql).await;
    all.into_iter()
        .filter(|row| of(row, name) == value)
        .collect()
}
