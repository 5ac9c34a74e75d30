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
