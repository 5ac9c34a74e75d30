//! A proxy with two server connections, and a way to make a session use the other one.

use pglanes_tests::{Proxy, connect, soon, value};
use tokio_postgres::Client;

/// Two server connections and the two clients that can hold them.
pub(crate) struct Swap {
    pub(crate) proxy: Proxy,
    blockers: [Client; 2],
}

impl Swap {
    /// With this fragment of lanes.yaml, which says nothing of slots.
    pub(crate) async fn new() -> Self {
        let proxy = Proxy::with_slots(2).run().await;
        let blockers = [connect(&proxy, "").await, connect(&proxy, "").await];
        Self { proxy, blockers }
    }

    /// Does something while all server connections but one are held, so that whoever runs then runs on that one: on the
    /// backend `pid`, or, with `other`, on the one that is not it.
    async fn hold_all_but(&self, wanted: impl Fn(&str) -> bool) -> &Client {
        let mut held = Vec::new();
        for blocker in &self.blockers {
            held.push(value(blocker, "BEGIN; SELECT pg_backend_pid()").await);
        }
        assert_ne!(held[0], held[1]);
        let free = held
            .iter()
            .position(|pid| wanted(pid))
            .expect("one of the two");
        soon(self.blockers[free].batch_execute("COMMIT"))
            .await
            .unwrap();
        &self.blockers[1 - free]
    }

    /// What `sql` gives a session on a server connection other than the one of backend `pid`.
    pub(crate) async fn value_elsewhere(&self, client: &Client, pid: &str, sql: &str) -> String {
        let holder = self.hold_all_but(|held| held != pid).await;
        let found = value(client, sql).await;
        assert_ne!(backend(client).await, pid, "it did not change hands");
        soon(holder.batch_execute("COMMIT")).await.unwrap();
        found
    }

    /// What `sql` gives a session on the server connection of backend `pid`.
    pub(crate) async fn value_on(&self, client: &Client, pid: &str, sql: &str) -> String {
        let holder = self.hold_all_but(|held| held == pid).await;
        assert_eq!(backend(client).await, pid, "it is not that one");
        let found = value(client, sql).await;
        soon(holder.batch_execute("COMMIT")).await.unwrap();
        found
    }

    /// Ends the clients and gives the proxy to be checked.
    pub(crate) fn done(self) -> Proxy {
        self.proxy
    }
}

/// The process id of the backend that a session's next transaction runs on.
pub(crate) async fn backend(client: &Client) -> String {
    value(client, "SELECT pg_backend_pid()").await
}
