//! `pglanes init`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pglanes_advisor::{init, server};
use pglanes_config::Config;

use super::Server;
use crate::machine;

/// What is given.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// The file to write; one that is there is left alone
    #[arg(long, value_name = "FILE", default_value = "lanes.yaml")]
    output: PathBuf,
    /// How many seconds to look at the server's sessions
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    watch: u64,
}

/// Does it; what is printed.
pub(crate) async fn run(arguments: &Arguments) -> Result<String> {
    let path = &arguments.output;
    if path.try_exists().unwrap_or(true) {
        anyhow::bail!(
            "{} is there already, and is left alone: --output names another file",
            path.display()
        );
    }
    // Where to look when nothing is given: what `serve` would use without a file.
    let usual = Config::default();
    let target = arguments.server.target(&usual)?;
    let client = arguments.server.connect(&usual).await?;
    let watched = Duration::from_secs(arguments.watch);
    let seen = init::watch(&client, watched).await?;
    let state = server::read(&client).await?;
    let about = init::About {
        server: &state,
        url: target.url(),
        watched,
        memory: arguments
            .server
            .is_local(&usual)?
            .then(machine::memory)
            .flatten(),
        busy_users: init::busy_users(&client, &state).await?,
    };
    let text = init::lanes_yaml(&about, &seen);
    let name = path.display();
    // What is written must hold, whatever names the server showed.
    pglanes_config::parse(
        &name.to_string(),
        &text,
        &pglanes_config::Process {
            folder: PathBuf::new(),
        },
    )?;
    let written =
        std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("{name}"))?;
    Ok(format!(
        "{name} is written: {} kinds of sessions seen in {} s; every lane observes. Next: pglanes check --config {name}\n",
        seen.len(),
        arguments.watch
    ))
}
