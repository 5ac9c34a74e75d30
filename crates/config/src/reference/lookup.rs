//! Looking keys up, and printing them.

use super::ENTRIES;

/// Whether the pattern is a documented key.
pub(crate) fn has(pattern: &str) -> bool {
    ENTRIES.iter().any(|entry| entry.path == pattern)
}

/// Whether any documented key is called so, wherever it stands.
pub(crate) fn is_key(name: &str) -> bool {
    ENTRIES
        .iter()
        .any(|entry| entry.path.rsplit('.').next() == Some(name))
}

/// The keys right under the pattern, in the order of the reference.
pub(crate) fn keys_of(pattern: &str) -> Vec<&'static str> {
    ENTRIES
        .iter()
        .filter_map(|entry| {
            let rest = if pattern.is_empty() {
                entry.path
            } else {
                entry.path.strip_prefix(pattern)?.strip_prefix('.')?
            };
            (!rest.contains(['.', '*', '['])).then_some(rest)
        })
        .collect()
}

/// The reference as text: one key a paragraph, for `pglanes check --reference` and the documentation.
pub fn text() -> String {
    let mut out = String::new();
    for entry in ENTRIES {
        out.push_str(entry.path);
        out.push_str("\n    ");
        out.push_str(entry.kind);
        if !entry.default.is_empty() {
            out.push_str("; default: ");
            out.push_str(entry.default);
        }
        out.push_str("\n    ");
        out.push_str(entry.meaning);
        out.push('\n');
    }
    out
}
