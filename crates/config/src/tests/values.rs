//! What a file means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pglanes_lanes::classify::StatementKind;

use crate::testing::{MAXIMAL, World, read};
use crate::*;

#[test]
fn both_example_files_hold() {
    for file in ["lanes.yaml", "lanes.m4.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../config")
            .join(file);
        let config = load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.warnings, [], "{file}");
        let (policy, _) = config.policy(None);
        assert_eq!(policy.validate(), Ok(()));
    }
}

#[test]
fn the_default_file_says_what_an_empty_one_means() {
    // The defaults that the commented file shows are those of the code.
    for empty in [
        "",
        "# nothing\n",
        "{}",
        "---\n",
        "reload: { watch: true }\n",
    ] {
        assert_eq!(read(empty).unwrap(), Config::default(), "{empty:?}");
    }
}

#[test]
fn the_default_lanes_give_way_to_a_smaller_total() {
    let config = read("upstream: { slots: 3 }").unwrap();
    assert!(
        config
            .lanes
            .iter()
            .all(|lane| lane.maximum <= 3 && lane.minimum == 0)
    );
    let config = read("upstream: { slots: 10 }").unwrap();
    assert_eq!(config.lane("evaluation").unwrap().minimum, 4);
}

#[test]
fn the_past_is_written_down_within_bounds_unless_it_is_off() {
    let of = |text: &str| read(text).unwrap().history;
    let usual = of("").unwrap();
    assert_eq!(usual.interval, Duration::from_secs(5));
    assert_eq!(usual.keep, Duration::from_secs(30 * 86_400));
    let set = of("history: { interval: 250ms, keep: 2d, size: 2MB }").unwrap();
    assert_eq!(
        (set.interval, set.size),
        (Duration::from_millis(250), 2 << 20)
    );
    assert_eq!(set.keep, Duration::from_secs(2 * 86_400));
    assert_eq!(of("history: { mode: off, size: 2MB }"), None);
    for wrong in [
        "interval: 10ms",
        "interval: 5m",
        "keep: 0",
        "size: 1kB",
        "size: 9GB",
    ] {
        assert!(read(&format!("history: {{ {wrong} }}")).is_err(), "{wrong}");
    }
}

#[test]
fn what_the_server_is_told_of_names_is_the_clients_unless_said_otherwise() {
    let of = |text: &str| read(text).unwrap().upstream.application_name;
    assert_eq!(of(""), ApplicationName::Keep);
    assert_eq!(
        of("upstream: { application_name: lane }"),
        ApplicationName::Lane
    );
    assert_eq!(
        of("upstream: { application_name: both }"),
        ApplicationName::Both
    );
    assert!(read("upstream: { application_name: suffix }").is_err());
}

#[test]
fn every_key_is_understood() {
    let config = read(MAXIMAL).unwrap();
    assert_eq!(
        config.listen,
        [
            ListenAddress::Tcp("127.0.0.1:6433".parse().unwrap()),
            ListenAddress::Unix(PathBuf::from("/tmp/.s.PGSQL.6433"))
        ]
    );
    assert_eq!(config.http, None);
    assert_eq!(config.upstream.slots, 20);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.upstream.unix_socket, UnixSocket::Off);
    assert_eq!(config.upstream.user.as_deref(), Some("app"));
    assert_eq!(config.upstream.database.as_deref(), Some("db"));
    assert_eq!(config.authentication, Authentication::ScramSha256);
    assert_eq!(config.databases[0].aliases, ["old", "older"]);
    assert_eq!(config.limits.clients, 10);
    assert_eq!(config.limits.message_before_slot, 65536);
    assert_eq!(
        config.limits.client_idle_in_transaction,
        Some(Duration::from_secs(300))
    );
    assert_eq!(config.limits.slow_reader, Some(Duration::from_secs(60)));
    assert_eq!(config.shutdown_grace, Duration::ZERO);
    assert_eq!(config.reload, Reload::OnSignal);
    assert_eq!(
        config.logging,
        Logging {
            format: LogFormat::Json,
            level: LogLevel::Debug
        }
    );
}

#[test]
fn caps_and_notices_are_off_unless_they_are_written() {
    let config = read(
        "lanes:\n  a: { slots: { max: 9, per_user: 2, per_application: 3 }, queue: { notice: 5s } }\n  b: { queue: { notice: off } }\n",
    )
    .unwrap();
    let (a, b) = (&config.lanes[0], &config.lanes[1]);
    assert_eq!(
        (a.caps.per_user, a.caps.per_application),
        (Some(2), Some(3))
    );
    assert_eq!(a.queue_notice, Some(Duration::from_secs(5)));
    assert_eq!((b.caps, b.queue_notice), (Caps::default(), None));
    let (policy, _) = config.policy(None);
    assert_eq!(policy.lanes[0].caps.per_user, Some(2));
    assert_eq!(policy.lanes[0].queue_notice, Duration::from_secs(5));
    assert_eq!(policy.lanes[1].queue_notice, Duration::ZERO);
}

