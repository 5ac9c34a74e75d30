//! How to look at it oneself: the proxy with its ports and metrics, and the lines to type.

use anyhow::Context;

use super::bed::Bed;
use super::lanes::{Lanes, Ports};
use super::progress::say;
use crate::serve;
use crate::source::Source;

/// Says what `--keep` would do, and how one's own database gets lanes.
pub(super) fn explain_keep(bed: &Bed) -> anyhow::Result<()> {
    let ports = Ports::usual().context("there is no free port")?;
    say(&format!(
        "All of it is being removed again; `pglanes demo --keep` leaves it up, and then you connect like this:\n{}\n\
         For your own database: pglanes serve --config lanes.yaml, and DATABASE_URL=postgresql://localhost:6433/NAME",
        how_to_connect(bed, ports)?
    ))?;
    Ok(())
}

/// Runs the proxy on the usual ports, as `pglanes serve` does, until it is told to end.
pub(super) async fn stay(bed: &Bed, lanes: &Lanes) -> anyhow::Result<()> {
    let ports = Ports::usual().context("there is no free port")?;
    let folder = lanes.write(ports, &bed.upstream()?)?;
    let source = Source::find(Some(folder.file()));
    let config = source.load()?;
    let database = bed.loaded()?.database;
    say(&format!(
        "It stays up. Connect through the lanes:\n{}\n  lanes      {} (a change takes effect by itself)\n{}",
        how_to_connect(bed, ports)?,
        folder.file().display(),
        match bed.server() {
            Some(_) => "Ctrl-C ends it and removes everything.".to_owned(),
            None =>
                format!("Ctrl-C ends the proxy; the database stays until: DROP DATABASE {database}"),
        }
    ))?;
    serve::run(source, config, serve::Sockets::default()).await?;
    Ok(())
}

/// The lines to type.
fn how_to_connect(bed: &Bed, ports: Ports) -> anyhow::Result<String> {
    let direct = bed.loaded()?;
    let (user, database, port) = (&direct.user, &direct.database, ports.listen);
    let psql = bed.server().map_or_else(
        || "psql".to_owned(),
        |server| server.psql_path().display().to_string(),
    );
    let mut lines = vec![format!(
        "  any        DATABASE_URL=postgresql://{user}@localhost:{port}/{database}"
    )];
    for (lane, name) in [("evaluation", "ragchecker"), ("ltst", "ltst")] {
        lines.push(format!(
            "  {lane:<11}{psql} 'postgresql://{user}@localhost:{port}/{database}?application_name={name}'"
        ));
    }
    if let Some(http) = ports.http {
        lines.push(format!("  metrics    http://127.0.0.1:{http}/metrics"));
    }
    Ok(lines.join("\n"))
}
