//! The files of a source tree that are looked into: text, of a bearable size, not somebody else's.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The most files that are looked into.
pub const MAXIMUM_FILES: usize = 50_000;
/// The largest file that is looked into.
const MAXIMUM_BYTES: u64 = 1 << 20;
/// How deep folders are followed.
const DEEPEST: usize = 40;
/// Folders of others, and of what is built.
const SKIPPED: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    "venv",
    ".venv",
    "virtualenv",
    "site-packages",
    "__pycache__",
    ".tox",
    ".mypy_cache",
    ".pytest_cache",
    "target",
    "dist",
    "build",
    ".idea",
];
/// What a backup's name ends with; backups are not looked into.
pub(super) const BACKUP: &str = ".pglanes-backup";

/// A file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What was found, and what was passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Files that mention PostgreSQL in some way, in order.
    pub sources: Vec<Source>,
    /// How many files were looked into.
    pub files: usize,
    /// Files or folders that could not be read, with the reason.
    pub unreadable: Vec<String>,
    /// Whether there were more files than [`MAXIMUM_FILES`].
    pub cut: bool,
}

/// Looks into a folder, or one file. Links are not followed.
pub fn walk(root: &Path) -> Walked {
    let mut walked = Walked::default();
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let facts = match fs::symlink_metadata(&path) {
            Ok(facts) => facts,
            Err(error) => {
                walked
                    .unreadable
                    .push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        if facts.is_dir() && depth < DEEPEST {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            if depth > 0 && name.is_some_and(|name| SKIPPED.contains(&name.as_str())) {
                continue;
            }
            match fs::read_dir(&path) {
                Ok(entries) => {
                    waiting.extend(entries.flatten().map(|entry| (entry.path(), depth + 1)))
                }
                Err(error) => walked
                    .unreadable
                    .push(format!("{}: {error}", path.display())),
            }
        } else if facts.is_file() && facts.len() <= MAXIMUM_BYTES {
            if walked.files == MAXIMUM_FILES {
                walked.cut = true;
                break;
            }
            walked.files += 1;
            look_into(path, &mut walked);
        }
    }
    walked
        .sources
        .sort_by(|one, other| one.path.cmp(&other.path));
    walked
}

fn look_into(path: PathBuf, walked: &mut Walked) {
    if path.to_string_lossy().contains(BACKUP) {
        return;
    }
    let mut bytes = Vec::new();
    let read =
        fs::File::open(&path).and_then(|file| file.take(MAXIMUM_BYTES).read_to_end(&mut bytes));
    if let Err(error) = read {
        walked
            .unreadable
            .push(format!("{}: {error}", path.display()));
        return;
    }
    // Binary files have zero bytes, or are not UTF-8.
    if bytes.contains(&0) {
        return;
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return;
    };
    let lower = text.to_ascii_lowercase();
    let words = [
        "postgres", "host", "dbname", "psql", "pg_dump", "pgbench", "createdb", "dropdb",
    ];
    if words.iter().any(|word| lower.contains(word)) {
        walked.sources.push(Source { path, text });
    }
}
