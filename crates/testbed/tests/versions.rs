//! A server of each supported version, from npm. Without npm, or without a network the first time, a version is skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use pglanes_testbed::{Postgres, TestbedError, Version};

async fn check(version: Version) {
    let postgres = match Postgres::builder().version(version).start() {
        Ok(postgres) => postgres,
        Err(error @ TestbedError::NoVersion { .. }) => {
            eprintln!("SKIPPED: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(postgres.binaries().major(), Some(version.major()));
    let client = postgres.connect("postgres").await.unwrap();
    let number: i32 = client
        .query_one("SELECT current_setting('server_version_num')::int", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(number / 10_000, i32::try_from(version.major()).unwrap());
    // Its libraries are found by their links, and the contributed extensions are there.
    client
        .batch_execute("CREATE EXTENSION pg_trgm; SELECT similarity('a', 'b')")
        .await
        .unwrap();
}

#[tokio::test]
async fn postgresql_14_starts() {
    check(Version::V14).await;
}

#[tokio::test]
async fn postgresql_15_starts() {
    check(Version::V15).await;
}

#[tokio::test]
async fn postgresql_16_starts() {
    check(Version::V16).await;
}

#[tokio::test]
async fn postgresql_17_starts() {
    check(Version::V17).await;
}

#[tokio::test]
async fn postgresql_18_starts() {
    check(Version::V18).await;
}
