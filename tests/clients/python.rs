//! One Python environment with all clients, made once and kept beside the build.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pglanes_tests::run;

/// What is installed. A change makes the environment anew.
const PACKAGES: [&str; 3] = [
    "psycopg[binary]>=3.2,<4",
    "psycopg2-binary>=2.9,<3",
    "asyncpg>=0.30,<1",
];

/// How long the registry may take.
const LONGEST_INSTALLATION: Duration = Duration::from_secs(180);

/// The environment's interpreter; `None` where there is no Python to make one with.
pub(crate) async fn environment() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).unwrap();
    // Tests, and runs of them, wait for each other here; the lock goes with the file.
    let lock = tokio::task::spawn_blocking(|| {
        let lock = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python.lock");
        let lock = File::create(lock).unwrap();
        lock.lock().unwrap();
        lock
    });
    let _lock = lock.await.unwrap();
    let environment = folder.join("python");
    let interpreter = environment.join("bin/python");
    let made = environment.join("made-of");
    if fs::read_to_string(&made).is_ok_and(|made| made == PACKAGES.join("\n")) {
        return Some(interpreter);
    }
    let mut probe = Command::new("python3");
    probe.args(["-c", "import venv, ensurepip"]);
    // `run` takes a program for granted, and this one may not be there.
    let there = probe.output().is_ok_and(|output| output.status.success());
    if !there {
        return None;
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    let output = run(make, LONGEST_INSTALLATION).await;
    assert!(output.succeeded, "{output:?}");
    let mut install = Command::new(&interpreter);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    install.args(PACKAGES);
    let output = run(install, LONGEST_INSTALLATION).await;
    assert!(output.succeeded, "{output:?}");
    fs::write(made, PACKAGES.join("\n")).unwrap();
    Some(interpreter)
}
