//! tokio-postgres, which hides the frames: for tests of what an application sees.

use std::net::SocketAddr;

use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

/// Something to connect to: the proxy, or the server itself.
pub trait Target {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// The test's database.
    fn database(&self) -> &str;
}

/// How to connect to a target as the superuser. `parameters` is in the form `key=value key=value` and comes last, so that it
/// can say another user or database.
pub fn config(target: &impl Target, parameters: &str) -> Config {
    let (address, database) = (target.address(), target.database());
    let text = format!(
        "host={} port={} user=postgres dbname={database} connect_timeout=20 {parameters}",
        address.ip(),
        address.port()
    );
    text.parse().expect("connection parameters")
}

/// Connects, or says why not. The task that drives the connection is spawned on the caller's runtime.
///
/// # Errors
/// The server's, or the proxy's, refusal.
pub async fn try_connect(target: &impl Target, parameters: &str) -> Result<Client, Error> {
    let (client, connection) = crate::soon(config(target, parameters).connect(NoTls)).await?;
    // What goes wrong on the connection later is seen by the client's next call.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Connects.
///
/// # Panics
/// If the connection is refused.
pub async fn connect(target: &impl Target, parameters: &str) -> Client {
    try_connect(target, parameters)
        .await
        .expect("the connection is taken")
}

/// The one value of a simple query's last row, as text; NULL as an empty text.
///
/// # Panics
/// If the query fails or gives no row.
pub async fn value(client: &Client, sql: &str) -> String {
    let messages = crate::soon(client.simple_query(sql)).await;
    let messages = messages.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.last().unwrap_or_else(|| panic!("{sql}: no row"))
}
