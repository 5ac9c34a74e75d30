//! The house stays as design.md draws it: the arrows between crates, what pure crates may touch, the size of files and
//! functions, the top level, and that everything a user can write is documented. It reads cargo's metadata and the sources;
//! it starts nothing.

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/table.rs"]
mod table;
#[path = "tidy/texts.rs"]
mod texts;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

/// Every file below a folder with one of these endings, in order.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("a folder of the workspace")
            .flatten()
        {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every Rust source of the workspace, with its path from the top.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut sources = Vec::new();
    for folder in ["crates", "tests", "benches"] {
        for path in files(&root.join(folder), &[".rs"]) {
            let text = fs::read_to_string(&path).expect("a source file");
            let name = path.strip_prefix(&root).expect("below the top");
            sources.push((name.display().to_string(), text));
        }
    }
    assert!(sources.len() > 100, "only {} sources found", sources.len());
    sources
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The line of a formatted source at which the item ends that starts at `start`: the first that closes a brace, or ends a
/// statement, at the same depth.
fn item_end(lines: &[&str], start: usize) -> usize {
    let depth = indentation(lines[start]);
    let ends = |line: &&str| {
        indentation(line) == depth && (line.trim_start().starts_with('}') || line.ends_with(';'))
    };
    if lines[start].ends_with([';', '}']) {
        return start;
    }
    (start + 1..lines.len())
        .find(|index| ends(&lines[*index]))
        .unwrap_or(lines.len() - 1)
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n  {}", problems.join("\n  "));
}
