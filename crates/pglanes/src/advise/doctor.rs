//! `pglanes doctor`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pglanes_advisor::doctor::find::find;
use pglanes_advisor::doctor::installation::{self, Finding, Here, Severity};
use pglanes_advisor::doctor::judge::{self, House, Remark};
use pglanes_advisor::doctor::probe::{Outcome, Reach, probe};
use pglanes_advisor::doctor::rewrite::{Edit, applied, difference, edits};
use pglanes_advisor::doctor::{Found, Source, walk};
use pglanes_advisor::server;
use pglanes_config::Config;
use serde_json::json;

use super::{Server, agreed};
use crate::machine;
use crate::server_address::own_name;

/// What is given, beside lanes.yaml.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The source tree to look through; without one, the installation is looked at
    path: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
    /// Look at the installation as well
    #[arg(long)]
    installation: bool,
    /// Try servers on other machines too, with the passwords in the files
    #[arg(long)]
    remote: bool,
    /// Bring the connections to the proxy; shows what would change, and asks
    #[arg(long, requires = "path", conflicts_with = "json")]
    fix: bool,
    /// With --fix: do not ask
    #[arg(long, requires = "fix")]
    yes: bool,
    /// An old name of a database, and the real one; more than lanes.yaml knows
    #[arg(long, value_name = "OLD=REAL", value_parser = pair)]
    database: Vec<(String, String)>,
    /// With --fix: the application_name for connections without one [default: the file's name]
    #[arg(long, value_name = "NAME")]
    application_name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, real)) if !old.is_empty() && !real.is_empty() => {
            Ok((old.to_owned(), real.to_owned()))
        }
        _ => Err("an old and a real name, such as dspy_rag=ai_agency".to_owned()),
    }
}

/// A connection with what is to be said about it.
struct Case<'a> {
    source: &'a Source,
    found: Found,
    outcome: Outcome,
    remarks: Vec<Remark>,
}

/// Does it; what is printed, and whether something is to be mended.
pub(crate) async fn run(arguments: &Arguments, config: &Config) -> Result<(String, bool)> {
    let (mut said, mut ill) = (String::new(), false);
    let mut all = serde_json::Map::new();
    if let Some(path) = &arguments.path {
        fs::metadata(path).with_context(|| format!("{}", path.display()))?;
        let walked = walk(path);
        let house = house(arguments, config);
        let cases = cases(arguments, &walked.sources, &house).await;
        ill |= cases.iter().any(|case| !case.remarks.is_empty());
        all.insert(
            "connections".to_owned(),
            cases.iter().map(case_json).collect(),
        );
        all.insert("unreadable".to_owned(), json!(walked.unreadable));
        said += &shown(&cases, walked.files, &walked.unreadable, walked.cut);
        if arguments.fix {
            said += &fix(arguments, &cases, &house)?;
        }
    }
    if arguments.path.is_none() || arguments.installation {
        let findings = look_at_installation(arguments, config).await?;
        ill |= findings
            .iter()
            .any(|finding| finding.severity >= Severity::Warning);
        all.insert(
            "installation".to_owned(),
            findings.iter().map(finding_json).collect(),
        );
        said += &findings.iter().map(finding_text).collect::<String>();
    }
    if arguments.json {
        said = format!("{:#}\n", serde_json::Value::Object(all));
    }
    Ok((said, ill))
}

fn house(arguments: &Arguments, config: &Config) -> House {
    let mut house = House::of(config);
    house.databases.extend(arguments.database.iter().cloned());
    house
}

async fn cases<'a>(arguments: &Arguments, sources: &'a [Source], house: &House) -> Vec<Case<'a>> {
    let of = |source: &'a Source| {
        find(&source.text)
            .into_iter()
            .map(move |found| (source, found))
    };
    let found: Vec<(&Source, Found)> = sources.iter().flat_map(of).collect();
    let reach = if arguments.remote {
        Reach::Anywhere
    } else {
        Reach::Loopback
    };
    let user = own_name();
    let each: Vec<&Found> = found.iter().map(|(_, found)| found).collect();
    let outcomes = probe(&each, &user, reach).await;
    let case = |((source, found), outcome): ((&'a Source, Found), Outcome)| Case {
        remarks: judge::remarks(&found, &outcome, house, &user),
        source,
        found,
        outcome,
    };
    found.into_iter().zip(outcomes).map(case).collect()
}

