//! What is compiled here: the C programs, with whatever libpq there is, and the Java ones, which `java` compiles itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pglanes_tests::run;

use super::{Skipped, made_once, program, works};

/// Where Debian's libpostgresql-jdbc-java lies.
const PACKAGED_DRIVER: &str = "/usr/share/java/postgresql.jar";
/// What Maven is asked for where that is not.
const DRIVER: &str = "org.postgresql:postgresql:42.7.7";
/// How long Maven, and the compiler, may take.
const LONGEST: Duration = Duration::from_secs(120);

/// A program of the folder `c`, compiled with the libpq that `pg_config` names.
pub(crate) async fn c(name: &str) -> Result<Command, Skipped> {
    if !works("cc", &["--version"]) {
        return Err(Skipped("there is no cc here".to_owned()));
    }
    let Some((headers, libraries)) = libpq() else {
        let why = "there is no pg_config with the headers of libpq here";
        return Err(Skipped(why.to_owned()));
    };
    let source = program("c", name);
    let text = std::fs::read_to_string(&source).unwrap();
    let made_of = format!("{} {}\n{text}", headers.display(), libraries.display());
    let folder = made_once("c", &made_of, async |folder| {
        std::fs::create_dir_all(folder).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
        compile.arg(folder.join("program")).arg(&source);
        compile.arg("-I").arg(&headers).arg("-L").arg(&libraries);
        compile.arg(format!("-Wl,-rpath,{}", libraries.display()));
        compile.arg("-lpq");
        let output = run(compile, LONGEST).await;
        assert!(output.succeeded, "{output:?}");
    });
    Ok(Command::new(folder.await.join("program")))
}

/// The folders of libpq's headers and of libpq itself: the system's, else those that came with the test bed's server.
fn libpq() -> Option<(PathBuf, PathBuf)> {
    let beside_server = pglanes_testbed::Binaries::find().ok();
    let beside_server = beside_server.map(|found| found.program("pg_config"));
    let places = [Some(PathBuf::from("pg_config")), beside_server];
    places.into_iter().flatten().find_map(|pg_config| {
        let headers = said(&pg_config, "--includedir")?;
        let libraries = said(&pg_config, "--libdir")?;
        let is_whole = headers.join("libpq-fe.h").is_file()
            && ["libpq.so", "libpq.dylib"]
                .iter()
                .any(|name| libraries.join(name).is_file());
        is_whole.then_some((headers, libraries))
    })
}

/// A folder that pg_config names.
fn said(pg_config: &Path, option: &str) -> Option<PathBuf> {
    let output = Command::new(pg_config).arg(option).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim())).filter(|_| output.status.success())
}

/// A program of the folder `java`, with the driver on its class path.
pub(crate) async fn java(name: &str) -> Result<Command, Skipped> {
    // A source is run only where there is a compiler; a runtime alone has none.
    if !works("java", &["--describe-module", "jdk.compiler"]) {
        let why = "there is no java with its compiler here";
        return Err(Skipped(why.to_owned()));
    }
    let mut driver = PathBuf::from(PACKAGED_DRIVER);
    if !driver.is_file() {
        driver = fetched_driver().await?;
    }
    let mut command = Command::new("java");
    command.arg("-cp").arg(driver).arg(program("java", name));
    Ok(command)
}

/// The driver as Maven brings it.
async fn fetched_driver() -> Result<PathBuf, Skipped> {
    if !works("mvn", &["--version"]) {
        let why = "there is neither libpostgresql-jdbc-java nor mvn here";
        return Err(Skipped(why.to_owned()));
    }
    let folder = made_once("java", DRIVER, async |folder| {
        std::fs::create_dir_all(folder).unwrap();
        let mut fetch = Command::new("mvn");
        fetch.args(["--batch-mode", "--quiet", "dependency:copy"]);
        fetch.arg(format!("-Dartifact={DRIVER}"));
        fetch.arg(format!("-DoutputDirectory={}", folder.display()));
        // Without its registry there is no driver, which is looked for next.
        let _ = run(fetch, LONGEST).await;
    });
    let version = DRIVER.rsplit(':').next().unwrap_or_default();
    let driver = folder.await.join(format!("postgresql-{version}.jar"));
    match driver.is_file() {
        true => Ok(driver),
        false => Err(Skipped("Maven does not bring the driver".to_owned())),
    }
}
