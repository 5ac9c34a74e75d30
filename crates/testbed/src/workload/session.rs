//! One worker's connection, which survives errors: what a failed operation calls for is decided by its SQLSTATE, tries are
//! bounded, and a broken connection is made anew.

use std::future::Future;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls, Statement};

use super::Target;
use super::report::Tally;
use crate::clock;

/// How often an operation is tried.
const TRIES: u32 = 6;
/// The pause before the second try; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// An operation that a session can run.
pub(super) trait Operation: Sync {
    /// Its name in the report.
    fn kind(&self) -> &'static str;
    /// Runs it once. The statements are those that the session prepared, in their order.
    fn run(
        &self,
        client: &Client,
        statements: &[Statement],
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What an error calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The same again on this connection.
    Retry,
    /// The same again on a new connection.
    Reconnect,
    /// Another try would end the same.
    GiveUp,
}

/// A connection with the statements that are prepared so far.
struct Live {
    client: Client,
    statements: Vec<Statement>,
}

/// One worker's connection. There is none before the first operation, and after a broken one.
pub(super) struct Session {
    target: Target,
    application_name: &'static str,
    texts: &'static [&'static str],
    live: Option<Live>,
    /// Whether a connection was ever made: later ones count as reconnects.
    connected_before: bool,
    tally: Tally,
}

impl Session {
    /// A session that will connect under the name and prepare the statements.
    pub(super) fn new(
        target: &Target,
        application_name: &'static str,
        texts: &'static [&'static str],
    ) -> Session {
        let target = target.clone();
        Session {
            target,
            application_name,
            texts,
            live: None,
            connected_before: false,
            tally: Tally::default(),
        }
    }

    /// Connects now, so that the first operation's latency is its own.
    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        self.live().await.map(drop)
    }

    /// Runs an operation until it succeeds or is given up, and counts both. Dropping it in the middle leaves the connection
    /// in the midst of something: only [`Session::abandon`] may follow.
    pub(super) async fn perform(&mut self, operation: &impl Operation) {
        let begun = clock::now();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            let outcome = match self.live().await {
                Ok(live) => operation.run(&live.client, &live.statements).await,
                Err(error) => Err(error),
            };
            let Err(error) = outcome else {
                return self.tally.succeeded(operation.kind(), begun.elapsed());
            };
            self.tally.failed(&error);
            let remedy = remedy(&error);
            self.leave_transaction(remedy).await;
            if remedy == Remedy::GiveUp || attempt == TRIES {
                break;
            }
            self.tally.retries += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.tally.abandoned += 1;
        // An operation that always fails must not become a busy loop.
        tokio::time::sleep(FIRST_PAUSE).await;
    }

    /// Ends what is still running on the server and the connection with it, and gives what was counted.
    pub(super) async fn abandon(self) -> Tally {
        if let Some(live) = &self.live {
            // Without it the server would finish a VACUUM that nobody waits for. It may have ended by itself: then there is
            // nothing to cancel.
            let cancel = live.client.cancel_token();
            let _ = tokio::time::timeout(Duration::from_secs(2), cancel.cancel_query(NoTls)).await;
        }
        self.tally
    }

    /// Gives what was counted.
    pub(super) fn finish(self) -> Tally {
        self.tally
    }

    async fn leave_transaction(&mut self, remedy: Remedy) {
        let Some(live) = &self.live else {
            return;
        };
        // Outside a transaction ROLLBACK is a warning, and asking costs no less than saying it.
        if remedy == Remedy::Reconnect || live.client.batch_execute("ROLLBACK").await.is_err() {
            self.live = None;
        }
    }

    /// The connection, made if there is none. It is kept before its statements are prepared: a prepare can wait for a lock, and
    /// [`Session::abandon`] must be able to cancel that too.
    async fn live(&mut self) -> Result<&Live, Error> {
        let live = match self.live.take().filter(|live| !live.client.is_closed()) {
            Some(live) => live,
            None => self.open().await?,
        };
        let live = self.live.insert(live);
        while let Some(text) = self.texts.get(live.statements.len()) {
            live.statements.push(live.client.prepare(text).await?);
        }
        Ok(live)
    }

    async fn open(&mut self) -> Result<Live, Error> {
        let (client, connection) = self
            .target
            .config(self.application_name)
            .connect(NoTls)
            .await?;
        // It ends with the client; what goes wrong on it is seen by the next operation.
        tokio::spawn(async move { drop(connection.await) });
        self.tally.reconnects += u64::from(self.connected_before);
        self.connected_before = true;
        Ok(Live {
            client,
            statements: Vec::new(),
        })
    }
}

fn remedy(error: &Error) -> Remedy {
    error.code().map_or(Remedy::Reconnect, remedy_for)
}

/// What a SQLSTATE calls for (PostgreSQL's appendix A).
fn remedy_for(state: &SqlState) -> Remedy {
    match state.code() {
        // A cancelled statement or a wait that timed out; too many connections or a full queue; a conflict; a lock.
        "57014" | "53300" | "40001" | "40P01" | "55P03" => Remedy::Retry,
        // The server ends or starts; a prepared statement that the other side has forgotten.
        "57P01" | "57P02" | "57P03" | "57P05" | "26000" => Remedy::Reconnect,
        connection if connection.starts_with("08") => Remedy::Reconnect,
        _ => Remedy::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_tried_again_a_broken_connection_is_made_anew_and_a_mistake_is_not_repeated()
    {
        let remedies = [
            ("57014", Remedy::Retry),
            ("53300", Remedy::Retry),
            ("40P01", Remedy::Retry),
            ("57P01", Remedy::Reconnect),
            ("08006", Remedy::Reconnect),
            ("26000", Remedy::Reconnect),
            ("42601", Remedy::GiveUp),
            ("25P02", Remedy::GiveUp),
        ];
        for (state, expected) in remedies {
            assert_eq!(remedy_for(&SqlState::from_code(state)), expected, "{state}");
        }
    }
}
