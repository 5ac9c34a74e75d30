//! The SHOWs that count: by database since the start, and their averages.

use std::collections::BTreeMap;

use super::{NoAnswer, Source};
use crate::console::averages::{ByDatabase, Counts, by_database};
use crate::console::table::{Row, Value, row};

async fn counted(source: &Source<'_>) -> Result<ByDatabase, NoAnswer> {
    let pools = source.handle.pools().await.ok_or(NoAnswer::Ended)?;
    Ok(by_database(&pools))
}

/// In the order of PgBouncer's columns.
fn totals_of(counts: &Counts) -> [u64; 11] {
    [
        counts.assignments,
        counts.transactions,
        counts.queries,
        counts.received,
        counts.sent,
        counts.transaction_us,
        counts.query_us,
        counts.wait_us,
        counts.client_parses,
        counts.server_parses,
        counts.binds,
    ]
}

fn with(database: &str, parts: &[[u64; 11]]) -> Row {
    let mut row = row![database];
    row.extend(parts.iter().flatten().map(|number| Value::from(*number)));
    row
}

pub(super) async fn stats(source: &Source<'_>) -> Result<Vec<Row>, NoAnswer> {
    let (now, averages) = both(source).await?;
    let none = Counts::default();
    let rows = now.iter().map(|(database, counts)| {
        let average = averages.get(database).unwrap_or(&none);
        with(database, &[totals_of(counts), totals_of(average)])
    });
    Ok(rows.collect())
}

pub(super) async fn totals_by_database(source: &Source<'_>) -> Result<Vec<Row>, NoAnswer> {
    let now = counted(source).await?;
    let rows = now.iter();
    Ok(rows
        .map(|(database, counts)| with(database, &[totals_of(counts)]))
        .collect())
}

pub(super) async fn averages_by_database(source: &Source<'_>) -> Result<Vec<Row>, NoAnswer> {
    let (_, averages) = both(source).await?;
    let rows = averages.iter();
    Ok(rows
        .map(|(database, counts)| with(database, &[totals_of(counts)]))
        .collect())
}

async fn both(source: &Source<'_>) -> Result<(ByDatabase, BTreeMap<String, Counts>), NoAnswer> {
    let now = counted(source).await?;
    let averages = source.averages.of(&now);
    Ok((now, averages))
}

pub(super) async fn totals(source: &Source<'_>) -> Result<Vec<Row>, NoAnswer> {
    const NAMES: [&str; 11] = [
        "server_assignment_count",
        "xact_count",
        "query_count",
        "client_bytes",
        "server_bytes",
        "xact_time",
        "query_time",
        "wait_time",
        "ps_client_parse_count",
        "ps_server_parse_count",
        "ps_bind_count",
    ];
    let (now, _) = both(source).await?;
    let mut all = Counts::default();
    for counts in now.values() {
        all.add(counts);
    }
    let whole: ByDatabase = BTreeMap::from([(String::new(), all.clone())]);
    let averages = source.averages.of_all(&whole);
    let rows = |prefix: &'static str, counts: &Counts| -> Vec<Row> {
        let values = NAMES.iter().zip(totals_of(counts));
        values
            .map(|(name, value)| row![format!("{prefix}_{name}"), value])
            .collect()
    };
    let mut all_rows = rows("total", &all);
    all_rows.extend(rows("avg", &averages));
    Ok(all_rows)
}
