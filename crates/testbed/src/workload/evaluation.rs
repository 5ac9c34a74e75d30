//! The evaluation: a fixed amount of work, case after case, that waits for a model API in between.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_postgres::{Client, Error, Statement};

use super::report::Tally;
use super::session::{Operation, Session};
use super::{Report, Stop, Target};
use crate::TestbedError;
use crate::clock;
use crate::random::Random;
use crate::schema::{
    CACHE_KEYS_PER_CASE, CASES, Data, JsonText, Vector, cache_key, payload, query_vector,
};

const CACHE_READ: usize = 0;
const SEARCH: usize = 1;
const CACHE_WRITE: usize = 2;
const METRIC: usize = 3;
const RESULT: usize = 4;
const STATEMENTS: &[&str] = &[
    "SELECT retrieved_context::text, relevance_scores::text FROM memory_retrieval_cache \
     WHERE cache_key = $1 AND expires_at > CURRENT_TIMESTAMP",
    "SELECT message_id, content, 1 - (embedding <=> $1) AS similarity FROM conversation_messages \
     WHERE embedding IS NOT NULL ORDER BY embedding <=> $1 LIMIT 10",
    "INSERT INTO memory_retrieval_cache (cache_key, retrieved_context, relevance_scores, expires_at) \
     VALUES ($1, $2, $3, 'infinity') ON CONFLICT (cache_key) DO UPDATE \
     SET retrieved_context = EXCLUDED.retrieved_context, relevance_scores = EXCLUDED.relevance_scores",
    "INSERT INTO memory_performance_metrics (operation_type, execution_time_ms, metadata) VALUES ($1, $2, $3)",
    "INSERT INTO eval_results (case_id, round, scores) VALUES ($1, $2, $3)",
];

/// The evaluation. Its time and its latencies are what the lanes protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// Cases of a round, 15 as the user has them.
    pub cases: u64,
    /// How often all cases are gone through: the amount of work.
    pub rounds: u64,
    /// How long the model API takes, once a case. It counts in the wall time and in no latency.
    pub pause: Duration,
    /// Connections that share the cases; 1 is the user's.
    pub connections: u32,
    /// The seed of what is asked for.
    pub seed: u64,
    /// What the database was filled with.
    pub data: Data,
}

impl Evaluation {
    /// The user's evaluation: 15 cases on one connection, a pause of 5 ms, as many rounds as asked for.
    pub fn new(data: Data, rounds: u64) -> Evaluation {
        Evaluation {
            cases: CASES,
            rounds,
            pause: Duration::from_millis(5),
            connections: 1,
            seed: data.seed,
            data,
        }
    }

    /// Does all of its work against a target. Errors during the work are counted and tried again a bounded number of times.
    ///
    /// # Errors
    /// [`TestbedError::Database`] when it cannot connect at the start or its tables are not there.
    pub async fn run(&self, target: &Target) -> Result<Report, TestbedError> {
        // Held to the end, and so never told.
        let (_handle, stop) = Stop::new();
        self.run_until(target, stop).await
    }

    /// As [`Evaluation::run`], but ends early, between two operations, when it is told to. The report then is of what was done
    /// until then.
    ///
    /// # Errors
    /// As [`Evaluation::run`].
    pub async fn run_until(&self, target: &Target, stop: Stop) -> Result<Report, TestbedError> {
        let mut sessions = Vec::new();
        for _ in 0..self.connections.max(1) {
            let mut session = Session::new(target, "ragchecker", STATEMENTS);
            session.connect().await?;
            sessions.push(session);
        }
        let begun = clock::now();
        let running = (0..).zip(sessions).map(|(connection, session)| {
            tokio::spawn(self.work(connection, session, stop.clone()))
        });
        let mut all = Tally::default();
        for tally in join_all(running.collect::<Vec<_>>()).await {
            match tally {
                Ok(tally) => all.merge(tally),
                // A worker that panicked has no result; the others' still count.
                Err(_) => all.abandoned += 1,
            }
        }
        Ok(all.report("evaluation", begun.elapsed()))
    }

    fn work(
        &self,
        connection: u32,
        mut session: Session,
        stop: Stop,
    ) -> impl Future<Output = Tally> + Send + use<> {
        let (operations, pause, seed) = (self.operations(connection), self.pause, self.data.seed);
        async move {
            for operation in operations.take_while(|_| !stop.is_requested()) {
                match Prepared::new(operation, seed) {
                    Some(prepared) => session.perform(&prepared).await,
                    None => tokio::time::sleep(pause).await,
                }
            }
            session.finish()
        }
    }

    /// The operations of a connection, in order; the same seed gives the same ones. They leave the keys and the sizes as they
    /// found them, so that a second run does the same work.
    pub fn operations(
        &self,
        connection: u32,
    ) -> impl Iterator<Item = EvaluationOperation> + Send + use<> {
        let connections = u64::from(self.connections.max(1));
        let (cases, seed) = (self.cases, self.seed);
        (0..self.rounds).flat_map(move |round| {
            (0..cases)
                .filter(move |case| case % connections == u64::from(connection))
                .flat_map(move |case| operations_of_a_case(seed, round, case))
        })
    }
}

/// One step of the evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvaluationOperation {
    /// Asks the cache for a key, which may not be there.
    CacheRead {
        /// The key.
        key: String,
    },
    /// The 10 messages nearest to a vector.
    Search {
        /// The number of the vector.
        query: u64,
    },
    /// The model API works; the connection is idle.
    Pause,
    /// Writes a large JSON answer over the one in the cache.
    CacheWrite {
        /// The key.
        key: String,
        /// The number of the answer.
        answer: u64,
        /// Its size in bytes, at least.
        bytes: usize,
    },
    /// Writes a performance metric.
    Metric {
        /// Its value, in milliseconds.
        milliseconds: i32,
    },
    /// Writes the result of the case and a metric, in one transaction.
    Result {
        /// The case.
        case: i32,
        /// The round.
        round: i32,
    },
}

