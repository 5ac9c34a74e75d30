//! Versions of pgvector with faults that a table under compaction meets.

/// The first version without any of the faults below.
pub const SOUND: [u32; 3] = [0, 8, 6];

/// Fixes by the version that has them (pgvector's CHANGELOG).
const FIXES: [([u32; 3], &str); 3] = [
    (
        [0, 8, 2],
        "a buffer overflow in parallel index builds (fixed in 0.8.2)",
    ),
    (
        [0, 8, 3],
        "possible index corruption when VACUUM cleans an HNSW index (fixed in 0.8.3)",
    ),
    (
        [0, 8, 4],
        "\"hnsw graph not repaired\", and inserts during a VACUUM (fixed in 0.8.4)",
    ),
];

/// Reads `0.8.5`; what is missing is 0.
pub(super) fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version
        .split('.')
        .map(|part| part.parse().unwrap_or_default());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// What is to be said of a version; nothing of a sound one.
pub fn warning(version: &str) -> Option<String> {
    let number = numbers(version);
    if number >= SOUND {
        return None;
    }
    let faults: Vec<&str> = FIXES
        .iter()
        .filter(|(fixed, _)| number < *fixed)
        .map(|(_, fault)| *fault)
        .collect();
    let has = if faults.is_empty() {
        "later fixes of HNSW are not in it".to_owned()
    } else {
        format!("it has {}", faults.join("; "))
    };
    Some(format!(
        "pgvector {version}: {has}. Where rows are deleted in bulk use 0.8.6 or later (source: pgvector's CHANGELOG)"
    ))
}
