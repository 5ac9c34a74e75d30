//! Slots times work_mem against this machine's memory.

use pglanes_config::Config;
use pglanes_control::ServerFacts;

use super::Report;

/// What holds for lanes without a `work_mem`, as long as nobody changed it in postgresql.conf.
const DEFAULT_WORK_MEM: u64 = 4 << 20;

/// Warns when every slot using its `work_mem` once, with PostgreSQL's own cache, takes more than there is.
pub(super) fn check(
    config: &Config,
    facts: Option<&ServerFacts>,
    memory: Option<u64>,
    report: &mut Report,
) {
    if !config.upstream.is_local() {
        let note = "PostgreSQL is on another machine: the lanes' memory was not compared with it";
        return report.notes.push(note.to_owned());
    }
    let Some(memory) = memory else {
        let note =
            "this machine does not say how much memory it has: the lanes' was not compared with it";
        return report.notes.push(note.to_owned());
    };
    let bound = config.work_mem_bound(DEFAULT_WORK_MEM);
    let cache = facts.map_or(0, |facts| facts.shared_buffers_bytes);
    if bound.saturating_add(cache) <= memory {
        return;
    }
    let dearest = config.work_mem_total();
    let dearest = dearest.iter().max_by_key(|lane| {
        u64::from(lane.slots).saturating_mul(lane.work_mem.unwrap_or(DEFAULT_WORK_MEM))
    });
    let dearest = dearest.map_or(String::new(), |lane| {
        let each = lane.work_mem.unwrap_or(DEFAULT_WORK_MEM);
        format!(
            "; most of it lane {}: {} x {}",
            lane.lane,
            lane.slots,
            size(each)
        )
    });
    let cache = match cache {
        0 => String::new(),
        cache => format!(" beside {} of shared_buffers", size(cache)),
    };
    report.warnings.push(format!(
        "the lanes' slots times work_mem come to {}{cache}, and this machine has {}{dearest}",
        size(bound),
        size(memory),
    ));
}

/// In the unit that leaves at least ten of it, as PostgreSQL spells it.
fn size(bytes: u64) -> String {
    let units = [
        (1 << 40, "TB"),
        (1 << 30, "GB"),
        (1 << 20, "MB"),
        (1 << 10, "kB"),
    ];
    let unit = units
        .into_iter()
        .find(|(unit, _)| bytes >= 10 * unit || bytes.is_multiple_of(*unit) && bytes >= *unit);
    match unit {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &Config, memory: Option<u64>) -> Report {
        let mut report = Report {
            lanes: String::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
        };
        check(config, None, memory, &mut report);
        report
    }

    #[test]
    fn too_little_memory_is_warned_of_with_the_dearest_lane() {
        let config = Config::default();
        // 16 x 64 MB + 12 x 32 MB + 12 x 4 MB.
        let bound = (1024 + 384 + 48) << 20;
        assert_eq!(found(&config, Some(bound)).warnings, Vec::<String>::new());
        let report = found(&config, Some(bound - 1));
        assert_eq!(report.warnings.len(), 1);
        assert!(
            report.warnings[0].starts_with(
                "the lanes' slots times work_mem come to 1456MB, and this machine has"
            ),
            "{report:?}"
        );
        assert!(
            report.warnings[0].ends_with("lane evaluation: 16 x 64MB"),
            "{report:?}"
        );
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        let mut config = Config::default();
        assert!(found(&config, None).notes[0].contains("does not say"));
        config.upstream.address = pglanes_config::UpstreamAddress::Tcp {
            host: "db.example".to_owned(),
            port: 5432,
        };
        let report = found(&config, Some(1));
        assert!(report.warnings.is_empty() && report.notes[0].contains("another machine"));
    }
}
