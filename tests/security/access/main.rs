//! Who gets in, and how it is proven.

#![allow(clippy::unwrap_used, reason = "helpers fail as the tests do")]

mod canary;
mod credentials;
mod methods;
mod relay;

use std::sync::atomic::{AtomicU32, Ordering};

use pglanes_testbed::{Auth, Postgres};
use pglanes_tests::{Pg, connect};
use tokio::sync::OnceCell;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// The superuser's password.
const SUPERUSER: &str = "canary-superuser";

/// A server that asks everybody for a password by SCRAM-SHA-256; all tests of this file share it.
async fn scram_server() -> Pg {
    static SERVER: OnceCell<Pg> = OnceCell::const_new();
    let password = SUPERUSER.to_owned();
    let builder = Postgres::builder().auth(Auth::Scram { password });
    SERVER.get_or_init(|| Pg::own(builder)).await.clone()
}

/// The superuser, past the proxy.
async fn superuser(pg: &Pg) -> Client {
    connect(pg, &format!("password={SUPERUSER}")).await
}

/// A role with a password of its own, that nobody else uses.
async fn role(pg: &Pg, password: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("role_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let create = format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'");
    superuser(pg).await.batch_execute(&create).await.unwrap();
    name
}

/// What PostgreSQL stores of a role's password.
async fn stored(pg: &Pg, role: &str) -> String {
    let asked = superuser(pg).await;
    let row = asked
        .query_one(
            "SELECT rolpassword FROM pg_authid WHERE rolname = $1",
            &[&role],
        )
        .await;
    row.unwrap().get(0)
}

/// The SQLSTATE and the message of a refusal.
fn refusal<T>(outcome: Result<T, Error>) -> (SqlState, String) {
    let error = match outcome {
        Ok(_) => panic!("a refusal was expected"),
        Err(error) => error,
    };
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (error.code().clone(), error.message().to_owned())
}

/// How to connect as this user with this password.
fn user(name: &str, password: &str) -> String {
    format!("user={name} password={password}")
}

fn wrong_password(name: &str) -> (SqlState, String) {
    let text = format!("password authentication failed for user \"{name}\"");
    (SqlState::INVALID_PASSWORD, text)
}
