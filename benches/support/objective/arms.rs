//! The lanes that are compared: the house's own, each with other levers.

use pglanes::demo::lanes::Lanes;

/// One combination of levers.
#[derive(Debug, Clone, Copy)]
pub struct ArmLanes {
    /// Its name.
    pub name: &'static str,
    /// The evaluation's objective, as lanes.yaml writes it.
    objective: Option<&'static str>,
    /// The CPU class of the memory system's backends.
    cpu: &'static str,
    /// The slots that throttles leave searches and rehydrations.
    slots: Option<u32>,
    /// Whether a throttle leaves compaction nothing.
    compaction_rests: bool,
    /// What is known of the evaluation when the memory system begins.
    pub knows: Knows,
}

/// What a loop knows at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knows {
    /// Nothing: it learns beside the memory system.
    Nothing,
    /// What was kept of an evaluation that ran alone.
    Baseline,
}

const P95: &str = "{ p95: 1.2x }";
const ALL_QUANTILES: &str = "{ p50: 1.1x, p95: 1.2x, p99: 1.5x }";

const NONE: ArmLanes = ArmLanes {
    name: "",
    objective: None,
    cpu: "normal",
    slots: None,
    compaction_rests: false,
    knows: Knows::Baseline,
};

/// All that are compared.
pub const ALL: [ArmLanes; 8] = [
    ArmLanes {
        name: "nothing-held-back",
        ..NONE
    },
    ArmLanes {
        name: "two-slots",
        slots: Some(2),
        compaction_rests: true,
        ..NONE
    },
    ArmLanes {
        name: "loop",
        objective: Some(P95),
        ..NONE
    },
    ArmLanes {
        name: "loop-cold",
        objective: Some(P95),
        knows: Knows::Nothing,
        ..NONE
    },
    ArmLanes {
        name: "loop-all-quantiles",
        objective: Some(ALL_QUANTILES),
        ..NONE
    },
    ArmLanes {
        name: "cpu",
        cpu: "background",
        compaction_rests: true,
        ..NONE
    },
    ArmLanes {
        name: "cpu-and-two-slots",
        cpu: "background",
        slots: Some(2),
        compaction_rests: true,
        ..NONE
    },
    ArmLanes {
        name: "cpu-and-loop",
        objective: Some(P95),
        cpu: "background",
        compaction_rests: true,
        ..NONE
    },
];

impl ArmLanes {
    /// Its lanes.yaml.
    pub fn lanes(&self) -> Lanes {
        let objective = self
            .objective
            .map_or_else(String::new, |targets| format!("\n    objective: {targets}"));
        let mut text = format!(
            "lanes:
  evaluation:
    match: [{{ application_name: \"ragchecker*\" }}]
    slots: {{ min: 4, max: 16 }}
    priority: 100
    settings: {{ hnsw.ef_search: 100, max_parallel_workers_per_gather: 0 }}{objective}
  compaction:
    match: [{{ application_name: \"ltst-compaction*\" }}]
    slots: {{ max: 2 }}
    priority: -10
    queue: {{ timeout: 10m }}
    cpu: {cpu}
    settings: {{ statement_timeout: 0, lock_timeout: 2s, vacuum_cost_delay: 2ms, synchronous_commit: off }}
  ltst:
    match: [{{ application_name: \"ltst*\" }}]
    slots: {{ max: 12 }}
    cpu: {cpu}
    settings: {{ statement_timeout: 30s, max_parallel_workers_per_gather: 0 }}
  default: {{}}
throttles:
",
            cpu = self.cpu
        );
        let throttle = |lane: &str, slots: u32| {
            format!(
                "  - {{ name: {lane} yields, while: {{ lane: evaluation, is: busy, linger: 2s }}, lane: {lane}, slots: {slots} }}\n"
            )
        };
        if let Some(slots) = self.slots {
            text.push_str(&throttle("ltst", slots));
        }
        if self.compaction_rests {
            text.push_str(&throttle("compaction", 0));
        }
        if self.slots.is_none() && !self.compaction_rests {
            text = text.replace("throttles:\n", "throttles: []\n");
        }
        Lanes::named(self.name, text)
    }

    /// Whether there is a loop to follow.
    pub fn has_objective(&self) -> bool {
        self.objective.is_some()
    }
}

#[cfg(test)]
mod tests {
    use pglanes::demo::lanes::{Ports, Upstream};

    use super::*;

    #[test]
    fn every_arm_is_a_file_that_holds() {
        let upstream = Upstream {
            host: "localhost".to_owned(),
            port: 5432,
            socket_directory: None,
            password: None,
        };
        for arm in ALL {
            let folder = arm.lanes().write(Ports::any(), &upstream).unwrap();
            let config = pglanes_config::load(&folder.file()).unwrap();
            let evaluation = config.lane("evaluation").unwrap();
            assert_eq!(
                evaluation.objective.is_some(),
                arm.has_objective(),
                "{}",
                arm.name
            );
        }
    }
}