fn operations_of_a_case(seed: u64, round: u64, case: u64) -> Vec<EvaluationOperation> {
    let mut random = Random::new(seed, (round << 20) | case | (1 << 60));
    // A cache larger than what was loaded is not there: some cases beyond the loaded ones only miss.
    let mut key = || cache_key(case, random.below(CACHE_KEYS_PER_CASE));
    let (first, second, written) = (key(), key(), key());
    let missing = format!("ragchecker:missing-{case}:{round}");
    let mut steps = [first, missing, second]
        .map(|key| EvaluationOperation::CacheRead { key })
        .to_vec();
    steps.extend((0..3).map(|_| EvaluationOperation::Search {
        query: random.next(),
    }));
    steps.push(EvaluationOperation::Pause);
    let bytes = 50_000 + random.below(50_000) as usize;
    steps.push(EvaluationOperation::CacheWrite {
        key: written,
        answer: random.next(),
        bytes,
    });
    // Below 1,000, and a case's and a round's number are small: all fit.
    let small = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    steps.extend((0..2).map(|_| EvaluationOperation::Metric {
        milliseconds: small(random.below(1_000)),
    }));
    steps.push(EvaluationOperation::Result {
        case: small(case),
        round: small(round),
    });
    steps
}

/// An operation with what it sends, made before its time is taken.
struct Prepared {
    operation: EvaluationOperation,
    vector: Vector,
    json: JsonText,
}

impl Prepared {
    /// `None` for the pause, which sends nothing.
    fn new(operation: EvaluationOperation, seed: u64) -> Option<Prepared> {
        let mut vector = Vec::new();
        let mut json = String::new();
        match &operation {
            EvaluationOperation::Pause => return None,
            EvaluationOperation::Search { query } => vector = query_vector(seed, *query),
            EvaluationOperation::CacheWrite { answer, bytes, .. } => {
                json = payload(seed, *answer, *bytes)
            }
            EvaluationOperation::Metric { .. } => json = r#"{"source":"ragchecker"}"#.to_owned(),
            EvaluationOperation::Result { .. } => {
                json = r#"{"precision":0.31,"recall":0.42,"f1":0.36}"#.to_owned()
            }
            EvaluationOperation::CacheRead { .. } => {}
        }
        Some(Prepared {
            operation,
            vector: Vector(vector),
            json: JsonText(json),
        })
    }
}

impl Operation for Prepared {
    fn kind(&self) -> &'static str {
        match self.operation {
            EvaluationOperation::CacheRead { .. } => "cache-read",
            EvaluationOperation::Search { .. } => "search",
            EvaluationOperation::Pause => "pause",
            EvaluationOperation::CacheWrite { .. } => "cache-write",
            EvaluationOperation::Metric { .. } => "metric",
            EvaluationOperation::Result { .. } => "result",
        }
    }

    async fn run(&self, client: &Client, statements: &[Statement]) -> Result<(), Error> {
        match &self.operation {
            EvaluationOperation::CacheRead { key } => client
                .query(&statements[CACHE_READ], &[key])
                .await
                .map(drop),
            EvaluationOperation::Search { .. } => client
                .query(&statements[SEARCH], &[&self.vector])
                .await
                .map(drop),
            EvaluationOperation::Pause => Ok(()),
            EvaluationOperation::CacheWrite { key, .. } => {
                let scores = JsonText(r#"{"top":0.9}"#.to_owned());
                client
                    .execute(&statements[CACHE_WRITE], &[key, &self.json, &scores])
                    .await
                    .map(drop)
            }
            EvaluationOperation::Metric { milliseconds } => client
                .execute(
                    &statements[METRIC],
                    &[&"ragchecker", milliseconds, &self.json],
                )
                .await
                .map(drop),
            EvaluationOperation::Result { case, round } => {
                client.batch_execute("BEGIN").await?;
                client
                    .execute(&statements[RESULT], &[case, round, &self.json])
                    .await?;
                client
                    .execute(
                        &statements[METRIC],
                        &[&"ragchecker-case", &0_i32, &self.json],
                    )
                    .await?;
                client.batch_execute("COMMIT").await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(seed: u64, connections: u32) -> Evaluation {
        Evaluation {
            seed,
            connections,
            ..Evaluation::new(Data { rows: 500, seed: 1 }, 4)
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_operations() {
        let recorded = |seed| evaluation(seed, 1).operations(0).collect::<Vec<_>>();
        assert_eq!(recorded(3), recorded(3));
        assert_ne!(recorded(3), recorded(4));
        assert_eq!(
            recorded(3)
                .iter()
                .filter(|step| **step == EvaluationOperation::Pause)
                .count(),
            4 * 15
        );
    }

    #[test]
    fn two_connections_share_the_work_and_do_all_of_it() {
        let sorted = |mut all: Vec<EvaluationOperation>| {
            all.sort_by_key(|step| format!("{step:?}"));
            all
        };
        let one = sorted(evaluation(3, 1).operations(0).collect());
        let two =
            (0..2).map(|connection| evaluation(3, 2).operations(connection).collect::<Vec<_>>());
        assert!(two.clone().all(|share| share.len() < one.len()));
        assert_eq!(sorted(two.flatten().collect()), one);
    }

    #[test]
    fn only_keys_that_are_in_the_cache_are_written() {
        for step in evaluation(3, 1).operations(0) {
            if let EvaluationOperation::CacheWrite { key, bytes, .. } = step {
                assert!(!key.contains("missing"));
                assert!((50_000..100_000).contains(&bytes));
            }
        }
    }
}
