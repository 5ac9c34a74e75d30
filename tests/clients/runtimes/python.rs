//! One Python environment with all clients.

use std::process::Command;

use pglanes_tests::run;

use super::{LONGEST_INSTALLATION, Skipped, made_once, program, works};

/// What is installed. A change makes the environment anew.
const PACKAGES: [&str; 8] = [
    "psycopg[binary,pool]>=3.2,<4",
    "psycopg2-binary>=2.9,<3",
    "asyncpg>=0.30,<1",
    "SQLAlchemy[asyncio]>=2,<3",
    "Django>=5.1,<6",
    "numpy>=1.26,<3",
    "pgvector>=0.3,<1",
    "langchain-postgres>=0.0.14,<1",
];

/// What these packages need: venv, and a Python that they are still made for.
const NEEDED: &str = "import venv, ensurepip, sys; assert sys.version_info >= (3, 10)";

/// A program of the folder `python`, in the environment.
pub(crate) async fn python(name: &str) -> Result<Command, Skipped> {
    if !works("python3", &["-c", NEEDED]) {
        let why = "there is no python3 of 3.10 or later with venv here";
        return Err(Skipped(why.to_owned()));
    }
    let packages = PACKAGES.join("\n");
    let environment = made_once("python", &packages, async |folder| {
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"]).arg(folder);
        let output = run(make, LONGEST_INSTALLATION).await;
        assert!(output.succeeded, "{output:?}");
        let mut install = Command::new(folder.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet"]);
        install.arg("--disable-pip-version-check").args(PACKAGES);
        let output = run(install, LONGEST_INSTALLATION).await;
        assert!(output.succeeded, "{output:?}");
    });
    let mut command = Command::new(environment.await.join("bin/python"));
    command.arg(program("python", name));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}
