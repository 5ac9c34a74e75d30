//! The memory system: searches, rehydrations and compaction, without an end.

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use tokio_postgres::{Client, Error, Statement};

use super::report::Tally;
use super::session::{Operation, Session};
use super::{Report, Stop, Target};
use crate::clock;
use crate::random::Random;
use crate::schema::{Data, Vector, query_vector};

/// What a search asks of the index, as the application sets it.
const EF_SEARCH: &str = "SET LOCAL hnsw.ef_search = 200";
/// Shares of the messages that compaction updates, and takes out and writes back, at a time.
const UPDATED_SHARE: u64 = 40;
const REPLACED_SHARE: u64 = 100;

const SEARCH: usize = 0;
const REHYDRATE: usize = 0;
const SCAN: usize = 0;
const UPDATE: usize = 1;
const SEARCH_STATEMENTS: &[&str] = &[
    "SELECT message_id, session_id, content, 1 - (embedding <=> $1) AS similarity \
     FROM conversation_messages WHERE embedding IS NOT NULL ORDER BY embedding <=> $1 LIMIT 100",
];
const REHYDRATE_STATEMENTS: &[&str] = &["SELECT s.session_id, s.title, s.metadata::text, \
        (SELECT jsonb_object_agg(c.context_type, c.context_data) FROM conversation_context c \
          WHERE c.session_id = s.session_id)::text AS context, \
        jsonb_agg(jsonb_build_object('id', m.message_id, 'role', m.role, 'content', m.content, 'score', m.relevance_score, \
            'metadata', m.metadata, 'links', l.links) ORDER BY m.message_id)::text AS messages \
     FROM conversation_sessions s \
     JOIN conversation_messages m ON m.session_id = s.session_id \
     LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object('to', k.linked_id, 'weight', k.weight)) AS links \
          FROM message_links k WHERE k.message_id = m.message_id) l ON true \
     WHERE s.user_id = $1 GROUP BY s.session_id"];
const COMPACT_STATEMENTS: &[&str] = &[
    "SELECT role, count(*), avg(relevance_score), sum(length(content)) FROM conversation_messages \
     WHERE relevance_score < $1 GROUP BY role",
    "UPDATE conversation_messages SET relevance_score = relevance_score * 0.999, \
     metadata = metadata || jsonb_build_object('compacted', true) WHERE message_id BETWEEN $1 AND $2",
];

/// The name under which compaction connects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CompactionName {
    /// `ltst-compaction`: its name says what it is.
    #[default]
    Own,
    /// `ltst`, as the rest of the memory system: only the statements tell.
    Shared,
}

/// The memory system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Connections that search (100 nearest, `hnsw.ef_search` 200).
    pub searchers: u32,
    /// Connections that read all sessions of a user, with joins and JSONB aggregation.
    pub rehydrators: u32,
    /// Connections that scan, update, take out and write back, and vacuum.
    pub compactors: u32,
    /// The name of the compactors' connections.
    pub compaction_name: CompactionName,
    /// The seed of what is asked for.
    pub seed: u64,
    /// What the database was filled with.
    pub data: Data,
}

impl Memory {
    /// The memory system of the user's machine: 4 searchers, 2 rehydrators, 2 compactors.
    pub fn new(data: Data) -> Memory {
        let compaction_name = CompactionName::default();
        Memory {
            searchers: 4,
            rehydrators: 2,
            compactors: 2,
            compaction_name,
            seed: data.seed,
            data,
        }
    }

    /// Runs it against a target until it is told to stop; what runs then is cancelled and not counted. It never fails:
    /// whatever goes wrong is counted, and its workers go on.
    pub async fn run(&self, target: &Target, stop: Stop) -> Report {
        let workers = self.searchers + self.rehydrators + self.compactors;
        let begun = clock::now();
        let running = (0..workers).map(|worker| {
            let session = self.session(worker, target);
            // A task each, as a busy worker must not hold up the others or an evaluation beside it.
            tokio::spawn(work(
                session,
                self.operations(worker),
                self.data.seed,
                stop.clone(),
            ))
        });
        let mut all = Tally::default();
        for tally in join_all(running.collect::<Vec<_>>()).await {
            match tally {
                Ok(tally) => all.merge(tally),
                // A worker that panicked has no result; the others' still count.
                Err(_) => all.abandoned += 1,
            }
        }
        all.report("memory", begun.elapsed())
    }

