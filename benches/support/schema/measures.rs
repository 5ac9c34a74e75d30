//! The operations that each script is for, and those that pay for it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::time::Instant;

use tokio_postgres::Client;

use super::Size;
use super::world::{Measured, Pair, World, milliseconds};
use crate::clock;

/// Those that are measured.
pub const SCRIPTS: [&str; 7] = [
    "10-cache-expiry",
    "20-messages-updates",
    "21-cache-churn",
    "30-cache-compression",
    "40-metrics-brin",
    "50-json-containment",
    "60-compaction",
];
/// Compaction updates this part of the messages at a time.
const SLICES: u64 = 40;

/// The figures of one script.
pub(super) async fn of(script: &str, world: &World) -> anyhow::Result<Vec<Measured>> {
    match script {
        "10-cache-expiry" => expiry(world).await,
        "20-messages-updates" => updates(world).await,
        "21-cache-churn" => churn(world).await,
        "30-cache-compression" => compression(world).await,
        "40-metrics-brin" => metrics(world).await,
        "50-json-containment" => containment(world).await,
        _ => compaction(world).await,
    }
}

async fn expiry(world: &World) -> anyhow::Result<Vec<Measured>> {
    let repetitions = world.size.repetitions;
    let pair = world.pair("10-cache-expiry", &[]).await?;
    const EXPIRED: &str = "INSERT INTO memory_retrieval_cache SELECT 'old:' || n, '{}', '{}', CURRENT_TIMESTAMP - INTERVAL '1 hour' \
         FROM generate_series(1, 200) n";
    let price = cache_writes(&pair, "its price: a write of the evaluation", repetitions).await?;
    let expire = pair.time(
        format!("200 of {} entries expire", world.size.answers),
        repetitions,
        async |client, is_after, _| {
            client.batch_execute(EXPIRED).await?;
            milliseconds(client.batch_execute(match is_after {
                true => "CALL pglanes.expire_cache(rest => 0)",
                false => "DELETE FROM memory_retrieval_cache WHERE expires_at < CURRENT_TIMESTAMP",
            }))
            .await
        },
    );
    Ok(vec![expire.await?, price])
}

/// A large answer over the one in the cache, as the evaluation writes it.
async fn cache_writes(
    pair: &Pair,
    what: impl Into<String>,
    repetitions: u32,
) -> anyhow::Result<Measured> {
    let answer = "SELECT retrieved_context::text FROM memory_retrieval_cache WHERE cache_key = 'ragchecker:case-1:1'";
    let answer: String = pair.before.query_one(answer, &[]).await?.get(0);
    let writing = "INSERT INTO memory_retrieval_cache (cache_key, retrieved_context, relevance_scores, expires_at) \
         VALUES ($1, $2::text::jsonb, '{\"top\": 0.9}', 'infinity') ON CONFLICT (cache_key) DO UPDATE \
         SET retrieved_context = EXCLUDED.retrieved_context, relevance_scores = EXCLUDED.relevance_scores";
    pair.time(what, repetitions * 3, async |client, _, number| {
        let key = format!("ragchecker:case-{}:{}", number % 15, number % 4);
        milliseconds(client.execute(writing, &[&key, &answer])).await
    })
    .await
}

/// Compaction's UPDATE of one slice.
async fn update_slice(client: &Client, rows: u64, slice: u64, value: &str) -> anyhow::Result<f64> {
    let length = rows / SLICES;
    let first = slice % SLICES * length + 1;
    let update = format!(
        "UPDATE conversation_messages SET relevance_score = relevance_score * 0.999, \
         metadata = metadata || jsonb_build_object('compacted', {value}) WHERE message_id BETWEEN {first} AND {}",
        first + length - 1
    );
    milliseconds(client.batch_execute(&update)).await
}

/// Every message updated once, with the vacuum that compaction does: each row then lies where its settings have it.
async fn settle(pair: &Pair, rows: u64) -> anyhow::Result<()> {
    for slice in 0..SLICES {
        for client in [&pair.before, &pair.after] {
            update_slice(client, rows, slice, "true").await?;
        }
        if slice % 10 == 9 {
            pair.run("VACUUM conversation_messages").await?;
        }
    }
    Ok(())
}

async fn slices(
    pair: &Pair,
    what: impl Into<String>,
    rows: u64,
    repetitions: u32,
) -> anyhow::Result<Measured> {
    pair.time(what, repetitions, async |client, _, number| {
        // Another value each time, or the column counts as unchanged.
        update_slice(client, rows, u64::from(number), &number.to_string()).await
    })
    .await
}

