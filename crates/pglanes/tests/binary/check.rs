//! `pglanes check` and the command line, without a server.

use crate::support::{Folder, NOWHERE, lanes_yaml, run, text};

const TWO_LANES: &str = "\
lanes:
  fast:
    match: [{ application_name: \"fast*\" }, { user: runner, database: main }]
    slots: { min: 2, max: 8 }
    priority: 10
    settings: { work_mem: 16MB, app.token: hidden }
  slow:
    match: [{ tag: { job: slow } }]
    slots: { max: 2 }
    cpu: background
    mode: observe
throttles:
  - { name: slow yields, while: { lane: fast, is: busy, linger: 1s }, lane: slow, slots: 1 }
";

fn with_lanes() -> Folder {
    let folder = Folder::new();
    folder.write(
        "lanes.yaml",
        &format!("upstream: {{ slots: 10 }}\n{TWO_LANES}"),
    );
    folder
}

#[test]
fn the_lanes_are_shown_as_understood() {
    let output = run(
        &with_lanes(),
        &["check", "--config", "lanes.yaml", "--offline"],
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    let expected = "\
lanes.yaml holds: clients at 127.0.0.1:6433, PostgreSQL at localhost:5432, 10 slots for 3 lanes

lane     slots  priority  weight  queue       cpu         pooling      mode
fast     2-8    10        1       200 for 1m  normal      transaction  enforce
  match      application_name: fast*
             user: runner, database: main
  settings   work_mem=16MB
             app.token=***
slow     0-2    0         1       200 for 1m  background  transaction  observe
  match      tag: { job: slow }
  yields     to fast while it is busy and 1s after: keeps 1 slot, what runs finishes
default  0-10   0         1       200 for 1m  normal      transaction  enforce

note: the server was not asked: left out are max_connections against the slots, and whether PostgreSQL knows the \
lanes' settings and lets ordinary users set them
no warnings
";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_mistake_is_shown_with_its_place_and_the_right_word() {
    let folder = Folder::new();
    folder.write(
        "lanes.yaml",
        "lanes:\n  fast:\n    slots: { min: 2, max: 8 }\n    prioritty: 10\n",
    );
    for command in ["check", "serve"] {
        let output = run(&folder, &[command, "--config", "lanes.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert_eq!(text(&output.stdout), "");
        let error = text(&output.stderr);
        assert!(error.starts_with("pglanes: lanes.yaml:4:5: "), "{error}");
        assert!(error.contains("did you mean `priority`?"), "{error}");
        assert!(
            error.ends_with("  4 |     prioritty: 10\n    |     ^^^^^^^^^\n"),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_when_it_was_named() {
    let folder = Folder::new();
    let output = run(&folder, &["check", "--config", "other.yaml", "--offline"]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(
        error.starts_with("pglanes: other.yaml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn without_a_file_the_built_in_lanes_hold_and_the_usual_file_goes_before_them() {
    let folder = Folder::new();
    let checked = |folder: &Folder| {
        let output = run(folder, &["check", "--offline"]);
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout).lines().next().unwrap().to_owned()
    };
    assert!(checked(&folder).starts_with("the built-in lanes.yaml holds: "));
    folder.write("lanes.yaml", "upstream: { slots: 12 }\n");
    let line = checked(&folder);
    assert!(
        line.starts_with("lanes.yaml holds: ") && line.ends_with("12 slots for 5 lanes"),
        "{line}"
    );
}

#[test]
fn warnings_fail_only_where_strictness_is_asked_for() {
    let folder = Folder::new();
    folder.write(
        "lanes.yaml",
        "lanes:\n  a: { match: [{ user: \"*\" }] }\n  b: { match: [{ user: bob }] }\n",
    );
    let output = run(&folder, &["check", "--offline"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.contains("warning: lanes.yaml:3:"), "{shown}");
    assert!(shown.ends_with("1 warning\n"), "{shown}");
    let strict = run(&folder, &["check", "--offline", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert_eq!(strict.stdout, output.stdout);
    assert_eq!(
        run(&with_lanes(), &["check", "--offline", "--strict"])
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn a_server_that_cannot_be_reached_is_said_with_what_was_left_out() {
    let folder = Folder::new();
    folder.write("lanes.yaml", &lanes_yaml(NOWHERE, ""));
    let output = run(&folder, &["check", "--strict"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("note: cannot reach PostgreSQL at "),
        "{shown}"
    );
    assert!(shown.contains("@127.0.0.1:1/postgres: "), "{shown}");
    assert!(
        shown.contains("; left out are max_connections against the slots"),
        "{shown}"
    );
}

#[test]
fn a_client_is_told_its_lane_and_the_line_of_its_rule() {
    let folder = with_lanes();
    let explain = |arguments: &[&str]| {
        let output = run(&folder, &[&["check", "--explain"], arguments].concat());
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout).to_owned()
    };
    assert_eq!(
        explain(&["application_name=fast-1"]),
        "lane fast: line 4 of lanes.yaml: application_name: fast*\n"
    );
    assert_eq!(explain(&["user=runner"]), "lane default: no rule matches\n");
    assert_eq!(
        explain(&["user=bob", "/*job='slow'*/ UPDATE t SET a = 1"]),
        "lane slow: line 9 of lanes.yaml: tag: { job: slow }\nthe statement counts as BULK UPDATE\n\
         it names public.t\nits text is held against `text` as: update t set a = ?\n\
         the session is in lane default; this transaction is moved\n"
    );
    let wrong = run(&folder, &["check", "--explain", "fast"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).starts_with("pglanes: --explain: `fast` is not KEY=VALUE"));
}

#[test]
fn a_rule_of_the_built_in_lanes_has_no_line_of_the_file() {
    let folder = Folder::new();
    folder.write("lanes.yaml", "upstream: { slots: 20 }\n");
    let output = run(
        &folder,
        &["check", "--explain", "application_name=ragchecker"],
    );
    assert_eq!(
        text(&output.stdout),
        "lane evaluation: a rule of the built-in lanes.yaml: application_name: ragchecker*\n"
    );
}

#[test]
fn the_command_line_explains_itself() {
    let folder = Folder::new();
    let help = run(&folder, &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["serve", "check", "demo"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let version = run(&folder, &["--version"]);
    assert_eq!(
        text(&version.stdout),
        concat!("pglanes ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(run(&folder, &[]).status.code(), Some(2));
    assert_eq!(run(&folder, &["sevre"]).status.code(), Some(2));
}
