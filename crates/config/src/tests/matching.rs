//! Rules about where a session comes from and what a statement says.

use pglanes_lanes::classify::{Origin, StatementKind};

use crate::explain::{Choice, Subject};
use crate::testing::read;

const LANES: &str = "
lanes:
  near: { match: [{ address: [local, 10.0.0.0/8] }] }
  archive: { match: [{ table: [archive.*, log_*], statement: [COPY, BULK DELETE] }] }
  search: { match: [{ text: 'order by \\w+ <=> \\?' }, { text: '^vacuum' }], chosen_by: [{ user: 'a*' }, { address: ::1 }] }
";

fn lane(subject: &Subject<'_>) -> (String, Choice) {
    let found = read(LANES).unwrap().explain(subject);
    (found.lane, found.choice)
}

const FAR: Origin = Origin::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

fn far() -> Subject<'static> {
    Subject {
        origin: FAR,
        ..Subject::default()
    }
}

#[track_caller]
fn check(subject: Subject<'_>, expected: &str) {
    assert_eq!(lane(&subject).0, expected, "{subject:?}");
}

#[test]
fn a_session_is_found_by_where_it_comes_from() {
    check(
        Subject {
            origin: Origin::Local,
            ..far()
        },
        "near",
    );
    check(
        Subject {
            origin: Origin::Address("10.1.2.3".parse().unwrap()),
            ..far()
        },
        "near",
    );
    check(far(), "default");
}

#[test]
fn a_transaction_is_found_by_what_its_statement_says() {
    let statement = Some(StatementKind::BulkDelete);
    check(
        Subject {
            statement,
            tables: &[("archive", "x")],
            ..far()
        },
        "archive",
    );
    check(
        Subject {
            statement,
            tables: &[("public", "log_x")],
            ..far()
        },
        "archive",
    );
    check(
        Subject {
            statement,
            tables: &[("public", "x")],
            ..far()
        },
        "default",
    );
    let statement = Some(StatementKind::Delete);
    check(
        Subject {
            statement,
            tables: &[("archive", "x")],
            ..far()
        },
        "default",
    );
    check(
        Subject {
            text: "select a from t order by e <=> ? limit ?",
            ..far()
        },
        "search",
    );
    check(
        Subject {
            text: "vacuum t",
            ..far()
        },
        "search",
    );
    check(
        Subject {
            text: "select ?",
            ..far()
        },
        "default",
    );
}

#[test]
fn a_lane_is_chosen_by_those_who_may() {
    let chosen = Some("search");
    let check = |subject: Subject<'_>, expected: (&str, Choice)| {
        let (lane, choice) = lane(&subject);
        assert_eq!((lane.as_str(), choice), expected, "{subject:?}");
    };
    check(
        Subject {
            user: "ann",
            chosen,
            ..far()
        },
        ("search", Choice::Taken),
    );
    check(
        Subject {
            user: "bob",
            chosen,
            ..far()
        },
        ("default", Choice::Refused),
    );
    check(
        Subject {
            user: "bob",
            origin: Origin::Address("::1".parse().unwrap()),
            chosen,
            ..far()
        },
        ("search", Choice::Taken),
    );
    check(
        Subject {
            user: "ann",
            chosen: Some("x"),
            ..far()
        },
        ("default", Choice::UnknownLane),
    );
    check(
        Subject {
            user: "ann",
            ..far()
        },
        ("default", Choice::None),
    );
}

#[test]
fn mistakes_say_what_would_be_right() {
    for (rule, right) in [
        ("{ address: 10.0.0.1/8 }", "write the network's own address"),
        ("{ address: here }", "a network such as 10.0.0.0/8"),
        ("{ table: a.b.c }", "`name` or `schema.name`"),
        ("{ table: .c }", "`name` or `schema.name`"),
        ("{ text: '(' }", "unclosed group"),
        ("{ text: '(a{1000}){1000}' }", "takes too much memory"),
        ("{ text: '' }", "1 to 1000 bytes"),
    ] {
        let error = read(&format!("lanes: {{ a: {{ match: [{rule}] }} }}\n"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(right), "{rule}: {error}");
    }
    for (rule, right) in [
        ("{}", "has no condition"),
        ("{ statement: DELETE }", "unknown key"),
    ] {
        let error = read(&format!("lanes: {{ a: {{ chosen_by: [{rule}] }} }}\n"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(right), "{rule}: {error}");
    }
}

#[test]
fn the_number_of_expressions_is_bounded() {
    let rules: Vec<String> = (0..65)
        .map(|number| format!("{{ text: 'x{number}y' }}"))
        .collect();
    let error = read(&format!(
        "lanes: {{ a: {{ match: [{}] }} }}\n",
        rules.join(", ")
    ));
    assert!(error.unwrap_err().to_string().contains("more than 64"));
}
