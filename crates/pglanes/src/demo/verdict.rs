//! What the figures say, in sentences. They are made from what was measured, also where the lanes do not help.

use std::collections::BTreeMap;

use pglanes_testbed::workload::Report;

use super::phases::{Evaluated, Measurement, Throughput};
use super::table::{Figures, RATES};

/// The evaluation through the lanes may take so many times as long as alone.
const TARGET: f64 = 1.3;
/// Two times that differ by less are called the same: a demo runs each phase once.
const NOISE: f64 = 0.05;
/// A kind of work that keeps less than this share of what it does direct is said to pay.
const PAYS: f64 = 0.9;

/// One line a sentence.
pub(super) fn of(figures: &Figures) -> Vec<String> {
    let alone = figures.alone.wall_seconds;
    let direct = times(&figures.direct, alone);
    let through = times(&figures.through, alone);
    let mut lines = vec![evaluation(figures, direct, through)];
    lines.push(if through <= TARGET {
        format!("The target, at most {TARGET}x of alone, is met.")
    } else {
        format!("The target, at most {TARGET}x of alone, is missed.")
    });
    if through < 1.0 - 2.0 * NOISE || direct < 1.0 - 2.0 * NOISE {
        lines.push(
            "Nothing is faster beside the memory system than alone: the machine did something else meanwhile. Run it again \
             while that is quiet."
                .to_owned(),
        );
    }
    lines.extend(memory(figures));
    lines.extend(lanes(&figures.through));
    for (name, measured) in [
        ("direct", &figures.direct),
        ("through the lanes", &figures.through),
    ] {
        lines.extend(errors(name, measured));
    }
    lines
}

/// How many times as long as alone; at least that where it was cut off.
fn times(measured: &Measurement, alone: f64) -> f64 {
    let report = measured.evaluated();
    report.map_or(f64::NAN, |report| report.wall_seconds / alone)
}

/// The same in words.
fn in_words(measured: &Measurement, times: f64) -> String {
    match measured.evaluation {
        Some(Evaluated::CutOff(_)) => format!("more than {times:.2}x"),
        Some(Evaluated::Finished(_)) | None => format!("{times:.2}x"),
    }
}

fn evaluation(figures: &Figures, direct: f64, through: f64) -> String {
    let both = format!(
        "Beside the memory system the evaluation takes {} as long as alone straight to PostgreSQL, and {} through the lanes",
        in_words(&figures.direct, direct),
        in_words(&figures.through, through)
    );
    if direct <= 1.0 + NOISE {
        format!("{both}: there is hardly any contention here for lanes to help against.")
    } else if through < direct * (1.0 - NOISE) {
        format!("{both}: the lanes help.")
    } else if through > direct * (1.0 + NOISE) {
        format!("{both}: the lanes make it worse here.")
    } else {
        format!("{both}: the lanes do not help here.")
    }
}

fn memory(figures: &Figures) -> Option<String> {
    let (direct, through) = (
        Throughput::of(figures.direct.memory.as_ref()?),
        Throughput::of(figures.through.memory.as_ref()?),
    );
    let kept = RATES.map(|(name, of)| (name, of(&through), of(&direct)));
    let paying: Vec<String> = kept
        .iter()
        .filter(|(_, through, direct)| *through < direct * PAYS)
        .map(|(name, through, direct)| match through / direct {
            0.0 => format!("no {name} at all"),
            share => format!("{:.0} % of its {name}", share * 100.0),
        })
        .collect();
    Some(if paying.is_empty() {
        "The memory system loses nothing by it.".to_owned()
    } else {
        format!(
            "The memory system pays: while the evaluation runs it gets done {} (of what it does direct).",
            paying.join(", ")
        )
    })
}

fn lanes(through: &Measurement) -> Vec<String> {
    let Some(deeds) = &through.lanes else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if deeds.priority_refused > 0 {
        lines.push(format!(
            "The CPU priority of {} PostgreSQL processes could not be lowered (another machine, or no permission): the lanes \
             do without that lever here.",
            deeds.priority_refused
        ));
    }
    if deeds.throttle_cancels > 0 {
        lines.push(format!(
            "Throttles cancelled {} statements that ran on; they were tried again.",
            deeds.throttle_cancels
        ));
    }
    if deeds.out_of_sync > 0 {
        lines.push(format!(
            "{} server connections were closed out of sync: a mistake of pglanes, please report it.",
            deeds.out_of_sync
        ));
    }
    lines
}

fn errors(name: &str, measured: &Measurement) -> Option<String> {
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    let reports: Vec<&Report> = measured
        .evaluated()
        .into_iter()
        .chain(&measured.memory)
        .collect();
    for (state, count) in reports.iter().flat_map(|report| &report.errors) {
        *found.entry(state).or_default() += count;
    }
    let abandoned: u64 = reports.iter().map(|report| report.abandoned).sum();
    if found.is_empty() && abandoned == 0 {
        return None;
    }
    let listed: Vec<String> = found
        .iter()
        .map(|(state, count)| format!("{state} {count} times"))
        .collect();
    Some(format!(
        "Errors seen by the clients, {name}: {}; {abandoned} operations were given up.",
        listed.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Deeds;
    use super::super::table::tests::figures;
    use super::*;

    fn said(direct: f64, through: f64, kept: f64) -> String {
        of(&figures(direct, through, kept)).join("\n")
    }

    #[test]
    fn lanes_that_do_not_help_are_not_praised() {
        assert!(said(41.0, 12.0, 1.0).contains("the lanes help."));
        assert!(said(41.0, 40.0, 1.0).contains("do not help here"));
        assert!(said(41.0, 48.0, 1.0).contains("make it worse"));
        assert!(said(10.1, 10.0, 1.0).contains("hardly any contention"));
    }

    #[test]
    fn figures_of_a_busy_machine_are_doubted() {
        assert!(said(20.0, 7.0, 1.0).contains("Run it again"));
        assert!(!said(20.0, 10.0, 1.0).contains("Run it again"));
    }

    #[test]
    fn the_target_is_met_or_missed() {
        assert!(said(41.0, 13.0, 1.0).contains("is met"));
        assert!(said(41.0, 13.1, 1.0).contains("is missed"));
    }

    #[test]
    fn what_the_memory_system_pays_is_said() {
        assert!(said(41.0, 12.0, 1.0).contains("loses nothing"));
        let paid = said(41.0, 12.0, 0.5);
        assert!(
            paid.contains("50 % of its searches, 50 % of its rehydrations"),
            "{paid}"
        );
        assert!(said(41.0, 12.0, 0.0).contains("no searches at all"));
    }

    #[test]
    fn refused_priorities_and_errors_are_not_hidden() {
        let mut figures = figures(41.0, 12.0, 1.0);
        figures.through.lanes = Some(Deeds {
            priority_refused: 3,
            ..Deeds::default()
        });
        if let Some(memory) = &mut figures.through.memory {
            memory.errors.insert("57014".to_owned(), 2);
            memory.abandoned = 1;
        }
        let said = of(&figures).join("\n");
        assert!(said.contains("of 3 PostgreSQL processes"), "{said}");
        assert!(
            said.contains("through the lanes: 57014 2 times; 1 operations"),
            "{said}"
        );
    }
}
