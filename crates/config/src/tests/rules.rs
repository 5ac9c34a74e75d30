//! What is said of rules that do not hold.

use crate::testing::read;

fn check(rule: &str, expected: &str) {
    let source = format!("lanes:\n  a: {{ rules: [{rule}] }}\n  b: {{}}\n");
    let error = match read(&source) {
        Ok(_) => panic!("holds: {source}"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(expected), "in: {source}\n{error}");
}

#[test]
fn a_rule_goes_by_one_thing_and_does_one_thing_that_fits() {
    check("{ then: log }", "lacks `when`");
    check("{ when: { running: 1s } }", "lacks `then`");
    check("{ when: {}, then: log }", "has one of `running`");
    check(
        "{ when: { running: 1s, rows: 5 }, then: log }",
        "has one of `running`",
    );
    check(
        "{ when: { rows: many }, then: log }",
        "a whole number is right",
    );
    check(
        "{ when: { rows: 5, blocking: true }, then: log }",
        "beside `idle_in_transaction`",
    );
    check(
        "{ when: { queued: 1s }, then: cancel }",
        "what waits is rejected",
    );
    check(
        "{ when: { running: 1s }, then: reject }",
        "only what waits is rejected",
    );
    check("{ when: { running: 1s }, then: kill }", "it may be `log`");
    check(
        "{ when: { running: 1s }, then: { move: c } }",
        "there is no such lane",
    );
    check("{ when: { running: 1s }, then: {} }", "`{ move: LANE }`");
    let twice =
        "{ name: x, when: { rows: 1 }, then: log }, { name: x, when: { rows: 2 }, then: log }";
    check(twice, "belongs to another rule");
}

#[test]
fn preemption_needs_a_grace() {
    let error = read("lanes: { a: { preemptible: {} } }")
        .unwrap_err()
        .to_string();
    assert!(error.contains("lacks `grace`"), "{error}");
}
