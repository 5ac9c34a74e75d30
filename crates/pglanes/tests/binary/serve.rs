//! `pglanes serve` as an operator meets it; its PostgreSQL is not there.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use crate::support::{Folder, NOWHERE, PATIENCE, Serving, eventually, lanes_yaml, run, text};
use rustix::process::Signal;

fn folder_with(rest: &str) -> Folder {
    let folder = Folder::new();
    folder.write("lanes.yaml", &lanes_yaml(NOWHERE, rest));
    folder
}

#[test]
fn sigterm_and_sigint_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = folder_with("");
        let mut serving = Serving::start(&folder);
        serving.signal(signal);
        serving.hear("ending: transactions finish, nothing new begins");
        assert_eq!(serving.end().code(), Some(0));
    }
}

#[test]
fn an_upstream_that_is_down_makes_it_unready_but_not_unhealthy() {
    let folder = folder_with("");
    let mut serving = Serving::start(&folder);
    let line = serving.hear("PostgreSQL cannot be reached");
    assert!(line.contains("127.0.0.1:1: "), "{line}");
    assert_eq!(serving.get("/healthz").0, 200);
    let (status, body) = serving.get("/readyz");
    assert_eq!(status, 503);
    let words = "PostgreSQL cannot be reached: 127.0.0.1:1: ";
    assert!(body.contains(words), "{body}");
    assert_eq!(serving.metric("pglanes_upstream_up", &[]), 0.0);
}

#[test]
fn an_outage_is_said_once_however_often_it_is_met() {
    // Takes every connection and says nothing: no PostgreSQL.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!(
        "{{ url: \"postgresql://{}\", unix_socket: off }}",
        silent.local_addr().unwrap()
    );
    let folder = Folder::new();
    folder.write("lanes.yaml", &lanes_yaml(&upstream, ""));
    let mut serving = Serving::start(&folder);
    for _ in 0..3 {
        drop(silent.accept().unwrap());
    }
    serving.signal(Signal::TERM);
    assert_eq!(serving.end().code(), Some(0));
    assert_eq!(serving.heard("PostgreSQL cannot be reached"), 1);
}

/// A login that does not go on keeps a draining proxy waiting: for its whole grace, unless it is told again.
#[test]
fn a_second_signal_ends_at_once_and_until_then_it_can_be_watched() {
    let folder = folder_with("limits: { login_timeout: 1h }\nshutdown: { grace: 1h }\n");
    let mut serving = Serving::start(&folder);
    let _silent = TcpStream::connect(serving.clients).unwrap();
    eventually("the login is in progress", || {
        serving.metric("pglanes_logins_in_progress", &[]) == 1.0
    });
    serving.signal(Signal::TERM);
    serving.hear("ending: transactions finish");
    eventually("the drain can be seen", || {
        serving.metric("pglanes_draining", &[]) == 1.0
    });
    let (status, body) = serving.get("/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("the proxy is ending"), "{body}");
    assert!(serving.is_running());
    serving.signal(Signal::HUP);
    serving.hear("SIGHUP changes nothing: the proxy is ending");
    serving.signal(Signal::TERM);
    serving.hear("ending at once");
    assert_eq!(serving.end().code(), Some(0));
}

#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let folder = folder_with("reload: { watch: false }\n");
    let mut serving = Serving::start(&folder);
    folder.write(
        "lanes.yaml",
        "listen: 127.0.0.1:0\nlanes: { fast: { prioritty: 1 } }\n",
    );
    serving.signal(Signal::HUP);
    let line = serving.hear("lanes.yaml:2:");
    assert!(line.contains("did you mean `priority`?"), "{line}");
    serving.hear("lanes.yaml changes nothing: the file does not hold");
    let metric = |name: &str| serving.metric(name, &[]);
    eventually("the failure is counted", || {
        metric("pglanes_config_reload_failures_total") == 1.0
    });
    assert_eq!(metric("pglanes_config_last_reload_successful"), 0.0);
    assert_eq!(
        serving.metric("pglanes_slots", &[("lane", "evaluation"), ("kind", "max")]),
        16.0
    );
    assert!(TcpStream::connect(serving.clients).is_ok());
    // Mended, it is in force, and the failure is over.
    folder.write(
        "lanes.yaml",
        &lanes_yaml(NOWHERE, "reload: { watch: false }\n"),
    );
    serving.signal(Signal::HUP);
    serving.hear("lanes.yaml was read again: it means the same");
    assert_eq!(
        serving.metric("pglanes_config_last_reload_successful", &[]),
        1.0
    );
    assert_eq!(
        serving.metric("pglanes_config_reload_failures_total", &[]),
        1.0
    );
    assert_eq!(serving.metric("pglanes_config_reloads_total", &[]), 1.0);
}