#[test]
fn rules_and_preemption_are_read_shown_and_made_policy() {
    let config = read(
        "lanes:
  a:
    rules:
      - { name: long, when: { running: 30s }, then: cancel }
      - { when: { queued: 5s }, then: reject }
      - { name: many, when: { rows: 100_000 }, then: { move: b } }
      - { name: big, when: { bytes: 64MB }, then: log }
      - { name: idle, when: { idle_in_transaction: 1m, blocking: true }, then: notice }
    preemptible: { grace: 2s }
  b: {}
",
    )
    .unwrap();
    let shown: Vec<String> = config.lanes[0]
        .limits
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "long: when it runs for 30s, it is cancelled",
            "rule 2: when it waits for 5s, it is rejected",
            "many: when it returns more than 100000 rows, what follows runs in b",
            "big: when it returns more than 64MB, it is logged",
            "idle: when it is idle for 1m while somebody waits for it, its client is told",
        ]
    );
    let (policy, index) = config.policy(None);
    let lane = &policy.lanes[0];
    assert_eq!(lane.preemptible, Some(Duration::from_secs(2)));
    assert_eq!(lane.rules.len(), 5);
    let to = index.id("b").unwrap();
    assert_eq!(lane.rules[2].then, pglanes_lanes::Action::Move(to));
    let idle = pglanes_lanes::When::IdleBlocking(Duration::from_secs(60));
    assert_eq!(lane.rules[4].when, idle);
}

#[test]
fn lanes_keep_their_order_and_default_goes_last() {
    let config = read(MAXIMAL).unwrap();
    let names: Vec<&str> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "default"]);
    let lane = &config.lanes[0];
    assert_eq!(
        (lane.minimum, lane.maximum, lane.priority, lane.weight),
        (1, 2, -5, 3)
    );
    assert_eq!(
        (lane.queue_length, lane.queue_timeout),
        (0, Duration::from_secs(60))
    );
    assert_eq!(
        (lane.pooling, lane.cpu, lane.mode),
        (Pooling::Session, Cpu::Low, Mode::Off)
    );
    assert_eq!((lane.idle_timeout, lane.server_lifetime), (None, None));
    assert_eq!(
        lane.objective,
        Some(Objective {
            p50: Some(1100),
            p95: Some(1250),
            p99: Some(1500),
            linger: Duration::from_secs(1),
            probe_every: Some(Duration::from_secs(30)),
            probe_length: Duration::from_millis(100),
            exempt: vec!["second".to_owned()],
            mode: Mode::Observe,
        })
    );
    assert_eq!(
        lane.rules[1].conditions,
        [
            MatchCondition::Lane("second".to_owned()),
            MatchCondition::Statement(vec![
                StatementKind::Delete,
                StatementKind::CreateIndex,
                StatementKind::BulkUpdate
            ]),
            MatchCondition::Tag {
                key: "job".to_owned(),
                value: "x".to_owned()
            },
            MatchCondition::Table(vec!["archive.*".to_owned(), "t".to_owned()]),
            MatchCondition::Text("^vacuum".to_owned()),
        ]
    );
    let throttle = &config.throttles[0];
    assert_eq!(throttle.keeps, Keeps::Share(25));
    assert_eq!(
        throttle.running,
        Running::CancelAfter(Duration::from_secs(5))
    );
    assert_eq!(
        (throttle.activity, throttle.mode),
        (Activity::Leased, Mode::Observe)
    );
}

