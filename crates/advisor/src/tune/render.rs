//! The plan as people and PostgreSQL read it.

use std::fmt::Write as _;

use super::facts::{Disk, Facts, System};
use super::rules::{Plan, Proposal};
use crate::server::ServerState;
use crate::size;

/// The widest a reason is before it goes on below.
const WHY_WIDTH: usize = 76;

/// Whether two spellings mean different values: `65536kB` is `64MB`, `1.0` is `1`, `15min` is `900s`.
pub fn differs(one: &str, other: &str) -> bool {
    let seconds = |text: &str| {
        let text = text.trim();
        let at = text.find(|c: char| c.is_ascii_alphabetic())?;
        let number: f64 = text[..at].trim().parse().ok()?;
        let factor = match &text[at..] {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        Some(number * factor)
    };
    if let (Some(one), Some(other)) = (size::parse(one), size::parse(other)) {
        return one != other;
    }
    let numbers = one.parse::<f64>().ok().zip(other.parse::<f64>().ok());
    if let Some((one, other)) = numbers.or_else(|| seconds(one).zip(seconds(other))) {
        return (one - other).abs() > 1e-9;
    }
    // wal_compression's `on` is kept as `pglz` from 15 on.
    let plain = |text: &str| {
        if text == "pglz" {
            "on".to_owned()
        } else {
            text.to_ascii_lowercase()
        }
    };
    plain(one) != plain(other)
}

/// The table: setting, now, proposed, restart, why.
pub fn table(plan: &Plan, server: Option<&ServerState>) -> String {
    let now = |proposal: &Proposal| {
        server
            .and_then(|server| server.value(proposal.name))
            .unwrap_or("?")
            .to_owned()
    };
    let proposed = |proposal: &Proposal| {
        let value = server.and_then(|server| server.value(proposal.name));
        match value {
            Some(value) if !differs(value, &proposal.value) => "(as it is)".to_owned(),
            _ => proposal.value.clone(),
        }
    };
    let mut rows =
        vec![["setting", "now", "proposed", "restart", "why [source]"].map(str::to_owned)];
    for proposal in &plan.proposals {
        rows.push([
            proposal.name.to_owned(),
            now(proposal),
            proposed(proposal),
            if proposal.restart { "yes" } else { "no" }.to_owned(),
            format!("{} [{}]", proposal.why, proposal.source),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for row in &rows {
        for (at, line) in wrapped(&row[4]).iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = if at == 0 { row[column].as_str() } else { "" };
                let _ = write!(text, "{cell:width$}  ");
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push('\n');
    text.push_str(&sums(plan));
    for refusal in &plan.refusals {
        let _ = writeln!(text, "left out: {}: {}", refusal.name, refusal.why);
    }
    for advice in &plan.advice {
        let _ = writeln!(text, "note: {advice}");
    }
    text
}

fn sums(plan: &Plan) -> String {
    let memory = &plan.memory;
    format!(
        "memory at most: {} of {} (shared_buffers {}, lanes {}, other sessions {}, index build {}, autovacuum 3 x {}, \
         processes {})\n",
        size::rounded(memory.total()),
        size::rounded(memory.budget),
        size::rounded(memory.shared_buffers),
        size::rounded(memory.lanes),
        size::rounded(memory.beside),
        size::rounded(memory.maintenance_work_mem),
        size::rounded(memory.autovacuum_work_mem),
        size::rounded(memory.processes),
    )
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > WHY_WIDTH {
            lines.push(word.to_owned());
            continue;
        }
        if !lines[last].is_empty() {
            lines[last].push(' ');
        }
        lines[last].push_str(word);
    }
    lines
}

/// The file for `include`. Taking its line out of postgresql.conf and restarting takes it back.
pub fn file(plan: &Plan, facts: &Facts) -> String {
    let machine = facts.machine;
    let system = match machine.system {
        System::Linux => "Linux",
        System::MacOs => "macOS",
    };
    let disk = match machine.disk {
        Disk::Ssd => "SSD",
        Disk::Hdd => "turning disk",
    };
    let mut text = format!(
        "# PostgreSQL {}, {system}, {} of memory ({} % of it for the database), {} cores, {disk}, {} slots in the lanes.\n\
         # Written by `pglanes tune`. Use: include '<this file>' at the end of postgresql.conf, then restart.\n\
         # Back: take that line out, and restart.\n# {}",
        facts.major,
        size::rounded(machine.memory),
        facts.share_percent,
        machine.cores,
        facts.lanes.slots,
        sums(plan),
    );
    for proposal in &plan.proposals {
        let restart = if proposal.restart { "; restart" } else { "" };
        text.push('\n');
        for line in wrapped(&format!("{} [{}{restart}]", proposal.why, proposal.source)) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "{} = '{}'", proposal.name, proposal.value);
    }
    if !plan.refusals.is_empty() || !plan.advice.is_empty() {
        text.push('\n');
    }
    for refusal in &plan.refusals {
        let _ = writeln!(text, "# left out: {}: {}", refusal.name, refusal.why);
    }
    for advice in &plan.advice {
        for (at, line) in wrapped(advice).iter().enumerate() {
            let _ = writeln!(text, "# {}{line}", if at == 0 { "note: " } else { "  " });
        }
    }
    text
}