async fn updates(world: &World) -> anyhow::Result<Vec<Measured>> {
    let repetitions = world.size.repetitions;
    let pair = world.pair("20-messages-updates", &[]).await?;
    settle(&pair, world.size.rows).await?;
    pair.run("SELECT pg_stat_reset_single_table_counters('conversation_messages'::regclass)")
        .await?;
    let updated = slices(
        &pair,
        "compaction updates 1/40 of the messages",
        world.size.rows,
        repetitions,
    )
    .await?;
    let searched = pair
        .time("a search after it (100 nearest)", repetitions * 2, async |client, _, number| {
            let search = format!(
                "SET hnsw.ef_search = 200; SELECT message_id, content FROM conversation_messages WHERE embedding IS NOT NULL \
                 ORDER BY embedding <=> (SELECT embedding FROM conversation_messages WHERE message_id = {}) LIMIT 100",
                number * 37 + 1
            );
            milliseconds(client.simple_query(&search)).await
        })
        .await?;
    let mut size = Measured {
        what: "the table's size".to_owned(),
        unit: "MB",
        before: Vec::new(),
        after: Vec::new(),
    };
    for (client, sizes) in [
        (&pair.before, &mut size.before),
        (&pair.after, &mut size.after),
    ] {
        let bytes: i64 = client
            .query_one("SELECT pg_relation_size('conversation_messages')", &[])
            .await?
            .get(0);
        sizes.push(bytes as f64 / 1e6);
    }
    Ok(vec![updated, searched, size])
}

async fn churn(world: &World) -> anyhow::Result<Vec<Measured>> {
    let pair = world.pair("21-cache-churn", &[]).await?;
    const SIZE: &str = "SELECT pg_total_relation_size('memory_retrieval_cache')::float8 / 1e6";
    let Size {
        large,
        rewrites,
        pause,
        ..
    } = world.size;
    let value = format!(
        "INSERT INTO memory_retrieval_cache SELECT 'big:' || n, (SELECT jsonb_build_object('text', string_agg(md5(random()::text), '')) \
         FROM generate_series(1, 600)), '{{}}', 'infinity' FROM generate_series(1, {large}) n; VACUUM (ANALYZE) memory_retrieval_cache"
    );
    // Three in a hundred at a time.
    let part = large * 3 / 100;
    for part in value.split(';') {
        pair.run(part).await?;
    }
    let mut grown = Measured {
        what: "growth of the cache while up to 60 % of it is rewritten".to_owned(),
        unit: "MB",
        before: Vec::new(),
        after: Vec::new(),
    };
    let mut start = [0.0; 2];
    for (client, start) in [&pair.before, &pair.after].into_iter().zip(&mut start) {
        *start = client.query_one(SIZE, &[]).await?.get(0);
    }
    for round in 0..rewrites {
        pair.run(&format!(
            "UPDATE memory_retrieval_cache SET retrieved_context = (SELECT jsonb_build_object('text', string_agg(md5(random()::text), '')) \
             FROM generate_series(1, 600) WHERE cache_key IS NOT NULL) WHERE cache_key IN (SELECT 'big:' || n FROM generate_series({}, {}) n)",
            round * part + 1,
            round * part + part
        ))
        .await?;
        tokio::time::sleep(pause).await;
        let sizes: [f64; 2] = [
            pair.before.query_one(SIZE, &[]).await?.get(0),
            pair.after.query_one(SIZE, &[]).await?.get(0),
        ];
        if round >= rewrites / 2 {
            grown.before.push(sizes[0] - start[0]);
            grown.after.push(sizes[1] - start[1]);
        }
    }
    Ok(vec![grown])
}

async fn compression(world: &World) -> anyhow::Result<Vec<Measured>> {
    let repetitions = world.size.repetitions;
    let Some(pair) = world.lz4_pair("30-cache-compression").await? else {
        eprintln!("30-cache-compression: --lz4-server names no server whose build has lz4");
        return Ok(Vec::new());
    };
    let written = cache_writes(&pair, "a write of the evaluation (75 kB)", repetitions).await?;
    let read = pair
        .time("a read of it", repetitions * 3, async |client, _, number| {
            let read = format!(
                "SELECT retrieved_context::text FROM memory_retrieval_cache WHERE cache_key = 'ragchecker:case-{}:{}'",
                number % 15,
                number % 4
            );
            milliseconds(client.simple_query(&read)).await
        })
        .await?;
    Ok(vec![written, read])
}