#[test]
fn settings_reach_postgresql_as_they_are_written() {
    for written in [
        "on",
        "off",
        "yes",
        "no",
        "true",
        "True",
        "y",
        "n",
        "0",
        "007",
        "0x10",
        "0o17",
        "1e3",
        "1_000",
        "1.50",
        ".5",
        "+1",
        "-1",
        "60s",
        "64MB",
        "12:30:45",
        "2024-01-01",
        "read committed",
        ".inf",
        "nan",
    ] {
        let source = format!("lanes: {{ a: {{ settings: {{ x: {written}, y: 1 }} }} }} # é");
        let config = read(&source).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            config.envelope("a")[0],
            ("x".to_owned(), written.to_owned())
        );
        let source = format!("# é\nlanes:\n  a:\n    settings:\n      x: {written}   # why\n");
        assert_eq!(read(&source).unwrap().envelope("a")[0].1, written);
        // Behind an anchor it is the same text.
        let source = format!(
            "lanes:\n  a: {{ settings: &same {{ x: {written} }} }}\n  b: {{ settings: *same }}\n"
        );
        assert_eq!(read(&source).unwrap().envelope("b")[0].1, written);
    }
    for (written, expected) in [
        ("''", ""),
        ("'on'", "on"),
        ("\"a\\u00e9\"", "aé"),
        ("'it''s'", "it's"),
    ] {
        let config = read(&format!(
            "lanes: {{ a: {{ settings: {{ x: {written} }} }} }}"
        ))
        .unwrap();
        assert_eq!(config.envelope("a")[0].1, expected);
    }
}

