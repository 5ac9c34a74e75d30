//! `pglanes tune`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use pglanes_advisor::server::{self, ServerState};
use pglanes_advisor::size;
use pglanes_advisor::tune::{
    Disk, Facts, LaneDemand, Machine, NEWEST, OLDEST, Plan, System, Vectors, apply, file, plan,
    table,
};
use pglanes_config::Config;
use serde_json::json;
use tokio_postgres::Client;

use super::Server;
use crate::machine;

/// What is given, beside lanes.yaml.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Do not ask the server: the version has to be given
    #[arg(long)]
    offline: bool,
    /// The machine's memory, such as 128GB [default: this machine's]
    #[arg(long, value_parser = memory)]
    memory: Option<u64>,
    /// Its processors [default: this machine's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    cores: Option<u32>,
    /// Its disk
    #[arg(long, value_enum, default_value = "ssd")]
    disk: DiskName,
    /// Its operating system [default: this machine's]
    #[arg(long, value_enum)]
    system: Option<SystemName>,
    /// PostgreSQL's version [default: the running server's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(i64::from(OLDEST)..=i64::from(NEWEST)))]
    pg_version: Option<u32>,
    /// The percentage of the memory that PostgreSQL may use [default: 75, on macOS 50]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=95))]
    share: Option<u32>,
    /// Rows with a vector
    #[arg(long, value_name = "ROWS")]
    vectors: Option<u64>,
    /// Their dimensions
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..=16000))]
    dimensions: u32,
    /// The HNSW index's m
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=100))]
    hnsw_m: u32,
    /// Write the settings to a new file, for `include` in postgresql.conf
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Set them with ALTER SYSTEM, after the way back is written
    #[arg(long, conflicts_with = "offline")]
    apply: bool,
    /// Where the way back is written [default: pglanes-tune-rollback-PROCESS.sql]
    #[arg(long, value_name = "FILE", requires = "apply")]
    rollback: Option<PathBuf>,
    /// Take back what --apply set, from its file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["apply", "output", "offline"])]
    undo: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DiskName {
    Ssd,
    Hdd,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SystemName {
    Linux,
    Macos,
}

fn memory(text: &str) -> Result<u64, String> {
    size::parse(text).ok_or_else(|| "a size with its unit, such as 128GB".to_owned())
}

/// Does it; what is printed.
pub(crate) async fn run(arguments: &Arguments, config: &Config) -> Result<String> {
    if let Some(file) = &arguments.undo {
        let client = arguments.server.connect(config).await?;
        let count = apply::undo(&client, file).await?;
        return Ok(format!(
            "{count} settings are as they were; those that need a restart will be after one\n"
        ));
    }
    let asked = ask(arguments, config).await?;
    let state = asked.as_ref().map(|(_, state)| state);
    let facts = facts(arguments, config, state)?;
    let plan = plan(&facts, state)?;
    let mut said = if arguments.json {
        as_json(&plan, state)
    } else {
        table(&plan, state)
    };
    if let Some(path) = &arguments.output {
        use std::io::Write as _;
        let written = std::fs::File::create_new(path)
            .and_then(|mut out| out.write_all(file(&plan, &facts).as_bytes()));
        written.with_context(|| format!("{}", path.display()))?;
        if !arguments.json {
            said += &format!("written to {}\n", path.display());
        }
    }
    if let Some((client, state)) = asked.as_ref().filter(|_| arguments.apply) {
        said += &applied(arguments, client, &plan, state).await?;
    }
    Ok(said)
}

async fn applied(
    arguments: &Arguments,
    client: &Client,
    plan: &Plan,
    state: &ServerState,
) -> Result<String> {
    let steps = apply::steps(plan, state);
    if steps.is_empty() {
        return Ok("nothing to set\n".to_owned());
    }
    if !state.superuser {
        bail!("ALTER SYSTEM takes a superuser; --output FILE writes a file for one to include");
    }
    let usual = || PathBuf::from(format!("pglanes-tune-rollback-{}.sql", std::process::id()));
    let rollback = arguments.rollback.clone().unwrap_or_else(usual);
    apply::apply(client, &steps, &rollback).await?;
    let restart = steps.iter().filter(|step| step.restart).count();
    Ok(format!(
        "{} settings set, {restart} of them hold after a restart; back: pglanes tune --undo {}\n",
        steps.len(),
        rollback.display()
    ))
}

/// The server, unless it is not to be asked. One that cannot be reached is an error only where it is needed.
async fn ask(arguments: &Arguments, config: &Config) -> Result<Option<(Client, ServerState)>> {
    if arguments.offline {
        return Ok(None);
    }
    let asked = async {
        let client = arguments.server.connect(config).await?;
        let state = server::read(&client).await?;
        anyhow::Ok((client, state))
    };
    match asked.await {
        Ok(asked) => Ok(Some(asked)),
        Err(error) if arguments.pg_version.is_some() && !arguments.apply => {
            eprintln!("pglanes: the server was not asked: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error.context("--offline with --pg-version does without the server")),
    }
}

fn facts(arguments: &Arguments, config: &Config, state: Option<&ServerState>) -> Result<Facts> {
    let running = state.map(ServerState::major);
    let major = match (arguments.pg_version, running) {
        (Some(given), Some(running)) if given != running => {
            bail!(
                "--pg-version {given}, but the server is {running}; --offline plans for another one"
            )
        }
        (Some(version), _) | (None, Some(version)) => version,
        (None, None) => bail!("which version? --pg-version {OLDEST} to {NEWEST}"),
    };
    if !(OLDEST..=NEWEST).contains(&major) {
        bail!("PostgreSQL {major} is not known here: {OLDEST} to {NEWEST} are");
    }
    let here = arguments.offline || arguments.server.is_local(config)?;
    let given = arguments.memory.is_some() && arguments.cores.is_some();
    if !here && !given {
        bail!("PostgreSQL is on another machine: give its --memory and --cores");
    }
    let memory = arguments
        .memory
        .or_else(machine::memory)
        .context("how much memory? --memory 128GB")?;
    let cores = std::thread::available_parallelism()
        .map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    let system = match arguments.system {
        Some(SystemName::Macos) => System::MacOs,
        None if cfg!(target_os = "macos") => System::MacOs,
        Some(SystemName::Linux) | None => System::Linux,
    };
    Ok(Facts {
        machine: Machine {
            memory,
            cores: arguments.cores.unwrap_or(cores),
            disk: match arguments.disk {
                DiskName::Ssd => Disk::Ssd,
                DiskName::Hdd => Disk::Hdd,
            },
            system,
        },
        major,
        share_percent: arguments
            .share
            .unwrap_or_else(|| Facts::usual_share(system)),
        vectors: arguments.vectors.map(|rows| Vectors {
            rows,
            dimensions: arguments.dimensions,
            m: arguments.hnsw_m,
        }),
        lanes: LaneDemand::of(config),
    })
}

fn as_json(plan: &Plan, state: Option<&ServerState>) -> String {
    let settings: Vec<_> = plan
        .proposals
        .iter()
        .map(|proposal| {
            json!({
                "setting": proposal.name,
                "now": state.and_then(|state| state.value(proposal.name)),
                "proposed": proposal.value,
                "why": proposal.why,
                "source": proposal.source,
                "restart": proposal.restart,
            })
        })
        .collect();
    let refused: Vec<_> = plan
        .refusals
        .iter()
        .map(|refusal| json!({ "setting": refusal.name, "why": refusal.why }))
        .collect();
    let all = json!({
        "settings": settings,
        "left_out": refused,
        "notes": plan.advice,
        "memory_at_most": plan.memory.total(),
        "memory_share": plan.memory.budget,
    });
    format!("{all:#}\n")
}
