//! What the programs run in, and what they need besides: installed from its registry, once, in the build's own folder. What
//! an operating system packages (a driver of Perl, Ruby or Java) is used where it is, and not installed.

mod compiled;
mod node;
mod python;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) use compiled::{c, java};
pub(crate) use node::node;
pub(crate) use python::python;

/// How long a registry may take.
const LONGEST_INSTALLATION: Duration = Duration::from_secs(480);

/// Why a client does not run here.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// The file in a folder of this crate.
fn program(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

/// Whether a command runs here, and well. It may not be there at all.
fn works(command: &str, arguments: &[&str]) -> bool {
    let mut probe = Command::new(command);
    probe.args(arguments).stdin(Stdio::null());
    probe.output().is_ok_and(|output| output.status.success())
}

/// A folder beside the build that holds what `made_of` says: made by `make`, which is given the folder, unless it is there. Tests,
/// and runs of them, wait for the one that makes it.
async fn made_once(name: &str, made_of: &str, make: impl AsyncFnOnce(&Path)) -> PathBuf {
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(beside).unwrap();
    let lock = beside.join(format!("{name}.lock"));
    let lock = tokio::task::spawn_blocking(move || {
        let lock = File::create(lock).unwrap();
        lock.lock().unwrap();
        lock
    });
    // It goes with the file.
    let _lock = lock.await.unwrap();
    let folder = beside.join(name);
    let made = folder.join("made-of");
    if !fs::read_to_string(&made).is_ok_and(|made| made == made_of) {
        make(&folder).await;
        fs::write(made, made_of).unwrap();
    }
    folder
}

/// A program of the folder `perl`, where there is DBD::Pg.
pub(crate) fn perl(name: &str) -> Result<Command, Skipped> {
    if !works("perl", &["-MDBD::Pg", "-e", "1"]) {
        return Err(Skipped("there is no perl with DBD::Pg here".to_owned()));
    }
    let mut command = Command::new("perl");
    command.arg(program("perl", name));
    Ok(command)
}

/// A program of the folder `ruby`, where there is the gem pg.
pub(crate) fn ruby(name: &str) -> Result<Command, Skipped> {
    if !works("ruby", &["-rpg", "-e", "1"]) {
        return Err(Skipped("there is no ruby with the gem pg here".to_owned()));
    }
    let mut command = Command::new("ruby");
    command.arg(program("ruby", name));
    Ok(command)
}