#[test]
fn windows_editors_change_nothing() {
    for source in [
        "\u{feff}lanes: { a: { settings: { x: on, y: 0 } } }",
        "\u{feff}# é\r\nlanes:\r\n  a:\r\n    settings:\r\n      x: on\r\n      y: 0\r\n",
    ] {
        let config = read(source).unwrap_or_else(|error| panic!("{error}"));
        let expected = [("x", "on"), ("y", "0")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(config.envelope("a"), expected, "{source:?}");
    }
}

#[test]
fn anchors_and_merge_keys_save_repetition() {
    let config = read(
        "lanes:\n  a: { settings: &usual { work_mem: 1MB, jit: off } }\n  b: { settings: { <<: *usual, work_mem: 2MB } }\n",
    )
    .unwrap();
    let mut settings = config.envelope("b").to_vec();
    settings.sort();
    let expected = [("jit", "off"), ("work_mem", "2MB")];
    assert_eq!(
        settings,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn listen_addresses() {
    for (written, expected) in [
        ("127.0.0.1:7000", "127.0.0.1:7000"),
        ("localhost:7000", "127.0.0.1:7000"),
        ("'[::1]:7000'", "[::1]:7000"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ] {
        let config = read(&format!("listen: {written}")).unwrap();
        assert_eq!(
            config.listen,
            [ListenAddress::Tcp(expected.parse().unwrap())]
        );
    }
    let config = read("listen: /run/pglanes/.s.PGSQL.5432").unwrap();
    assert_eq!(
        config.listen,
        [ListenAddress::Unix("/run/pglanes/.s.PGSQL.5432".into())]
    );
}

#[test]
fn a_local_upstream_names_the_sockets_to_try() {
    let sockets = |source: &str| -> Vec<String> {
        let sockets = read(source).unwrap().upstream.unix_sockets();
        sockets
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    };
    assert_eq!(
        sockets("upstream: { url: 'postgresql://localhost:5433' }"),
        ["/var/run/postgresql/.s.PGSQL.5433", "/tmp/.s.PGSQL.5433"]
    );
    assert!(sockets("upstream: { url: 'postgresql://db.example' }").is_empty());
    assert!(sockets("upstream: { unix_socket: off }").is_empty());
    assert_eq!(
        sockets("upstream: { unix_socket: /s }"),
        ["/s/.s.PGSQL.5432"]
    );
    assert_eq!(
        sockets("upstream: { unix_socket: /s/.s.PGSQL.1 }"),
        ["/s/.s.PGSQL.1"]
    );
    assert_eq!(
        sockets("upstream: { url: 'postgresql:///?host=/tmp', unix_socket: off }"),
        ["/tmp/.s.PGSQL.5432"]
    );
}

#[test]
fn aliases_lead_to_the_real_name() {
    let config = read(MAXIMAL).unwrap();
    assert_eq!(config.real_database("old"), ("real", NameUsed::Alias));
    assert_eq!(config.real_database("real"), ("real", NameUsed::Real));
    assert_eq!(config.real_database("other"), ("other", NameUsed::Real));
    let me = config.real_user("me");
    let plain = config.real_user("plain");
    let named = config.real_user("named");
    assert_eq!((plain.name, plain.used), ("me", NameUsed::Alias));
    assert_eq!(plain.credential, me.credential);
    assert_ne!(named.credential, me.credential);
    assert!(config.real_user("stranger").credential.is_none());
    assert_ne!(
        config.upstream_password("me"),
        config.upstream_password("stranger")
    );
}

#[test]
fn doubts_are_warnings_with_their_place() {
    for (source, line, expected) in [
        (
            "lanes:\n  a: { match: [{ user: 'x*' }] }\n  b: { match: [{ user: xy }] }\n",
            3,
            "never matches",
        ),
        (
            "lanes:\n  a: { settings: { statment_timeout: 1s } }\n",
            2,
            "is `statement_timeout` meant?",
        ),
        (
            "lanes:\n  a: { settings: { track_io_timing: on } }\n",
            2,
            "for superusers",
        ),
        (
            "auth: { method: trust }\nusers:\n  me: { upstream_password: { env: CANARY_1 } }\n",
            1,
            "let in as user `me`, and logged in at PostgreSQL",
        ),
        (
            "upstream: { password: { env: CANARY_1 } }\naccess:\n  - { method: trust }\n",
            3,
            "let in as every user",
        ),
        (
            "auth: { method: trust }\naccess:\n  - { method: relay }\n",
            1,
            "says nothing",
        ),
        (
            "lanes:\n  a: { slots: { max: 2 } }\n  b: {}\nthrottles:\n  - { while: { lane: b }, lane: a, slots: 2 }\n",
            5,
            "does nothing",
        ),
    ] {
        let config = read(source).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.warnings.len(), 1, "{source}: {:?}", config.warnings);
        assert_eq!(config.warnings[0].line, line, "{}", config.warnings[0]);
        assert!(
            config.warnings[0].message.contains(expected),
            "{}",
            config.warnings[0]
        );
    }
}

#[test]
fn a_reload_says_what_changes_and_when() {
    let old =
        read("lanes: { a: { slots: { max: 4 }, settings: { work_mem: 1MB, app.token: one } } }")
            .unwrap();
    let new = read("listen: 127.0.0.1:7000\nlanes: { a: { slots: { max: 5 }, settings: { work_mem: 2MB, app.token: two } }, b: {} }").unwrap();
    let difference = Difference::between(&old, &new);
    let restart: Vec<&str> = difference.restart().collect();
    assert_eq!(
        restart,
        ["listen: [Tcp(127.0.0.1:6433)] -> [Tcp(127.0.0.1:7000)]"]
    );
    let live: Vec<&str> = difference.live().collect();
    assert_eq!(
        live,
        [
            "lane a: slots.max: 4 -> 5",
            "lane a: settings -work_mem=1MB -app.token=*** +work_mem=2MB +app.token=*** (its connections are replaced between transactions)",
            "lane b: new",
        ]
    );
    assert!(Difference::between(&old, &old).is_empty());
}

#[test]
fn a_file_is_read_from_disk_with_its_name_in_errors() {
    let folder = std::env::temp_dir().join(format!("pglanes-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("broken.yaml");
    std::fs::write(&path, b"listen: \xff\n").unwrap();
    let error = load(&path).unwrap_err().to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        error,
        format!("{}: is not text in UTF-8 (line 1)", path.display())
    );
    let error = load(&path).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: cannot be read", path.display())),
        "{error}"
    );
    assert!(
        parse("x.yaml", "listen: nowhere", &World::new())
            .unwrap_err()
            .to_string()
            .starts_with("x.yaml:1:9: ")
    );
}

#[test]
fn a_throttle_that_lowers_keeps_the_slots_unless_it_says_otherwise() {
    let throttle = |more: &str| {
        let text = format!(
            "lanes: {{ a: {{}}, b: {{ io: background }} }}\nthrottles: [{{ while: {{ lane: a, direct: true }}, lane: b{more} }}]"
        );
        let config = read(&text).unwrap();
        assert_eq!(config.lane("b").unwrap().io, Io::Background);
        let (policy, _) = config.policy(None);
        let throttle = config.throttles[0].clone();
        assert!(throttle.direct && policy.throttles[0].counts_direct);
        (throttle.cpu, throttle.keeps, policy.throttles[0].lowers)
    };
    assert_eq!(throttle(""), (Cpu::Normal, Keeps::Slots(0), false));
    assert_eq!(throttle(", cpu: low"), (Cpu::Low, Keeps::All, true));
    let both = throttle(", cpu: background, slots: 2");
    assert_eq!(both, (Cpu::Background, Keeps::Slots(2), true));
}

#[test]
fn looking_is_on_unless_it_is_switched_off() {
    let interval = |text: &str| read(text).unwrap().observe.map(|observe| observe.interval);
    assert_eq!(interval("lanes: {}"), Some(Duration::from_secs(1)));
    let short = "observe: { interval: 250ms }";
    assert_eq!(interval(short), Some(Duration::from_millis(250)));
    assert_eq!(interval("observe: { mode: off, interval: 5s }"), None);
    assert!(read("observe: { interval: 10ms }").is_err());
}