    /// The operations of a worker, without an end: searchers come first, then rehydrators, then compactors. The same seed gives
    /// the same operations.
    pub fn operations(&self, worker: u32) -> impl Iterator<Item = MemoryOperation> + Send + use<> {
        let memory = *self;
        let mut random = Random::new(memory.seed, u64::from(worker));
        (0_u64..).map(move |number| match memory.role(worker) {
            Role::Searcher => MemoryOperation::Search {
                query: random.next(),
            },
            Role::Rehydrator => MemoryOperation::Rehydrate {
                user: random.below(memory.data.users()),
            },
            Role::Compactor(compactor) => memory.compaction(compactor, number, &mut random),
        })
    }

    /// Compaction goes round: scan, update, take out and write back, vacuum.
    fn compaction(&self, compactor: u32, number: u64, random: &mut Random) -> MemoryOperation {
        match number % 4 {
            0 => MemoryOperation::CompactScan {
                below: random.below(1_000) as u32,
            },
            1 => MemoryOperation::CompactUpdate {
                messages: self.slice(compactor, UPDATED_SHARE, random),
            },
            2 => MemoryOperation::CompactReplace {
                messages: self.slice(compactor, REPLACED_SHARE, random),
            },
            _ => MemoryOperation::CompactVacuum,
        }
    }

    /// Some messages of the compactor's own part of the table: two that met would wait for each other's rows, or deadlock.
    fn slice(&self, compactor: u32, share: u64, random: &mut Random) -> RangeInclusive<i32> {
        let part = (self.data.rows / u64::from(self.compactors.max(1))).max(1);
        let length = (self.data.rows / share).clamp(1, part);
        let first = u64::from(compactor) * part + 1 + random.below(part - length + 1);
        // The table's key is 31 bits wide.
        let key = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
        key(first)..=key(first + length - 1)
    }

    fn role(&self, worker: u32) -> Role {
        match worker.checked_sub(self.searchers) {
            None => Role::Searcher,
            Some(rest) if rest < self.rehydrators => Role::Rehydrator,
            Some(rest) => Role::Compactor(rest - self.rehydrators),
        }
    }

    fn session(&self, worker: u32, target: &Target) -> Session {
        match (self.role(worker), self.compaction_name) {
            (Role::Searcher, _) => Session::new(target, "ltst", SEARCH_STATEMENTS),
            (Role::Rehydrator, _) => Session::new(target, "ltst", REHYDRATE_STATEMENTS),
            (Role::Compactor(_), CompactionName::Own) => {
                Session::new(target, "ltst-compaction", COMPACT_STATEMENTS)
            }
            (Role::Compactor(_), CompactionName::Shared) => {
                Session::new(target, "ltst", COMPACT_STATEMENTS)
            }
        }
    }
}

/// What a worker does.
enum Role {
    Searcher,
    Rehydrator,
    /// With its number among the compactors.
    Compactor(u32),
}

/// Works until told to stop. The operation that runs then is dropped, and so is its connection.
async fn work(
    mut session: Session,
    operations: impl Iterator<Item = MemoryOperation>,
    seed: u64,
    mut stop: Stop,
) -> Tally {
    for operation in operations {
        let prepared = Prepared::new(operation, seed);
        tokio::select! {
            biased;
            () = stop.requested() => break,
            () = session.perform(&prepared) => {}
        }
    }
    session.abandon().await
}

/// One operation of the memory system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryOperation {
    /// The 100 messages nearest to a vector.
    Search {
        /// The number of the vector.
        query: u64,
    },
    /// All sessions of a user with all that belongs to them.
    Rehydrate {
        /// The number of the user.
        user: u64,
    },
    /// A scan of the whole table for what could be compacted.
    CompactScan {
        /// Messages with a relevance below this many thousandths.
        below: u32,
    },
    /// A bulk UPDATE.
    CompactUpdate {
        /// The messages.
        messages: RangeInclusive<i32>,
    },
    /// A bulk DELETE of messages, archived first and written back after, all in one transaction: the table keeps its size
    /// wherever it is stopped.
    CompactReplace {
        /// The messages.
        messages: RangeInclusive<i32>,
    },
    /// VACUUM of the table.
    CompactVacuum,
}

