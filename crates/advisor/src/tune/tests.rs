//! The rules over random machines and lanes, and the presets.

use pglanes_config::{Config, LaneMemory};
use proptest::prelude::*;

use super::*;

fn lanes() -> impl Strategy<Value = LaneDemand> {
    let lane = (
        0_u32..200,
        proptest::option::of(64_u64..4_000_000),
        proptest::option::of(1024_u64..16_000_000),
    );
    (0_u32..500, proptest::collection::vec(lane, 0..8)).prop_map(|(slots, lanes)| LaneDemand {
        slots,
        maintenance: lanes.iter().map(|lane| lane.2.map(|kb| kb << 10)).collect(),
        lanes: lanes
            .into_iter()
            .enumerate()
            .map(|(at, (slots, work_mem, _))| LaneMemory {
                lane: format!("lane{at}"),
                slots,
                work_mem: work_mem.map(|kb| kb << 10),
            })
            .collect(),
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let machine = (256_u64..2_000_000, 1_u32..256, any::<bool>(), any::<bool>());
    let vectors = proptest::option::of((0_u64..1_000_000_000, 1_u32..2000, 2_u32..100));
    (machine, OLDEST..=NEWEST, 1_u32..=100, vectors, lanes()).prop_map(
        |(machine, major, share_percent, vectors, lanes)| Facts {
            machine: Machine {
                memory: machine.0 << 20,
                cores: machine.1,
                disk: if machine.2 { Disk::Ssd } else { Disk::Hdd },
                system: if machine.3 {
                    System::Linux
                } else {
                    System::MacOs
                },
            },
            major,
            share_percent,
            vectors: vectors.map(|(rows, dimensions, m)| Vectors {
                rows,
                dimensions,
                m,
            }),
            lanes,
        },
    )
}

proptest! {
    #[test]
    fn lanes_and_settings_together_never_exceed_the_share(facts in facts()) {
        if let Ok(plan) = plan(&facts, None) {
            // Summed anew from what is proposed, as PostgreSQL would read it.
            let value = |name: &str| plan.proposals.iter().find(|proposal| proposal.name == name).unwrap().value.clone();
            let bytes = |name: &str| crate::size::parse(&value(name)).unwrap();
            let hash = if facts.major >= 15 { 2 } else { 1 };
            let connections: u64 = value("max_connections").parse().unwrap();
            let beside = connections - u64::from(facts.lanes.slots);
            let sum = bytes("shared_buffers")
                + bytes("maintenance_work_mem")
                + 3 * bytes("autovacuum_work_mem")
                + beside * hash * bytes("work_mem")
                + facts.lanes.bytes(bytes("work_mem"), hash);
            prop_assert!(sum <= facts.budget());
            prop_assert!(sum <= plan.memory.total());
        }
    }

    #[test]
    fn no_version_is_given_what_it_does_not_have(facts in facts()) {
        if let Ok(plan) = plan(&facts, None) {
            let has = |name: &str| plan.proposals.iter().any(|proposal| proposal.name == name);
            prop_assert_eq!(has("io_method"), facts.major >= 18);
            prop_assert_eq!(has("vacuum_buffer_usage_limit"), facts.major >= 16);
        }
    }
}

fn m4(major: u32) -> Facts {
    let config = pglanes_config::parse(
        "lanes.m4.yaml",
        include_str!("../../../../config/lanes.m4.yaml"),
        &pglanes_config::Process {
            folder: "config".into(),
        },
    );
    Facts {
        machine: Machine {
            memory: 128 << 30,
            cores: 16,
            disk: Disk::Ssd,
            system: System::MacOs,
        },
        major,
        share_percent: Facts::usual_share(System::MacOs),
        vectors: None,
        lanes: LaneDemand::of(&config.unwrap()),
    }
}

#[test]
fn the_presets_are_what_the_command_writes() {
    for (name, text, major) in [
        (
            "m4-128gb.conf",
            include_str!("../../../../config/postgresql/m4-128gb.conf"),
            14,
        ),
        (
            "m4-128gb-17.conf",
            include_str!("../../../../config/postgresql/m4-128gb-17.conf"),
            17,
        ),
    ] {
        let facts = m4(major);
        let expected = file(&plan(&facts, None).unwrap(), &facts);
        let path = format!(
            "{}/../../config/postgresql/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        if std::env::var_os("PGLANES_WRITE_PRESETS").is_some() {
            std::fs::write(path, &expected).unwrap();
        } else {
            assert_eq!(
                text, expected,
                "{name}: PGLANES_WRITE_PRESETS=1 writes it anew"
            );
        }
    }
}

#[test]
fn lanes_that_leave_no_room_are_refused_with_the_figures() {
    let mut facts = m4(14);
    facts.machine.memory = 2 << 30;
    let refusal = plan(&facts, None).unwrap_err();
    assert!(
        refusal.to_string().contains("its share is 1GB"),
        "{refusal}"
    );
    facts.lanes = LaneDemand::of(&Config::default());
    facts.machine.memory = 16 << 30;
    assert!(plan(&facts, None).is_ok());
}

#[test]
fn spellings_of_one_value_do_not_differ() {
    for (one, other) in [
        ("65536kB", "64MB"),
        ("900s", "15min"),
        ("1.0", "1"),
        ("pglz", "on"),
        ("16GB", "16384MB"),
    ] {
        assert!(!differs(one, other), "{one} {other}");
    }
    for (one, other) in [
        ("4MB", "8MB"),
        ("on", "off"),
        ("4", "1.1"),
        ("10s", "1min"),
        ("lz4", "on"),
    ] {
        assert!(differs(one, other), "{one} {other}");
    }
}

#[test]
fn macos_is_refused_io_concurrency_before_18() {
    let value = |major| {
        let plan = plan(&m4(major), None).unwrap();
        let found = plan
            .proposals
            .into_iter()
            .find(|proposal| proposal.name == "effective_io_concurrency");
        found.unwrap().value
    };
    assert_eq!(value(17), "0");
    assert_eq!(value(18), "16");
}