fn shown(cases: &[Case<'_>], files: usize, unreadable: &[String], cut: bool) -> String {
    let mut text = String::new();
    for case in cases {
        let found = &case.found;
        let works = match &case.outcome {
            Outcome::Works => "works".to_owned(),
            Outcome::NotTried(why) => format!("not tried: {why}"),
            _ => "fails".to_owned(),
        };
        let path = case.source.path.display();
        let _ = writeln!(
            text,
            "{path}:{}:{}: {}: {works}",
            found.line,
            found.column,
            found.shown()
        );
        for remark in &case.remarks {
            let _ = writeln!(text, "    {}: {}", remark.code, remark.text);
        }
    }
    for problem in unreadable {
        let _ = writeln!(text, "not read: {problem}");
    }
    if cut {
        let _ = writeln!(
            text,
            "there are more files than are looked into: name a smaller folder"
        );
    }
    let ill = cases.iter().filter(|case| !case.remarks.is_empty()).count();
    let _ = writeln!(
        text,
        "{files} files, {} connections, {ill} with something to mend",
        cases.len()
    );
    text
}

fn case_json(case: &Case<'_>) -> serde_json::Value {
    let outcome = match &case.outcome {
        Outcome::Works => "works",
        Outcome::MissingDatabase(_) => "missing-database",
        Outcome::WrongCredentials(_) => "wrong-credentials",
        Outcome::Refused(_) => "refused",
        Outcome::Unreachable(_) => "unreachable",
        Outcome::NotTried(_) => "not-tried",
    };
    let remarks: Vec<_> = case
        .remarks
        .iter()
        .map(|remark| json!({ "code": remark.code, "text": remark.text }))
        .collect();
    json!({
        "file": case.source.path.display().to_string(),
        "line": case.found.line,
        "column": case.found.column,
        "connection": case.found.shown(),
        "outcome": outcome,
        "remarks": remarks,
    })
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    json!({
        "code": finding.code,
        "severity": finding.severity.name(),
        "what": finding.what,
        "why": finding.why,
        "remedy": finding.remedy,
        "undo": finding.undo,
    })
}

fn finding_text(finding: &Finding) -> String {
    let mut text = format!(
        "{:<8} {}: {}\n",
        finding.severity.name(),
        finding.code,
        finding.what
    );
    if finding.severity > Severity::Good {
        let _ = writeln!(
            text,
            "         why: {}\n         do: {}\n         back: {}",
            finding.why, finding.remedy, finding.undo
        );
    }
    text
}

/// Shows what would change, and changes it when that is agreed to: a backup of each file first.
fn fix(arguments: &Arguments, cases: &[Case<'_>], house: &House) -> Result<String> {
    let user = own_name();
    let mut changes: Vec<(&Source, Vec<Edit>)> = Vec::new();
    let mut shown = String::new();
    for of_file in cases.chunk_by(|one, other| one.source.path == other.source.path) {
        let source = of_file[0].source;
        let name = || {
            arguments
                .application_name
                .clone()
                .or_else(|| judge::application_name(&source.path))
        };
        let goals = of_file
            .iter()
            .filter_map(|case| Some((case, judge::goal(&case.found, house, &user, name())?)));
        let all: Vec<Edit> = goals
            .flat_map(|(case, goal)| edits(&source.text, &case.found, &goal))
            .collect();
        if all.is_empty() {
            continue;
        }
        let passwords = of_file
            .iter()
            .filter_map(|case| case.found.parts.password.as_ref());
        let passwords: Vec<_> = passwords.map(|part| part.span.clone()).collect();
        shown += &difference(
            &source.path.display().to_string(),
            &source.text,
            &all,
            &passwords,
        );
        changes.push((source, all));
    }
    if changes.is_empty() {
        return Ok("nothing to rewrite\n".to_owned());
    }
    if !arguments.yes {
        print!("{shown}");
        shown.clear();
        if !agreed(&format!("Rewrite {} files?", changes.len())) {
            return Ok("nothing was changed; --yes changes it without asking\n".to_owned());
        }
    }
    for (source, edits) in &changes {
        let backup = rewrite(source, edits)?;
        let path = source.path.display();
        let _ = writeln!(
            shown,
            "{path} rewritten; back: mv '{}' '{path}'",
            backup.display()
        );
    }
    Ok(shown)
}

fn rewrite(source: &Source, edits: &[Edit]) -> Result<PathBuf> {
    let path = &source.path;
    let failed = || format!("{}", path.display());
    let now = fs::read_to_string(path).with_context(failed)?;
    anyhow::ensure!(
        now == source.text,
        "{} has changed meanwhile; nothing was written to it",
        path.display()
    );
    let backup = free_name(path);
    // With its permissions: it may hold a password.
    fs::copy(path, &backup).with_context(failed)?;
    fs::write(path, applied(&source.text, edits)).with_context(failed)?;
    Ok(backup)
}

/// The most backups of one file.
const MOST_BACKUPS: u32 = 1000;

fn free_name(path: &Path) -> PathBuf {
    let name = |ending: String| PathBuf::from(format!("{}.pglanes-backup{ending}", path.display()));
    let numbered = (1..MOST_BACKUPS).map(|number| name(format!(".{number}")));
    let mut names = std::iter::once(name(String::new())).chain(numbered);
    names
        .find(|name| !name.exists())
        .unwrap_or_else(|| name(".last".to_owned()))
}

async fn look_at_installation(arguments: &Arguments, config: &Config) -> Result<Vec<Finding>> {
    let client = arguments.server.connect(config).await?;
    let state = server::read(&client).await?;
    let local = arguments.server.is_local(config)?;
    let here = Here {
        memory: local.then(machine::memory).flatten(),
        may_prioritise: local.then(may_prioritise).flatten(),
        macos: cfg!(target_os = "macos"),
    };
    Ok(installation::examine(config, &state, here))
}

/// Whether this process has CAP_SYS_NICE (bit 23). On other systems only root may, and nobody says so beforehand.
fn may_prioritise() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let capabilities = u64::from_str_radix(line.trim(), 16).ok()?;
    Some(capabilities & 1 << 23 != 0)
}
