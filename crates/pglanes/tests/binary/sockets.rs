//! Sockets that somebody holds open for `pglanes serve`, as systemd's socket units do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Folder, NOWHERE, PATIENCE, Serving, lanes_yaml, pglanes, text};

/// Descriptors 3 and 4 are what standard input and output were; the shell's process becomes pglanes.
const PASSING: &str = "exec 3<&0 4>&1 </dev/null >/dev/null; export LISTEN_FDS LISTEN_FDNAMES; \
     LISTEN_PID=${PASSED_TO:-$$}; export LISTEN_PID; exec \"$PROGRAM\" \"$@\"";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("lanes.yaml", &lanes_yaml(NOWHERE, ""));
    folder
}

/// `pglanes`, with one or two descriptors passed to it.
fn passing(folder: &Folder, first: OwnedFd, second: Option<OwnedFd>) -> Command {
    let plain = pglanes(folder);
    let mut command = Command::new("sh");
    command
        .current_dir(folder.path())
        .args(["-c", PASSING, "sh"])
        .env_remove("RUST_LOG")
        .env_remove("PGLANES_CONFIG")
        .env("XDG_STATE_HOME", folder.path().join("state"))
        .env("PROGRAM", plain.get_program())
        .env("LISTEN_FDS", if second.is_some() { "2" } else { "1" })
        .env("LISTEN_FDNAMES", "pglanes.socket:http")
        .stdin(Stdio::from(first))
        .stdout(second.map_or_else(Stdio::null, Stdio::from));
    command
}

/// Asks for encryption: a proxy answers with one byte, whether it has any.
fn is_answered(stream: &mut (impl Read + Write)) -> bool {
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    answer == *b"N"
}

fn connected(listener: &TcpListener) -> TcpStream {
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn sockets_that_are_passed_take_the_place_of_listen_and_http() {
    let folder = folder();
    let clients = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    // Connected before there is a proxy, and served by the one that comes.
    let mut early = connected(&clients);
    let pass = || {
        passing(
            &folder,
            clients.try_clone().unwrap().into(),
            Some(http.try_clone().unwrap().into()),
        )
    };
    let mut serving = Serving::start_command(pass());
    assert_eq!(serving.clients, clients.local_addr().unwrap());
    assert_eq!(serving.http, http.local_addr().unwrap());
    assert!(is_answered(&mut early));
    assert_eq!(serving.get("/healthz").0, 200);
    drop(early);
    serving.signal(Signal::TERM);
    assert_eq!(serving.end().code(), Some(0));
    // Between two of them nobody is refused.
    let mut between = connected(&clients);
    let _next = Serving::start_command(pass());
    assert!(is_answered(&mut between));
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let folder = folder();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = passing(&folder, other.try_clone().unwrap().into(), None);
    command.env("PASSED_TO", "1");
    let serving = Serving::start_command(command);
    assert_ne!(serving.clients, other.local_addr().unwrap());
}

#[test]
fn a_unix_socket_is_served_and_its_file_stays() {
    let folder = folder();
    let path = folder.path().join("passed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut child = passing(&folder, listener.into(), None)
        .args(["serve", "--config", "lanes.yaml"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let answered = is_answered(&mut stream);
    drop(stream);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = child.wait().unwrap();
    assert!(answered && ended.success() && path.exists(), "{ended}");
}

#[test]
fn what_does_not_listen_or_lets_other_machines_in_is_refused_with_a_reason() {
    let folder = folder();
    let file = std::fs::File::open(folder.path().join("lanes.yaml")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talking = connected(&listener);
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    for (passed, words, code) in [
        (OwnedFd::from(file), "descriptor 1 of those", 2),
        (OwnedFd::from(talking), "it does not listen", 2),
        (OwnedFd::from(open), "allow_remote: true", 1),
    ] {
        let output = passing(&folder, passed, None)
            .args(["serve", "--config", "lanes.yaml"])
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert!(said.contains(words), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
}
