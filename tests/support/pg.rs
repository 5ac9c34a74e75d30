//! The PostgreSQL behind the proxy: one server for a test process, a database of its own for each test.

use std::net::SocketAddr;

use pglanes_testbed::Postgres;
use tokio_postgres::Client;

use crate::{Raw, Target, connect};

/// A database of the server that all tests of this process share. What a test does outside it (roles, settings of the
/// server) others see: name it after the database.
#[derive(Debug, Clone)]
pub struct Pg {
    server: &'static Postgres,
    database: String,
}

impl Pg {
    /// An empty database with pgvector in it.
    pub async fn fresh() -> Self {
        let server = pglanes_testbed::shared().expect("the test bed starts a PostgreSQL");
        let database = crate::soon(server.fresh_database()).await;
        Self {
            server,
            database: database.expect("an empty database"),
        }
    }

    /// A server of the test's own, for what others must not feel: restarts, passwords, its last connection. Its database is
    /// `postgres`. It ends with the process; a test that is done stops it ([`Self::stop`]).
    pub async fn own(builder: pglanes_testbed::Builder) -> Self {
        // Starting blocks for a while, and a test's runtime may have other work.
        let started = tokio::task::spawn_blocking(move || builder.start()).await;
        let server = started
            .expect("no panic")
            .expect("the test bed starts a PostgreSQL");
        Self {
            // For the same type as the shared one's; the test bed's supervisor ends it with the process.
            server: Box::leak(Box::new(server)),
            database: "postgres".to_owned(),
        }
    }

    /// Stops a server of the test's own.
    pub async fn stop(&self, mode: pglanes_testbed::StopMode) {
        let server = self.server;
        let stopped = tokio::task::spawn_blocking(move || server.stop(mode)).await;
        stopped.expect("no panic").expect("the server stops");
    }

    /// Starts it again, with its port and its data.
    pub async fn start_again(&self) {
        let server = self.server;
        let started = tokio::task::spawn_blocking(move || server.start_again()).await;
        started.expect("no panic").expect("the server starts again");
    }

    /// The database's name, unique in this process.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The server.
    pub fn server(&self) -> &'static Postgres {
        self.server
    }

    /// A client that goes around the proxy, as the superuser.
    pub async fn direct(&self) -> Client {
        connect(self, "").await
    }

    /// A client of frames that goes around the proxy; it has said nothing yet.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address()).await
    }
}

impl Target for Pg {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.server.port()))
    }

    fn database(&self) -> &str {
        &self.database
    }
}
