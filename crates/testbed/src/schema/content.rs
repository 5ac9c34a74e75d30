//! What the rows hold, by seed and number: vectors in clusters, words, keys and large JSON.

use std::fmt::Write as _;

use crate::random::Random;

/// The dimensions of a vector.
const DIMENSIONS: usize = 384;
/// The cases of an evaluation.
pub(crate) const CASES: u64 = 15;
/// The keys of each case that are in the cache.
pub(crate) const CACHE_KEYS_PER_CASE: u64 = 4;
/// Clusters of the vectors: sentences have topics, and an index over vectors without any would be unlike a real one.
const CLUSTERS: u64 = 64;
/// How far a vector lies from its topic's centre, which has length 1: two vectors of a topic have a cosine of about 0.6.
const SPREAD: f32 = 0.8;

// The kinds of things that have streams of numbers of their own.
const CENTRE: u64 = 1 << 56;
const MESSAGE: u64 = 2 << 56;
const QUERY: u64 = 3 << 56;
const TEXT: u64 = 4 << 56;
const PAYLOAD: u64 = 5 << 56;

/// The vector of a message.
pub(super) fn message_vector(seed: u64, message: u64) -> Vec<f32> {
    near_a_centre(seed, MESSAGE | message)
}

/// The vector of a search, near one of the topics.
pub(crate) fn query_vector(seed: u64, number: u64) -> Vec<f32> {
    near_a_centre(seed, QUERY | (number >> 8))
}

fn near_a_centre(seed: u64, stream: u64) -> Vec<f32> {
    let mut random = Random::new(seed, stream);
    let centre = direction(&mut Random::new(seed, CENTRE | random.below(CLUSTERS)));
    let away = direction(&mut random);
    normalised(
        centre
            .iter()
            .zip(away)
            .map(|(centre, away)| centre + SPREAD * away)
            .collect(),
    )
}

/// A vector of length 1 in any direction.
fn direction(random: &mut Random) -> Vec<f32> {
    normalised((0..DIMENSIONS).map(|_| random.gaussian()).collect())
}

fn normalised(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector
        .iter()
        .map(|number| number * number)
        .sum::<f32>()
        .sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    vector
}

const WORDS: [&str; 32] = [
    "memory",
    "context",
    "session",
    "vector",
    "answer",
    "question",
    "the",
    "of",
    "and",
    "with",
    "index",
    "retrieval",
    "score",
    "a",
    "decision",
    "project",
    "review",
    "because",
    "cache",
    "when",
    "model",
    "prompt",
    "result",
    "is",
    "was",
    "to",
    "evaluate",
    "summary",
    "in",
    "fixed",
    "latency",
    "note",
];

/// Words, at least `bytes` long.
fn words(random: &mut Random, bytes: usize, text: &mut String) {
    let end = text.len() + bytes;
    while text.len() < end {
        // Twelve words out of one number: five bits each.
        let mut bits = random.next();
        for _ in 0..12 {
            text.push_str(WORDS[(bits & 31) as usize]);
            text.push(' ');
            bits >>= 5;
        }
    }
}

/// The text of a message, 100 to 400 bytes.
pub(super) fn message_text(seed: u64, message: u64) -> String {
    let mut random = Random::new(seed, TEXT | message);
    let bytes = 100 + random.below(240) as usize;
    let mut text = String::with_capacity(bytes + 80);
    words(&mut random, bytes, &mut text);
    text
}

/// The name of a session, as SQL, by the SQL of its number: the server makes the same names as the client.
pub(super) fn session_name(number: &str) -> String {
    format!("'session-' || {number}")
}

/// The name of a user, as SQL, by the SQL of its number.
pub(super) fn user_name(number: &str) -> String {
    format!("'user-' || {number}")
}

/// The key of a cached answer to a case.
pub(crate) fn cache_key(case: u64, number: u64) -> String {
    format!("ragchecker:case-{case}:{number}")
}

/// A cached answer as JSON: chunks of text with scores, at least `bytes` long.
pub(crate) fn payload(seed: u64, number: u64, bytes: usize) -> String {
    let mut random = Random::new(seed, PAYLOAD ^ number);
    let mut text = String::with_capacity(bytes + 1_024);
    text.push_str(r#"{"model":"local","chunks":["#);
    let mut chunk = 0;
    while text.len() < bytes {
        let separator = if chunk == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"{separator}{{"chunk":{chunk},"score":0.{:04},"text":""#,
            random.below(10_000)
        );
        words(&mut random, 600, &mut text);
        text.push_str(r#""}"#);
        chunk += 1;
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(one: &[f32], two: &[f32]) -> f32 {
        one.iter().zip(two).map(|(one, two)| one * two).sum()
    }

    #[test]
    fn the_same_seed_and_number_give_the_same_row() {
        assert_eq!(message_vector(5, 17), message_vector(5, 17));
        assert_ne!(message_vector(5, 17), message_vector(5, 18));
        assert_ne!(message_vector(5, 17), message_vector(6, 17));
        assert_eq!(message_text(5, 17), message_text(5, 17));
        assert_ne!(message_text(5, 17), message_text(5, 18));
    }

    #[test]
    fn vectors_have_length_one_and_neighbours_of_their_topic() {
        let vectors: Vec<Vec<f32>> = (0..400).map(|message| message_vector(1, message)).collect();
        for vector in &vectors {
            assert_eq!(vector.len(), DIMENSIONS);
            assert!((cosine(vector, vector) - 1.0).abs() < 1e-4);
        }
        let others = || vectors[1..].iter().map(|other| cosine(&vectors[0], other));
        let near = others().filter(|cosine| *cosine > 0.45).count();
        let far = others().filter(|cosine| cosine.abs() < 0.25).count();
        assert!(near > 0, "nobody shares the topic");
        assert_eq!(near + far, 399, "between topics there is nothing");
    }

    #[test]
    fn a_payload_is_json_of_the_size_asked_for() {
        for bytes in [1, 50_000, 100_000] {
            let text = payload(1, 2, bytes);
            assert!(
                text.len() >= bytes && text.len() < bytes + 1_024,
                "{}",
                text.len()
            );
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
        assert_ne!(payload(1, 2, 500), payload(1, 3, 500));
    }
}