#[test]
fn a_changed_file_takes_effect_by_itself() {
    let lanes = |slots: u32| format!("lanes: {{ fast: {{ slots: {{ max: {slots} }} }} }}\n");
    let folder = folder_with(&lanes(7));
    let mut serving = Serving::start(&folder);
    let maximum =
        |serving: &Serving| serving.metric("pglanes_slots", &[("lane", "fast"), ("kind", "max")]);
    assert_eq!(maximum(&serving), 7.0);
    let elsewhere = "{ url: \"postgresql://127.0.0.1:2\", unix_socket: off }";
    folder.write("lanes.yaml", &lanes_yaml(elsewhere, &lanes(5)));
    serving.hear("changed: lane fast: slots.max: 7 -> 5");
    serving.hear("needs a restart: upstream.url");
    serving.hear("lanes.yaml was read again and is in force");
    assert_eq!(maximum(&serving), 5.0);
    // A file that was taken away is a mistake, and no wish for the built-in lanes.
    std::fs::remove_file(folder.path().join("lanes.yaml")).unwrap();
    serving.hear("lanes.yaml changes nothing");
    assert_eq!(maximum(&serving), 5.0);
}

#[test]
fn an_address_that_is_taken_is_said_as_people_need_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = Folder::new();
    let check = |file: &str, expected: &str| {
        folder.write("lanes.yaml", file);
        let output = run(&folder, &["serve"]);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned();
        assert!(
            error.starts_with(&format!("pglanes: cannot listen on {address}")),
            "{error}"
        );
        assert!(error.ends_with(expected), "{error}");
    };
    check(
        &format!("listen: {address}\nhttp: off\n"),
        "(is pglanes running already? lanes.yaml: listen)",
    );
    check(
        &format!("listen: 127.0.0.1:0\nhttp: {address}\n"),
        "(lanes.yaml: http)",
    );
}

#[test]
fn clients_are_told_that_the_upstream_is_down_and_are_not_hung() {
    let folder = folder_with("");
    let serving = Serving::start(&folder);
    let mut client = TcpStream::connect(serving.clients).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut startup = Vec::from([0, 0, 0, 0, 0, 3, 0, 0]);
    startup.extend_from_slice(b"user\0me\0database\0db\0\0");
    let length = startup.len() as u8;
    startup[3] = length;
    std::io::Write::write_all(&mut client, &startup).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let words = "no connection to PostgreSQL at 127.0.0.1:1: Connection refused";
    assert!(
        answer.contains(words) && answer.contains("C08006"),
        "{answer}"
    );
}

#[test]
fn no_line_of_the_log_shows_a_password() {
    let folder = folder_with("");
    let secret = folder.write("secret", "canary-3f9a");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let users = "auth: { method: scram-sha-256 }\nusers: { bob: { password: { file: secret } } }\nlogging: { format: json, level: trace }\n";
    let file = lanes_yaml(NOWHERE, users).replacen("logging: { format: json }\n", "", 1);
    folder.write("lanes.yaml", &file);
    let mut serving = Serving::start(&folder);
    // The file stays as it is; what it points to changes, which only a signal tells.
    std::fs::write(&secret, "canary-77b1").unwrap();
    serving.signal(Signal::HUP);
    serving.hear("changed: the password of user bob changed");
    serving.signal(Signal::TERM);
    assert_eq!(serving.end().code(), Some(0));
    assert_eq!(serving.heard("canary"), 0);
}

#[test]
fn the_token_is_for_the_user_who_serves_and_stays_over_restarts() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.write("lanes.yaml", &lanes_yaml(NOWHERE, ""));
    let port = |serving: &Serving| serving.clients.port().to_string();
    let serving = Serving::start(&folder);
    let kept = folder.path().join("state/pglanes").join(port(&serving));
    let token = std::fs::read(kept.join("token")).unwrap();
    assert_eq!(token.len(), 64);
    for (path, rights) in [(kept.clone(), 0o700), (kept.join("token"), 0o600)] {
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, rights, "{}", path.display());
    }
    let listen = serving.clients;
    drop(serving);
    let text = lanes_yaml(NOWHERE, "").replace("listen: 127.0.0.1:0", &format!("listen: {listen}"));
    folder.write("lanes.yaml", &text);
    let again = Serving::start(&folder);
    assert_eq!(port(&again), listen.port().to_string());
    assert_eq!(std::fs::read(kept.join("token")).unwrap(), token);
}

#[test]
fn a_state_folder_that_was_named_and_cannot_be_used_is_a_mistake() {
    let folder = Folder::new();
    let taken = folder.write("taken", "a file");
    let state = format!("state: {}\n", taken.display());
    folder.write("lanes.yaml", &lanes_yaml(NOWHERE, &state));
    let output = run(&folder, &["serve", "--config", "lanes.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = format!("{}{}", text(&output.stderr), text(&output.stdout));
    assert!(said.contains("lanes.yaml: state"), "{said}");
}

/// As a full disk under a log file.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    use crate::support::pglanes;
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = Folder::new();
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let text =
        format!("listen: {address}\nhttp: off\nlogging: {{ level: debug }}\nupstream: {NOWHERE}\n");
    folder.write("lanes.yaml", &text);
    let mut command = pglanes(&folder);
    command
        .args(["serve", "--config", "lanes.yaml"])
        .stdout(full())
        .stderr(full());
    let mut child = command.spawn().unwrap();
    eventually("it serves", || TcpStream::connect(address).is_ok());
    // Logins that fail are logged; each is answered.
    for _ in 0..3 {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Write::write_all(&mut client, b"\0\0\0\x10\0\x03\0\0user\0a\0\0").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.first(), Some(&b'E'));
    }
    assert!(child.try_wait().unwrap().is_none(), "it still runs");
    child.kill().unwrap();
    child.wait().unwrap();
}