/// An operation with what it sends, made before its time is taken.
struct Prepared {
    operation: MemoryOperation,
    vector: Vector,
}

impl Prepared {
    fn new(operation: MemoryOperation, seed: u64) -> Prepared {
        let vector = match &operation {
            MemoryOperation::Search { query } => query_vector(seed, *query),
            _ => Vec::new(),
        };
        Prepared {
            operation,
            vector: Vector(vector),
        }
    }
}

impl Operation for Prepared {
    fn kind(&self) -> &'static str {
        match self.operation {
            MemoryOperation::Search { .. } => "search",
            MemoryOperation::Rehydrate { .. } => "rehydrate",
            MemoryOperation::CompactScan { .. } => "compact-scan",
            MemoryOperation::CompactUpdate { .. } => "compact-update",
            MemoryOperation::CompactReplace { .. } => "compact-replace",
            MemoryOperation::CompactVacuum => "compact-vacuum",
        }
    }

    async fn run(&self, client: &Client, statements: &[Statement]) -> Result<(), Error> {
        match &self.operation {
            MemoryOperation::Search { .. } => {
                client.batch_execute("BEGIN").await?;
                client.batch_execute(EF_SEARCH).await?;
                client.query(&statements[SEARCH], &[&self.vector]).await?;
                client.batch_execute("COMMIT").await
            }
            MemoryOperation::Rehydrate { user } => client
                .query(&statements[REHYDRATE], &[&format!("user-{user}")])
                .await
                .map(drop),
            MemoryOperation::CompactScan { below } => client
                .query(&statements[SCAN], &[&(f64::from(*below) / 1_000.0)])
                .await
                .map(drop),
            MemoryOperation::CompactUpdate { messages } => client
                .execute(&statements[UPDATE], &[messages.start(), messages.end()])
                .await
                .map(drop),
            MemoryOperation::CompactReplace { messages } => {
                client.batch_execute(&replace(messages)).await
            }
            MemoryOperation::CompactVacuum => {
                client.batch_execute("VACUUM conversation_messages").await
            }
        }
    }
}

/// Several statements in one message are one transaction. It begins with a DELETE, by which a classifier may know it.
fn replace(messages: &RangeInclusive<i32>) -> String {
    let chosen = format!(
        "WHERE message_id BETWEEN {} AND {}",
        messages.start(),
        messages.end()
    );
    format!(
        "DELETE FROM conversation_archive {chosen}; \
         INSERT INTO conversation_archive SELECT * FROM conversation_messages {chosen}; \
         DELETE FROM conversation_messages {chosen}; \
         INSERT INTO conversation_messages SELECT * FROM conversation_archive {chosen}; \
         DELETE FROM conversation_archive {chosen}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(seed: u64) -> Memory {
        Memory {
            seed,
            ..Memory::new(Data {
                rows: 20_000,
                seed: 1,
            })
        }
    }

    #[test]
    fn the_same_seed_gives_every_worker_the_same_operations() {
        let recorded = |seed| -> Vec<Vec<MemoryOperation>> {
            (0..8)
                .map(|worker| memory(seed).operations(worker).take(40).collect())
                .collect()
        };
        assert_eq!(recorded(3), recorded(3));
        assert_ne!(recorded(3), recorded(4));
        assert_ne!(
            recorded(3)[0],
            recorded(3)[1],
            "two searchers ask for different things"
        );
    }

    #[test]
    fn compactors_never_touch_each_others_messages_and_stay_in_the_table() {
        for (compactor, part) in [(6, 1..=10_000), (7, 10_001..=20_000)] {
            for operation in memory(9).operations(compactor).take(400) {
                if let MemoryOperation::CompactUpdate { messages }
                | MemoryOperation::CompactReplace { messages } = operation
                {
                    assert!(
                        part.contains(messages.start()) && part.contains(messages.end()),
                        "{messages:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_tiny_table_still_gives_valid_slices() {
        let memory = Memory::new(Data { rows: 1, seed: 1 });
        for operation in memory.operations(6).take(40) {
            if let MemoryOperation::CompactUpdate { messages } = operation {
                assert_eq!(messages, 1..=1);
            }
        }
    }
}