async fn metrics(world: &World) -> anyhow::Result<Vec<Measured>> {
    let repetitions = world.size.repetitions;
    let pair = world.pair("40-metrics-brin", &[]).await?;
    let asked = pair
        .time(format!("the last hour of {} metrics", world.size.metrics), repetitions, async |client, _, _| {
            milliseconds(client.simple_query(
                "SELECT operation_type, count(*), avg(execution_time_ms) FROM memory_performance_metrics \
                 WHERE created_at > CURRENT_TIMESTAMP - INTERVAL '1 hour' GROUP BY 1",
            ))
            .await
        })
        .await?;
    let inserted = pair
        .time("its price: 500 metrics written", repetitions, async |client, _, _| {
            milliseconds(client.batch_execute(
                "INSERT INTO memory_performance_metrics (operation_type, execution_time_ms) SELECT 'search', n FROM generate_series(1, 500) n",
            ))
            .await
        })
        .await?;
    Ok(vec![asked, inserted])
}

async fn containment(world: &World) -> anyhow::Result<Vec<Measured>> {
    let repetitions = world.size.repetitions;
    // Beside the room for updates, which the index takes away again.
    let pair = world
        .pair("50-json-containment", &["20-messages-updates"])
        .await?;
    settle(&pair, world.size.rows).await?;
    let asked = pair
        .time("messages of one topic of 40", repetitions, async |client, _, number| {
            let ask = format!("SELECT count(*) FROM conversation_messages WHERE metadata @> '{{\"topic\": \"t{}\"}}'", number % 40);
            milliseconds(client.simple_query(&ask)).await
        })
        .await?;
    let updated = slices(
        &pair,
        "its price: compaction updates 1/40 of the messages",
        world.size.rows,
        repetitions,
    )
    .await?;
    Ok(vec![asked, updated])
}

/// Messages without a vector beside the others, so that there are enough to compact.
const MORE_COPIES: u64 = 24;
const MORE_MESSAGES: &str = "INSERT INTO conversation_messages (session_id, content, relevance_score, metadata) \
     SELECT session_id, content, relevance_score, metadata FROM conversation_messages, generate_series(1, 24)";

async fn compaction(world: &World) -> anyhow::Result<Vec<Measured>> {
    let pair = world.pair("60-compaction", &[]).await?;
    pair.run(MORE_MESSAGES).await?;
    let rows = world.size.rows * (MORE_COPIES + 1);
    let others = [
        world.connect("before").await?,
        world.connect("after").await?,
    ];
    let waits = [RefCell::new(Vec::new()), RefCell::new(Vec::new())];
    let compacted = pair
        .time("15 % of the messages go to the archive", 6, async |client, is_after, number| {
            let below = f64::from(number + 1) * 0.15;
            let statement = match is_after {
                true => format!("CALL pglanes.compact({below}, archive => 'conversation_archive')"),
                false => format!(
                    "WITH gone AS (DELETE FROM conversation_messages WHERE relevance_score < {below} RETURNING *) \
                     INSERT INTO conversation_archive SELECT * FROM gone"
                ),
            };
            let longest = Cell::new(0.0);
            let since = Cell::new(clock::now());
            let took = tokio::select! {
                took = milliseconds(client.batch_execute(&statement)) => took?,
                never = want_rows(&others[usize::from(is_after)], rows, &since, &longest) => match never? {},
            };
            // One wait was cut off by the end.
            let last = since.get().elapsed().as_secs_f64() * 1_000.0;
            waits[usize::from(is_after)].borrow_mut().push(f64::max(last, longest.get()));
            Ok(took)
        })
        .await?;
    let [before, after] = waits.map(RefCell::into_inner);
    let waited = Measured {
        what: "meanwhile, the longest wait of another who locks a row at a time".to_owned(),
        unit: "ms",
        before,
        after,
    };
    Ok(vec![compacted, waited])
}

/// Locks one row after the other, and keeps the longest wait and when the present one began.
async fn want_rows(
    client: &Client,
    rows: u64,
    since: &Cell<Instant>,
    longest: &Cell<f64>,
) -> anyhow::Result<Infallible> {
    let mut row = 1;
    loop {
        // A step that is prime to most numbers of rows: all over the table.
        row = (row + 7_919) % rows + 1;
        let lock =
            format!("SELECT 1 FROM conversation_messages WHERE message_id = {row} FOR UPDATE");
        since.set(clock::now());
        let took = milliseconds(client.simple_query(&lock)).await?;
        longest.set(f64::max(longest.get(), took));
    }
}
