//! An initialised data directory in the cache, made once per set of binaries: copying it takes a tenth of what `initdb` does.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::TestbedError;
use crate::account::{Account, run};
use crate::binaries::Binaries;
use crate::cache;

/// Counted up when what is done to a template changes, so that old ones are not used.
const FORMAT: u32 = 1;

/// The data directory to copy. Its superuser is `postgres` and pgvector is in its databases
/// (unless the binaries have none).
pub(super) fn initialised(binaries: &Binaries, account: Account) -> Result<PathBuf, TestbedError> {
    // A name that changes with the binaries: an upgrade in place keeps the folder but not the version.
    let mut hasher = DefaultHasher::new();
    (
        FORMAT,
        binaries.folder(),
        binaries.version(),
        account.user_id(),
    )
        .hash(&mut hasher);
    let name = format!("template-{:016x}", hasher.finish());
    let folder = cache::folder(account)?;
    let place = cache::entry(&folder, &name, |half| {
        let data = half.join("data");
        fs::create_dir(&data).map_err(TestbedError::file("make", &data))?;
        account.own(&data)?;
        let mut command = account.command(binaries.program("initdb"));
        command
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(&data);
        run(command, "initdb")?;
        for database in ["template1", "postgres"] {
            if !binaries.has_vector() {
                break;
            }
            single_user(
                binaries,
                account,
                &data,
                database,
                &[],
                "CREATE EXTENSION vector;",
            )?;
        }
        Ok(())
    })?;
    Ok(place.join("data"))
}

/// Gives the superuser a password before the server first runs, so that there is never a moment without one.
pub(super) fn set_password(
    binaries: &Binaries,
    account: Account,
    data: &Path,
    password: &str,
    encryption: &str,
) -> Result<(), TestbedError> {
    let statement = format!(
        "ALTER USER postgres PASSWORD '{}';",
        password.replace('\'', "''")
    );
    single_user(
        binaries,
        account,
        data,
        "postgres",
        &["-c", &format!("password_encryption={encryption}")],
        &statement,
    )
}

/// Runs one line of SQL without a server. Failures show only in the output: the exit is a success all the same. The
/// statement itself is not repeated in an error, as it may hold a password.
fn single_user(
    binaries: &Binaries,
    account: Account,
    data: &Path,
    database: &str,
    options: &[&str],
    statement: &str,
) -> Result<(), TestbedError> {
    let failed = |output: String| TestbedError::Program {
        program: format!("postgres --single {database}"),
        output,
    };
    let mut command = account.command(binaries.program("postgres"));
    command
        .args(["--single", "-F", "-c", "log_min_error_statement=panic"])
        .args(options)
        .arg("-D")
        .arg(data)
        .arg(database);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A server that ended before it read says why on its standard error.
        let _ = writeln!(input, "{statement}");
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && !said.contains("ERROR:") && !said.contains("FATAL:") {
        return Ok(());
    }
    Err(failed(format!("{}\n{said}", output.status)))
}
