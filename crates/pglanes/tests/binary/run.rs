//! `pglanes run`: a command in a lane, with a lease; the PostgreSQL behind the proxy is not there.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, NOWHERE, Serving, eventually, lanes_yaml, pglanes, text};

/// A folder with the lanes.yaml of a proxy on fixed ports, so that a command finds it by the file.
struct World {
    folder: Folder,
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

impl World {
    fn new() -> Self {
        let folder = Folder::new();
        let rest = "lanes:\n  evaluation: { match: [{ application_name: 'rag?-*' }] }\n  default: {}\nthrottles:\n  - { while: { lane: evaluation, is: leased }, lane: default, slots: 0 }\n";
        let text = lanes_yaml(NOWHERE, rest)
            .replace("listen: 127.0.0.1:0", &format!("listen: {}", free()))
            .replace("http: 127.0.0.1:0", &format!("http: {}", free()));
        folder.write("lanes.yaml", &text);
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = pglanes(&self.folder);
        command
            .args(["run", "--lane", "evaluation"])
            .args(arguments)
            .env(
                "DATABASE_URL",
                "postgresql://ann:secret@db.example/ai?sslmode=require",
            )
            .env_remove("PGAPPNAME")
            .env_remove("PGSERVICE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A command that writes a file when it runs, and stays.
    fn start(&self, script: &str) -> (Child, PathBuf) {
        let started = self.folder.path().join("started");
        let script = format!(
            "{script} echo $$ > started.new; mv started.new started; while :; do sleep 0.05; done"
        );
        let child = self.command(&["--", "sh", "-c", &script]).spawn().unwrap();
        let path = started.clone();
        eventually("the command runs", || path.exists());
        (child, started)
    }
}

fn leases(serving: &Serving) -> usize {
    let held = serving.metric("pglanes_leases", &[("lane", "evaluation")]);
    held as usize
}

fn kill(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn the_command_is_told_where_the_proxy_is_and_its_exit_code_is_ours() {
    let world = World::new();
    let serving = Serving::start(&world.folder);
    let script = "echo $DATABASE_URL $PGHOST $PGPORT $PGAPPNAME; exit 7";
    let output = world.run(&["--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    let port = serving.clients.port();
    let expected = format!(
        "postgresql://ann:secret@127.0.0.1:{port}/ai?application_name=rag1- 127.0.0.1 {port} rag1-\n"
    );
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(leases(&serving), 0);
    let taken = |event| {
        serving.metric(
            "pglanes_leases_total",
            &[("lane", "evaluation"), ("event", event)],
        )
    };
    assert_eq!((taken("taken"), taken("ended")), (1.0, 1.0));
    let output = world.run(&["--", "/nonexistent/program"]);
    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
    let output = world.run(&["--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.code(), Some(128 + 15));
    assert_eq!(leases(&serving), 0);
}

#[test]
fn signals_reach_the_command_and_the_lease_ends_with_it() {
    let world = World::new();
    let serving = Serving::start(&world.folder);
    for signal in [Signal::TERM, Signal::INT] {
        let (child, started) = world.start("trap 'exit 3' TERM INT;");
        assert_eq!(leases(&serving), 1);
        kill(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        assert_eq!(leases(&serving), 0);
        std::fs::remove_file(started).unwrap();
    }
}

#[test]
fn a_run_that_is_killed_throttles_no_longer_than_its_lease_lives() {
    let world = World::new();
    let mut serving = Serving::start(&world.folder);
    let (mut child, started) = world.start("");
    assert_eq!(leases(&serving), 1);
    kill(&child, Signal::KILL);
    child.wait().unwrap();
    // What it ran goes on without it, as it does under any shell that is killed.
    let orphan: i32 = std::fs::read_to_string(started)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill_process(Pid::from_raw(orphan).unwrap(), Signal::KILL).unwrap();
    serving.hear("a lease expired");
    assert_eq!(leases(&serving), 0);
}

#[test]
fn a_proxy_that_is_started_anew_is_asked_again() {
    let world = World::new();
    let serving = Serving::start(&world.folder);
    let (child, _) = world.start("trap 'exit 0' TERM;");
    assert_eq!(leases(&serving), 1);
    drop(serving);
    let serving = Serving::start(&world.folder);
    eventually("the lease is taken anew", || leases(&serving) == 1);
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(leases(&serving), 0);
}

#[test]
fn without_a_proxy_the_command_is_not_run_unless_it_is_to_be_anyway() {
    let world = World::new();
    let output = world.run(&["--", "sh", "-c", "echo ran"]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(
        said.contains("no proxy answers at http://127.0.0.1:"),
        "{said}"
    );
    assert!(
        said.contains("pglanes serve") && said.contains("--anyway"),
        "{said}"
    );
    // It finds PostgreSQL where it did before.
    let output = world.run(&["--anyway", "--", "sh", "-c", "echo $DATABASE_URL; exit 4"]);
    assert_eq!(output.status.code(), Some(4));
    let url = "postgresql://ann:secret@db.example/ai?sslmode=require\n";
    assert_eq!(text(&output.stdout), url);
    // A lane that is not there is a mistake, whether the proxy runs or not.
    let mut command = pglanes(&world.folder);
    let output = command
        .args(["run", "--lane", "evaluatoin", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("the lanes are evaluation, default"));
}
