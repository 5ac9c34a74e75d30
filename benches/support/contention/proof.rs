//! The proof: what a pooler of today does, and pglanes with one lever more at a time. The lanes of each step are a file in
//! `benches/contention/lanes`, so that a step can be tried by itself.

use std::path::Path;

use anyhow::Result;
use pglanes::demo::lanes::Lanes;
use pglanes::demo::phases::Work;

use super::measure::Phase;
use super::route::{PgBouncer, Pools, Route};
use crate::pgbouncer::Installed;

/// PgBouncer's rows. The second is sized like the lanes of config/lanes.yaml.
const PGBOUNCER: [(&str, Pools); 3] = [
    ("PgBouncer, one shared pool of 20", Pools::Shared(20)),
    (
        "PgBouncer, a pool each (16, 12)",
        Pools::Each {
            evaluation: 16,
            memory: 12,
        },
    ),
    (
        "PgBouncer, a pool each (16, 2)",
        Pools::Each {
            evaluation: 16,
            memory: 2,
        },
    ),
];

/// pglanes' rows: each file has one lever more than the one before, up to the closed loop; then levers by themselves.
const STEPS: [(&str, &str); 8] = [
    ("pglanes, priority only", "1-priority.yaml"),
    ("+ caps", "2-caps.yaml"),
    ("+ throttle", "3-throttle.yaml"),
    ("+ shares by time", "4-shares.yaml"),
    ("+ CPU priority", "5-cpu.yaml"),
    ("+ closed loop", "6-loop.yaml"),
    ("throttle to no slots", "7-none.yaml"),
    ("CPU priority alone", "8-cpu-alone.yaml"),
];

/// All rows but those of nothing in between. Without PgBouncer its rows are left out.
pub(super) fn phases() -> Result<Vec<Phase>> {
    let mut phases = Vec::new();
    if let Some(installed) = Installed::find().filter(Installed::follows_prepared_statements) {
        for (name, pools) in PGBOUNCER {
            let installed = installed.clone();
            let route = Route::PgBouncer(PgBouncer { installed, pools });
            phases.push(Phase::new(name, Work::Both, route));
        }
        let (_, pools) = PGBOUNCER[1];
        let route = Route::PgBouncer(PgBouncer { installed, pools });
        phases.push(Phase::new(
            "evaluation alone, PgBouncer",
            Work::Evaluation,
            route,
        ));
    }
    // What the way through a proxy takes by itself: no throttle can give that back.
    let route = Route::Lanes(Lanes::default());
    phases.push(Phase::new(
        "evaluation alone, pglanes",
        Work::Evaluation,
        route,
    ));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contention/lanes");
    for (name, file) in STEPS {
        let route = Route::Lanes(Lanes::from_file(&folder.join(file))?);
        phases.push(Phase::new(name, Work::Both, route));
    }
    let everything = Route::Lanes(Lanes::default());
    phases.push(Phase::new("everything", Work::Both, everything));
    Ok(phases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_a_file_that_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contention/lanes");
        for (name, file) in STEPS {
            let config = pglanes_config::load(&folder.join(file));
            assert!(config.is_ok(), "{name}: {}", config.unwrap_err());
        }
    }
}
