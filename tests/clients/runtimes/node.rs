//! node.js, and the packages that `node/package.json` names.

use std::fs;
use std::process::Command;

use pglanes_tests::run;

use super::{LONGEST_INSTALLATION, Skipped, made_once, program, works};

/// A program of the folder `node`.
pub(crate) async fn node(name: &str) -> Result<Command, Skipped> {
    let is_new = "process.exit(+process.versions.node.split('.')[0] < 18 ? 1 : 0)";
    if !works("node", &["-e", is_new]) || !works("npm", &["--version"]) {
        let why = "there is no node of 18 or later with npm here";
        return Err(Skipped(why.to_owned()));
    }
    let wanted = program("node", "package.json");
    let packages = fs::read_to_string(&wanted).unwrap();
    let folder = made_once("node", &packages, async |folder| {
        fs::create_dir_all(folder).unwrap();
        fs::copy(&wanted, folder.join("package.json")).unwrap();
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--prefix"]);
        install.arg(folder);
        let output = run(install, LONGEST_INSTALLATION).await;
        assert!(output.succeeded, "{output:?}");
    });
    let packages = folder.await.join("node_modules");
    let mut command = Command::new("node");
    command.arg(program("node", name));
    command.env("NODE_PATH", packages);
    Ok(command)
}
