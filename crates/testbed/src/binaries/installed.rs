//! Installed PostgreSQLs: which folders to look at, and which of them have pgvector.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Binaries, Source};
use crate::account::{Account, run};

/// The folders that may hold an installation, most wanted first: `PATH`, Homebrew, Debian and PGDG, Postgres.app. Newer
/// versions come first within a place.
pub(super) fn places() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    for prefix in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
        found.extend(
            (14..=18)
                .rev()
                .map(|major| PathBuf::from(format!("{prefix}/opt/postgresql@{major}/bin"))),
        );
        found.push(PathBuf::from(format!("{prefix}/bin")));
    }
    for parent in [
        "/usr/lib/postgresql",
        "/Applications/Postgres.app/Contents/Versions",
    ] {
        found.extend(
            subfolders(Path::new(parent))
                .into_iter()
                .map(|version| version.join("bin")),
        );
    }
    found.extend(
        (14..=18)
            .rev()
            .map(|major| PathBuf::from(format!("/usr/pgsql-{major}/bin"))),
    );
    let mut seen = std::collections::HashSet::new();
    found.retain(|folder| folder.join("postgres").is_file() && seen.insert(folder.clone()));
    found
}

/// The folders inside a folder, names descending (18 before 16).
fn subfolders(parent: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found.reverse();
    found
}

/// Takes a bin folder if all that is needed is there; else says what is missing.
pub(super) fn accept(folder: &Path, account: Account, source: Source) -> Result<Binaries, String> {
    for program in ["postgres", "initdb"] {
        if !folder.join(program).is_file() {
            return Err(format!("no {program}"));
        }
    }
    // The real place: Homebrew and Debian put links on PATH, and the share folder is looked for from the program's own.
    let folder = folder
        .join("postgres")
        .canonicalize()
        .ok()
        .and_then(|real| real.parent().map(Path::to_owned))
        .unwrap_or(folder.to_owned());
    if !account.can_reach(&folder) {
        return Err("closed to the account that PostgreSQL runs as".to_owned());
    }
    if !has_vector(&folder) {
        return Err("no pgvector".to_owned());
    }
    Binaries::open(&folder, account, source).map_err(|error| error.to_string())
}

/// Whether pgvector's control file and library are where this PostgreSQL looks for them.
fn has_vector(folder: &Path) -> bool {
    let control = directories(folder, "--sharedir", &["../share/postgresql", "../share"])
        .iter()
        .any(|share| share.join("extension/vector.control").is_file());
    let library = directories(folder, "--pkglibdir", &["../lib/postgresql", "../lib"])
        .iter()
        .any(|library| {
            ["vector.so", "vector.dylib"]
                .iter()
                .any(|name| library.join(name).is_file())
        });
    control && library
}

/// What `pg_config` says, which is what counts; without a `pg_config` (a server package may lack it) the usual places.
fn directories(folder: &Path, option: &str, usual: &[&str]) -> Vec<PathBuf> {
    let mut command = Command::new(folder.join("pg_config"));
    command.arg(option);
    match run(command, "pg_config") {
        Ok(said) => vec![PathBuf::from(said.trim())],
        Err(_) => {
            let debian = folder
                .parent()
                .and_then(Path::file_name)
                .map(|version| Path::new("/usr/share/postgresql").join(version));
            let own_library = folder.parent().map(|parent| parent.join("lib"));
            usual
                .iter()
                .map(|place| folder.join(place))
                .chain(debian)
                .chain(own_library)
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A made-up installation: programs that are shell scripts, and files that stand for pgvector.
    fn installation(name: &str, with_vector: bool) -> PathBuf {
        let root =
            std::env::temp_dir().join(format!("pglanes-installed-{}-{name}", std::process::id()));
        for folder in ["bin", "share/postgresql/extension", "lib/postgresql"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for program in ["postgres", "initdb"] {
            let path = root.join("bin").join(program);
            std::fs::write(&path, "#!/bin/sh\necho 'postgres (PostgreSQL) 17.2'\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        if with_vector {
            std::fs::write(root.join("share/postgresql/extension/vector.control"), "").unwrap();
            std::fs::write(root.join("lib/postgresql/vector.so"), "").unwrap();
        }
        root
    }

    #[test]
    fn an_installation_without_pgvector_is_passed_over() {
        let root = installation("without", false);
        let answer = accept(&root.join("bin"), Account::Own, Source::Installed);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(answer.unwrap_err(), "no pgvector");
    }

    #[test]
    fn an_installation_with_pgvector_is_taken() {
        let root = installation("with", true);
        let answer = accept(&root.join("bin"), Account::Own, Source::Installed);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(answer.unwrap().major(), Some(17));
    }
}
