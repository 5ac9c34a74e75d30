//! The work: what computes, what holds locks, and what is short and must not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{Lock, clock};

/// What all of it works on.
pub(crate) const TABLES: &str = "CREATE TABLE hot (id int PRIMARY KEY, n int NOT NULL);
    INSERT INTO hot SELECT i, 0 FROM generate_series(1, 100) i;
    CREATE TABLE log (id bigserial PRIMARY KEY, payload text NOT NULL);
    CREATE INDEX ON log (payload);";

/// Between two short statements of one client.
const PAUSE: Duration = Duration::from_millis(10);

/// One connection.
pub(crate) struct Client(tokio_postgres::Client);

impl Client {
    pub(crate) async fn connect(port: u16, name: &str) -> anyhow::Result<Self> {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(port)
            .user("postgres")
            .dbname("postgres")
            .application_name(name);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(Self(client))
    }

    pub(crate) async fn pid(&self) -> anyhow::Result<i32> {
        let row = self.0.query_one("SELECT pg_backend_pid()", &[]).await?;
        Ok(row.get(0))
    }
}

/// Wants a CPU all the time.
pub(crate) async fn compute(client: Client, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let computed = client
            .0
            .batch_execute("SELECT sum(i) FROM generate_series(1, 500000) i")
            .await;
        if computed.is_err() {
            return;
        }
    }
}

/// The background: transactions that hold what others need while they compute. Returns how many there were.
pub(crate) async fn hold(client: Client, lock: Lock, stop: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let work = match lock {
        // About 10 ms of CPU under the lock.
        Lock::Row => {
            "BEGIN; UPDATE hot SET n = n + 1 WHERE id = 1;
             SELECT sum(i) FROM generate_series(1, 100000) i; COMMIT"
        }
        Lock::Lightweight => {
            "INSERT INTO log (payload) SELECT md5((i % 7)::text) FROM generate_series(1, 500) i"
        }
    };
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        client.0.batch_execute(work).await?;
        count += 1;
        // A row lock is not held all the time: the next one comes when others had a chance.
        if lock == Lock::Row {
            tokio::time::sleep(PAUSE * 4).await;
        }
    }
    Ok(count)
}

/// The protected lane: short statements with pauses. Returns their latencies.
pub(crate) async fn short(
    client: Client,
    lock: Lock,
    limit: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let work = match lock {
        Lock::Row => "UPDATE hot SET n = n + 1 WHERE id = 1",
        Lock::Lightweight => "INSERT INTO log (payload) VALUES (md5('3'))",
    };
    let began = clock::now();
    let mut latencies = Vec::new();
    while began.elapsed() < limit {
        let asked = clock::now();
        client.0.batch_execute(work).await?;
        latencies.push(asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latencies)
}
